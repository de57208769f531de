"""The connections of a listener: how many there may be, and how long each may take for what.

One look at all of them, a few times a second at most, replaces timers of each: a request sets no timer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from uvicorn.server import ServerState

EVICT_AFTER_S: Final = 1.0  # a connection that was used just now may have a request on its way
EVICTED_AT_ONCE: Final = 16  # one in so many of the idle ones, so that a flood does not cost a look each
SWEEP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections, and seconds for what they do (`[limits]`)."""

    connections: int = 4096
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    answer_s: float = 30.0

    @property
    def sweep_s(self) -> float:
        """How often deadlines are looked at."""
        return min(SWEEP_S, min(self.head_s, self.body_s, self.idle_s, self.answer_s) / 4)


class Connection(Protocol):
    """What is asked of a connection here."""

    @property
    def unused(self) -> bool:
        """Whether no request has begun on it."""

    @property
    def waiting_since(self) -> float | None:
        """Since when it waits for a request; None while one is under way, or once it is closing."""

    def sweep(self, now: float) -> None:
        """Ends what took too long."""

    def end(self) -> None:
        """Closes it; nothing is under way."""

    def shutdown(self) -> None:
        """Closes it, once what is under way is answered."""

    def abort(self) -> None:
        """Closes it at once."""


class Connections(ServerState):
    """All connections of a listener.

    Args:
        bounds: what they may take.
        refused: is told the code of each refusal that no request led to.
    """

    def __init__(self, bounds: Bounds, refused: Callable[[str], None] = lambda code: None) -> None:
        super().__init__()
        self.bounds = bounds
        self.refused = refused
        self.draining = False
        self.now = time.monotonic

    def __len__(self) -> int:
        return len(self.connections)

    @property
    def all(self) -> list[Connection]:
        """The connections there are now."""
        return list(self.connections)  # type: ignore[arg-type]

    def sweep(self) -> None:
        """Ends every connection that took too long for what it does."""
        now = self.now()
        for connection in self.all:
            connection.sweep(now)

    def evict(self) -> int:
        """Closes some of the connections that have waited longest for a request; how many."""
        now = self.now()
        waiting = [
            (since, number, connection)
            for number, connection in enumerate(self.all)
            if (since := connection.waiting_since) is not None and now - since >= EVICT_AFTER_S
        ]
        waiting.sort()
        chosen = waiting[: -(-len(waiting) // EVICTED_AT_ONCE)]
        for _, _, connection in chosen:
            connection.abort()  # what it has not read of its last answer would keep it open
        return len(chosen)

    def busy(self) -> list[Connection]:
        """The connections on which a request is under way."""
        return [connection for connection in self.all if connection.waiting_since is None]

    def drain(self) -> None:
        """Closes each connection as soon as nothing is under way on it. Who has just come may still ask,
        and is told."""
        self.draining = True
        for connection in self.all:
            if not connection.unused:
                connection.shutdown()

    def shutdown(self) -> None:
        """Closes each connection as soon as nothing is under way on it."""
        for connection in self.all:
            connection.shutdown()

    def abort(self) -> None:
        """Ends everything at once."""
        for connection in self.all:
            connection.abort()
        for task in list(self.tasks):
            task.cancel()
