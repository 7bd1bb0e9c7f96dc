"""Sets of training examples."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.database import Text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "example_sets",
        sa.Column("id", Text(), primary_key=True),
        sa.Column("name", Text(), nullable=False, unique=True),
        sa.Column("created_at", Text(), nullable=False),
        sa.Column("updated_at", Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "examples",
        sa.Column("id", Text(), primary_key=True),
        sa.Column(
            "set_id",
            Text(),
            sa.ForeignKey("example_sets.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", Text(), nullable=False),
        sa.Column("source", Text(), nullable=False),
        sa.Column("document", Text(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("examples")
    op.drop_table("example_sets")
