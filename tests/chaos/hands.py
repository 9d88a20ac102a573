"""What people do while things break: hand in runs, cancel, requeue; each again until it is done."""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from scripthut_common.events import ItemState
from scripthut_outputs.controllers.shapes import ItemJson
from tests.chaos import work
from tests.chaos.work import Deed, Piece, Work
from tests.testbed.accounts import ALICE, BOB
from tests.testbed.clients import Client
from tests.testbed.processes import ServerError, wait_until
from tests.testbed.slurm import SlurmCluster

_PATIENCE_S = 300.0
_PAUSE_S = (0.0, 1.5)


class Hands:
    """The people.

    Args:
        client: their way to the API.
        slurm: where jobs are cancelled and submitted by hand.
        environment_script: the file that scripts by hand source.
        dice: choose how long they think.
    """

    def __init__(self, client: Client, slurm: SlurmCluster, environment_script: Path, dice: random.Random) -> None:
        self._client = client
        self._slurm = slurm
        self._environment_script = environment_script
        self._dice = dice

    def do_all(self, works: Sequence[Work]) -> None:
        """Hand in every run, then do what is to be done to their tasks."""
        for one in works:
            self._hand_in(one)
            time.sleep(self._dice.uniform(*_PAUSE_S))
        for one in works:
            if any(piece.deed is Deed.CANCEL_RUN for piece in one.pieces):
                self._cancel_run(one)
            for piece in one.pieces:
                if piece.deed in {Deed.CANCEL_JOB, Deed.REQUEUE_JOB}:
                    self._do(one, piece)

    def _hand_in(self, one: Work) -> None:
        if one.is_by_hand:
            script = work.array_script(one, self._environment_script)
            tag = f"--comment=scripthut:{one.run_id}/sweep"
            self._slurm.submit(script, tag, f"--array=0-{len(one.pieces) - 1}%4", user=BOB)
            return
        self._insist(lambda: bool(self._client.submit(one.document)), f"{one.run_id} to be taken")

    def _cancel_run(self, one: Work) -> None:
        """Cancel a run of which something runs; asking again is asking once."""

        def is_cancelled() -> bool:
            items = self._client.run(one.run_id).items
            if not any(item.state in {ItemState.RUNNING, ItemState.FINAL} for item in items):
                return False
            self._client.cancel(one.run_id)
            return True

        self._insist(is_cancelled, f"{one.run_id} to be cancelled")

    def _do(self, one: Work, piece: Piece) -> None:
        item = self._seen_running(one, piece)
        if piece.deed is Deed.CANCEL_JOB:
            self._slurm.run("scancel", str(item.job_id), user=ALICE)
            return
        self._slurm.run("scontrol", "requeue", str(item.job_id))
        self._slurm.start_requeued(str(item.job_id))

    def _seen_running(self, one: Work, piece: Piece) -> ItemJson:
        found: list[ItemJson] = []

        def is_running() -> bool:
            found[:] = [item for item in self._client.run(one.run_id).items if item.task_id == piece.id]
            return found[0].state is ItemState.RUNNING and bool(one.executions(piece))

        self._insist(is_running, f"{piece.id} of {one.run_id} to run")
        return found[0]

    def _insist(self, is_done: Callable[[], bool], what: str) -> None:
        """Try until it is done, through outages of the API."""

        def try_once() -> bool:
            try:
                return is_done()
            except (httpx.HTTPError, ServerError):
                return False

        wait_until(try_once, what, _PATIENCE_S, every_s=0.3)
