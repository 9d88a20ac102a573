"""How long to rest between two rounds: little while things are about to change, longer while nothing does. Pure."""

from scripthut_common.retrying import Backoff

SETTLING_S = 2.0
SETTLES_SOON_S = 60.0
# News is found no later than 5 % of the time that it took to come about.
_SHARE_OF_QUIET = 0.05


def rest_s(usual_s: float, slowest_s: float, *, quiet_s: float = 0.0, is_settling: bool = False) -> float:
    """Say how long to rest after a round that got an answer.

    Args:
        usual_s: the cluster's own interval.
        slowest_s: the longest rest.
        quiet_s: how long ago something was last seen to change.
        is_settling: a job has just left the queue, and how it ended is about to be known.
    """
    if is_settling:
        return min(usual_s, SETTLING_S)
    return max(usual_s, min(_SHARE_OF_QUIET * quiet_s, slowest_s))


def retreat_s(usual_s: float, slowest_s: float, failures: int, jitter: float) -> float:
    """Say how long to rest after so many rounds in a row that got no answer.

    Args:
        usual_s: the cluster's own interval.
        slowest_s: the longest rest.
        failures: 1 or more.
        jitter: 0 to 1, drawn by the caller, so that several clusters' rounds do not come together.
    """
    return Backoff(first_s=2 * usual_s, longest_s=max(slowest_s, 2 * usual_s)).delay_s(failures, jitter)
