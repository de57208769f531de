"""The keys that sign a cell's access tokens: made when the first is asked for, rotated by the schedule.

A key that signs no more is published, and looked at, for as long as what it signed last may be valid.
"""

from __future__ import annotations

from typing import Any, Final

from vault.authn.oauth import LONGEST_LIFETIME
from vault.clock import Micros
from vault.crypto.jose import published_jwk
from vault.crypto.signing import Signer, thumbprint
from vault.errors import Unavailable
from vault.keyring.hierarchy import Purpose
from vault.keystate.states import KeyState
from vault.ledger.command import Verb
from vault.services.cell import Cell
from vault.services.hidden import Hidden

OVERLAP: Final[Micros] = 2 * LONGEST_LIFETIME
"""Twice the longest lifetime: a process that has not heard of a new key signs by the old one meanwhile."""

_UUID_TIME: Final = 6  # bytes of a UUID version 7 that say when it was made, in milliseconds; RFC 9562, 5.7


class JwksAnswer(Hidden, frozen=True):
    """A JWK Set (RFC 7517, 5)."""

    keys: list[dict[str, str]]


def published(cell: Cell) -> dict[str, Signer]:
    """The keys whose signatures are taken, by their thumbprints, the one that signs first."""
    found: dict[str, Signer] = {}
    oldest, after = cell.clock.now() - OVERLAP, None
    for row, signer in cell.keyring.signers(Purpose.ACCESS_TOKENS):
        made = 1_000 * int.from_bytes(row.id[:_UUID_TIME], "big")
        if KeyState(row.state) is KeyState.ACTIVE or (after is not None and after > oldest):
            found[thumbprint(signer.public)] = signer
        after = made
    return found


def signer_named(cell: Cell, kid: str) -> Signer | None:
    """The key of a name; looked for anew where it is not known, as another process may have made it."""
    found = published(cell).get(kid)
    if found is None:
        cell.keyring.look_again(Purpose.ACCESS_TOKENS)
        found = published(cell).get(kid)
    return found


def newest(cell: Cell) -> tuple[str, Signer]:
    """The key that signs, and its name.

    Raises:
        Unavailable: `key_unavailable`: there is none.
    """
    for row, signer in cell.keyring.signers(Purpose.ACCESS_TOKENS):
        if KeyState(row.state) is KeyState.ACTIVE:
            return thumbprint(signer.public), signer
    raise Unavailable("key_unavailable")


def jwks(cell: Cell) -> dict[str, Any]:
    """The public keys, as they are published."""
    return {"keys": [published_jwk(signer.public) for signer in published(cell).values()]}


def read_jwks(cell: Cell) -> Verb[JwksAnswer]:
    """The same, for a route."""
    yield from ()
    return JwksAnswer(jwks(cell)["keys"])
