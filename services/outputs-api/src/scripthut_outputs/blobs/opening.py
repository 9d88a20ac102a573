"""Open the blob store that a setting names: a folder, or a bucket."""

import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scripthut_common.errors import SettingsError
from scripthut_outputs.settings import S3Settings

from .bucket import open_bucket
from .disk import DiskBlobs
from .ports import BlobStore
from .s3 import S3Blobs


def open_store(url: str, s3: S3Settings | None = None) -> BlobStore:
    """Open the blob store at a path, a `file:` URL or `s3://bucket/prefix`; nothing is touched yet.

    Raises:
        SettingsError: the address or a setting of S3 is wrong.
    """
    parts = urlsplit(url)
    if "://" not in url:
        return DiskBlobs(Path(url).expanduser().absolute())
    match parts.scheme:
        case "file" if not parts.netloc and len(parts.path) > 1:
            return DiskBlobs(Path(unquote(parts.path)))
        case "s3":
            settings = s3 or S3Settings()
            return S3Blobs(open_bucket(url, settings), settings.spool_dir or tempfile.gettempdir())
    raise SettingsError(
        f"SCRIPTHUT_OUTPUTS_BLOBS_URL: {url!r} names no blob store: give a folder, file:///FOLDER or s3://BUCKET/PREFIX"
    )
