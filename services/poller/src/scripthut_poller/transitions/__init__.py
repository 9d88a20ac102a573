"""Decide what an observation means for an item. Pure."""

from .deciding import NO_RECORD, NO_VERDICT, decide, is_watched, wanted
from .standing import Clock, Decision, Observation, Patience, Source, Standing

__all__ = [
    "NO_RECORD",
    "NO_VERDICT",
    "Clock",
    "Decision",
    "Observation",
    "Patience",
    "Source",
    "Standing",
    "decide",
    "is_watched",
    "wanted",
]
