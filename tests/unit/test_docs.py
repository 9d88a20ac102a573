"""README and docs/ as a site: every link leads somewhere, every page is found, every setting and metric is told."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import scripthut_outputs.settings
import scripthut_poller.settings
from scripthut_common.clusters import Certificates, Cluster, CollectionLimits, Patience, Retention, Visibility

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "deploy/examples/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)
INDEX = "docs/index.md"
_NESTED: dict[str, type[msgspec.Struct]] = {
    "collection": CollectionLimits,
    "visibility": Visibility,
    "retention": Retention,
    "certificates": Certificates,
}
_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+).+?\1")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_METRIC = re.compile(r'"(scripthut_(?:outputs|poller|loop)_[a-z_]+)",', re.MULTILINE)
_COUNTER = re.compile(r'Counter(?:MetricFamily)?\(\s*"(scripthut_[a-z_]+)"')


def source(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose(page: str) -> str:
    """A page without its examples, in which links are only shown."""
    return _CODE.sub("", _FENCED.sub("", source(page)))


def anchors(page: str) -> set[str]:
    """What the headings of a page can be linked by, as GitHub makes it: lower case, no marks, `-` for spaces."""
    titles = re.findall(r"^#+ (.*)$", _FENCED.sub("", source(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: str) -> Iterator[tuple[str, str]]:
    """What a page links to in this repository: path from the root, and anchor."""
    for link in _LINK.findall(prose(page)):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            yield (posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page), anchor


def documented(names: Iterator[str], *pages: str) -> list[str]:
    """Those of `names` that no page has as a word."""
    words = set(re.findall(r"[\w.]+", " ".join(source(page) for page in pages)))
    return [name for name in names if name not in words]


def fields(type_: type[msgspec.Struct]) -> list[str]:
    return [field.name for field in msgspec.structs.fields(type_)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for path, anchor in links(page):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(path), (path, anchor)


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set[str](), [INDEX]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        waiting += {path for path, _ in links(page) if path.endswith(".md")} - reached

    assert set(PAGES) - reached == set()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page not in {"README.md", INDEX, "deploy/examples/README.md"}]
)
def test_every_page_begins_with_whom_it_is_for(page: str) -> None:
    first = source(page).split("\n\n")[1]

    assert first.startswith("*For "), first


def test_every_command_of_make_that_readme_names_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", source("README.md")))

    assert named <= set(re.findall(r"^([a-z]+):", source("Makefile"), re.MULTILINE))


def test_every_setting_of_a_cluster_is_documented() -> None:
    plain = [name for name in fields(Cluster) if name not in {"name", "patience", *_NESTED}]
    nested = [f"{table}.{name}" for table, type_ in _NESTED.items() if table != "retention" for name in fields(type_)]

    assert documented(iter([*plain, *nested, *fields(Retention)]), "docs/operators.md") == []
    assert documented(iter(fields(Patience)), "docs/outcomes-slurm.md", "docs/outcomes-pbs.md") == []


def test_every_setting_of_the_services_is_documented() -> None:
    ours = scripthut_outputs.settings
    names = [name.upper() for name in fields(ours.ProcessSettings) if name != "s3"]
    bucket = [f"{ours.PREFIX}_S3_{name.upper()}" for name in fields(ours.S3Settings)]
    page = source("docs/operators.md")
    told = set(re.findall(r"`(?:SCRIPTHUT_OUTPUTS_|…_)?([A-Z0-9_]+)`", page))
    of_poller = next(
        line for line in page.splitlines() if "SCRIPTHUT_POLLER_DATABASE_URL" in line and "CLUSTERS_FILE" in line
    )

    assert [name for name in names if name not in told] == []
    assert documented(iter(bucket), "docs/operators.md") == []
    assert [name for name in fields(scripthut_poller.settings.ProcessSettings) if name.upper() not in of_poller] == []


def test_every_metric_is_documented() -> None:
    sources = [path.read_text("utf-8") for part in ("libs", "services") for path in (ROOT / part).rglob("*.py")]
    counters = {name for text in sources for name in _COUNTER.findall(text)}
    metrics = {name for text in sources for name in _METRIC.findall(text)}

    assert len(metrics) > 25
    assert (
        documented((f"{name}_total" if name in counters else name for name in sorted(metrics)), "docs/metrics.md") == []
    )
