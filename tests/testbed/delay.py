"""A port on loopback that behaves like another one far away, for measuring what distance costs."""

import sys

from tests.testbed import delaying, ports
from tests.testbed.processes import Daemon
from tests.testbed.workspaces import Server


class DelayedPort(Server):
    """A running proxy; `daemon` may be killed or paused, which cuts or stalls its connections.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, target_port: int, delay_ms: float) -> None:
        """Start to carry connections to `target_port`, each byte `delay_ms` later, in both directions."""
        self.port = ports.reserve_port()
        self._arguments = [str(self.port), str(target_port), str(delay_ms)]
        super().__init__("delay")

    def _start(self) -> None:
        self.daemon = Daemon(
            [sys.executable, "-I", delaying.__file__, *self._arguments],
            self._workspace,
            name="delaying",
            is_ready=lambda: ports.is_open(self.port),
        ).start()
