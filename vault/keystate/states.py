"""Key states and their legal transitions. Source: NIST SP 800-57 part 1 Rev. 5, section 7."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from vault.errors import Conflict


class KeyState(StrEnum):
    """Where a key is in its life (section 7.1 to 7.6)."""

    PRE_ACTIVE = "pre-active"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


_S = KeyState
TRANSITIONS: Final[dict[KeyState, frozenset[KeyState]]] = {
    _S.PRE_ACTIVE: frozenset({_S.ACTIVE, _S.COMPROMISED, _S.DESTROYED}),
    _S.ACTIVE: frozenset({_S.SUSPENDED, _S.DEACTIVATED, _S.COMPROMISED, _S.DESTROYED}),
    _S.SUSPENDED: frozenset({_S.ACTIVE, _S.DEACTIVATED, _S.COMPROMISED, _S.DESTROYED}),
    _S.DEACTIVATED: frozenset({_S.COMPROMISED, _S.DESTROYED}),
    _S.COMPROMISED: frozenset({_S.DESTROYED}),
    _S.DESTROYED: frozenset(),
}

PROTECTS: Final = frozenset({_S.ACTIVE})
"""States in which a key may seal, sign or tokenize (applying protection)."""

PROCESSES: Final = frozenset({_S.ACTIVE, _S.DEACTIVATED, _S.COMPROMISED})
"""States in which a key may still open what it protects; of a compromised key, with care."""


def move(now: KeyState, to: KeyState) -> KeyState:
    """The new state.

    Raises:
        Conflict: `version_conflict`: the transition is not legal.
    """
    if to not in TRANSITIONS[now]:
        raise Conflict("version_conflict", state=now.value)
    return to


def may_open(key: KeyState, period: KeyState) -> bool:
    """Whether a key opens things, given its own row's state and its period's: both must allow it."""
    return key in PROCESSES and period in PROCESSES
