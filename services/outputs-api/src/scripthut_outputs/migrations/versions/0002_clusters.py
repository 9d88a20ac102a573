"""When a cluster was heard of by our own clock; whose runs are on which cluster."""

import sqlalchemy as sa
from alembic import op

from scripthut_common.database import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "clusters",
        sa.Column("heard_at", UtcTime(), nullable=True, comment="when the poller's word arrived, by our clock"),
        schema="outputs",
    )
    op.alter_column(
        "clusters",
        "observed_at",
        nullable=True,
        existing_type=UtcTime(),
        comment="when the poller said so, by its clock; null while it has said nothing",
        schema="outputs",
    )
    op.execute("UPDATE outputs.clusters SET heard_at = observed_at WHERE sequence > 0")
    op.execute("UPDATE outputs.clusters SET observed_at = NULL WHERE sequence = 0")
    op.create_index(op.f("ix_runs_owner_cluster"), "runs", ["owner", "cluster"], schema="outputs")


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_owner_cluster"), table_name="runs", schema="outputs")
    op.execute("UPDATE outputs.clusters SET observed_at = now() WHERE observed_at IS NULL")
    op.alter_column(
        "clusters",
        "observed_at",
        nullable=False,
        existing_type=UtcTime(),
        comment=None,
        existing_comment="when the poller said so, by its clock; null while it has said nothing",
        schema="outputs",
    )
    op.drop_column("clusters", "heard_at", schema="outputs")
