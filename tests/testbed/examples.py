"""The example files of `deploy/` as an operator fills them in: only what is theirs is exchanged."""

from collections.abc import Mapping
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


def filled(name: str, told: Mapping[str, str]) -> str:
    """Give an example with other words in the place of each of these, which must stand there once."""
    return exchanged((DEPLOY / name).read_text(), told)


def exchanged(text: str, told: Mapping[str, str]) -> str:
    """Give a text with other words in the place of each of these, which must stand there once."""
    for words, other in told.items():
        assert text.count(words) == 1, words
        text = text.replace(words, other)
    return text
