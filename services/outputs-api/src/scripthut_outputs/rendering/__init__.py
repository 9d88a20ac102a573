"""Turn what authors wrote into safe HTML. Pure.

`render` gives HTML that depends on the bytes alone, so equal documents of two tasks are one; links to the
task's own files stand in it in a private scheme, which `fill` turns into addresses when it is served.
"""

from .converting import RENDERER, Rendered, escape, notice, render
from .serving import file_url, fill, for_our_pages, page_url
from .stripping import Stripped, stripped

__all__ = [
    "RENDERER",
    "Rendered",
    "Stripped",
    "escape",
    "file_url",
    "fill",
    "for_our_pages",
    "notice",
    "page_url",
    "render",
    "stripped",
]
