"""Parse HTML of authors in time that grows with its length. Pure.

The library copies a tag anew for each step that it takes in it, looks at all its attributes for each of them, takes
a step for every open element at every tag, and copies a text for each piece of it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bleach.html5lib_shim import (  # type: ignore[attr-defined]  # the stubs leave the constants out
    BleachHTMLParser,
    BleachHTMLTokenizer,
    constants,
)

from .walking import Token

_START, _CHARACTERS, _SPACES, _COMPLAINT = (
    constants.tokenTypes[name] for name in ("StartTag", "Characters", "SpaceCharacters", "ParseError")
)
MAX_DEPTH = 200
MAX_STEPS = 10_000
"""So many steps one tag may take: some 2,000 attributes."""
MAX_BESIDE_CELLS = 1_000


class TooIntricate(ValueError):
    """HTML that would take too long; the text says why, as a clause: `it is nested too deeply`."""


class Parser(BleachHTMLParser):
    """Reads a fragment; only elements of `tags` come into its tree.

    Args:
        tags: what is let through.
        taken_out: counts the others, as `<script>`.
    """

    def __init__(self, tags: frozenset[str], taken_out: Counter[str]) -> None:
        super().__init__(tags, strip=True, consume_entities=False, namespaceHTMLElements=False)
        self.taken_out = taken_out
        self._beside_cells = 0
        self._place_beside = self.tree.getTableMisnestedNodePosition
        self.tree.getTableMisnestedNodePosition = self._placed_beside

    def _placed_beside(self) -> Any:
        """Find the place of what stands in a table and in no cell: among all siblings of that table."""
        self._beside_cells += 1
        if self._beside_cells > MAX_BESIDE_CELLS:
            raise TooIntricate("too much of it stands in tables beside their cells")
        return self._place_beside()

    def _parse(
        self,
        stream: str,
        innerHTML: bool = False,  # noqa: FBT001, FBT002, N803  the library's own
        container: str = "div",
        scripting: bool = True,  # noqa: FBT001, FBT002
        **_named: object,
    ) -> None:
        """Do as the library does, with a tokenizer of ours.

        Raises:
            TooIntricate: it would take too long.
        """
        self.innerHTMLMode, self.container, self.scripting = innerHTML, container, scripting
        self.tokenizer = _Tokenizer(stream=stream, consume_entities=False, parser=self)
        self.reset()
        self.mainLoop()


class _Tokenizer(BleachHTMLTokenizer):
    """Counts the steps since it was last between two tags, and the elements that are open."""

    _steps = 0

    def __iter__(self) -> Iterator[Any]:
        """Give text in one piece, since the tree copies what it holds for each piece more, and no complaints."""
        text: list[str] = []
        token: Any
        for token in super().__iter__():
            if token["type"] in {_CHARACTERS, _SPACES}:
                text.append(token["data"])
            elif token["type"] != _COMPLAINT:
                yield from _joined(text)
                yield token
                text = []
            if len(self.parser.tree.openElements) > MAX_DEPTH:
                raise TooIntricate("it is nested too deeply")
        yield from _joined(text)

    @property
    def state(self) -> Callable[[], bool]:
        """The next step, which the library asks for each time."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TooIntricate("it has a tag of too many parts")
        return self._state

    @state.setter
    def state(self, state: Callable[[], bool]) -> None:
        if state == self.dataState:
            self._steps = 0
        self._state = state

    def commentState(self) -> Any:  # noqa: N802
        """Forget what a comment says: nobody reads it."""
        comment: Any = self.currentToken
        self._steps, comment["data"] = 0, ""
        return super().commentState()

    def emitCurrentToken(self) -> None:  # noqa: N802
        """Hand on a tag, or leave it out."""
        tag: Any = self.currentToken
        name = tag["name"].lower()
        if tag["type"] == _START and name not in self.parser.tags:
            self.parser.taken_out[f"<{name}>"] += 1
        super().emitCurrentToken()


def _joined(pieces: Sequence[str]) -> Iterator[Token]:
    text = "".join(pieces)
    if text:
        yield {"type": _CHARACTERS if text.strip("\t\n\f\r ") else _SPACES, "data": text}
