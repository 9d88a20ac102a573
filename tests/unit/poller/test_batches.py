"""From items to submissions, from receipts to what became of the items."""

from datetime import UTC, datetime

import msgspec
import pytest

from scripthut_common.events import ItemState, Outcome
from scripthut_common.tasks import TaskSpec
from scripthut_poller.schedulers.job import Fate, Receipt
from scripthut_poller.submitting.batches import deferred, fates_of, submission
from scripthut_poller.watchlist.dependencies import Ready
from scripthut_poller.watchlist.items import Item, places
from scripthut_poller.watchlist.recording import End
from scripthut_poller.watchlist.submissions import Handed

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

ITEM = Item(
    run_id="r1",
    run_name="r1",
    owner="ada",
    cluster="here",
    task_id="t",
    task_name="a $(name)\n",
    position=0,
    state=ItemState.PENDING,
    log_dir="/logs",
    task=TaskSpec(id="t", command="true", working_dir="~/work", cpus=2, deps=("p",)),
    nonce="n",
    is_held=True,
)
PLACED = msgspec.structs.replace(ITEM, **places("/logs", "r1", "t"))


def test_a_submission_names_absolute_paths_and_nothing_that_a_user_chose_freely() -> None:
    parent = msgspec.structs.replace(PLACED, task_id="p")

    made = submission(Ready(item=PLACED, after_ids=("7",), after=(parent,)), "/home/ada")

    assert (made.tag, made.job_name) == ("r1/t", "t")
    assert (made.records_dir, made.stdout_path) == ("/logs/outputs/r1/_run", "/logs/scripthut_r1_t.out")
    assert (made.after_ids, made.after_tags, made.is_held, made.cpus) == (("7",), ("r1/p",), True, 2)
    assert b"/home/ada/work" in made.script


def test_an_item_without_paths_is_not_submitted() -> None:
    with pytest.raises(ValueError, match="r1/t is not ready"):
        submission(Ready(item=ITEM), "/home/ada")


@pytest.mark.parametrize(
    ("fate", "end"),
    [
        (Fate.ACCEPTED, Handed(job_id="7", submitted_at=AT)),
        (Fate.REFUSED, End(outcome=Outcome.SUBMISSION_FAILED, reason="words")),
        (Fate.DEFERRED, None),
        (Fate.ORPHANED, None),
        (Fate.UNSURE, None),
    ],
)
def test_receipts_say_what_became_of_items(fate: Fate, end: Handed | End | None) -> None:
    receipt = Receipt(
        tag="r1/t", fate=fate, job_id="7" if fate is Fate.ACCEPTED else None, message="words", submitted_at=AT
    )

    assert fates_of([Ready(item=PLACED)], [receipt]).get(PLACED.key) == end


def test_only_what_was_surely_not_submitted_may_be_tried_again_at_once() -> None:
    again = [fate for fate in Fate if deferred([Ready(item=PLACED)], [Receipt(tag="r1/t", fate=fate)])]

    assert again == [Fate.DEFERRED, Fate.ORPHANED]
