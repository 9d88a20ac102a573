"""The tables of the poller, schema `poller`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from scripthut_common import inbox, outbox
from scripthut_common.database import UtcTime, metadata

METADATA = metadata("poller")
OUTBOX = outbox.define(METADATA)
INBOX = inbox.define(METADATA)

RUN_PARTS = Table(
    "run_parts",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("document_sha256", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False, comment="the command as it came"),
    Column("received_at", UtcTime, nullable=False, server_default=func.now()),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("log_dir", Text, nullable=False, comment="as asked; ~ is not expanded here"),
    Column("document_sha256", Text, comment="what was asked; null for runs announced by others"),
    Column("created_at", UtcTime, nullable=False, server_default=func.now()),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("cancel_requested_at", UtcTime),
)

ITEMS = Table(
    "items",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("turn", Integer, nullable=False, server_default="0", comment="order of submission: parents before children"),
    Column("cluster", Text, nullable=False),
    Column("task", JSONB, comment="the task as asked; null for items announced by others"),
    Column("task_name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("outcome", Text),
    Column("confirmed", Boolean, nullable=False, server_default="false"),
    Column("evidence", Text, nullable=False, server_default="none"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", Text),
    Column("scheduler_word", Text),
    Column("job_id", Text),
    Column("job_submitted_at", UtcTime, comment="by the scheduler's own clock; null until it has told"),
    Column("handed_in_at", UtcTime, comment="by the clock of the login node, or of whoever announced the job"),
    Column("nonce", Text, comment="of the submission; the exit record must name it"),
    Column("attempt", Integer, nullable=False, server_default="1"),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("submitted_at", UtcTime),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("node", Text),
    Column("output_dir", Text),
    Column("run_summary_path", Text),
    Column("stdout_path", Text),
    Column("stderr_path", Text),
    Column("entered_at", UtcTime, comment="when it entered its present state"),
    Column("waited_s", Double, nullable=False, server_default="0", comment="good-round time in the present state"),
    Column("observed_at", UtcTime, comment="the last good round that looked at it"),
    Column("announced_at", UtcTime, comment="when item.changed was last published"),
    Column("is_unannounced", Boolean, nullable=False, server_default="false", comment="an item.changed is owed"),
    Column("submission", Uuid, comment="the claim of whoever hands it to the scheduler"),
    Column("submission_until", UtcTime),
    Column("submission_started_at", UtcTime, comment="set before sbatch may have run; look up before trying again"),
    Column("is_held", Boolean, nullable=False, server_default="false", comment="has dependents, not yet released"),
    Column("cancel_sent_at", UtcTime),
    Column("job_user", Text, comment="the account that the job runs as; null: the one that we log in as"),
    Column("extension", Text, comment="of the run by a list that the task generates: pending, done or refused"),
    Column("extension_error", Text, comment="why its list was refused"),
    Column("extension_tries", Integer, nullable=False, server_default="0"),
    Column("extension_due_at", UtcTime, comment="when its list is to be read next"),
    Column("generated_by", Text, comment="the task whose list it comes from"),
    Column(
        "awaits_ends",
        Boolean,
        nullable=False,
        server_default="false",
        comment="submitted when what it depends on has ended: the scheduler may have forgotten it by then",
    ),
    ForeignKeyConstraint(["run_id"], ["poller.runs.run_id"], ondelete="CASCADE"),
    Index(None, "run_id", "position"),
)
Index("ix_items_alive", ITEMS.c.cluster, ITEMS.c.state, postgresql_where=ITEMS.c.state != "final")
Index(
    "ix_items_unconfirmed",
    ITEMS.c.cluster,
    ITEMS.c.entered_at,
    postgresql_where=text("state = 'final' AND NOT confirmed"),
)
Index("ix_items_pending", ITEMS.c.run_id, ITEMS.c.turn, postgresql_where=ITEMS.c.state == "pending")
Index(
    "ix_items_unclear",
    ITEMS.c.cluster,
    ITEMS.c.submission_started_at,
    postgresql_where=text("state = 'pending' AND submission_started_at IS NOT NULL"),
)
Index(
    "ix_items_extending",
    ITEMS.c.cluster,
    ITEMS.c.extension_due_at,
    postgresql_where=text("extension = 'pending' AND state = 'final'"),
)
Index("ix_items_job_id", ITEMS.c.cluster, ITEMS.c.job_id)
Index("ix_items_unannounced", ITEMS.c.cluster, postgresql_where=ITEMS.c.is_unannounced)

CLUSTERS = Table(
    "clusters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("home", Text, comment="what ~ means there; read once"),
    Column("state", Text, nullable=False, server_default="unknown"),
    Column("error", Text),
    Column("last_good_round_at", UtcTime),
    Column("answered_at", UtcTime, comment="the last round in which the queue answered"),
    Column("answering_since", UtcTime, comment="since when it has answered without a long gap"),
    Column("published_at", UtcTime),
    Column("scanned_at", UtcTime, comment="the cluster's own clock at the last whole scan for jobs to adopt"),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
)

LEASES = Table(
    "leases",
    METADATA,
    Column("cluster", Text, primary_key=True),
    Column("holder", Text, nullable=False, comment="the poller process that alone asks this cluster"),
    Column("until", UtcTime, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="raised whenever the holder changes"),
)
