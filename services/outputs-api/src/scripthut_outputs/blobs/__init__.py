"""Bytes by SHA-256, on disk: `sha256/ab/cdef…` below one folder.

A blob arrives in a temporary file, is synced, and only then gets its name, so that a name always stands for whole
content, also after a crash; a batch of many is synced at once. What a crash leaves are temporary files, removed
when the next process begins to store. Equal content is kept once.
"""

from .arriving import ArrivingBlob, Batch, StoredBlob
from .store import DiskBlobs, open_store

__all__ = ["ArrivingBlob", "Batch", "DiskBlobs", "StoredBlob", "open_store"]
