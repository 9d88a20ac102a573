"""A stand-in for OpenPBS, which Debian does not have: a server, a node, and the client commands, over recorded formats.

It is small and knows what the tests need. Commands and their options that it does not know end with exit status 2; the
texts, exit statuses and record layout are those of `tests/recordings/pbs/v23.06.06`, the delays are shorter.
"""

from .cluster import PbsCluster

__all__ = ["PbsCluster"]
