"""What a failing model server means, in words: the cause, the cure and never the key."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import ceil
from socket import gaierror
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bot.errors import (
    ContextExceeded,
    ModelError,
    ModelProtocolError,
    ModelTimeout,
    ModelUnavailable,
)
from bot.models.keys import HIDDEN, variable_for

if TYPE_CHECKING:
    from bot.models.client import Endpoint

_STARTED_AGAIN = "Try again: it is started again by itself."
_TRY_AGAIN = "Try again; if it goes on, look at that server."
_PATIENCE = "Try again; TRIPTYCH_ANSWER_TIMEOUT_SECONDS allows more patience."
_CHECK_ADDRESS = "Check that the address is that of a model server; most end in /v1."

_MOST_SAID = 300
_LEAKING = 8
"""So many characters of a key in a row give it away."""

_CONTEXT = re.compile(
    r"context[ _-]?(length|size|window|limit)|maximum (context|model length|number of tokens)"
    r"|(prompt|input|request|message)s?\b.{0,60}\b(too long|too many tokens|exceed)"
    r"|reduce the length|too many tokens",
    re.IGNORECASE | re.DOTALL,
)
_CONTEXT_TOKENS = re.compile(
    r"(?:context (?:length|size|window)(?: of| is)?|model length of|maximum number of tokens"
    r"(?: allowed)?|n_ctx)\D{0,12}?([\d,]+)|>\s*([\d,]+)\s*maximum|([\d,]+) maximum context",
    re.IGNORECASE,
)
_PROMPT_TOKENS = re.compile(
    r"(?:resulted in|your request has|prompt contains|too long:|prompt \(length|request \(|"
    r"token count \(?|requested)\s*([\d,]+)",
    re.IGNORECASE,
)
_HTTPS_ONLY = re.compile(r"http request (was sent )?to (an )?https (port|server)", re.IGNORECASE)
_IN_THE_MESSAGES = re.compile(r"([\d,]+) in the messages", re.IGNORECASE)


# --- a server that refuses --------------------------------------------------------------------


def refused(
    endpoint: Endpoint, status: int, body: object, headers: Mapping[str, str]
) -> ModelError:
    """The error for an answer of the server that reports a failure.

    Args:
        status: of HTTP; 0 when the failure was reported within an answer.
        body: what came, parsed when it was JSON.
        headers: of the response, their names in lower case.
    """
    details = _details(body)
    said = _said(endpoint, body)
    status = status or _number(details.get("code")) or _number(details.get("status"))
    words = f"{details.get('type')} {details.get('code')} {said}"
    who = _who(endpoint)
    if status in (0, 400, 413, 422, 500) and _CONTEXT.search(words.replace("_", " ")):
        return _context_exceeded(endpoint, details, said)
    if status == 400 and _HTTPS_ONLY.search(str(body)):
        return wants_tls(endpoint)
    if 300 <= status < 400:
        return _redirected(endpoint, headers.get("location", ""))
    if "insufficient_quota" in words or status == 402:
        return ModelUnavailable(
            f"The account at the server of {who} has no credit left.",
            cure="Look at its plan and billing, or choose another model.",
        )
    match status:
        case 401:
            return ModelUnavailable(
                f"The server of {who} refused the key.",
                cure="Set the right one: OPENAI_API_KEY or, for a server that was entered on the "
                f"page, {variable_for(endpoint.base_url)}.",
            )
        case 403:
            return ModelUnavailable(
                f"The server of {who} refused access with this key.",
                cure="Use a key that may use this model, or choose another model.",
            )
        case 404 | 405:
            return _not_there(endpoint, said)
        case 408 | 504:
            return ModelTimeout(f"The server of {who} did not answer in time.", cure=_TRY_AGAIN)
        case 429:
            return ModelUnavailable(
                f"The server of {who} is busy: it gets more requests than it allows.",
                cure=_when(retry_after_seconds(headers)),
            )
        case 502 | 503 | 529:
            return ModelUnavailable(
                f"The server of {who} is busy or still starting ({_status(status)}).",
                cure=_when(retry_after_seconds(headers)),
            )
    reported = f": {said.rstrip('.')}." if said else "."
    if status >= 500:
        return ModelProtocolError(
            f"The server of {who} failed ({_status(status)}){reported}", cure=_TRY_AGAIN
        )
    return ModelProtocolError(f"The server of {who} refused the request{reported}")


def lacking(endpoint: Endpoint, body: object, absent: str) -> ModelError:
    """The error for a server that has not what it was asked for, beside chats.

    Args:
        absent: what is said when it does not even know the path.
    """
    told = isinstance(body, dict) and body.get("message")
    return ModelUnavailable(_said(endpoint, body) if told else absent)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """When a server says that it can be asked again: in this many seconds; None without a word.

    It is told in seconds or as a date (RFC 9110), by some in milliseconds.
    """
    milliseconds = _decimal(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    told = headers.get("retry-after", "").strip()
    seconds = _decimal(told)
    if seconds is not None or not told:
        return seconds
    try:
        then = parsedate_to_datetime(told)
    except (ValueError, TypeError, OverflowError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _not_there(endpoint: Endpoint, said: str) -> ModelError:
    """404: of the model when the server speaks of one, else of the address."""
    if not said or re.search(r"^(not found|method not allowed)\W*$", said, re.IGNORECASE):
        return ModelUnavailable(
            f"There is no chat at {_address(endpoint)}, where {endpoint.model} should be.",
            cure=_CHECK_ADDRESS,
        )
    return ModelUnavailable(
        f"The server at {_host(endpoint)} does not know {endpoint.model}.",
        cure="Choose a model that it lists, or load this one there first.",
    )


def _redirected(endpoint: Endpoint, location: str) -> ModelError:
    there = _clean(endpoint, re.split(r"[?#]", location)[0])
    return ModelUnavailable(
        f"The server of {_who(endpoint)} sends its visitors elsewhere"
        + (f", to {there}." if there else "."),
        cure="Redirects are not followed with a key in hand; enter the right address itself.",
    )


def _context_exceeded(endpoint: Endpoint, details: Mapping[str, Any], said: str) -> ContextExceeded:
    in_messages = _IN_THE_MESSAGES.search(said) or _PROMPT_TOKENS.search(said)
    return ContextExceeded(
        f"The prompt is longer than {endpoint.model} can hold.",
        prompt_tokens=_number(details.get("n_prompt_tokens")) or _found(in_messages),
        context_tokens=_number(details.get("n_ctx")) or _found(_CONTEXT_TOKENS.search(said)),
    )


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "Try again in a moment."
    if seconds < 120:
        return f"It can be asked again in {max(1, ceil(seconds))} seconds."
    if seconds < 2 * 3600:
        return f"It can be asked again in {ceil(seconds / 60)} minutes."
    return f"It can be asked again in {ceil(seconds / 3600)} hours."


# --- a server that is not reached, or goes away -----------------------------------------------


def unreachable(endpoint: Endpoint, error: BaseException) -> ModelError:
    """The error for a connection that could not be made."""
    host = _host(endpoint)
    cause = _innermost(error)
    if isinstance(cause, gaierror):
        return ModelUnavailable(
            f"The host {urlsplit(endpoint.base_url).hostname or host} cannot be found.",
            cure="Check the address and the network.",
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = cause.verify_message or "it cannot be checked"
        return ModelUnavailable(
            f"The certificate of {host} is not trusted: {reason}.",
            cure="Check the address; a server of your own needs a certificate that this "
            "machine trusts.",
        )
    if isinstance(cause, ssl.SSLError):
        return ModelUnavailable(
            f"{host} does not speak TLS.", cure="Its address may have to begin with http://."
        )
    if endpoint.started_here:
        return ModelUnavailable(
            f"The server of {endpoint.model} is not running.", cure=_STARTED_AGAIN
        )
    if isinstance(cause, TimeoutError) or "timeout" in type(error).__name__.lower():
        return ModelUnavailable(
            f"{host}, where {endpoint.model} should be, does not take the connection.",
            cure="Check the address, the network and whether the server is overloaded.",
        )
    return ModelUnavailable(
        f"Nothing answers at {host}, where {endpoint.model} should be: it is not running.",
        cure="Start that server, or correct its address.",
    )


def gone(endpoint: Endpoint, *, answering: bool) -> ModelError:
    """The error for a connection that broke, before an answer or within one."""
    if answering:
        return ModelUnavailable(
            f"The server of {_who(endpoint)} went away in the middle of its answer.",
            cure=_again(endpoint),
        )
    return ModelUnavailable(
        f"The server of {_who(endpoint)} went away without an answer.", cure=_again(endpoint)
    )


def silent(endpoint: Endpoint, seconds: float, *, tokens: int, is_trickle: bool) -> ModelError:
    """The error for a server that says nothing, or as good as nothing, for too long."""
    who = _who(endpoint)
    if not tokens:
        return ModelTimeout(f"{who} did not answer in time ({seconds:g} s).", cure=_PATIENCE)
    if is_trickle:
        return ModelTimeout(
            f"{who} is too slow to wait for: a few tokens in {seconds:g} s.", cure=_PATIENCE
        )
    return ModelTimeout(
        f"{who} fell silent in the middle of its answer ({seconds:g} s).", cure=_PATIENCE
    )


# --- a server that says something else --------------------------------------------------------


def cut_off(endpoint: Endpoint) -> ModelError:
    """The error for an answer that ends without being finished."""
    return ModelProtocolError(
        f"The answer of {_who(endpoint)} was cut off.", cure="Try the question again."
    )


def not_the_protocol(endpoint: Endpoint, *, answering: bool = False) -> ModelError:
    """The error for what no model server says."""
    if answering:
        return ModelProtocolError(
            f"The server of {_who(endpoint)} sent something unreadable in the middle of its "
            "answer.",
            cure="Try the question again.",
        )
    return ModelProtocolError(
        f"The server of {_who(endpoint)} does not speak the chat protocol.", cure=_CHECK_ADDRESS
    )


def no_address(endpoint: Endpoint) -> ModelError:
    """The error for an address that cannot be one of a server."""
    return ModelUnavailable(
        f"The address of {endpoint.model} is not one of a web server.",
        cure="It has to begin with http:// or https://.",
    )


def unsendable(endpoint: Endpoint) -> ModelError:
    """The error for a key that no request can carry."""
    return ModelUnavailable(
        f"The key for the server of {_who(endpoint)} has characters that cannot be sent.",
        cure="Copy it again, without line breaks.",
    )


def not_plain(endpoint: Endpoint) -> ModelError:
    """The error for bytes that are no text, such as the alert of a server that speaks TLS."""
    return ModelProtocolError(
        f"{_host(endpoint)} does not answer in plain HTTP.",
        cure="If it speaks TLS, its address has to begin with https://.",
    )


def wants_tls(endpoint: Endpoint) -> ModelError:
    """The error for a server that speaks TLS where plain HTTP was expected."""
    return ModelUnavailable(
        f"{_host(endpoint)} speaks TLS only.", cure="Its address has to begin with https://."
    )


def too_much(endpoint: Endpoint) -> ModelError:
    """The error for a server that sends more than any answer needs."""
    return ModelProtocolError(
        f"The server of {_who(endpoint)} sent far more than an answer and was cut off.",
        cure="Try again; if it goes on, it is not a sound model server.",
    )


def only_thoughts(endpoint: Endpoint, tokens: int) -> ModelError:
    """The error for an answer that never began, since thinking took its whole length."""
    return ModelProtocolError(
        f"{_who(endpoint)} thought for {tokens} tokens and wrote no answer.",
        cure="Allow a longer answer.",
    )


def only_tools(endpoint: Endpoint) -> ModelError:
    """The error for a model that wants to call a tool instead of answering."""
    return ModelProtocolError(
        f"{_who(endpoint)} asked for a tool instead of answering.",
        cure="Ask in other words: there are no tools here.",
    )


def withheld(endpoint: Endpoint) -> ModelError:
    """The error for an answer that the server's content filter stopped."""
    return ModelProtocolError(
        f"The content filter of {_who(endpoint)} stopped the answer.", cure="Ask in other words."
    )


def origin(endpoint: Endpoint, error: BaseException) -> BaseException | None:
    """What a log may keep as the origin of an error of ours: nothing that repeats the key."""
    return None if redacted(str(error), endpoint.key) != str(error) else error


# --- words ------------------------------------------------------------------------------------


def redacted(text: str, key: str) -> str:
    """A text without the key, whole or in parts that give it away."""
    if len(key) < 4:
        return text
    text = text.replace(key, HIDDEN)
    found, size = text.casefold(), _LEAKING
    parts = {key[start : start + size].casefold() for start in range(len(key) - size + 1)}
    hidden = {
        place
        for start in range(len(text) - size + 1)
        if len(found) == len(text) and found[start : start + size] in parts
        for place in range(start, start + size)
    }
    shown = "".join("\x00" if at in hidden else one for at, one in enumerate(text))
    return re.sub("\x00+", HIDDEN, shown)


def _clean(endpoint: Endpoint, text: str) -> str:
    """Words of a server on one line: printable, short and without the key."""
    printable = "".join(one if one.isprintable() else " " for one in text[: 20 * _MOST_SAID])
    line = redacted(" ".join(printable.split()), endpoint.key)
    return line if len(line) <= _MOST_SAID else f"{line[: _MOST_SAID - 1]}…"


def _said(endpoint: Endpoint, body: object) -> str:
    """What the server gives as the reason; nothing for a web page."""
    details = _details(body)
    for name in ("message", "detail", "error", "msg", "title"):
        value = details.get(name)
        if isinstance(value, list):  # how FastAPI reports what is wrong with a request
            value = "; ".join(str(one.get("msg", "")) for one in value if isinstance(one, dict))
        if isinstance(value, str) and value.strip():
            return _clean(endpoint, value)
    if isinstance(body, str) and not body.lstrip().startswith("<"):
        return _clean(endpoint, body)
    return ""


def _details(body: object) -> Mapping[str, Any]:
    """The part of an error's body that describes it: dialects nest it differently."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    inner = body.get("error")
    if isinstance(inner, str) and inner.lstrip().startswith("{"):
        return body
    return inner if isinstance(inner, dict) else body


def _who(endpoint: Endpoint) -> str:
    return endpoint.model if endpoint.started_here else f"{endpoint.model} ({_host(endpoint)})"


def _host(endpoint: Endpoint) -> str:
    """The host with its port, without the user name and password that an address may carry."""
    return urlsplit(endpoint.base_url).netloc.rpartition("@")[2] or endpoint.provider or "?"


def _address(endpoint: Endpoint) -> str:
    return f"{_host(endpoint)}{urlsplit(endpoint.base_url).path}"


def _again(endpoint: Endpoint) -> str:
    return _STARTED_AGAIN if endpoint.started_here else _TRY_AGAIN


def _status(status: int) -> str:
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"{status} {known[status]}" if status in known else str(status)


def _innermost(error: BaseException) -> BaseException:
    """The system's own error that a library's error was made from."""
    seen = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
        if isinstance(seen, ssl.SSLError | gaierror):
            break
    return seen


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _found(match: re.Match[str] | None) -> int:
    digits = next((group for group in match.groups() if group), "") if match else ""
    digits = digits.replace(",", "")
    return int(digits) if 0 < len(digits) < 12 else 0


def _decimal(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None
