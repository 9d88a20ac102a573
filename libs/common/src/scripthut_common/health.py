"""Every process's answer to: do you live, are you ready, what did you count."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .errors import Error
from .serving import serve
from .supervision import Loop, Pulse

Check = Callable[[], Awaitable[str | None]]
"""Says what is wrong, in words; `None` when nothing is."""

_MISSED_BEATS = 3
_SHORTEST_SILENCE_S = 60.0
_JSON = "application/json"


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that does not work: the name of its loop or check, and what is wrong in words; empty: not told."""

    name: str
    fault: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `/health/live` and `/health/ready`."""

    status: str
    faults: tuple[Fault, ...] = ()

    def without_words(self) -> "Report":
        """The same for those who may not know what is wrong, as where the database is: names alone."""
        return Report(status=self.status, faults=tuple(Fault(name=fault.name) for fault in self.faults))


class Health:
    """What one process says of itself.

    Args:
        pulse: of the process's loops.
        checks: asked for `ready`, by name, each bounded in time, at most once in `fresh_s`.
        registry: the metrics to show; the pulse's are added to it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pulse: Pulse,
        checks: Mapping[str, Check],
        registry: CollectorRegistry,
        *,
        check_timeout_s: float = 5.0,
        fresh_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pulse = pulse
        self._checks = dict(checks)
        self._registry = registry
        self._check_timeout_s = check_timeout_s
        self._fresh_s = fresh_s
        self._clock = clock
        self._checking = asyncio.Lock()
        self._checked_at: float | None = None
        self._found: tuple[Fault, ...] = ()
        registry.register(_PulseCollector(pulse, clock))

    def live(self) -> tuple[HTTPStatus, Report]:
        """503 when a loop has been silent for three of its intervals, and a minute at least: restart the process."""
        now = self._clock()
        silent = tuple(
            Fault(name=name, fault=f"silent for {now - at:.0f} s")
            for name, at in self._pulse.beats.items()
            if now - at > max(_MISSED_BEATS * self._pulse.pauses_s[name], _SHORTEST_SILENCE_S)
        )
        return _report(silent, "live")

    async def ready(self) -> tuple[HTTPStatus, Report]:
        """503 with everything that does not work just now: failing loops, failing checks."""
        loops = tuple(Fault(name=name, fault=fault) for name, fault in sorted(self._pulse.faults.items()))
        return _report((*loops, *await self._check()), "ready")

    def metrics(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    async def _check(self) -> tuple[Fault, ...]:
        async with self._checking:
            if self._checked_at is None or self._clock() - self._checked_at >= self._fresh_s:
                said = await asyncio.gather(*(self._ask(check) for check in self._checks.values()))
                self._found = tuple(
                    Fault(name=name, fault=fault) for name, fault in zip(self._checks, said, strict=True) if fault
                )
                self._checked_at = self._clock()
            return self._found

    async def _ask(self, check: Check) -> str | None:
        try:
            async with asyncio.timeout(self._check_timeout_s):
                return await check()
        except TimeoutError:
            return f"no answer within {self._check_timeout_s:g} s"
        except Error as error:
            return str(error)


def loop(health: Health, host: str, port: int) -> Loop:
    """Serve `health` on a port of its own, for processes that serve nothing else."""

    async def step() -> None:
        await serve(app(health), host, port)

    return Loop(name="health", step=step, interval_s=1.0, is_server=True)


def app(health: Health) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """Make the ASGI application: `/health/live`, `/health/ready`, `/metrics`, nothing else."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001  no request has a body
        status, kind, body = await _answer(health, scope["method"], scope["path"])
        headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return answer


async def _answer(health: Health, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
    if method not in {"GET", "HEAD"}:
        return HTTPStatus.METHOD_NOT_ALLOWED, _JSON, b"{}"
    match path:
        case "/health/live":
            status, report = health.live()
        case "/health/ready":
            status, report = await health.ready()
        case "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, health.metrics()
        case _:
            return HTTPStatus.NOT_FOUND, _JSON, b"{}"
    return status, _JSON, msgspec.json.encode(report)


def _report(faults: tuple[Fault, ...], good: str) -> tuple[HTTPStatus, Report]:
    if not faults:
        return HTTPStatus.OK, Report(status=good)
    # What a cluster said may hold bytes that are no UTF-8.
    told = tuple(Fault(name=one.name, fault=one.fault.encode(errors="replace").decode()) for one in faults)
    return HTTPStatus.SERVICE_UNAVAILABLE, Report(status=f"not {good}", faults=told)


class _PulseCollector(Collector):
    """The pulse as metrics, read when they are asked for."""

    def __init__(self, pulse: Pulse, clock: Callable[[], float]) -> None:
        self._pulse = pulse
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        age = GaugeMetricFamily("scripthut_loop_silence_seconds", "Seconds since a loop's last beat", labels=["loop"])
        for name, at in self._pulse.beats.items():
            age.add_metric([name], self._clock() - at)
        failing = GaugeMetricFamily("scripthut_loop_failing", "1 while a loop cannot do its work", labels=["loop"])
        for name in self._pulse.beats | self._pulse.faults:
            failing.add_metric([name], float(name in self._pulse.faults))
        return [age, failing]
