"""Every error a person can meet, in one tree.

    TriptychError
    ├── SettingsError           a setting is wrong or contradicts another
    ├── ServerError             a child server cannot be started, reached or kept alive
    ├── RecordsError            the database of records cannot be opened, read or written
    ├── ModelError              the language model cannot answer
    │   ├── WeightsError        model weights are missing, or not the ones expected
    │   ├── AddressRefused      an address from the page is not one that may be called
    │   ├── ModelUnavailable    the server refused the connection, the key or the model name
    │   ├── ModelTimeout        the server did not answer in time
    │   ├── ContextExceeded     the prompt is longer than the model's context
    │   └── ModelProtocolError  the server answered with something that is not the protocol
    ├── PromptError             a template is broken or a variable of it is undefined
    ├── ChatError               a conversation cannot do what was asked
    ├── LibraryError            the document library cannot do what was asked
    │   ├── DocumentError       one document cannot be read (`name` says which)
    │   ├── EmbedderError       the embedding model is missing or failed
    │   └── VectorStoreError    Chroma cannot be reached or refused a request
    └── TuningError             fine-tuning cannot go on
        ├── ExamplesError       the training examples are wrong (`line` says where)
        ├── RecipeError         a recipe's values are out of range or contradict each other
        └── AdapterError        an adapter on disk is missing, damaged or for another base

A message is one or two sentences for a person: the cause, then the cure. It carries no
traceback, no key and no markup. Third-party errors are translated at the one place that calls
the library, with ``raise … from error`` so that logs keep the origin.
"""

from __future__ import annotations


class TriptychError(Exception):
    """Anything that Triptych reports to a person.

    Args:
        message: what happened, in a sentence.
        cure: what the person can do about it, in a sentence; empty when nothing can be done.
    """

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".strip()


class SettingsError(TriptychError):
    """A setting is wrong or contradicts another."""


class ServerError(TriptychError):
    """A child server cannot be started, reached or kept alive."""


class RecordsError(TriptychError):
    """The database of records cannot be opened, read or written."""


class ModelError(TriptychError):
    """The language model cannot answer."""


class WeightsError(ModelError):
    """Model weights are missing, or not the ones expected."""


class AddressRefused(ModelError):
    """An address from the page is not one that may be called."""


class ModelUnavailable(ModelError):
    """The model server refused the connection, the key or the model name."""


class ModelTimeout(ModelError):
    """The model server did not answer in time."""


class ContextExceeded(ModelError):
    """The prompt is longer than the model's context.

    Args:
        prompt_tokens: length of the prompt in the model's own tokens, 0 when unknown.
        context_tokens: the most the model can hold, 0 when unknown.
    """

    def __init__(self, message: str, *, prompt_tokens: int, context_tokens: int) -> None:
        super().__init__(message, cure="Ask a shorter question or start a new conversation.")
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class ModelProtocolError(ModelError):
    """The model server answered with something that is not the protocol."""


class PromptError(TriptychError):
    """A prompt template is broken or a variable of it is undefined."""


class ChatError(TriptychError):
    """A conversation cannot do what was asked."""


class LibraryError(TriptychError):
    """The document library cannot do what was asked."""


class DocumentError(LibraryError):
    """One document cannot be read.

    Args:
        name: the document's name as the person knows it.
        reason: why, as the end of a sentence that begins with the name.
        cure: what to do about it.
    """

    def __init__(self, name: str, reason: str, *, cure: str = "") -> None:
        super().__init__(f"{name} {reason}", cure=cure)
        self.name = name
        self.reason = reason


class EmbedderError(LibraryError):
    """The embedding model is missing or failed."""


class VectorStoreError(LibraryError):
    """Chroma cannot be reached or refused a request."""


class TuningError(TriptychError):
    """Fine-tuning cannot go on."""


class ExamplesError(TuningError):
    """The training examples are wrong.

    Args:
        reason: what is wrong.
        line: the line of the file, counted from 1; 0 when it is about the whole file.
        cure: what to do about it.
        unit: what `line` counts: lines of a file, or rows of a table.
    """

    def __init__(self, reason: str, *, line: int = 0, cure: str = "", unit: str = "Line") -> None:
        super().__init__(f"{unit} {line}: {reason}" if line else reason, cure=cure)
        self.reason = reason
        self.line = line


class RecipeError(TuningError):
    """A recipe's values are out of range or contradict each other."""


class AdapterError(TuningError):
    """An adapter on disk is missing, damaged or for another base."""
