"""Service keys without a secret: a public key, or a certificate, that a service authenticates by.

Such a key is a row like any service key: it is listed, expires, is bound to networks, is revoked, and goes
with its principal as they do. What its secret's digest would be is random, so that nothing has it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.authn.certificates import MAX_NAME, check_time, from_pem, thumbprint_of
from vault.authn.identities import Caller
from vault.clock import format_time
from vault.crypto.base64url import decode
from vault.crypto.jose import PublicKey
from vault.errors import BadInput
from vault.ledger.command import State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.identities import check_id
from vault.services.key_terms import expiry
from vault.services.service_keys import CreateKey, check_networks, new_key_row

JWK: Final = "jwk"
CERTIFICATE: Final = "certificate"
NAME: Final = "name"
METHODS: Final = {
    JWK: "private_key_jwt",
    CERTIFICATE: "self_signed_tls_client_auth",
    NAME: "tls_client_auth",
}
"""How each kind authenticates, as OAuth names it (RFC 7523, 2.2; RFC 8705, 2.1 and 2.2)."""

THUMBPRINT_BYTES: Final = 32


class PublicJwk(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A public key (RFC 7517); one with a private member is refused as it stands."""

    kty: str
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None
    use: str | None = None


class ClientBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What a service authenticates by: exactly one of the first four.

    Attributes:
        certificate: in PEM; thumbprint: SHA-256 of its DER, base64url, in place of it.
        certificate_name: a name in a certificate of a configured authority: `dns:NAME` or `uri:NAME`.
        expires: RFC 3339; networks: CIDRs that it may be used from.
    """

    jwk: PublicJwk | None = None
    certificate: str | None = None
    thumbprint: str | None = None
    certificate_name: str | None = None
    expires: str | None = None
    networks: list[str] = msgspec.field(default_factory=list)


class ClientAnswer(Replayable, frozen=True):
    """A client as it is made.

    Attributes:
        id: its `client_id`.
        method: `token_endpoint_auth_method`.
        thumbprint: of the key (RFC 7638) or of the certificate (RFC 8705, 3.1).
    """

    id: str
    principal: str
    method: str
    networks: list[str]
    thumbprint: str | None = None
    certificate_name: str | None = None
    expires: str | None = None


class CreateClient(CreateKey):
    """Inserts a service key of a living principal, and what it is in place of a secret."""

    def __init__(
        self, caller: Caller, origin: Origin, row: dict[str, Any], method: str, document: str
    ) -> None:
        super().__init__(caller, origin, row)
        self._facts["method"] = METHODS[method]
        self._client = {"id": row["id"], "method": method, "document": document}

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts both."""
        super().decide(state, writes)
        writes.insert("client_key", **self._client)


def create_client(cell: Cell, request: Request, principal: str, body: ClientBody) -> Verb[ClientAnswer]:
    """Registers a public key or a certificate of a service.

    Raises:
        BadInput: `member_missing`: not exactly one of them; `limit_invalid`: it is none; `validity_invalid`;
            `operation_unsupported`: no authority of certificates is configured, or an agent's.
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "client.create", "principal:write")
    check_id("pr", principal)
    repeat = once(cell, request, caller, "client.create", ClientAnswer, principal, body)
    if repeat.replay is not None:
        return repeat.replay
    method, document, thumbprint = _document(cell, body)
    expires = expiry(cell.terms, body.expires, cell.clock.now())
    networks = check_networks(body.networks)
    row, _ = new_key_row(principal, networks, expires)  # whose secret is dropped here: nobody has it
    answer = ClientAnswer(
        id=str(row["id"]),
        principal=principal,
        method=METHODS[method],
        networks=networks,
        thumbprint=thumbprint,
        certificate_name=document if method == NAME else None,
        expires=format_time(expires) if expires else None,
    )
    yield repeat.keep(CreateClient(caller, request.origin, row, method, document), answer)
    return answer


def _document(cell: Cell, body: ClientBody) -> tuple[str, str, str | None]:
    """What is kept of the one that a body names, and its thumbprint."""
    named = (body.jwk, body.certificate, body.thumbprint, body.certificate_name)
    if sum(one is not None for one in named) != 1:
        raise BadInput("member_missing", member="jwk, certificate, thumbprint or certificate_name")
    member = "jwk"
    try:
        if body.jwk is not None:
            key = PublicKey(msgspec.to_builtins(body.jwk))
            return JWK, msgspec.json.encode(key.jwk).decode(), key.thumbprint
        if body.certificate is not None:
            member = "certificate"
            found = from_pem(body.certificate)
            check_time(found, cell.clock.now())
            return CERTIFICATE, thumbprint_of(found), thumbprint_of(found)
        if body.thumbprint is not None:
            member = "thumbprint"
            if len(decode(body.thumbprint)) != THUMBPRINT_BYTES:
                raise ValueError("not a thumbprint")
            return CERTIFICATE, body.thumbprint, body.thumbprint
    except ValueError:
        raise BadInput("limit_invalid", member=member) from None
    name = _checked_name(body.certificate_name or "")
    if not cell.oauth.authorities.known:
        raise BadInput("operation_unsupported", member="certificate_name")
    return NAME, name, None


def _checked_name(text: str) -> str:
    kind, _, name = text.partition(":")
    if kind not in ("dns", "uri") or not 0 < len(name) <= MAX_NAME or not name.isprintable() or " " in name:
        raise BadInput("limit_invalid", member="certificate_name", most=MAX_NAME)
    return f"dns:{name.lower()}" if kind == "dns" else text
