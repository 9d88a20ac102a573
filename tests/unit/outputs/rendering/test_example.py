"""What we tell authors of Markdown is true: the example of their page, rendered."""

import re
from pathlib import Path

from scripthut_outputs.rendering import fill, for_our_pages, stripped

from .reading import MIB, html_of, read

PAGE = Path(__file__).parents[4] / "docs" / "authors.md"
EXAMPLE = re.search(r"````markdown\n(.*?)````", PAGE.read_text("utf-8"), re.DOTALL)


def example() -> str:
    assert EXAMPLE is not None
    return EXAMPLE[1]


def test_the_example_is_shown_whole() -> None:
    filled = fill(html_of(example()), run_id="r1", task_id="train-0", path=b"task-summary.md")

    reader = read(for_our_pages(filled, run_id="r1", task_id="train-0"))

    classes = {values.get("class") for _, values in reader.elements}
    assert {"alert alert-warning", "task", "task-mark", "math", "footnotes", "permalink", "code-comment"} <= classes
    assert {"table", "del", "math", "mfrac", "details", "sup", "img"} <= {tag for tag, _ in reader.elements}
    assert reader.ids >= {f"doc:train-0/task-summary.md:{name}" for name in ("run-17", "residuals", "fn.1", "fnref.1")}
    assert "🚀" in reader.text


def test_every_link_within_the_example_leads_somewhere() -> None:
    reader = read(fill(html_of(example()), run_id="r1", task_id="train-0"))

    links = {str(values["href"]) for tag, values in reader.elements if tag == "a" and "href" in values}
    assert {link[1:] for link in links if link.startswith("#")} <= reader.ids


def test_nothing_of_the_example_is_taken_out() -> None:
    assert stripped(example().encode(), MIB) == ()


def test_the_authors_page_itself_can_be_read() -> None:
    document = PAGE.read_bytes()

    read(html_of(document))
    assert [found.what for found in stripped(document, MIB)] == []
