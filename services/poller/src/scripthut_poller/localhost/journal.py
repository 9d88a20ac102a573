"""What the supervisor and its runners say: standard error is the spool's `supervisor.log`."""

import sys
import time


def say(text: str) -> None:
    """Write one line with the time before it."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
    sys.stderr.flush()
