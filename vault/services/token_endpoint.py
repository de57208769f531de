"""The token endpoint: access tokens for service keys (RFC 6749, 4.4), and grants for tokens (RFC 8693)."""

from __future__ import annotations

from typing import Any, Final

from vault.audit.event import Event
from vault.authn.certificates import thumbprint_of
from vault.authn.identities import Caller
from vault.authn.oauth import Once
from vault.clock import SECOND
from vault.crypto.jose import sign
from vault.crypto.randomness import token_id
from vault.errors import BadInput
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import State, Verb, Writes
from vault.services.access_tokens import TYP, AccessClaims, Confirmation, proof_of
from vault.services.cell import Cell, Origin
from vault.services.clients import ClientForm, client_of
from vault.services.gate import CallerCommand, Request, admit, trace
from vault.services.hidden import Hidden
from vault.services.own_keys import ensure
from vault.services.signing_keys import newest
from vault.services.spending import spend

CLIENT_CREDENTIALS: Final = "client_credentials"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
MAX_SCOPE: Final = 4_000  # characters, so that a token fits into a head


class TokenForm(ClientForm, frozen=True, kw_only=True):
    """What a client asks the token endpoint for; the last seven are of a token exchange (RFC 8693, 2.1)."""

    grant_type: str | None = None
    scope: str | None = None
    resource: str | None = None
    audience: str | None = None
    requested_token_type: str | None = None
    subject_token: str | None = None
    subject_token_type: str | None = None
    actor_token: str | None = None
    actor_token_type: str | None = None
    authorization_details: str | None = None


class TokenAnswer(Hidden, frozen=True, omit_defaults=True):
    """A token (RFC 6749, 5.1; RFC 8693, 2.2.1; RFC 9396, 7)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str | None = None
    issued_token_type: str | None = None
    authorization_details: list[dict[str, Any]] | None = None


class IssueToken(CallerCommand):
    """Puts on the record that a token is issued; it is made after that."""

    def __init__(self, caller: Caller, origin: Origin, facts: dict[str, Any]) -> None:
        super().__init__(caller)
        self._facts = {**facts, "credential": caller.api_key, **trace(origin)}

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event, if the key is still valid."""
        self.check(state)
        writes.event(Event("token.issue", self.caller.principal.tenant, self.caller.actor, self._facts))


def issue_token(cell: Cell, request: Request, form: TokenForm) -> Verb[TokenAnswer]:
    """Issues an access token to a service key.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`: the client; `proof_invalid`,
            `proof_expired`: its DPoP proof.
        BadInput: `scope_invalid`, `target_invalid`.
    """
    client = yield from client_of(cell, form, request)
    yield from admit(cell, client, request.origin, "token.issue")
    if form.scope is not None:
        check_scope(client, form.scope)
    check_target(cell, form)
    bound, once = binding(cell, request)
    if once is not None:
        yield from spend(cell, once)
    yield from ensure(cell, client, request.origin, Purpose.ACCESS_TOKENS)
    jti = token_id()
    facts: dict[str, Any] = {"jti": jti, "lifetime": cell.oauth.lifetime // SECOND}
    if form.scope is not None:
        facts["scope"] = sorted(set(form.scope.split(" ")))
    if bound.jkt is not None:
        facts["holder"] = bound.jkt
    if bound.x5t is not None:
        facts["certificate"] = bound.x5t
    done = yield IssueToken(client, request.origin, facts)
    kid, signer = newest(cell)
    issued = done.at // SECOND
    lifetime = cell.oauth.lifetime // SECOND
    if client.expires_at:  # a token does not outlive its key
        lifetime = max(1, min(lifetime, client.expires_at // SECOND - issued))
    claims = AccessClaims(
        iss=cell.oauth.issuer,
        aud=cell.oauth.issuer,
        sub=str(client.principal.id),
        client_id=client.api_key,
        jti=jti,
        iat=issued,
        exp=issued + lifetime,
        scope=form.scope,
        cnf=None if bound == Confirmation() else bound,
    )
    kind = "Bearer" if bound.jkt is None else "DPoP"
    return TokenAnswer(sign(signer, TYP, claims, kid), kind, lifetime, form.scope)


def binding(cell: Cell, request: Request) -> tuple[Confirmation, Once | None]:
    """What a token is bound to: the key of the proof, and the certificate, that came with the request.

    Raises:
        Unauthenticated: `proof_invalid`, `proof_expired`.
    """
    shown, once, jkt = request.presented, None, None
    if shown is not None and shown.proof is not None:
        proof, once = proof_of(shown, None, cell.clock.now())
        jkt = proof.jkt
    certificate = None if shown is None or shown.certificate is None else thumbprint_of(shown.certificate)
    return Confirmation(jkt, certificate), once


def check_scope(client: Caller, scope: str) -> None:
    """Returns if a scope is permissions that the principal holds (RFC 6749, 3.3).

    Raises:
        BadInput: `scope_invalid`.
    """
    if len(scope) > MAX_SCOPE or not client.principal.held.issuperset(scope.split(" ")):
        raise BadInput("scope_invalid")


def check_target(cell: Cell, form: TokenForm) -> None:
    """Returns if a token is asked for this cell (RFC 8707, 2; RFC 8693, 2.1), or for nobody in particular.

    Raises:
        BadInput: `target_invalid`.
    """
    if form.resource not in (None, cell.oauth.issuer) or form.audience not in (None, cell.oauth.issuer):
        raise BadInput("target_invalid")
