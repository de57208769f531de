"""How long service keys may be valid, and when their end is near."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vault.clock import Micros, Period, format_time, parse_period, parse_time
from vault.errors import BadInput
from vault.keystate.states import KeyState

LONGEST_OVERLAP: Final = parse_period("P31D")
"""A key that was replaced because it is due is no key to keep: SP 800-57 part 1, 5.3.4."""

DEFAULT_OVERLAP: Final = parse_period("P7D")
DEFAULT_WARNING: Final = parse_period("P14D")


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """Terms of service keys (`[keys]`).

    Attributes:
        longest: how long a new key may be valid; None: any time, or for ever.
        overlap: how long a replaced key stays valid, if nobody says.
        warning: how long before its end a key's end is near.
    """

    longest: Period | None = None
    overlap: Period = DEFAULT_OVERLAP
    warning: Period = DEFAULT_WARNING


def expiry(terms: KeyTerms, asked: str | None, now: Micros) -> Micros:
    """When a new key ends; 0: never.

    Raises:
        BadInput: `validity_invalid`: no time, not in the future, or later than a key may be valid.
    """
    latest = 0 if terms.longest is None else terms.longest.after(now)
    if asked is None:
        return latest
    try:
        at = parse_time(asked)
    except ValueError:
        raise BadInput("validity_invalid", member="expires") from None
    if at <= now:
        raise BadInput("validity_invalid", member="expires")
    if latest and at > latest:
        raise BadInput("validity_invalid", member="expires", latest=format_time(latest))
    return at


def overlap_end(terms: KeyTerms, asked: str | None, now: Micros) -> Micros:
    """Until when a key that is replaced now stays valid.

    Raises:
        BadInput: `validity_invalid`: not a duration, or longer than a month.
    """
    latest = LONGEST_OVERLAP.after(now)
    try:
        end = (terms.overlap if asked is None else parse_period(asked)).after(now)
    except ValueError:
        raise BadInput("validity_invalid", member="overlap") from None
    if not now < end <= latest:
        raise BadInput("validity_invalid", member="overlap", latest=format_time(latest))
    return end


def key_state(expires_at: Micros, revoked_at: Micros, now: Micros) -> KeyState:
    """The state of a service key: none opens anything, so one that was revoked is as good as destroyed."""
    if revoked_at:
        return KeyState.DESTROYED
    return KeyState.DEACTIVATED if 0 < expires_at <= now else KeyState.ACTIVE


def ends_soon(terms: KeyTerms, expires_at: Micros, now: Micros) -> bool:
    """Whether a key's end is near, or was."""
    return 0 < expires_at <= terms.warning.after(now)
