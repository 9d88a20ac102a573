"""The door: who comes in, by which name we may be called, whose pages may ask."""

import re

import httpx
import msgspec
import pytest

from scripthut_common.errors import DatabaseUnavailable
from scripthut_outputs import app
from scripthut_outputs.access import Action
from scripthut_outputs.access.callers import Callers
from scripthut_outputs.controllers import files
from scripthut_outputs.controllers.pages import assets
from scripthut_outputs.controllers.routing import Guard, action_of
from tests.integration.outputs.house import ORIGIN, TOKENS, House, document, ended, item
from tests.integration.outputs.walking import routes

ENTRANCES = {
    "/",
    "/login",
    "/login/oidc",
    "/login/oidc/callback",
    "/logout",
    "/health/live",
    "/health/ready",
    "/ui/static/{version}/{name}",
    "/share/{signed}",
}
OF_A_RUN = {Action.READ_RUN, Action.CANCEL_RUN, Action.COLLECT_AGAIN, Action.PIN_RUN, Action.SHARE_RUN}


async def test_every_route_says_what_it_does_and_asks_the_guard(house: House) -> None:
    found = routes(house)

    assert len(found) > 15
    for path, handler in found:
        assert any(isinstance(guard, Guard) for guard in handler.resolve_guards()), path
        assert "OPTIONS" in handler.http_methods or action_of(handler), path


async def test_only_named_routes_let_strangers_in(house: House) -> None:
    open_paths = {
        path
        for path, handler in routes(house)
        if "OPTIONS" not in handler.http_methods and action_of(handler) is Action.ENTER
    }

    assert open_paths <= ENTRANCES
    assert files.ACTION is not Action.ENTER


async def test_every_route_of_a_run_names_it_run_id(house: House) -> None:
    for path, handler in routes(house):
        if "OPTIONS" not in handler.http_methods:
            is_of_a_run = action_of(handler) in OF_A_RUN
            assert ("{run_id}" in path) is is_of_a_run, path


async def test_strangers_get_no_answer_from_any_route(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"secret")

    async with house.client(None) as client:
        for path, handler in routes(house):
            filled = re.sub(r"\{(\w+)\}", lambda found: {"run_id": "r1", "task_id": "t0"}.get(found[1], "x"), path)
            for method in handler.http_methods - {"OPTIONS"}:
                if path not in ENTRANCES:
                    answer = await client.request(method, filled)
                    assert answer.status_code == (303 if path.startswith("/ui") else 401), (method, filled)
                    assert answer.headers.get("location", "/login").startswith("/login"), (method, filled)
        assert (await client.get("/runs/r1/tasks/t0/outputs/file/a.txt")).status_code == 401


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer ", "Digest a=b", "Bearer token-of-ada-0123456788"])
async def test_a_wrong_token_is_told_so(house: House, authorization: str) -> None:
    answer = await house.get("/runs", actor=None, authorization=authorization)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_token_counts_even_beside_a_good_session(house: House) -> None:
    cookie = house.session("ada")

    assert (await house.get("/runs", actor=None, cookie=cookie)).status_code == 200
    assert (await house.get("/runs", actor=None, cookie=cookie, authorization="Bearer wrong")).status_code == 401


async def test_another_persons_run_looks_like_none(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"secret")

    for rest in (
        "",
        "/tasks/t0",
        "/tasks/t0/outputs",
        "/tasks/t0/outputs/file/a.txt",
        "/summary",
        "/tasks/t0/detail/output",
    ):
        theirs = await house.get(f"/runs/r1{rest}", actor="bob")
        missing = await house.get(f"/runs/r2{rest}", actor="bob")
        assert theirs.status_code == missing.status_code == 404
        assert theirs.content == missing.content
        assert theirs.headers == missing.headers
        assert (await house.get(f"/runs/r1{rest}", actor="ada")).status_code != 401
        assert (await house.get(f"/runs/r1{rest}", actor="root")).status_code in {200, 404}
    for action in ("/cancel", "/tasks/t0/outputs/collect"):
        assert (await house.post(f"/runs/r1{action}", actor="bob")).status_code == 404
    assert await house.rows("SELECT * FROM outputs.outbox") == []


async def test_lists_show_what_is_ones_own(house: House) -> None:
    await house.apply(item(), item(run_id="r2", owner="bob"))

    seen = {actor: [run["run_id"] for run in (await house.get("/runs", actor)).json()["runs"]] for actor in TOKENS}
    assert seen == {"ada": ["r1"], "bob": ["r2"], "root": ["r2", "r1"]}


async def test_which_methods_an_address_knows_is_the_same_whatever_lies_there(house: House) -> None:
    await house.apply(item())

    async with house.client("bob") as client:
        answers = [await client.options(f"/runs/{run_id}") for run_id in ("r1", "r9")]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert [", ".join(sorted(answer.headers["allow"].split(", "))) for answer in answers] == ["GET, OPTIONS"] * 2


async def test_metrics_are_for_admins(house: House) -> None:
    assert (await house.get("/metrics", "ada")).status_code == 403
    counted = await house.get("/metrics", "root")
    assert counted.status_code == 200
    assert counted.headers["content-type"].count("charset") == 1


@pytest.mark.parametrize(
    "host", ["evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org:8080", "", "[::1].evil.org"]
)
async def test_a_name_rebound_to_our_address_gets_nothing(house: House, host: str) -> None:
    answer = await house.get("/runs", host=host)

    assert answer.status_code == 421
    assert "runs" not in answer.json()
    assert (await house.get("/runs/r1/tasks/t0/outputs/file/a", host=host)).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "LocalHost"])
async def test_our_own_names_are_let_in_on_every_port(house: House, host: str) -> None:
    assert (await house.get("/runs", host=host)).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example.org", "null", "http://localhost:9999", "http://[", ""])
async def test_another_sites_page_cannot_change_anything(house: House, origin: str) -> None:
    cookie = house.session("ada")

    answer = await house.post("/runs", document(), None, cookie=cookie, origin=origin, host="localhost:8080")

    assert answer.status_code == 403
    assert await house.rows("SELECT * FROM outputs.runs") == []


async def test_a_session_without_origin_cannot_change_anything(house: House) -> None:
    cookie = house.session("ada")

    assert (await house.post("/runs", document(), None, cookie=cookie)).status_code == 403
    assert (await house.post("/runs", document(), None, cookie=cookie, origin=ORIGIN)).status_code == 201


async def test_a_page_of_another_site_cannot_read_unless_it_is_named(house: House) -> None:
    unnamed = await house.get("/runs", origin="https://evil.example.org")
    named = await house.get("/runs", origin="https://friend.example.org")

    assert "access-control-allow-origin" not in unnamed.headers
    assert named.headers["access-control-allow-origin"] == "https://friend.example.org"
    assert "access-control-allow-credentials" not in named.headers


async def test_what_one_page_is_told_is_not_told_to_the_next(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.txt", b"x")
    path = "/runs/r1/tasks/t0/outputs/file/a.txt"
    house.cache.is_listening = True

    for _ in range(2):
        named = await house.get(path, origin="https://friend.example.org")
        assert named.headers.get_list("access-control-allow-origin") == ["https://friend.example.org"]

    assert "access-control-allow-origin" not in (await house.get(path)).headers


async def test_a_named_page_is_told_what_it_may_send(house: House) -> None:
    async with house.client(None, origin="https://friend.example.org") as client:
        answer = await client.options("/runs", headers={"access-control-request-method": "POST"})

    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]


async def test_a_login_link_works_once(house: House) -> None:
    code = await house.login_codes.issue("ada", minutes=5)

    first = await house.get(f"/login?code={code}", None)
    second = await house.get(f"/login?code={code}", None)

    assert (first.status_code, first.headers["location"]) == (303, "/ui/")
    cookie = first.headers["set-cookie"]
    assert re.search("; HttpOnly", cookie)
    assert re.search("; SameSite=Lax", cookie)
    assert (await house.get("/runs", None, cookie=cookie.partition(";")[0])).status_code == 200
    assert second.status_code == 403
    assert "set-cookie" not in second.headers


async def test_a_login_link_that_is_too_old_does_nothing(house: House) -> None:
    code = await house.login_codes.issue("ada", minutes=-1)

    assert (await house.get(f"/login?code={code}", None)).status_code == 403


async def test_the_code_is_kept_as_a_hash_alone(house: House) -> None:
    code = await house.login_codes.issue("ada", minutes=5)

    assert code not in str(await house.rows("SELECT * FROM outputs.login_codes"))


@pytest.mark.parametrize(
    "then", ["https://evil.org/", "//evil.org", "/\\evil.org", "/ui/\r\nset-cookie: a=b", "javascript:1"]
)
async def test_a_login_leads_to_our_own_pages_alone(house: House, then: str) -> None:
    code = await house.login_codes.issue("ada", minutes=5)

    async with house.client(None) as client:
        answer = await client.get("/login", params={"code": code, "next": then})

    assert answer.headers["location"] == "/ui/"


async def post_form(house: House, **form: str) -> httpx.Response:
    async with house.client(None, origin=ORIGIN) as client:
        return await client.post("/login", data=form)


async def test_a_token_pasted_into_the_form_logs_in(house: House) -> None:
    answer = await post_form(house, token=TOKENS["ada"], next="/ui/runs/r1")

    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/runs/r1")
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert (await house.get("/runs", None, cookie=cookie)).status_code == 200


async def test_a_wrong_token_in_the_form_is_told_so(house: House) -> None:
    answer = await post_form(house, token="wrong", next='"><script>')

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert "<script>" not in answer.text


async def test_a_form_with_many_fields_is_only_a_wrong_login(house: House) -> None:
    async with house.client(None) as client:
        answer = await client.post("/login", content="&".join(["a=1"] * 50))

    assert answer.status_code == 403


async def test_the_login_page_runs_nothing_and_loads_nothing_foreign(house: House) -> None:
    answer = await house.get("/login", None)

    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert set(re.findall(r"(?:src|href|action)=\"(/[a-z]+)", answer.text)) <= {"/ui", "/login", "/logout"}
    assert not re.search(r"(?:src|href|action)=\"(?![/#][a-z])", answer.text)


async def test_a_removed_person_is_out_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = house.session("ada")
    monkeypatch.setattr("scripthut_outputs.access.watched._LOOK_AGAIN_S", 0.0)

    house.tokens_file.write_text(f"bob user {TOKENS['bob']}\n")

    assert (await house.get("/runs", None, cookie=cookie)).status_code == 401
    assert (await house.get("/runs", "ada")).status_code == 401
    assert (await house.get("/runs", "bob")).status_code == 200


@pytest.mark.parametrize("cookie", ["=x", "=", f"={'A' * 5000}", "=ImFkYSI.aaaa.bbbb"])
async def test_a_forged_cookie_is_nobody(house: House, cookie: str) -> None:
    assert (await house.get("/runs", None, cookie=house.sessions.cookie_name + cookie)).status_code == 401


async def test_health_is_told_to_everybody(house: House) -> None:
    assert (await house.get("/health/live", None)).status_code == 200
    assert (await house.get("/health/ready", None)).status_code == 200


@pytest.mark.parametrize("who", [None, "ada", "root"])
async def test_what_is_wrong_is_told_to_admins_in_words_and_to_others_by_name(house: House, who: str | None) -> None:
    told = "connection to server at 10.0.0.7, port 5432 failed: user scripthut"
    house.pulse.faults["outputs.intake"] = told

    answer = await house.get("/health/ready", who)

    assert answer.status_code == 503
    fault = {"name": "outputs.intake", "fault": told} if who == "root" else {"name": "outputs.intake"}
    assert answer.json() == {"status": "not ready", "faults": [fault]}
    assert answer.headers["cache-control"] == "no-store"


async def test_every_answer_says_that_it_is_not_to_be_guessed_at(house: House) -> None:
    for path in ("/runs", "/login", "/nothing", "/runs/r9"):
        headers = (await house.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in headers or headers["content-type"] == "application/problem+json"


class Away:
    """A way in that cannot be looked up just now."""

    async def bearer(self, token: bytes, now: float, sender: str = "") -> None:  # noqa: ARG002  nobody's
        raise DatabaseUnavailable("PostgreSQL: connection refused")


async def test_while_nobody_can_be_looked_up_health_and_the_looks_of_pages_are_there(house: House) -> None:
    access = msgspec.structs.replace(house.parts.access, callers=Callers([Away()], []))
    house.parts = msgspec.structs.replace(house.parts, access=access)
    house.app = app.build(house.parts, house.rules)

    answers = [await house.get(path) for path in ("/health/live", assets.url("page.css"), "/runs", "/ui/runs/r1")]

    assert [answer.status_code for answer in answers] == [200, 200, 503, 503]
