"""Models that were added on the page, as records. A key is never among them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from bot.records.database import Table
from bot.records.transaction import transaction


class ModelTable(Table):
    """One model server's model, by the name a person gave it."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    base_url: Mapped[str]
    model: Mapped[str]
    context_tokens: Mapped[int | None]
    prompt_price_per_million: Mapped[float | None]
    answer_price_per_million: Mapped[float | None]
    passages: Mapped[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A model of a server that speaks the OpenAI protocol, or a file of a model hub.

    Args:
        name: what a person calls it.
        base_url: of the protocol, such as "http://127.0.0.1:11434/v1"; empty for a file of a hub.
        model: what the server calls it; for a file of a hub "hf:owner/repository/file.gguf".
        context_tokens: the longest conversation; None asks the server.
        prompt_price_per_million: in US dollars for a million prompt tokens; None when unknown.
        answer_price_per_million: in US dollars for a million answer tokens; None when unknown.
        passages: how many retrieved passages help it.
    """

    name: str
    base_url: str
    model: str
    context_tokens: int | None = None
    prompt_price_per_million: float | None = None
    answer_price_per_million: float | None = None
    passages: int = 4


def models(engine: Engine) -> list[ModelRecord]:
    """Every model that was added, sorted by name.

    Raises:
        RecordsError: the records cannot be read.
    """
    with transaction(engine) as session:
        rows = session.scalars(select(ModelTable).order_by(ModelTable.name))
        return [_record(row) for row in rows]


def put_model(engine: Engine, record: ModelRecord) -> None:
    """Add a model; one of the same name is replaced.

    Raises:
        RecordsError: nothing was written.
    """
    with transaction(engine) as session:
        session.merge(ModelTable(**asdict(record)))


def delete_model(engine: Engine, name: str) -> bool:
    """Take a model out; False when there is none of that name.

    Raises:
        RecordsError: nothing was removed.
    """
    statement = delete(ModelTable).where(ModelTable.name == name).returning(ModelTable.name)
    with transaction(engine) as session:
        return session.scalar(statement) is not None


def _record(row: ModelTable) -> ModelRecord:
    return ModelRecord(**{name: getattr(row, name) for name in ModelRecord.__slots__})
