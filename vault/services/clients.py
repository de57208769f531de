"""Who asks at the OAuth endpoints: a service key, by its secret, a signed assertion, or a certificate.

One of them, and not two at once (RFC 6749, 2.3). Every refusal is the same `invalid_client`.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from vault.authn.certificates import check_time, thumbprint_of
from vault.authn.identities import Caller, Credential, parse_authorization
from vault.authn.issuers import audiences, check_times
from vault.authn.oauth import Once
from vault.crypto.jose import ALGORITHMS, PublicKey, claims_of
from vault.crypto.mac import secret_digest
from vault.errors import BadInput, Unauthenticated
from vault.identifiers import parse_id
from vault.ledger.command import Verb
from vault.services.cell import Cell
from vault.services.client_keys import CERTIFICATE, JWK, NAME
from vault.services.gate import Request
from vault.services.hidden import Hidden
from vault.services.spending import ASSERTION, ref_of, spend
from vault.store.operators import ClientKeyRow

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2
LONGEST_ASSERTION_S: Final = 3_600  # what stock clients ask for at most
MAX_JTI: Final = 512  # characters
MAX_SECRET: Final = 128
BASIC: Final = "basic "
BEARER: Final = "bearer "
_MAX_BASIC: Final = 1_024


class ClientForm(Hidden, frozen=True, kw_only=True):
    """How a client authenticates in a form; what else a form has is not looked at (RFC 6749, 3.2)."""

    client_id: str | None = None
    client_secret: str | None = None
    client_assertion: str | None = None
    client_assertion_type: str | None = None


def client_of(cell: Cell, form: ClientForm, request: Request) -> Verb[Caller]:
    """The service key that asks.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`; counted.
        BadInput: `parameter_invalid`: more than one way at once.
        Unavailable: `rate_limited`: too much failed at that network, and nobody known is there.
    """
    address, shown = request.origin.address, request.authorization or form.client_secret
    cell.pacing.check_network(address, shown)
    try:
        found, once = _client(cell, request, form)
    except Unauthenticated as failure:
        cell.failures.add({failure.code: 1})
        cell.pacing.failed(address)
        raise
    if shown is not None:
        cell.pacing.proved(shown)
    if once is not None:
        yield from spend(cell, once)
    return found


def _client(cell: Cell, request: Request, form: ClientForm) -> tuple[Caller, Once | None]:
    basic = request.authorization or None  # an empty one is none, as everywhere
    ways = (basic, form.client_secret, form.client_assertion)
    if sum(way is not None for way in ways) > 1:
        raise BadInput("parameter_invalid", parameter="client_secret, client_assertion or Authorization")
    if basic is not None and basic[: len(BEARER)].lower() == BEARER:
        # The whole credential, as at every other route (RFC 7662, 2.1).
        return _by_credential(cell, basic), None
    if basic is not None:
        name, secret = _basic(basic)
        if form.client_id not in (None, name):
            raise Unauthenticated("credential_invalid")
        return _by_secret(cell, name, secret), None
    if form.client_secret is not None:
        return _by_secret(cell, form.client_id or "", form.client_secret), None
    if form.client_assertion is not None:
        if form.client_assertion_type != ASSERTION_TYPE:
            raise BadInput("parameter_invalid", parameter="client_assertion_type")
        return _by_assertion(cell, request, form.client_id, form.client_assertion)
    if form.client_id is None:
        raise Unauthenticated("credential_missing")
    return _by_certificate(cell, request, form.client_id), None


def _basic(header: str) -> tuple[str, str]:
    """Id and secret of a Basic header (RFC 6749, 2.3.1: each of them form-encoded)."""
    if len(header) > _MAX_BASIC or header[: len(BASIC)].lower() != BASIC:
        raise Unauthenticated("credential_invalid")
    try:
        text = b64decode(header[len(BASIC) :], validate=True).decode("utf-8")
    except (Error, ValueError):
        raise Unauthenticated("credential_invalid") from None
    name, _, secret = text.partition(":")
    return unquote_plus(name), unquote_plus(secret)


def _by_credential(cell: Cell, header: str) -> Caller:
    credential = parse_authorization(header)
    if credential.kind != "ck":
        raise Unauthenticated("credential_invalid")
    return cell.identities.caller(credential, fresh=True)


def _by_secret(cell: Cell, name: str, secret: str) -> Caller:
    _check_id(name)
    if len(secret) > MAX_SECRET:
        raise Unauthenticated("credential_invalid")
    secret = secret.removeprefix(f"{name}_")  # the whole credential, as it was shown, is taken too
    return cell.identities.caller(Credential("ck", name, _digest(secret)), fresh=True)


def _digest(secret: str) -> bytes:
    try:
        return secret_digest(secret)
    except UnicodeEncodeError:
        raise Unauthenticated("credential_invalid") from None


def _by_assertion(cell: Cell, request: Request, named: str | None, text: str) -> tuple[Caller, Once]:
    """The client that has signed an assertion for this cell (RFC 7523, 3)."""
    try:
        name = claims_of(text).get("sub")
        if not isinstance(name, str) or named not in (None, name):
            raise Unauthenticated("credential_invalid")
        key = PublicKey(msgspec.json.decode(_registered(cell, name, JWK)))
        claims = key.check(text, ALGORITHMS)
        jti = claims.get("jti")
        ends = check_times(claims, cell.clock.now(), LONGEST_ASSERTION_S)
        for_us = {cell.oauth.issuer, cell.oauth.endpoint("token")}
        if claims.get("iss") != name or for_us.isdisjoint(audiences(claims)):
            raise Unauthenticated("credential_invalid")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI or request.presented is None:
            raise Unauthenticated("credential_invalid")
    except ValueError:
        raise Unauthenticated("credential_invalid") from None
    digest = ref_of(ASSERTION, name, jti)
    once = request.presented.once.setdefault(digest, Once(digest, ends, "credential_invalid"))
    return cell.identities.of_key(name, fresh=True), once


def _by_certificate(cell: Cell, request: Request, name: str) -> Caller:
    """The client whose certificate was shown in the handshake (RFC 8705, 2)."""
    shown = None if request.presented is None else request.presented.certificate
    if shown is None:
        raise Unauthenticated("credential_missing")
    now = cell.clock.now()
    row = _client_key(cell, name)
    try:
        if row is not None and row.method == CERTIFICATE:
            check_time(shown, now)
            fits = thumbprint_of(shown) == row.document
        else:
            fits = row is not None and row.method == NAME
            fits = fits and row is not None and row.document in cell.oauth.authorities.names(shown, now)
    except ValueError:
        fits = False
    if not fits:
        raise Unauthenticated("credential_invalid")
    return cell.identities.of_key(name, fresh=True)


def _registered(cell: Cell, name: str, method: str) -> str:
    row = _client_key(cell, name)
    if row is None or row.method != method:
        raise Unauthenticated("credential_invalid")
    return row.document


def _client_key(cell: Cell, name: str) -> ClientKeyRow | None:
    _check_id(name)
    rows = cell.store.read_keys(cell.store.operators.client_keys, [name])
    return ClientKeyRow(*rows[0]) if rows else None


def _check_id(name: str) -> None:
    try:
        parse_id("ck", name)
    except ValueError:
        raise Unauthenticated("credential_invalid") from None
