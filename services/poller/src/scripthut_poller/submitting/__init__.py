"""Hand items to the scheduler of one cluster, each exactly once; release and cancel what was handed over.

A claim is committed before anything runs. Whoever claimed and did not say what became of it (crash, cut
connection) leaves items *unclear*: they are looked up by their tags, in queue and accounting. What is found is
taken over at once; that something is not there counts only after the claim's lease, which covers the longest
time that the submission may have gone on and what accounting lags behind.
"""

from .stepping import Submitting

__all__ = ["Submitting"]
