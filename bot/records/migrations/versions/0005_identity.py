"""A name of their own for these records, by which a shared vector server tells them apart."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

from bot.records.database import Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    table = op.create_table("identity", sa.Column("id", Text(), primary_key=True))
    op.bulk_insert(table, [{"id": uuid4().hex}])


def downgrade() -> None:
    op.drop_table("identity")
