"""Note how every task ended, each ending once, in a small database.

    python3 endings.py QUEUE FILE

AMQP_URL names the broker and the account, as amqps://sub.my-lab:PASSWORD@broker.example.org/scripthut.
"""

import asyncio
import json
import os
import sqlite3
import sys
from typing import Any

import aio_pika

TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS endings (run_id TEXT, task_id TEXT, attempt INT, revision INT, sequence INT,
                                    outcome TEXT, exit_code INT, PRIMARY KEY (run_id, task_id));
"""
NEWER = """
INSERT INTO endings VALUES (:run_id, :task_id, :attempt, :revision, :sequence, :outcome, :exit_code)
ON CONFLICT DO UPDATE SET attempt = :attempt, revision = :revision, sequence = :sequence, outcome = :outcome,
                          exit_code = :exit_code
WHERE (:attempt, :revision, :sequence) > (endings.attempt, endings.revision, endings.sequence)
"""
UNREADABLE = (KeyError, TypeError, ValueError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


def note(database: sqlite3.Connection, event: dict[str, Any]) -> bool:
    """Take one event, once: that it was seen and what it says are one transaction. Answer whether it was news."""
    with database:
        if not database.execute("INSERT INTO seen VALUES (?) ON CONFLICT DO NOTHING", [event["id"]]).rowcount:
            return False
        return event["type"] == "item.completed" and database.execute(NEWER, event["data"]).rowcount > 0


async def main(queue_name: str, file: str) -> None:
    """Listen until stopped, through every restart of the broker."""
    database = sqlite3.connect(file)
    database.executescript(TABLES)
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"], reconnect_interval=1)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        queue = await channel.get_queue(queue_name)
        print("waiting", flush=True)
        async with queue.iterator() as messages:
            async for message in messages:
                try:
                    event = json.loads(message.body)
                    is_news = note(database, event)
                except UNREADABLE as error:
                    print(f"not taken: {message.message_id!r}: {error!r}", file=sys.stderr, flush=True)
                    await message.reject(requeue=False)  # to the dead letters: it would be no better the next time
                else:
                    if is_news:
                        print(*(event["data"][word] for word in ("run_id", "task_id", "outcome")), flush=True)
                    await message.ack()  # only now: had we died before, it would have come again


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
