"""The program behind this cluster, started by us: `answer SPOOL MAX_RUNNING IDLE_S WORD`, `supervise … LOCK`."""

import sys
from pathlib import Path

from scripthut_common.errors import BadOutput

from .answering import answer
from .spool import Spool
from .supervising import Terms, supervise


def main() -> int:
    """Do what the command line says."""
    task, directory, max_running, idle_s, last = sys.argv[1:]
    place, terms = Spool(Path(directory)), Terms(max_running=int(max_running), idle_s=float(idle_s))
    if task == "supervise":
        supervise(place, terms, int(last))
        return 0
    try:
        sys.stdout.buffer.write(answer(place, terms, last, sys.stdin.buffer.read()))
    except (OSError, BadOutput) as error:
        print(f"the spool of the local cluster, {directory}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
