"""The pages' own styles and scripts: read once, named by their content, kept by browsers for ever."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import msgspec

from scripthut_common.errors import NotFound

_FOLDER = Path(__file__).parents[2] / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One static file."""

    body: bytes
    media_type: str


@cache
def _all() -> dict[str, Asset]:
    files = sorted(path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
    return {path.name: Asset(body=path.read_bytes(), media_type=_TYPES[path.suffix]) for path in files}


@cache
def version() -> str:
    """Named after the content of all of them: modules import each other by relative names."""
    whole = sha256()
    for name, asset in _all().items():
        whole.update(f"{name}\0{len(asset.body)}\0".encode() + asset.body)
    return whole.hexdigest()[:16]


def url(name: str) -> str:
    """Where a browser finds a static file.

    Raises:
        KeyError: there is none of that name; a template is wrong.
    """
    if name not in _all():
        raise KeyError(name)
    return f"/ui/static/{version()}/{name}"


def find(asked_version: str, name: str) -> Asset:
    """Give a static file.

    Raises:
        NotFound: there is none of that name, or it was of another version.
    """
    asset = _all().get(name)
    if asset is None or asked_version != version():
        raise NotFound("there is no such static file")
    return asset
