"""Asking for outputs once more: one task's, or all that a run has not whole; by API and page."""

import pytest

from scripthut_outputs.ledger import OutputsState
from tests.integration.outputs.house import House, ended, item

_TASK = "/runs/r1/tasks/t0"


async def _stand(house: House, state: OutputsState, task_id: str = "t0", *, failures: int = 0) -> None:
    """Let a task that has ended have come so far."""
    await house.apply(ended(task_id))
    of_task = f"WHERE task_id = '{task_id}'"
    due = "now() + interval '10 minutes'" if failures else "NULL"
    async with house.database.transaction() as connection:
        await connection.exec_driver_sql(f"UPDATE outputs.items SET outputs_state = '{state}' {of_task}")
        await connection.exec_driver_sql(
            f"UPDATE outputs.collections SET due_at = {due}, failures = {failures}, reason = 'why', is_alone = true "
            f"{of_task}"
        )


_DUE = "SELECT due_at <= now(), failures, reason, is_alone, wanted FROM outputs.collections WHERE task_id = 't0'"


@pytest.mark.parametrize("state", [OutputsState.FAILED, OutputsState.INCOMPLETE, OutputsState.COLLECTED])
async def test_one_task_is_due_at_once_and_from_the_first_try_on(house: House, state: OutputsState) -> None:
    await _stand(house, state)

    answer = await house.post(f"{_TASK}/outputs/collect")

    assert (answer.status_code, answer.json()["outputs_state"]) == (202, "pending")
    assert await house.rows(_DUE) == [(True, 0, None, False, 2)]


async def test_a_page_asks_for_the_same(house: House) -> None:
    await _stand(house, OutputsState.FAILED)

    answer = await house.post(f"/ui{_TASK}/collect", origin="http://localhost:8080")

    assert answer.status_code == 303
    assert await house.rows(_DUE) == [(True, 0, None, False, 2)]


async def test_a_wish_while_it_is_collected_keeps_its_lease_and_raises_the_count(house: House) -> None:
    await _stand(house, OutputsState.COLLECTING)
    async with house.database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE outputs.collections SET lease = gen_random_uuid(), lease_until = now() + interval '1 minute'"
        )

    assert (await house.post(f"{_TASK}/outputs/collect")).status_code == 202

    assert await house.rows("SELECT wanted, lease IS NULL, due_at <= now() FROM outputs.collections") == [
        (2, False, True)
    ]


async def test_a_run_asks_for_all_that_it_has_not_whole_and_for_nothing_else(house: House) -> None:
    await _stand(house, OutputsState.FAILED, "failed")
    await _stand(house, OutputsState.INCOMPLETE, "incomplete")
    await _stand(house, OutputsState.PENDING, "postponed", failures=3)
    await _stand(house, OutputsState.COLLECTED, "collected")
    await house.apply(item("alive"))

    answer = await house.post("/runs/r1/outputs/collect")

    assert (answer.status_code, answer.json()) == (202, {"tasks": 3})
    query = "SELECT task_id FROM outputs.collections WHERE due_at <= now() AND wanted = 2 ORDER BY task_id"
    assert [row.task_id for row in await house.rows(query)] == ["failed", "incomplete", "postponed"]
    assert (await house.post("/runs/r1/outputs/collect")).json() == {"tasks": 0}


async def test_nobody_asks_for_what_is_not_theirs_or_not_there(house: House) -> None:
    await _stand(house, OutputsState.FAILED)

    theirs = await house.post("/runs/r1/outputs/collect", actor="bob")
    missing = await house.post("/runs/r9/outputs/collect", actor="bob")

    assert (theirs.status_code, theirs.content) == (404, missing.content)
    assert (await house.post("/runs/r9/outputs/collect", actor="root")).status_code == 404
    assert (await house.post("/runs/r1/outputs/collect", actor=None)).status_code == 401
    assert await house.rows("SELECT wanted FROM outputs.collections") == [(1,)]
    assert (await house.post("/runs/r1/outputs/collect", actor="root")).json() == {"tasks": 1}
