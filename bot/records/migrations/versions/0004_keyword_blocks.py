"""The keyword index in blocks of passages. It fills again when the documents are next looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.database import Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_table("keyword_postings")
    op.drop_table("keyword_lengths")
    op.create_table(
        "keyword_blocks",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Integer(), nullable=False),
    )
    op.create_table(
        "keyword_members",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("passage_id", Text(), nullable=False, index=True, unique=True),
        sa.Column("length", sa.Integer(), nullable=False),
    )
    op.create_table(
        "keyword_terms",
        sa.Column("block", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("term", Text(), primary_key=True),
        sa.Column("postings", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("keyword_terms", "keyword_members", "keyword_blocks"):
        op.drop_table(table)
    op.create_table(
        "keyword_postings",
        sa.Column("term", Text(), primary_key=True),
        sa.Column("passage_id", Text(), primary_key=True, index=True),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    op.create_table(
        "keyword_lengths",
        sa.Column("passage_id", Text(), primary_key=True),
        sa.Column("length", sa.Integer(), nullable=False),
    )
