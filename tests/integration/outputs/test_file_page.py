"""The page of a file: what it shows, to whom, what it costs to ask again, and what hostile names do."""

import json
import re
from base64 import b64encode
from urllib.parse import quote

import pytest

from scripthut_outputs.controllers.previewing import Previewer
from scripthut_outputs.documents.workers import Workers
from scripthut_outputs.ledger import FileState, Kind, Place
from tests.integration.outputs.house import House, ended, raw_get
from tests.integration.outputs.test_pages import listen, text_of

BASE = "/ui/runs/r1/tasks/t0/files/"
RAW = "/runs/r1/tasks/t0/outputs/file/"
HOSTILE = "</title></bdi><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u202e.csv".replace("/", "|").encode()
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)


async def test_a_table_is_shown_as_a_table(house: House) -> None:
    await house.apply(ended(run_name="A run", task_name="Measure"))
    sha256 = await house.store("r1", "t0", b"out/table.csv", b"name,value\na,1.5\nb,-2\n")

    page = await house.get(f"{BASE}out/table.csv")

    assert page.status_code == 200
    assert "2 rows, 2 columns" in page.text
    assert '<td>a</td><td class="number">1.5</td>' in page.text
    assert "A run Measure out/ table.csv Table 22 B" in text_of(page)
    assert f'data-copy="{sha256}"' in page.text
    assert f'href="{RAW}out/table.csv" download' in page.text


async def test_a_table_is_sorted_and_paged_by_its_address(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"n\n" + b"".join(b"%d\n" % n for n in range(150)))

    page = await house.get(f"{BASE}t.csv?sort=1&order=desc&page=2")

    assert '<th scope="row" class="row">101</th><td class="number">49</td>' in page.text
    assert f'href="{BASE}t.csv?page=1&amp;sort=1&amp;order=desc"' in page.text


@pytest.mark.parametrize("query", ["page=0", "page=x", "sort=-1", "order=up", "view=raw", "end=middle", "fragment=2"])
async def test_an_address_that_asks_for_nonsense_is_refused(house: House, query: str) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"a\n1\n")

    assert (await house.get(f"{BASE}t.csv?{query}")).status_code == 400


async def test_a_fragment_is_the_preview_alone(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.log", b"\x1b[31mred\x1b[0m\n")

    fragment = await house.get(f"{BASE}a.log?fragment=1")

    assert "<html" not in fragment.text
    assert '<span class="t-ink-1">red</span>' in fragment.text
    assert "id=" not in fragment.text


async def test_what_has_not_changed_is_not_sent_or_made_again(house: House) -> None:
    await listen(house)
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"a\n1\n")

    for address in (f"{BASE}t.csv", f"{BASE}t.csv?fragment=1"):
        first = await house.get(address)
        again = await house.get(address, **{"if-none-match": first.headers["etag"]})
        other = await house.get(f"{address}&sort=1".replace("csv&", "csv?"), **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert other.status_code == 200


async def test_a_fragment_stays_valid_while_the_rest_of_the_run_changes(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"a\n1\n")
    first = await house.get(f"{BASE}t.csv?fragment=1")

    await house.store("r1", "t0", b"other.csv", b"a\n1\n")

    assert (await house.get(f"{BASE}t.csv?fragment=1", **{"if-none-match": first.headers["etag"]})).status_code == 304


async def test_previews_and_small_tables_outlive_changes_of_their_run(house: House) -> None:
    await house.apply(ended())
    sha256 = await house.store("r1", "t0", b"t.csv", b"a\n1\n")
    for address in ("/ui/runs/r1", f"{BASE}t.csv"):
        await house.get(address)

    house.lose(sha256)
    await house.store("r1", "t0", b"other.txt", b"x")

    for address in ("/ui/runs/r1", f"{BASE}t.csv"):
        page = await house.get(address)
        assert page.status_code == 200
        assert 'class="cells"' in page.text


@pytest.mark.parametrize(
    "path",
    [b"missing", b"", b"t.csv/", b"./t.csv", b"../t0/files/t.csv", b"/t.csv", b"T.CSV", b"t.csv%00", b"x/../t.csv"],
)
async def test_every_way_around_looks_like_a_missing_file(house: House, path: bytes) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"a\n1\n")

    answer = await raw_get(house, BASE.encode() + path)

    assert answer.status_code == 404
    assert b"There is no such thing here, or none that you may see" in answer.body


async def test_a_file_of_another_owner_looks_like_a_missing_one(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"t.csv", b"a\nsecret\n")
    await house.store("r1", "t0", b"gone.csv", b"", state=FileState.TOO_LARGE, sha256=None, stored_bytes=None)

    for name in ("t.csv", "gone.csv", "missing.csv", "t.csv?fragment=1"):
        answer = await house.get(BASE + name, actor="bob")
        assert answer.status_code == 404
        assert "secret" not in answer.text
        assert "left out" not in answer.text
    stranger = await house.get(f"{BASE}t.csv", actor=None)
    assert (stranger.status_code, stranger.headers["location"]) == (303, f"/login?next={BASE}t.csv")


async def test_a_file_that_was_left_out_says_why_on_its_page(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.csv", b"a\n1\n")
    await house.store(
        "r1", "t0", b"big.bin", b"", state=FileState.TOO_LARGE, sha256=None, stored_bytes=None, reason="11 MiB"
    )

    page = await house.get(f"{BASE}big.bin")

    assert page.status_code == 404
    assert "This file was left out: larger than one file may be (11 MiB)." in text_of(page)
    assert f'href="{BASE}a.csv" rel="prev"' in page.text
    assert "download" not in page.text


async def test_names_of_any_bytes_have_pages(house: House) -> None:
    await house.apply(ended(run_name=HOSTILE.decode(), task_name=HOSTILE.decode()))
    names = (
        HOSTILE,
        b"new\nline\t.csv",
        b"caf\xe9.csv",
        b"100%.csv",
        b"a?b#c.csv",
        b"-rf",
        b"a//b.csv",
        b"sp ace/\xf0\x9f\x8e\x88.csv",
    )
    for name in names:
        await house.store("r1", "t0", name, HOSTILE + b",b\n" + HOSTILE + b",1\n")

    for name in names:
        page = await raw_get(house, (BASE + quote(name, safe="/")).encode())
        assert page.status_code == 200, name
        assert b"<script>alert" not in page.body
        assert b"<img src=x" not in page.body
        assert (RAW + quote(name, safe="/")).encode() in page.body


async def test_files_lead_to_the_ones_before_and_after(house: House) -> None:
    await house.apply(ended())
    for name in (b"task-summary.md", b"a.txt", b"z.txt"):
        await house.store("r1", "t0", name, b"x")

    first, second = await house.get(f"{BASE}task-summary.md"), await house.get(f"{BASE}a.txt")

    assert 'rel="prev"' not in first.text
    assert f'href="{BASE}a.txt" rel="next"' in first.text
    assert f'href="{BASE}task-summary.md" rel="prev"' in second.text
    assert f'href="{BASE}z.txt" rel="next"' in second.text


async def test_markdown_is_shown_as_rendered_and_as_source(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"sub/notes.md", b"# Title\n\n![](x.png)\n")

    page, source = await house.get(f"{BASE}sub/notes.md"), await house.get(f"{BASE}sub/notes.md?view=source")

    assert re.search(">Title<", re.sub("<a [^>]*>.*?</a>", "", page.text))
    assert "<h2" in page.text
    assert f'<img src="{RAW}sub/x.png"' in page.text
    assert "# Title" in text_of(source)


async def test_only_pages_that_need_it_may_load_more(house: House) -> None:
    await house.apply(ended())
    output = {"output_type": "display_data", "data": {"image/png": b64encode(PICTURE).decode()}}
    cells = [{"cell_type": "code", "source": "1", "outputs": [output]}]
    await house.store("r1", "t0", b"n.ipynb", json.dumps({"nbformat": 4, "cells": cells}).encode())
    await house.store("r1", "t0", b"p.pdf", b"%PDF-1.4\n")
    await house.store("r1", "t0", b"t.csv", b"a\n1\n")

    policies = {
        name: (await house.get(BASE + name)).headers["content-security-policy"]
        for name in ("n.ipynb", "p.pdf", "t.csv", "n.ipynb?fragment=1")
    }

    assert "img-src 'self' data:;" in policies["n.ipynb"]
    assert "frame-src" not in policies["n.ipynb"]
    assert "frame-src 'self';" in policies["p.pdf"]
    for name in ("p.pdf", "t.csv"):
        assert "data:" not in policies[name]
    assert "frame-src" not in policies["t.csv"]
    assert all("script-src 'self';" in policy for policy in policies.values())


async def test_a_pdf_is_shown_in_a_frame_of_ours_and_saved_otherwise(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"p.pdf", b"%PDF-1.4\n")

    framed = await house.get(f"{RAW}p.pdf?framed=1", **{"sec-fetch-dest": "iframe"})
    alone = await house.get(f"{RAW}p.pdf?framed=1", **{"sec-fetch-dest": "document"})
    plain = await house.get(f"{RAW}p.pdf")

    assert framed.headers["content-disposition"].startswith("inline;")
    assert framed.headers["content-security-policy"] == "sandbox; default-src 'none'; frame-ancestors 'self'"
    for answer in (alone, plain):
        assert answer.headers["content-disposition"].startswith("attachment;")


async def test_framing_changes_nothing_for_other_files(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.html", b"<script>alert(1)</script>")

    assert (await house.get(f"{RAW}a.html?framed=1")).headers == (await house.get(f"{RAW}a.html")).headers


async def test_a_log_has_a_page_with_colours_and_line_numbers(house: House) -> None:
    await house.apply(ended())
    await house.store(
        "r1", "t0", b"", b"\x1b[1mfirst\x1b[0m\n10%\r100%\n", Place.STDOUT, kind=Kind.OTHER, size_bytes=900
    )

    page = await house.get("/ui/runs/r1/tasks/t0/stdout")

    assert '<span class="t-bold">first</span>' in page.text
    assert 'id="L2"' in page.text
    assert "100%" in page.text
    assert "10%" not in page.text.replace("100%", "")
    assert "Standard output Text 900 B, the last 23 B are kept" in text_of(page)
    assert (await house.get("/ui/runs/r1/tasks/t0/stderr")).status_code == 404


async def test_the_end_of_a_large_file_has_true_line_numbers(house: House) -> None:
    await house.apply(ended())
    await house.store("r1", "t0", b"a.log", b"".join(b"%0200d\n" % n for n in range(1, 10_001)))

    tail = await house.get(f"{BASE}a.log?end=tail")

    assert 'id="L10000"' in tail.text
    assert f"{10_000:0200}" in tail.text.rpartition('id="L10000"')[2]


async def test_a_preview_that_takes_too_long_is_text_with_the_reason(house: House) -> None:
    hasty = Workers(count=1, timeout_s=0.05, memory_bytes=512 * 1024 * 1024)
    previewer = Previewer(house.blobs, hasty)
    await house.apply(ended())
    await house.store("r1", "t0", b"numbers.json", b"[" + b"1.5," * 700_000 + b"1]")
    house.use(previewer)

    page = await house.get(f"{BASE}numbers.json")
    previewer.close()

    assert page.status_code == 200
    assert "There is no preview of this file: it took longer than 0.05 s. This is its text." in text_of(page)


async def test_a_blob_that_is_gone_is_our_fault(house: House) -> None:
    await house.apply(ended())
    house.lose(await house.store("r1", "t0", b"t.csv", b"a\n1\n"))

    answer = await house.get(f"{BASE}t.csv")

    assert answer.status_code == 503
    assert "missing from the store" in answer.text


async def test_a_panel_shows_small_tables_and_leads_to_every_file(house: House) -> None:
    await house.apply(ended())
    for number in range(4):
        await house.store("r1", "t0", b"t%d.csv" % number, b"a,b\nx,%d\n" % number)
    await house.store("r1", "t0", b"large.csv", b"a\n" + b"1\n" * 10_000)
    await house.store("r1", "t0", b"not.csv", bytes(100))
    await house.store("r1", "t0", b"n.ipynb", b"{}")

    for address in ("/ui/runs/r1", "/ui/runs/r1/tasks/t0"):
        page = await house.get(address)
        assert page.text.count('class="cells"') == 2
        for name in ("t0.csv", "large.csv", "not.csv", "n.ipynb"):
            assert f'href="{BASE}{name}"' in page.text
        assert f'data-fragment="{BASE}large.csv?fragment=1&amp;v=' in page.text
        assert f'data-fragment="{BASE}n.ipynb' not in page.text


async def test_a_series_of_pictures_is_one_figure(house: House) -> None:
    await house.apply(ended())
    for number in range(12):
        await house.store("r1", "t0", b"flow_%04d.png" % number, PICTURE)

    page = await house.get("/ui/runs/r1")

    assert page.text.count("<figure") == 1
    assert "flow_….png 12 pictures" in text_of(page)
    assert f'href="{BASE}flow_0011.png"' in page.text
