"""What collecting and following have in common: ask the reader on a cluster, take the files that it sends."""

from .asking import Asking, Fault
from .receiving import Asked, Receiver

__all__ = ["Asked", "Asking", "Fault", "Receiver"]
