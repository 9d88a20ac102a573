"""What somebody tries at another person's run: every route that takes a run's id, with every trick we know."""

import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping

import httpx
import msgspec

from tests.e2e.department import Department, Person
from tests.integration.outputs.placing import ADMIN, READ, placed

_FILLED = {"task_id": "work", "task": "work", "path": "mine.txt", "place": "stdout", "kind": "output"}
_BODIES: Mapping[str, Mapping[str, object]] = {"visibility": {"visibility": "instance"}, "shares": {"days": 1}}
_QUERIES = {"rendered": {"path": b64encode(b"task-summary.md").decode()}}
# What no two answers share.
_OWN = frozenset({"date", "content-length"})


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route of the application that takes the id of a run."""

    method: str
    path: str
    kind: str

    @property
    def is_read(self) -> bool:
        """Whether it shows something."""
        return self.kind == READ

    @property
    def is_stream(self) -> bool:
        """Whether its answer does not end."""
        return self.path.endswith("/events")

    def address(self, run_id: str, share_id: str = "") -> str:
        """Fill in what it asks for; a route with something new in it has no address.

        Raises:
            KeyError: of the new word.
        """
        told = {**_FILLED, "run_id": run_id, "run": run_id, "share_id": share_id}
        return re.sub(r"\{(\w+)\}", lambda found: told[found[1]], self.path)

    def ask(self, client: httpx.Client, address: str, method: str, headers: Mapping[str, str]) -> httpx.Response:
        """Ask as its page or a program would; of an answer without an end only the head is given."""
        word = self.path.rpartition("/")[2]
        body = _BODIES.get(word, {}) if method in {"POST", "PUT"} else None
        is_form = body is not None and self.path.startswith("/ui/")
        with client.stream(
            method,
            address,
            headers=dict(headers),
            params=_QUERIES.get(word),
            json=None if is_form else body,
            data=body if is_form else None,
        ) as answer:
            if self.is_stream and answer.is_success:
                return httpx.Response(answer.status_code, headers=answer.headers)
            answer.read()
        return answer


def routes() -> list[Route]:
    """Give them all."""
    found = [Route(method=method, path=path, kind=kind) for (method, path), kind in sorted(placed().items())]
    return [one for one in found if "{run_id}" in one.path or "{run}" in one.path]


def tags_of(department: Department, owner: Person) -> dict[str, str]:
    """Have the owner look at everything; give the tags of what they saw, by path of the route."""
    found = {}
    with department.asking(owner.headers) as client:
        for route in routes():
            if route.is_read:
                method = "HEAD" if route.is_stream else "GET"
                answer = route.ask(client, route.address(owner.run_id), method, {})
                assert answer.status_code == 200, (route, answer.text)
                found[route.path] = answer.headers.get("etag", '"none"')
    return found


def tricks(route: Route, victim: Person, tag: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give each method and headers by which more might be told than by asking plainly."""
    yield route.method, {}
    if not route.is_read:
        return
    for method in ("GET", "HEAD"):
        yield method, {"if-none-match": tag}
        yield method, {"if-none-match": "*"}
        yield method, {"range": "bytes=0-0"}
    yield "GET", {"if-range": tag, "range": "bytes=0-"}
    yield "GET", {"if-match": tag}
    yield "GET", {"last-event-id": "0"}
    yield "GET", {"x-original-url": f"/runs/{victim.run_id}", "x-http-method-override": "PUT"}


def differences(
    department: Department, attacker: Person, victim: Person, tags: Mapping[str, str], share_id: str
) -> list[object]:
    """Try everything; give the answers that are not those to a run which nobody has."""
    missing = victim.run_id[::-1]
    wrong = list[object]()
    with department.asking(attacker.headers) as client:
        for route in routes():
            for method, headers in tricks(route, victim, tags.get(route.path, "")):
                theirs, none = (
                    route.ask(client, route.address(run_id, share_id), method, headers)
                    for run_id in (victim.run_id, missing)
                )
                if theirs.status_code not in _statuses(route, method) or not _same(
                    theirs, none, victim.run_id, missing
                ):
                    wrong.append((route, method, headers, theirs.status_code, theirs.text[:300], none.text[:300]))
    return wrong


def _statuses(route: Route, method: str) -> Collection[int]:
    """Say how a refusal looks: what is the admins' is refused to all, and some routes know no HEAD."""
    if route.kind == ADMIN:
        return {403}
    return {404, 405} if method == "HEAD" else {404}


def _same(theirs: httpx.Response, none: httpx.Response, run_id: str, missing: str) -> bool:
    heads = [{name: value for name, value in one.headers.items() if name not in _OWN} for one in (theirs, none)]
    return (
        theirs.status_code == none.status_code
        and heads[0] == heads[1]
        and theirs.text.replace(run_id, missing) == none.text
    )
