"""Collect what is due, one batch a cluster at a time, from the cluster into blobs and ledger."""

from .loops import Collector

__all__ = ["Collector"]
