"""The subscriber that the storm is compared with, by itself."""

import random
from typing import Any

from scripthut_common.events import Type
from tests.chaos.tapping import Heard, Subscriber, contradictions


def _told(type_: Type, sequence: int, **more: Any) -> Heard:
    places = {"cluster": "c", "run_id": "r", "task_id": "t"}
    return Heard(id=f"{type_}-{sequence}", type=type_, data=places | {"sequence": sequence} | more)


_STORY = [
    _told(Type.ITEM_SUBMITTED, 1, attempt=1, revision=0, state="submitted"),
    _told(Type.ITEM_COMPLETED, 2, attempt=1, revision=0, state="final", outcome="failed"),
    _told(Type.OUTPUTS_COLLECTED, 1, attempt=1, outputs_state="incomplete"),
    _told(Type.ITEM_COMPLETED, 3, attempt=1, revision=1, state="final", outcome="cancelled"),
    _told(Type.OUTPUTS_COLLECTED, 2, attempt=1, outputs_state="collected"),
    _told(Type.RUN_COMPLETED, 1, state="failed"),
]


def test_events_in_any_order_and_again_lead_to_the_same_end() -> None:
    for seed in range(50):
        subscriber = Subscriber()
        for event in random.Random(seed).sample(_STORY * 2, len(_STORY) * 2):
            subscriber.apply(event)

        assert subscriber.items["r", "t"]["outcome"] == "cancelled"
        assert subscriber.collected["r", "t"]["outputs_state"] == "collected"
        assert subscriber.runs["r"]["state"] == "failed"
        assert subscriber.verdicts["r", "t"] == {(1, 0, 2), (1, 1, 3)}


def test_one_id_for_two_facts_and_one_fact_told_in_two_ways_are_contradictions() -> None:
    first, second = _STORY[1], _STORY[3]

    assert contradictions([*_STORY, *_STORY]) == []
    assert len(contradictions([first, Heard(id=first.id, type=second.type, data=second.data)])) == 2
    assert len(contradictions([first, Heard(id="another", type=first.type, data=first.data)])) == 1
