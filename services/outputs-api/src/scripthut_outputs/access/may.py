"""Answer whether an actor may do something with a run. Pure."""

from typing import Protocol

from . import Action, Actor, Role

_OF_A_RUN = frozenset({Action.READ_RUN, Action.CANCEL_RUN, Action.COLLECT_AGAIN, Action.PIN_RUN})
_OF_ADMINS = frozenset({Action.READ_METRICS})


class Owned(Protocol):
    """Anything that belongs to somebody."""

    @property
    def owner(self) -> str:
        """The name of the actor it belongs to."""


def may(actor: Actor | None, action: Action, run: Owned | None = None) -> bool:
    """Answer for every route: admins may all, users what is theirs and what is nobody's, strangers enter."""
    if actor is None or action is Action.ENTER:
        return action is Action.ENTER
    if actor.role is Role.ADMIN:
        return True
    if action in _OF_A_RUN:
        return run is not None and run.owner == actor.name
    return action not in _OF_ADMINS


def visible_owner(actor: Actor) -> str | None:
    """The owner whose runs a list may show this actor; `None` means everybody's."""
    return None if actor.role is Role.ADMIN else actor.name
