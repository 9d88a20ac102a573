"""The wire contract: golden JSON, stable ids, and what no input may do."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripthut_common import events
from scripthut_common.bus import COMMANDS_EXCHANGE, EVENTS, message_of
from scripthut_common.errors import BadMessage
from scripthut_common.events import (
    COMMANDS,
    CloudEvent,
    ClusterObserved,
    Evidence,
    ItemEvent,
    ItemState,
    Outcome,
    OutputsCollected,
    Payload,
    RunCancelRequested,
    RunCompleted,
    RunExtended,
    RunRequested,
    RunState,
    Type,
)
from scripthut_common.tasks import TaskSpec

GOLDEN = Path(__file__).parents[2] / "golden"
AT = datetime(2026, 3, 1, 12, 0, 30, 250_000, tzinfo=UTC)
POLLER, OUTPUTS = "/scripthut/poller", "/scripthut/outputs"
ITEM = ItemEvent(
    run_id="r1",
    run_name="Kármán vortex street",
    task_id="train-0",
    task_name="train, first of 3",
    position=0,
    cluster="daint",
    owner="ada",
    attempt=1,
    revision=0,
    sequence=2,
    state=ItemState.SUBMITTED,
    output_dir="/scratch/ada/outputs/r1/train-0",
    run_summary_path="/scratch/ada/outputs/r1/_run/train-0.md",
    stdout_path="/scratch/ada/scripthut_r1_train-0.out",
    stderr_path="/scratch/ada/scripthut_r1_train-0.err",
    job_id="42",
    job_submitted_at=AT,
    submitted_at=AT,
)
STARTED = msgspec.structs.replace(
    ITEM, sequence=3, state=ItemState.RUNNING, started_at=AT + timedelta(seconds=5), node="nid001234"
)
FAILED = msgspec.structs.replace(
    STARTED,
    sequence=5,
    state=ItemState.FINAL,
    outcome=Outcome.FAILED,
    confirmed=True,
    evidence=Evidence.EXIT_RECORD,
    exit_code=3,
    reason="the task ended with exit code 3",
    scheduler_word="FAILED",
    ended_at=AT + timedelta(minutes=2),
)
SAMPLES: dict[Type, tuple[str, Payload]] = {
    Type.ITEM_SUBMITTED: (POLLER, ITEM),
    Type.ITEM_CHANGED: (
        POLLER,
        msgspec.structs.replace(ITEM, sequence=4, state=ItemState.QUEUED, reason="Priority", scheduler_word="PENDING"),
    ),
    Type.ITEM_STARTED: (POLLER, STARTED),
    Type.ITEM_COMPLETED: (POLLER, FAILED),
    Type.OUTPUTS_COLLECTED: (
        OUTPUTS,
        OutputsCollected(
            run_id="r1",
            task_id="train-0",
            cluster="daint",
            owner="ada",
            attempt=1,
            sequence=1,
            outputs_state="incomplete",
            stored_files=7,
            left_out_files=2,
            stored_bytes=123_456,
        ),
    ),
    Type.RUN_EXTENDED: (
        POLLER,
        RunExtended(run_id="r1", cluster="daint", owner="ada", parent_task_id="plan", count=12, sequence=1),
    ),
    Type.RUN_COMPLETED: (
        POLLER,
        RunCompleted(
            run_id="r1",
            run_name="Kármán vortex street",
            cluster="daint",
            owner="ada",
            state=RunState.FAILED,
            sequence=2,
        ),
    ),
    Type.CLUSTER_OBSERVED: (
        POLLER,
        ClusterObserved(
            cluster="daint",
            state="unreachable",
            sequence=17,
            error="daint: the host key has changed",
            last_good_round_at=AT - timedelta(minutes=3),
            commands_per_minute=12.5,
        ),
    ),
    Type.RUN_REQUESTED: (
        OUTPUTS,
        RunRequested(
            run_id="r1",
            part=0,
            parts=2,
            document_sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            owner="ada",
            run_name="Kármán vortex street",
            cluster="daint",
            log_dir="~/scripthut",
            first_position=0,
            tasks=(
                TaskSpec(id="plan", command="echo plan"),
                TaskSpec(
                    id="train-0",
                    command="python3 train.py\n",
                    name="train, first of 3",
                    working_dir="~/vortex",
                    env={"SEED": "1"},
                    init=("module load python",),
                    partition="normal",
                    account="s1234",
                    cpus=4,
                    memory="8G",
                    time_limit="01:30:00",
                    gres="gpu:1",
                    deps=("plan",),
                ),
            ),
        ),
    ),
    Type.RUN_CANCEL_REQUESTED: (
        OUTPUTS,
        RunCancelRequested(run_id="r1", cluster="daint", requested_by="ada", requested_at=AT),
    ),
}


def sample(type_: Type) -> CloudEvent:
    source, payload = SAMPLES[type_]
    return events.event(type_, payload, source=source, at=AT)


def body_of(type_: Type, **changes: object) -> bytes:
    """The golden body with some fields of its data replaced."""
    wire = json.loads((GOLDEN / f"{type_}.json").read_bytes())
    wire["data"] |= changes
    return json.dumps(wire).encode()


@pytest.mark.parametrize("type_", list(Type))
def test_every_type_is_written_as_its_golden_file_says(type_: Type) -> None:
    assert json.loads(events.encode(sample(type_))) == json.loads((GOLDEN / f"{type_}.json").read_bytes())


@pytest.mark.parametrize("type_", list(Type))
def test_every_golden_file_is_read_back(type_: Type) -> None:
    assert events.decode((GOLDEN / f"{type_}.json").read_bytes()) == sample(type_)


def test_no_golden_file_is_without_its_type() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(Type)


@pytest.mark.parametrize("type_", list(Type))
def test_fields_of_later_versions_are_overlooked(type_: Type) -> None:
    wire = json.loads((GOLDEN / f"{type_}.json").read_bytes())
    wire |= {"traceparent": "00-abc-def-01", "extension": {"deep": [1, {}]}}
    wire["data"] |= {"colour": "blue", "nested": {"a": [None]}}

    assert events.decode(json.dumps(wire).encode()) == sample(type_)


def test_a_type_of_a_later_version_is_none_whatever_its_data() -> None:
    wire = json.loads((GOLDEN / "item.started.json").read_bytes()) | {"type": "item.teleported", "data": "?"}

    assert events.decode(json.dumps(wire).encode()) is None


@pytest.mark.parametrize("type_", list(Type))
def test_saying_the_same_twice_gives_the_same_id(type_: Type) -> None:
    source, payload = SAMPLES[type_]
    later = events.event(type_, payload, source=source, at=AT + timedelta(hours=1))

    assert later.id == sample(type_).id
    assert UUID(later.id).version == 5


def test_different_facts_have_different_ids() -> None:
    changes = ({"sequence": 3}, {"run_id": "r2"}, {"task_id": "train-1"}, {"cluster": "eiger"})
    others = [msgspec.structs.replace(ITEM, **change) for change in changes]
    told = [sample(type_) for type_ in Type]
    told += [events.event(Type.ITEM_SUBMITTED, other, source=POLLER, at=AT) for other in others]
    told.append(events.event(Type.ITEM_CHANGED, ITEM, source=POLLER, at=AT))

    assert len({one.id for one in told}) == len(told)


def test_parts_of_a_run_and_repeated_cancellations_are_told_apart() -> None:
    _, part = SAMPLES[Type.RUN_REQUESTED]
    other = msgspec.structs.replace(part, part=1)
    _, cancel = SAMPLES[Type.RUN_CANCEL_REQUESTED]
    again = msgspec.structs.replace(cancel, requested_at=AT + timedelta(seconds=1))
    elsewhere = msgspec.structs.replace(cancel, requested_at=AT.astimezone(timezone(timedelta(hours=2))))

    assert events.event(Type.RUN_REQUESTED, other, source=OUTPUTS, at=AT).id != sample(Type.RUN_REQUESTED).id
    cancelled = sample(Type.RUN_CANCEL_REQUESTED)
    assert events.event(Type.RUN_CANCEL_REQUESTED, again, source=OUTPUTS, at=AT).id != cancelled.id
    assert events.event(Type.RUN_CANCEL_REQUESTED, elsewhere, source=OUTPUTS, at=AT).id == cancelled.id


@pytest.mark.parametrize("type_", list(Type))
def test_messages_are_addressed_by_type_and_cluster_and_commands_apart(type_: Type) -> None:
    message = message_of(sample(type_))

    assert message.routing_key == f"{type_}.daint"
    assert message.exchange == (COMMANDS_EXCHANGE if type_ in COMMANDS else EVENTS)
    assert message.mandatory is (type_ is not Type.OUTPUTS_COLLECTED)


def test_events_name_their_subject() -> None:
    assert sample(Type.ITEM_STARTED).subject == "r1/train-0"
    assert sample(Type.RUN_COMPLETED).subject == "r1"
    assert sample(Type.CLUSTER_OBSERVED).subject == "daint"


def test_text_that_is_no_utf8_is_published_with_question_marks() -> None:
    said = msgspec.structs.replace(ITEM, reason="caf\udce9 \udcff", node="n\udc80")

    found = events.decode(events.encode(events.event(Type.ITEM_CHANGED, said, source=POLLER, at=AT)))

    assert found is not None
    assert found.data == msgspec.structs.replace(said, reason="caf? ?", node="n?")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"{",
        b'"text"',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"data":' * 200_000,
        b'{"specversion":"1.0","id":"\\ud800"',
    ],
)
def test_what_is_no_event_is_a_bad_message(body: bytes) -> None:
    with pytest.raises(BadMessage):
        events.decode(body)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1.0),
        ("id", ""),
        ("id", "x" * 257),
        ("id", 7),
        ("id", "nul\0"),
        ("time", "yesterday"),
        ("time", "2026-03-01T12:00:00"),
        ("time", "0001-01-01T00:00:00+14:00"),
        ("time", "9999-12-31T23:59:59-14:00"),
        ("time", 1772366400),
        ("data", None),
        ("data", []),
        ("data", {}),
        ("type", None),
        ("source", {"a": 1}),
    ],
)
def test_a_faulty_envelope_is_a_bad_message(field: str, value: object) -> None:
    wire = json.loads((GOLDEN / "item.started.json").read_bytes()) | {field: value}

    with pytest.raises(BadMessage):
        events.decode(json.dumps(wire).encode())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_id", ""),
        ("run_id", "../../etc"),
        ("run_id", "r1\n"),
        ("run_id", "_run"),
        ("run_id", "x" * 129),
        ("task_id", "$(reboot)"),
        ("task_id", "a/b"),
        ("cluster", "Daint"),
        ("cluster", "daint.#"),
        ("position", -1),
        ("position", 2**31),
        ("position", 1.5),
        ("position", "1"),
        ("attempt", 10**30),
        ("sequence", 2**63),
        ("exit_code", 2**40),
        ("state", "gone"),
        ("outcome", "splendid"),
        ("reason", ["x"]),
        ("reason", "nul \0 inside"),
        ("confirmed", "yes"),
        ("started_at", "2026-03-01T12:00:00"),
        ("started_at", "0001-01-01T00:00:00+14:00"),
        ("output_dir", None),
    ],
)
def test_a_faulty_item_event_is_a_bad_message(field: str, value: object) -> None:
    with pytest.raises(BadMessage):
        events.decode(body_of(Type.ITEM_STARTED, **{field: value}))


def test_a_backslash_before_u0000_is_text_and_no_nul() -> None:
    found = events.decode(body_of(Type.ITEM_STARTED, reason="C:\\u0000"))

    assert found is not None
    assert isinstance(found.data, ItemEvent)
    assert found.data.reason == "C:\\u0000"


def test_a_task_with_a_field_that_we_do_not_know_is_not_run() -> None:
    with pytest.raises(BadMessage, match="unknown field"):
        events.decode(body_of(Type.RUN_REQUESTED, tasks=[{"id": "a", "command": "true", "container": "x"}]))


def test_errors_give_the_place_and_not_the_content() -> None:
    with pytest.raises(BadMessage) as caught:
        events.decode(body_of(Type.RUN_REQUESTED, tasks=[{"id": "a", "command": 7, "env": {"KEY": "s3cret"}}]))

    assert "$.tasks[0].command" in str(caught.value)
    assert "s3cret" not in str(caught.value)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
IDS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
CLUSTERS = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,62}\Z")
COUNTS = st.integers(0, 2**31 - 1)
TIMES = st.datetimes(
    datetime.fromisoformat("0002-01-01"),
    datetime.fromisoformat("9998-01-01"),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9.5))]),
)
MAYBE_TEXT, MAYBE_TIME, MAYBE_COUNT = st.none() | TEXT, st.none() | TIMES, st.none() | COUNTS
ITEMS = st.builds(
    ItemEvent,
    run_id=IDS,
    run_name=TEXT,
    task_id=IDS,
    task_name=TEXT,
    position=COUNTS,
    cluster=CLUSTERS,
    owner=TEXT,
    attempt=COUNTS,
    revision=COUNTS,
    sequence=st.integers(0, 2**63 - 1),
    state=st.sampled_from(ItemState),
    output_dir=TEXT,
    run_summary_path=TEXT,
    stdout_path=MAYBE_TEXT,
    job_id=MAYBE_TEXT,
    job_submitted_at=MAYBE_TIME,
    outcome=st.none() | st.sampled_from(Outcome),
    confirmed=st.booleans(),
    evidence=st.sampled_from(Evidence),
    exit_code=MAYBE_COUNT,
    signal=MAYBE_COUNT,
    reason=MAYBE_TEXT,
    scheduler_word=MAYBE_TEXT,
    started_at=MAYBE_TIME,
    ended_at=MAYBE_TIME,
    node=MAYBE_TEXT,
)
TASKS = st.builds(
    TaskSpec, id=IDS, command=TEXT, name=MAYBE_TEXT, env=st.dictionaries(TEXT, TEXT), deps=st.lists(IDS).map(tuple)
)
PARTS = st.builds(
    RunRequested,
    run_id=IDS,
    part=COUNTS,
    parts=COUNTS,
    document_sha256=TEXT,
    owner=TEXT,
    run_name=TEXT,
    cluster=CLUSTERS,
    log_dir=MAYBE_TEXT,
    first_position=COUNTS,
    tasks=st.lists(TASKS, max_size=5).map(tuple),
)


@given(ITEMS, TIMES)
def test_any_item_event_comes_back_as_it_was_said(data: ItemEvent, at: datetime) -> None:
    said = events.event(Type.ITEM_CHANGED, data, source=POLLER, at=at)

    assert events.decode(events.encode(said)) == said


@given(PARTS)
def test_any_part_of_a_run_comes_back_as_it_was_said(data: RunRequested) -> None:
    said = events.event(Type.RUN_REQUESTED, data, source=OUTPUTS, at=AT)

    assert events.decode(events.encode(said)) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(Type)), st.data())
def test_whatever_stands_in_a_field_decoding_answers_or_says_bad_message(type_: Type, data: st.DataObject) -> None:
    wire = json.loads((GOLDEN / f"{type_}.json").read_bytes())
    place = data.draw(st.sampled_from([wire, wire["data"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)

    try:
        found = events.decode(json.dumps(wire).encode())
    except BadMessage:
        return
    assert found is None or isinstance(found, CloudEvent)


@given(st.binary(max_size=200))
def test_whatever_arrives_decoding_answers_or_says_bad_message(body: bytes) -> None:
    try:
        events.decode(body)
    except BadMessage:
        return
    raise AssertionError("nobody draws a CloudEvent by chance")
