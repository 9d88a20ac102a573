"""Exit statuses that scripts can trust: one number for one meaning, the same in every command."""

from enum import IntEnum

from scripthut_common.errors import Error, NotAllowed, NotAuthenticated, NotFound, SettingsError


class Exit(IntEnum):
    """What a command ends with. A shell ends a program that is interrupted, or whose reader left, with 128 + signal."""

    FINE = 0
    ERROR = 1
    USAGE = 2
    RUN_FAILED = 3
    INCOMPLETE = 4
    UNKNOWN = 5
    NOT_FOUND = 6
    INTERRUPTED = 130
    READER_LEFT = 141


EPILOG = """exit status:
  0    fine; with watch and submit --wait: the run succeeded
  1    error: network, server, or something could not be written
  2    usage: the command line or a setting is wrong
  3    the run failed
  4    incomplete: with --strict, something is left out
  5    the run ended and nobody knows how
  6    not found, or no right to it
  130  interrupted
"""
_OF_RUNS = {"succeeded": Exit.FINE, "failed": Exit.RUN_FAILED, "unknown": Exit.UNKNOWN}


def of_run(state: str) -> Exit | None:
    """The status that tells how a run ended; `None` while it goes on."""
    return _OF_RUNS.get(state)


def of_error(error: Error) -> Exit:
    """The status of a command that ends in an error."""
    match error:
        case NotFound() | NotAllowed() | NotAuthenticated():
            return Exit.NOT_FOUND
        case SettingsError():
            return Exit.USAGE
        case _:
            return Exit.ERROR
