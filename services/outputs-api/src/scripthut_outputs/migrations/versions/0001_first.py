"""The tables of the outputs service as they began."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from scripthut_common.database import UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_clusters()
    _create_dead_letters()
    _create_documents()
    _create_idempotency_keys()
    _create_inbox()
    _create_login_codes()
    _create_outbox()
    _create_runs()
    _create_items()
    _create_collections()
    _create_files()


def downgrade() -> None:
    for table in (
        "files",
        "collections",
        "items",
        "runs",
        "outbox",
        "login_codes",
        "inbox",
        "idempotency_keys",
        "documents",
        "dead_letters",
        "clusters",
    ):
        op.drop_table(table, schema="outputs")


def _create_clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("last_good_round_at", UtcTime(), nullable=True),
        sa.Column("commands_per_minute", sa.Double(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("observed_at", UtcTime(), nullable=False),
        sa.Column(
            "collection_error", sa.Text(), nullable=True, comment="why the collector cannot reach it; null when it can"
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_clusters")),
        schema="outputs",
    )


def _create_dead_letters() -> None:
    op.create_table(
        "dead_letters",
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("buried_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("queue", "message_id", name=op.f("pk_dead_letters")),
        schema="outputs",
    )
    op.create_index(op.f("ix_dead_letters_buried_at"), "dead_letters", ["buried_at"], schema="outputs")


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("renderer", sa.Text(), nullable=False, comment="version of the renderer; a newer one renders anew"),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False, comment="pending, rendered or escaped"),
        sa.Column(
            "html", sa.Text(), nullable=True, comment="safe; links to the task's own files in the private scheme"
        ),
        sa.Column("due_at", UtcTime(), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", "renderer", name=op.f("pk_documents")),
        schema="outputs",
    )
    op.create_index(
        "ix_documents_due", "documents", ["due_at"], schema="outputs", postgresql_where=sa.text("due_at IS NOT NULL")
    )


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("document_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency_keys")),
        schema="outputs",
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], schema="outputs")


def _create_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("taken_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_inbox")),
        schema="outputs",
    )
    op.create_index(op.f("ix_inbox_taken_at"), "inbox", ["taken_at"], schema="outputs")


def _create_login_codes() -> None:
    op.create_table(
        "login_codes",
        sa.Column("code_sha256", sa.Text(), nullable=False, comment="the code itself is known to its bearer alone"),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("code_sha256", name=op.f("pk_login_codes")),
        schema="outputs",
    )


def _create_outbox() -> None:
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
        schema="outputs",
    )
    op.create_index("ix_outbox_added_at", "outbox", ["added_at"], schema="outputs")
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["number"],
        schema="outputs",
        postgresql_where=sa.text("published_at IS NULL"),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "document_sha256",
            sa.Text(),
            nullable=True,
            comment="of the run document; null for runs announced by others",
        ),
        sa.Column(
            "version", sa.BigInteger(), server_default="1", nullable=False, comment="raised by every visible change"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        schema="outputs",
    )
    op.create_index(op.f("ix_runs_created_at_run_id"), "runs", ["created_at", "run_id"], schema="outputs")


def _create_items() -> None:
    op.create_table(
        "items",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(
            "definition",
            JSONB(),
            nullable=True,
            comment="the task as asked, env values left out; null when announced by others",
        ),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
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
        sa.Column("submitted_at", UtcTime(), nullable=True),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("output_dir", sa.Text(), nullable=True),
        sa.Column("run_summary_path", sa.Text(), nullable=True),
        sa.Column("stdout_path", sa.Text(), nullable=True),
        sa.Column("stderr_path", sa.Text(), nullable=True),
        sa.Column("outputs_state", sa.Text(), server_default="none", nullable=False),
        sa.Column("has_outputs", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("has_run_summary", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("collected_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["outputs.runs.run_id"], name=op.f("fk_items_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "task_id", name=op.f("pk_items")),
        schema="outputs",
    )
    op.create_index(
        op.f("ix_items_run_id_position_task_id"), "items", ["run_id", "position", "task_id"], schema="outputs"
    )


def _create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column(
            "wanted", sa.Integer(), server_default="1", nullable=False, comment="raised by everything that asks for one"
        ),
        sa.Column("due_at", UtcTime(), nullable=True, comment="null when nothing is to be done"),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column(
            "failures", sa.Integer(), server_default="0", nullable=False, comment="in a row, that reached the cluster"
        ),
        sa.Column("first_failed_at", UtcTime(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it waits or failed, in words for people"),
        sa.ForeignKeyConstraint(
            ["run_id", "task_id"],
            ["outputs.items.run_id", "outputs.items.task_id"],
            name=op.f("fk_collections_run_id_task_id_items"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "task_id", name=op.f("pk_collections")),
        schema="outputs",
    )
    op.create_index(
        "ix_collections_due",
        "collections",
        ["cluster", "due_at"],
        schema="outputs",
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )


def _create_files() -> None:
    op.create_table(
        "files",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False, comment="output, run_summary, stdout or stderr"),
        sa.Column("path", sa.LargeBinary(), nullable=False, comment="bytes as on the cluster, relative to the place"),
        sa.Column("kind", sa.Text(), nullable=False, comment="markdown, image or other"),
        sa.Column("state", sa.Text(), nullable=False, comment="stored, or why it was left out"),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False, comment="files that this row speaks for"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True, comment="on the cluster, when it was seen"),
        sa.Column("modified_at", sa.Double(), nullable=True, comment="epoch seconds, the cluster's clock"),
        sa.Column("sha256", sa.Text(), nullable=True, comment="of the stored bytes"),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=True, comment="less than size_bytes for a log's tail"),
        sa.Column("remote_path", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="more words, where the state does not say all"),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("collected_at", UtcTime(), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "task_id"],
            ["outputs.items.run_id", "outputs.items.task_id"],
            name=op.f("fk_files_run_id_task_id_items"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "task_id", "place", "path", name=op.f("pk_files")),
        schema="outputs",
    )
    op.create_index("ix_files_sha256", "files", ["sha256"], schema="outputs")
