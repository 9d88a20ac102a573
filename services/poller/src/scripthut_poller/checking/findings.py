"""What a step of a check has found, in words for people and in a struct for scripts. Pure."""

from enum import StrEnum

import msgspec

_MAX_CHARACTERS = 400


class Verdict(StrEnum):
    """What it means for the services; only a failure fails the check."""

    FINE = "fine"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One step: what was tried and came back, and what to do about it (empty where it is fine)."""

    verdict: Verdict
    said: str
    advice: str = ""
    step: str = ""


def fine(said: str) -> Finding:
    """Say that it works."""
    return Finding(verdict=Verdict.FINE, said=printable(said))


def warning(said: str, advice: str) -> Finding:
    """Say that the services work, though not as well as they could."""
    return Finding(verdict=Verdict.WARNING, said=printable(said), advice=printable(advice))


def failed(said: str, advice: str = "") -> Finding:
    """Say that the services do not work so."""
    return Finding(verdict=Verdict.FAILED, said=printable(said), advice=printable(advice))


def skipped(said: str) -> Finding:
    """Say that it was not tried, and why."""
    return Finding(verdict=Verdict.SKIPPED, said=printable(said))


def printable(words: str, max_characters: int = _MAX_CHARACTERS) -> str:
    """Make one bounded line of what a cluster said: no newline, no escape, no direction mark reaches the terminal."""
    plain = "".join(character if character.isprintable() else " " for character in words[: 4 * max_characters])
    line = " ".join(plain.split())
    return line if len(line) <= max_characters else f"{line[: max_characters - 3]}..."
