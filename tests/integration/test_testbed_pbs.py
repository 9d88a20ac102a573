"""The stand-in for PBS says what the recorded commands said, in their layout."""

import json
from pathlib import Path

import pytest

from tests.testbed.accounts import ALICE, BOB
from tests.testbed.pbs import PbsCluster
from tests.testbed.processes import ServerError, wait_until
from tests.testbed.sshd import Sshd

RECORDINGS = Path(__file__).parents[1] / "recordings" / "pbs" / "v23.06.06"
ASK = "qstat -E -x -f -F dsv -D '|'"


def _recorded(name: str) -> str:
    lines = map(json.loads, (RECORDINGS / "index.jsonl").read_text().splitlines())
    said: str = next(line["stderr"] for line in lines if line["name"] == name)
    return said.strip()


def _said(login: Sshd, command: str, user: str = ALICE) -> str:
    """Run a command that fails, and return what it complained of."""
    with pytest.raises(ServerError) as failure:
        login.run(user, command)
    return str(failure.value)


def _names(row: str) -> list[str]:
    return [pair.partition("=")[0] for pair in row.strip().split("|")[1:]]


def _pairs(row: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in row.strip().split("|")[1:])


def _variables(listed: str) -> list[str]:
    return [pair.partition("=")[0] for pair in listed.split(",")]


def _submitted(login: Sshd, script: str, user: str = ALICE) -> str:
    return login.run(user, "qsub -o /dev/null -e /dev/null", script).strip()


def test_a_record_has_the_attributes_of_a_recorded_one_in_their_order(pbs: PbsCluster, pbs_login: Sshd) -> None:
    job_id = _submitted(pbs_login, "exit 0")
    wait_until(lambda: "|job_state=F|" in pbs_login.run(ALICE, f"{ASK} {job_id}"), "the job to end")

    row = pbs_login.run(ALICE, f"{ASK} {job_id}")

    recorded = _names((RECORDINGS / "job_success.x_f_dsv.stdout").read_text())
    assert row.startswith(f"Job Id: {job_id}|")
    assert [name for name in recorded if name in _names(row)] == _names(row)
    assert "|substate=92|" in row


def test_variables_and_elements_are_told_as_recorded(pbs: PbsCluster, pbs_login: Sshd) -> None:
    one = pbs_login.run(ALICE, "qsub -h -v 'T_C=a\\,b,T_D=2'", "true").strip()
    array = pbs_login.run(ALICE, "qsub -h -J 0-5", "true").strip()

    rows = [_pairs(pbs_login.run(ALICE, f"{ASK} '{job_id}'")) for job_id in (one, array)]

    recorded = _pairs((RECORDINGS / "dsv_var_comma_esc.f_dsv.stdout").read_text())["Variable_List"]
    kept = "T_C=a\\,b,T_D=2,PBS_O_QUEUE=workq,PBS_O_HOST=pbs01"
    assert recorded.endswith(f",{kept}")
    assert rows[0]["Variable_List"].endswith(f",{kept}")
    assert _variables(rows[0]["Variable_List"]) == _variables(recorded)
    of_array = json.loads((RECORDINGS / "job_arr.x_t_f_json.stdout").read_text())["Jobs"]["21[].pbs01"]
    for name in ("array", "array_indices_submitted"):
        assert rows[1][name] == of_array[name]
    pbs_login.run(ALICE, f"qdel {one} '{array}'")


def test_complaints_are_the_recorded_ones(pbs: PbsCluster, pbs_login: Sshd) -> None:
    of_bob = _submitted(pbs_login, "sleep 30", BOB)
    wanted = {
        f"{ASK} 999998.pbs01 999999.pbs01": _recorded("E_unknown_only"),
        f"{ASK} 2.pbs01 12x 3.pbs01": _recorded("E_badid"),
        "qsub -q nosuch < /dev/null": _recorded("qsub_badqueue"),
        "qsub -l nosuchres=1 < /dev/null": _recorded("qsub_badres"),
        "qsub -J 5-1 < /dev/null": _recorded("qsub_badarr").partition("\n")[0],
        "qdel 999999.pbs01": _recorded("qdel_unknown"),
        f"qdel {of_bob}": _recorded("qdel_other_user").replace("19.pbs01", of_bob),
    }

    said = {command: _said(pbs_login, command) for command in wanted}

    assert {command: wanted[command] in text for command, text in said.items()} == dict.fromkeys(wanted, True)
    pbs_login.run(BOB, f"qdel {of_bob}")


def test_a_server_that_is_down_says_what_it_said(pbs: PbsCluster, pbs_login: Sshd) -> None:
    pbs.server.stop()

    assert _recorded("down_refused_E") in _said(pbs_login, f"{ASK} 1.pbs01")
    assert _recorded("down_refused_qdel") in _said(pbs_login, "qdel 19")
    assert _recorded("down_refused_qsub") in _said(pbs_login, "qsub < /dev/null")
    assert _recorded("down_refused_qselect") in _said(pbs_login, "qselect")


def test_a_job_outlives_a_restart_of_the_server(pbs: PbsCluster, pbs_login: Sshd) -> None:
    job_id = _submitted(pbs_login, "sleep 2; exit 5")
    wait_until(lambda: "|job_state=R|" in pbs_login.run(ALICE, f"{ASK} {job_id}"), "the job to begin")

    pbs.server.restart()
    wait_until(lambda: "|job_state=F|" in pbs_login.run(ALICE, f"{ASK} {job_id}"), "the job to end")

    assert "|Exit_status=5|" in pbs_login.run(ALICE, f"{ASK} {job_id}")
