"""Between the event loop and the committers: runs verbs, hands commands over once a tick.

Small steps run where they are; the steps of large bodies run in a thread. All commands of one tick of
the loop go to a committer as one list, and all that it settles come back with one wake-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from vault.errors import MAX_TRIES, CoatcheckError, Stale, Unauthenticated, Unavailable, pause_after
from vault.services.cell import Cell

LARGE_BODY_BYTES: Final = 2 * 1024  # about 64 values, or 200 short ones


class Bridge:
    """One cell's way from the loop to its committer.

    Args:
        cell: the cell.
        loop: the loop that the requests run on.
    """

    def __init__(self, cell: Cell, loop: asyncio.AbstractEventLoop) -> None:
        self.cell = cell
        self._loop = loop
        self._tick: list[Any] = []

    async def perform(self, start: Callable[[], Any], pool: ThreadPoolExecutor | None = None) -> Any:
        """Runs a verb to its end and returns its answer; makes it again while it is stale.

        Args:
            start: makes the verb.
            pool: where it is made and its steps run; None: here, for they are short.

        Raises:
            CoatcheckError: what the verb raised; `too_busy` when it stayed stale.
        """
        for tries in range(MAX_TRIES):
            if tries:
                await asyncio.sleep(pause_after(tries))
            verb: Any = None
            outcome: Any = None
            settled = False
            try:
                while True:
                    if pool is not None:
                        verb, ended, result = await self._loop.run_in_executor(
                            pool, _step, start, verb, outcome
                        )
                        if ended:
                            return result
                    elif isinstance(outcome, Exception):
                        result = verb.throw(outcome)
                    else:
                        verb = verb or start()
                        result = verb.send(outcome)
                    outcome = await self._commit(result)
                    settled = settled or not isinstance(outcome, Exception)
            except StopIteration as end:
                return end.value
            except Stale:
                if verb is not None:
                    verb.close()
                self.cell.forget()
            except CoatcheckError as refusal:
                final = settled or isinstance(refusal, Unauthenticated | Unavailable)
                if final or not self.cell.outdated():
                    raise
                self.cell.forget()
        raise Unavailable("too_busy", retry_after=1)

    def _commit(self, command: Any) -> asyncio.Future[Any]:
        """Hands a command over at the end of this tick; the future has its outcome."""
        future = self._loop.create_future()
        pending = self.cell.committer.pending(command, self._deliver)
        pending.waiter = future
        if not self._tick:
            self._loop.call_soon(self._hand_over)
        self._tick.append(pending)
        return future

    def _hand_over(self) -> None:
        tick, self._tick = self._tick, []
        try:
            self.cell.committer.submit(tick)
        except CoatcheckError as refusal:
            for pending in tick:
                pending.outcome = refusal
            self._wake(tick)

    def _deliver(self, done: list[Any]) -> None:
        """Called by the committer's thread, once for all that it settled."""
        self._loop.call_soon_threadsafe(self._wake, done)

    @staticmethod
    def _wake(done: list[Any]) -> None:
        for pending in done:
            if not pending.waiter.done():
                pending.waiter.set_result(pending.outcome)


def _step(start: Callable[[], Any], verb: Any, outcome: Any) -> tuple[Any, bool, Any]:
    """Makes a verb or resumes it with an outcome: the verb, whether it ended, its answer or next command."""
    verb = verb or start()
    try:
        if isinstance(outcome, Exception):
            return verb, False, verb.throw(outcome)
        return verb, False, verb.send(outcome)
    except StopIteration as end:
        return verb, True, end.value
