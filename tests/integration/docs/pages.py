"""The pages of docs/: their fenced blocks, to be run as they stand."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in one language, in order."""
    return [found[2] for found in _BLOCK.finditer((DOCS / page).read_text("utf-8")) if found[1] == language]
