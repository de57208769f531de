"""The rate of a grant: GCRA, the generic cell rate algorithm, in whole microseconds. Pure.

One instant is kept: the theoretical arrival time, when all that was taken will have been earned back. Taking
moves it on; it may lie ahead of now by as much as the burst is worth. Source: ITU-T I.371, annex A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vault.clock import SECOND, Micros


@dataclass(frozen=True, slots=True)
class Rate:
    """So many items in so many seconds, and so many at once; whole numbers of at least 1.

    Attributes:
        count: items that are earned back in `per_s` seconds.
        burst: items that may be taken at once after a pause.

    Raises:
        ValueError: a number under 1.
    """

    count: int
    per_s: int
    burst: int

    def __post_init__(self) -> None:
        if min(self.count, self.per_s, self.burst) < 1:
            raise ValueError("a rate is of whole numbers of at least 1")


class Taken(NamedTuple):
    """The decision.

    Attributes:
        tat: the new theoretical arrival time, to be kept; None where nothing was taken.
        retry_after: microseconds after which the same could be taken; 0 where it was.
    """

    tat: Micros | None
    retry_after: int


def decide(tat: Micros | None, now: Micros, n: int, rate: Rate) -> Taken:
    """Whether `n` items may be taken now: in any t seconds at most burst + t * count / per_s of them.

    Roundings go against whoever takes, by less than a microsecond a decision; a whole burst can be taken all
    the same once everything was earned back. More than the burst never can: a grant whose batch is larger is
    refused when it is made.

    Args:
        tat: as it was kept; None where nothing was taken yet.
    """
    cost = -(-n * rate.per_s * SECOND // rate.count)
    tolerance = rate.burst * rate.per_s * SECOND // rate.count
    earned = now if tat is None else max(tat, now)
    wait = earned + cost - tolerance - now
    if n <= rate.burst:
        wait = min(wait, earned - now)
    return Taken(None, wait) if wait > 0 else Taken(earned + cost, 0)
