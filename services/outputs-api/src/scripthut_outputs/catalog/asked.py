"""What a reader asks of a list: which rows, in which order, from where on."""

from enum import StrEnum

import msgspec

from scripthut_common.events import RunState

MAX_TEXT_CHARACTERS = 200


class RunSort(StrEnum):
    """In which order runs come; each ends with what tells any two apart."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    STATE = "state"


class RunsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs. `None` and the empty text leave a filter out; `text` stands in the name or the id, in any case."""

    cluster: str | None = None
    owner: str | None = None
    state: RunState | None = None
    text: str = ""
    sort: RunSort = RunSort.NEWEST

    @property
    def is_filtered(self) -> bool:
        """Whether some runs may be left out."""
        return bool(self.cluster or self.owner or self.state or self.text)


class ItemSort(StrEnum):
    """In which order items come: as submitted, what failed first, longest first, started last first, by name."""

    ORDER = "order"
    STATE = "state"
    DURATION = "duration"
    STARTED = "started"
    NAME = "name"


class ItemsAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which items of a run. `word`: an outcome, else a state; `under`: what their ids begin with."""

    under: str = ""
    word: str = ""
    text: str = ""
    sort: ItemSort = ItemSort.ORDER

    @property
    def is_filtered(self) -> bool:
        """Whether some items may be left out."""
        return bool(self.under or self.word or self.text)


class Visible(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs a list may show: all, or those of `owner`, those open to one of `groups`, those open to everybody."""

    is_all: bool = False
    owner: str = ""
    groups: frozenset[str] = frozenset()


EVERYTHING = Visible(is_all=True)
