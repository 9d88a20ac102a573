"""Archives as their receivers take them: opened, checked, each file found by the ledger inside."""

import io
import zipfile
from base64 import b64decode
from typing import Any

import msgspec


def opened(raw: bytes) -> zipfile.ZipFile:
    """Open an archive whose every checksum is right."""
    archive = zipfile.ZipFile(io.BytesIO(raw))
    assert archive.testzip() is None
    return archive


def ledger(archive: zipfile.ZipFile, folder: str = "") -> dict[str, Any]:
    """Read the ledger of a task."""
    found: dict[str, Any] = msgspec.json.decode(archive.read(f"{folder}ledger.json"))
    return found


def outputs(archive: zipfile.ZipFile, folder: str = "") -> dict[bytes, bytes]:
    """Read every output file, by its exact path on the cluster."""
    return {
        b64decode(file["path_b64"]): archive.read(folder + file["entry"])
        for file in ledger(archive, folder)["files"]
        if file["place"] == "output" and file["entry"] is not None
    }
