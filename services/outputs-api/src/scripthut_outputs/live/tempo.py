"""How often a run is read, how much waits for one viewer."""

import msgspec


class Tempo(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the live stream.

    A run is read at most every `spacing_s`, `max_items` at a time, again after `retry_s` when that failed. A viewer
    for whom more than `max_waiting_bytes` wait is dropped; one who is told nothing for `heartbeat_s` hears so.
    """

    spacing_s: float = 0.25
    heartbeat_s: float = 15.0
    max_waiting_bytes: int = 4 * 1024 * 1024
    max_items: int = 500
    retry_s: float = 1.0
