"""Names, sizes and times read well, whatever bytes they are."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common import text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"plot.png", "plot.png"),
        ("größe 🎈.png".encode(), "größe 🎈.png"),
        (b"two\nlines\t.png", "two␊lines␉.png"),
        (b"\x1b[31mred", "␛[31mred"),
        (b"caf\xe9.png", "caf\ufffd.png"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("a\u200bb\ufeff", "a\ufffdb\ufffd"),
        ("\u061cgnp.exe\ufff9\U000e0041\udcff", "\ufffdgnp.exe\ufffd\ufffd\ufffd"),
        ("<script>", "<script>"),
        ("  ", "␣␣"),
        ("", ""),
    ],
)
def test_a_name_hides_nothing(name: bytes | str, shown: str) -> None:
    assert text.name(name) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10_000, "9.8 KiB"),
        (12_345, "12 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 1024**3, "3.0 GiB"),
        (5000 * 1024**4, "5,000 TiB"),
    ],
)
def test_sizes_are_short(size_bytes: int | None, shown: str) -> None:
    assert text.size(size_bytes) == shown


@pytest.mark.parametrize(
    ("lasted", "shown"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=59.4), "59 s"),
        (timedelta(seconds=59.6), "1 min 00 s"),
        (timedelta(minutes=3, seconds=20), "3 min 20 s"),
        (timedelta(hours=2, minutes=5), "2 h 05 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_durations_are_short(lasted: timedelta, shown: str) -> None:
    assert text.duration(lasted) == shown


def test_times_are_utc_for_people_and_for_machines() -> None:
    at = datetime(2026, 11, 3, 17, 5, 9, tzinfo=UTC)

    assert text.when(at) == "3 Nov 2026, 17:05 UTC"
    assert text.machine_time(at) == "2026-11-03T17:05:09Z"


@given(st.text())
def test_json_in_ascii_alone_says_the_same(said: str) -> None:
    written = text.ascii_json(json.dumps([said], ensure_ascii=False).encode())

    assert json.loads(written) == [said]
    assert written.isprintable()
    assert written.isascii()
