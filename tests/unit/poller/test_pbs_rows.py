"""What PBS's records mean: recordings of every way to end and every state, and whatever else may be printed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common.errors import BadOutput
from scripthut_common.events import Outcome
from scripthut_common.shell import Answer
from scripthut_poller.schedulers.job import ABSENT, Action, JobState, Seen
from scripthut_poller.schedulers.pbs import Pbs, answers, lookups, rows
from tests.unit.poller import pbs_recorded as recorded
from tests.unit.poller.pbs_recorded import MARK, answer, block, chunked, unknown

# Recording, job, outcome, exit code, signal.
ENDS: list[tuple[str, str, Outcome | None, int | None, int | None]] = [
    ("job_success.x_f_json", "1.pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_exit1.x_f_json", "2.pbs01", Outcome.FAILED, 1, None),
    ("job_exit2.x_f_json", "3.pbs01", Outcome.FAILED, 2, None),
    ("job_exit137.x_f_json", "4.pbs01", Outcome.FAILED, 137, 9),
    ("job_child_kill9.x_f_json", "5.pbs01", Outcome.FAILED, 137, 9),
    ("job_kill9.x_f_json", "6.pbs01", Outcome.FAILED, 137, 9),
    ("job_kill15.x_f_json", "7.pbs01", Outcome.FAILED, 143, 15),
    ("job_segv.x_f_json", "8.pbs01", Outcome.FAILED, 139, 11),
    ("job_kill_shell.x_f_json", "103.pbs01", Outcome.FAILED, None, 9),
    ("job_exec_kill.x_f_json", "104.pbs01", Outcome.FAILED, None, 9),
    ("job_noexec.x_f_json", "13.pbs01", Outcome.FAILED, 127, None),
    ("job_qsk.x_f_json", "125.pbs01", Outcome.FAILED, 137, 9),
    ("job_walltime.x_f_json", "9.pbs01", Outcome.TIMED_OUT, None, None),
    ("job_walltime_trap.x_f_json", "10.pbs01", Outcome.TIMED_OUT, None, None),
    ("job_cput.x_f_json", "11.pbs01", Outcome.FAILED, 137, 9),
    ("job_badout.x_f_json", "12.pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_odir2.x_f_json", "122.pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_stage_bad.x_f_json", "111.pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_qdel_q.x_f_json", "17.pbs01", Outcome.CANCELLED, None, None),
    ("job_qdel_r.x_f_json", "18.pbs01", Outcome.CANCELLED, None, 15),
    ("job_qf.x_f_json", "126.pbs01", Outcome.CANCELLED, None, 9),
    ("job_qt.x_f_json", "127.pbs01", Outcome.CANCELLED, None, None),
    ("job_qig.x_f_json", "128.pbs01", Outcome.CANCELLED, None, 15),
    ("job_badpro1.x_f_json", "118.pbs01", Outcome.FAILED, None, None),
    ("job_badpro2.x_f_json", "119.pbs01", None, None, None),
    ("job_rerun2.x_f_json", "124.pbs01", Outcome.SUCCEEDED, 0, None),
    ("mom_down_norerun.x_f_json", "5287.pbs01", Outcome.NODE_FAILED, None, None),
    ("job_dep_afterok.x_f_json", "25.pbs01", Outcome.DEPENDENCY_FAILED, None, None),
    ("job_dep_afternotok.x_f_json", "26.pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_dep_afterany.x_f_json", "27.pbs01", Outcome.SUCCEEDED, 0, None),
    # Not over, or moved out of sight: the exit status of a run before says nothing.
    ("rerun_Q.f_json", "124.pbs01", None, None, None),
    ("rerun_R_stale_exit.f_json", "5286.pbs01", None, None, None),
    ("mom_down_requeued.f_json", "5286.pbs01", None, None, None),
    ("state_E.f_json", "122.pbs01", None, None, None),
    ("state_M.x_f_json", "5306.pbs01", None, None, None),
    # Arrays: the status of the whole is that of the last element, its substate is right.
    ("job_arr_mix.x_t_f_json", "129[].pbs01", Outcome.FAILED, None, None),
    ("job_arr_mix.x_t_f_json", "129[1].pbs01", Outcome.FAILED, 7, None),
    ("job_arr_mix.x_t_f_json", "129[2].pbs01", Outcome.SUCCEEDED, 0, None),
    ("job_arr_mix.x_t_f_json", "129[3].pbs01", Outcome.FAILED, None, 9),
    ("job_arr_mix_running.t_f_json", "129[].pbs01", None, None, None),
    ("job_arr_mix_running.t_f_json", "129[1].pbs01", Outcome.FAILED, 7, None),
    ("job_arr_mix_running.t_f_json", "129[4].pbs01", None, None, None),
    ("job_arr_pct.x_t_f_json", "134[].pbs01", Outcome.SUCCEEDED, None, None),
    ("job_arr_firstfail.x_t_f_json", "133[].pbs01", Outcome.FAILED, None, None),
    ("job_arr_delq.x_t_f_json", "135[].pbs01", Outcome.CANCELLED, None, None),
    # The array's attributes in place of an element's own.
    ("job_arr_delq.x_t_f_json", "135[0].pbs01", None, None, None),
    ("job_arr_run_del.x_t_f_json", "22[3].pbs01", None, None, None),
    ("job_arr_run_subdel.x_t_f_json", "22[3].pbs01", Outcome.CANCELLED, None, 15),
    ("hist_off_arr.t_f_json", "5295[0].pbs01", None, None, None),
]

# Recording, job, state, has a start, reason begins with.
SIGHTINGS: list[tuple[str, str, JobState, bool, str | None]] = [
    (
        "job_future_q.f_json",
        "16.pbs01",
        JobState.QUEUED,
        False,
        "Can Never Run: Insufficient amount of resource",
    ),
    ("job_held.f_json", "14.pbs01", JobState.QUEUED, False, "held"),
    ("job_waiting.f_json", "15.pbs01", JobState.QUEUED, False, "waits for its time"),
    ("job_stagein_bad.x_f_json", "112.pbs01", JobState.QUEUED, False, "waits for its time"),
    ("job_long.f_json", "19.pbs01", JobState.RUNNING, True, None),
    ("state_R_prologue.f_json", "120.pbs01", JobState.QUEUED, False, "Job"),
    # A short script may be over before its node has told the server that it began.
    ("state_R_epilogue.f_json", "121.pbs01", JobState.QUEUED, False, "Job run at"),
    ("job_badpro2.x_f_json", "119.pbs01", JobState.QUEUED, False, "Job run at"),
    ("state_E.f_json", "122.pbs01", JobState.RUNNING, True, None),
    ("state_S.f_json", "123.pbs01", JobState.RUNNING, True, None),
    ("state_T.f_json", "5284.pbs01", JobState.QUEUED, False, "in transit"),
    ("state_M.x_f_json", "5306.pbs01", JobState.ODD, False, "Job has been moved"),
    ("state_Q_route.f_json", "5283.pbs01", JobState.QUEUED, False, None),
    ("rerun_Q.f_json", "124.pbs01", JobState.QUEUED, False, "Job was sent for execution"),
    ("rerun_R_stale_exit.f_json", "5286.pbs01", JobState.RUNNING, True, None),
    ("mom_down_requeued.f_json", "5286.pbs01", JobState.QUEUED, False, "Not Running: Not enough free nodes"),
    ("job_arr_run.f_json", "22[].pbs01", JobState.RUNNING, True, None),
    ("job_arr_run_sub1.f_json", "22[1].pbs01", JobState.RUNNING, True, None),
    ("job_arr_run_sub9.f_json", "22[9].pbs01", JobState.QUEUED, False, "Job Array Began"),
]


@pytest.mark.parametrize(("name", "job_id", "outcome", "exit_code", "signal"), ENDS)
def test_how_recorded_jobs_ended(
    name: str, job_id: str, outcome: Outcome | None, exit_code: int | None, signal: int | None
) -> None:
    row = recorded.accounted(name, job_id)

    assert (row.outcome, row.exit_code, row.signal) == (outcome, exit_code, signal)


@pytest.mark.parametrize(("name", "job_id", "state", "has_start", "reason"), SIGHTINGS)
def test_how_the_queue_holds_recorded_jobs(
    name: str, job_id: str, state: JobState, has_start: object, reason: str | None
) -> None:
    queue = recorded.queue(recorded.row(job_id, recorded.jobs_of_json(name)[job_id]), job_id)

    seen = queue.look(job_id)
    assert isinstance(seen, Seen)
    assert (seen.job.state, seen.job.started_at is not None) == (state, has_start)
    assert reason is None or (seen.job.reason or "").startswith(reason)


@pytest.mark.parametrize("name", ["job_success.x_f_json", "job_qdel_q.x_f_json", "job_arr_mix.x_t_f_json"])
def test_what_is_over_is_not_in_the_queue(name: str) -> None:
    for job_id, fields in recorded.jobs_of_json(name).items():
        assert recorded.queue(recorded.row(job_id, fields), job_id).look(job_id) is ABSENT


@pytest.mark.parametrize(
    ("version", "name", "job_id", "outcome"),
    [
        ("replay-v19.1.3", "plain.f_json", "1.pbs01", Outcome.SUCCEEDED),
        ("replay-v20.0.1", "plain.f_json", "1.pbs01", Outcome.SUCCEEDED),
        ("master", "job_success.x_f_json", "1.pbs01", Outcome.SUCCEEDED),
        ("master", "job_kill_shell.x_f_json", "103.pbs01", Outcome.FAILED),
        ("master", "job_walltime.x_f_json", "9.pbs01", Outcome.TIMED_OUT),
        ("master", "job_arr.x_t_f_json", "21[3].pbs01", Outcome.FAILED),
    ],
)
def test_other_versions_have_the_same_attributes(version: str, name: str, job_id: str, outcome: Outcome) -> None:
    assert recorded.accounted(name, job_id, version).outcome is outcome


@pytest.mark.parametrize("version", ["v23.06.06", "master"])
def test_a_whole_recorded_history_reads_the_same_in_both_formats(version: str) -> None:
    output = recorded.rows_of_dsv("all_x_f_dsv", version)
    ids = recorded.ids_of(output)
    from_json = recorded.jobs_of_json("all_x_t_f_json", version)

    accounts = recorded.accounts(output, *ids)

    assert len(ids) > 200
    for job_id in set(ids) & set(from_json):
        assert accounts.rows[job_id][0] == recorded.accounted("all_x_t_f_json", job_id, version)


def test_times_and_node_are_told() -> None:
    row = recorded.accounted("job_success.x_f_json", "1.pbs01")

    assert row.submitted_at == datetime(2026, 11, 23, 6, 26, 54, tzinfo=UTC)
    assert row.started_at == datetime(2026, 11, 23, 6, 26, 54, tzinfo=UTC)
    assert row.ended_at == datetime(2026, 11, 23, 6, 26, 57, tzinfo=UTC)
    assert row.node == "pbs01"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Sun Nov  1 00:00:09 2026", datetime(2026, 11, 1, 0, 0, 9, tzinfo=UTC)),
        ("1795415214", datetime(2026, 11, 23, 6, 26, 54, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_both_spellings(text: str, at: datetime) -> None:
    assert answers.time_of({"ctime": text}, "obittime", "ctime") == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "Mon Foo 23 06:26:54 2026", "Mon Nov 31 06:26:54 2026", "-1", "9" * 13]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadOutput):
        answers.time_of({"ctime": text}, "ctime")


@pytest.mark.parametrize("version", ["v23.06.06", "master"])
@pytest.mark.parametrize(
    "name",
    ["unicode", "comma_esc", "backslash", "trail_bs", "newline", "tab", "ctrl", "empty", "dup", "pipe", "latin1"],
)
def test_users_hostile_variables_hide_nothing_of_their_own_job(version: str, name: str) -> None:
    output = recorded.rows_of_dsv(f"dsv_var_{name}.f_dsv", version)
    (job_id,) = recorded.ids_of(output)

    seen = recorded.queue(output, job_id).look(job_id)

    assert isinstance(seen, Seen)
    assert (seen.job.state, seen.job.word) == (JobState.QUEUED, "H")


def test_a_job_that_is_neither_shown_nor_refused_is_not_absent() -> None:
    hidden = answer(block(""), block(""))

    queue = rows.queue(hidden, MARK, chunked("19.pbs01"), ["19.pbs01"])
    accounts = rows.accounts(hidden, MARK, chunked("19.pbs01"))

    assert isinstance(queue.look("19.pbs01"), Seen)
    assert queue.jobs["19.pbs01"].state is JobState.ODD
    assert accounts.rows["19.pbs01"][0].outcome is None


def test_only_a_refusal_with_its_reason_proves_that_a_job_is_not_there() -> None:
    shown = recorded.row("19.pbs01", recorded.jobs_of_json("job_long.f_json")["19.pbs01"])
    ids = ["19.pbs01", "2.pbs01", "999.pbs01"]

    queue = rows.queue(answer(block(shown), unknown("999.pbs01")), MARK, chunked(*ids), ids)

    assert isinstance(queue.look("19.pbs01"), Seen)
    assert queue.look("2.pbs01") is ABSENT
    assert queue.look("999.pbs01") is ABSENT


def test_an_answer_without_the_second_question_is_refused() -> None:
    shown = recorded.row("19.pbs01", recorded.jobs_of_json("job_long.f_json")["19.pbs01"])

    with pytest.raises(BadOutput, match="less often"):
        rows.queue(answer(block(shown)), MARK, chunked("19.pbs01", "2.pbs01"), [])
    with pytest.raises(BadOutput, match="more often"):
        rows.queue(answer(block(shown), unknown("2.pbs01")), MARK, chunked("19.pbs01"), [])


@pytest.mark.parametrize(
    "name", ["E_badid", "down_refused_E", "down_unresolvable", "err_badid", "noconf", "nopath", "other_server_id"]
)
def test_what_nobody_understands_proves_nothing(name: str) -> None:
    status, complaint = recorded.said(name)

    with pytest.raises(BadOutput, match="exit status"):
        rows.queue(answer(block("", status, complaint)), MARK, chunked("2.pbs01"), ["2.pbs01"])


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (0, "pbs_iff: all reserved ports in use"),
        (153, ""),
        (153, "qstat: Unknown queue destination x"),
        (153, "qstat: Unknown Job Id 2.pbs01\npbs_iff: all reserved ports in use"),
        (124, ""),
        (137, ""),
        (1, ""),
    ],
)
def test_an_exit_status_without_its_complaint_or_the_reverse_proves_nothing(status: int, complaint: str) -> None:
    with pytest.raises(BadOutput):
        rows.accounts(answer(block("", status, complaint)), MARK, chunked("2.pbs01"))


def test_ids_of_a_server_that_is_none_hold_up_no_others() -> None:
    shown = recorded.row("19.pbs01", recorded.jobs_of_json("job_long.f_json")["19.pbs01"])
    status, complaint = recorded.said("other_server_id")
    ids = ["2.otherhost", "19.pbs01", "20.pbs01"]
    told = answer(block(shown), unknown("20.pbs01"), block("", status, complaint, chunk=1))

    assert chunked(*ids) == [["19.pbs01", "20.pbs01"], ["2.otherhost"]]
    queue = rows.queue(told, MARK, chunked(*ids), ids)
    assert queue.jobs["19.pbs01"].state is JobState.RUNNING
    assert queue.look("20.pbs01") is ABSENT
    assert queue.jobs["2.otherhost"].state is JobState.ODD
    with pytest.raises(BadOutput, match="otherhost"):
        rows.accounts(told, MARK, chunked(*ids))


def test_when_no_server_answers_nothing_is_proven() -> None:
    down, other = recorded.said("down_refused_E"), recorded.said("other_server_id")
    told = answer(block("", *down), block("", *other, chunk=1))

    with pytest.raises(BadOutput, match="cannot connect"):
        rows.queue(told, MARK, chunked("19.pbs01", "20.pbs01", "2.otherhost"), [])


def test_a_chunk_that_was_not_asked_for_is_one_of_a_server_that_failed_or_after_one_that_hung() -> None:
    shown = recorded.row("19.pbs01", recorded.jobs_of_json("job_long.f_json")["19.pbs01"])
    ids = ["19.pbs01", "2.otherhost"]

    with pytest.raises(BadOutput, match="was not asked"):
        rows.queue(answer(block(shown)), MARK, chunked(*ids), ids)
    with pytest.raises(BadOutput, match="no answer from the PBS server"):
        rows.queue(answer(block("", 124)), MARK, chunked(*ids), ids)


@pytest.mark.parametrize("name", ["hist_off_x_id", "hist_off_vanished_x", "hist_off_arr_x_t"])
def test_without_history_there_is_no_accounting(name: str) -> None:
    status, complaint = recorded.said(name)

    accounts = rows.accounts(answer(block("", status, complaint)), MARK, chunked("5293.pbs01"))

    assert not accounts.is_kept
    assert accounts.look("5293.pbs01") is None


def test_an_id_that_is_none_of_pbs_is_surfaced_and_hides_no_other() -> None:
    shown = recorded.row("19.pbs01", recorded.jobs_of_json("job_long.f_json")["19.pbs01"])

    question = Pbs().queue(["19.pbs01", "19.pbs01", "", "12x", "2,3", "-x", "4"])

    assert question.stdin == b"pbs01 19.pbs01\n"
    queue = rows.queue(answer(block(shown)), MARK, chunked("19.pbs01"), ["19.pbs01", "", "12x"])
    assert queue.jobs["19.pbs01"].state is JobState.RUNNING
    assert queue.jobs["12x"].state is JobState.ODD


@pytest.mark.parametrize(
    "job_id", ["", "2", "12x", "2,3.pbs01", "22[1-5].pbs01", "-x.pbs01", "1.pbs01 2", "1.pbs01\n", "1.-D"]
)
def test_what_is_no_job_id_reaches_no_command_line_and_hides_no_other(job_id: str) -> None:
    done = Answer(stdout=b"", stderr=b"", exit_status=0)

    acts = [Pbs().act(action, ["1.pbs01", job_id]) for action in Action]

    assert Pbs().accounting(["1.pbs01", job_id]).stdin == b"pbs01 1.pbs01\n"
    assert [(act.argv, act.parse(done)) for act in acts] == [(("1.pbs01",), {job_id: "this is not a PBS job id"})] * 2


def test_ten_thousand_ids_are_asked_for_by_the_thousand() -> None:
    lines = Pbs().queue([f"{n}.pbs01" for n in range(10_000)]).stdin.splitlines()

    assert [len(line.split()) for line in lines] == [1001] * 10


def test_nobody_forges_a_record_or_a_field() -> None:
    fields = dict(recorded.jobs_of_json("job_long.f_json")["19.pbs01"])
    fields["Job_Name"] = "x\\nJob Id: 2.pbs01|job_state=F|Exit_status=0"
    fields["comment"] = '"\x00\x1b[2J|job_state=F Job Id: 3.pbs01'

    queue = recorded.queue(recorded.row("19.pbs01", fields), "19.pbs01")

    assert set(queue.jobs) == {"19.pbs01"}
    assert queue.jobs["19.pbs01"].state is JobState.RUNNING


@pytest.mark.parametrize(
    "output",
    [
        "Welcome to the cluster!\n",
        "Job Id: 19.pbs01\n",
        f"Job Id: 19.pbs01{MARK}job_stateR\n",
        f"Job Id: 19.pbs01{MARK}job_state=R{MARK}job_state=F\n",
        f"Job Id: 20.pbs01{MARK}job_state=R\n",
        f"Job Id: 19.pbs01{MARK}job_state=R\nJob Id: 19.pbs01{MARK}job_state=F\n",
        f"Job Id: 19.pbs01{MARK}job_state=R{MARK}ctime=yesterday\n",
        f"x Job Id: 19.pbs01{MARK}job_state=R\n",
    ],
)
def test_a_record_that_cannot_be_read_proves_no_absence(output: str) -> None:
    with pytest.raises(BadOutput):
        recorded.queue(output, "19.pbs01")


def test_an_exit_status_that_is_no_number_is_refused() -> None:
    fields = {**recorded.jobs_of_json("job_success.x_f_json")["1.pbs01"], "Exit_status": "0x0"}

    with pytest.raises(BadOutput, match="exit status"):
        recorded.accounts(recorded.row("1.pbs01", fields), "1.pbs01")


def test_any_prefix_of_a_recorded_answer_is_refused() -> None:
    ids = ["1.pbs01", "999.pbs01"]
    whole = answer(block(recorded.rows_of_dsv("job_success.x_f_dsv")), unknown("999.pbs01"))
    assert rows.accounts(whole, MARK, chunked(*ids)).rows.keys() == {"1.pbs01"}

    for cut in range(len(whole.stdout)):
        with pytest.raises(BadOutput):
            rows.accounts(Answer(stdout=whole.stdout[:cut], stderr=b"", exit_status=0), MARK, chunked(*ids))


@given(st.binary(max_size=200) | st.text(max_size=80).map(block))
def test_whatever_is_printed_is_read_or_refused(stdout: bytes) -> None:
    given_ = Answer(stdout=b"1795415327\n" + stdout, stderr=b"", exit_status=0)
    for read in (
        lambda: rows.queue(given_, MARK, chunked("1.pbs01"), ["1.pbs01"]),
        lambda: rows.accounts(given_, MARK, chunked("1.pbs01")),
        lambda: lookups.parse(given_, MARK, frozenset({"r/t"}), 1e7),
    ):
        try:
            read()
        except BadOutput:
            continue
