"""The house with everybody's runs in it, and in each a mark that nobody may see who may not read that run."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text, update

from scripthut_common.database import Database
from scripthut_common.events import ItemEvent
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.catalog.changes import touch_access
from scripthut_outputs.ledger import FileState, Place
from scripthut_outputs.tables import FILES, RUNS
from tests.fuzz import people
from tests.fuzz.people import Kept, Who
from tests.integration.outputs.emptying import empty
from tests.integration.outputs.house import KEY, ORIGIN, House, document, ended, item

MISSING = ("nothing-here", "r9")
# Under these ids somebody may make a run.
FREE = ("made-1", "made-2")
# Runs of which everybody may have something, each with whose token is asked for beside it.
SHOWN = {"adas-shared": "ada", "adas-group": "mia", "adas-open": "otto", "mias-private": "root"}
RUN_IDS = tuple(run.run_id for run in people.kept())
PATHS = ("a.md", "sub/b.txt", "left-out.bin", "gone.txt", "ü 100%?.csv", "none")
_LISTS = ("/runs?limit=1", "/runs?limit=1&sort=name", "/runs/bens-private?limit=1", "/admin/audit?limit=1")
_BENT = 3
# Words that lead somewhere, by the parameter that they are good for; those with a colon are placeholders.
WORDS = {
    "run_id": (*RUN_IDS, *RUN_IDS, *FREE, *MISSING),
    "task_id": ("t0", "t0", "t0", "t1", "none"),
    "share_id": (*(f"share:{run_id}" for run_id in RUN_IDS), "none"),
    "token_id": (*(f"token:{name}" for name in people.NAMES), "0123456789abcdef"),
    "path": PATHS,
    "run": (*RUN_IDS, *MISSING),
    "owner": people.NAMES,
    "actor": people.NAMES,
    "idempotency-key": ("k1", "k2"),
    "since": ("0", "5", "999999999999999999", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-02"),
    "last-event-id": ("0", "5", "999999999999999999", "-1"),
    "range": (
        "bytes=0-0",
        "bytes=2-",
        "bytes=-3",
        "bytes=0-99999",
        "bytes=99999-",
        "bytes=0-1,3-4",
        "bytes=-0",
        "lines=1-2",
    ),
    "if-range": ('"x"', "*", "Thu, 01 Jan 2026 00:00:00 GMT"),
    "if-match": ("*", '"x"', '"x", *'),
    "if-none-match": ("*", '"x"', 'W/"x"'),
    "cursor": (*(f"cursor:{number}" for number in range(len(_LISTS) * _BENT)), "", "W10", "bnVsbA", "x"),
}
_ENVIRONMENT = "mark-of-an-environment"


def mark(of: str) -> str:
    """What stands in everything that is told of a run, or of somebody's tokens."""
    return f"mark-of-{of}-7f3a"


def encoded_paths() -> Sequence[str]:
    """The names of files as they stand in a query."""
    return [urlsafe_b64encode(path.encode()).decode().rstrip("=") for path in PATHS]


class Scene:
    """The house as one person finds it, and what they have to show for themselves.

    Attributes:
        house: behind the door.
        headers: what they send along.
        runs: every run with whose it is, those that they make included.
        marks: what each mark belongs to: a run whose readers may see it, or names of those who may.
        words: what stands for placeholders of `WORDS`.
    """

    def __init__(self, database: Database, folder: Path, who: Who) -> None:
        self.house = House(database, folder)
        self.who = who
        self.runs = {run.run_id: run for run in people.kept()}
        self.headers: dict[str, str] = {}
        self.secrets: set[str] = {_ENVIRONMENT}
        self.words: dict[str, str] = {}
        self._tokens = {name: f"token-of-{name}-0123456789-abcdef" for name in people.NAMES}

    async def fill(self) -> None:
        """Make everybody's runs, tokens and links."""
        await empty(self.house.database)
        lines = [f"{name} {'admin' if name == people.ADMIN else 'user'} {one}\n" for name, one in self._tokens.items()]
        self.house.tokens_file.write_text("".join(lines))
        self.house.parts.access.tokens._file._read_again()
        self.house.policy = Policy(groups=people.GROUPS)
        self.secrets |= {*self._tokens.values(), KEY.decode()}
        for run in self.runs.values():
            await self._add(run)
        links = {run.run_id: await self._share(run) for run in self.runs.values()}
        tokens = {name: await self._token(name) for name in people.NAMES}
        await self._show(links["adas-shared"]["url"])
        self.secrets -= {*self.headers.values()} | {self.headers.get("authorization", "").partition(" ")[2]}
        self.house.cache.clear()
        self.house.cache.begin()
        self.words = {f"share:{run_id}": link["share_id"] for run_id, link in links.items()}
        self.words |= {f"token:{name}": one["token_id"] for name, one in tokens.items()}
        self.words |= {f"cursor:{number}": cursor for number, cursor in enumerate(await self._cursors())}

    async def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        found: dict[str, Any] = (await self._get("/schema/openapi.json")).json()
        return found

    def may_see(self, mark_of: str) -> bool:
        """Whether whoever asks may see what bears this mark."""
        if mark_of in self.runs:
            return people.may_read(self.who, self.runs[mark_of])
        name, _, run_id = mark_of.partition("/")
        is_theirs = self.who.is_admin or self.who.name == name
        return is_theirs and "admin" in self.who.scopes and (not run_id or run_id in self.runs)

    def marks(self) -> Mapping[str, str]:
        """Every mark that whoever asks may not see, with what it belongs to."""
        of_all = [*(run.run_id for run in people.kept()), *(f"{name}/" for name in people.NAMES)]
        of_all += [f"{run.owner}/{run.run_id}" for run in people.kept()]
        return {mark(of): of for of in of_all if not self.may_see(of)}

    async def mend(self) -> None:
        """Open runs as the table says, and let links and tokens be good that were taken back."""
        async with self.house.database.transaction() as connection:
            for run in people.kept():
                opened = {"visibility": run.visibility, "group": run.group}
                await connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(opened))
            for table in ("share_links", "access_tokens"):
                await connection.execute(text(f"UPDATE outputs.{table} SET revoked_at = NULL"))
            await touch_access(connection)
        self.house.cache.clear()

    async def others(self) -> list[Any]:
        """All that is not theirs to change, as it stands."""
        names = tuple(name for name in people.NAMES if name != self.who.name)
        of_run = "run_id IN (SELECT run_id FROM outputs.runs WHERE owner = ANY(:names))"
        asked = [
            "SELECT * FROM outputs.runs WHERE owner = ANY(:names)",
            *(f"SELECT * FROM outputs.{table} WHERE {of_run}" for table in ("items", "files", "collections")),
            f"SELECT share_id, revoked_at, expires_at FROM outputs.share_links WHERE {of_run}",
            "SELECT token_id, owner, scopes, revoked_at FROM outputs.access_tokens WHERE owner = ANY(:names)",
        ]
        async with self.house.database.transaction() as connection:
            found = [await connection.execute(text(query), {"names": list(names)}) for query in asked]
            return [sorted(map(str, rows)) for rows in found]

    async def close(self) -> None:
        """Stop what the house started."""
        self.house.previewer.close()
        await self.house.database.close()

    async def _add(self, run: Kept) -> None:
        said = mark(run.run_id)
        if run.run_id == "adas-asked":
            task = {"id": "t0", "command": f"echo {said}", "name": said, "env": {"SECRET": _ENVIRONMENT}}
            await self._ask("ada", "/runs", document(task, run_id=run.run_id, name=said))
        await self.house.apply(_event(ended, run, "t0"), _event(item, run, "t1"))
        await self.house.observe(cluster=_cluster(run))
        content = f"# {said}\n\n[{said}](sub/b.txt)\n".encode()
        for path, row in (
            (PATHS[0], {}),
            (PATHS[1], {}),
            (PATHS[4], {}),
            (PATHS[2], {"state": FileState.TOO_LARGE, "sha256": None, "stored_bytes": None, "reason": said}),
            (PATHS[3], {"state": FileState.PURGED, "stored_bytes": None, "reason": said}),
        ):
            stored: dict[str, Any] = row
            await self.house.store(run.run_id, "t0", path.encode(), content, **stored)
        await self.house.store(run.run_id, "t0", said.encode(), content)
        await self.house.store(run.run_id, "t0", b"", content, Place.RUN_SUMMARY, kind="markdown")
        for place in (Place.STDOUT, Place.STDERR):
            await self.house.store(run.run_id, "t0", b"", f"{said}\n".encode() * 9, place, kind="other")
        opened = {"owner": run.owner, "visibility": run.visibility, "group": run.group}
        async with self.house.database.transaction() as connection:
            await connection.execute(update(RUNS).where(RUNS.c.run_id == run.run_id).values(opened))
            gone = (FILES.c.run_id == run.run_id, FILES.c.state == FileState.PURGED)
            await connection.execute(update(FILES).where(*gone).values(removed_at=text("now()"), removal="age"))

    async def _share(self, run: Kept) -> dict[str, Any]:
        link = await self._ask(run.owner, f"/runs/{run.run_id}/shares", {"label": mark(f"{run.owner}/{run.run_id}")})
        self.secrets.add(link["url"].rpartition("/")[2])
        return link

    async def _token(self, name: str, *scopes: str) -> dict[str, Any]:
        made = await self._ask(name, "/tokens", {"label": mark(f"{name}/"), "scopes": scopes or ["read"]})
        self.secrets.add(made["token"])
        return made

    async def _ask(self, name: str, path: str, body: object) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._tokens[name]}"}
        answer = await self.house.post(path, body, None, **headers)
        assert answer.status_code == 201, (path, answer.text)
        made: dict[str, Any] = answer.json()
        return made

    async def _get(self, path: str) -> httpx.Response:
        """Ask as an admin."""
        return await self.house.get(path, None, authorization=f"Bearer {self._tokens[people.ADMIN]}")

    async def _show(self, link: str) -> None:
        """Find what whoever asks has to show."""
        who = self.who
        if who.role == people.STRANGER:
            return
        if who.role == "session":
            self.headers = {"cookie": self.house.session(who.name), "origin": ORIGIN}
        elif who.role == people.FORGER:
            self.headers = {"authorization": f"Bearer sho_{'x' * 64}"}
        elif who.role == people.GUEST:
            self.headers = {"authorization": f"Bearer {link.rpartition('/')[2]}"}
        elif who.scopes == people.EVERYTHING:
            self.headers = {"authorization": f"Bearer {self._tokens[who.name]}"}
        else:
            made = await self._token(who.name, *who.scopes)
            self.headers = {"authorization": f"Bearer {made['token']}"}

    async def _cursors(self) -> list[str]:
        """Cursors of lists that others were shown, whole, cut and turned around."""
        found = [str((await self._get(address)).json()["next"]) for address in _LISTS]
        return [*found, *(one[:-2] for one in found), *(one[::-1] for one in found)]


def _event(make: Any, run: Kept, task_id: str) -> ItemEvent:
    said = mark(run.run_id)
    made: ItemEvent = make(
        task_id,
        run.run_id,
        owner=run.owner,
        run_name=said,
        task_name=said,
        cluster=_cluster(run),
        reason=said,
        node=said,
        job_id=said,
    )
    return made


def _cluster(run: Kept) -> str:
    """Where it runs: on a cluster of its own, unless it was asked for over HTTP."""
    return "daint" if run.run_id == "adas-asked" else mark(run.run_id)
