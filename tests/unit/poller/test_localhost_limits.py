"""Time limits as Slurm spells them."""

import pytest

from scripthut_poller.localhost.limits import seconds


@pytest.mark.parametrize(
    ("limit", "expected_s"),
    [
        (None, None),
        ("0", None),
        ("90", 5400),
        ("1:30", 90),
        ("01:02:03", 3723),
        ("2-3", 183_600),
        ("1-0:30", 88_200),
        ("1-00:00:01", 86_401),
    ],
)
def test_a_time_limit_is_read_as_sbatch_reads_it(limit: str | None, expected_s: int | None) -> None:
    assert seconds(limit) == expected_s
