"""Decide what an observation means for an item. Pure."""
