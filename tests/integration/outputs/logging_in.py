"""The steps of a browser through a login at a provider, one at a time, to be sent twice, late or by somebody else."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec

from scripthut_outputs.access.oidc_login import CALLBACK
from scripthut_outputs.access.policy import Oidc, Policy
from tests.integration.outputs.house import ORIGIN, House
from tests.testbed.oidc import OidcProvider

REDIRECT = f"{ORIGIN}{CALLBACK}"


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Where a browser was sent, and the cookie that it was given."""

    location: str
    cookie: str

    @property
    def asked(self) -> dict[str, str]:
        """What the provider is asked."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}

    def answer(self, **said: str | None) -> str:
        """An address as the provider would send a browser back to, made by hand."""
        answer = {"code": "a-code", "state": self.asked["state"]} | said
        return f"{CALLBACK}?{httpx.QueryParams({name: value for name, value in answer.items() if value is not None})}"


def use(house: House, oidc: Oidc) -> None:
    """Let the access file name a provider."""
    house.policy = Policy(oidc=oidc, trusts_listed_names=True)


async def begin(house: House, then: str = "/ui/") -> Begun:
    """Press the button."""
    answer = await house.get(f"/login/oidc?{httpx.QueryParams(next=then)}", None)
    assert answer.status_code == 303, answer.text
    return Begun(location=answer.headers["location"], cookie=answer.headers["set-cookie"].partition(";")[0])


async def come_back(house: House, address: str, cookie: str) -> httpx.Response:
    """Come back from the provider with what the browser was given before."""
    return await house.get(address.removeprefix(ORIGIN), None, cookie=cookie)


async def log_in(house: House, provider: OidcProvider, name: str = "ada") -> httpx.Response:
    """All of it."""
    begun = await begin(house)
    return await come_back(house, await provider.log_in(begun.location, name), begun.cookie)


def session_of(house: House, answer: httpx.Response) -> str | None:
    """The cookie of the session that an answer begins; `None` where it begins none."""
    started = [cookie.partition(";")[0] for cookie in answer.headers.get_list("set-cookie")]
    return next((cookie for cookie in started if cookie.startswith(f"{house.sessions.cookie_name}=")), None)


async def runs_of(house: House, session: str | None) -> httpx.Response:
    """Ask for something as the bearer of a session."""
    return await house.get("/runs", None, cookie=str(session))


Providers = Callable[[str], OidcProvider]
