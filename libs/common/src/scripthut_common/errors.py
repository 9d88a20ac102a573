"""The error tree of both services: does trying again help, or not.

    Error
    ├── TransientError            trying again later may help
    │   ├── Unreachable           the cluster did not answer, or not completely
    │   │   └── NoConnection      not even a connection came about: nothing has run there
    │   │       └── AccessRefused it answered, but does not let us in (key, account)
    │   │           ├── HostNotTrusted  its host key is unknown, or another than it was
    │   │           └── AccountRefused  it lets us in, but not as this owner of jobs
    │   ├── TimedOut              it took longer than it was given
    │   ├── BusUnavailable        the broker is away
    │   ├── DatabaseUnavailable   PostgreSQL is away or restarting
    │   ├── StoreUnavailable      the blob store is full or away
    │   └── LeaseLost             somebody else has taken this work over
    └── PermanentError            trying again gives the same answer
        ├── NotFound
        ├── NotAuthenticated      nobody knows who is asking
        ├── NotAllowed
        ├── Conflict              it exists and differs
        ├── InvalidInput          names every faulty field
        ├── LimitExceeded         a named limit, with its number
        ├── BadOutput             a program printed something other than it promises
        ├── BadMessage            an event or command that cannot be read
        ├── Unroutable            nobody is bound to receive this message
        └── SettingsError         lists every missing or wrong setting

Foreign exceptions are translated where they enter (`raise … from error`). Kind becomes acknowledgement
in `bus.amqp`, problem+json in the HTTP controllers, and nothing else anywhere else.
"""

from collections.abc import Sequence

import msgspec


class Error(Exception):
    """Anything this product raises on purpose; its text is written for people."""


class TransientError(Error):
    """Trying again later may help."""


class Unreachable(TransientError):
    """The cluster did not answer, or not completely: nothing may be concluded from it."""


class NoConnection(Unreachable):
    """No connection to the cluster came about: nothing of what was asked has run there."""


class AccessRefused(NoConnection):
    """The cluster answered but does not let us in: wrong key, unknown or changed host key."""


class HostNotTrusted(AccessRefused):
    """Nobody vouches for the host key that the cluster shows: it may be somebody else."""


class AccountRefused(AccessRefused):
    """One account of the cluster is closed to us; others need not be."""


class TimedOut(TransientError):
    """It took longer than it was given."""


class BusUnavailable(TransientError):
    """The broker is away, or did not confirm."""


class DatabaseUnavailable(TransientError):
    """PostgreSQL is away, restarting, or gave up this transaction."""


class StoreUnavailable(TransientError):
    """The blob store is full or away."""


class LeaseLost(TransientError):
    """Somebody else has taken this work over; our result is not written."""


class PermanentError(Error):
    """Trying again gives the same answer."""


class NotFound(PermanentError):
    """There is no such thing, or none that the asker may see."""


class NotAuthenticated(PermanentError):
    """Nobody knows who is asking."""


class NotAllowed(PermanentError):
    """The asker is known and may not do this."""


class Conflict(PermanentError):
    """It exists already and differs."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with an input: where it stands and what is wrong there."""

    field: str
    message: str


class InvalidInput(PermanentError):
    """An input was refused; `problems` names every faulty field."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class LimitExceeded(PermanentError):
    """A named limit was passed; the text gives the limit and what was found."""


class BadOutput(PermanentError):
    """A program on the cluster printed something other than it promises."""


class BadMessage(PermanentError):
    """An event or command that cannot be read."""


class Unroutable(PermanentError):
    """Nobody is bound to receive this message."""


class SettingsError(PermanentError):
    """Settings are missing or wrong; the text lists all of them, one a line."""
