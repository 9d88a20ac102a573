"""Documents look as their authors meant them, however they were written and however long they are."""

import re

from scripthut_outputs.rendering import escape, render
from scripthut_outputs.rendering.cutting import cut

from .reading import html_of, read


def test_tables_keep_their_alignment() -> None:
    html = html_of("| step | residual |\n|:---|---:|\n| 1 | 0.5 |")

    assert '<th align="right">residual</th>' in html
    assert '<td align="left">1</td>' in html


def test_code_keeps_its_language_and_its_text() -> None:
    html = html_of('```python\nprint("<b>&amp;</b>")\n```')

    assert '<code class="language-python">' in html
    assert read(html).text.strip() == 'print("<b>&amp;</b>")'


def test_single_line_breaks_are_kept() -> None:
    assert "one<br>\ntwo" in html_of("one\ntwo")


def test_details_and_figures_of_authors_are_kept() -> None:
    html = html_of("<details open><summary>log</summary><pre>x</pre></details>")

    assert html == "<details open><summary>log</summary><pre>x</pre></details>"


def test_style_and_script_leave_no_text_behind() -> None:
    html = html_of("<style>\ntd { color: red }\n</style>\n<table><tr><td>1</td></tr></table>\n<script>plot()</script>")

    assert read(html).text.strip() == "1"


def test_text_that_speaks_of_tags_is_shown() -> None:
    assert read(html_of("a `<script>` tag and 1 < 2 && 3 > 2")).text == "a <script> tag and 1 < 2 && 3 > 2"


def test_terminal_colours_and_control_characters_go() -> None:
    assert html_of(b"\xef\xbb\xbf\x1b[1;31mred\x1b[0m\x07 \x1b]0;title\x07plain") == "<p>red plain</p>"


def test_invalid_utf8_is_shown_as_such() -> None:
    assert html_of(b"caf\xe9 ok") == "<p>caf\ufffd ok</p>"


def test_line_ends_of_all_systems_are_line_ends() -> None:
    assert html_of("- a\r\n\r\nb\rc") == "<ul>\n<li>a</li>\n</ul>\n<p>b<br>\nc</p>"


def test_an_unclosed_fence_ends_with_its_document() -> None:
    read(html_of("```\nnever closed\n# still code"))


def test_a_long_document_is_cut_between_blocks_and_says_so_there() -> None:
    document = b"".join(b"paragraph %d\n\n" % number for number in range(1000))

    html = render(document[:1200], size_bytes=len(document), max_bytes=1000).html

    shown = re.findall(r"paragraph (\d+)", html)
    assert html.count("<p>") == len(shown)
    assert f"<p>paragraph {len(shown) - 1}</p>" in html
    assert html.endswith("</p>")
    assert f"The document goes on: {len(document):,} bytes in all" in html.rpartition("<p ")[2]


def test_a_long_table_is_cut_between_rows() -> None:
    document = b"| a | b |\n|---|---|\n" + b"| 1 | 2 |\n" * 500

    html = render(document[:1200], size_bytes=len(document), max_bytes=1000).html

    assert html.count("<tr>") == (1000 - 20) // 10 + 1
    assert "scripthut-notice" in html


def test_a_cut_inside_code_closes_it() -> None:
    document = b"intro\n\n```\n" + b"code\n" * 500

    html = render(document, size_bytes=len(document), max_bytes=1000).html

    assert html.count("<pre>") == 1
    assert "```" not in html


def test_a_blank_line_inside_code_is_no_end_of_a_block() -> None:
    document = b"a\n\n" * 100 + b"~~~\nx\n\n```\n\ny\n" * 3

    kept = cut(document, 310)

    assert kept == b"a\n\n" * 100


def test_one_endless_line_is_cut_between_characters() -> None:
    document = "ä".encode() * 1000

    kept = cut(document, 999)

    assert kept == "ä".encode() * 499


def test_a_document_at_the_limit_is_whole() -> None:
    document = b"x" * 1000

    assert "scripthut-notice" not in render(document, size_bytes=1000, max_bytes=1000).html


def test_markup_that_unfolds_to_too_much_is_shown_as_text() -> None:
    classes = "".join(f"<code class=language-{number}>" for number in range(60))

    rendered = render((classes + "<p>x" * 200).encode(), size_bytes=0, max_bytes=3000)

    assert rendered.reason == "it unfolds to too much HTML"
    assert read(rendered.html).text.startswith("This document could not be rendered: it unfolds")


def test_escaped_text_says_why_and_keeps_every_character() -> None:
    rendered = escape(b"# <b>&\n", size_bytes=7, max_bytes=100, reason="it took longer than 30 s")

    reader = read(rendered.html)
    assert reader.text.endswith("# <b>&\n")
    assert "it took longer than 30 s" in reader.text
    assert rendered.reason == "it took longer than 30 s"
