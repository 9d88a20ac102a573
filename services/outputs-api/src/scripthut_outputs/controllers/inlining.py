"""How much rendered HTML one answer carries; what comes after is fetched by its own address."""

import msgspec


class MaxInline(msgspec.Struct, frozen=True, kw_only=True):
    """The setting: bytes of HTML in one answer."""

    size_bytes: int


class Allowance:
    """What is left of it while one answer is made."""

    def __init__(self, limit: MaxInline) -> None:
        self._left_bytes = limit.size_bytes

    def takes(self, html: str) -> bool:
        """Answer whether this HTML still fits, and count it if it does."""
        size_bytes = len(html.encode())
        if size_bytes > self._left_bytes:
            return False
        self._left_bytes -= size_bytes
        return True
