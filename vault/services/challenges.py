"""Challenges for passkeys (W3C Web Authentication, 13.4.3): made without a row, answered once.

A challenge says itself until when it may be answered, and for what; a MAC keeps anybody from making one.
So whoever has no credential writes nothing by asking. That it was answered is written with what the answer
did, in the same transaction, so a second answer finds it spent.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from vault.clock import SECOND, Micros
from vault.context import TAG_CALLER, TAG_RECORD, TAG_USE, canonical
from vault.crypto.mac import mac, same
from vault.crypto.randomness import new_key
from vault.errors import BadInput, Unavailable
from vault.keyring.authenticators import Authenticators, authenticators, authenticators_from
from vault.ledger.command import Needs, State, Writes
from vault.services.cell import Cell

LIFETIME: Final[Micros] = 300 * SECOND
_NONCE_BYTES: Final = 16  # Web Authentication Level 3, 13.4.3
_TIME_BYTES: Final = 8
_MAC_BYTES: Final = 32
_nobodys: Final = authenticators_from(new_key(), "")
"""In place of a cell's key where nobody has a passkey: what is made with it opens nothing."""


@dataclass(frozen=True, slots=True, repr=False)
class Answered:
    """A challenge that came back whole and in time; whether it was answered before, the ledger knows."""

    digest: bytes
    expires_at: Micros

    def needs(self, needs: Needs) -> None:
        """Its row, if there is one."""
        needs.challenges.add(self.digest)

    def spend(self, state: State, writes: Writes) -> None:
        """Spends it.

        Raises:
            BadInput: `passkey_invalid`: it was answered before.
        """
        if self.digest in state.challenges or self.expires_at <= state.now:
            raise BadInput("passkey_invalid")
        state.challenges.add(self.digest)
        writes.insert("challenge", digest=self.digest, expires_at=self.expires_at)


def keys_of(cell: Cell) -> Authenticators:
    """The cell's key over authenticators; where it has none, one that nothing was made with."""
    try:
        return authenticators(cell.keyring)
    except Unavailable:
        if cell.keyring.held:
            return _nobodys
        raise


def new_challenge(cell: Cell, use: str, of: str = "") -> bytes:
    """A challenge.

    Args:
        use: what it is for.
        of: whose it is alone: a session; empty: whoever answers.
    """
    head = os.urandom(_NONCE_BYTES) + (cell.clock.now() + LIFETIME).to_bytes(_TIME_BYTES, "big")
    return head + _tag(cell, head, use, of)


def check_challenge(cell: Cell, challenge: bytes, use: str, of: str = "") -> Answered:
    """The challenge, if it is one of this cell's, for this use, and not too old.

    Raises:
        BadInput: `passkey_invalid`.
    """
    head, tag = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
    if len(head) != _NONCE_BYTES + _TIME_BYTES or not same(tag, _tag(cell, head, use, of)):
        raise BadInput("passkey_invalid")
    expires_at = int.from_bytes(head[_NONCE_BYTES:], "big")
    if expires_at <= cell.clock.now():
        raise BadInput("passkey_invalid")
    return Answered(hashlib.sha256(challenge).digest(), expires_at)


def _tag(cell: Cell, head: bytes, use: str, of: str) -> bytes:
    parts = ((TAG_USE, use.encode()), (TAG_RECORD, head), (TAG_CALLER, of.encode()))
    return mac(keys_of(cell).challenges, canonical(parts))
