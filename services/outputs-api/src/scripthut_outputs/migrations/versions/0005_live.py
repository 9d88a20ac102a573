"""What changed with which version of its run, which runs are open, what was read while a task ran."""

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
# Failures are all known outcomes but succeeded and unknown; waiting are pending, submitted and queued.
_STATES = """
UPDATE outputs.runs SET state = made.state FROM (
    SELECT run_id, CASE
        WHEN bool_and(outcome IS NULL AND state IN ('pending', 'submitted', 'queued')) THEN 'pending'
        WHEN bool_or(outcome IS NULL OR (outcome = 'succeeded' AND extension IS NOT DISTINCT FROM 'pending'))
            THEN 'running'
        WHEN bool_or(extension IS NOT DISTINCT FROM 'refused' OR outcome IN ('failed', 'cancelled', 'timed_out',
            'out_of_memory', 'node_failed', 'preempted', 'dependency_failed', 'submission_failed')) THEN 'failed'
        WHEN bool_or(outcome <> 'succeeded') THEN 'unknown'
        ELSE 'succeeded' END AS state
    FROM outputs.items GROUP BY run_id) AS made
WHERE runs.run_id = made.run_id
"""


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
    _index_lists()
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


def _index_lists() -> None:
    """What lists are filtered and sorted by, and what every run's items make of it so far."""
    op.create_index(op.f("ix_items_run_id_outcome_state"), "items", ["run_id", "outcome", "state"], schema="outputs")
    is_known = sa.text("extension IS NOT NULL")
    op.create_index("ix_items_extension", "items", ["run_id", "extension"], schema="outputs", postgresql_where=is_known)
    made = "what its items make of it, for lists"
    state = sa.Column("state", sa.Text(), server_default="pending", nullable=False, comment=made)
    op.add_column("runs", state, schema="outputs")
    op.execute(_STATES)
    for first in ("owner", "state"):
        columns = [first, "created_at", "run_id"]
        op.create_index(op.f(f"ix_runs_{first}_created_at_run_id"), "runs", columns, schema="outputs")
    op.create_index("ix_runs_lower_name_run_id", "runs", [sa.text("lower(name)"), "run_id"], schema="outputs")


def downgrade() -> None:
    for name in ("lower_name_run_id", "state_created_at_run_id", "owner_created_at_run_id"):
        op.drop_index(f"ix_runs_{name}", table_name="runs", schema="outputs")
    op.drop_column("runs", "state", schema="outputs")
    for name in ("extension", "run_id_outcome_state"):
        op.drop_index(f"ix_items_{name}", table_name="items", schema="outputs")
    op.drop_table("watched", schema="outputs")
    op.drop_index(op.f("ix_items_run_id_version"), table_name="items", schema="outputs")
    op.drop_column("runs", "follow", schema="outputs")
    for table, name, _ in (*_TIMES, *_VERSIONS):
        op.drop_column(table, name, schema="outputs")
