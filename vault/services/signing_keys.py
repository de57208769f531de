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
from vault.store.custody import FieldKeyRow

OVERLAP: Final[Micros] = 2 * LONGEST_LIFETIME
"""Twice the longest lifetime: a process that has not heard of a new key signs by the old one meanwhile."""


class JwksAnswer(Hidden, frozen=True):
    """A JWK Set (RFC 7517, 5)."""

    keys: list[dict[str, str]]


def published(cell: Cell) -> dict[str, Signer]:
    """The keys whose signatures are taken, by their thumbprints, the one that signs first."""
    keys = cell.keyring.signers(Purpose.ACCESS_TOKENS)
    found = {
        thumbprint(signer.public): signer for row, signer in keys if KeyState(row.state) is KeyState.ACTIVE
    }
    if len(keys) > 1 and _changed(cell) > cell.clock.now() - OVERLAP:
        # The one before the newest; what came before that was replaced an hour earlier, at least.
        found[thumbprint(keys[1][1].public)] = keys[1][1]
    return found


def _changed(cell: Cell) -> Micros:
    """When the newest key was made; 0: never."""
    rows = cell.store.read(cell.store.custody.newest_field_keys, {"purpose": Purpose.ACCESS_TOKENS.value})
    return max((row[3] for row in rows), default=0)


def signer_named(cell: Cell, kid: str) -> Signer | None:
    """The key of a name; looked for anew where it is not known, as another process may have made it."""
    found = next(
        (signer for _, signer in _newest(cell) if thumbprint(signer.public) == kid), None
    ) or published(cell).get(kid)
    if found is None:
        cell.keyring.look_again(Purpose.ACCESS_TOKENS)
        found = published(cell).get(kid)
    return found


def _newest(cell: Cell) -> list[tuple[FieldKeyRow, Signer]]:
    """The key that signs, with its row; none: none was made yet."""
    keys = cell.keyring.signers(Purpose.ACCESS_TOKENS)
    return [key for key in keys if KeyState(key[0].state) is KeyState.ACTIVE][:1]


def newest(cell: Cell) -> tuple[str, Signer]:
    """The key that signs, and its name.

    Raises:
        Unavailable: `key_unavailable`: there is none.
    """
    for _, signer in _newest(cell):
        return thumbprint(signer.public), signer
    raise Unavailable("key_unavailable")


def jwks(cell: Cell) -> dict[str, Any]:
    """The public keys, as they are published."""
    return {"keys": [published_jwk(signer.public) for signer in published(cell).values()]}


def read_jwks(cell: Cell) -> Verb[JwksAnswer]:
    """The same, for a route."""
    yield from ()
    return JwksAnswer(jwks(cell)["keys"])
