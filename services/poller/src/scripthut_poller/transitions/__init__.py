"""Decide what an observation means for an item. Pure."""

from .deciding import NO_RECORD, NO_START, NO_VERDICT, RAN_AS_ANOTHER_JOB, decide, is_watched, wanted
from .standing import Clock, Decision, Observation, Source, Standing

__all__ = [
    "NO_RECORD",
    "NO_START",
    "NO_VERDICT",
    "RAN_AS_ANOTHER_JOB",
    "Clock",
    "Decision",
    "Observation",
    "Source",
    "Standing",
    "decide",
    "is_watched",
    "wanted",
]
