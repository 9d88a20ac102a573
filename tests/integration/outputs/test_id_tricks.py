"""Ids that are none, at every door: none leads anywhere, and all look the same."""

import pytest

from scripthut_common import layout
from scripthut_common.errors import InvalidInput, PermanentError
from scripthut_outputs import listing
from tests.integration.outputs.house import House, document, ended, item, raw_ask, raw_get

TRICKS = [
    b"..",
    b".",
    b"_run",
    b"%2e%2e",
    b"%2e",
    b"%252e%252e",
    b"%2e%2e%2ft0",
    b"t0%2f..%2ft0",
    b"t0%00",
    b"%00",
    b"t0%0a",
    b"-rf",
    b"t0%20",
    b"T0",
    b"%ff%fe",
    "té".encode(),
    "\u2025".encode(),
    "\uff0e\uff0e".encode(),
    b"a" * 129,
    b"a" * 20_000,
    b"*",
    b"$(id)",
    b"%5c..%5c",
]
NO_IDS = [
    "..",
    ".",
    "_run",
    "%2e%2e",
    "../t0",
    "t0/../t0",
    "t0\0",
    "t0\n",
    "-rf",
    "",
    " ",
    "té",
    "\uff0e\uff0e",
    "a" * 129,
    "*",
]
OF_A_TASK = (
    "",
    "/outputs",
    "/outputs/archive",
    "/outputs/file/a.txt",
    "/detail/output",
    "/detail/error",
    "/detail/outputs",
)
OF_A_RUN = ("", "/summary", "/events", "/archive", *(f"/tasks/t0{rest}" for rest in OF_A_TASK))


@pytest.fixture
async def house(house: House) -> House:
    """With one task and its file."""
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"x")
    return house


async def test_a_tricky_task_is_as_unknown_as_any(house: House) -> None:
    for rest in OF_A_TASK:
        unknown = await raw_get(house, b"/runs/r1/tasks/none" + rest.encode())
        assert unknown.status_code == 404

        for trick in TRICKS:
            assert await raw_get(house, b"/runs/r1/tasks/" + trick + rest.encode()) == unknown, (trick, rest)


async def test_a_tricky_run_is_as_unknown_as_any(house: House) -> None:
    for rest in OF_A_RUN:
        unknown = await raw_get(house, b"/runs/none" + rest.encode())
        assert unknown.status_code == 404

        for trick in TRICKS:
            assert await raw_get(house, b"/runs/" + trick + rest.encode()) == unknown, (trick, rest)


async def test_the_head_of_what_nobody_has_is_as_unknown_as_the_rest(house: House) -> None:
    nothing = {"type": "http.request", "body": b"", "more_body": False}
    for rest in ("archive", "events", "tasks/t0/outputs/archive", "tasks/t0/outputs/file/a.txt"):
        unknown = await raw_ask(house, "HEAD", b"/runs/none/" + rest.encode(), nothing)
        assert unknown.status_code == 404

        for trick in TRICKS:
            assert await raw_ask(house, "HEAD", b"/runs/%s/%s" % (trick, rest.encode()), nothing) == unknown, trick


async def test_nothing_is_cancelled_or_collected_under_a_tricky_id(house: House) -> None:
    nothing = {"type": "http.request", "body": b"", "more_body": False}
    for path in (b"/runs/%s/cancel", b"/runs/%s/tasks/t0/outputs/collect", b"/runs/r1/tasks/%s/outputs/collect"):
        unknown = await raw_ask(house, "POST", path % b"none", nothing)
        assert unknown.status_code == 404

        for trick in TRICKS:
            assert await raw_ask(house, "POST", path % trick, nothing) == unknown, (trick, path)
    assert await house.rows("SELECT * FROM outputs.outbox") == []


async def test_no_run_or_task_begins_under_what_is_no_id(house: House) -> None:
    for no_id in NO_IDS:
        as_run = await house.post("/runs", document() | {"run_id": no_id})
        as_task = await house.post("/runs", document({"id": no_id, "command": "x"}))

        assert (as_run.status_code, as_task.status_code) == (422, 422), no_id
        assert [problem["field"] for problem in as_run.json()["errors"]] == ["run_id"]
        assert [problem["field"] for problem in as_task.json()["errors"]] == ["tasks[0].id"]
        with pytest.raises(PermanentError):
            await house.apply(item(no_id))
        with pytest.raises(PermanentError):
            await house.apply(item(run_id=no_id))
    assert len(await house.rows("SELECT * FROM outputs.items")) == 1


@pytest.mark.parametrize("no_id", NO_IDS, ids=lambda no_id: repr(no_id[:20]))
def test_no_path_is_made_of_what_is_no_id(no_id: str) -> None:
    with pytest.raises(InvalidInput):
        layout.output_dir("/logs", "r1", no_id)
    with pytest.raises(InvalidInput):
        listing.locate(
            "r1",
            no_id,
            output_dir="/logs/outputs/r1/x",
            run_summary_path="/logs/outputs/r1/_run/x.md",
            stdout_path=None,
            stderr_path=None,
            attempt=1,
        )
