"""The tables of version 0.1.0, which were made without migrations.

Tables that are there already are taken over with their rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.errors import RecordsError
from bot.records.database import BIG, Text

revision = "0001"
down_revision = None

baseline = sa.MetaData()

sa.Table(
    "conversations",
    baseline,
    sa.Column("id", Text, primary_key=True),
    sa.Column("title", Text, nullable=False),
    sa.Column("created_at", Text, nullable=False),
    sa.Column("updated_at", Text, nullable=False, index=True),
)
sa.Table(
    "turns",
    baseline,
    sa.Column("id", Text, primary_key=True),
    sa.Column(
        "conversation_id",
        Text,
        sa.ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("question", Text, nullable=False),
    sa.Column("asked_at", Text, nullable=False),
)
sa.Table(
    "answers",
    baseline,
    sa.Column("id", Text, primary_key=True),
    sa.Column(
        "turn_id", Text, sa.ForeignKey("turns.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("strategy", Text, nullable=False),
    sa.Column("status", Text, nullable=False, index=True),
    sa.Column("owner", Text, nullable=False),
    sa.Column("text", Text, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("off_topic", sa.Boolean, nullable=False),
    sa.Column("prompt", sa.JSON, nullable=False),
    sa.Column("trimming", sa.JSON),
    sa.Column("first_token_seconds", sa.Double),
    sa.Column("total_seconds", sa.Double),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("answer_tokens", sa.Integer, nullable=False),
    sa.Column("fingerprint", sa.JSON),
    sa.Column("error", Text, nullable=False),
    sa.Column("cure", Text, nullable=False),
    sa.Column("vote", sa.Integer, nullable=False),
)
sa.Table(
    "documents",
    baseline,
    sa.Column("name", Text, primary_key=True),
    sa.Column("sha256", Text, nullable=False, index=True),
    sa.Column("title", Text, nullable=False),
    sa.Column("kind", Text, nullable=False),
    sa.Column("size_bytes", BIG, nullable=False),
    sa.Column("modified_ns", BIG, nullable=False),
    sa.Column("layout", Text, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("error", Text, nullable=False),
    sa.Column("duplicate_of", Text, nullable=False),
    sa.Column("updated_at", Text, nullable=False),
)
sa.Table(
    "passages",
    baseline,
    sa.Column("id", Text, primary_key=True),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("document", Text, nullable=False),
    sa.Column("title", Text, nullable=False),
    sa.Column("heading", Text, nullable=False),
    sa.Column("page", sa.Integer),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("text", Text, nullable=False),
    sa.Index("passages_of_content", "sha256", "number"),
)
sa.Table(
    "keyword_postings",
    baseline,
    sa.Column("term", Text, primary_key=True),
    sa.Column("passage_id", Text, primary_key=True, index=True),
    sa.Column("count", sa.Integer, nullable=False),
)
sa.Table(
    "keyword_lengths",
    baseline,
    sa.Column("passage_id", Text, primary_key=True),
    sa.Column("length", sa.Integer, nullable=False),
)


def upgrade() -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    there = set(inspector.get_table_names())
    for table in baseline.sorted_tables:
        if table.name in there:
            columns = {column["name"] for column in inspector.get_columns(table.name)}
            if columns != set(table.columns.keys()):
                raise RecordsError(
                    f"The database has a table {table.name} of another program.",
                    cure="Give Triptych a database of its own.",
                )
    baseline.create_all(connection)


def downgrade() -> None:
    baseline.drop_all(op.get_bind())
