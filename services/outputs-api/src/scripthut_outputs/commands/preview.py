"""Show a Markdown file as the service will, offline."""

import argparse
from pathlib import Path

from scripthut_outputs.client import previewing
from scripthut_outputs.client.exits import Exit
from scripthut_outputs.client.screen import Screen


def preview(screen: Screen, asked: argparse.Namespace) -> Exit:
    """Do what the command line asks; raises as `previewing` does."""
    wanted = previewing.Wanted(file=Path(asked.file), output=asked.output, is_text=asked.text, is_strict=asked.strict)
    return previewing.preview(screen, wanted)
