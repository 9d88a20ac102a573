"""Write a Jupyter notebook as it would have been saved after it ran, with nothing but the standard library."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def prose(text: str) -> Cell:
    """A cell of Markdown."""
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(source: str, number: int, said: str, picture: Path) -> Cell:
    """A cell of code that was run as the `number`-th, with what it printed and drew. Source: nbformat 4.5."""
    drawn = {"image/png": base64.b64encode(picture.read_bytes()).decode(), "text/plain": "<Figure>"}
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": said},
        {"output_type": "display_data", "metadata": {}, "data": drawn},
    ]
    return {"cell_type": "code", "metadata": {}, "execution_count": number, "source": source, "outputs": outputs}


def write(path: Path, cells: Sequence[Cell]) -> None:
    """Write the notebook."""
    numbered = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)]
    metadata = {"language_info": {"name": "python"}}
    book = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": numbered}
    path.write_text(json.dumps(book, indent=1), "utf-8")
