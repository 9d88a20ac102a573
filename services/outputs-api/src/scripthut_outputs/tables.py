"""The tables of the outputs service, schema `outputs`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from scripthut_common import dead_letters, inbox, outbox
from scripthut_common.database import UtcTime, metadata
from scripthut_common.events import ItemState

METADATA = metadata("outputs")
OUTBOX = outbox.define(METADATA)
INBOX = inbox.define(METADATA)
DEAD_LETTERS = dead_letters.define(METADATA)

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False, server_default=func.now()),
    Column("document_sha256", Text, comment="of the run document; null for runs announced by others"),
    Column("version", BigInteger, nullable=False, server_default="1", comment="raised by every visible change"),
    Column("pinned_at", UtcTime, comment="what is pinned is kept whatever the retention says; null when it is not"),
    Column("pinned_by", Text),
    Column(
        "summary_version", BigInteger, nullable=False, server_default="0", comment="at which its summary last changed"
    ),
    Column("follow", Boolean, nullable=False, server_default="false", comment="its tasks' outputs, while they run"),
    Column("state", Text, nullable=False, server_default="pending", comment="what its items make of it, for lists"),
    Column("told_owner", Text, comment="whose it is by the word of its events; null: its owner's"),
    Column("account", Text, comment="on the cluster, that its jobs run as; null: the account of the service"),
    Column("visibility", Text, nullable=False, server_default="private", comment="private, group or instance"),
    Column("group", Text, comment="that may read it where `visibility` says so"),
    Index(None, "created_at", "run_id"),
    Index(None, "owner", "cluster"),
    Index(None, "owner", "created_at", "run_id"),
    Index(None, "state", "created_at", "run_id"),
)
# One for each order of a list, for each way in which somebody may see a run; see `catalog/visible.py`.
_STATE_FIRST = (RUNS.c.state, RUNS.c.created_at.desc(), RUNS.c.run_id.desc())
_NAME_FIRST = (func.lower(RUNS.c.name), RUNS.c.run_id)
_OLDEST_FIRST = (RUNS.c.created_at, RUNS.c.run_id)
_IS_OF_GROUP = RUNS.c.visibility == literal_column("'group'")
_IS_OF_ALL = RUNS.c.visibility == literal_column("'instance'")
Index("ix_runs_of_owner_by_name", RUNS.c.owner, *_NAME_FIRST)
Index("ix_runs_of_owner_by_state", RUNS.c.owner, *_STATE_FIRST)
Index("ix_runs_of_group", RUNS.c.group, *_OLDEST_FIRST, postgresql_where=_IS_OF_GROUP)
Index("ix_runs_of_group_by_name", RUNS.c.group, *_NAME_FIRST, postgresql_where=_IS_OF_GROUP)
Index("ix_runs_of_group_by_state", RUNS.c.group, *_STATE_FIRST, postgresql_where=_IS_OF_GROUP)
Index("ix_runs_of_group_by_cluster", RUNS.c.group, RUNS.c.cluster, *_OLDEST_FIRST, postgresql_where=_IS_OF_GROUP)
Index("ix_runs_of_all", *_OLDEST_FIRST, postgresql_where=_IS_OF_ALL)
Index("ix_runs_of_all_by_name", *_NAME_FIRST, postgresql_where=_IS_OF_ALL)
Index("ix_runs_of_all_by_state", *_STATE_FIRST, postgresql_where=_IS_OF_ALL)
Index("ix_runs_of_all_by_cluster", RUNS.c.cluster, *_OLDEST_FIRST, postgresql_where=_IS_OF_ALL)
Index("ix_runs_lower_name_run_id", func.lower(RUNS.c.name), RUNS.c.run_id)

ITEMS = Table(
    "items",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("task_name", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("definition", JSONB, comment="the task as asked, env values left out; null when announced by others"),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("outcome", Text),
    Column("confirmed", Boolean, nullable=False, server_default="false"),
    Column("evidence", Text, nullable=False, server_default="none"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("reason", Text),
    Column("scheduler_word", Text),
    Column("job_id", Text),
    Column("job_submitted_at", UtcTime),
    Column("submitted_at", UtcTime),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("node", Text),
    Column("output_dir", Text),
    Column("run_summary_path", Text),
    Column("stdout_path", Text),
    Column("stderr_path", Text),
    Column("outputs_state", Text, nullable=False, server_default="none"),
    Column("has_outputs", Boolean, nullable=False, server_default="false"),
    Column("has_run_summary", Boolean, nullable=False, server_default="false"),
    Column("collected_at", UtcTime),
    Column("extension", Text, comment="of the run by a list that the task generates: pending, done or refused"),
    Column("extension_error", Text, comment="why its list was refused"),
    Column("generated_by", Text, comment="the task whose list it comes from"),
    Column("version", BigInteger, nullable=False, server_default="0", comment="of the run, when this last changed"),
    Column(
        "outputs_version", BigInteger, nullable=False, server_default="0", comment="of the run, when its files last did"
    ),
    Column("followed_at", UtcTime, comment="as of when its files are shown while it runs; null once it is collected"),
    ForeignKeyConstraint(["run_id"], ["outputs.runs.run_id"], ondelete="CASCADE"),
    Index(None, "run_id", "position", "task_id"),
    Index(None, "run_id", "version"),
    Index(None, "run_id", "outcome", "state"),
)
RUNNING = ITEMS.c.state.in_([literal_column(f"'{state}'") for state in (ItemState.RUNNING, ItemState.SETTLING)])
Index("ix_items_running", ITEMS.c.run_id, postgresql_where=RUNNING)
HAS_FAILED_OUTPUTS = ITEMS.c.outputs_state == literal_column("'failed'")
Index("ix_items_failed_outputs", ITEMS.c.run_id, ITEMS.c.task_id, postgresql_where=HAS_FAILED_OUTPUTS)
Index("ix_items_extension", ITEMS.c.run_id, ITEMS.c.extension, postgresql_where=ITEMS.c.extension.isnot(None))

WATCHED = Table(
    "watched",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("until", UtcTime, nullable=False, comment="somebody has it open; said again while they have"),
    ForeignKeyConstraint(["run_id"], ["outputs.runs.run_id"], ondelete="CASCADE"),
)

FOLLOWERS = Table(
    "followers",
    METADATA,
    Column("cluster", Text, primary_key=True),
    Column("lease", Uuid, nullable=False, comment="of the process that follows what runs there"),
    Column("lease_until", UtcTime, nullable=False),
)

COLLECTIONS = Table(
    "collections",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("cluster", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("wanted", Integer, nullable=False, server_default="1", comment="raised by everything that asks for one"),
    Column("due_at", UtcTime, comment="null when nothing is to be done"),
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row, that reached the cluster"),
    Column("first_failed_at", UtcTime),
    Column("reason", Text, comment="why it waits or failed, in words for people"),
    Column("looks", Integer, nullable=False, server_default="0", comment="that did not see everything yet"),
    Column("first_looked_at", UtcTime, comment="when it was first seen that not everything is visible yet"),
    Column("listing_sha256", Text, comment="of the last look, where no exit record vouches for it"),
    Column("listed_at", UtcTime, comment="when that look was"),
    Column("succeeded", Boolean, nullable=False, server_default="false", comment="the item did; others come first"),
    Column(
        "is_alone", Boolean, nullable=False, server_default="false", comment="takes its own trips: failed, or large"
    ),
    ForeignKeyConstraint(["run_id", "task_id"], ["outputs.items.run_id", "outputs.items.task_id"], ondelete="CASCADE"),
)
# In the order of claiming, so that one run after the other is found, and what is first in each, without a sort.
Index(
    "ix_collections_due",
    COLLECTIONS.c.cluster,
    COLLECTIONS.c.is_alone,
    COLLECTIONS.c.run_id,
    COLLECTIONS.c.succeeded,
    COLLECTIONS.c.due_at,
    postgresql_where=COLLECTIONS.c.due_at.isnot(None),
)

FILES = Table(
    "files",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("place", Text, primary_key=True, comment="output, run_summary, stdout or stderr"),
    Column("path", LargeBinary, primary_key=True, comment="bytes as on the cluster, relative to the place"),
    Column("kind", Text, nullable=False, comment="markdown, image or other"),
    Column("state", Text, nullable=False, comment="stored, or why it was left out"),
    Column("count", Integer, nullable=False, server_default="1", comment="files that this row speaks for"),
    Column("size_bytes", BigInteger, comment="on the cluster, when it was seen"),
    Column("modified_at", Double, comment="epoch seconds, the cluster's clock"),
    Column("sha256", Text, comment="of the stored bytes"),
    Column("stored_bytes", BigInteger, comment="less than size_bytes for a log's tail"),
    Column("remote_path", Text),
    Column("reason", Text, comment="more words, where the state does not say all"),
    Column("attempt", Integer, nullable=False),
    Column("collected_at", UtcTime, nullable=False, server_default=func.now()),
    Column("removed_at", UtcTime, comment="when what had been stored was removed; hash and size stay"),
    Column("removal", Text, comment="why it was: age, total_size or damage"),
    Column("followed_at", UtcTime, comment="when it was read while its task ran; null once it is collected"),
    ForeignKeyConstraint(["run_id", "task_id"], ["outputs.items.run_id", "outputs.items.task_id"], ondelete="CASCADE"),
)
Index("ix_files_sha256", FILES.c.sha256)
Index("ix_files_damaged", FILES.c.sha256, postgresql_where=FILES.c.removal == "damage")

BLOBS = Table(
    "blobs",
    METADATA,
    Column("sha256", Text, primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("touched_at", UtcTime, nullable=False, server_default=func.now(), comment="when a collection relied on it"),
    Index(None, "touched_at"),
)

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("sha256", Text, primary_key=True),
    Column("renderer", Text, primary_key=True, comment="version of the renderer; a newer one renders anew"),
    Column("state", Text, nullable=False, server_default="pending", comment="pending, rendered or escaped"),
    Column("html", Text, comment="safe; links to the task's own files in the private scheme"),
    Column("due_at", UtcTime),
    Column("lease", Uuid),
    Column("lease_until", UtcTime),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
)
Index("ix_documents_due", DOCUMENTS.c.due_at, postgresql_where=DOCUMENTS.c.due_at.isnot(None))

CLUSTERS = Table(
    "clusters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("error", Text),
    Column("last_good_round_at", UtcTime),
    Column("commands_per_minute", Double, nullable=False, server_default="0"),
    Column("sequence", BigInteger, nullable=False),
    Column("observed_at", UtcTime, comment="when the poller said so, by its clock; null while it has said nothing"),
    Column("heard_at", UtcTime, comment="when the poller's word arrived, by our clock"),
    Column("collection_error", Text, comment="why the collector cannot reach it; null when it can"),
)

IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("document_sha256", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False, server_default=func.now()),
    Index(None, "created_at"),
)

LOGIN_CODES = Table(
    "login_codes",
    METADATA,
    Column("code_sha256", Text, primary_key=True, comment="the code itself is known to its bearer alone"),
    Column("actor", Text, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)

IDENTITIES = Table(
    "identities",
    METADATA,
    Column("name", Text, primary_key=True, comment="compared with a run's owner"),
    Column("issuer", Text, comment="of the OpenID provider or proxy that vouches for it; null for the tokens file"),
    Column("subject", Text, comment="what the issuer calls it, for ever"),
    Column("groups", ARRAY(Text), nullable=False, server_default="{}", comment="by the issuer's word"),
    Column("account", Text, comment="on clusters whose `accounts` is `claim`"),
    Column("first_seen_at", UtcTime, nullable=False, server_default=func.now()),
    Column("seen_at", UtcTime, nullable=False, server_default=func.now(), comment="when the issuer last vouched"),
    Column("disabled_at", UtcTime, comment="since then nobody comes in under this name"),
    Column("sessions_since", UtcTime, comment="sessions begun before are over; null: none was ended so"),
    UniqueConstraint("issuer", "subject"),
)
Index("ix_identities_account", IDENTITIES.c.account, postgresql_where=IDENTITIES.c.account.isnot(None))

ACCESS_TOKENS = Table(
    "access_tokens",
    METADATA,
    Column("token_id", Text, primary_key=True),
    Column("token_sha256", LargeBinary, nullable=False, unique=True, comment="the token itself is its owner's alone"),
    Column("owner", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", UtcTime, nullable=False, server_default=func.now()),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("used_at", UtcTime, comment="within a minute or so"),
    Index(None, "owner", "created_at"),
)

SHARE_LINKS = Table(
    "share_links",
    METADATA,
    Column("share_id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False, server_default=func.now()),
    Column("expires_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    ForeignKeyConstraint(["run_id"], ["outputs.runs.run_id"], ondelete="CASCADE"),
    Index(None, "run_id", "created_at"),
)

HOLDINGS = Table(
    "holdings",
    METADATA,
    Column("owner", Text, primary_key=True),
    Column("files", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False, comment="equal content of one owner counted once"),
    Column("measured_at", UtcTime, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("entry", BigInteger, Identity(always=True), primary_key=True),
    Column("at", UtcTime, nullable=False, server_default=func.now()),
    Column("actor", Text, comment="null: nobody knows who it was"),
    Column("credential", Text, comment="what they showed: file, token:ID, session, jwt, proxy, share:ID, command"),
    Column("address", Text, comment="where the request came from"),
    Column("act", Text, nullable=False, comment="as `token.created` or `run.read`"),
    Column("run_id", Text, comment="no reference: a run may go, what was done with it stays"),
    Column("target", Text, comment="what else it was done to"),
    Column("details", JSONB),
    Index(None, "at"),
    Index(None, "run_id", "entry"),
    Index(None, "actor", "entry"),
)
