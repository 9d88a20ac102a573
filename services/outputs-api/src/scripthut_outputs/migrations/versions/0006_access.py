"""Who is asking, with what, what they may see of a run, and what they did."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from scripthut_common.database import UtcTime

revision = "0006"
down_revision = "0005"

_UTC = UtcTime()
_STATE_FIRST = ["state", sa.text("created_at DESC"), sa.text("run_id DESC")]
_NAME_FIRST = [sa.text("lower(name)"), "run_id"]
_OLDEST_FIRST = ["created_at", "run_id"]
_OF_GROUP, _OF_ALL = sa.text("visibility = 'group'"), sa.text("visibility = 'instance'")
# One for each order of a list, for each way in which somebody may see a run.
_LISTS = (
    ("ix_runs_of_owner_by_name", ["owner", *_NAME_FIRST], None),
    ("ix_runs_of_owner_by_state", ["owner", *_STATE_FIRST], None),
    ("ix_runs_of_group", ["group", *_OLDEST_FIRST], _OF_GROUP),
    ("ix_runs_of_group_by_name", ["group", *_NAME_FIRST], _OF_GROUP),
    ("ix_runs_of_group_by_state", ["group", *_STATE_FIRST], _OF_GROUP),
    ("ix_runs_of_group_by_cluster", ["group", "cluster", *_OLDEST_FIRST], _OF_GROUP),
    ("ix_runs_of_all", _OLDEST_FIRST, _OF_ALL),
    ("ix_runs_of_all_by_name", _NAME_FIRST, _OF_ALL),
    ("ix_runs_of_all_by_state", _STATE_FIRST, _OF_ALL),
    ("ix_runs_of_all_by_cluster", ["cluster", *_OLDEST_FIRST], _OF_ALL),
)
_WORDS = postgresql.ARRAY(sa.Text())
# What was done is never written again: neither by a fault of ours nor by somebody who got hold of our account alone.
_APPEND_ONLY = """
CREATE FUNCTION outputs.audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' AND current_setting('scripthut.audit_pruning', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON outputs.audit
    FOR EACH ROW EXECUTE FUNCTION outputs.audit_is_append_only();
CREATE TRIGGER append_only_as_a_whole BEFORE TRUNCATE ON outputs.audit
    FOR EACH STATEMENT EXECUTE FUNCTION outputs.audit_is_append_only();
"""


def upgrade() -> None:
    _open_runs()
    _identities()
    _access_tokens()
    _share_links()
    _audit()
    _holdings()


def _open_runs() -> None:
    word = "whose it is by the word of its events; null: its owner's"
    op.add_column("runs", sa.Column("told_owner", sa.Text(), nullable=True, comment=word), schema="outputs")
    account = "on the cluster, that its jobs run as; null: the account of the service"
    op.add_column("runs", sa.Column("account", sa.Text(), nullable=True, comment=account), schema="outputs")
    words = "private, group or instance"
    op.add_column(
        "runs",
        sa.Column("visibility", sa.Text(), server_default="private", nullable=False, comment=words),
        schema="outputs",
    )
    group = "that may read it where `visibility` says so"
    op.add_column("runs", sa.Column("group", sa.Text(), nullable=True, comment=group), schema="outputs")
    for name, columns, where in _LISTS:
        op.create_index(name, "runs", columns, schema="outputs", postgresql_where=where)


def _identities() -> None:
    op.create_table(
        "identities",
        sa.Column("name", sa.Text(), nullable=False, comment="compared with a run's owner"),
        sa.Column(
            "issuer",
            sa.Text(),
            nullable=True,
            comment="of the OpenID provider or proxy that vouches for it; null for the tokens file",
        ),
        sa.Column("subject", sa.Text(), nullable=True, comment="what the issuer calls it, for ever"),
        sa.Column("groups", _WORDS, server_default="{}", nullable=False, comment="by the issuer's word"),
        sa.Column("account", sa.Text(), nullable=True, comment="on clusters whose `accounts` is `claim`"),
        sa.Column("first_seen_at", _UTC, server_default=sa.func.now(), nullable=False),
        sa.Column(
            "seen_at", _UTC, server_default=sa.func.now(), nullable=False, comment="when the issuer last vouched"
        ),
        sa.Column("disabled_at", _UTC, nullable=True, comment="since then nobody comes in under this name"),
        sa.Column(
            "sessions_since",
            _UTC,
            nullable=True,
            comment="sessions begun before are over; null: none was ended so",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_identities")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_identities_issuer_subject")),
        schema="outputs",
    )
    op.create_index(
        "ix_identities_account",
        "identities",
        ["account"],
        schema="outputs",
        postgresql_where=sa.text("account IS NOT NULL"),
    )


def _access_tokens() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False, comment="the token itself is its owner's alone"),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("scopes", _WORDS, nullable=False),
        sa.Column("created_at", _UTC, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.Column("revoked_at", _UTC, nullable=True),
        sa.Column("used_at", _UTC, nullable=True, comment="within a minute or so"),
        sa.PrimaryKeyConstraint("token_id", name=op.f("pk_access_tokens")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_access_tokens_token_sha256")),
        schema="outputs",
    )
    op.create_index(
        op.f("ix_access_tokens_owner_created_at"), "access_tokens", ["owner", "created_at"], schema="outputs"
    )


def _share_links() -> None:
    op.create_table(
        "share_links",
        sa.Column("share_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", _UTC, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", _UTC, nullable=False),
        sa.Column("revoked_at", _UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["outputs.runs.run_id"], name=op.f("fk_share_links_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("share_id", name=op.f("pk_share_links")),
        schema="outputs",
    )
    op.create_index(op.f("ix_share_links_run_id_created_at"), "share_links", ["run_id", "created_at"], schema="outputs")


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("entry", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", _UTC, server_default=sa.func.now(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True, comment="null: nobody knows who it was"),
        sa.Column(
            "credential",
            sa.Text(),
            nullable=True,
            comment="what they showed: file, token:ID, session, jwt, proxy, share:ID, command",
        ),
        sa.Column("address", sa.Text(), nullable=True, comment="where the request came from"),
        sa.Column("act", sa.Text(), nullable=False, comment="as `token.created` or `run.read`"),
        sa.Column(
            "run_id", sa.Text(), nullable=True, comment="no reference: a run may go, what was done with it stays"
        ),
        sa.Column("target", sa.Text(), nullable=True, comment="what else it was done to"),
        sa.Column("details", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_audit")),
        schema="outputs",
    )
    for columns in (["at"], ["run_id", "entry"], ["actor", "entry"]):
        op.create_index(op.f(f"ix_audit_{'_'.join(columns)}"), "audit", columns, schema="outputs")
    op.execute(_APPEND_ONLY)


def _holdings() -> None:
    op.create_table(
        "holdings",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False, comment="equal content of one owner counted once"),
        sa.Column("measured_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_holdings")),
        schema="outputs",
    )
    op.create_index(
        "ix_items_failed_outputs",
        "items",
        ["run_id", "task_id"],
        schema="outputs",
        postgresql_where=sa.text("outputs_state = 'failed'"),
    )


def downgrade() -> None:
    op.drop_index("ix_items_failed_outputs", table_name="items", schema="outputs")
    for table in ("holdings", "audit", "share_links", "access_tokens", "identities"):
        op.drop_table(table, schema="outputs")
    op.execute("DROP FUNCTION outputs.audit_is_append_only")
    for name, _, _ in _LISTS:
        op.drop_index(name, table_name="runs", schema="outputs")
    for name in ("group", "visibility", "account", "told_owner"):
        op.drop_column("runs", name, schema="outputs")
