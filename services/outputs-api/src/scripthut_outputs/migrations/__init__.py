"""The revisions of the outputs service's schema."""

from pathlib import Path

from scripthut_common.migrating import Migrations
from scripthut_outputs.tables import METADATA

MIGRATIONS = Migrations(
    metadata=METADATA, versions=Path(__file__).parent / "versions", command="scripthut-outputs migrate"
)
