"""Login of browsers at the OpenID provider: out to it, and back with its answer."""

import time
from typing import Annotated, Any

import structlog
from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from scripthut_common import text
from scripthut_common.errors import Conflict, NotAllowed, NotAuthenticated, TransientError
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.oidc_login import CALLBACK, NoPlace, NotVouched
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.identities import Vouched

from .door import address_of
from .login import HOME, busy, form_page, own_page, welcome
from .parts import Parts
from .routing import asks

_Next = Annotated[str, QueryParameter(name="next", max_length=2000)]
_CREDENTIAL = "oidc"
_AGAIN_S = 5
_NO_PROVIDER = "The provider where people log in cannot be asked just now. Try again in a minute."

log = structlog.get_logger()


@get("/login/oidc", opt=asks(Action.ENTER), include_in_schema=False)
async def begin(parts: NamedDependency[Parts], then: _Next = HOME) -> Response[str]:
    """Send a browser to the provider."""
    try:
        begun = await parts.access.logins.begin(own_page(then))
    except NotAllowed as error:
        return form_page(parts, str(error), then, 404)
    except TransientError as error:
        return _unavailable(parts, error, then)
    headers = {"location": begun.location, "set-cookie": begun.cookie, "cache-control": "no-store"}
    return Response("", status_code=303, headers=headers)


@get(CALLBACK, opt=asks(Action.ENTER), include_in_schema=False)
async def come_back(request: Request[Actor, Any, Any], parts: NamedDependency[Parts]) -> Response[str]:
    """Take a browser that the provider sent back; begin a session for whom it vouches for."""
    scope, logins, refusals = request.scope, parts.access.logins, parts.access.refusals
    address, now = address_of(scope), time.time()
    # Each answer is asked of the provider: while too many wrong ones come, none is, and an attempt stays as it is.
    waits_s = refusals.wait_s(address, now, _CREDENTIAL)
    if waits_s:
        return busy(parts, waits_s, HOME)
    cookies = dict(scope["headers"]).get(b"cookie")
    try:
        found = await logins.finish(scope["query_string"], cookies)
        name = await _let_in(parts, found.vouched, address)
    except NoPlace as error:
        # Nothing was asked yet: the same page, loaded again, goes on with this attempt.
        return _unavailable(parts, error, HOME)
    except TransientError as error:
        answer = _unavailable(parts, error, HOME)
    except Conflict as error:
        # What is wrong with a name stands in the audit log already.
        log.warning("login_refused", reason=str(error), address=address)
        answer = form_page(parts, _sentence(str(error)), HOME, 403)
    except (NotVouched, NotAuthenticated) as error:
        # Anybody can bring these about: they are counted, and written as long as there are few.
        waits_s = await refusals.note(address, now, _CREDENTIAL, str(error)[:500])
        answer = busy(parts, waits_s, HOME) if waits_s else form_page(parts, _sentence(str(error)), HOME, 403)
    except NotAllowed as error:
        log.warning("login_refused", reason=str(error), address=address)
        details = {"reason": str(error)[:500]}
        await parts.audit.did(
            Act(act="login.refused", credential=_CREDENTIAL, address=address or None, details=details)
        )
        answer = form_page(parts, _sentence(str(error)), HOME, 403)
    else:
        await parts.audit.did(Act(act="login", actor=name, credential=_CREDENTIAL, address=address or None))
        answer = welcome(parts.access.sessions, name, found.then)
    answer.headers["cache-control"] = "no-store"
    return _without_attempt(answer, logins.cookie_name)


async def _let_in(parts: Parts, who: Vouched, address: str) -> str:
    """Take note of somebody; give their name."""
    await parts.access.identities.vouch(who, credential=_CREDENTIAL, address=address or None)
    if await parts.access.directory.actor(who.name, credential=_CREDENTIAL, is_told=True) is None:
        raise NotAllowed(f"{who.name!r} may not come in here any more: ask whoever runs this service.")
    return who.name


def _unavailable(parts: Parts, error: TransientError, then: str) -> Response[str]:
    log.warning("openid_provider_unavailable", error=str(error))
    answer = form_page(parts, f"{_NO_PROVIDER} ({text.line(str(error))})", then, 503)
    answer.headers["retry-after"] = str(_AGAIN_S)
    return answer


def _without_attempt(answer: Response[str], name: str) -> Response[str]:
    """Let a browser forget its attempt, however it went: an answer of the provider counts once."""
    is_secure = name.startswith("__Host-")
    answer.set_cookie(key=name, value="", path="/", max_age=0, httponly=True, samesite="lax", secure=is_secure)
    return answer


def _sentence(words: str) -> str:
    shown = text.line(words)
    return f"{shown[:1].upper()}{shown[1:]}{'' if shown.endswith(('.', '!', '?')) else '.'}"
