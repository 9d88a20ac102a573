"""Files come as they were written, under names of any bytes, and can do nothing in a browser."""

from pathlib import Path
from urllib.parse import quote

import pytest

from scripthut_common.database import Database
from scripthut_outputs.ledger import FileState
from tests.contract.shelves import S3Shelf
from tests.integration.outputs.house import House, ended, raw_get

BASE = "/runs/r1/tasks/t0/outputs/file/"
PNG = b"\x89PNG\r\n" + bytes(range(256)) * 10


@pytest.fixture(params=["disk", "s3"])
def house(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> House:
    """The application over each kind of blob store."""
    if request.param == "disk":
        return House(database, tmp_path)
    return House(database, tmp_path, S3Shelf(request.getfixturevalue("s3_server"), tmp_path).open())


@pytest.fixture(autouse=True)
async def _a_task(house: House) -> None:
    await house.apply(ended())


async def test_a_file_comes_as_it_was_written(house: House) -> None:
    sha256 = await house.store("r1", "t0", b"sub dir/plot.png", PNG)

    answer = await house.get(f"{BASE}sub%20dir/plot.png")

    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == f'"{sha256}"'
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["cache-control"] == "private, max-age=60"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_head_says_the_same_without_the_bytes(house: House) -> None:
    await house.store("r1", "t0", b"a.png", PNG)

    async with house.client() as client:
        head, get = await client.head(f"{BASE}a.png"), await client.get(f"{BASE}a.png")

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers == get.headers


@pytest.mark.parametrize("tag", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
async def test_what_the_asker_has_is_not_sent_again(house: House, tag: str) -> None:
    sha256 = await house.store("r1", "t0", b"a.png", PNG)

    answer = await house.get(f"{BASE}a.png", **{"if-none-match": tag.format(sha256)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{sha256}"'


async def test_another_content_is_sent(house: House) -> None:
    await house.store("r1", "t0", b"a.png", PNG)

    assert (await house.get(f"{BASE}a.png", **{"if-none-match": '"other"'})).status_code == 200


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=990-", 990, None),
        ("bytes=-10", -10, None),
        ("bytes=5-99999999", 5, None),
    ],
)
async def test_a_range_is_that_part(house: House, size: int, asked: str, first: int, last: int | None) -> None:
    content = bytes(number % 251 for number in range(size))
    await house.store("r1", "t0", b"a.bin", content)

    answer = await house.get(f"{BASE}a.bin", range=asked)

    start = first if first >= 0 else size + first
    end = size - 1 if last is None else last
    assert answer.status_code == 206
    assert answer.content == content[start : end + 1]
    assert answer.headers["content-range"] == f"bytes {start}-{end}/{size}"


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=1000-2000", "bytes=-0"])
async def test_a_range_outside_of_the_file_is_refused(house: House, asked: str) -> None:
    await house.store("r1", "t0", b"a.bin", b"x" * 1000)

    answer = await house.get(f"{BASE}a.bin", range=asked)

    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */1000"


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,5-6", "bytes=-", "bytes=5-1", "lines=1-2", "bytes=a-b", f"bytes={'9' * 50}-"]
)
async def test_several_ranges_or_none_at_all_give_the_whole(house: House, asked: str) -> None:
    await house.store("r1", "t0", b"a.bin", b"x" * 1000)

    answer = await house.get(f"{BASE}a.bin", range=asked)

    assert (answer.status_code, len(answer.content)) == (200, 1000)


async def test_a_range_of_what_has_changed_gives_the_whole(house: House) -> None:
    sha256 = await house.store("r1", "t0", b"a.bin", b"x" * 1000)

    changed = await house.get(f"{BASE}a.bin", **{"range": "bytes=0-9", "if-range": '"other"'})
    same = await house.get(f"{BASE}a.bin", **{"range": "bytes=0-9", "if-range": f'"{sha256}"'})

    assert (changed.status_code, same.status_code) == (200, 206)


@pytest.mark.parametrize(
    "name",
    [
        b"plain.txt",
        b"with space.txt",
        b"-rf",
        b"quote'\".txt",
        b"tab\tnewline\n.txt",
        "é🎈.txt".encode(),
        b"invalid \xff\xfe utf-8.txt",
        b"percent%20literal.txt",
        b"double%2520.txt",
        b"question?hash#.txt",
        b"back\\slash",
        b"semi;colon",
        b"a//b",
        b"nul\x00byte",
        b"..",
        b"../../etc/passwd",
        b".",
        b"a/../b",
    ],
)
async def test_every_name_of_bytes_is_found_by_its_url_and_by_no_other(house: House, name: bytes) -> None:
    await house.store("r1", "t0", name, b"content of " + name)
    await house.store("r1", "t0", b"other", b"other")

    listed = (await house.get("/runs/r1/tasks/t0/outputs")).json()["outputs"]

    (url,) = [output["url"] for output in listed if output["path"] != "other"]
    exact = await raw_get(house, url.encode())
    assert (exact.status_code, exact.body) == (200, b"content of " + name)
    assert (await raw_get(house, url.encode() + b"x")).status_code == 404
    again = quote(quote(name, safe=""), safe="")
    if again != quote(name, safe=""):
        assert (await raw_get(house, BASE.encode() + again.encode())).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        b"../../../../etc/passwd",
        b"%2e%2e/%2e%2e/etc/passwd",
        b"..%2f..%2fetc%2fpasswd",
        b"%252e%252e/secret",
        b"/etc/passwd",
        b"%2fetc%2fpasswd",
        b"secret%00.txt",
        b"secret.txt%00",
        b"%ff%fe",
        b"%",
        b"%zz",
        b"",
        b"secret.txt/",
        b"./secret.txt",
        b"x/../secret.txt",
        b"SECRET.TXT",
        b"a" * 20_000,
    ],
)
async def test_every_attempt_to_escape_looks_like_a_missing_file(house: House, path: bytes) -> None:
    await house.store("r1", "t0", b"secret.txt", b"x")
    missing = await raw_get(house, BASE.encode() + b"missing")

    answer = await raw_get(house, BASE.encode() + path)

    assert answer == missing
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        b"/runs/r1%2ftasks/t0/outputs/file/a.txt",
        b"/runs/%2e%2e/tasks/t0/outputs/file/a.txt",
        b"/runs/r1/tasks/t1%2f..%2ft0/outputs/file/a.txt",
        b"/runs/r1%00/tasks/t0/outputs/file/a.txt",
        b"/runs/%ff/tasks/t0/outputs/file/a.txt",
        b"/runs/r1/tasks/t0/../t0/outputs/file/a.txt",
        b"//runs/r1/tasks/t0/outputs/file/a.txt",
        b"/runs/r1/tasks/t0/outputs/file",
    ],
)
async def test_ids_that_are_none_lead_nowhere(house: House, path: bytes) -> None:
    await house.store("r1", "t0", b"a.txt", b"x")

    assert (await raw_get(house, path)).status_code == 404


@pytest.mark.parametrize(
    ("name", "kind", "disposition"),
    [
        ("a.PNG", "image/png", "inline"),
        ("a.jpeg", "image/jpeg", "inline"),
        ("a.svg", "image/svg+xml", "inline"),
        ("a.html", "text/plain; charset=utf-8", "inline"),
        ("a.md", "text/plain; charset=utf-8", "inline"),
        ("a.js", "text/plain; charset=utf-8", "inline"),
        ("a.xml", "text/plain; charset=utf-8", "inline"),
        ("a.pdf", "application/pdf", "attachment"),
        ("a.exe", "application/octet-stream", "attachment"),
        ("a", "application/octet-stream", "attachment"),
        ("dir.png/a", "application/octet-stream", "attachment"),
        (".png", "image/png", "inline"),
        ("a.svgz", "application/octet-stream", "attachment"),
        ("a.xhtml", "application/octet-stream", "attachment"),
    ],
)
async def test_nothing_is_ever_run_by_a_browser(house: House, name: str, kind: str, disposition: str) -> None:
    await house.store("r1", "t0", name.encode(), b"<script>alert(1)</script>")

    headers = (await house.get(BASE + name)).headers

    assert headers["content-type"] == kind
    assert headers["content-disposition"].startswith(f"{disposition};")
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert "script" not in headers["content-security-policy"]


async def test_a_name_cannot_write_headers(house: House) -> None:
    await house.store("r1", "t0", b'a"\r\nset-cookie: x=y;\xff.txt', b"x")

    answer = await raw_get(house, BASE.encode() + quote(b'a"\r\nset-cookie: x=y;\xff.txt').encode())

    disposition = answer.headers[b"content-disposition"]
    assert disposition.startswith(b'inline; filename="a___set-cookie__x_y__.txt"; ')
    assert disposition.endswith(b"filename*=UTF-8''a%22%0D%0Aset-cookie%3A%20x%3Dy%3B%EF%BF%BD.txt")


@pytest.mark.parametrize("state", [FileState.TOO_LARGE, FileState.NOT_REGULAR, FileState.PURGED])
async def test_a_file_that_was_left_out_says_why(house: House, state: FileState) -> None:
    await house.store("r1", "t0", b"big.bin", b"", state=state, sha256=None, stored_bytes=None, reason="11 MiB")

    mine = await house.get(f"{BASE}big.bin")
    theirs = await house.get(f"{BASE}big.bin", actor="bob")

    assert mine.status_code == theirs.status_code == 404
    assert mine.json()["detail"] == f"this file was left out ({state}): 11 MiB"
    assert state not in theirs.text


async def test_a_blob_that_is_gone_is_our_fault(house: House) -> None:
    sha256 = await house.store("r1", "t0", b"a.png", PNG)
    large = await house.store("r1", "t0", b"b.png", PNG * 100)
    for name in (sha256, large):
        await house.blobs.remove(name)

    for name in ("a.png", "b.png"):
        answer = await house.get(BASE + name)
        assert answer.status_code == 503
        assert "missing from the store" in answer.json()["detail"]


async def test_only_reading_is_possible(house: House) -> None:
    await house.store("r1", "t0", b"a.png", PNG)

    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        async with house.client() as client:
            answer = await client.request(method, f"{BASE}a.png")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_an_empty_file_is_empty(house: House) -> None:
    await house.store("r1", "t0", b"empty.txt", b"")

    answer = await house.get(f"{BASE}empty.txt")

    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_large_file_comes_whole_where_the_server_cannot_send_paths(house: House) -> None:
    content = bytes(range(256)) * 2000
    await house.store("r1", "t0", b"large.bin", content)

    assert (await house.get(f"{BASE}large.bin")).content == content
