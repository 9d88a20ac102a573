"""Bring the files of a run or a task to this machine: whole, proven by their hash, and nowhere but below one folder."""

from .fetching import Wish, get

__all__ = ["Wish", "get"]
