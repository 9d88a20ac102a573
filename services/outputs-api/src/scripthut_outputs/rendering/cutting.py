"""Cut a Markdown document that is too long, at the end of a block. Pure."""

import re

_FENCE = re.compile(rb" {0,3}(`{3,}|~{3,})")


def cut(document: bytes, max_bytes: int) -> bytes:
    """Give at most `max_bytes` from the start of `document`, ending where a block ends.

    A block ends at a blank line outside of fenced code. One block that is larger than half the limit is cut at the
    end of a line instead (a table keeps whole rows, code its fence), one endless line between two characters.
    """
    if len(document) <= max_bytes:
        return document
    kept = document[:max_bytes]
    at_block, fence = _last_block_end(kept)
    if at_block > max_bytes // 2:
        return kept[:at_block]
    at_line = kept.rfind(b"\n") + 1
    if at_line > max_bytes // 2:
        return kept[:at_line] + fence
    return kept.decode("utf-8", "ignore").encode()


def _last_block_end(kept: bytes) -> tuple[int, bytes]:
    """Where the last whole block ends, and the fence that is open at the very end (empty for none)."""
    position = at_block = 0
    fence = b""
    for line in kept.splitlines(keepends=True):
        position += len(line)
        marker = _FENCE.match(line)
        if marker and not fence:
            fence = marker[1]
        elif marker and marker[1].startswith(fence) and line.strip() == marker[1]:
            fence = b""
        elif not fence and not line.strip():
            at_block = position
    return at_block, fence
