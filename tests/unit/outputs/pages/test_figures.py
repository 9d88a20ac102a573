"""Pictures of a series are one figure; pictures that only look alike stay apart."""

import pytest

from scripthut_outputs.controllers.pages.figures import Picture, group


def picture(path: str) -> Picture:
    folder, slash, name = path.rpartition("/")
    return Picture(
        folder=folder + slash, name=name, url=f"/f/{path}", src=f"/f/{path}?v=1", page_url=f"/p/{path}", size="1 KiB"
    )


def grouped(*paths: str) -> list[tuple[str, int]]:
    return [(figure.name, len(figure.frames)) for figure in group([picture(path) for path in paths])]


@pytest.mark.parametrize(
    ("paths", "figures"),
    [
        ([f"flow_{n:04}.png" for n in range(5)], [("flow_….png", 5)]),
        (["a.png", *[f"flow_{n:04}.png" for n in range(3)], "z.png"], [("a.png", 1), ("flow_….png", 3), ("z.png", 1)]),
        ([f"s/{n:03}.jpg" for n in range(4)], [("s/….jpg", 4)]),
        ([f"fig{n}.png" for n in range(7)], [(f"fig{n}.png", 1) for n in range(7)]),
        ([f"fig{n}.png" for n in range(8)], [("fig….png", 8)]),
        (["a_001.png", "a_002.png"], [("a_001.png", 1), ("a_002.png", 1)]),
        (["a_001.png", "a_002.png", "a_003.jpg"], [("a_001.png", 1), ("a_002.png", 1), ("a_003.jpg", 1)]),
        (["x/a_001.png", "y/a_002.png", "z/a_003.png"], [("x/a_001.png", 1), ("y/a_002.png", 1), ("z/a_003.png", 1)]),
        ([], []),
    ],
)
def test_numbered_pictures_become_a_series(paths: list[str], figures: list[tuple[str, int]]) -> None:
    assert grouped(*paths) == figures


def test_frames_come_in_the_order_of_their_numbers() -> None:
    (figure,) = group([picture(f"step{n}.png") for n in (1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)])

    assert [frame.name for frame in figure.frames] == [f"step{n}.png" for n in range(1, 12)]
    assert figure.is_series


def test_two_series_that_interleave_are_two_figures() -> None:
    paths = [f"{name}_{n:03}.png" for n in range(3) for name in ("p", "u")]

    assert grouped(*paths) == [("p_….png", 3), ("u_….png", 3)]
