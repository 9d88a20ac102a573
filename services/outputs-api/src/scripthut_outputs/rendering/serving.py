"""Fill a rendered document's private links and ids with addresses, for one task and one reader. Pure and fast.

All of this rests on what `sanitising` promises of its output: `<` stands in no text and no value, `href` and `src` are
written first, and `<table>` and `<pre>` have no attributes. Nothing an author writes can therefore look like
`<a href="scripthut-file:`, or like a tag of ours.
"""

import re
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from . import targets
from .marks import HERE

EAGER_IMAGES = 12
_PRIVATE = re.compile(rf'(<a|<img)( (?:href|src)="){targets.FILE_SCHEME}([^"#]*)(#[^"]*)?"')
_TAG = re.compile(r"<(a|/a|img)\b([^<>]*)>")
_HEADING = re.compile(r"<(/?)h([1-6])(?=[ >])")
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9._/-]{1,100}").fullmatch
_ATTRIBUTE = re.compile(r'([a-z]+)="([^"]*)"')
_DOCUMENT = re.compile(r"\.(?:md|markdown)\Z", re.IGNORECASE)
# What may be wider than a page scrolls by itself; those who have no mouse reach it with the Tab key.
_SCROLLING = (
    ("<table>", '<table tabindex="0" aria-label="Table">'),
    ("<pre>", '<pre tabindex="0" role="group" aria-label="Code">'),
    ('<div class="math">', '<div class="math" tabindex="0" role="group" aria-label="Formula">'),
)


def file_url(run_id: str, task_id: str, path: bytes) -> str:
    """The address of one file of a task; ids need no encoding, a path's bytes are kept exactly."""
    return _prefix(run_id, task_id) + targets.encode_path(path)


def scope(task_id: str, path: bytes) -> str:
    """What stands before each id of one document: `doc:train-0/task-summary.md:`, without a path for a run summary.

    No id of our own pages has a colon, and neither has a task's id or a slug. A path that is not plain is told by the
    beginning of its SHA-256.
    """
    if not path:
        return f"doc:{task_id}:"
    name = path.decode("ascii") if _PLAIN_PATH(path) else f"~{sha256(path).hexdigest()[:16]}"
    return f"doc:{task_id}/{name}:"


def fill(html: str, *, run_id: str, task_id: str, path: bytes = b"") -> str:
    """Write real addresses for the links to the task's own files, and give its ids their scope.

    Args:
        html: as `render` gave it.
        run_id: the run that is served.
        task_id: the task that wrote the document.
        path: the document's own path in the output directory, for links relative to its folder; a run-summary
            fragment counts as lying at the top.
    """
    html = html.replace(HERE, scope(task_id, path))
    prefix = _prefix(run_id, task_id)
    folder = path.rpartition(b"/")[0]
    if not folder and f'"{targets.FILE_SCHEME}..' not in html:
        filled = html.replace(f'<a href="{targets.FILE_SCHEME}', f'<a href="{prefix}')
        return filled.replace(f'<img src="{targets.FILE_SCHEME}', f'<img src="{prefix}')

    def address(found: re.Match[str]) -> str:
        joined = targets.join(folder, unquote_to_bytes(found[3]))
        if joined is None:
            return found[1]
        return f'{found[1]}{found[2]}{prefix}{targets.encode_path(joined)}{found[4] or ""}"'

    return _PRIVATE.sub(address, html)


def page_url(run_id: str, task_id: str, path: bytes) -> str:
    """The address of the page that shows one file of a task; see `file_url`."""
    return _page_prefix(run_id, task_id) + targets.encode_path(path)


def for_our_pages(filled: str, *, run_id: str, task_id: str, headings_from: int = 4) -> str:
    """Fit a filled document into our own pages.

    Images that are not files of this task become links: the page loads nothing from elsewhere, and nothing of
    ours that an author chose. Links to files of the task lead to the pages that show them. Headings move below the
    page's own, and what scrolls can be reached by keys.
    """
    shown = _TAG.sub(_Fitting(run_id, task_id).fit, filled)
    for plain, reachable in _SCROLLING:
        shown = shown.replace(plain, reachable)
    return _HEADING.sub(lambda found: f"<{found[1]}h{min(6, int(found[2]) + headings_from - 1)}", shown)


class _Fitting:
    """Fits the links and images of one document, in their order."""

    def __init__(self, run_id: str, task_id: str) -> None:
        self._task_id = task_id
        self._files = _prefix(run_id, task_id)
        self._pages = _page_prefix(run_id, task_id)
        self._open_links = self._images = 0

    def fit(self, tag: re.Match[str]) -> str:
        """Give what stands in a tag's place."""
        if tag[1] == "/a":
            self._open_links -= 1
            return tag[0]
        if tag[1] == "a":
            self._open_links += 1
            return self._to_page(tag[0])
        attributes = dict(_ATTRIBUTE.findall(tag[2]))
        if not attributes.get("src", "").startswith(self._files):
            return _as_link(attributes, is_inside_link=self._open_links > 0)
        self._images += 1
        return tag[0] if self._images <= EAGER_IMAGES else f'{tag[0][:-1]} loading="lazy">'

    def _to_page(self, tag: str) -> str:
        """Lead to a file's page, and there to the place that is named."""
        before = f'<a href="{self._files}'
        if not tag.startswith(before):
            return tag
        address, quote, after = tag.removeprefix(before).partition('"')
        path, mark, place = address.partition("#")
        if mark and _DOCUMENT.search(path):
            place = scope(self._task_id, unquote_to_bytes(path)) + place
        return f'<a href="{self._pages}{path}{mark}{place}{quote}{after}'


def _prefix(run_id: str, task_id: str) -> str:
    return f"/runs/{run_id}/tasks/{task_id}/outputs/file/"


def _page_prefix(run_id: str, task_id: str) -> str:
    return f"/ui/runs/{run_id}/tasks/{task_id}/files/"


def _as_link(attributes: dict[str, str], *, is_inside_link: bool) -> str:
    source, text = attributes.get("src"), attributes.get("alt") or attributes.get("src") or "image"
    if source is None or is_inside_link:
        return text
    return f'<a href="{source}" rel="noopener nofollow">{text}</a>'
