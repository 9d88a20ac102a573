"""Prove the production shape: `python -m tests.proof --seed 7`. It takes a Docker daemon and some ten minutes."""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Sequence

from tests.proof import standins, story, units
from tests.proof.asking import Phase
from tests.proof.commands import CommandFailed, call, say
from tests.proof.load import Load
from tests.proof.reckoning import Reckoning, files, reckon
from tests.proof.stack import Stack
from tests.testbed.processes import ServerError

_MOST_RUNS = 60


def main() -> int:
    """Say the seed, do all of it, print the table; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description="Prove the production shape.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="of what is read and handed in")
    asked = parser.parse_args()
    lacking = standins.lacking()
    if lacking:
        sys.exit(lacking)
    say(f"seed {asked.seed}; " + call(["docker", "version", "--format", "Docker {{.Server.Version}}"]).strip())
    with Stack(standins.images(), story.FIRST) as stack:
        try:
            faults = _prove(stack, random.Random(asked.seed))
        except (CommandFailed, ServerError):
            print(stack.logs(), file=sys.stderr)
            raise
    print("\n".join(faults) or "\nnothing was lost")
    return 1 if faults else 0


def _prove(stack: Stack, dice: random.Random) -> list[str]:
    stack.start()
    print(stack.compose("ps"))
    with Load(stack, dice, _MOST_RUNS) as load:
        faults = story.disturb(stack, load)
        load.check()
    with stack.client() as client:
        found = reckon(stack, client, load.works, load.viewers)
    _print(load, found)
    story.restore(stack)
    with stack.client() as client:
        restored = files(client, load.works)
    say(f"after the restore: {_counted(restored)}")
    under_systemd = units.prove(stack, f"{stack.project}/migrate:{story.SECOND}", dice)
    return [*faults, *found.faults, *restored.faults, *under_systemd]


def _print(load: Load, found: Reckoning) -> None:
    print(f"\n{len(load.works)} runs: {_counted(found)}; {found.events} events and {found.commands} commands arrived\n")
    print(_table(load.fares.phases))
    ends: Counter[str] = sum((viewer.ends for viewer in load.viewers), Counter())
    away_s = max((viewer.away_s for viewer in load.viewers), default=0.0)
    told = ", ".join(f"{count} x {kind}" for kind, count in ends.most_common()) or "none"
    print(f"\n{len(load.viewers)} viewers; streams that ended and were taken up again: {told}; {away_s:.1f} s at most")


def _table(phases: Sequence[Phase]) -> str:
    lines = ["| while | s | requests | failures, each healed by asking again | slowest, s |", "|:--|--:|--:|:--|--:|"]
    for phase in phases:
        failures = ", ".join(f"{count} x {kind}" for kind, count in phase.failures.most_common()) or "none"
        lines.append(f"| {phase.name} | {phase.took_s:.0f} | {phase.asked} | {failures} | {phase.slowest_s:.1f} |")
    return "\n".join(lines)


def _counted(found: Reckoning) -> str:
    counted = found.counted
    return f"{counted.items} tasks, {counted.files} files of {counted.size_bytes / 1e6:.1f} MB compared"


if __name__ == "__main__":
    sys.exit(main())
