"""Leases of clusters; accounts of adopted jobs; lists of tasks that tasks generate."""

import sqlalchemy as sa
from alembic import op

from scripthut_common.database import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False, comment="the poller process that alone asks this cluster"),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column(
            "epoch",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="raised whenever the holder changes",
        ),
        sa.PrimaryKeyConstraint("cluster", name=op.f("pk_leases")),
        schema="poller",
    )
    for column in (
        sa.Column("answered_at", UtcTime(), nullable=True, comment="the last round in which the queue answered"),
        sa.Column(
            "answering_since",
            UtcTime(),
            nullable=True,
            comment="since when it has answered without a long gap",
        ),
    ):
        op.add_column("clusters", column, schema="poller")
    op.add_column(
        "clusters",
        sa.Column(
            "scanned_at",
            UtcTime(),
            nullable=True,
            comment="the cluster's own clock at the last whole scan for jobs to adopt",
        ),
        schema="poller",
    )
    for column in (
        sa.Column(
            "job_user",
            sa.Text(),
            nullable=True,
            comment="the account that the job runs as; null: the one that we log in as",
        ),
        sa.Column(
            "extension",
            sa.Text(),
            nullable=True,
            comment="of the run by a list that the task generates: pending, done or refused",
        ),
        sa.Column(
            "extension_error",
            sa.Text(),
            nullable=True,
            comment="why its list was refused",
        ),
        sa.Column("extension_tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("extension_due_at", UtcTime(), nullable=True, comment="when its list is to be read next"),
        sa.Column("generated_by", sa.Text(), nullable=True, comment="the task whose list it comes from"),
        sa.Column(
            "awaits_ends",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="submitted when what it depends on has ended: the scheduler may have forgotten it by then",
        ),
    ):
        op.add_column("items", column, schema="poller")
    op.add_column(
        "items",
        sa.Column(
            "handed_in_at",
            UtcTime(),
            nullable=True,
            comment="by the clock of the login node, or of whoever announced the job",
        ),
        schema="poller",
    )
    op.alter_column(
        "items",
        "job_submitted_at",
        existing_type=UtcTime(),
        comment="by the scheduler's own clock; null until it has told",
        schema="poller",
    )
    op.execute(
        "UPDATE poller.items SET handed_in_at = job_submitted_at, job_submitted_at = NULL WHERE state = 'submitted'"
    )
    op.create_index(
        "ix_items_extending",
        "items",
        ["cluster", "extension_due_at"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("extension = 'pending' AND state = 'final'"),
    )
    op.create_index("ix_items_job_id", "items", ["cluster", "job_id"], unique=False, schema="poller")


def downgrade() -> None:
    op.drop_index("ix_items_job_id", "items", schema="poller")
    op.drop_index("ix_items_extending", "items", schema="poller")
    op.execute("UPDATE poller.items SET job_submitted_at = coalesce(job_submitted_at, handed_in_at)")
    op.alter_column("items", "job_submitted_at", existing_type=UtcTime(), comment=None, schema="poller")
    op.drop_column("items", "handed_in_at", schema="poller")
    columns = ("extension_due_at", "extension_tries", "extension_error", "extension", "job_user")
    for name in ("awaits_ends", "generated_by", *columns):
        op.drop_column("items", name, schema="poller")
    for name in ("scanned_at", "answering_since", "answered_at"):
        op.drop_column("clusters", name, schema="poller")
    op.drop_table("leases", schema="poller")
