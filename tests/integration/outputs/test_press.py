"""A document may hang, grow or crash its renderer; it is shown as text, and the next one is rendered."""

from collections.abc import Iterator

import pytest

from scripthut_outputs.documents.press import Press

HANGS = b"[" * 50_000
GROWS = b"".join(b"<code class=language-%d>" % number for number in range(3000)) + b"<p>x" * 60_000
NESTED = b"".join(b"    " * depth + b"- x\n" for depth in range(300))


@pytest.fixture
def press() -> Iterator[Press]:
    made = Press(timeout_s=60.0, memory_bytes=64 * 1024 * 1024)
    yield made
    made.close()


@pytest.fixture
def hasty_press() -> Iterator[Press]:
    made = Press(timeout_s=1.0)
    yield made
    made.close()


async def test_a_document_is_rendered(press: Press) -> None:
    rendered = await press.render(b"**Title**", size_bytes=9)

    assert rendered.html == "<p><strong>Title</strong></p>"
    assert rendered.reason is None


async def test_a_document_that_hangs_the_renderer_is_shown_as_text(hasty_press: Press) -> None:
    rendered = await hasty_press.render(HANGS, size_bytes=len(HANGS))

    assert rendered.reason == "it took longer than 1 s"
    assert f"<pre>{HANGS.decode()}</pre>" in rendered.html


async def test_after_one_that_hangs_the_next_is_rendered(hasty_press: Press) -> None:
    await hasty_press.render(HANGS, size_bytes=len(HANGS))

    rendered = await hasty_press.render(b"*next*", size_bytes=6)

    assert rendered.html == "<p><em>next</em></p>"


async def test_a_document_that_eats_memory_is_shown_as_text(press: Press) -> None:
    rendered = await press.render(GROWS, size_bytes=len(GROWS))

    assert rendered.reason == "it needed more than 64 MiB of memory"
    assert (await press.render(b"next", size_bytes=4)).html == "<p>next</p>"


async def test_a_document_nested_too_deeply_is_shown_as_text(press: Press) -> None:
    rendered = await press.render(NESTED, size_bytes=len(NESTED))

    assert rendered.reason == "it is nested too deeply"
    assert "<pre>- x\n    - x" in rendered.html


async def test_what_goes_beyond_the_limit_is_cut_off_with_a_notice(press: Press) -> None:
    head = b"paragraph\n\n" * 100_000

    rendered = await press.render(head[: press.max_bytes + 1], size_bytes=len(head))

    assert f"The document goes on: {len(head):,} bytes in all" in rendered.html
