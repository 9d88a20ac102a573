"""Put a scheduler's question to its cluster: the answer is whole, or the cluster did not answer."""

import asyncio
from typing import Generic, TypeVar

import msgspec

from scripthut_common import supervision
from scripthut_common.errors import BadOutput, LimitExceeded, TransientError, Unreachable
from scripthut_common.shell import RemoteShell

from .schedulers import Question

Told = TypeVar("Told")
# A submission of a hundred jobs may take two minutes; a silent loop is taken for a dead one.
_BEAT_EVERY_S = 10.0


async def ask(shell: RemoteShell, question: Question[Told]) -> Told:
    """Run a question's program and read its answer.

    Raises:
        NoConnection: nothing has run.
        Unreachable: no complete answer; nothing may be concluded.
        TimedOut: the same, for want of time.
    """
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_answer(shell, question))
        while not asked.done():
            await asyncio.wait([asked], timeout=_BEAT_EVERY_S)
            supervision.beat()
    told = asked.result()
    if isinstance(told, _Failed):
        raise told.error
    return told.told


class _Told(msgspec.Struct, Generic[Told], frozen=True, kw_only=True):
    told: Told


class _Failed(msgspec.Struct, frozen=True, kw_only=True):
    """An error as a value: a task group would wrap it into a group."""

    error: TransientError


async def _answer(shell: RemoteShell, question: Question[Told]) -> _Told[Told] | _Failed:
    try:
        answer = await shell.run(question.program, *question.argv, stdin=question.stdin)
        return _Told(told=question.parse(answer))
    except TransientError as error:
        return _Failed(error=error)
    except (BadOutput, LimitExceeded) as error:
        failed = Unreachable(f"{question.program.name}: {error}")
        failed.__cause__ = error
        return _Failed(error=failed)
