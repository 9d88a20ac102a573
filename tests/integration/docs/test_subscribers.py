"""The subscriber of docs/subscribers.md hears a real broker, and what the page says of events is so."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from scripthut_common import events
from scripthut_common.bus import EVENTS, OUTPUTS_EVENTS, message_of
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.events import ItemEvent, Type
from tests.integration.docs.pages import DOCS, blocks
from tests.integration.subscribers.accounts import channel_of

QUEUE = "sub.my-lab.events"
GOLDEN = DOCS.parent / "tests" / "golden"


async def test_the_subscriber_says_each_ending_once_with_its_newest_outcome(amqp_uri: str, tmp_path: Path) -> None:
    (program,) = blocks("subscribers.md", "python")
    (tmp_path / "endings.py").write_text(program)
    bus = AmqpBus(amqp_uri, queues=(OUTPUTS_EVENTS,))
    golden = msgspec.json.decode((GOLDEN / "item.completed.json").read_bytes())["data"]
    ended = msgspec.convert(golden, type=ItemEvent)
    corrected = msgspec.structs.replace(ended, revision=1, sequence=6, outcome=events.Outcome.OUT_OF_MEMORY)
    elsewhere = msgspec.structs.replace(ended, cluster="eiger")
    last = msgspec.structs.replace(ended, task_id="last")

    assert await bus.check() is None
    async with channel_of(amqp_uri) as channel:
        await (await channel.declare_queue(QUEUE, durable=True)).bind(EVENTS, "item.completed.daint")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "endings.py", QUEUE, cwd=tmp_path, env={"AMQP_URL": amqp_uri}, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"waiting\n"
            for item in (ended, corrected, ended, elsewhere, last):
                at = datetime(2026, 1, 2, tzinfo=UTC)
                await bus.publish(message_of(events.event(Type.ITEM_COMPLETED, item, source="poller", at=at)))
            told = [await process.stdout.readline() for _ in range(3)]
    finally:
        process.kill()
        await process.wait()
        await bus.close()

    assert told == [b"r1 train-0 failed 3\n", b"r1 train-0 out_of_memory 3\n", b"r1 last failed 3\n"]


def test_the_subscriber_is_short_enough_to_read() -> None:
    (program,) = blocks("subscribers.md", "python")

    assert len(program.splitlines()) <= 30


def test_the_page_shows_events_as_they_are() -> None:
    item, collected = (json.loads(block) for block in blocks("subscribers.md", "json"))

    assert item == json.loads((GOLDEN / "item.completed.json").read_text("utf-8"))
    assert collected == json.loads((GOLDEN / "outputs.collected.json").read_text("utf-8"))["data"]


def test_the_page_names_every_event_and_no_command() -> None:
    page = (DOCS / "subscribers.md").read_text("utf-8")

    assert all((f"`{kind}`" in page) == (kind not in events.COMMANDS) for kind in Type)
    assert all(f"`{outcome}`" in page for outcome in events.Outcome)
