"""What a program tells on the bus that is not so."""

from datetime import UTC, datetime

import msgspec

from scripthut_common.bus import message_of
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.events import ItemEvent, ItemState, Outcome, Type, event
from tests.e2e import morning
from tests.e2e.department import CLUSTER, Person


async def announce(amqp_uri: str, *items: ItemEvent, source: str = "another program") -> None:
    """Tell everybody that jobs were submitted, and that they have ended."""
    bus = AmqpBus(amqp_uri)
    for item in items:
        ended = msgspec.structs.replace(item, sequence=2, state=ItemState.FINAL, outcome=Outcome.SUCCEEDED)
        for type_, said in ((Type.ITEM_SUBMITTED, item), (Type.ITEM_COMPLETED, ended)):
            await bus.publish(message_of(event(type_, said, source=source, at=datetime.now(UTC))))
    await bus.close()


def announced(liar: Person, other: Person, run_id: str) -> ItemEvent:
    """Say that a job of one person has written where another's task did."""
    return ItemEvent(
        run_id=run_id,
        run_name=f"lies{morning.FORGED}",
        task_id="work",
        task_name="work",
        position=0,
        cluster=CLUSTER,
        owner=liar.name,
        attempt=1,
        revision=0,
        sequence=1,
        state=ItemState.SUBMITTED,
        output_dir=str(other.output_dir),
        run_summary_path=str(other.output_dir.parent / "_run" / "work.md"),
        job_id="1",
        account=liar.account,
    )
