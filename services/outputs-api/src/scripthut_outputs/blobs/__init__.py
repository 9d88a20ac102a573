"""Bytes by SHA-256, on disk or in an S3-compatible bucket.

A blob gets its name when it is whole and durable, in one step, so that a name always stands for whole content, also
after a crash. Equal content is kept once.
"""

from .opening import open_store
from .ports import ArrivingBlob, Batch, BlobStore, ListedBlob, Readable, StoredBlob, Sweepable
from .presence import Sized, is_there

__all__ = [
    "ArrivingBlob",
    "Batch",
    "BlobStore",
    "ListedBlob",
    "Readable",
    "Sized",
    "StoredBlob",
    "Sweepable",
    "is_there",
    "open_store",
]
