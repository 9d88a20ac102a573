"""Free loopback ports that stay ours while this process lives, also while the server behind one is down."""

import random
import socket
from pathlib import Path

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 12_000
_held: dict[int, socket.socket] = {}


def reserve_port() -> int:
    """Choose a free port on 127.0.0.1 that no other testbed on this machine will choose.

    Ports below the kernel's ephemeral range are used: an outgoing connection can neither take such a port while its
    server is stopped, nor connect to itself when a client keeps trying the stopped server.
    """
    for _ in range(1000):
        port = random.randrange(_LOWEST, _highest())
        if port not in _held and _claim(port):
            return port
    raise RuntimeError(f"no free port between {_LOWEST} and {_highest()} on 127.0.0.1")


def is_open(port: int) -> bool:
    """Say whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _highest() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        return 32_000


def _claim(port: int) -> bool:
    """Hold a name for the port that the whole machine sees and that goes with this process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0scripthut-testbed-port-{port}")
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", port))
    except OSError:
        claim.close()
        return False
    _held[port] = claim
    return True
