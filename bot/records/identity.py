"""The name of these records among others, given once when they are made."""

from __future__ import annotations

from sqlalchemy import Engine, select
from sqlalchemy.orm import Mapped, mapped_column

from bot.records.database import Table
from bot.records.transaction import transaction


class IdentityRecord(Table):
    """One row: a random name."""

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(primary_key=True)


def identity(engine: Engine) -> str:
    """What tells these records from all others, wherever they are moved to.

    Raises:
        RecordsError: the records cannot be read.
    """
    with transaction(engine) as session:
        # A mended file has two names: its own, and the one that was kept.
        return session.scalars(select(IdentityRecord.id).order_by(IdentityRecord.id)).first() or ""
