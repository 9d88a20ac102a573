"""How a route says what it does, and the guard that asks whether its caller may."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import HTTPScope

from scripthut_common import layout
from scripthut_common.errors import NotAllowed, NotAuthenticated, NotFound
from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.may import NEEDED, Owned, may
from scripthut_outputs.catalog.reading import Reading
from scripthut_outputs.catalog.views import RunHead

from .noting import RUN_READ, Noting

# Asked for every request; see `access.may`.
_ENTER, _READ_RUN = Action.ENTER, Action.READ_RUN
_ACTION, _LOOK = "action", "look"


def asks(action: Action, *, look: str = RUN_READ) -> dict[str, str]:
    """Say what a route does, and how readers of a run are noted: `@get(…, opt=asks(Action.READ_RUN))`."""
    return {_ACTION: action, _LOOK: look}


def action_of(handler: BaseRouteHandler) -> Action:
    """What a route said that it does.

    Raises:
        LookupError: it said nothing, so nobody may use it.
    """
    try:
        action = handler.opt[_ACTION]
    except KeyError:
        raise LookupError(f"{handler} does not say what it does: give it opt=asks(…)") from None
    return Action(action)


def require_ids(*given: str | None) -> None:
    """Let pass what may be the id of a run or a task.

    Raises:
        NotFound: nothing can have such an id.
    """
    if not all(text is None or layout.is_id(text) for text in given):
        raise NotFound("nothing has such an id")


class Guard:
    """Asks `may` for every request before its handler runs, and notes who looks at what is not theirs.

    Args:
        reading: the runs.
        noting: of the audit log.
    """

    def __init__(self, reading: Reading, noting: Noting) -> None:
        self._reading = reading
        self._noting = noting

    async def __call__(self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        """Let the request pass.

        Raises:
            NotAuthenticated: nobody knows who asks.
            NotAllowed: the actor may not do this.
            NotFound: there is no such run, or it is not the actor's to see; the same for both.
        """
        if connection.scope.get("method") == "OPTIONS":
            # The framework's own answer: which methods an address knows, the same whatever lies there.
            return
        actor: Actor | None = connection.scope.get("user")
        action = action_of(handler)
        run = await self.ask(actor, action, connection.path_params.get("run_id"))
        require_ids(connection.path_params.get("task_id"))
        if run is None:
            self._noting.saw_others(connection.scope, action)
        elif action is _READ_RUN:
            self._noting.saw(connection.scope, handler.opt[_LOOK], run)

    async def ask_to_read(self, scope: HTTPScope, kind: str, run_id: str) -> None:
        """Ask for one request that reads a run outside the framework, and note it; see `__call__`."""
        run = await self.ask(scope.get("user"), _READ_RUN, run_id)
        if run is not None:
            self._noting.saw(scope, kind, run)

    async def ask(self, actor: Actor | None, action: Action, run_id: str | None) -> RunHead | None:
        """Ask for one request; see `__call__`. Gives the run that it is about."""
        if action is _ENTER:
            return None
        if actor is None:
            raise NotAuthenticated("say who you are: Authorization: Bearer <token>, or log in at /login")
        if NEEDED[action] not in actor.scopes:
            # Before anything is looked for: what there is makes no difference to this answer.
            raise NotAllowed(f"what you showed is not good for this: {action} needs the scope `{NEEDED[action]}`")
        if run_id is None:
            if not may(actor, action):
                raise NotAllowed(f"{actor.name} may not {action}")
            return None
        held = self._reading.held_head(run_id)
        run = held or await self._head(run_id)
        if not may(actor, action, run):
            if may(actor, Action.READ_RUN, run):
                raise NotAllowed(f"you may read this run, but not {action}")
            if held is not None:
                # What is in memory is refused no sooner than what is not there at all.
                await self._reading.look_for(run_id)
            raise NotFound("there is no such run")
        return run

    async def _head(self, run_id: str) -> RunHead:
        require_ids(run_id)
        return await self._reading.head(run_id)

    def ask_of(self, actor: Actor | None, action: Action, run: Owned) -> None:
        """Ask about a run that was read already.

        Raises:
            NotFound: it is not the actor's to see.
        """
        if not may(actor, action, run):
            raise NotFound("there is no such run")
