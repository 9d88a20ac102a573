"""Read a document's blocks before the library does. Pure."""

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

from scripthut_outputs.rendering.formulas import Formulas
from scripthut_outputs.rendering.pieces import Pieces

from .finishing import Finisher
from .scanning import Scan


class Blocks(Extension):
    """Takes the place of the library's own look at HTML and of its fenced code."""

    def __init__(self, pieces: Pieces, formulas: Formulas) -> None:
        super().__init__()
        self._pieces = pieces
        self._formulas = formulas

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  the library's name
        """Look at the lines before anybody else."""
        md.preprocessors.deregister("html_block")
        finisher = Finisher(self._pieces, self._formulas, md.htmlStash)
        md.preprocessors.register(_Blocks(md, finisher), "blocks", 25)


class _Blocks(Preprocessor):
    def __init__(self, md: Markdown, finisher: Finisher) -> None:
        super().__init__(md)
        self._finisher = finisher

    def run(self, lines: list[str]) -> list[str]:
        return Scan(lines, self._finisher).read()
