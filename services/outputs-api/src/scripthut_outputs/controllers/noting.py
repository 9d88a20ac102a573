"""Say who does something, for the audit log: changes are written with what they change, looks are gathered."""

from typing import Any

import msgspec
from litestar.types import Scope

from scripthut_outputs.access import Action, Actor, Role
from scripthut_outputs.access.may import Owned, may
from scripthut_outputs.catalog.auditing import Act
from scripthut_outputs.catalog.looks import Looks

from .door import address_of

RUN_READ, FILE_READ, ARCHIVE_READ, STREAM_OPENED = "run.read", "file.read", "archive.read", "stream.opened"
LIST_READ, ADMIN_READ = "list.read", "admin.read"
_OF_NO_RUN = {Action.LIST_RUNS: LIST_READ, Action.ADMINISTER: ADMIN_READ}


class Noting:
    """Notes what people do.

    Args:
        looks: gathers who looked at what.
        has_own: whether owners are noted too who look at what is theirs.
    """

    def __init__(self, looks: Looks, *, has_own: bool = False) -> None:
        self._looks = looks
        self._has_own = has_own

    def act(self, scope: Scope, act: str, *, actor: Actor | None = None, **more: Any) -> Act:
        """Make the entry for what the sender of a request does just now; `actor` is who they turned out to be."""
        actor = actor or scope.get("user")
        return Act(
            act=act,
            actor=None if actor is None else actor.name,
            credential=None if actor is None else actor.credential,
            address=address_of(scope) or None,
            **more,
        )

    def saw(self, scope: Scope, kind: str, run: Owned) -> None:
        """Note that somebody looked at a run; its owner is left out."""
        actor: Actor = scope["user"]
        if actor.name != run.owner or actor.is_guest or self._has_own:
            self._note(scope, actor, _credential(actor, run), run.run_id, kind)

    def saw_others(self, scope: Scope, action: Action) -> None:
        """Note that an admin looked at everybody's: what others see in lists is open to them."""
        actor: Actor | None = scope.get("user")
        if actor is not None and actor.role is Role.ADMIN and action in _OF_NO_RUN:
            self._note(scope, actor, actor.credential, None, _OF_NO_RUN[action])

    def _note(self, scope: Scope, actor: Actor, credential: str, run_id: str | None, kind: str) -> None:
        self._looks.note((actor.name, credential, run_id, kind, address_of(scope)))


def _credential(actor: Actor, run: Owned) -> str:
    """Say by what somebody reads a run: by a link, where nothing else opens it for them."""
    share_id = actor.shared.get(run.run_id)
    if share_id is None or may(msgspec.structs.replace(actor, shared={}), Action.READ_RUN, run):
        return actor.credential
    return f"share:{share_id}"
