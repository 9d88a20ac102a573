"""Every path has its own name in an archive, and every name is one that every unpacker takes."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scripthut_outputs import archiving
from scripthut_outputs.archiving import Names, archive_name, entry_time

_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}


def names_of(*paths: bytes) -> list[str]:
    names = Names()
    return [names.of(path) for path in paths]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"plain.txt", "plain.txt"),
        (b"sub folder/a-b_c.d.txt", "sub folder/a-b_c.d.txt"),
        (b"-rf", "-rf"),
        (b".hidden", ".hidden"),
        ("é 🎈.txt".encode(), "é 🎈.txt"),
        (b"..", ".%2E"),
        (b".", "%2E"),
        (b"../../etc/passwd", ".%2E/.%2E/etc/passwd"),
        (b"/etc/passwd", "etc/passwd"),
        (b"a//b", "a/%/b"),
        (b"%2e%2e%2fb", "%252e%252e%252fb"),
        (b"..\\..\\b", "..%5C..%5Cb"),
        (b"C:\\x", "C%3A%5Cx"),
        (b"con", "%63on"),
        (b"CON.txt", "%43ON.txt"),
        (b"aux .log", "%61ux .log"),
        (b"com1.tar.gz", "%63om1.tar.gz"),
        (b"console.txt", "console.txt"),
        ("COM¹".encode(), "%43OM¹"),
        (b"trailing.", "trailing%2E"),
        (b"trailing ", "trailing%20"),
        (b"dots...", "dots..%2E"),
        (b"new\nline\ttab\r", "new%0Aline%09tab%0D"),
        (b"esc\x1b[31m", "esc%1B[31m"),
        (b"nul\0", "nul%00"),
        (b"invalid-\xff\xfe", "invalid-%FF%FE"),
        (b"caf\xe9", "caf%E9"),
        ("gpj.\u202eexe".encode(), "gpj.%E2%80%AEexe"),
        ("a\uff0fb".encode(), "a%EF%BC%8Fb"),
        (b'*?"<>|', "%2A%3F%22%3C%3E%7C"),
        (b"<script>alert(1)</script>", "%3Cscript%3Ealert(1)%3C/script%3E"),
    ],
)
def test_a_path_has_a_name_that_says_what_it_is(path: bytes, name: str) -> None:
    assert names_of(path) == [name]


def test_names_that_some_system_takes_for_one_are_told_apart() -> None:
    composed, decomposed = "é.txt".encode(), "e\u0301.txt".encode()

    assert names_of(b"A.txt", b"a.txt", b"a~2.txt", b"a.TXT") == ["A.txt", "a~2.txt", "a~2~2.txt", "a~3.TXT"]
    assert names_of(composed, decomposed) == ["é.txt", "e\u0301~2.txt"]
    assert names_of("straße".encode(), b"STRASSE") == ["straße", "STRASSE~2"]


def test_folders_are_told_apart_and_stay_together() -> None:
    assert names_of(b"Data/x", b"data/x", b"Data/y") == ["Data/x", "data~2/x", "Data/y"]


def test_a_file_beside_a_folder_of_its_name_gets_another() -> None:
    assert names_of(b"a", b"a/b", b"a/c") == ["a", "a~2/b", "a~2/c"]
    assert names_of(b"a/b", b"a") == ["a/b", "a~2"]


def test_what_is_too_long_is_cut_and_keeps_its_suffix() -> None:
    long, longer = b"x" * 250 + b"1.png", b"\xff" * 250 + b".png"

    first, second, third = names_of(long, longer, b"\xff" * 249 + b"\xfe.png")

    assert first == long.decode()
    assert len(second) == len(third) == archiving.MAX_PART_BYTES
    assert second != third
    assert re.fullmatch(r"(%FF)+~[0-9a-f]{16}\.png", second)


def test_a_path_that_is_too_long_or_too_deep_loses_its_folders() -> None:
    deep, long = b"a/" * 700 + b"b.csv", (b"y" * 250 + b"/") * 5 + b"b.csv"

    for path in (deep, long):
        (name,) = names_of(path)
        assert re.fullmatch(r"~[0-9a-f]{32}\.csv", name)


def test_many_names_that_differ_by_case_alone_are_named_quickly() -> None:
    paths = [bytes(b ^ (32 * (number >> at & 1)) for at, b in enumerate(b"abcdefghijklm")) for number in range(8192)]

    names = names_of(*paths)

    assert len({name.lower() for name in names}) == 8192


def test_the_same_order_gives_the_same_names() -> None:
    paths = [b"A", b"a", b"a/b", b"\xff" * 200, b"con"]

    assert names_of(*paths) == names_of(*paths)


part = st.one_of(
    st.binary(min_size=0, max_size=300).map(lambda raw: raw.replace(b"/", b"")),
    st.text(max_size=90).map(lambda text: text.encode("utf-8", "replace").replace(b"/", b"")),
    st.sampled_from([b"con", b"NUL.txt", b"a", b"A", b"a~2", b"..", b".", b"%41", "é".encode(), "e\u0301".encode()]),
)
paths = st.lists(st.lists(part, min_size=1, max_size=4).map(b"/".join), unique=True, max_size=12)


@given(paths)
@example([b"a", b"A", b"a/b", b"a~2", b"A~2/b"])
def test_names_are_safe_and_unique_for_any_paths(paths: Sequence[bytes]) -> None:
    names = names_of(*paths)

    folders = {"/".join(name.split("/")[:end]) for name in names for end in range(1, name.count("/") + 1)}
    keys = [unicodedata.normalize("NFD", unicodedata.normalize("NFD", one).casefold()) for one in (*names, *folders)]
    assert len(set(keys)) == len(keys)
    for name in names:
        assert len(name.encode()) <= archiving.MAX_NAME_BYTES
        for piece in name.split("/"):
            assert_safe(piece)


def assert_safe(piece: str) -> None:
    assert piece not in {"", ".", ".."}
    assert len(piece.encode()) <= archiving.MAX_PART_BYTES
    assert not set('\\:*?"<>|') & set(piece)
    assert piece[-1] not in ". "
    assert piece.partition(".")[0].rstrip().upper() not in _DEVICES
    assert not {unicodedata.category(character) for character in piece} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(part)
def test_a_name_that_was_not_cut_can_be_read_back(raw: bytes) -> None:
    name = archiving.safe_part(raw)

    if name != "%" and "~" not in name:
        read = re.sub(
            rb"%([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), name.encode("utf-8", "surrogateescape")
        )
        assert read == raw


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (0.0, datetime(1980, 1, 1, tzinfo=UTC)),
        (1_700_000_000.0, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (4e9, datetime(2037, 12, 31, tzinfo=UTC)),
        (1e300, datetime(1980, 1, 1, tzinfo=UTC)),
        (float("nan"), datetime(1980, 1, 1, tzinfo=UTC)),
        (float("-inf"), datetime(1980, 1, 1, tzinfo=UTC)),
    ],
)
def test_any_time_of_a_cluster_becomes_one_that_a_zip_can_hold(seconds: float, time: datetime) -> None:
    assert entry_time(seconds, None) == time


def test_an_archive_is_named_after_what_it_holds() -> None:
    assert archive_name("r1", "t0") == "scripthut-r1-t0.zip"
    assert len(archive_name("r" * 128, "t" * 128)) <= 255
