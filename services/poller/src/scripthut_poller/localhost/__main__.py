"""The program behind this cluster, started by us: `answer SPOOL TERMS WORD` or `supervise SPOOL TERMS LOCK`."""

import sys
from pathlib import Path

from scripthut_common.errors import BadOutput

from .answering import answer
from .limits import Terms
from .spool import Spool, load
from .supervising import supervise


def main() -> int:
    """Do what the command line says."""
    task, directory, terms_text, last = sys.argv[1:]
    place, terms = Spool(Path(directory)), load(terms_text.encode(), Terms)
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
