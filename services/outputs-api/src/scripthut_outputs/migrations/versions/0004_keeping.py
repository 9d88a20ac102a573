"""What waits to become visible, what is kept and for how long."""

import sqlalchemy as sa
from alembic import op

from scripthut_common.database import UtcTime

revision = "0004"
down_revision = "0003"

_UTC = UtcTime()
_ADDED = (
    ("runs", "pinned_at", _UTC, "what is pinned is kept whatever the retention says; null when it is not"),
    ("runs", "pinned_by", sa.Text(), None),
    ("collections", "first_looked_at", _UTC, "when it was first seen that not everything is visible yet"),
    ("collections", "listing_sha256", sa.Text(), "of the last look, where no exit record vouches for it"),
    ("collections", "listed_at", _UTC, "when that look was"),
    ("files", "removed_at", _UTC, "when what had been stored was removed; hash and size stay"),
    ("files", "removal", sa.Text(), "why it was: age, total_size or damage"),
)
_FLAGS = (
    ("succeeded", "the item did; others come first"),
    ("is_alone", "takes its own trips: failed, or large"),
)
_DUE = "ix_collections_due"


def upgrade() -> None:
    looks = sa.Column(
        "looks", sa.Integer(), server_default="0", nullable=False, comment="that did not see everything yet"
    )
    op.add_column("collections", looks, schema="outputs")
    for name, comment in _FLAGS:
        flag = sa.Column(name, sa.Boolean(), server_default="false", nullable=False, comment=comment)
        op.add_column("collections", flag, schema="outputs")
    for table, name, type_, comment in _ADDED:
        op.add_column(table, sa.Column(name, type_, nullable=True, comment=comment), schema="outputs")
    damaged = sa.text("removal = 'damage'")
    op.create_index("ix_files_damaged", "files", ["sha256"], schema="outputs", postgresql_where=damaged)
    _create_claiming()
    touched = "when a collection relied on it"
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", _UTC, server_default=sa.text("now()"), nullable=False, comment=touched),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
        schema="outputs",
    )
    op.create_index(op.f("ix_blobs_touched_at"), "blobs", ["touched_at"], schema="outputs")
    op.execute(
        "INSERT INTO outputs.blobs (sha256, size_bytes) "
        "SELECT sha256, max(stored_bytes) FROM outputs.files WHERE state = 'stored' GROUP BY sha256"
    )


def _create_claiming() -> None:
    op.execute(
        "UPDATE outputs.collections SET succeeded = items.outcome = 'succeeded' FROM outputs.items "
        "WHERE items.run_id = collections.run_id AND items.task_id = collections.task_id AND items.outcome IS NOT NULL"
    )
    _replace_due_index(["cluster", "is_alone", "run_id", "succeeded", "due_at"])


def _replace_due_index(columns: list[str]) -> None:
    op.drop_index(_DUE, "collections", schema="outputs")
    op.create_index(_DUE, "collections", columns, schema="outputs", postgresql_where=sa.text("due_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_table("blobs", schema="outputs")
    _replace_due_index(["cluster", "due_at"])
    for name, _ in reversed(_FLAGS):
        op.drop_column("collections", name, schema="outputs")
    for table, name, _, _ in reversed(_ADDED):
        op.drop_column(table, name, schema="outputs")
    op.drop_column("collections", "looks", schema="outputs")
