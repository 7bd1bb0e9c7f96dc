"""Every setting, read once, typed, with units in names.

A setting comes from the environment (``TRIPTYCH_…``) or from a ``.env`` file beside ``app.py``;
the environment wins. Only `app.py`, `bot/commands.py` and `bot/services.py` read settings: every
room below receives plain values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What a person may change without touching code. Relative paths start at the repository."""

    model_config = SettingsConfigDict(
        env_prefix="TRIPTYCH_",
        env_file=ROOT / ".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    data_dir: Path = Field(
        default=Path("data"), description="Records, index and server state; git-ignored."
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="DATABASE_URL",
        description="PostgreSQL for the records; empty means a file in the data directory.",
    )
    chroma_url: str = Field(
        default="", description="A Chroma server started by others; empty means one of our own."
    )
    chroma_token: SecretStr = Field(
        default=SecretStr(""), description="Sent to that server as a bearer token."
    )
    knowledge_dir: Path = Field(
        default=Path("knowledge"), description="The documents; uploads land here."
    )
    adapters_dir: Path = Field(
        default=Path("adapters"), description="One folder per fine-tuned adapter."
    )
    adapter: str = Field(
        default="",
        description="Adapter that answers first; empty means the first one in the folder.",
    )
    model: str = Field(
        default="embedded", description="The model that answers unless another is chosen."
    )
    models: str = Field(default="", description="More models to choose from, comma separated.")
    hub_url: str = Field(
        default="", description="Model hub of hf: names; empty means HF_ENDPOINT or Hugging Face."
    )
    context_tokens: int = Field(
        default=4096, ge=512, le=8192, description="Context of one conversation with local weights."
    )
    remote_context_tokens: int = Field(
        default=8192, ge=512, description="Context of a remote model whose server does not say it."
    )
    answer_tokens: int = Field(
        default=160, ge=16, le=2048, description="Longest answer when the page opens."
    )
    temperature: float = Field(
        default=0.0, ge=0.0, le=2.0, description="Sampling temperature when the page opens."
    )
    seed: int = Field(default=7, ge=0, description="Sampling seed that all strategies share.")
    model_threads: int = Field(
        default=0, ge=0, description="Threads of each model server; 0 means cores minus one."
    )
    upload_megabytes: int = Field(
        default=25, ge=1, le=200, description="Largest document that is taken in."
    )
    answer_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest silence of a model server before giving up."
    )

    @property
    def records(self) -> Path | str:
        """Where the records are: an SQLite file, or the URL of a database."""
        return self.database_url.get_secret_value() or self.data_dir / "triptych.db"

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models of the settings, the main one first."""
        named = (self.model, *self.models.split(","))
        return tuple(dict.fromkeys(name.strip() for name in named if name.strip()))

    @property
    def threads(self) -> int:
        """Threads a model server may use: one core is left for the page and the browser."""
        return self.model_threads or max(1, (os.cpu_count() or 2) - 1)


def variable_of(name: str) -> str:
    """The environment variable that a setting is read from."""
    field = Settings.model_fields.get(name)
    return str((field and field.validation_alias) or f"TRIPTYCH_{name.upper()}")


def read_variables(secrets: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables in which keys and addresses of model servers may stand.

    Args:
        secrets: Streamlit's, which the page alone can read.

    Returns:
        Name → value; the environment wins over ``.env``, and that over the secrets.
    """
    from dotenv import dotenv_values

    written = {name: value or "" for name, value in dotenv_values(ROOT / ".env").items()}
    return {**(secrets or {}), **written, **os.environ}


def read_settings(**overrides: object) -> Settings:
    """Read the settings of this process, with paths made absolute.

    Raises:
        SettingsError: a value is of the wrong type or out of range; the message names the
            variable and the value.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        variable = variable_of(str(first["loc"][0])) if first["loc"] else "a setting"
        raise SettingsError(
            f"{variable} is {first.get('input')!r}: {first['msg']}.",
            cure="Correct it in the environment or in .env; README.md lists every setting.",
        ) from error
    folders = ("data_dir", "knowledge_dir", "adapters_dir")
    return settings.model_copy(
        update={name: (ROOT / getattr(settings, name)).resolve() for name in folders}
    )
