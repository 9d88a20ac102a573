"""Answer whether an actor may do something with a run. Pure."""

from collections.abc import Mapping
from typing import Protocol

from scripthut_outputs.catalog.asked import Visible

from . import Action, Actor, Role, Scope, Visibility

# What a credential must be good for. `ENTER` needs none.
NEEDED: Mapping[Action, Scope] = {
    Action.CREATE_RUN: Scope.SUBMIT,
    Action.LIST_RUNS: Scope.READ,
    Action.READ_RUN: Scope.READ,
    Action.CANCEL_RUN: Scope.SUBMIT,
    Action.COLLECT_AGAIN: Scope.COLLECT,
    Action.PIN_RUN: Scope.COLLECT,
    Action.SHARE_RUN: Scope.ADMIN,
    Action.READ_CLUSTERS: Scope.READ,
    Action.READ_METRICS: Scope.ADMIN,
    Action.READ_SCHEMA: Scope.READ,
    Action.MANAGE_TOKENS: Scope.ADMIN,
    Action.ADMINISTER: Scope.ADMIN,
}
# Asked of every request: a member of an enumeration is found in its class more slowly than all the rest is answered.
_ENTER, _READ_RUN = Action.ENTER, Action.READ_RUN
_ADMIN, _USER = Role.ADMIN, Role.USER
_OF_A_RUN = frozenset({Action.READ_RUN, Action.CANCEL_RUN, Action.COLLECT_AGAIN, Action.PIN_RUN, Action.SHARE_RUN})
_OF_ADMINS = frozenset({Action.READ_METRICS, Action.ADMINISTER})


class Owned(Protocol):
    """A run, as far as its rights go."""

    @property
    def run_id(self) -> str:
        """Its id, which share links name."""

    @property
    def owner(self) -> str:
        """The name of the actor it belongs to."""

    @property
    def visibility(self) -> str:
        """Who may read it besides; a word that is not known here means nobody."""

    @property
    def group(self) -> str | None:
        """The group that may read it where `visibility` says so."""


def may(actor: Actor | None, action: Action, run: Owned | None = None) -> bool:
    """Answer for every route.

    Admins may all; owners all with what is theirs; others read what is open to them; guests read what was shared with
    them; strangers enter. Nobody may more than the credential that they showed is good for.
    """
    if actor is None or action is _ENTER:
        return action is _ENTER
    if NEEDED[action] not in actor.scopes:
        return False
    if actor.role is _USER:
        if action not in _OF_A_RUN:
            return action not in _OF_ADMINS
        return run is not None and (run.owner == actor.name or (action is _READ_RUN and _is_open_to(actor, run)))
    if actor.role is _ADMIN:
        return True
    return action is _READ_RUN and run is not None and run.run_id in actor.shared


def visible(actor: Actor) -> Visible:
    """Which runs a list may show this actor."""
    if actor.role is Role.ADMIN:
        return Visible(is_all=True)
    return Visible(owner=actor.name, groups=actor.groups)


def _is_open_to(actor: Actor, run: Owned) -> bool:
    if run.run_id in actor.shared or run.visibility == Visibility.INSTANCE:
        return True
    return run.visibility == Visibility.GROUP and run.group in actor.groups
