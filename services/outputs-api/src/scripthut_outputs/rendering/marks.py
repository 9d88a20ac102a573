"""Characters that only we write: authors' are taken out before anything is read. Pure.

They are noncharacters of Unicode, made for use inside of one program. What carries one is therefore ours.
"""

import re

OURS = "\ufdd0"
"""Stands before the value of an attribute that we write and authors may not."""
OPEN, CLOSE = "\ufdd1", "\ufdd2"
"""Stand around the number of a piece of finished HTML."""
HERE = "\ufdd3"
"""Stands in rendered HTML for the scope of a document's ids, which only the one who serves it knows."""
_PRIVATE = re.compile("[\ufdd0-\ufdef]")


def without_marks(text: str, *, instead: str = "") -> str:
    """Take out every character that only we may write."""
    return _PRIVATE.sub(instead, text)
