"""Leaky buckets: how often something may happen, by whom and in all; in memory, which stays small. Pure.

Each process has its own.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

import msgspec

_ALL = ""


class Rate(msgspec.Struct, frozen=True):
    """So many at once, and one more every so many seconds."""

    at_once: int
    every_s: float


class Buckets:
    """A bucket for each address, and one for all.

    Args:
        each: what one address may.
        all_: what all may together.
        remembered: so many addresses are told apart; those silent for longest are forgotten first.
    """

    def __init__(self, each: Rate, all_: Rate, *, remembered: int = 4096) -> None:
        self._each = each
        self._all = all_
        self._remembered = remembered
        # When each bucket will have run empty.
        self._empty_at: OrderedDict[str, float] = OrderedDict()
        self._all_empty_at = 0.0

    def wait_s(self, address: str, now: float) -> float:
        """How long this address has to wait; 0 when it has not."""
        own = _excess(self._empty_at.get(_place(address), 0.0), self._each, now)
        return max(own, _excess(self._all_empty_at, self._all, now))

    def take(self, address: str, now: float) -> float:
        """Let it happen once more if it may: 0; else how long this address has to wait, and nothing is counted."""
        waits_s = self.wait_s(address, now)
        if not waits_s:
            place = _place(address)
            self._empty_at[place] = max(now, self._empty_at.get(place, 0.0)) + self._each.every_s
            self._all_empty_at = max(now, self._all_empty_at) + self._all.every_s
            self._empty_at.move_to_end(place)
            if len(self._empty_at) > self._remembered:
                self._empty_at.popitem(last=False)
        return waits_s

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._empty_at)


def _excess(empty_at: float, rate: Rate, now: float) -> float:
    return max(0.0, empty_at - now - rate.every_s * (rate.at_once - 1))


def _place(address: str) -> str:
    """What counts as one address: of IPv6 the network of which everybody has one."""
    try:
        found = ip_address(address)
    except ValueError:
        return _ALL
    if not isinstance(found, IPv6Address):
        return address
    return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
