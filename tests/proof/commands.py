"""Commands as an operator types them: shown, timed, and told with their words when they fail."""

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandFailed(Exception):
    """A command ended with another status than 0; the text has its last words."""


def say(text: str) -> None:
    """Tell the person at the terminal what is done, and when."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def call(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 900,
) -> str:
    """Run a command without a word and return what it prints.

    Raises:
        CommandFailed: it did not end well, or not in time.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandFailed(f"{shlex.join(words)}: {error}") from error
    if done.returncode != 0:
        last = (done.stdout + done.stderr).strip()[-4000:]
        raise CommandFailed(f"`{shlex.join(words)}` ended with {done.returncode}:\n{last}")
    return done.stdout


def show(argv: Sequence[str | Path], **how: object) -> str:
    """Run a command, and say it and how long it took.

    Raises:
        CommandFailed: it did not end well.
    """
    began = time.monotonic()
    answer = call(argv, **how)  # type: ignore[arg-type]
    say(f"$ {shlex.join(str(word) for word in argv)}    ({time.monotonic() - began:.1f} s)")
    return answer
