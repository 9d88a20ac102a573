"""Ask for the end of a run."""

import sys

from scripthut_common import text
from scripthut_common.errors import SettingsError

from .answers import ALIVE, Run, read
from .api import Api
from .exits import Exit
from .paging import run_path
from .screen import Screen
from .wording import counted, tasks_of


async def cancel(api: Api, screen: Screen, run_id: str, *, is_sure: bool) -> Exit:
    """Cancel what is alive of a run, after asking.

    Raises:
        SettingsError: nobody is there to be asked.
    """
    run = read(await api.get(run_path(run_id), limit=1), Run)
    alive = sum(run.counts.get(word, 0) for word in ALIVE)
    if not is_sure and not _agrees(screen, run, alive):
        screen.note("Nothing was cancelled.")
        return Exit.ERROR
    answer = await api.post(f"{run_path(run_id)}/cancel")
    if screen.is_json:
        screen.tell(answer)
    else:
        screen.say(f"asked {text.name(run.cluster)} to cancel {tasks_of(alive)} of {text.name(run_id)}")
        screen.say(counted(read(answer, Run).counts))
    return Exit.FINE


def _agrees(screen: Screen, run: Run, alive: int) -> bool:
    if not sys.stdin.isatty():
        raise SettingsError("cancel asks before it cancels, and nobody is here to answer: say --yes")
    screen.note(f"Cancel {tasks_of(alive)} of run {text.name(run.run_id)}, {text.name(run.name)!r}? [y/N]")
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
