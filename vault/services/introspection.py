"""What a token is worth now (RFC 7662), and the end of it (RFC 7009): for its own client, and nobody else.

To everybody else a token is as unknown as one that never was, so whoever found one learns nothing here.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from vault.audit.event import Event
from vault.authn.identities import Caller, parse_authorization
from vault.clock import SECOND, parse_time
from vault.errors import BadInput, Unauthenticated, Unknown
from vault.ledger.command import State, Verb, Writes
from vault.services.access_tokens import AccessClaims, described, living, read_token
from vault.services.cell import Cell, Origin
from vault.services.clients import ClientForm, client_of
from vault.services.gate import CallerCommand, Request, admit, trace
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantAnswer, visible
from vault.services.hidden import Hidden
from vault.services.spending import note_spent


class AskForm(ClientForm, frozen=True, kw_only=True):
    """A token that a client asks about, or ends; a hint is a hint, and not needed."""

    token: str | None = None
    token_type_hint: str | None = None


class IntrospectionAnswer(Hidden, frozen=True, omit_defaults=True):
    """What a token is worth (RFC 7662, 2.2); of one that is worth nothing here, only that."""

    active: bool
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    sub: str | None = None
    client_id: str | None = None
    jti: str | None = None
    iat: int | None = None
    exp: int | None = None
    scope: str | None = None
    cnf: dict[str, str] | None = None
    authorization_details: list[dict[str, Any]] | None = None


class RevocationAnswer(Hidden, frozen=True):
    """Nothing: whoever asks learns that the token is of no use, whatever it was (RFC 7009, 2.2)."""


class RevokeToken(CallerCommand):
    """Revokes one access token until its end. Doing so twice changes nothing."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, claims: AccessClaims) -> None:
        super().__init__(caller)
        self._origin = origin
        self._claims = claims

    def needs(self, needs: Any) -> None:
        """The caller's rows, and the token's."""
        super().needs(needs)
        needs.challenges.add(self._claims.ref)

    def decide(self, state: State, writes: Writes) -> None:
        """Notes it, and moves the fence: what is being decided for the token is decided again."""
        self.check(state)
        claims = self._claims
        if claims.ref in state.challenges or claims.ends <= state.now:
            return
        note_spent(state, writes, claims.ref, claims.ends)
        writes.fence_by += 1
        facts = {
            "jti": claims.jti,
            "key": claims.client_id,
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        writes.event(Event("token.revoke", self.caller.principal.tenant, self.caller.actor, facts))


def introspect(cell: Cell, request: Request, form: AskForm) -> Verb[IntrospectionAnswer]:
    """What a token of the client's principal, or a grant that it created, is worth.

    Raises:
        Unauthenticated: the client; of a token nothing is an error.
    """
    client, text = yield from _asked(cell, request, form, "token.introspect")
    claims = _claims(cell, client, text)
    if claims is not None:
        try:
            if claims.ends <= cell.clock.now():
                raise Unauthenticated("credential_invalid")
            living(cell, claims, fresh=True)
        except Unauthenticated:
            return IntrospectionAnswer(active=False)
        return IntrospectionAnswer(**described(claims))
    grant = _grant(cell, client, text)
    if grant is None or grant.state != "active":
        return IntrospectionAnswer(active=False)
    return IntrospectionAnswer(
        active=True,
        token_type="Grant" if grant.jkt is not None else "Bearer",
        iss=cell.oauth.issuer,
        aud=cell.oauth.issuer,
        sub=grant.agent,
        client_id=grant.created_by,
        iat=parse_time(grant.valid_from) // SECOND,
        exp=parse_time(grant.valid_until) // SECOND,
        cnf=None if grant.jkt is None else {"jkt": grant.jkt},
        authorization_details=[
            {
                "type": "coatcheck_grant",
                "id": grant.id,
                "purpose": grant.purpose,
                "uses_left": grant.uses_left,
            }
        ],
    )


def revoke(cell: Cell, request: Request, form: AskForm) -> Verb[RevocationAnswer]:
    """Ends a token of the client's principal, or a grant that it created.

    Raises:
        Unauthenticated: the client; of a token nothing is an error.
    """
    client, text = yield from _asked(cell, request, form, "token.revoke")
    claims = _claims(cell, client, text)
    if claims is not None:
        yield RevokeToken(client, request.origin, claims)
        cell.identities.forget()  # so that nothing is even prepared for whoever holds it
        return RevocationAnswer()
    grant = _grant(cell, client, text)
    if grant is not None:
        with contextlib.suppress(Unknown):
            yield from revoke_grant(cell, replace(request, host=client), grant.id, ChangeBody())
    return RevocationAnswer()


def _asked(cell: Cell, request: Request, form: AskForm, verb: str) -> Verb[tuple[Caller, str]]:
    client = yield from client_of(cell, form, request)
    yield from admit(cell, client, request.origin, verb)
    if form.token is None:
        raise BadInput("member_missing", member="token")
    return client, form.token


def _claims(cell: Cell, client: Caller, text: str) -> AccessClaims | None:
    """What an access token says, if it is one of the client's principal."""
    try:
        claims = read_token(cell, text)
    except ValueError:
        return None
    return claims if claims.sub == client.principal.id else None


def _grant(cell: Cell, client: Caller, text: str) -> GrantAnswer | None:
    """The grant that a credential, or a keyed grant's id, is of, if the client's principal created it."""
    name = text
    if text.startswith("cg_"):
        try:
            name = cell.identities.holder(parse_authorization(f"Bearer {text}")).credential.id
        except Unauthenticated:
            return None
    found = visible(cell, client, name)
    if found is None or found.created_by != client.principal.id:
        return None
    # The id of a bearer grant is no token: whoever knows it holds nothing.
    return found if text.startswith("cg_") or found.jkt is not None else None
