"""One request and its answer, sent again where that is safe. Does no I/O: it yields what is to be done.

A request under a grant is charged when it is decided, and no answer with values is given twice. So it is sent
again only if it was certainly not decided: no connection was made, or the service says that it did nothing.
Under an Idempotency-Key it is charged once, however often it is sent, and so may be sent whatever happened.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from vault.client.http import answer_of, unreachable
from vault.errors import CoatcheckError

_SECONDS: Final = re.compile(
    r"[0-9]{1,6}", re.ASCII
)  # of Retry-After (RFC 9110, 10.2.3); dates are not taken
_FIRST_PAUSE_S: Final = 0.1  # where nothing says how long; it doubles each time
_BUSY: Final = (429, 503)  # not 502 and 504, by which a proxy says that it does not know what came of it

T = TypeVar("T")


@dataclass(frozen=True, slots=True, repr=False)
class Send:
    """A request to send.

    Attributes:
        url: as its proof names it.
        jti: the name of its proof.
    """

    method: str
    url: str
    headers: dict[str, str]
    content: bytes
    jti: str


class Pause(NamedTuple):
    """A time to wait."""

    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Received:
    """What was answered."""

    status: int
    retry_after: str | None
    body: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Lost:
    """That nothing was answered.

    Attributes:
        begun: whether anything of the request may have been sent.
        lasting: whether it would be the same the next time.
    """

    error: CoatcheckError
    begun: bool
    lasting: bool


Step = Send | Pause
Outcome = Received | Lost | None
Exchange = Generator[Step, Outcome, T]


class Patience(NamedTuple):
    """How long it is tried.

    Attributes:
        tries: how often a request is sent at most.
        pause_s: the longest pause between two; where the service asks for more, its refusal is raised.
    """

    tries: int = 3
    pause_s: float = 10.0


def received(response: httpx.Response) -> Received:
    """An answer of httpx's."""
    return Received(response.status_code, response.headers.get("retry-after"), response.content)


def lost(problem: Exception) -> Lost:
    """A failure of httpx's: one in connecting comes before anything is sent."""
    before = isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    error = unreachable(problem)
    lasting = "reason" in error.facts or isinstance(problem, httpx.UnsupportedProtocol | httpx.InvalidURL)
    return Lost(error, not before, lasting)


def exchange(
    make: Callable[[], Send], *, once: bool, patience: Patience
) -> Generator[Step, Outcome, tuple[Send, Any]]:
    """The request that was answered, and its decoded answer.

    Args:
        make: a request with a new proof; a proof is taken once.
        once: whether the request has an Idempotency-Key.

    Raises:
        CoatcheckError: the last refusal, `service_unreachable` without one.
    """
    for tried in range(1, max(patience.tries, 1) + 1):
        send = make()
        outcome = yield send
        if isinstance(outcome, Received):
            try:
                return send, answer_of(outcome.status, outcome.body)
            except CoatcheckError as refusal:
                error = refusal
                pause = _after_refusal(outcome, refusal, once=once)
        elif outcome is None:
            raise TypeError("a request was sent and its outcome not told")
        else:
            error = outcome.error
            again = not outcome.lasting and (once or not outcome.begun)
            pause = _FIRST_PAUSE_S * 2**tried if again else None
        if tried >= patience.tries or pause is None or pause > patience.pause_s:
            break
        yield Pause(pause + _jitter(pause))
    raise error


def _after_refusal(answer: Received, refusal: CoatcheckError, *, once: bool) -> float | None:
    """Seconds after which a refused request may be sent again; None: not at all."""
    if answer.status not in _BUSY or not _SECONDS.fullmatch(answer.retry_after or ""):
        return None
    charged = "uses_left" in refusal.facts  # decided, and then it could not be opened
    if charged or (refusal.code == "outcome_unknown" and not once):
        return None
    return float(answer.retry_after or "")


def _jitter(pause: float) -> float:
    """Up to half as long again: what was refused together does not come back together."""
    return secrets.randbelow(500_001) / 1_000_000 * pause
