"""The page of metrics against what processes tell: nothing is missing on either side, and alerts ask for what is."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry

import scripthut_outputs.settings
import scripthut_outputs.wiring
import scripthut_poller.settings
import scripthut_poller.wiring
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.health import Health
from scripthut_common.supervision import Pulse
from scripthut_outputs.wiring import Role

ROOT = Path(__file__).parents[2]
CLUSTERS = '[clusters.daint]\nscheduler = "localhost"\n'
DATABASE = "postgresql://nobody@127.0.0.1/nothing"
ROW = re.compile(r"^\| `(scripthut_\w+)` \| (\w+) \| ([\w, ]*)\|", re.MULTILINE)
Told = dict[str, tuple[str, frozenset[str]]]
"""By name what kind a metric is and which labels it has."""


def sections() -> dict[str, Told]:
    """What the page says, by the processes that its headings name."""
    _, *parts = re.split(r"^## Of ", (ROOT / "docs/metrics.md").read_text("utf-8"), flags=re.MULTILINE)
    return {
        part.partition("\n")[0]: {
            name: (kind, frozenset(label.strip() for label in labels.split(",") if label.strip()))
            for name, kind, labels in ROW.findall(part)
        }
        for part in parts
    }


def documented(*processes: str) -> Told:
    found = sections()
    return {name: told for process in processes for name, told in found[process].items()}


def told(registry: CollectorRegistry) -> Told:
    """What a process tells: names as they are scraped."""
    labels: dict[str, Iterable[str]] = {}
    for collector in registry._collector_to_names:
        for metric in collector.collect():
            labels[metric.name] = _labels(collector) or _labels(metric)
    return {
        f"{metric.name}_total" if metric.type == "counter" else metric.name: (
            metric.type,
            frozenset(labels[metric.name]),
        )
        for metric in registry.collect()
    }


def _labels(one: Any) -> Iterable[str]:
    found: Iterable[str] = getattr(one, "_labelnames", ())
    return found


@pytest.fixture
def clusters_file(tmp_path: Path) -> str:
    path = tmp_path / "clusters.toml"
    path.write_text(CLUSTERS)
    return str(path)


@pytest.fixture
async def outputs(tmp_path: Path, clusters_file: str) -> Any:
    """What an outputs process tells, by its role."""
    settings = scripthut_outputs.settings.Settings(
        database_url=DATABASE,
        clusters_file=clusters_file,
        blobs_url=str(tmp_path / "blobs"),
        tokens_file=str(tmp_path / "tokens"),
    )
    found = {}
    for role in Role:
        registry = CollectorRegistry()
        service = scripthut_outputs.wiring.build(settings, MemoryBus(), Pulse(), roles=[role], registry=registry)
        found[role] = told(registry)
        await service.close()
    return found


async def test_the_page_is_what_a_poller_tells(clusters_file: str) -> None:
    registry = CollectorRegistry()
    settings = scripthut_poller.settings.Settings(database_url=DATABASE, clusters_file=clusters_file)
    service = scripthut_poller.wiring.build(settings, MemoryBus(), Pulse(), registry=registry)
    Health(Pulse(), service.checks, registry)

    assert told(registry) == documented("every process", "the poller")
    for shell in service.shells:
        await shell.close()
    await service.database.close()


@pytest.mark.parametrize(("role", "title"), [(Role.API, "an outputs-api"), (Role.COLLECTOR, "a collector")])
async def test_the_page_is_what_an_outputs_process_tells(outputs: dict[Role, Told], role: Role, title: str) -> None:
    assert outputs[role] == documented("every process", "an outputs-api and a collector", title)


def test_no_metric_stands_on_the_page_twice() -> None:
    names = [name for section in sections().values() for name in section]

    assert len(names) == len(set(names)) > 30


def alerts() -> Iterator[dict[str, Any]]:
    rules = yaml.safe_load((ROOT / "deploy/prometheus-rules.yml").read_text("utf-8"))
    for group in rules["groups"]:
        yield from group["rules"]


def test_alerts_ask_for_metrics_that_there_are() -> None:
    known: dict[str, frozenset[str]] = {}
    for name, (kind, labels) in documented(*sections()).items():
        known |= dict.fromkeys([f"{name}_bucket"] if kind == "histogram" else [name], labels)

    for alert in alerts():
        asked = re.findall(r"scripthut_\w+", alert["expr"])
        assert asked, alert
        assert set(asked) <= known.keys(), alert["alert"]
        for name, selected in re.findall(r"(scripthut_\w+)\{(\w+)=", alert["expr"]):
            assert selected in known[name], alert["alert"]


def test_alerts_say_what_to_do_and_have_names_of_their_own() -> None:
    names = [alert["alert"] for alert in alerts()]

    assert len(names) == len(set(names)) > 10
    for alert in alerts():
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"]["summary"]
        assert alert["expr"].count("(") == alert["expr"].count(")")


def test_what_the_page_says_to_alert_on_has_a_rule() -> None:
    page = (ROOT / "docs/metrics.md").read_text("utf-8")
    marked = re.findall(r"^\| `(scripthut_\w+)` \|.*\| [^|]*\w[^|]* \|$", page, re.MULTILINE)
    asked = " ".join(alert["expr"] for alert in alerts())

    assert len(marked) > 10
    assert [name for name in marked if name not in asked and name not in _BY_HAND] == []


# How much room there is, and how large a pool is that is rarely full, only those know who run it.
_BY_HAND = {"scripthut_outputs_stored_bytes", "scripthut_poller_database_connections"}
