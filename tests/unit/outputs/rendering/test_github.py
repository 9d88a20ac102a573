"""Markdown looks as people know it from GitHub."""

import re

import pytest

from scripthut_outputs.rendering.marks import HERE

from .reading import html_of, read

BOX = '<span aria-label="{}" class="task-mark" role="img">{}</span> '
DONE, TO_DO = BOX.format("done", "☑"), BOX.format("to do", "☐")


def plain(html: str) -> str:
    """Without line ends between tags, and without links that headings have to themselves."""
    return re.sub(r">\n+<", "><", re.sub(r'<a [^>]*class="permalink"[^>]*></a>', "", html)).replace(HERE, "~")


@pytest.mark.parametrize(
    ("document", "html"),
    [
        ("| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |", None),
        ("- [x] a *b*\n- [ ] c", f'<ul><li class="task">{DONE}a <em>b</em></li><li class="task">{TO_DO}c</li></ul>'),
        ("1. [X] a", f'<ol><li class="task">{DONE}a</li></ol>'),
        ("- [x]a\n- [y] b\n- [ ]", "<ul><li>[x]a</li><li>[y] b</li><li>[ ]</li></ul>"),
        ("~~a *b*~~ ~c~ a~~b", "<p><del>a <em>b</em></del> ~c~ a~~b</p>"),
        (":rocket: :+1: :not_one: 12:30:45 `:rocket:`", "<p>🚀 👍 :not_one: 12:30:45 <code>:rocket:</code></p>"),
        ("# A *b* `c`\n\n## A b c", '<h1 id="~a-b-c">A <em>b</em> <code>c</code></h1><h2 id="~a-b-c-1">A b c</h2>'),
        ("#a\n#1 b", "<p>#a<br>\n#1 b</p>"),
        ("[a](#b-c)\n\n# B c", '<p><a href="#~b-c">a</a></p><h1 id="~b-c">B c</h1>'),
        ("a\n- b\n- c", "<p>a</p><ul><li>b</li><li>c</li></ul>"),
        ("a\n2. b", "<p>a<br>\n2. b</p>"),
        ("- a\n  - b\n    - c\n- d", "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>"),
        ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
        ("1) a\n2) b", "<ol><li>a</li><li>b</li></ol>"),
        ("- a\n1. b", "<ul><li>a</li></ul><ol><li>b</li></ol>"),
        ("<!-- a\n\n-->b\n\nc\n\n<!-- d", "<p>b</p><p>c</p><p></p>"),
        ("- a\n\n  b", "<ul><li><p>a</p><p>b</p></li></ul>"),
        ("- a\n\nb", "<ul><li>a</li></ul><p>b</p>"),
        ("- a\n# b", '<ul><li>a</li></ul><h1 id="~b">b</h1>'),
        ("- a\n\n      b", "<ul><li>a<pre><code>b\n</code></pre></li></ul>"),
        ("    a\n\n    b\n\nc", "<pre><code>a\n\nb\n</code></pre><p>c</p>"),
        ("a\n    b", "<p>a<br>\nb</p>"),
        ("***\n* * *\n- - -", "<hr><hr><hr>"),
        ("```\na\n```", "<pre><code>a\n</code></pre>"),
        ("a\n~~~\n```\n~~~\nb", "<p>a</p><pre><code>```\n</code></pre><p>b</p>"),
        ("````\n```\n````", "<pre><code>```\n</code></pre>"),
        ("``` whatever {x=1} :y\na", '<pre><code class="language-whatever">a\n</code></pre>'),
        ("- a\n  ```\n  b\n    c\n  ```\n- d", None),
        ("> ```\n> a\n> ```\nb", "<blockquote><pre><code>a\n</code></pre></blockquote><p>b</p>"),
        ("> a\n\n> b", "<blockquote><p>a</p></blockquote><blockquote><p>b</p></blockquote>"),
        ("> a\nb", "<blockquote><p>a<br>\nb</p></blockquote>"),
        (
            "> [!NOTE]\n> a *b*",
            '<div class="alert alert-note"><p class="alert-title">Note</p><p>a <em>b</em></p></div>',
        ),
        (
            "> [!caution]\n>\n> - a",
            '<div class="alert alert-caution"><p class="alert-title">Caution</p><ul><li>a</li></ul></div>',
        ),
        ("> [!NOTE] a\n\n> [!OTHER]\n> b", None),
        (
            "<details>\n<summary>a</summary>\n\n*b*\n\n- c\n\n</details>\n\nd",
            "<details><summary>a</summary><p><em>b</em></p><ul><li>c</li></ul></details><p>d</p>",
        ),
        ("<details open><summary>a</summary>\n*b*\n</details>", "<details open><summary>a</summary>\n*b*\n</details>"),
        ("<div>\n\n> a\n\n</div>", "<div><blockquote><p>a</p></blockquote></div>"),
        ("```mermaid\na --> b\n```", None),
        ("a\n| b | c |\n|---|---|\n| d | e |", None),
    ],
)
def test_a_document_looks_as_on_github(document: str, html: str | None) -> None:
    rendered = html_of(document)

    read(rendered)
    assert html is None or plain(rendered) == html


@pytest.mark.parametrize(
    ("document", "links"),
    [
        ("see https://example.org/a_b_c.", ["https://example.org/a_b_c"]),
        ("(https://example.org/a(b))", ["https://example.org/a(b)"]),
        ("www.example.org, HTTP://EXAMPLE.org", ["http://www.example.org", "http://EXAMPLE.org"]),
        ("me@example.org", ["mailto:me@example.org"]),
        ("<https://example.org>", ["https://example.org"]),
        ("`https://example.org`", []),
        ("[x](y.csv) in [https://example.org](z)", None),
        ("javascript://example.org/%0aalert(1) xhttps://example.org", []),
    ],
)
def test_bare_addresses_are_links(document: str, links: list[str] | None) -> None:
    found = [values["href"] for tag, values in read(html_of(document)).elements if tag == "a"]

    assert links is None or found == links


def test_cells_and_fences_stand_where_they_were_written() -> None:
    html = plain(html_of("a\n| b | c |\n|---|--:|\n| d | e |\n\n- f\n  ```\n  g\n    h\n  ```\n- i"))

    assert "<p>a</p><table>" in html
    assert '<td align="right">e</td>' in html
    assert "<pre><code>g\n  h\n</code></pre></li><li>" in html


def test_a_diagram_is_shown_as_its_source() -> None:
    html = html_of("```mermaid\ngraph TD\nA --> B\n```")

    assert html == (
        '<figure class="mermaid"><figcaption>Mermaid</figcaption><pre><code class="language-mermaid">'
        "graph TD\nA --&gt; B\n</code></pre></figure>"
    )


def test_only_the_five_alerts_that_github_knows_are_alerts() -> None:
    html = html_of("> [!NOTE] a\n\n> [!OTHER]\n> b\n\n> x [!TIP]")

    assert "alert" not in html
    assert html.count("<blockquote>") == 3


def test_footnotes_are_numbered_as_they_are_referred_to() -> None:
    html = html_of("a[^x] b[^1] c[^x] d[^none]\n\n[^1]: one\n[^x]: two *b*\n\n    more\n\n[^unused]: three\n[^empty]:")

    reader = read(html)
    links = [values["href"] for tag, values in reader.elements if tag == "a"]
    places = [f"#{HERE}{name}" for name in ("fn.1", "fn.2", "fn.1", "fnref.1", "fnref.1.2", "fnref.2")]
    assert links == places
    assert reader.ids == {place[1:] for place in places}
    assert "three" not in html
    assert "d[^none]" in html
    read(html_of("[^1]\n\n[^1]:\n\n    ```\n    code\n    ```"))
    read(html_of("[^1]\n\n[^1]: [^2]: [r]: x"))
    assert html.index("two") < html.index(">one")


def test_more_footnotes_than_anybody_reads_are_text() -> None:
    html = html_of("".join(f"[^{number}] " for number in range(2001)) + "\n\n[^1]: a")

    assert "<sup" not in html
