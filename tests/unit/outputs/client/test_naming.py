"""A path of the ledger is its exact bytes here, or refused; nothing in between."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_outputs.client.getting import naming
from scripthut_outputs.client.getting.naming import Refused

PATHS = st.lists(st.one_of(st.binary(max_size=6), st.sampled_from([b"..", b".", b"", b"a"])), min_size=1).map(b"/".join)


@given(PATHS)
def test_a_path_is_kept_byte_for_byte_or_refused(path: bytes) -> None:
    try:
        parts = naming.split(path)
    except Refused:
        assert b"\0" in path or {b"", b".", b".."} & set(path.split(b"/"))
    else:
        assert b"/".join(parts) == path
        assert all(part and b"/" not in part and part not in {b".", b".."} for part in parts)


@pytest.mark.parametrize("path", [b"", b"/", b"/etc/passwd", b"..", b"a/..", b"a/../b", b"./a", b"a//b", b"a/", b"a\0"])
def test_what_leads_elsewhere_is_refused(path: bytes) -> None:
    with pytest.raises(Refused):
        naming.split(path)


@given(st.text(max_size=12))
def test_names_that_differ_in_case_or_unicode_form_are_alike(name: str) -> None:
    forms = {form(name) for form in (str, lambda text: unicodedata.normalize("NFD", text), str.casefold)}

    assert len({naming.alike([form.encode("utf-8", "surrogatepass")]) for form in forms}) == 1


@given(st.binary(max_size=255), st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_the_name_of_an_unfinished_file_fits_everywhere(name: bytes, sha256: str) -> None:
    part = naming.part_name(name, sha256)

    assert len(part) < 64
    assert naming.split(part) == (part,)
    assert part != naming.part_name(name + b"x", sha256)


@pytest.mark.parametrize(
    ("path", "patterns", "is_wanted"),
    [
        (b"a/b.csv", [], True),
        (b"a/b.csv", ["*.csv"], True),
        (b"a/b.csv", ["a/*"], True),
        (b"a/b.csv", ["b.csv"], True),
        (b"a/b.CSV", ["*.csv"], False),
        (b"caf\xe9.png", ["caf?.png"], True),
        (b"x", ["[", "x"], True),
    ],
)
def test_patterns_meet_paths_and_names(path: bytes, patterns: list[str], *, is_wanted: bool) -> None:
    assert naming.is_wanted(path, patterns) is is_wanted
