"""Sealed requests: bodies that only the cell can read, whatever lies between. docs/spec/sealed-intake.md."""

from __future__ import annotations

from typing import Final

import msgspec

from vault.authn.identities import Caller
from vault.crypto import hpke, intake
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import thumbprint
from vault.errors import BadInput, CoatcheckError, Internal
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Verb
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.message_keys import intake_keys
from vault.services.own_keys import ensure

MEDIA_TYPE: Final = b"application/vnd.coatcheck.sealed+json"
ROUTES: Final = frozenset({"encrypt", "tokenize"})
"""What takes sealed bodies: what takes values."""


class IntakeKey(Hidden, frozen=True):
    """The cell's key that request bodies are sealed to: a JWK (RFC 8037), with its thumbprint as `kid`."""

    kid: str
    kty: str
    crv: str
    x: str
    suite: str


class SealedBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A request's body, sealed.

    Attributes:
        kid: thumbprint of the key that it is sealed to.
        enc_ct: HPKE's encapsulated key and ciphertext, base64url.
    """

    suite: str
    kid: str
    enc_ct: str


_decoder: Final = msgspec.json.Decoder(SealedBody)


def read_intake_key(cell: Cell, request: Request) -> Verb[IntakeKey]:
    """The key that bodies for this cell are sealed to; the first who asks has it made."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "intake-key.read")
    yield from ensure(cell, caller, request.origin, Purpose.INTAKE)
    public = hpke.public_of(intake_keys(cell)[0])
    return IntakeKey(thumbprint(public, "X25519"), "OKP", "X25519", encode(public), hpke.SUITE)


def open_body(cell: Cell, request: Request, path: str, raw: bytes) -> bytes:
    """The body that was sealed, still to be decoded.

    Args:
        request: of somebody who was recognised.
        path: the route's.

    Raises:
        BadInput: `sealed_invalid`, whatever is wrong with it: not for this cell, this route, this caller,
            or this key; or no sealed body at all.
    """
    caller = request.recognised
    if not isinstance(caller, Caller):
        raise Internal("internal")
    try:
        body = _decoder.decode(raw)
        enc_ct = decode(body.enc_ct)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise BadInput("sealed_invalid") from None
    if body.suite != hpke.SUITE or not cell.keyring.has_own(Purpose.INTAKE):
        raise BadInput("sealed_invalid")
    named = (key for key in intake_keys(cell) if body.kid == thumbprint(hpke.public_of(key), "X25519"))
    private = next(named, None)
    if private is None:
        raise BadInput("sealed_invalid")
    try:
        return hpke.open_sealed(private, intake.info(cell.region, path, caller.principal.id), enc_ct)
    except CoatcheckError:
        raise BadInput("sealed_invalid") from None
