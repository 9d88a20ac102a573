"""Wrong tokens and login links: counted, told to the audit log as long as there are few, answered with a wait beyond.

A right token is never asked to wait. Tokens cannot be guessed, however many are tried: what the wait is for is that
wrong ones fill no log and ask no database, and that a program with an old token learns to stop. Several people, or a
whole login node, share an address: a program of one of them with an old token keeps nobody from logging in, since
each kind of what is shown has a count of its own.
"""

import math
from collections import defaultdict

import structlog

from scripthut_common.errors import DatabaseUnavailable
from scripthut_outputs.catalog.auditing import Act, Audit

from .throttling import Buckets, Rate

_TRIED_EACH, _TRIED_ALL = Rate(20, 3.0), Rate(200, 0.1)
_WRITTEN_EACH, _WRITTEN_ALL = Rate(5, 60.0), Rate(50, 5.0)

log = structlog.get_logger()


class Refusals:
    """Counts who was refused."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        self._tried: dict[str, Buckets] = defaultdict(lambda: Buckets(_TRIED_EACH, _TRIED_ALL))
        self._written = Buckets(_WRITTEN_EACH, _WRITTEN_ALL)
        self._unwritten = 0

    def __len__(self) -> int:
        """How many addresses are remembered, of the kind that came from most."""
        return max(map(len, (self._written, *self._tried.values())))

    def wait_s(self, address: str, now: float, shown: str) -> int:
        """How long an address should wait before it shows such a thing again, in whole seconds; 0 when it need not."""
        return math.ceil(self._tried[shown].wait_s(address, now))

    async def note(self, address: str, now: float, shown: str, reason: str | None = None) -> int:
        """Count one refusal; gives how long to wait, as `wait_s` does.

        Args:
            address: from where.
            now: epoch seconds.
            shown: what was wrong: `bearer`, `form`, `code` or `oidc`.
            reason: why, where that is not the same for all of its kind.
        """
        waits_s = math.ceil(self._tried[shown].take(address, now))
        if self._written.take(address, now):
            self._unwritten += 1
            return waits_s
        details: dict[str, object] = {"shown": shown, "not_written_before": self._unwritten}
        if reason is not None:
            details["reason"] = reason
        self._unwritten = 0
        log.warning("login_refused", address=address, **details)
        try:
            await self._audit.did(Act(act="login.refused", address=address or None, details=details))
        except DatabaseUnavailable as error:
            log.warning("login_refused_not_written", error=str(error))
        return waits_s
