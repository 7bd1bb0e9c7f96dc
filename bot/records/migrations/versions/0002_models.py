"""The models that are added on the page."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.database import Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("name", Text(), primary_key=True),
        sa.Column("base_url", Text(), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("context_tokens", sa.Integer()),
        sa.Column("prompt_price_per_million", sa.Double()),
        sa.Column("answer_price_per_million", sa.Double()),
        sa.Column("passages", sa.Integer(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("models")
