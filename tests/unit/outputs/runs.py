"""Short ways to make runs."""

from datetime import UTC, datetime

from scripthut_outputs.catalog.views import RunHead


def run_of(owner: str) -> RunHead:
    """A run that belongs to somebody."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return RunHead(run_id="r1", name="a run", cluster="daint", owner=owner, created_at=at, version=1)
