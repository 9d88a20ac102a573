"""Note which runs are open, so that collectors, who are other processes, follow their tasks."""

from time import monotonic

from scripthut_common.supervision import Loop
from scripthut_outputs.catalog.watching import Watching

from .hub import Hub

AGAIN_S = 15.0
"""So often it is said of a run that is open."""
_FOR_S = 45.0


class Noting:
    """Says it at once of a run that is opened, and again while it is open and not over."""

    def __init__(self, hub: Hub, watching: Watching) -> None:
        self._hub = hub
        self._watching = watching
        self._noted_at: dict[str, float] = {}

    @property
    def loop(self) -> Loop:
        """What is to run."""
        return Loop(name="outputs.open-runs", step=self.step, interval_s=AGAIN_S, wake=self._hub.opened)

    async def step(self) -> None:
        """Note what is due; nothing is written for runs that are over."""
        now, alive = monotonic(), self._hub.alive_runs()
        self._noted_at = {run_id: self._noted_at[run_id] for run_id in alive if run_id in self._noted_at}
        new = [run_id for run_id in alive if run_id not in self._noted_at]
        again = [run_id for run_id, at in self._noted_at.items() if now - at > AGAIN_S / 2]
        if new or again:
            await self._watching.note([*new, *again], for_s=_FOR_S, new=new)
            self._noted_at |= dict.fromkeys([*new, *again], now)
            await self._watching.forget()
