"""Parents are submitted before children, everything else as it was written."""

from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.tasks import TaskSpec
from scripthut_poller.watchlist.requests import turns_of


def _tasks(deps: dict[str, tuple[str, ...]]) -> list[TaskSpec]:
    return [TaskSpec(id=id_, command="true", deps=parents) for id_, parents in deps.items()]


def test_without_dependencies_the_written_order_stands() -> None:
    assert turns_of(_tasks({"c": (), "a": (), "b": ()})) == {"c": 0, "a": 1, "b": 2}


def test_a_child_written_first_waits_for_its_parent_only() -> None:
    assert turns_of(_tasks({"child": ("parent",), "x": (), "parent": (), "y": ()})) == {
        "x": 0,
        "parent": 1,
        "child": 2,
        "y": 3,
    }


@given(st.data())
def test_no_child_comes_before_its_parent(data: st.DataObject) -> None:
    ids = [f"t{n}" for n in range(data.draw(st.integers(1, 12)))]
    deps = {
        id_: tuple(data.draw(st.sets(st.sampled_from(ids[:place]), max_size=3))) if place else ()
        for place, id_ in enumerate(ids)
    }
    written = data.draw(st.permutations(ids))

    turns = turns_of(_tasks({id_: deps[id_] for id_ in written}))

    assert sorted(turns.values()) == list(range(len(ids)))
    assert all(turns[parent] < turns[id_] for id_ in ids for parent in deps[id_])
