"""What every page says of who reads it."""

from typing import Any

from scripthut_outputs.access import Action, Actor
from scripthut_outputs.access.may import may


def reader(actor: Actor | None) -> dict[str, Any]:
    """Name a reader, and say which pages are theirs; guests have a share link and no name."""
    is_guest = actor is not None and actor.is_guest
    return {
        "viewer": None if actor is None or is_guest else actor.name,
        "is_guest": is_guest,
        "is_admin": may(actor, Action.ADMINISTER),
    }
