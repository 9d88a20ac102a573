"""The program that reads generated lists, run for real: what it follows, what it leaves."""

import os
from pathlib import Path

import pytest

from scripthut_common.shell.local import LocalShell
from scripthut_poller.generated import files
from scripthut_poller.generated.files import Absent, Content, Found, Later, Refused


async def _read(*paths: Path | str) -> tuple[Found, ...]:
    shell = LocalShell()
    question = files.read([str(path) for path in paths])
    found = question.parse(await shell.run(question.program, *question.argv, stdin=question.stdin))
    await shell.close()
    return found


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.json"
    path.write_bytes(b"[\0]\n")
    return path


async def test_symlinks_of_our_own_are_followed_and_ways_back_are_real(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "short").symlink_to("deep/er")
    (tmp_path / "absolute").symlink_to(tmp_path / "short")
    (tmp_path / "last").symlink_to("absolute/../../list.json")

    found = await _read(listed, tmp_path / "short/../../list.json", tmp_path / "last", f"/..//.{listed}")

    assert found == (Content(body=b"[\0]\n"),) * 4


async def test_what_leads_nowhere_is_absent(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")

    found = await _read(
        tmp_path / "loop", tmp_path / "dangling", listed / "below", tmp_path / ("x" * 300), "/proc/self/fd/0"
    )

    assert all(isinstance(one, Absent) for one in found), found


async def test_what_is_no_file_is_refused_at_once(listed: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")

    found = await _read(tmp_path / "pipe", tmp_path / "to-pipe", tmp_path, "/", "/dev/zero")

    assert {type(one) for one in found} == {Refused}, found


async def test_a_large_file_is_left_for_another_time_when_others_have_filled_the_answer(tmp_path: Path) -> None:
    paths = [tmp_path / f"large{n}" for n in range(3)]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(files.MAX_FILE_BYTES)
    (tmp_path / "over").write_bytes(b"x" * (files.MAX_FILE_BYTES + 1))
    (tmp_path / "empty").touch()

    first, second, third, over, empty = await _read(*paths, tmp_path / "over", tmp_path / "empty")

    assert [type(one) for one in (first, second, third, over, empty)] == [Content, Content, Later, Refused, Absent]
    assert isinstance(first, Content)
    assert len(first.body) == files.MAX_FILE_BYTES


async def test_one_bad_path_hides_no_other(listed: Path) -> None:
    found = await _read("/no/such", listed, "/dev/null", listed)

    assert [type(one) for one in found] == [Absent, Content, Refused, Content]
