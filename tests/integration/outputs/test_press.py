"""A document may hang, grow or crash its renderer; it is shown as text, and the next one is rendered."""

import os
import signal
from collections.abc import Iterator
from html import escape

import pytest

from scripthut_outputs.documents.press import Press
from scripthut_outputs.documents.workers import MIB

LONG = b"</p>" * (2 * MIB)
GROWS = b"".join(b"<code class=language-%d>" % number for number in range(3000)) + b"<p>x" * 60_000
NESTED = b"<div>" * 300


@pytest.fixture
def press() -> Iterator[Press]:
    made = Press(timeout_s=60.0, memory_bytes=64 * 1024 * 1024)
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient_press() -> Iterator[Press]:
    """As the service has it."""
    made = Press()
    yield made
    made.close()


@pytest.fixture
def hasty_press() -> Iterator[Press]:
    made = Press(timeout_s=5.0, max_bytes=16 * MIB)
    yield made
    made.close()


async def test_a_document_is_rendered(press: Press) -> None:
    rendered = await press.render(b"**Title**", size_bytes=9)

    assert rendered.html == "<p><strong>Title</strong></p>"
    assert rendered.reason is None


async def test_a_document_that_takes_too_long_is_shown_as_text(hasty_press: Press) -> None:
    rendered = await hasty_press.render(LONG, size_bytes=len(LONG))

    assert rendered.reason == "it took longer than 5 s"
    assert f"<pre>{escape(LONG.decode())}</pre>" in rendered.html


async def test_after_one_that_takes_too_long_the_next_is_rendered(hasty_press: Press) -> None:
    await hasty_press.render(LONG, size_bytes=len(LONG))

    rendered = await hasty_press.render(b"*next*", size_bytes=6)

    assert rendered.html == "<p><em>next</em></p>"


async def test_a_worker_that_is_killed_while_it_rests_is_replaced(press: Press) -> None:
    await press.render(b"one", size_bytes=3)
    for pid in list(press._pool._pool._pool_manager.worker_manager.workers):
        os.kill(pid, signal.SIGKILL)

    rendered = [await press.render(b"*%d*" % number, size_bytes=3) for number in range(3)]

    assert [one.html for one in rendered] == [f"<p><em>{number}</em></p>" for number in range(3)]


async def test_a_document_that_eats_memory_is_shown_as_text(press: Press) -> None:
    rendered = await press.render(GROWS, size_bytes=len(GROWS))

    assert rendered.reason == "it needed more than 64 MiB of memory"
    assert (await press.render(b"next", size_bytes=4)).html == "<p>next</p>"


async def test_a_document_nested_too_deeply_is_shown_as_text(press: Press) -> None:
    rendered = await press.render(NESTED, size_bytes=len(NESTED))

    assert rendered.reason == "it is nested too deeply"
    assert "<pre>&lt;div&gt;&lt;div&gt;" in rendered.html


async def test_what_goes_beyond_the_limit_is_cut_off_with_a_notice(press: Press) -> None:
    head = b"paragraph\n\n" * 100_000

    rendered = await press.render(head[: press.max_bytes + 1], size_bytes=len(head))

    assert f"The document goes on: {len(head):,} bytes in all" in rendered.html


PATHOLOGICAL = {
    "one line": b"x" * MIB,
    "quotes": b">" * 100_000 + b" x",
    "nested quotes": b"> " * 100_000 + b"x",
    "brackets": b"[" * 100_000,
    "closed brackets": b"[" * 50_000 + b"]" * 50_000,
    "links without end": b"[a](" * 100_000,
    "emphasis": b"*a_ **" * 100_000,
    "strong emphasis": b"**a *b " * 100_000,
    "ticks": b"`a " * 100_000,
    "footnotes": b"".join(b"[^%d] " % number for number in range(100_000)) + b"\n\n[^1]: x",
    "one footnote": b"[^1]: x\n\n" + b"[^1] " * 100_000,
    "autolinks": b"https://example.org/a " * 47_000,
    "emoji": b":rocket: " * 100_000,
    "dollars": b"$" * 100_000,
    "formulas": b"$a$ " * 100_000,
    "fractions": b"$" + b"{a \\over " * 500 + b"b" + b"}" * 500 + b"$",
    "macros": b"$\\newcommand{\\a}{\\b\\b}\\newcommand{\\b}{\\a\\a}\\a$",
    "a matrix": b"$$\n\\begin{matrix}" + b"a&b\\\\" * 100_000 + b"\\end{matrix}\n$$",
    "a wide table": b"|a" * 3_000 + b"\n" + b"|-" * 3_000 + b"\n" + b"|a\n" * 3_000,
    "details": b"<details>" * 100_000,
    "details in lines": b"<details>\n\n" * 20_000,
    "comments": b"<!--" * 100_000,
    "an endless comment in a block": b"<div>\n" + b"<!-- " * 200_000,
    "attributes": b"<p " + b"".join(b"a%d=1 " % number for number in range(60_000)) + b">",
    "an attribute of entities": b'<p title="' + b"&" * MIB,
    "an endless name": b"<div>\n<" + b"a" * MIB,
    "ends that end nothing": b"<div></b>" * 100_000,
    "text of many pieces": b"<div>\n" + b"& " * 500_000,
    "pictures beside cells": b"<table>" + b"<br>" * 250_000,
    "words beside cells": b"<table>" + b"x<tr>" * 200_000,
    "fences": b"```\n" * 100_000,
    "lists": b"".join(b"  " * depth + b"- x\n" for depth in range(1_000)),
    "code": b"```c\n" + b"\n" * 100_000 + b"```",
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
async def test_what_is_made_to_hang_ends_as_a_document_or_as_text(patient_press: Press, name: str) -> None:
    document = PATHOLOGICAL[name]

    rendered = await patient_press.render(document[: MIB + 1], size_bytes=len(document))

    assert rendered.html
    assert rendered.reason is None or "This is its text" in rendered.html
