"""A small service with an outbox and an inbox, for tests of the way between them."""

from datetime import UTC, datetime

from sqlalchemy import Column, Integer, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateSchema

from scripthut_common import events, inbox, outbox
from scripthut_common.bus import Message
from scripthut_common.database import Database, metadata
from scripthut_common.events import ItemEvent, ItemState, Type
from scripthut_common.inbox import Inbox
from scripthut_common.outbox import Outbox

METADATA = metadata("sample")
OUTBOX = outbox.define(METADATA)
INBOX = inbox.define(METADATA)
SEEN = Table(
    "seen",
    METADATA,
    Column("task_id", Text, primary_key=True),
    Column("times", Integer, nullable=False, server_default="1"),
)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(number: int, type_: Type = Type.ITEM_CHANGED) -> events.CloudEvent:
    """Make the event of task `t<number>`."""
    data = ItemEvent(
        run_id="r1",
        run_name="a run",
        task_id=f"t{number}",
        task_name=f"task {number}",
        position=number,
        cluster="daint",
        owner="ada",
        attempt=1,
        revision=0,
        sequence=number,
        state=ItemState.RUNNING,
        output_dir=f"/logs/outputs/r1/t{number}",
        run_summary_path=f"/logs/outputs/r1/_run/t{number}.md",
    )
    return events.event(type_, data, source="/scripthut/poller", at=AT)


class Sample:
    """The service: says events, and counts how often each came to have an effect."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.outbox = Outbox(OUTBOX)
        self.inbox = Inbox(INBOX)

    async def create(self) -> None:
        """Make the schema."""
        async with self.database.transaction() as connection:
            await connection.execute(CreateSchema("sample"))
            await connection.run_sync(METADATA.create_all)

    async def say(self, *said: events.CloudEvent) -> None:
        """Write events in one transaction."""
        async with self.database.transaction() as connection:
            await self.outbox.add(connection, said)

    async def take(self, message: Message) -> None:
        """Take an event: inbox and effect in one transaction."""
        found = events.decode(message.body)
        if found is None or not isinstance(found.data, ItemEvent):
            return
        async with self.database.transaction() as connection:
            if await self.inbox.take(connection, found.id):
                row = insert(SEEN).values(task_id=found.data.task_id)
                again = {"times": SEEN.c.times + 1}
                await connection.execute(row.on_conflict_do_update(index_elements=["task_id"], set_=again))

    async def seen(self) -> dict[str, int]:
        """How often each task's event had its effect."""
        async with self.database.transaction() as connection:
            return {row.task_id: row.times for row in await connection.execute(select(SEEN))}

    async def unpublished(self) -> int:
        """How many events have not left."""
        waiting = select(func.count()).select_from(OUTBOX).where(OUTBOX.c.published_at.is_(None))
        async with self.database.transaction() as connection:
            return int((await connection.execute(waiting)).scalar_one())
