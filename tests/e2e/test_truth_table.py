"""Every way to end that the testbed can produce, on real Slurm at once: what is said in the end, and never before."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from scripthut_common.events import ItemEvent, Outcome
from tests.testbed.postgres import PostgresServer
from tests.testbed.slurm import SlurmCluster
from tests.truth import endings, outages
from tests.truth.endings import Ending, Verdict
from tests.truth.table import render
from tests.truth.telling import Row, lacking_for_memory, tell

pytestmark = pytest.mark.timeout(300)
_ENDINGS = (
    *endings.CALM,
    *outages.ACCOUNTING,
    *outages.CONTROLLER,
    *outages.HUNG,
    *outages.ACCOUNTING_HUNG,
    *outages.BARE,
    *endings.MEMORY,
)


@pytest.fixture(scope="module")
def rows(
    slurm: SlurmCluster,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Row]]:
    """The one run that all rows come from; its table is shown with `-s`.

    It has clusters of its own; the shared one is asked for so that what skips that skips this.
    """
    database_uri = postgres.databases.create()
    told = asyncio.run(tell(database_uri, tmp_path_factory.mktemp("truth")))
    print(f"\n{render(told)}")
    yield {row.ending.id: row for row in told}
    postgres.databases.drop(database_uri)


@pytest.fixture(params=_ENDINGS, ids=lambda ending: ending.id)
def row(request: pytest.FixtureRequest, rows: Mapping[str, Row]) -> Row:
    """One way to end."""
    ending: Ending = request.param
    if ending in endings.MEMORY and lacking_for_memory():
        pytest.skip(lacking_for_memory())
    return rows[ending.id]


def test_the_truth_is_told(row: Row) -> None:
    assert row.last is not None
    assert _verdict(row.last) == row.ending.expected


def test_nothing_else_is_told_on_the_way(row: Row) -> None:
    expected = row.ending.expected

    outcomes = [said.item.outcome for said in row.said]

    assert set(outcomes) <= row.ending.first | {expected.outcome}
    assert [said.item.revision for said in row.said] == _revisions(outcomes)
    assert {said.item.attempt for said in row.said} == {expected.attempt}


def _verdict(item: ItemEvent) -> Verdict:
    assert item.outcome is not None
    return Verdict(
        outcome=item.outcome,
        exit_code=item.exit_code,
        signal=item.signal,
        attempt=item.attempt,
        evidence=item.evidence,
        confirmed=item.confirmed,
    )


def _revisions(outcomes: list[Outcome | None]) -> list[int]:
    """Count up with every other outcome; a confirmation of the same one is no revision."""
    return [len(set(outcomes[: number + 1])) - 1 for number in range(len(outcomes))]
