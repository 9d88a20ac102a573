"""A house filled with every kind of content and every state that a page can be in, and the list of its pages.

Who adds a kind of page adds it to `PAGES`, and to the exhibits what it needs to be seen; accessibility, widths and
keyboard are then tested on it too.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import insert, update

from scripthut_common.events import ItemState, Outcome
from scripthut_outputs.access.policy import Policy, Quotas
from scripthut_outputs.catalog.auditing import Act, write_at
from scripthut_outputs.catalog.changes import touch
from scripthut_outputs.ledger import FileState, Kind, OutputsState, Place
from scripthut_outputs.tables import ACCESS_TOKENS, COLLECTIONS, HOLDINGS, ITEMS, RUNS
from tests.integration.outputs import flows, shelf
from tests.integration.outputs.house import House, ended, item

NOW = datetime(2026, 11, 26, 10, 42, tzinfo=UTC)
MANY = 10_000
GIB = 1024**3
LONG = "a-name-without-a-space-" * 12
RIGHT_TO_LEFT = "תוצאות הריצה \u202eexe.gpj\u202c نتائج"
HOSTILE = (
    "</title></bdi></a></script><script>alert('text')</script><img src=x onerror=alert('name')>"
    "<svg onload=alert('svg')>\"' onmouseover=alert('attribute') \u202e\x1b[31m"
)


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """A page to look at: by `actor`, or by a stranger. `pressed`: what opens a dialog in it."""

    name: str
    path: str
    is_signed_in: bool = True
    actor: str = "ada"
    pressed: str | None = None


def _page(name: str, path: str, *, is_signed_in: bool = True) -> Exhibit:
    return Exhibit(name=name, path=path, is_signed_in=is_signed_in)


def _admin(name: str, path: str) -> Exhibit:
    return Exhibit(name=f"admin-{name}", path=f"/ui/admin{path}", actor="root")


def _file(name: str, path: str) -> Exhibit:
    return _page(f"file-{name}", f"/ui/runs/{shelf.RUN}/tasks/{shelf.TASK}/files/{quote(path)}")


PAGES = (
    _page("sign-in", "/login", is_signed_in=False),
    _page("sign-in-refused", "/login?code=old", is_signed_in=False),
    _page("runs", "/ui/"),
    _page("run-under-way", "/ui/runs/wake"),
    _page("run-over", "/ui/runs/mesh-study"),
    _page("run-failed", "/ui/runs/unstable"),
    _page("run-stale", "/ui/runs/stale"),
    _page("run-empty", "/ui/runs/empty"),
    _page("run-of-every-state", "/ui/runs/states"),
    _page("run-of-ten-thousand", "/ui/runs/many"),
    _page("run-of-odd-names", "/ui/runs/odd"),
    _page("task", "/ui/runs/wake/tasks/re-400"),
    _page("task-failed", "/ui/runs/unstable/tasks/re-3200"),
    _page("task-running", "/ui/runs/wake/tasks/re-1000"),
    _page("task-empty", "/ui/runs/wake/tasks/compare"),
    _page("task-of-odd-names", "/ui/runs/odd/tasks/odd"),
    _page("log", "/ui/runs/unstable/tasks/re-3200/stderr"),
    _admin("clusters", ""),
    _admin("collections", "/collections"),
    _admin("storage", "/storage"),
    _admin("tokens", "/tokens"),
    _admin("audit", "/audit"),
    _admin("audit-none", "/audit?run=nothing"),
    _page("no-such-page", "/ui/runs/nowhere"),
    _page("tokens", "/ui/tokens"),
    _page("runs-chosen", "/ui/?q=wake&state=running"),
    _page("runs-none", "/ui/?q=nothing+is+called+this"),
    _page("run-chosen", "/ui/runs/many?q=seed-00&state=failed&sort=longest"),
    _page("run-rolled-up", "/ui/runs/many?under=sweep."),
    _page("task-of-every-format", f"/ui/runs/{shelf.RUN}/tasks/{shelf.TASK}"),
    _file("markdown", "task-summary.md"),
    _file("picture", "wake.png"),
    _file("drawing", "drag.svg"),
    _file("table", "profiles.csv"),
    _file("json", "case.json"),
    _file("json-lines", "events.jsonl"),
    _file("notebook", "spectra.ipynb"),
    _file("code", "fit.py"),
    _file("terminal", "spectra.log"),
    _file("pdf", "report.pdf"),
    _file("binary", "field.h5"),
    _file("lying", "not-a-picture.png"),
    _file("empty", "empty.dat"),
    _file("left-out", "field/all-times.h5"),
)
DIALOGS = (
    Exhibit(name="lightbox", path="/ui/runs/wake/tasks/re-400", pressed=".gallery a[data-image]"),
    Exhibit(name="keys", path="/ui/runs/wake", pressed="#show-keys"),
)
"""Pages in which a dialog has been opened."""


async def fill(house: House) -> None:
    """Put every exhibit into an empty house."""
    await house.observe(last_good_round_at=datetime.now(UTC))
    await _stale(house)
    await _many(house)
    await _odd(house)
    await _states(house)
    await _empty(house)
    await _tokens(house)
    await flows.over(house, NOW - timedelta(hours=20))
    await flows.failed(house, NOW - timedelta(hours=3))
    await shelf.fill(house, NOW - timedelta(hours=4))
    await flows.under_way(house, NOW - timedelta(minutes=34))
    await _administration(house)
    await _date(house)


async def _stale(house: House) -> None:
    """A cluster that does not answer while something runs there."""
    began = NOW - timedelta(hours=2)
    names = ("relax", "heat", "hold", "cool")
    await house.apply(
        *(
            item(name, "stale", run_name="Annealing of a small cluster", task_name=f"{name.title()} the melt",
                 position=place, cluster="eiger", node="nid001204" if place < 2 else None, job_id=f"3307{place}",
                 state=ItemState.RUNNING if place < 2 else ItemState.QUEUED,
                 started_at=began if place < 2 else None)
            for place, name in enumerate(names)
        )
    )  # fmt: skip
    error = "connect to host eiger.example.org port 22: No route to host"
    await house.observe("unreachable", cluster="eiger", error=error, last_good_round_at=NOW - timedelta(minutes=47))


async def _tokens(house: House) -> None:
    """Tokens of ada's that are good, never used, expired and revoked; one with as long a name as there may be."""
    scopes = ("read", "collect", "submit", "admin")
    rows = [
        ("nightly plots on daint", ("read",), -2, 28, None, -1),
        ("the group's dashboard", ("read", "collect"), -4, 86, None, None),
        (LONG[:100], scopes, -40, -10, None, -11),
        ("תוצאות של notebook, on my laptop", ("read", "submit"), -9, 21, -3, -3),
    ]

    def days(count: int | None) -> datetime | None:
        return None if count is None else datetime.now(UTC) + timedelta(days=count)

    async with house.database.transaction() as connection:
        for number, (label, good_for, made, ends, revoked, used) in enumerate(rows):
            token = {"token_id": f"{number:016x}", "token_sha256": bytes([number] * 32), "owner": "ada"}
            dates = {"created_at": days(made), "expires_at": days(ends), "revoked_at": days(revoked)}
            said = {"label": label, "scopes": [*good_for], "used_at": days(used)}
            await connection.execute(insert(ACCESS_TOKENS).values(**token, **dates, **said))


async def _many(house: House) -> None:
    """Ten thousand items in groups by dotted prefix, some of them in every state."""
    async with house.database.transaction() as connection:
        await _begin(connection, "many", "Parameter sweep, 10,000 members")
        await connection.execute(insert(ITEMS), [_member(place) for place in range(MANY)])
        await touch(connection, "many")


def _member(place: int) -> dict[str, Any]:
    state = ItemState.FINAL if place < 8_700 else ItemState.RUNNING if place < 9_100 else ItemState.QUEUED
    outcome = None if state is not ItemState.FINAL else Outcome.FAILED if place % 97 == 5 else Outcome.SUCCEEDED
    began = NOW - timedelta(minutes=600 - place / 17)
    return {
        "run_id": "many",
        "task_id": f"sweep.angle-{place // 500:02}.seed-{place % 500:03}",
        "task_name": f"sweep.angle-{place // 500:02}.seed-{place % 500:03}",
        "position": place,
        "attempt": 1,
        "sequence": 9,
        "state": state,
        "outcome": outcome,
        "confirmed": outcome is not None,
        "exit_code": None if outcome is None else int(outcome is Outcome.FAILED),
        "reason": "ended with exit code 1" if outcome is Outcome.FAILED else None,
        "job_id": f"81{place:05}",
        "node": None if state is ItemState.QUEUED else f"nid00{place % 40:04}",
        "started_at": None if state is ItemState.QUEUED else began,
        "ended_at": None if outcome is None else began + timedelta(seconds=40 + place % 37),
    }


async def _odd(house: House) -> None:
    """Names that nobody should have chosen, in every place that shows one."""
    said = {"reason": HOSTILE, "node": HOSTILE, "job_id": HOSTILE, "scheduler_word": HOSTILE[:200]}
    names = {"odd": HOSTILE, "long": LONG, "rtl": RIGHT_TO_LEFT, "blank": " "}
    for place, (task_id, name) in enumerate(names.items()):
        odd = ended(task_id, "odd", run_name=f"{RIGHT_TO_LEFT} {LONG}", task_name=name, position=place,
                    outcome=Outcome.FAILED, exit_code=1, **said)  # fmt: skip
        await house.apply(odd)
    for name in (HOSTILE, LONG, RIGHT_TO_LEFT, "100% #1?.txt", "日本語 😀"):
        path = name.replace("/", "|").encode()
        await house.store("odd", "odd", path, b"content")
        await house.store("odd", "odd", path[:180] + b".png", flows.png(8, 8))
        await house.store("odd", "odd", b"in/" + path, b"", state=FileState.TOO_LARGE, sha256=None, reason=HOSTILE)
    wide = f"{'word' * 100}\n\n| {'cell' * 90} | b |\n|--|--:|\n| 1 | 2 |\n\n`{'code' * 90}`\n\n# {LONG}\n"
    await house.store("odd", "odd", b"task-summary.md", wide.encode())
    await house.store("odd", "long", b"", wide.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await house.store("odd", "rtl", b"", RIGHT_TO_LEFT.encode(), Place.RUN_SUMMARY, kind=Kind.MARKDOWN)
    await house.store("odd", "odd", b"", (HOSTILE * 3 + LONG).encode(), Place.STDERR, kind=Kind.OTHER)


async def _states(house: House) -> None:
    """One item in every state, one for every outcome."""
    began = NOW - timedelta(minutes=70)
    states = [state for state in ItemState if state is not ItemState.FINAL]
    for place, state in enumerate(states):
        name = f"is {state}"
        at = began if state in {ItemState.RUNNING, ItemState.SETTLING} else None
        await house.apply(item(state, "states", run_name="Every state there is", task_name=name, state=state,
                               position=place, started_at=at))  # fmt: skip
    for place, outcome in enumerate(Outcome, start=len(states)):
        name, over = f"has {outcome}", began + timedelta(minutes=place)
        await house.apply(ended(outcome, "states", run_name="Every state there is", task_name=name, outcome=outcome,
                                position=place, started_at=began, ended_at=over, exit_code=None,
                                reason=None if outcome is Outcome.SUCCEEDED else f"the scheduler said {outcome}",
                                confirmed=outcome is not Outcome.UNKNOWN))  # fmt: skip
    await _collections(house)


async def _collections(house: House) -> None:
    """Let the collection of the tasks that ended have come to every end there is."""
    shown = zip(Outcome, (state for state in OutputsState if state is not OutputsState.NONE), strict=False)
    async with house.database.transaction() as connection:
        for outcome, state in shown:
            of_task = (ITEMS.c.run_id == "states", ITEMS.c.task_id == outcome)
            await connection.execute(update(ITEMS).where(*of_task).values(outputs_state=state))
            if state in {OutputsState.FAILED, OutputsState.INCOMPLETE, OutputsState.PARTIAL}:
                said = update(COLLECTIONS).where(COLLECTIONS.c.run_id == "states", COLLECTIONS.c.task_id == outcome)
                await connection.execute(said.values(reason="its output directory cannot be read: Permission denied"))
        await touch(connection, "states")
    for outcome in Outcome:
        await house.store("states", outcome, b"left.dat", b"1 2 3\n")


async def _empty(house: House) -> None:
    """A run without tasks."""
    async with house.database.transaction() as connection:
        await _begin(connection, "empty", "A run that has just been asked for")


async def _administration(house: House) -> None:
    """What those see who run the installation: people with quotas, their tokens, what they did, what is stuck."""
    house.policy = Policy(quotas=Quotas(default_bytes=40 * GIB, bytes_of={"bob": 10 * GIB, "carol": 0}))
    house.dead_letters = {"outputs.events": 3, "poller.run-requested": 0}
    await house.parts.burials.step()
    held = {"ada": 31 * GIB, "bob": 12 * GIB, "carol": 0, HOSTILE[:120]: 5}
    scopes = ["read", "collect", "submit", "admin"]
    async with house.database.transaction() as connection:
        rows = [{"owner": who, "files": 41, "stored_bytes": size, "measured_at": NOW} for who, size in held.items()]
        await connection.execute(insert(HOLDINGS), rows)
        tokens = [
            {"token_id": f"tk{place}", "token_sha256": bytes([place]), "owner": who, "label": label,
             "scopes": scopes[:place + 1], "created_at": NOW, "expires_at": NOW + timedelta(days=90),
             "used_at": NOW if place else None}
            for place, (who, label) in enumerate((("ada", "laptop"), ("bob", HOSTILE[:120]), (LONG[:90], "ci")))
        ]  # fmt: skip
        await connection.execute(insert(ACCESS_TOKENS), tokens)
        acts = [
            Act(act="run.created", actor="ada", credential="session", address="192.0.2.7", run_id="wake",
                details={"cluster": "daint", "tasks": 6}),
            Act(act="run.read", actor="root", credential="token:tk0", address="2001:db8::7", run_id="wake"),
            Act(act="login.refused", actor=HOSTILE, address="198.51.100.3", details={"why": HOSTILE}),
            Act(act="run.collected_again", actor=LONG, credential="file", run_id="odd", target=LONG),
        ]  # fmt: skip
        await write_at(connection, [(NOW + timedelta(minutes=place), act) for place, act in enumerate(acts)])
        late = update(COLLECTIONS).where(COLLECTIONS.c.run_id == "odd")
        said = {"failures": 4, "reason": f"the reader was cut: {HOSTILE}", "due_at": NOW, "first_failed_at": NOW}
        await connection.execute(late.values(said))
    await house.observe("unreachable", cluster="alps", error=HOSTILE, last_good_round_at=None)


async def _begin(connection: Any, run_id: str, name: str) -> None:
    await connection.execute(insert(RUNS).values(run_id=run_id, name=name, cluster="daint", owner="ada"))


async def _date(house: House) -> None:
    """Give every run its own minute, the newest first as here; what a page says is then the same every time."""
    newest_first = ("wake", "unstable", "stale", shelf.RUN, "many", "empty", "mesh-study", "states", "odd")
    ages = (34, 180, 190, 240, 600, 640, 1200, 1500, 1600)
    async with house.database.transaction() as connection:
        for run_id, minutes in zip(newest_first, ages, strict=True):
            at = NOW - timedelta(minutes=minutes)
            await connection.execute(update(RUNS).where(RUNS.c.run_id == run_id).values(created_at=at))
            await touch(connection, run_id)
