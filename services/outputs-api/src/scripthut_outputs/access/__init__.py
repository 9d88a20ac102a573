"""Who is asking, and what they may."""

from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a person is to this installation."""

    USER = "user"
    ADMIN = "admin"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking; `name` is compared with a run's owner."""

    name: str
    role: Role


class Action(StrEnum):
    """What a route does; every route names one. `ENTER` alone needs nobody: health, login, the look of pages."""

    ENTER = "enter"
    CREATE_RUN = "create_run"
    LIST_RUNS = "list_runs"
    READ_RUN = "read_run"
    CANCEL_RUN = "cancel_run"
    COLLECT_AGAIN = "collect_again"
    PIN_RUN = "pin_run"
    READ_CLUSTERS = "read_clusters"
    READ_METRICS = "read_metrics"
    READ_SCHEMA = "read_schema"
