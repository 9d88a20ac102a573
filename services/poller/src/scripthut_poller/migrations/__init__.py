"""The revisions of schema `poller` in alembic's form; `scripthut-poller migrate` applies them."""

from pathlib import Path

from scripthut_common.migrating import Migrations
from scripthut_poller.tables import METADATA

MIGRATIONS = Migrations(
    metadata=METADATA,
    versions=Path(__file__).parent / "versions",
    command="scripthut-poller migrate",
)
