"""The report of a long run: what everybody was answered, operation by operation, and what was found."""

from collections import Counter
from collections.abc import Iterator, Mapping

from tests.fuzz.fuzzing import Finding, Tally


def render(tallies: Mapping[str, Tally], *, examples: int, seed: int) -> str:
    """Write it as Markdown."""
    return "\n".join(_lines(tallies, examples, seed))


def _lines(tallies: Mapping[str, Tally], examples: int, seed: int) -> Iterator[str]:
    total = sum(sum(counts.total() for counts in tally.statuses.values()) for tally in tallies.values())
    found = [finding for tally in tallies.values() for finding in tally.findings.values()]
    yield f"{total} requests of {len(tallies)} roles, up to {examples} of each operation, seed {seed};"
    unsendable = sum(tally.unsendable for tally in tallies.values())
    yield f"{unsendable} that no client could write; {len(found)} findings."
    for role, tally in tallies.items():
        of_role = sum(tally.statuses.values(), Counter[int]())
        yield f"\n## {role}: {_counts(of_role)}\n"
        width = max(map(len, tally.statuses), default=0)
        yield from (f"{label:{width}}  {_counts(counts)}" for label, counts in sorted(tally.statuses.items()))
    for finding in found:
        yield from _told(finding)


def _counts(counts: Mapping[int, int]) -> str:
    return " ".join(f"{status}:{count}" for status, count in sorted(counts.items()))


def _told(finding: Finding) -> Iterator[str]:
    yield f"\n### {finding.role}, {finding.operation}: {finding.fault}\n\n{finding.request}\n\n{finding.answer}"
