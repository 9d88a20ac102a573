"""Every role at every route: the routes are the application's own, so that a new one fails until it is placed here."""

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta

import httpx
import msgspec
import pytest
from litestar.routes import HTTPRoute
from sqlalchemy import func, insert, update

from scripthut_outputs import app
from scripthut_outputs.access import Actor, Role, Scope
from scripthut_outputs.access.callers import Callers, Found
from scripthut_outputs.controllers.routing import Guard
from scripthut_outputs.ledger import Place
from scripthut_outputs.tables import ACCESS_TOKENS, RUNS, SHARE_LINKS
from tests.integration.outputs.house import ORIGIN, House, ended
from tests.integration.outputs.placing import OPEN, placed

OWNER = Actor(name="ada", role=Role.USER)
ACTORS: dict[str, Actor | None] = {
    "admin": Actor(name="root", role=Role.ADMIN),
    "owner": OWNER,
    "member": Actor(name="mia", role=Role.USER, groups=frozenset({"lattice"})),
    "other": Actor(name="otto", role=Role.USER),
    "guest": Actor(name="share:s1", role=Role.GUEST, scopes=frozenset({Scope.READ}), shared={"r1": "s1"}),
    "stranger": None,
    **{f"token-{scope}": msgspec.structs.replace(OWNER, scopes=frozenset({scope})) for scope in Scope},
}
# y: let in. 1: say who you are. 3: not allowed. 4: there is nothing.
EXPECTED = """
            open  list  create  read  collect  submit  share  tokens  admin
admin       y     y     y       y     y        y       y      y       y
owner       y     y     y       y     y        y       y      y       3
member      y     y     y       y     3        3       3      y       3
other       y     y     y       4     4        4       4      y       3
guest       y     3     3       y     3        3       3      3       3
stranger    y     1     1       1     1        1       1      1       1
token-read    y   y     3       y     3        3       3      3       3
token-collect y   3     3       3     y        3       3      3       3
token-submit  y   3     y       3     3        y       3      3       3
token-admin   y   3     3       3     3        3       y      y       3
"""
FILLED = {"run_id": "r1", "task_id": "t0", "path": "a.md", "place": "stdout", "kind": "output", "share_id": "s1"}
FILLED |= {"token_id": "0123456789abcdef", "run": "r1", "task": "t0"}
VALID = {
    ("POST", "/tokens"): {"label": "n", "scopes": ["admin"]},
    ("POST", "/runs"): {"name": "n", "cluster": "daint", "tasks": [{"id": "t", "command": "true"}]},
    ("PUT", "/runs/{run_id}/visibility"): {"visibility": "private"},
}
FORMS = {
    ("POST", "/ui/runs/{run_id}/visibility"): {"visibility": "private"},
    ("POST", "/ui/tokens"): {"label": "n", "scope": "admin", "days": "1", "token_id": "fedcba9876543210"},
}


class ByName:
    """Bearer tokens that are names of roles."""

    async def bearer(self, token: bytes, now: float, sender: str) -> Found | None:  # noqa: ARG002  good at all times
        actor = ACTORS.get(token.decode())
        return None if actor is None else Found(actor)


def expected() -> Iterator[tuple[str, str, str]]:
    head, *lines = (line.split() for line in EXPECTED.strip().splitlines())
    for who, *cells in lines:
        for kind, cell in zip(head, cells, strict=True):
            yield who, kind, cell


def routes(house: House) -> set[tuple[str, str]]:
    litestar = app.build_litestar(house.parts, Guard(house.reading, house.parts.noting))
    return {
        (method, route.path_format)
        for route in litestar.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS", "HEAD"}
    }


@pytest.fixture
async def filled(house: House) -> House:
    """A run of ada's, open to a group, of which there is something at every address."""
    access = msgspec.structs.replace(house.parts.access, callers=Callers([ByName()], []))
    house.parts = msgspec.structs.replace(house.parts, access=access)
    house.app = app.build(house.parts, house.rules)
    await house.apply(ended())
    await house.store("r1", "t0", b"a.md", b"# A")
    await house.store("r1", "t0", b"", b"- a", Place.RUN_SUMMARY, kind="markdown")
    await house.store("r1", "t0", b"", b"a log", Place.STDOUT, kind="text")
    await open_again(house)
    return house


async def open_again(house: House, who: str = "owner") -> None:
    """Let everything be there again that a request may have taken away, a token of `who` too."""
    actor = ACTORS[who] or OWNER
    token = {"token_id": FILLED["token_id"], "token_sha256": b"t", "owner": actor.name, "label": "", "scopes": ["read"]}
    link = {"share_id": "s1", "run_id": "r1", "label": "", "created_by": "ada", "expires_at": func.now()}
    async with house.database.transaction() as connection:
        await connection.execute(update(RUNS).values(visibility="group", group="lattice"))
        await connection.execute(SHARE_LINKS.delete())
        await connection.execute(insert(SHARE_LINKS).values(link))
        await connection.execute(ACCESS_TOKENS.delete())
        await connection.execute(insert(ACCESS_TOKENS).values(**token, expires_at=func.now() + timedelta(days=1)))


async def ask(house: House, who: str, method: str, path: str) -> httpx.Response:
    filling = FILLED | ({"path": "openapi.json"} if path.startswith("/schema") else {})
    address = re.sub(r"\{(\w+)\}", lambda found: filling.get(found[1], "x"), path)
    is_stream = path.endswith("/events")
    headers = {} if ACTORS[who] is None else {"authorization": f"Bearer {who}"}
    async with house.client(None, origin=ORIGIN, **headers) as client:
        query = {"path": b64encode(b"a.md").decode()} if path.endswith("/rendered") else None
        body = VALID.get((method, path))
        content = None if body is None else msgspec.json.encode(body)
        form = FORMS.get((method, path))
        verb = "HEAD" if is_stream else method
        return await client.request(verb, address, params=query, content=content, data=form)


def word(answer: httpx.Response) -> str:
    """The answer as a cell of the table; whoever is led to the login is not let in."""
    if answer.headers.get("location", "").startswith("/login?"):
        return "login"
    match answer.status_code:
        case 401:
            return "1"
        case 403:
            return "3"
        case 404:
            return "4"
        case status if status < 400 or status == 409:
            return "y"
        case status:
            return str(status)


async def test_every_route_is_placed(house: House) -> None:
    assert routes(house) == set(placed())
    assert {who for who, _, _ in expected()} == set(ACTORS)


@pytest.mark.parametrize("who", ACTORS)
async def test_every_route_answers_a_role_as_the_table_says(filled: House, who: str) -> None:
    cells = {kind: cell for name, kind, cell in expected() if name == who}
    wrong = []

    for (method, path), kind in sorted(placed().items()):
        await open_again(filled, who)
        answer = await ask(filled, who, method, path)
        told, cell = word(answer), cells[kind]
        is_page = path.startswith("/ui")
        leads_to_login = is_page and (cell == "1" or (cell == "3" and who == "guest"))
        # What is open to everybody may still know nothing of what was asked for.
        is_right = answer.status_code < 500 and told not in {"1", "login"} if kind == OPEN else told == cell
        if not (told == "login" if leads_to_login else is_right):
            wrong.append((method, path, told, cell, answer.text[:200]))

    assert wrong == []
