"""What changed with which version of its run, which runs are open, what was read while a task ran, and by whom."""

import sqlalchemy as sa
from alembic import op

from scripthut_common.database import UtcTime

revision = "0005"
down_revision = "0004"

_UTC = UtcTime()
_VERSIONS = (
    ("runs", "summary_version", "at which its summary last changed"),
    ("items", "version", "of the run, when this last changed"),
    ("items", "outputs_version", "of the run, when its files last did"),
)
_TIMES = (
    ("items", "followed_at", "as of when its files are shown while it runs; null once it is collected"),
    ("files", "followed_at", "when it was read while its task ran; null once it is collected"),
)


def upgrade() -> None:
    for table, name, comment in _VERSIONS:
        version = sa.Column(name, sa.BigInteger(), server_default="0", nullable=False, comment=comment)
        op.add_column(table, version, schema="outputs")
    for table, name, comment in _TIMES:
        op.add_column(table, sa.Column(name, _UTC, nullable=True, comment=comment), schema="outputs")
    wish = "its tasks' outputs, while they run"
    follow = sa.Column("follow", sa.Boolean(), server_default="false", nullable=False, comment=wish)
    op.add_column("runs", follow, schema="outputs")
    op.create_index(op.f("ix_items_run_id_version"), "items", ["run_id", "version"], schema="outputs")
    open_ = "somebody has it open; said again while they have"
    op.create_table(
        "watched",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("until", _UTC, nullable=False, comment=open_),
        sa.ForeignKeyConstraint(
            ["run_id"], ["outputs.runs.run_id"], name=op.f("fk_watched_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_watched")),
        schema="outputs",
    )
    running = sa.text("state IN ('running', 'settling')")
    op.create_index("ix_items_running", "items", ["run_id"], schema="outputs", postgresql_where=running)
    follower = "of the process that follows what runs there"
    op.create_table(
        "followers",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("lease", sa.Uuid(), nullable=False, comment=follower),
        sa.Column("lease_until", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_followers")),
        schema="outputs",
    )


def downgrade() -> None:
    op.drop_table("followers", schema="outputs")
    op.drop_index("ix_items_running", table_name="items", schema="outputs")
    op.drop_table("watched", schema="outputs")
    op.drop_index(op.f("ix_items_run_id_version"), table_name="items", schema="outputs")
    op.drop_column("runs", "follow", schema="outputs")
    for table, name, _ in (*_TIMES, *_VERSIONS):
        op.drop_column(table, name, schema="outputs")
