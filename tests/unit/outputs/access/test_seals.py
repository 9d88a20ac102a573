"""Tokens that we made are told from all others, without asking anybody."""

import re
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.access.seals import PREFIX, SHAPE, Seal

SEAL = Seal(b"key")
ONE = SEAL.issue()


def test_a_token_is_ours_and_each_is_another() -> None:
    assert SEAL.is_ours(ONE.encode())
    assert len({SEAL.issue() for _ in range(100)}) == 100
    assert re.fullmatch(r"sho_[A-Za-z0-9_-]{64}", ONE)


def test_a_token_of_another_installation_is_not() -> None:
    assert not Seal(b"other").is_ours(ONE.encode())


@pytest.mark.parametrize("place", range(len(PREFIX), len(ONE)))
def test_a_token_with_one_character_changed_is_not(place: int) -> None:
    for other in "Aa0-":
        if other != ONE[place]:
            assert not SEAL.is_ours((ONE[:place] + other + ONE[place + 1 :]).encode())


@pytest.mark.parametrize(
    "odd",
    ["", "sho_", ONE[:-1], f"{ONE}A", f" {ONE}", f"{ONE}\n", ONE.upper(), ONE[4:], "sho_" + "é" * 64],
    ids=["empty", "prefix", "short", "long", "space-before", "line-end", "upper", "no-prefix", "no-ascii"],
)
def test_what_only_looks_like_one_is_not(odd: str) -> None:
    assert not SEAL.is_ours(odd.encode())


@given(st.text(alphabet=ascii_letters + digits + "-_", min_size=64, max_size=64))
def test_guesses_are_not_ours(guess: str) -> None:
    token = f"sho_{guess}".encode()

    assert SHAPE.fullmatch(token)
    assert not SEAL.is_ours(token)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_answered(token: bytes) -> None:
    assert not SEAL.is_ours(token)
