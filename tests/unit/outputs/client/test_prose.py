"""A rendered document reads well as text, and a terminal obeys nothing of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.client import prose
from scripthut_outputs.rendering import render


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<h1>A</h1>\n<p>b<br>c <em>d</em></p>", "# A\n\nb\nc d"),
        ("<ul>\n<li>x</li>\n<li>y\n<ul>\n<li>z</li></ul></li></ul>", "- x\n- y\n  - z"),
        ('<ol start="3"><li>x</li><li>y</li></ol>', "3. x\n4. y"),
        (
            "<table><tr><th>a</th><th>bb</th></tr><tr><td>long cell</td><td>2</td></tr></table>",
            "a          bb\n---------  --\nlong cell  2",
        ),
        ("<pre><code>a  b\n  c\n</code></pre>", "    a  b\n      c"),
        ('<p><a href="f.csv">all</a></p>', "all <f.csv>"),
        ('<p><img src="p.png" alt="loss"></p>', "[picture: loss p.png]"),
        ("<p>\x1b[2J\x9b31m\u202ex</p>", "␛[2J\ufffd31m\ufffdx"),
        ("<script>alert(1)</script><p>x</p>", "x"),
        ("</ul></table></td><p>still", "still"),
    ],
)
def test_html_is_read_as_text(html: str, text: str) -> None:
    assert prose.read(html) == text


@settings(deadline=None)
@given(st.text(alphabet="ab |-*#>`[]()!<>&;\n\x1b1.", max_size=60))
def test_whatever_was_rendered_can_be_read_and_holds_no_escape(document: str) -> None:
    html = render(document.encode(), size_bytes=len(document.encode()), max_bytes=1000).html

    assert not set(prose.read(html)) & set("\x1b\x9b\x07\r")
