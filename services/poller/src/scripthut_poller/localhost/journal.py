"""What the supervisor and its runners say: standard error is the spool's `supervisor.log`."""

import contextlib
import os
import time


def say(text: str) -> None:
    """Write one line with the time before it; a full disk must not end who says it."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode("utf-8", "backslashreplace"))
