"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from scripthut_common.database import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "clusters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("home", sa.Text(), nullable=True, comment="what ~ means there; read once"),
        sa.Column("state", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("last_good_round_at", UtcTime(), nullable=True),
        sa.Column("published_at", UtcTime(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_clusters")),
        schema="poller",
    )
    op.create_table(
        "inbox",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("taken_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_inbox")),
        schema="poller",
    )
    op.create_index(op.f("ix_inbox_taken_at"), "inbox", ["taken_at"], unique=False, schema="poller")
    op.create_table(
        "outbox",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("mandatory", sa.Boolean(), nullable=False),
        sa.Column("added_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_until", UtcTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("published_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox")),
        sa.UniqueConstraint("message_id", name=op.f("uq_outbox_message_id")),
        schema="poller",
    )
    op.create_index("ix_outbox_added_at", "outbox", ["added_at"], unique=False, schema="poller")
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["number"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "run_parts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("document_sha256", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the command as it came"),
        sa.Column("received_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "document_sha256", "part", name=op.f("pk_run_parts")),
        schema="poller",
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("log_dir", sa.Text(), nullable=False, comment="as asked; ~ is not expanded here"),
        sa.Column(
            "document_sha256", sa.Text(), nullable=True, comment="what was asked; null for runs announced by others"
        ),
        sa.Column("created_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("cancel_requested_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        schema="poller",
    )
    op.create_table(
        "items",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(
            "turn",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="order of submission: parents before children",
        ),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("task", JSONB(), nullable=True, comment="the task as asked; null for items announced by others"),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("confirmed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("evidence", sa.Text(), server_default="none", nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("scheduler_word", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("job_submitted_at", UtcTime(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True, comment="of the submission; the exit record must name it"),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=True),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("output_dir", sa.Text(), nullable=True),
        sa.Column("run_summary_path", sa.Text(), nullable=True),
        sa.Column("stdout_path", sa.Text(), nullable=True),
        sa.Column("stderr_path", sa.Text(), nullable=True),
        sa.Column("entered_at", UtcTime(), nullable=True, comment="when it entered its present state"),
        sa.Column(
            "waited_s", sa.Double(), server_default="0", nullable=False, comment="good-round time in the present state"
        ),
        sa.Column("observed_at", UtcTime(), nullable=True, comment="the last good round that looked at it"),
        sa.Column("announced_at", UtcTime(), nullable=True, comment="when item.changed was last published"),
        sa.Column(
            "is_unannounced", sa.Boolean(), server_default="false", nullable=False, comment="an item.changed is owed"
        ),
        sa.Column("submission", sa.Uuid(), nullable=True, comment="the claim of whoever hands it to the scheduler"),
        sa.Column("submission_until", UtcTime(), nullable=True),
        sa.Column(
            "submission_started_at",
            UtcTime(),
            nullable=True,
            comment="set before sbatch may have run; look up before trying again",
        ),
        sa.Column(
            "is_held", sa.Boolean(), server_default="false", nullable=False, comment="has dependents, not yet released"
        ),
        sa.Column("cancel_sent_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["poller.runs.run_id"], name=op.f("fk_items_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "task_id", name=op.f("pk_items")),
        schema="poller",
    )
    op.create_index(
        "ix_items_alive",
        "items",
        ["cluster", "state"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("state != 'final'"),
    )
    op.create_index(
        "ix_items_pending",
        "items",
        ["run_id", "turn"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(op.f("ix_items_run_id_position"), "items", ["run_id", "position"], unique=False, schema="poller")
    op.create_index(
        "ix_items_unannounced",
        "items",
        ["cluster"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("is_unannounced"),
    )
    op.create_index(
        "ix_items_unclear",
        "items",
        ["cluster", "submission_started_at"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("state = 'pending' AND submission_started_at IS NOT NULL"),
    )
    op.create_index(
        "ix_items_unconfirmed",
        "items",
        ["cluster", "entered_at"],
        unique=False,
        schema="poller",
        postgresql_where=sa.text("state = 'final' AND NOT confirmed"),
    )


def downgrade() -> None:
    for table in ("items", "runs", "run_parts", "outbox", "inbox", "clusters"):
        op.drop_table(table, schema="poller")
