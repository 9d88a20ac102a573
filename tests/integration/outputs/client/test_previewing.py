"""A summary is shown offline as the service will show it, and an author is told what will be missing."""

import json
import re
from pathlib import Path

import pytest

from scripthut_outputs.commands import main
from scripthut_outputs.rendering import fill, for_our_pages, render
from tests.integration.outputs.client.terminal import Terminal

DOCUMENT = b"""# Loss <script>alert(1)</script>

![loss](figures/my%20loss.png) [all](metrics.csv) [none](missing.csv) <a href="javascript:alert(1)" onclick="x()">x</a>

| step | loss |
|---|--:|
| 1 | 0.5 |
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "my loss.png").write_bytes(PNG)
    (tmp_path / "metrics.csv").write_text("1,2\n")
    file = tmp_path / "task-summary.md"
    file.write_bytes(DOCUMENT)
    return file


def test_the_page_holds_what_the_service_would_show_and_everything_it_needs(
    summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["preview", str(summary)])

    page = (summary.parent / "task-summary.preview.html").read_text("utf-8")
    html = render(DOCUMENT, size_bytes=len(DOCUMENT), max_bytes=1024 * 1024).html
    shown = for_our_pages(fill(html, run_id="r", task_id="t"), run_id="r", task_id="t", headings_from=1)
    assert code == 0
    assert _texts(shown) == _texts(page.partition('<section class="document">')[2])
    assert 'src="data:image/png;base64,iVBORw0KGgo="' in page
    assert f'href="{(summary.parent / "metrics.csv").as_uri()}"' in page
    assert "--space-3:" in page
    assert not re.search(r'(?:src|href)="(?:https?:|/)', page)
    assert "<script" not in page
    assert capsys.readouterr().out == f"{summary.parent / 'task-summary.preview.html'}\n"


def test_an_author_is_told_what_will_be_missing(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(summary), "--output", "-", "--strict"]) == 4

    told = capsys.readouterr().err.splitlines()
    assert "taken out, once: <script>" in told
    assert any(line.startswith("taken out, once: link javascript:") for line in told)
    assert told[-1] == "leads to no file: missing.csv"


def test_scripts_get_all_of_it_as_json(summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preview", str(summary), "--json", "--text"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert {one["what"] for one in found["taken_out"]} >= {"<script>", "onclick on <a>"}
    assert (found["missing"], found["limits"], found["written"]) == (["missing.csv"], [], None)
    assert found["text"].startswith("# Loss")


def test_what_exceeds_a_limit_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.md"
    links = "[deep](1/2/3/4.csv) [large](large.bin)\n\n"
    file.write_text(links + "word word word word\n\n" * 60_000)
    with (tmp_path / "large.bin").open("wb") as large:
        large.truncate(11 * 1024 * 1024)

    assert main(["preview", str(file), "--strict"]) == 4

    told = capsys.readouterr().err
    assert "are shown, then it is cut between two blocks" in told
    assert "1/2/3/4.csv lies deeper than the 3 levels" in told
    assert "large.bin has 11,534,336 bytes; a file has at most 10,485,760" in told


def test_a_document_that_is_not_there_or_a_page_that_cannot_be_written_is_told(
    summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preview", str(summary.with_name("no.md"))]) == 6
    assert main(["preview", str(summary), "--output", str(summary.parent / "none" / "a.html")]) == 1
    assert main(["preview", str(summary.parent)]) == 1

    told = capsys.readouterr().err
    assert "there is no such file" in told
    assert "choose another with --output" in told
    assert "Is a directory" in told


@pytest.mark.parametrize(
    "target", ["../outside.csv", "/etc/passwd", "%2e%2e/outside.csv", "scripthut-file:x", "file:///etc/passwd"]
)
def test_no_link_of_a_document_leads_out_of_its_folder(target: str, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text("secret")
    file = tmp_path / "in" / "a.md"
    file.parent.mkdir()
    file.write_text(f'![x]({target}) <img src="{target}"> [y]({target})')

    assert main(["preview", str(file)]) == 0

    page = file.with_name("a.preview.html").read_text("utf-8")
    assert "data:" not in page.partition("</head>")[2]
    assert "file://" not in page.partition("</head>")[2]


def test_a_link_is_not_followed_since_the_service_does_not_either(
    summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = summary.parent.parent / "secret.png"
    secret.write_bytes(b"secret")
    picture = summary.parent / "figures" / "my loss.png"
    picture.unlink()
    picture.symlink_to(secret)

    assert main(["preview", str(summary), "--output", "-"]) == 0

    shown = capsys.readouterr()
    assert "leads to no file: figures/my loss.png" in shown.err
    assert "data:image" not in shown.out.partition("</head>")[2]


async def test_a_terminal_obeys_nothing_of_a_document(tmp_path: Path) -> None:
    terminal = Terminal("http://127.0.0.1:1", tmp_path / "home")
    (terminal.folder / "\x1b[2J.md").write_bytes(
        b"# \x1b]0;pwned\x07 \xc2\x9b31m\n\n[x](javascript:\x1b[2J) [y](\xe2\x80\xae.png)"
    )

    for options in (("--text",), ("--json",), ()):
        shown = await terminal.run("preview", "\x1b[2J.md", *options)

        assert shown.code == 0
        assert not set(shown.out + shown.err) & set("\x1b\x07\x9b\u202e\r")


def _texts(html: str) -> list[str]:
    return [text for text in re.split(r"<[^>]*>", html) if text.strip()]
