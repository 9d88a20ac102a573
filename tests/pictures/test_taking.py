"""What lies in docs/images is what the script takes, and README shows a run in every state that its readers meet."""

import re
from pathlib import Path

import pytest

from tests.pictures.taking import SHOTS

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STATES = ("run", "run-phone-dark", "run-empty", "run-stale", "run-failed", "run-of-ten-thousand")


def shown(page: Path) -> set[Path]:
    """The pictures of ours that a page shows; others stand in examples."""
    addresses = re.findall(r'(?:docs/)?images/[^")\s]+\.png', page.read_text("utf-8"))
    return {page.parent / address for address in addresses}


def test_every_picture_is_one_that_is_taken_and_none_is_missing() -> None:
    assert sorted(path.stem for path in IMAGES.iterdir()) == sorted(shot.name for shot in SHOTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_that_a_page_shows_is_there(page: Path) -> None:
    assert {path for path in shown(page) if not path.is_file()} == set()


def test_readme_shows_a_run_in_every_state() -> None:
    assert {IMAGES / f"{name}.png" for name in STATES} <= shown(ROOT / "README.md")
