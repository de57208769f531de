"""What is taken once: proofs, assertions, and access tokens that were revoked before their end.

They lie among the answered challenges until nobody could use them any more. A proof is written down before
anything is done for whoever sent it, so of two requests with one proof one is refused, whatever they ask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Final

from vault.authn.oauth import Once
from vault.clock import Micros
from vault.errors import Unauthenticated
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.services.cell import Cell

PROOF: Final = "dpop"
ASSERTION: Final = "client-assertion"
TOKEN: Final = "access-token"


def ref_of(what: str, *parts: str) -> bytes:
    """What something is remembered by: 32 bytes."""
    joined = b"".join(len(raw).to_bytes(4, "big") + raw for raw in (_raw(part) for part in (what, *parts)))
    return hashlib.sha256(b"coatcheck/once/v1" + joined).digest()


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


class Spend(Command):
    """Writes down that something was used."""

    def __init__(self, once: Once) -> None:
        self._once = once

    def needs(self, needs: Needs) -> None:
        """Its row, if there is one."""
        needs.challenges.add(self._once.digest)

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it.

        Raises:
            Unauthenticated: it was used before, or is too old by now.
        """
        once = self._once
        if once.digest in state.challenges or once.expires_at <= state.now:
            raise Unauthenticated(once.code)
        note_spent(state, writes, once.digest, once.expires_at)


def note_spent(state: State, writes: Writes, digest: bytes, expires_at: Micros) -> None:
    """Notes that something is used, or revoked."""
    state.challenges.add(digest)
    writes.insert("challenge", digest=digest, expires_at=expires_at)


def spend(cell: Cell, once: Once) -> Generator[Command, Committed, None]:
    """Returns when something that a request has is used by it, and by no other.

    Raises:
        Unauthenticated: another was before it; counted.
    """
    if once.spent:
        return
    try:
        yield Spend(once)
    except Unauthenticated as failure:
        cell.failures.add({failure.code: 1})
        raise
    once.spent = True
