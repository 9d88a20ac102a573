"""What may be wrong with a blob. Pure."""

from enum import StrEnum

import msgspec


class What(StrEnum):
    """Kinds of faults."""

    MISSING = "missing"
    DAMAGED = "damaged"
    SIZE_DIFFERS = "size_differs"
    UNKNOWN = "unknown"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One blob that is not as the ledger says. `files` refer to it, `examples` are some: run, task and path.

    `size_differs`: its content is whole, the ledger has a wrong size. `unknown`: the store holds it, and neither a
    file nor a collection knows it. `is_repaired`: something was done about it.
    """

    what: What
    sha256: str
    files: int = 0
    expected_bytes: int | None = None
    found_bytes: int | None = None
    examples: tuple[str, ...] = ()
    is_repaired: bool = False
