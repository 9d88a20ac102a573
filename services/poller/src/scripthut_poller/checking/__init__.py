"""`check CLUSTER`: try everything that the services need of a cluster, and say what works, what does not, what to do.

`looking.look` walks through the steps in the order in which they depend on each other, `owners` tries to be somebody
else; `probes` has the fixed programs of each scheduler, `answers` says what an answer means. Nothing is submitted, and
what is written for a trial is removed.
"""

from .findings import Finding, Verdict
from .looking import look, look_at_database
from .owners import look_at_owners

__all__ = ["Finding", "Verdict", "look", "look_at_database", "look_at_owners"]
