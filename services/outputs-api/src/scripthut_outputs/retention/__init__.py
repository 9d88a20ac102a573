"""What may go, and the sweep: files that retention removes, blobs that nobody refers to any more."""

from .loop import Done, Keeper, Terms

__all__ = ["Done", "Keeper", "Terms"]
