"""Links and images lead to the task's own files, to the web, or nowhere."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripthut_outputs.rendering import file_url, fill, for_our_pages
from scripthut_outputs.rendering.targets import FILE_SCHEME, join, resolve

from .reading import html_of, read

FILES = "/runs/r1/tasks/train-0/outputs/file/"


def served(document: str, path: bytes = b"task-summary.md") -> str:
    return fill(html_of(document), run_id="r1", task_id="train-0", path=path)


@pytest.mark.parametrize(
    ("document", "address"),
    [
        ("![a](plot.png)", "plot.png"),
        ("![a](./plot.png)", "plot.png"),
        ("![a](my plot.png)", "my%20plot.png"),
        ("![a](my%20plot.png)", "my%20plot.png"),
        ("![a](<my plot.png>)", "my%20plot.png"),
        ('![a](plot.png "a title")', "plot.png"),
        ("![a](100%.png)", "100%25.png"),
        ("![a](50%25.png)", "50%25.png"),
        ("![a](a%2Fb.png)", "a/b.png"),
        ("![a](%66igures/loss(1).png)", "figures/loss%281%29.png"),
        ("![a](figures/../plot.png)", "plot.png"),
        ("![a](figures/deep/../../plot.png)", "plot.png"),
        ("![a](figures//plot.png)", "figures/plot.png"),
        ("![a](größe.png)", "gr%C3%B6%C3%9Fe.png"),
        ("![a](🎈.png)", "%F0%9F%8E%88.png"),
        ("![a](%FF.png)", "%FF.png"),
        ("![a](plot.png?v=2)", "plot.png"),
        ("![a](what%3F.png)", "what%3F.png"),
        ("![a](a'b&c.png)", "a%27b%26c.png"),
        ("![a](a&amp;b.png)", "a%26b.png"),
        ("![a](..\\plot.png)", "..%5Cplot.png"),
        ("![a](%2520.png)", "%2520.png"),
        ("![a](run.png)", "run.png"),
        ("![a][p]\n\n[p]: plot.png", "plot.png"),
        ('<img src="plot.png">', "plot.png"),
        ("<img src='my plot.png'/>", "my%20plot.png"),
        ("<IMG SRC=plot.png>", "plot.png"),
        ("<img alt=x width=10 src=plot.png title=y>", "plot.png"),
        ("<p><img\nsrc =\n'plot.png'\n></p>", "plot.png"),
        ("<figure><img src='&#112;lot.png'><figcaption>c</figcaption></figure>", "plot.png"),
        ("| a |\n|--|\n| ![a](plot.png) |", "plot.png"),
        ("- ![a](plot.png)", "plot.png"),
    ],
)
def test_any_spelling_of_a_relative_image_leads_to_the_file(document: str, address: str) -> None:
    images = [values["src"] for tag, values in read(served(document)).elements if tag == "img"]

    assert images == [FILES + address]


@pytest.mark.parametrize(
    ("document", "address"),
    [
        ("[d](table.csv)", "table.csv"),
        ("[d](sub/report.md#results)", "sub/report.md#results"),
        ('<a href="table.csv" onclick="x()">d</a>', "table.csv"),
        ("[d]: sub/table.csv\n\n[d]", "sub/table.csv"),
    ],
)
def test_relative_links_lead_to_files(document: str, address: str) -> None:
    assert f'<a href="{FILES}{address}"' in served(document)


@pytest.mark.parametrize(
    "target",
    [
        "../secret.png",
        "../../secret.png",
        "a/../../secret.png",
        "%2e%2e/secret.png",
        "..%2fsecret.png",
        "%2E%2E%2Fsecret.png",
        "./../secret.png",
        "a/%2e%2e/../secret.png",
        "..",
        "a/..",
        ".",
        "",
        "a%00b.png",
        "?query",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "scripthut-file:plot.png",
        "c:plot.png",
    ],
)
@pytest.mark.parametrize("spelling", ["![a]({})", "[a]({})", '<img src="{}" alt="a">', '<a href="{}">a</a>'])
def test_a_target_that_leads_out_or_is_unsafe_goes(spelling: str, target: str) -> None:
    elements = read(served(spelling.format(target))).elements

    assert not [values for _, values in elements if "src" in values or "href" in values]


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("https://example.org/a?b=1&copy=2&lt=3#c", "https://example.org/a?b=1&copy=2&lt=3#c"),
        ("HTTP://example.org/a b", "http://example.org/a%20b"),
        ("//example.org/x.png", "//example.org/x.png"),
        ("\\\\example.org\\x.png", "//example.org/x.png"),
        ("/static/logo.png", "/static/logo.png"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("https://example.org/\u202egnp.exe", "https://example.org/%E2%80%AEgnp.exe"),
    ],
)
def test_web_addresses_stay(target: str, kept: str) -> None:
    (link,) = [values for tag, values in read(served(f'<a href="{target}">x</a>')).elements if tag == "a"]

    assert link == {"href": kept, "rel": "noopener nofollow"}


def test_a_document_in_a_folder_links_from_there() -> None:
    html = served("![a](plot.png) ![b](../top.png) ![c](../../out.png) [d](x/y.csv#z)", path=b"my figures/report.md")

    assert f'<img src="{FILES}my%20figures/plot.png" alt="a">' in html
    assert f'<img src="{FILES}top.png" alt="b">' in html
    assert '<img alt="c">' in html
    assert f'<a href="{FILES}my%20figures/x/y.csv#z">d</a>' in html


@pytest.mark.parametrize("path", [b"task-summary.md", b"sub/report.md"])
@pytest.mark.parametrize(
    "text",
    [
        '<a href="scripthut-file:x"',
        '&lt;a href="scripthut-file:x"',
        '<img src="scripthut-file:../x">',
        "scripthut-file:x",
    ],
)
def test_the_private_scheme_cannot_be_forged_by_text(text: str, path: bytes) -> None:
    shown = read(served(f"`{text}`", path)).text

    assert shown == text


@pytest.mark.parametrize(
    "attribute", ["alt='<a href=\"scripthut-file:x\"'", "title='\" src=\"scripthut-file:x'", "alt='scripthut-file:x'"]
)
def test_the_private_scheme_cannot_be_forged_by_an_attribute(attribute: str) -> None:
    html = served(f"<img src=plot.png {attribute}>", b"sub/report.md")

    ((_, values),) = read(html).elements[-1:]
    assert values.pop("src") == f"{FILES}sub/plot.png"
    assert "scripthut-file:x" in (values.popitem()[1] or "")


def test_equal_documents_are_one_and_lead_each_to_its_own_task() -> None:
    html = html_of("![a](plot.png)")

    assert '"/runs/r/tasks/one/outputs/file/plot.png"' in fill(html, run_id="r", task_id="one")
    assert '"/runs/r/tasks/two/outputs/file/plot.png"' in fill(html, run_id="r", task_id="two")


def on_our_page(document: str) -> str:
    return for_our_pages(served(document), run_id="r1", task_id="train-0")


def test_our_pages_show_images_from_elsewhere_as_links() -> None:
    shown = on_our_page("![a badge](https://example.org/b.svg) ![](//example.org/c.png)")

    assert "<img" not in shown
    assert '<a href="https://example.org/b.svg" rel="noopener nofollow">a badge</a>' in shown
    assert '<a href="//example.org/c.png" rel="noopener nofollow">//example.org/c.png</a>' in shown


def test_our_pages_load_nothing_of_ours_that_an_author_chose() -> None:
    shown = on_our_page("![x](/ui/login?token=theirs) ![y](/runs/r2/tasks/t/outputs/file/x.png)")

    assert "<img" not in shown


def test_an_image_from_elsewhere_inside_a_link_leaves_its_text() -> None:
    shown = on_our_page("[![badge](https://example.org/b.svg)](https://example.org/) ![own](own.png)")

    assert '<a href="https://example.org/" rel="noopener nofollow">badge</a>' in shown
    assert f'<img src="{FILES}own.png" alt="own">' in shown


def test_on_our_pages_links_to_files_lead_to_the_pages_that_show_them() -> None:
    pages = "/ui/runs/r1/tasks/train-0/files/"

    shown = on_our_page("[a](x/y%20z.csv#L3) [b](b.MD#c) [d](#e) [f](/runs/r1/x) [![g](g.png)](h.png)")

    assert f'<a href="{pages}x/y%20z.csv#L3">a</a>' in shown
    assert f'<a href="{pages}b.MD#doc:train-0/b.MD:c">b</a>' in shown
    assert '<a href="#doc:train-0/task-summary.md:e">d</a>' in shown
    assert '<a href="/runs/r1/x" rel="noopener nofollow">f</a>' in shown
    assert f'<a href="{pages}h.png"><img src="{FILES}g.png" alt="g"></a>' in shown


def test_what_scrolls_is_reached_by_keys() -> None:
    shown = on_our_page("|a|\n|-|\n|b|\n\n```\nc\n```\n\n$$\nd\n$$\n\n`<table><pre>`")

    assert shown.count('tabindex="0"') == 3
    assert '<table tabindex="0" aria-label="Table">' in shown
    assert '<pre tabindex="0" role="group" aria-label="Code">' in shown
    assert '<div class="math" tabindex="0" role="group" aria-label="Formula">' in shown


def test_headings_move_below_those_of_our_page() -> None:
    shown = on_our_page("# One\n\n###### Six\n\n`<h1>`")

    assert re.findall(r"<h[1-6][^>]*>\w+|</h[1-6]>", shown) == [
        '<h4 id="doc:train-0/task-summary.md:one">One',
        "</h4>",
        '<h6 id="doc:train-0/task-summary.md:six">Six',
        "</h6>",
    ]
    assert "<code>&lt;h1&gt;</code>" in shown


@given(st.lists(st.binary(min_size=1).filter(lambda part: b"\0" not in part and b"/" not in part), min_size=1))
def test_every_name_has_an_address_that_leads_to_it(segments: list[bytes]) -> None:
    path = b"/".join(part for part in segments if part not in {b".", b".."})
    if not path:
        return
    relative = file_url("r1", "train-0", path).removeprefix(FILES)

    assert resolve(relative) == FILE_SCHEME + relative


@given(st.text())
@settings(deadline=None)
def test_no_target_leads_out_of_the_output_directory(target: str) -> None:
    html = served(f'<img src="{target}">')

    for _, values in read(html).elements:
        address = values.get("src") or ""
        if address.startswith(FILES):
            assert ".." not in address.removeprefix(FILES).split("/")


@given(st.binary(), st.binary())
def test_joining_never_leads_upwards(folder: bytes, path: bytes) -> None:
    joined = join(folder, path)

    assert joined is None or b".." not in joined.split(b"/")
