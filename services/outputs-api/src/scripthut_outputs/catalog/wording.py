"""Words of columns as members of their enums, those of other versions too."""

from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


def read(type_: type[E], word: str) -> E:
    """Give the member that `word` stands for; one that this version does not know stands for itself.

    While versions change, rows may hold words of a later one. Such a word is equal to no member, hashes and prints as
    the text it is, and is never listed by its enum.
    """
    try:
        return type_(word)
    except ValueError:
        stranger = str.__new__(type_, word)
        stranger._name_ = stranger._value_ = word
        return stranger
