"""The revisions of schema `poller` in alembic's form; `python -m scripthut_poller migrate` applies them."""

from pathlib import Path

from scripthut_common.migrating import Migrations
from scripthut_poller.tables import METADATA

MIGRATIONS = Migrations(
    metadata=METADATA,
    versions=Path(__file__).parent / "versions",
    command="python -m scripthut_poller migrate",
)
