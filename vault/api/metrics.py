"""Metrics: counts and times by our own names only; never a value, a token, a subject or an id."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sized
from itertools import accumulate
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from vault.api.board import Board
from vault.services.cell import Cell

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
_LIMITS: Final = (*map(str, _BUCKETS), "+Inf")
_STATUS: Final = {number: str(number) for number in range(100, 600)}


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


class _ServiceKeys(Collector):
    """Service keys that end soon; looked at once a minute."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        ending = GaugeMetricFamily(
            "coatcheck_service_keys_ending",
            "Valid service keys whose end is near (keys.warning) and that have no successor.",
            labels=["region"],
        )
        unreviewed = GaugeMetricFamily(
            "coatcheck_review_items_open",
            "Access that nobody confirmed yet, of reviews that are due within a week or were; it will go.",
            labels=["region"],
        )
        for region, cell in self._cells.items():
            ending.add_metric([region], cell.ending)
            unreviewed.add_metric([region], cell.unreviewed)
        return [ending, unreviewed]


class _Directory(Collector):
    """How far the directory lags behind the cells that tell it; looked at once a minute."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        untold = GaugeMetricFamily(
            "coatcheck_directory_untold",
            "People, new or removed, that the directory is yet to be told of.",
            labels=["region"],
        )
        for region, cell in self._cells.items():
            if cell.directory is not None:
                untold.add_metric([region], cell.untold)
        return [untold]


class _People(Collector):
    """What waits for people, or did not reach them; looked at once a minute."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells

    def collect(self) -> Iterable[Metric]:
        overdue = GaugeMetricFamily(
            "coatcheck_break_glass_overdue",
            "Grants past a ceiling whose review is late.",
            labels=["region"],
        )
        given_up = GaugeMetricFamily(
            "coatcheck_notices_given_up",
            "Notices of the last week that nobody took.",
            labels=["region"],
        )
        for region, cell in self._cells.items():
            overdue.add_metric([region], cell.overdue)
            given_up.add_metric([region], cell.untellable)
        return [overdue, given_up]


class Numbers(msgspec.Struct):
    """Plain numbers while requests are answered; the library's form only when somebody asks.

    Not safe between threads: counted and read on the loop alone.
    """

    counts: dict[tuple[str, str, str], int] = {}  # by route, status, code
    buckets: dict[str, list[int]] = {}
    seconds: dict[str, float] = {}
    refused: dict[str, int] = {}
    ledger: dict[str, list[int]] = {}  # by region: groups, commands
    connections: dict[str, int] = {}
    limited: dict[tuple[str, str], int] = {}  # by region, bound

    def add(self, other: Numbers) -> None:
        """Adds another process's."""
        for mine, theirs in ((self.counts, other.counts), (self.refused, other.refused)):
            _add(mine, theirs)
        _add(self.limited, other.limited)
        _add(self.seconds, other.seconds)
        _add(self.connections, other.connections)
        for lists, more in ((self.buckets, other.buckets), (self.ledger, other.ledger)):
            for name, numbers in more.items():
                held = lists.setdefault(name, [0] * len(numbers))
                lists[name] = [one + two for one, two in zip(held, numbers, strict=True)]


def _add(mine: dict[Any, Any], theirs: Mapping[Any, Any]) -> None:
    for name, number in theirs.items():
        mine[name] = mine.get(name, 0) + number


class _Families(Collector):
    """The numbers in the library's form."""

    def __init__(self, total: Callable[[], Numbers]) -> None:
        self._total = total

    def collect(self) -> Iterable[Metric]:
        numbers = self._total()
        groups = CounterMetricFamily(
            "coatcheck_ledger_groups", "Transactions of the ledger.", labels=["region"]
        )
        commands = CounterMetricFamily("coatcheck_ledger_commands", "Commands decided.", labels=["region"])
        for region, (grouped, decided) in numbers.ledger.items():
            groups.add_metric([region], grouped)
            commands.add_metric([region], decided)
        requests = CounterMetricFamily(
            "coatcheck_requests", "Requests answered.", labels=("route", "status", "code")
        )
        for labels, count in numbers.counts.items():
            requests.add_metric(labels, count)
        times = HistogramMetricFamily("coatcheck_request_seconds", "Time to answer.", labels=("route",))
        for route, buckets in numbers.buckets.items():
            limits = list(zip(_LIMITS, accumulate(buckets), strict=True))
            times.add_metric((route,), limits, numbers.seconds[route])
        refused = CounterMetricFamily(
            "coatcheck_connections_refused", "Refusals that no whole request led to.", labels=("code",)
        )
        for code, count in numbers.refused.items():
            refused.add_metric([code], count)
        gauge = GaugeMetricFamily("coatcheck_connections", "Connections now.", labels=["listener"])
        for name, count in numbers.connections.items():
            gauge.add_metric([name], count)
        limited = CounterMetricFamily(
            "coatcheck_limited", "Requests refused for coming too fast.", labels=("region", "bound")
        )
        for bound, count in numbers.limited.items():
            limited.add_metric(bound, count)
        return [groups, commands, requests, times, refused, gauge, limited]


class Metrics:
    """What the service counts: this process, and those that it shares a board with.

    Args:
        cells: whose committers are counted.
        board: where the processes of a service tell each other; None: there is one process.
        slot: this process's place on it. What the one before it counted is counted on.
    """

    def __init__(self, cells: Mapping[str, Cell], board: Board | None = None, slot: int = 0) -> None:
        self._cells = cells
        self._board = board
        self._slot = slot
        self._listeners: Mapping[str, Sized] = {}
        self._own = Numbers()
        self._before = Numbers()
        if board is not None:
            self._before = _decoded(board.read(slot))
            self._before.connections = {}
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self._total))
        self._registry.register(_KeyStores(cells))
        self._registry.register(_ServiceKeys(cells))
        self._registry.register(_Directory(cells))
        self._registry.register(_People(cells))

    def answered(self, route: str, status: int, code: str, seconds: float) -> None:
        """Counts an answer."""
        own = self._own
        labels = (route, _STATUS[status], code)
        own.counts[labels] = own.counts.get(labels, 0) + 1
        buckets = own.buckets.get(route)
        if buckets is None:
            buckets = own.buckets[route] = [0] * len(_LIMITS)
            own.seconds[route] = 0.0
        buckets[bisect_left(_BUCKETS, seconds)] += 1
        own.seconds[route] += seconds

    def refused(self, code: str) -> None:
        """Counts a connection or a request that was refused before it was understood."""
        self._own.refused[code] = self._own.refused.get(code, 0) + 1

    def watch(self, listeners: Mapping[str, Sized]) -> None:
        """Shows how many connections each listener has."""
        self._listeners = listeners

    def share(self) -> None:
        """Tells the other processes."""
        if self._board is not None:
            self._board.write(self._slot, _ENCODER.encode(self._numbers()))

    def render(self) -> bytes:
        """The text exposition format, over all processes; what the others count is a second old at most."""
        return generate_latest(self._registry)

    def _numbers(self) -> Numbers:
        """This process's, and those of the one that it took the place of."""
        own = self._own
        own.ledger = {
            region: [cell.committer.groups, cell.committer.commands] for region, cell in self._cells.items()
        }
        own.limited = {
            (region, bound): count
            for region, cell in self._cells.items()
            for bound, count in cell.pacing.totals.items()
        }
        own.connections = {name: len(listener) for name, listener in self._listeners.items()}
        numbers = Numbers({}, {}, {}, {}, {}, {}, {})
        numbers.add(self._before)
        numbers.add(own)
        return numbers

    def _total(self) -> Numbers:
        total = self._numbers()
        if self._board is not None:
            for slot in range(self._board.slots):
                if slot != self._slot:
                    total.add(_decoded(self._board.read(slot)))
        return total


def _decoded(text: bytes) -> Numbers:
    return _DECODER.decode(text) if text else Numbers({}, {}, {}, {}, {}, {}, {})


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Numbers)
