"""The bus of one process: publishing waits until every queue bound to the message has taken it.

It needs no durability of its own: whoever published still holds the message until `publish` returns.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

from scripthut_common.errors import BusUnavailable, NotFound, Unroutable

from . import QUEUES, Bury, DeadLetter, Message, Queue, Take, check_size
from .taking import Fate, Rules, Taker


class _Entry:
    """One message in one queue. `settled` is set when it was taken or buried."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.deliveries = 0
        self.settled = asyncio.get_running_loop().create_future()


class _Line:
    """One queue: what waits in order, what was not settled yet by message id."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.taker: Taker | None = None
        self._bindings = [binding.split(".") for binding in queue.bindings]
        self._waiting: deque[_Entry] = deque()
        self._unsettled: dict[str, _Entry] = {}
        self._is_filled = asyncio.Event()

    def is_bound(self, message: Message) -> bool:
        key = message.routing_key.split(".")
        return message.exchange == self.queue.exchange and any(_matches(binding, key) for binding in self._bindings)

    def add(self, message: Message) -> "asyncio.Future[None]":
        """Queue a message; one that waits already is not queued twice."""
        if message.id not in self._unsettled:
            self._unsettled[message.id] = _Entry(message)
            self.put(self._unsettled[message.id])
        return self._unsettled[message.id].settled

    def put(self, entry: _Entry) -> None:
        self._waiting.append(entry)
        self._is_filled.set()

    async def next(self) -> _Entry:
        while not self._waiting:
            self._is_filled.clear()
            await self._is_filled.wait()
        return self._waiting.popleft()

    def settle(self, entry: _Entry) -> None:
        del self._unsettled[entry.message.id]
        entry.settled.set_result(None)


class MemoryBus:
    """Carries messages between the services of one process.

    Args:
        bury: keeps a message that cannot be taken; without it they are in `dead`.
        queues: queues known from the start: publishing waits for their consumer. Others are known once consumed.
        rules: how patient consumers are.
        publish_timeout_s: how long `publish` waits for a message to be taken.
    """

    def __init__(
        self,
        *,
        bury: Bury | None = None,
        queues: Iterable[Queue] = QUEUES,
        rules: Rules = Rules(),  # noqa: B008  frozen
        publish_timeout_s: float = 30.0,
    ) -> None:
        self.dead: list[DeadLetter] = []
        self._bury = bury or self._keep
        self._rules = rules
        self._publish_timeout_s = publish_timeout_s
        self._lines = {queue.name: _Line(queue) for queue in queues}

    async def publish(self, message: Message) -> None:
        """See `Bus.publish`."""
        check_size(message)
        lines = [line for line in self._lines.values() if line.is_bound(message)]
        if not lines:
            if message.mandatory:
                raise Unroutable(f"no queue is bound to {message.routing_key} on {message.exchange}")
            return
        await self._offer(message, lines)

    async def replay(self, queue: str, message: Message) -> None:
        """Give a message to one queue alone; return once it was taken, or buried again.

        Raises:
            NotFound: there is no such queue.
            BusUnavailable: it was not taken in time; it may be taken later.
        """
        if queue not in self._lines:
            raise NotFound(f"there is no queue {queue}")
        await self._offer(message, [self._lines[queue]])

    async def _offer(self, message: Message, lines: Iterable[_Line]) -> None:
        _, waiting = await asyncio.wait([line.add(message) for line in lines], timeout=self._publish_timeout_s)
        if waiting:
            names = ", ".join(line.queue.name for line in lines)
            raise BusUnavailable(self.fault or f"{names} did not take a message in {self._publish_timeout_s:g} s")

    async def consume(self, queue: Queue, take: Take) -> None:
        """See `Bus.consume`."""
        line = self._lines.setdefault(queue.name, _Line(queue))
        line.taker = Taker(queue, take, self._bury, self._rules)
        free = asyncio.Semaphore(queue.prefetch)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await free.acquire()
                    entry = await line.next()
                    serving = group.create_task(_serve(line, line.taker, entry))
                    serving.add_done_callback(lambda _: free.release())
        finally:
            line.taker = None

    async def check(self) -> str | None:
        """See `Bus.check`."""
        return self.fault

    async def close(self) -> None:
        """Nothing to let go of."""

    @property
    def fault(self) -> str | None:
        """See `Bus.fault`."""
        faults = [line.taker.fault for line in self._lines.values() if line.taker and line.taker.fault]
        faults += [f"nobody takes from {line.queue.name}" for line in self._lines.values() if line.taker is None]
        return "; ".join(faults) or None

    async def _keep(self, queue: Queue, message: Message, reason: str) -> None:
        self.dead.append(DeadLetter(queue=queue.name, message=message, reason=reason, buried_at=datetime.now(UTC)))


async def _serve(line: _Line, taker: Taker, entry: _Entry) -> None:
    entry.deliveries += 1
    fate = None
    try:
        fate = await taker.settle(entry.message, entry.deliveries)
    finally:
        if fate is Fate.DONE:
            line.settle(entry)
        else:
            line.put(entry)
            entry.deliveries -= fate is not Fate.AGAIN


def _matches(binding: list[str], key: list[str]) -> bool:
    """Compare a topic binding with a routing key, word by word: `*` is one word, `#` any number of them."""
    match binding:
        case []:
            return not key
        case ["#", *rest]:
            return any(_matches(rest, key[skipped:]) for skipped in range(len(key) + 1))
        case _:
            word, *rest = binding
            return bool(key) and word in {"*", key[0]} and _matches(rest, key[1:])
