"""What one round may ask for, and what it makes of the answers."""

from datetime import timedelta

import msgspec

from scripthut_common.events import ItemState
from scripthut_poller import evidence, records, schedulers
from scripthut_poller.evidence import Evidence
from scripthut_poller.records import Trace
from scripthut_poller.schedulers import job
from scripthut_poller.schedulers.job import ABSENT, Accounts, Queue
from scripthut_poller.transitions import Source
from scripthut_poller.watchlist.items import Item
from tests.integration.poller.told import AT

ITEM = Item(
    run_id="r1",
    run_name="r1",
    owner="ada",
    cluster="here",
    task_id="t",
    task_name="t",
    position=0,
    state=ItemState.SETTLING,
    log_dir="/logs",
    job_id="1",
    nonce="n",
)
BOTH = frozenset(Source)
MOST = records.MAX_RECORDS
EMPTY = Queue(jobs={}, at=AT)


def _items(count: int) -> list[Item]:
    return [msgspec.structs.replace(ITEM, task_id=f"t{n}") for n in range(count)]


def test_what_does_not_fit_into_one_command_waits_for_the_next_round() -> None:
    items = _items(records.MAX_RECORDS + 5)

    chosen = evidence.within_limits(items, dict.fromkeys((item.key for item in items), frozenset({Source.RECORD})))

    assert chosen == items[: records.MAX_RECORDS]


def test_what_has_no_verdict_yet_and_was_looked_at_longest_ago_comes_first() -> None:
    items = [
        msgspec.structs.replace(one, observed_at=AT - timedelta(seconds=n)) for n, one in enumerate(_items(MOST + 1))
    ]
    ended = [msgspec.structs.replace(one, task_id=f"e{n}", state=ItemState.FINAL) for n, one in enumerate(items)]
    wanted = [*ended, *items]

    chosen = evidence.within_limits(wanted, dict.fromkeys((item.key for item in wanted), frozenset({Source.RECORD})))

    assert chosen == items[: -MOST - 1 : -1]


def test_items_that_want_nothing_are_judged_however_many_there_are() -> None:
    items = _items(schedulers.MAX_IDS + 5)
    wants = dict.fromkeys((item.key for item in items), BOTH) | {items[-1].key: frozenset()}

    chosen = evidence.within_limits(items, wants)

    assert len(chosen) == schedulers.MAX_IDS + 1
    assert chosen[-1] is items[-1]


def test_a_source_that_did_not_answer_says_so_for_every_item() -> None:
    away = job.Unreachable(reason="sacct: connection refused")

    found = Evidence(traces={}, accounts=away)

    assert found.fault == "sacct: connection refused"
    seen = found.observation(ITEM, EMPTY, BOTH)
    assert (seen.queue, seen.trace, seen.accounting) == (ABSENT, Trace(), away)


def test_a_source_that_was_not_asked_says_nothing() -> None:
    found = Evidence(traces={}, accounts=Accounts(rows={}, at=AT))

    seen = found.observation(ITEM, EMPTY, frozenset())

    assert (seen.trace, seen.accounting, found.fault) == (None, None, None)


def test_a_cluster_without_accounting_has_no_such_source() -> None:
    found = Evidence(traces={}, accounts=Accounts(rows={}, at=AT, is_kept=False))

    assert found.observation(ITEM, EMPTY, BOTH).accounting is None


def test_jobs_that_others_submitted_have_no_record_of_ours() -> None:
    theirs = msgspec.structs.replace(ITEM, nonce=None)

    assert Evidence(traces={}, accounts=None).observation(theirs, EMPTY, BOTH).trace is None


def test_records_of_so_many_accounts_are_read_in_a_round_and_refused_ones_take_no_room() -> None:
    accounts = [f"u{n}" for n in range(evidence.MAX_ACCOUNTS + 2)]
    items = [msgspec.structs.replace(one, job_user=accounts[n]) for n, one in enumerate(_items(len(accounts)))]
    wants = dict.fromkeys((item.key for item in items), BOTH)

    chosen = evidence.within_limits(items, wants)
    besides = evidence.within_limits(items, wants, refused=accounts[:2])
    together = evidence.within_limits(items, wants, whose=lambda _: None)

    assert chosen == items[: evidence.MAX_ACCOUNTS]
    assert besides == items
    assert together == items


def test_what_one_account_refuses_is_unknown_of_its_items_alone() -> None:
    theirs = msgspec.structs.replace(ITEM, task_id="theirs", job_user="bob")
    away = job.Unreachable(reason="cluster 'here' as bob: sudo does not let us")

    found = Evidence(traces={theirs.key: away}, accounts=None, refused={"bob": away.reason})

    assert found.observation(theirs, EMPTY, BOTH).trace == away
    assert found.observation(ITEM, EMPTY, BOTH).trace == Trace()
    assert (found.is_whole, found.fault) == (True, away.reason)
    assert Evidence(traces={}, accounts=None, away="away").is_whole is False
