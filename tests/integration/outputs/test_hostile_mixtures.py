"""Any mixture of hostile pieces stays where it stands: a browser that obeys no policy runs and asks for nothing."""

import json
from random import Random

import pytest

from scripthut_outputs.rendering import fill, for_our_pages, render
from tests.testbed.browser import Browser
from tests.unit.outputs.previews.reading import shown

_ADDRESS = "http://ours.test/"
_MIXTURES = 150
_PIECES = r"""
<script>alert(1)</script> | <script> | </script> | <img src=x onerror=alert(1)> | <img src="//theirs.test/i">
<svg onload=alert(1)> | </svg> | <math> | <mtext> | </math> | <mglyph> | <style> | </style> | <table> | <tr> | <td>
</td> | </table> | <select> | <option> | <noscript> | </noscript> | <template> | <textarea> | </textarea> | <title>
<plaintext> | <xmp> | <iframe srcdoc="<script>alert(1)</script>"> | <a href="javascript:alert(1)"> | </a>
<a href="jav&#x09;ascript:alert(1)" autofocus onfocus=alert(1)> | <form action=//theirs.test> | <input>
<p id=main> | <p title="</p><img src=x onerror=alert(1)>"> | <!-- | --> | --!> | <![CDATA[ | ]]> | <?
<!doctype html> | <base href=//theirs.test> | <meta http-equiv=refresh content="0;url=//theirs.test">
<link rel=stylesheet href=//theirs.test> | <b | <b> | </b> | <details open ontoggle=alert(1)> | <summary>
</summary> | </details> | </section> | </main> | </div> | </body> | <body onload=alert(1)> | <html> | <h1> | </h1>
" | ' | ` | > | < | &lt; | &#60;img src=x onerror=alert(1)&#62; | &quot; onerror=alert(1) x=&quot;
[x](javascript:alert(1)) | ![x](//theirs.test/i) | ![x](data:text/html,x) | [x]("onmouseover=alert(1))
[x](y "') onclick=alert(1) (") | [^1] | [^1]: x | $\text{<img src=x onerror=alert(1)>}$
$\href{javascript:alert(1)}{x}$ | $ | $$ | ``` | ```html | > [!NOTE] | # a | | a | b | |---|---| | - [x]
https://theirs.test/" | <https://theirs.test/'> | :rocket: | **a** | ~~ | \
"""


def _mixtures(random: Random) -> list[str]:
    pieces = [piece.strip() for line in _PIECES.strip().splitlines() for piece in line.split(" | ")]
    between = ["", "", " ", "\n", "\n\n", "\x1b[31m", "\x00", "\ufdd0", "\ufdd1" + "0" + "\ufdd2"]
    return [
        "".join(random.choice(pieces) + random.choice(between) for _ in range(random.randint(2, 25)))
        for _ in range(_MIXTURES)
    ]


def _as_document(mixture: str, number: int) -> str:
    raw, path = mixture.encode(), b"%d.md" % number
    html = render(raw, size_bytes=len(raw), max_bytes=1024 * 1024).html
    return for_our_pages(fill(html, run_id="r", task_id="t", path=path), run_id="r", task_id="t")


def _as_previews(mixture: str, number: int) -> list[str]:
    cell = {"cell_type": "markdown", "source": mixture}
    bundles = [{"text/html": mixture}, {"text/latex": mixture}, {"image/png": mixture}]
    outputs = [{"output_type": "display_data", "data": bundle} for bundle in bundles]
    ran = {"cell_type": "code", "source": mixture, "outputs": outputs, "execution_count": 1}
    files = {
        f"{number}.ipynb": json.dumps({"nbformat": 4, "metadata": {}, "cells": [cell, ran]}),
        "a.csv": mixture.replace(" ", ","),
        "a.json": json.dumps({mixture: [mixture]}),
        "a.html": mixture,
        "a.log": mixture,
    }
    return [shown(name, content.encode(), is_fragment=True).html for name, content in files.items()]


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_mixture_of_hostile_pieces_leaves_its_place(browser: Browser, seed: int) -> None:
    random = Random(seed)
    mixtures = _mixtures(random)
    made = [_as_document(mixture, number) for number, mixture in enumerate(mixtures)]
    made += [html for number, mixture in enumerate(mixtures[:40]) for html in _as_previews(mixture, number)]
    page = "".join(f'<section class="case"><div class="document">{html}</div></section>' for html in made)

    async with browser.visit() as visit:
        await visit.page.route("**/*", lambda route: route.abort())
        await visit.page.route(
            _ADDRESS,
            lambda route: route.fulfill(
                content_type="text/html; charset=utf-8", body=f'<!doctype html><main id="ours">{page}</main>'
            ),
        )
        await visit.page.goto(_ADDRESS)
        found = await visit.page.evaluate(_LOOK)

    assert found == {"cases": len(made), "foreign": [], "attributes": [], "ids": []}
    assert not [url for url in visit.requests if not url.startswith((_ADDRESS, "data:"))]
    assert (visit.dialogs, visit.errors) == ([], [])


_LOOK = r"""() => {
    const all = [...document.querySelectorAll('main *')];
    const foreign = 'script, style, svg, iframe, object, embed, form, input, base, meta, link, template';
    const schemes = ['http:', 'https:', 'mailto:', 'data:'];
    const isWrong = ({ name, value }) => /^on|^style$|^srcdoc$|^name$/i.test(name)
        || (/href|src|action/.test(name) && !schemes.includes(new URL(value, location).protocol));
    const ids = all.map((element) => element.id).filter(Boolean);
    return {
        cases: document.querySelectorAll('body > main > section.case').length,
        foreign: all.filter((element) => element.matches(foreign)).map((element) => element.outerHTML),
        attributes: all.flatMap((element) => [...element.attributes].filter(isWrong).map((one) => element.outerHTML)),
        ids: ids.filter((id, place) => !id.startsWith('doc:') || ids.indexOf(id) !== place),
    };
}"""
