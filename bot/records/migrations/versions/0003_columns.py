"""Answers of several models: which one answered, at what cost.

Until here there was one model, the embedded one, which is free.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

text = sa.String().with_variant(sa.String(collation="C"), "postgresql")

answers = sa.table("answers", sa.column("id", text), sa.column("fingerprint", sa.JSON))

RENAMED = {"weights_sha256": "weights", "adapter_sha256": "adapter"}
"""Of a fingerprint: weights behind another server have a name and no checksum."""


def upgrade() -> None:
    only = {"model": "embedded", "model_title": "SmolLM2-135M-Instruct"}
    for name, value in only.items():
        op.add_column("answers", sa.Column(name, text, nullable=False, server_default=value))
    op.add_column("answers", sa.Column("cost", sa.Double))
    op.execute("UPDATE answers SET cost = 0 WHERE fingerprint IS NOT NULL")
    _rename_in_fingerprints(RENAMED)


def downgrade() -> None:
    _rename_in_fingerprints({new: old for old, new in RENAMED.items()})
    for name in ("cost", "model_title", "model"):
        op.drop_column("answers", name)


def _rename_in_fingerprints(names: dict[str, str]) -> None:
    connection = op.get_bind()
    marks = connection.execute(sa.select(answers.c.id, answers.c.fingerprint)).all()
    changed = [
        {"key": key, "mark": {names.get(name, name): value for name, value in mark.items()}}
        for key, mark in marks
        if mark
    ]
    if changed:
        statement = sa.update(answers).where(answers.c.id == sa.bindparam("key"))
        connection.execute(statement.values(fingerprint=sa.bindparam("mark")), changed)
