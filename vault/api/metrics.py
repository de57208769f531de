"""Metrics: counts and times by our own names only; never a value, a token, a subject or an id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from vault.services.cell import Cell

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)


class _Committers(Collector):
    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        groups = CounterMetricFamily(
            "coatcheck_ledger_groups", "Transactions of the ledger.", labels=["region"]
        )
        commands = CounterMetricFamily("coatcheck_ledger_commands", "Commands decided.", labels=["region"])
        for region, cell in self._cells.items():
            groups.add_metric([region], cell.committer.groups)
            commands.add_metric([region], cell.committer.commands)
        return [groups, commands]


class Metrics:
    """What one process counts."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        registry = self._registry = CollectorRegistry()
        self._registry.register(_Committers(cells))
        self._requests = Counter(
            "coatcheck_requests", "Requests answered.", ("route", "status", "code"), registry=registry
        )
        self._seconds = Histogram(
            "coatcheck_request_seconds",
            "Time to answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._children: dict[tuple[str, int, str], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def answered(self, route: str, status: int, code: str, seconds: float) -> None:
        """Counts an answer."""
        key = (route, status, code)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(route, str(status), code)
            self._timers.setdefault(route, self._seconds.labels(route))
        child.inc()
        self._timers[route].observe(seconds)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)
