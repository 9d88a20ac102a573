"""A cursor that somebody bent, made up, or took from another's list is refused, or shows what they may see anyway."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.integration.outputs.house import House, ended, item

MADE_UP: list[Any] = [
    *([], {}, None, 1, "x", [None], [1, 2, 3, 4], [[]], [True], [1.5], ["x", "y", "z", "w"]),
    *([2**63], [-(2**63) - 1], [2**64, "x"], [10**60], [1e300], [2**63, 2**63], ["x", 2**63, "x"]),
    *(["\0"], ["\0", "\0"], ["x\0", 1, "x"], ["\ud800"], ["\ud800", "x"], [1, "\ud800"], ["x" * 600]),
    *(["' OR true --"], ["' OR true --", "x"], [-1], [-1, "x"], [0], [0, ""], [""], ["", ""], ["", 0, ""]),
]


def written(position: object) -> str:
    return urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


async def lists(house: House) -> list[str]:
    """Every list that comes in pages, of the run `r1` where it is one of a run's."""
    paths = (await house.get("/schema")).json()["paths"]
    found = [
        path.format(run_id="r1", task_id="t0")
        for path, operations in paths.items()
        if any(parameter["name"] == "cursor" for parameter in operations.get("get", {}).get("parameters", ()))
    ]
    return [*found, *(f"/runs?sort={sort}" for sort in ("newest", "oldest", "name", "state"))]


@pytest.fixture
async def house(house: House) -> House:
    """With more than one row in every list."""
    await house.apply(ended(), ended("t1"), *(item(run_id=f"r{number}") for number in range(2, 5)))
    await house.apply(item(run_id="b0", owner="bob", cluster="eiger"), item(run_id="b1", owner="bob", cluster="eiger"))
    for name in (b"a.txt", b"b.txt"):
        await house.store("r1", "t0", name, b"x")
    for cluster in ("daint", "eiger"):
        await house.observe(cluster=cluster)
    for actor in ("ada", "ada", "bob", "bob"):
        await house.post("/tokens", {"label": "x", "scopes": ["read"]}, actor)
    return house


@pytest.mark.parametrize("actor", ["root", "bob"])
async def test_a_cursor_that_somebody_made_up_is_refused_or_shows_what_is_theirs(house: House, actor: str) -> None:
    addresses = await lists(house)
    assert len(addresses) > 10

    for path in addresses:
        for position in MADE_UP:
            separator = "&" if "?" in path else "?"
            answer = await house.get(f"{path}{separator}cursor={written(position)}", actor)
            assert answer.status_code in {200, 403, 404, 422}, (path, position, answer.text)
            assert actor == "root" or '"owner":"ada"' not in answer.text, (path, position)


async def test_a_cursor_of_one_list_bent_or_in_another_shows_nothing_of_others(house: House) -> None:
    addresses = await lists(house)
    found = set[str]()
    for path in addresses:
        for actor in ("root", "ada"):
            separator = "&" if "?" in path else "?"
            page = await house.get(f"{path}{separator}limit=1", actor)
            found |= {page.json().get("next") or "x"}
    assert len(found) > 8
    bent = {*found, *(one[:-3] for one in found), *(one[::-1] for one in found), *(f"{one}AA" for one in found)}

    for path in addresses:
        for cursor in sorted(bent):
            separator = "&" if "?" in path else "?"
            answer = await house.get(f"{path}{separator}cursor={cursor}", "bob")
            assert answer.status_code in {200, 403, 404, 422}, (path, cursor, answer.text)
            assert "ada" not in answer.text, (path, cursor)
            assert '"run_id":"r' not in answer.text, (path, cursor)
