"""A machine on which touching some directories hangs or kills, as a file system out of order does."""

import os
import sys
from pathlib import Path

from scripthut_common.shell.local import LocalShell

_PREFIX = """
import os, signal, sys, time
_open = os.open
def _troubled(path, *rest, **named):
    if {word!r} in os.path.basename(os.fsencode(path)) and sys.argv[1] == {mode!r}:
        {what}
    return _open(path, *rest, **named)
os.open = _troubled
"""
HANG, CRASH = "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)", "os._exit(137)"
# Whoever waits for the reader goes too, so that its answer has no end, as on a connection that is lost.
CUT = "os.getpgrp() == os.getsid(0) and os.killpg(os.getpgrp(), signal.SIGKILL)"
# Only what asks for it: the reader leaves that behind by itself.
SILENCE = "time.sleep(600)"


def troubled(folder: Path, word: str = "hanging", *, mode: str = "send", what: str = HANG) -> LocalShell:
    """Make a shell whose reader hangs, or crashes, when it opens what has `word` in its name, listing or sending.

    Directories above that do not count: a test's own folder is named like the test.
    """
    folder.mkdir(exist_ok=True)
    (folder / "prefix").write_text(_PREFIX.format(word=word.encode(), mode=mode, what=what))
    return _with_python(
        folder, f'stub=$4 text=$5; shift 5; set -- -I -S -c "$stub" "$(cat {folder}/prefix)\n$text" "$@"'
    )


def hanging(folder: Path) -> LocalShell:
    """Make a shell on which python3 itself hangs."""
    folder.mkdir(exist_ok=True)
    return _with_python(folder, "exec sleep 600")


def _with_python(folder: Path, before: str) -> LocalShell:
    program = folder / "python3"
    program.write_text(f'#!/bin/sh\n{before}\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return LocalShell(environment={"PATH": f"{folder}:{os.environ['PATH']}"})
