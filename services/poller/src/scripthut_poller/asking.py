"""Put a scheduler's question to its cluster: the answer is whole, or the cluster did not answer."""

from typing import TypeVar

from scripthut_common.errors import BadOutput, LimitExceeded, Unreachable
from scripthut_common.shell import RemoteShell

from .schedulers import Question

Told = TypeVar("Told")


async def ask(shell: RemoteShell, question: Question[Told]) -> Told:
    """Run a question's program and read its answer.

    Raises:
        NoConnection: nothing has run.
        Unreachable: no complete answer; nothing may be concluded.
        TimedOut: the same, for want of time.
    """
    try:
        answer = await shell.run(question.program, *question.argv, stdin=question.stdin)
        return question.parse(answer)
    except (BadOutput, LimitExceeded) as error:
        raise Unreachable(f"{question.program.name}: {error}") from error
