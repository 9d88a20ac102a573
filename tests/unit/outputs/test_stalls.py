"""Which runs are left out because one item after the other stalls."""

from scripthut_outputs.collector.stalls import Stalls


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_one_stall_says_nothing_of_its_run() -> None:
    stalls = Stalls(60.0, Clock())

    stalls.note("r1")

    assert stalls.left_out == []


def test_a_run_that_stalls_again_is_left_out_ever_longer_and_never_for_good() -> None:
    clock = Clock()
    stalls = Stalls(60.0, clock)
    waits = []

    stalls.note("r1")
    for _ in range(6):
        stalls.note("r1")
        began_s = clock.now_s
        while stalls.left_out:
            clock.now_s += 60
        waits.append(clock.now_s - began_s)

    assert waits == [60, 120, 240, 480, 600, 600]


def test_an_item_that_moves_ends_it() -> None:
    stalls = Stalls(60.0, Clock())
    stalls.note("r1")
    stalls.note("r1")
    stalls.note("r2")

    stalls.end("r1")

    assert stalls.left_out == []
    stalls.note("r1")
    assert stalls.left_out == []
