"""Tables fit the line, bars fill as tasks end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.client.screen import GAP, Column, Screen, fit, in_order

COLUMNS = (
    Column(title="a"),
    Column(title="b", is_elastic=True),
    Column(title="c", rank=2),
    Column(title="d", rank=1, is_elastic=True),
)


@given(st.lists(st.integers(1, 80), min_size=4, max_size=4), st.integers(30, 300))
def test_columns_fit_unless_the_first_ones_alone_are_too_wide(widths: list[int], room: int) -> None:
    fitted = fit(COLUMNS, widths, room)

    shown = [width for width in fitted if width]
    is_fitting = sum(shown) + len(GAP) * (len(shown) - 1) <= room
    assert is_fitting or fitted[2:] == [0, 0]
    assert all(width <= wanted for width, wanted in zip(fitted, widths, strict=True))
    if sum(widths) + 3 * len(GAP) <= room:
        assert fitted == widths


@given(st.dictionaries(st.sampled_from(["succeeded", "failed", "running", "queued", "odd"]), st.integers(0, 10_000)))
def test_a_bar_is_as_long_as_it_should_be_whatever_the_shares(counts: dict[str, int]) -> None:
    bar = Screen().bar(counts, width=30)

    assert len(bar) == (30 if sum(counts.values()) else 0)


def test_ended_ones_come_first() -> None:
    assert [word for word, _ in in_order({"running": 1, "odd": 1, "failed": 1, "succeeded": 2, "queued": 0})] == [
        *("succeeded", "failed", "odd", "running")
    ]


def test_json_is_ascii_alone_so_that_a_terminal_obeys_nothing_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(is_json=True).tell({"name": "\x1b[2J\x9b\u202eé"})

    assert capsys.readouterr().out == '{\n  "name": "\\u001b[2J\\u009b\\u202e\\u00e9"\n}\n'
