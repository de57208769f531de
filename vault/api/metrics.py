"""Metrics: counts and times by our own names only; never a value, a token, a subject or an id."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sized
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vault.services.cell import Cell

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_LIMITS: Final = (*map(str, _BUCKETS), "+Inf")
_STATUS: Final = {number: str(number) for number in range(100, 600)}


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


class _KeyStores(Collector):
    """How the cells' key stores do. They are asked seldom: when a cell opens, by a look now and then."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        calls = CounterMetricFamily(
            "coatcheck_kms_calls", "Calls to the key store.", labels=("region", "call", "result")
        )
        times = HistogramMetricFamily(
            "coatcheck_kms_call_seconds", "Time of those calls.", labels=("region", "call")
        )
        serves = GaugeMetricFamily(
            "coatcheck_kms_serves", "Whether the last call went well.", labels=["region"]
        )
        breaker = GaugeMetricFamily(
            "coatcheck_kms_breaker", "1 for the breaker's state.", labels=("region", "state")
        )
        for region, cell in self._cells.items():
            if cell.key_store is None:
                continue
            figures, standing = cell.key_store.figures(), cell.key_store.standing()
            for (call, result), count in figures.calls.items():
                calls.add_metric((region, call, result), count)
            for call, (buckets, seconds) in figures.times.items():
                times.add_metric((region, call), buckets, seconds)
            serves.add_metric([region], float(not standing.cause))
            for state in type(standing.breaker):
                breaker.add_metric((region, state.value), float(state is standing.breaker))
        return [calls, times, serves, breaker]


class _Answers(Collector):
    """Plain numbers while requests are answered; the library's form only when somebody asks.

    Not safe between threads: counted and read on the loop alone.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], int] = defaultdict(int)  # by route, status, code
        self.buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self.seconds: dict[str, float] = defaultdict(float)

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "coatcheck_requests", "Requests answered.", labels=("route", "status", "code")
        )
        for labels, count in self.counts.items():
            requests.add_metric(labels, count)
        times = HistogramMetricFamily("coatcheck_request_seconds", "Time to answer.", labels=("route",))
        for route, buckets in self.buckets.items():
            times.add_metric(
                (route,), list(zip(_LIMITS, accumulate(buckets), strict=True)), self.seconds[route]
            )
        return [requests, times]


class _Refusals(Collector):
    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)

    def collect(self) -> Iterable[Metric]:
        refused = CounterMetricFamily(
            "coatcheck_connections_refused", "Refusals that no whole request led to.", labels=("code",)
        )
        for code, count in self.counts.items():
            refused.add_metric([code], count)
        return [refused]


class _Connections(Collector):
    def __init__(self, listeners: Mapping[str, Sized]) -> None:
        self._listeners = listeners

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily("coatcheck_connections", "Connections now.", labels=["listener"])
        for name, connections in self._listeners.items():
            gauge.add_metric([name], len(connections))
        return [gauge]


class Metrics:
    """What one process counts."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._answers = _Answers()
        self._registry = CollectorRegistry()
        self._registry.register(_Committers(cells))
        self._registry.register(_KeyStores(cells))
        self._registry.register(self._answers)
        self._refusals = _Refusals()
        self._registry.register(self._refusals)

    def answered(self, route: str, status: int, code: str, seconds: float) -> None:
        """Counts an answer."""
        answers = self._answers
        answers.counts[route, _STATUS[status], code] += 1
        answers.buckets[route][bisect_left(_BUCKETS, seconds)] += 1
        answers.seconds[route] += seconds

    def refused(self, code: str) -> None:
        """Counts a connection or a request that was refused before it was understood."""
        self._refusals.counts[code] += 1

    def watch(self, listeners: Mapping[str, Sized]) -> None:
        """Shows how many connections each listener has."""
        self._registry.register(_Connections(listeners))

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)
