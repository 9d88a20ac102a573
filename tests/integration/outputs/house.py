"""The application as its callers meet it: three people, a catalog to fill, a folder of blobs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import unquote_to_bytes

import httpx
import msgspec
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from scripthut_common import events, layout
from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_common.database import Database
from scripthut_common.events import CloudEvent, ClusterObserved, ItemEvent, ItemState, Outcome, Type
from scripthut_common.health import Health
from scripthut_common.supervision import Pulse
from scripthut_outputs import app
from scripthut_outputs.access.addresses import Addresses
from scripthut_outputs.access.opening import Own, open_access
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.access.sessions import Sessions
from scripthut_outputs.access.tokens import Tokens
from scripthut_outputs.blobs import BlobStore, open_store
from scripthut_outputs.catalog.administering import Administering
from scripthut_outputs.catalog.applying import Applying
from scripthut_outputs.catalog.auditing import Audit
from scripthut_outputs.catalog.changes import Cache, touch
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.creating import Creating
from scripthut_outputs.catalog.login_codes import LoginCodes
from scripthut_outputs.catalog.looks import Looks
from scripthut_outputs.catalog.opening import Opening
from scripthut_outputs.catalog.pinning import Pins
from scripthut_outputs.catalog.quotas import Holdings
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.shares import ShareLinks
from scripthut_outputs.catalog.updates import Updates
from scripthut_outputs.controllers.burials import Burials
from scripthut_outputs.controllers.counting import Requests
from scripthut_outputs.controllers.door import Rules
from scripthut_outputs.controllers.inlining import MaxInline
from scripthut_outputs.controllers.noting import Noting
from scripthut_outputs.controllers.parts import Parts
from scripthut_outputs.controllers.previewing import Previewer
from scripthut_outputs.controllers.standing import Bounds
from scripthut_outputs.controllers.telling import Telling
from scripthut_outputs.documents.workers import Workers
from scripthut_outputs.ledger import FileState, Place, kind_of
from scripthut_outputs.live import Hub, Tempo
from scripthut_outputs.live.metrics import Metrics
from scripthut_outputs.rendering import RENDERER, render
from scripthut_outputs.tables import DOCUMENTS, FILES

TOKENS = {"ada": "token-of-ada-0123456789", "bob": "token-of-bob-0123456789", "root": "token-of-root-0123456789"}
KEY = b"key of the tests"
# Those whose jobs run as their owners, by each way to know who has which account.
_ACCOUNTS: dict[str, tuple[AsWhom, Literal["same", "claim"] | Mapping[str, str]]] = {
    "same": (AsWhom.SUDO, "same"),
    "table": (AsWhom.SUDO, {"ada": "lovelace", "root": "outputs"}),
    "claim": (AsWhom.CERTIFICATE, "claim"),
}
CLUSTERS = {
    name: Cluster(name=name, scheduler=SchedulerKind.SLURM, as_whom=as_whom, accounts=accounts, user="outputs")
    for name, (as_whom, accounts) in _ACCOUNTS.items()
}
ORIGIN = "http://localhost:8080"


class House:
    """Everything behind the door, and short words for filling and asking it."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        blobs: BlobStore | None = None,
        tempo: Tempo | None = None,
        url: str = ORIGIN,
    ) -> None:
        self.database = database
        self.tokens_file = folder / "tokens"
        lines = [f"{name} {'admin' if name == 'root' else 'user'} {token}\n" for name, token in TOKENS.items()]
        self.tokens_file.write_text("".join(lines))
        self.cache = Cache()
        self.policy = Policy()
        self.blobs = blobs or open_store(str(folder / "blobs"))
        self.sessions = Sessions(KEY, days=1, is_secure=False)
        self.login_codes = LoginCodes(database)
        self.applying = Applying(database)
        self.reading = Reading(database, self.cache, renderer=RENDERER)
        self.pulse = Pulse()
        self.creating = Creating(database, self.cache, CLUSTERS)
        self.dead_letters: Mapping[str, int] = {}
        self.registry = CollectorRegistry()
        self.looks = Looks(database)
        self.live_metrics = Metrics(CollectorRegistry())
        self.hub = Hub(Updates(database), self.reading.clusters, Telling(Bounds()), tempo or Tempo(), self.live_metrics)
        workers = Workers(count=1, timeout_s=30.0, memory_bytes=512 * 1024 * 1024)
        self.previewer = Previewer(self.blobs, workers)
        self.parts = Parts(
            reading=self.reading,
            creating=self.creating,
            pins=Pins(database, self.cache),
            opening=Opening(database, self.cache),
            share_links=ShareLinks(database, self.cache),
            blobs=self.blobs,
            previewer=self.previewer,
            clusters=frozenset({"daint", "eiger", *CLUSTERS}),
            login_codes=self.login_codes,
            access=open_access(
                database,
                self.cache,
                Tokens(self.tokens_file),
                self.sessions,
                lambda: self.policy,
                Own(url=url),
            ),
            audit=Audit(database),
            administering=Administering(database),
            collections=Collections(database),
            holdings=Holdings(database),
            burials=Burials(self.count_dead, CollectorRegistry()),
            requests=Requests(self.registry),
            budgets={"daint": 60},
            noting=Noting(self.looks),
            health=Health(self.pulse, {}, CollectorRegistry()),
            max_inline=MaxInline(size_bytes=2 * 1024 * 1024),
            bus_fault=lambda: None,
            bounds=Bounds(),
            hub=self.hub,
        )
        self.rules = Rules(
            allowed_hosts=frozenset({"localhost"}),
            cors_origins=frozenset({b"https://friend.example.org"}),
            addresses=Addresses(["10.0.0.0/8"]),
        )

    @cached_property
    def app(self) -> ASGIApp:
        """The application, made when somebody asks it."""
        return app.build(self.parts, self.rules)

    async def count_dead(self) -> Mapping[str, int]:
        """What a broker would say."""
        return self.dead_letters

    def use(self, previewer: Previewer) -> None:
        """Let another previewer make what pages show."""
        self.parts = msgspec.structs.replace(self.parts, previewer=previewer)
        self.app = app.build(self.parts, self.rules)

    def session(self, actor: str = "ada") -> str:
        """The cookie of a session that began with somebody's line of the tokens file, if they have one."""
        line = next(iter(self.parts.access.tokens.lines_of(actor)), None)
        return self.sessions.cookie(actor, line).partition(";")[0]

    def client(self, actor: str | None = "ada", **headers: str) -> httpx.AsyncClient:
        """A caller with a token; `None` is a stranger."""
        if actor is not None:
            headers["authorization"] = f"Bearer {TOKENS[actor]}"
        transport = httpx.ASGITransport(cast("Any", self.app))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)

    async def get(self, path: str, actor: str | None = "ada", **headers: str) -> httpx.Response:
        async with self.client(actor, **headers) as client:
            return await client.get(path)

    async def post(self, path: str, body: Any = None, actor: str | None = "ada", **headers: str) -> httpx.Response:
        async with self.client(actor, **headers) as client:
            content = body if isinstance(body, bytes) else msgspec.json.encode(body)
            return await client.post(path, content=content)

    async def apply(self, *items: ItemEvent) -> None:
        for item in items:
            await self.applying.apply(said(item))

    async def observe(
        self, state: str = "reachable", *, ago_s: float = 0.0, cluster: str = "daint", **told: Any
    ) -> None:
        """Let the poller have said this of a cluster so long ago; its last good round was then unless told."""
        at = datetime.now(UTC) - timedelta(seconds=ago_s)
        values: dict[str, Any] = {"sequence": 1, "last_good_round_at": at}
        observed = ClusterObserved(cluster=cluster, state=state, **(values | told))
        await self.applying.apply(events.event(Type.CLUSTER_OBSERVED, observed, source="poller", at=at))

    def keep(self, content: bytes) -> str:
        """Put bytes into the blob store."""
        batch = self.blobs.batch()
        blob = batch.begin()
        blob.write(content)
        stored = blob.finish()
        batch.settle()
        return stored.sha256

    def lose(self, sha256: str) -> None:
        """Remove a blob behind the catalog's back."""
        Path(str(self.blobs.local_path(sha256))).unlink()

    async def store(
        self, run_id: str, task_id: str, path: bytes, content: bytes, place: Place = Place.OUTPUT, **row: Any
    ) -> str:
        """Put a collected file into the ledger, rendered if it is Markdown."""
        sha256 = self.keep(content)
        kind = row.pop("kind", kind_of(path))
        row = {"size_bytes": len(content), "stored_bytes": len(content), "sha256": sha256, "attempt": 1} | row
        row |= {"run_id": run_id, "task_id": task_id, "place": place, "path": path, "kind": kind}
        async with self.database.transaction() as connection:
            await connection.execute(insert(FILES).values({"state": FileState.STORED} | row))
            if kind == "markdown":
                html = render(content, size_bytes=len(content), max_bytes=1024 * 1024).html
                document = {"sha256": sha256, "renderer": RENDERER, "state": "rendered", "html": html}
                await connection.execute(insert(DOCUMENTS).values(document).on_conflict_do_nothing())
            await touch(connection, run_id, outputs=[task_id], is_summary=place is Place.RUN_SUMMARY)
        return sha256

    async def rows(self, query: str) -> list[Any]:
        async with self.database.transaction() as connection:
            return list((await connection.execute(text(query))).all())


def said(item: ItemEvent) -> CloudEvent:
    """An event that says this of an item."""
    kind = Type.ITEM_COMPLETED if item.state is ItemState.FINAL else Type.ITEM_CHANGED
    return events.event(kind, item, source="poller", at=datetime(2026, 1, 2, tzinfo=UTC))


def item(task_id: str = "t0", run_id: str = "r1", **changes: Any) -> ItemEvent:
    """An item that has just been submitted."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "run_name": "a run",
        "task_id": task_id,
        "task_name": f"task {task_id}",
        "position": 0,
        "cluster": "daint",
        "owner": "ada",
        "attempt": 1,
        "revision": 0,
        "sequence": 1,
        "state": ItemState.SUBMITTED,
        "output_dir": f"/logs/outputs/{run_id}/{task_id}",
        "run_summary_path": f"/logs/outputs/{run_id}/_run/{task_id}.md",
        "stdout_path": f"/logs/scripthut_{run_id}_{task_id}.out",
        "stderr_path": f"/logs/scripthut_{run_id}_{task_id}.err",
        "job_id": "42",
    }
    return ItemEvent(**(values | changes))


def paths(log_dir: Path, task_id: str = "t0", run_id: str = "r1") -> dict[str, str]:
    """Where we lay what a task of a run leaves, as fields of an item: nothing else of our own account is read."""
    here = (str(log_dir), run_id, task_id)
    return {
        "output_dir": layout.output_dir(*here),
        "run_summary_path": layout.run_summary_path(*here),
        "stdout_path": layout.stdout_path(*here),
        "stderr_path": layout.stderr_path(*here),
    }


def ended(task_id: str = "t0", run_id: str = "r1", **changes: Any) -> ItemEvent:
    """An item that has succeeded."""
    values = {"state": ItemState.FINAL, "outcome": Outcome.SUCCEEDED, "confirmed": True, "sequence": 9, "exit_code": 0}
    return item(task_id, run_id, **(values | changes))


def document(*tasks: Any, **fields: Any) -> dict[str, Any]:
    """A run document that may run."""
    listed = list(tasks) or [{"id": "t0", "command": "true"}]
    return {"name": "a run", "cluster": "daint", "tasks": listed} | fields


class Answer(msgspec.Struct, frozen=True):
    """What came back over plain ASGI."""

    status_code: int
    headers: dict[bytes, bytes]
    body: bytes


async def raw_get(house: House, raw_path: bytes) -> Answer:
    """Ask for a path that no well-behaved client would send as it stands."""
    return await raw_ask(house, "GET", raw_path, {"type": "http.request", "body": b"", "more_body": False})


async def raw_ask(house: House, method: str, raw_path: bytes, *received: dict[str, Any]) -> Answer:
    """Ask as a client that sends these messages, however odd."""
    coming = iter(received)
    scope = {
        "type": "http",
        "method": method,
        "raw_path": raw_path,
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKENS['ada']}".encode())],
    }
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        messages.append(message)

    await cast("Any", house.app)(scope, receive, send)
    body = b"".join(message["body"] for message in messages[1:])
    return Answer(messages[0]["status"], dict(messages[0]["headers"]), body)
