"""Is everything still there: the ledger held against the blob store, and repaired by collecting again."""

from .faults import Fault, What
from .looking import Blobs, Verifier

__all__ = ["Blobs", "Fault", "Verifier", "What"]
