"""From templates to pages: our own Jinja environment, escaping everything, and the headers of every page."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import MediaType, Response

from scripthut_common import text

from . import assets

_TEMPLATES = Path(__file__).parents[2] / "templates"
_REST_OF_POLICY = (
    "style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'"
)
POLICY = f"default-src 'none'; img-src 'self'; {_REST_OF_POLICY}"
POLICY_WITH_PICTURES = f"default-src 'none'; img-src 'self' data:; {_REST_OF_POLICY}"
"""For pictures that a notebook carries inside: we write their addresses, from bytes that begin as pictures do."""
POLICY_WITH_FRAME = f"default-src 'none'; img-src 'self'; frame-src 'self'; {_REST_OF_POLICY}"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "private, no-cache",
}


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["number"] = text.count
    environment.filters["when"] = text.when
    environment.filters["machine_time"] = text.machine_time
    environment.globals["static"] = assets.url
    known = ("refresh_s", "viewer", "is_admin", "is_guest", "download", "events", "version", "task", "oidc_label")
    environment.globals |= dict.fromkeys(known)
    environment.globals["layout"] = "base.html"
    return environment


def write(template: str, **shown: object) -> str:
    """Fill a template."""
    return _environment().get_template(template).render(**shown)


def answer(html: str | bytes, *, status: int = 200, etag: str | None = None, policy: str = POLICY) -> Response[Any]:
    """Answer with a page; `policy` is what it may load."""
    headers = {**HEADERS, "content-security-policy": policy}
    if etag:
        headers["etag"] = etag
    return Response(html, status_code=status, media_type=MediaType.HTML, headers=headers)


def not_modified(etag: str, *, policy: str = POLICY) -> Response[Any]:
    """Answer that the reader has the page already."""
    headers = {**HEADERS, "content-security-policy": policy, "etag": etag}
    return Response(b"", status_code=304, headers=headers)
