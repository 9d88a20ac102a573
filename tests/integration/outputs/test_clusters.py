"""How clusters do, for those who have runs there and nobody else."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from scripthut_common.bus.memory import MemoryBus
from scripthut_common.supervision import Pulse
from scripthut_outputs import wiring
from scripthut_outputs.catalog.changes import Listener
from scripthut_outputs.catalog.collections import Collections
from scripthut_outputs.catalog.views import ClusterView
from tests.eventually import eventually
from tests.integration.outputs.house import House, ended, item
from tests.integration.outputs.running import Running


async def names(house: House, actor: str, query: str = "") -> list[str]:
    answer = await house.get(f"/clusters{query}", actor)
    assert answer.status_code == 200
    return [found["name"] for found in answer.json()["clusters"]]


async def test_a_cluster_is_told_with_how_it_does(house: House) -> None:
    await house.apply(item())
    await house.observe("degraded", error="no <accounting>", commands_per_minute=2.5)

    answer = await house.get("/clusters")

    (found,) = answer.json()["clusters"]
    assert found == {
        "name": "daint",
        "state": "degraded",
        "stale": False,
        "error": "no <accounting>",
        "last_good_round_at": found["observed_at"],
        "observed_at": found["observed_at"],
        "commands_per_minute": 2.5,
    }
    assert answer.json()["next"] is None


async def test_a_cluster_of_which_nothing_is_heard_is_stale_to_programs_too(house: House) -> None:
    await house.apply(item())
    before = (await house.get("/runs/r1")).json()
    await house.observe(ago_s=3600)

    after = (await house.get("/runs/r1")).json()

    assert (before["cluster_state"], before["cluster_stale"]) == ("unknown", True)
    assert (after["cluster_state"], after["cluster_stale"]) == ("reachable", True)
    assert (await house.get("/clusters")).json()["clusters"][0]["stale"] is True
    await house.observe(sequence=2)
    assert (await house.get("/runs/r1")).json()["cluster_stale"] is False


async def test_clusters_are_told_to_those_alone_who_have_runs_there(house: House) -> None:
    await house.apply(item(run_id="r1", cluster="daint"), item(run_id="r2", cluster="eiger", owner="bob"))
    for cluster in ("daint", "eiger", "unused"):
        await house.observe("unreachable", error=f"the secret of {cluster}", cluster=cluster)

    assert await names(house, "ada") == ["daint"]
    assert await names(house, "bob") == ["eiger"]
    assert await names(house, "root") == ["daint", "eiger", "unused"]
    assert (await house.get("/clusters", actor=None)).status_code == 401
    for path in ("/ui/", "/clusters"):
        assert "the secret of eiger" not in (await house.get(path)).text


async def test_clusters_come_page_by_page(house: House) -> None:
    for cluster in ("a", "b", "c"):
        await house.observe(cluster=cluster)

    first = (await house.get("/clusters?limit=2", "root")).json()

    assert [found["name"] for found in first["clusters"]] == ["a", "b"]
    assert await names(house, "root", f"?limit=2&cursor={first['next']}") == ["c"]


async def test_what_was_read_of_clusters_is_kept_until_one_does_otherwise(house: House) -> None:
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(Listener(house.database, house.cache).step())
        await eventually(lambda: house.cache.is_listening)
        before = await house.reading.clusters()
        assert await house.reading.clusters() is before

        await house.observe("unreachable")
        await until(house, lambda found: found.state == "unreachable")
        await Collections(house.database).note_cluster("daint", "no key")
        await until(house, lambda found: found.collection_error == "no key")
        listening.cancel()


async def until(house: House, is_so: Callable[[ClusterView], bool]) -> None:
    """Read until what is kept says so."""
    async with asyncio.timeout(20):
        while True:
            found = (await house.reading.clusters()).get("daint")
            if found is not None and is_so(found):
                return
            await asyncio.sleep(0.01)


async def test_the_schema_knows_clusters(house: House) -> None:
    schema = (await house.get("/schema/openapi.json")).json()

    assert "/clusters" in schema["paths"]
    assert {"stale", "error", "commands_per_minute"} <= set(
        schema["components"]["schemas"]["ClusterJson"]["properties"]
    )


async def test_a_run_that_is_over_says_nothing_of_its_cluster(house: House) -> None:
    await house.apply(ended())
    await house.observe("unreachable", error="no route")
    async with house.database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE outputs.items SET outputs_state = 'collected'")

    assert "no route" not in (await house.get("/ui/runs/r1")).text
    assert "no route" not in (await house.get("/ui/")).text


async def test_readiness_names_the_clusters_whose_outputs_nobody_collects(
    house: House, migrated_uri: str, tmp_path: Path
) -> None:
    await house.apply(ended(cluster="gone"))
    service = wiring.build(Running(migrated_uri, tmp_path).settings, MemoryBus(), Pulse())

    fault = await service.checks["outputs.clusters"]()
    await service.close()

    assert fault is not None
    assert "nobody collects the outputs of 1 on 'gone'" in fault
