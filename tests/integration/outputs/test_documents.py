"""Documents are rendered once per content, whoever dies meanwhile, and every run that shows one is told."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from scripthut_common.errors import LeaseLost, StoreUnavailable
from scripthut_outputs.catalog.documents import Documents, want
from scripthut_outputs.documents.loop import Renderer
from scripthut_outputs.documents.press import Press
from scripthut_outputs.ledger import Kind
from scripthut_outputs.rendering import RENDERER
from scripthut_outputs.tables import DOCUMENTS, FILES
from tests.integration.outputs.house import House, ended


@pytest.fixture
async def press() -> AsyncIterator[Press]:
    made = Press(timeout_s=5.0)
    yield made
    made.close()


@pytest.fixture
def documents(house: House) -> Documents:
    return Documents(house.database, RENDERER)


async def keep(house: House, content: bytes, run_id: str = "r1", task_id: str = "t0") -> str:
    """Put a Markdown file into the ledger whose rendering is still wanted."""
    await house.apply(ended(task_id, run_id=run_id))
    sha256 = await house.store(run_id, task_id, b"task-summary.md", content, kind=Kind.OTHER)
    async with house.database.transaction() as connection:
        await connection.execute(update(FILES).where(FILES.c.sha256 == sha256).values(kind=Kind.MARKDOWN))
        await want(connection, [sha256], RENDERER)
    return sha256


async def version(house: House, run_id: str) -> Any:
    return (await house.rows(f"SELECT version FROM outputs.runs WHERE run_id = '{run_id}'"))[0][0]


async def row(house: House, sha256: str) -> Any:
    columns = "state, html, reason, lease, due_at, failures"
    return (await house.rows(f"SELECT {columns} FROM outputs.documents WHERE sha256 = '{sha256}'"))[0]


async def end_leases(house: House) -> None:
    async with house.database.transaction() as connection:
        await connection.execute(update(DOCUMENTS).values(lease_until=None))


async def test_a_wanted_document_is_rendered_and_its_runs_are_told(
    house: House, documents: Documents, press: Press
) -> None:
    sha256 = await keep(house, b"Words", "r1")
    await keep(house, b"Words", "r2")
    before = await version(house, "r1"), await version(house, "r2")

    assert await Renderer(documents, house.blobs, press).step()

    found = await row(house, sha256)
    assert (found.state, found.html, found.reason, found.due_at) == ("rendered", "<p>Words</p>", None, None)
    assert (await version(house, "r1"), await version(house, "r2")) == (before[0] + 1, before[1] + 1)
    assert not await Renderer(documents, house.blobs, press).step()


async def test_a_document_that_the_renderer_gives_up_is_kept_as_text(
    house: House, documents: Documents, press: Press
) -> None:
    sha256 = await keep(house, b"<p " + b"".join(b"a%d=1 " % number for number in range(60_000)) + b">")

    await Renderer(documents, house.blobs, press).step()

    found = await row(house, sha256)
    assert found.state == "escaped"
    assert found.reason.endswith("too many parts")
    assert f"This document could not be rendered: {found.reason}" in found.html


async def test_a_document_whose_renderer_died_is_claimed_again(
    house: House, documents: Documents, press: Press
) -> None:
    sha256 = await keep(house, b"text")
    assert await documents.claim(lease_s=60) is not None
    assert await documents.claim(lease_s=60) is None

    await end_leases(house)
    await Renderer(documents, house.blobs, press).step()

    assert (await row(house, sha256)).state == "rendered"


async def test_who_lost_the_lease_writes_nothing(house: House, documents: Documents) -> None:
    sha256 = await keep(house, b"text")
    first = await documents.claim(lease_s=60)
    assert first is not None
    await end_leases(house)
    second = await documents.claim(lease_s=60)
    assert second is not None

    with pytest.raises(LeaseLost):
        await documents.keep(first, "<p>late</p>", None)

    assert (await row(house, sha256)).lease == second.lease


async def test_two_processes_never_render_the_same_document(house: House, documents: Documents) -> None:
    for number in range(4):
        await keep(house, b"document %d" % number, task_id=f"t{number}")

    claimed = [await documents.claim(lease_s=60) for _ in range(5)]

    assert claimed[4] is None
    assert len({found.sha256 for found in claimed if found}) == 4


async def test_a_store_that_is_away_only_postpones(house: House, documents: Documents, press: Press) -> None:
    class Away:
        async def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> bytes:
            raise StoreUnavailable(f"cannot read {sha256} from {start} for {length}")

    sha256 = await keep(house, b"text")

    await Renderer(documents, Away(), press).step()

    found = await row(house, sha256)
    assert (found.state, found.failures, found.lease) == ("pending", 1, None)
    assert found.due_at is not None
    assert not await Renderer(documents, house.blobs, press).step()


async def test_a_document_whose_bytes_are_gone_says_so(house: House, documents: Documents, press: Press) -> None:
    sha256 = await keep(house, b"text")
    house.lose(sha256)

    await Renderer(documents, house.blobs, press).step()

    assert (await row(house, sha256)).reason == "its bytes are no longer in the store"


async def test_a_new_renderer_meets_every_document_again(house: House, press: Press) -> None:
    await keep(house, b"text")
    newer = Documents(house.database, f"newer-{uuid4()}")

    assert await newer.want_missing() == 1
    assert await newer.want_missing() == 0
    assert await Renderer(newer, house.blobs, press).step()


async def test_asking_twice_for_a_document_is_asking_once(house: House, documents: Documents, press: Press) -> None:
    sha256 = await keep(house, b"text")
    await Renderer(documents, house.blobs, press).step()

    async with house.database.transaction() as connection:
        await want(connection, [sha256, sha256], RENDERER)

    assert await documents.claim(lease_s=60) is None
