"""Look into the queues of a real broker."""

import asyncio

import aio_pika

from scripthut_common.bus import Queue
from scripthut_common.bus.topology import dead_name


async def dead_letters_of(uri: str, queue: Queue) -> list[tuple[str, str]]:
    """Wait for a dead letter of `queue` and give all that are there: message id and reason."""
    connection = await aio_pika.connect(uri)
    async with connection, asyncio.timeout(10):
        dead = await (await connection.channel()).get_queue(dead_name(queue), ensure=False)
        found: list[tuple[str, str]] = []
        while True:
            letter = await dead.get(fail=False)
            if letter is not None:
                await letter.ack()
                found.append((letter.message_id or "", str(letter.headers["x-scripthut-reason"])))
            elif found:
                return found
            else:
                await asyncio.sleep(0.02)
