"""What is counted of requests, before the door: by route, method and kind of answer, and how soon it began.

The addresses of people never become labels: a route is counted by its template, everything else as one.
"""

import time
from collections.abc import Iterable
from typing import Any, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from scripthut_outputs.catalog.looks import Looks

_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LOGIN = "/login"
_REFUSED = frozenset({401, 403})


class Requests:
    """The figures of requests in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "scripthut_outputs_http_requests",
            "Requests answered, by the template of their route, method and first digit of the status",
            ["route", "method", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "scripthut_outputs_http_request_duration_seconds",
            "How long it took until an answer began; how long a download or a stream lasts is not in it",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.refusals = Counter(
            "scripthut_outputs_login_refusals",
            "Tokens and sessions that were not taken (token), and logins that were not (login)",
            ["kind"],
            registry=registry,
        )
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._histograms: dict[str, Any] = {}

    def count(self, route: str, method: str, status: int, lasted_s: float) -> None:
        """Count one answer; what its labels stand for is looked up once."""
        key = (route, method, status // 100)
        counter = self._counters.get(key)
        if counter is None:
            shown = method if method in _METHODS else "other"
            counter = self._answers.labels(route, shown, f"{status // 100}xx")
            if method in _METHODS:
                self._counters[key] = counter
        counter.inc()
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._durations.labels(route)
        histogram.observe(lasted_s)


class Counted:
    """Counts the requests of an application, those that the door refuses too.

    Whoever answers a request leaves its route's template in the scope, under `path_template`, as the framework does.
    """

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and count its answer when it begins."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(cast("dict[str, Any]", scope), message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, sending)

    def _count(self, scope: dict[str, Any], status: int, lasted_s: float) -> None:
        route = scope.get("path_template") or _NO_ROUTE
        self._requests.count(route, scope["method"], status, lasted_s)
        if status in _REFUSED:
            if route == _LOGIN:
                self._requests.refusals.labels("login").inc()
            elif status == 401 and any(name == b"authorization" for name, _ in scope["headers"]):
                self._requests.refusals.labels("token").inc()


class AuditCollector(Collector):
    """What the audit log's looks count, read when it is asked for."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks

    def collect(self) -> Iterable[Metric]:
        """Give the figures."""
        waiting = GaugeMetricFamily(
            "scripthut_outputs_audit_waiting_looks", "Looks that wait to be written to the audit log"
        )
        waiting.add_metric([], self._looks.waiting)
        written = CounterMetricFamily("scripthut_outputs_audit_written_looks", "Looks written to the audit log")
        written.add_metric([], self._looks.written)
        dropped = CounterMetricFamily(
            "scripthut_outputs_audit_dropped_looks", "Looks that found no room while the database was away"
        )
        dropped.add_metric([], self._looks.dropped)
        return [waiting, written, dropped]
