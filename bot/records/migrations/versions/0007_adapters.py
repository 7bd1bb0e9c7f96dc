"""Answers of several adapters side by side: which one answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.database import Text

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("answers", sa.Column("adapter", Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("answers", "adapter")
