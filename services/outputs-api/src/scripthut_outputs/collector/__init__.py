"""Collect what is due, one portion a lane at a time, from the clusters into blobs and ledger."""

from .loops import Collector
from .pace import Pace

__all__ = ["Collector", "Pace"]
