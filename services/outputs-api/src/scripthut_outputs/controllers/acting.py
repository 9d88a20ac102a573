"""Say in the audit log who did something, and from where."""

from typing import Any

from litestar import Request

from scripthut_outputs.access import Actor
from scripthut_outputs.catalog.auditing import Act


def act_of(request: Request[Actor, Any, Any], act: str, run_id: str) -> Act:
    """What the sender of a request did with a run."""
    actor: Actor | None = request.scope.get("user")
    return Act(
        act=act,
        actor=actor.name if actor else None,
        credential=actor.credential if actor else None,
        address=request.client.host if request.client else None,
        run_id=run_id,
    )
