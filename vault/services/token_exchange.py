"""Token exchange (RFC 8693): a grant for a token, by what `authorization_details` say (RFC 9396).

A grant that comes of it is made by `create_grant` as any other is, inside its creator's ceiling and with the
same event. The exchange only says who its agent is and on whose behalf, and to which key it is bound.

Who is who: the client is the creator. A subject token of ours has to be the client's own, and may leave it
less; one of a configured issuer names an agent, or a user on whose behalf the grant is. An actor token names
the agent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from vault.authn.identities import Caller
from vault.authn.issuers import Subject
from vault.clock import SECOND, parse_time
from vault.crypto.jose import claims_of
from vault.errors import BadInput, Unauthenticated
from vault.ledger.command import Verb
from vault.policy.terms import Confirmation
from vault.services.access_tokens import MAX_TOKEN, living, proof_of, read_token
from vault.services.cell import Cell
from vault.services.clients import client_of
from vault.services.gate import Request, admit
from vault.services.grant_body import GrantBody
from vault.services.grants import create_grant
from vault.services.spending import spend
from vault.services.token_endpoint import (
    ACCESS_TOKEN,
    CLIENT_CREDENTIALS,
    EXCHANGE,
    TokenAnswer,
    TokenForm,
    check_target,
    issue_token,
)

GRANT_TOKEN: Final = "urn:coatcheck:token-type:grant"
DETAILS: Final = "coatcheck_grant"
JWT_TYPES: Final = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
MAX_DETAILS: Final = 16_384  # characters


class Details(GrantBody, forbid_unknown_fields=True, frozen=True, omit_defaults=True, kw_only=True):
    """The one entry of `authorization_details`: a grant to create; the agent may be left to a token."""

    type: str
    agent: str = ""


_details: Final = msgspec.json.Decoder(list[Details]).decode


def token(cell: Cell, request: Request, form: TokenForm) -> Verb[TokenAnswer]:
    """Whatever the token endpoint is asked for.

    Raises:
        BadInput: `grant_type_unsupported`.
    """
    if form.grant_type is None:
        raise BadInput("member_missing", member="grant_type")
    if form.grant_type == CLIENT_CREDENTIALS:
        return (yield from issue_token(cell, request, form))
    if form.grant_type == EXCHANGE:
        return (yield from exchange_token(cell, request, form))
    raise BadInput("grant_type_unsupported")


def exchange_token(cell: Cell, request: Request, form: TokenForm) -> Verb[TokenAnswer]:
    """Creates a grant.

    Raises:
        BadInput: `assertion_invalid`: a token that is none that is taken; `details_invalid`; and what
            `create_grant` raises.
    """
    client = yield from client_of(cell, form, request)
    yield from admit(cell, client, request.origin, "token.exchange")
    if form.requested_token_type not in (None, GRANT_TOKEN):
        raise BadInput("parameter_invalid", parameter="requested_token_type")
    if form.scope is not None:
        raise BadInput("scope_invalid")
    check_target(cell, form)
    details = _read_details(form.authorization_details)
    creator, subject = _subject(cell, client, form)
    actor = _actor(cell, form)
    body = _named(details, subject, actor)
    if request.presented is not None and request.presented.proof is not None:
        proof, once = proof_of(request.presented, None, cell.clock.now())
        yield from spend(cell, once)
        body = _bound(body, proof.jkt, ed25519=proof.ed25519)
    made = yield from create_grant(cell, replace(request, host=creator), body)
    keyed = made.credential is None
    left = (parse_time(made.valid_until) - cell.clock.now()) // SECOND
    return TokenAnswer(
        access_token=made.id if made.credential is None else made.credential,
        token_type="Grant" if keyed else "Bearer",
        expires_in=max(0, left),
        issued_token_type=GRANT_TOKEN,
        authorization_details=[{"type": DETAILS, **_granted(made)}],
    )


def _granted(made: Any) -> dict[str, Any]:
    """The grant that came of it, without its credential (RFC 9396, 7.1)."""
    found: dict[str, Any] = msgspec.to_builtins(made)
    return {name: value for name, value in found.items() if name != "credential" and value is not None}


def _read_details(text: str | None) -> Details:
    """The one entry.

    Raises:
        BadInput: `member_missing`, `details_invalid`.
    """
    if text is None:
        raise BadInput("member_missing", member="authorization_details")
    if len(text) > MAX_DETAILS:
        raise BadInput("details_invalid")
    try:
        [found] = _details(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadInput("details_invalid") from None
    if found.type != DETAILS:
        raise BadInput("details_invalid")
    return found


def _subject(cell: Cell, client: Caller, form: TokenForm) -> tuple[Caller, Subject | None]:
    """Who creates the grant, and whom the subject token names beside that.

    Raises:
        BadInput: `member_missing`, `assertion_invalid`.
    """
    text, kind = form.subject_token, form.subject_token_type
    if text is None or kind is None:
        raise BadInput("member_missing", member="subject_token" if text is None else "subject_token_type")
    if kind != ACCESS_TOKEN:
        return client, _outside(cell, text, kind)
    if len(text) > MAX_TOKEN:
        raise BadInput("assertion_invalid")
    try:
        claims = read_token(cell, text)
        if claims.ends <= cell.clock.now():
            raise BadInput("assertion_invalid")
        of = living(cell, claims, fresh=True)
    except (ValueError, Unauthenticated):
        raise BadInput("assertion_invalid") from None
    if of.principal.id != client.principal.id:
        raise BadInput("assertion_invalid")  # nobody creates in another's name
    return of, None


def _actor(cell: Cell, form: TokenForm) -> Subject | None:
    text, kind = form.actor_token, form.actor_token_type
    if text is None and kind is None:
        return None
    if text is None or kind is None:
        raise BadInput("member_missing", member="actor_token" if text is None else "actor_token_type")
    found = _outside(cell, text, kind)
    if found.agent is None:
        raise BadInput("assertion_invalid")
    return found


def _outside(cell: Cell, text: str, kind: str) -> Subject:
    """Whom a token of a configured issuer names.

    Raises:
        BadInput: `assertion_invalid`.
        Unavailable: `issuer_unavailable`.
    """
    if kind not in JWT_TYPES:
        raise BadInput("assertion_invalid")
    try:
        claims = claims_of(text)
    except ValueError:
        raise BadInput("assertion_invalid") from None
    issuer = cell.oauth.issuers.get(_issuer_in(claims))
    if issuer is None:
        raise BadInput("assertion_invalid")
    return issuer.check(text, cell.clock.now())


def _issuer_in(claims: dict[str, Any]) -> str:
    """`iss`; where it is left out, as in a JWT-SVID it may be, the trust domain of the SPIFFE ID in `sub`."""
    named, subject = claims.get("iss"), claims.get("sub")
    if isinstance(named, str):
        return named
    if named is None and isinstance(subject, str) and subject.startswith("spiffe://"):
        return "spiffe://" + subject.removeprefix("spiffe://").partition("/")[0]
    return ""


def _named(details: Details, subject: Subject | None, actor: Subject | None) -> GrantBody:
    """The grant's body, with whoever the tokens name.

    Raises:
        BadInput: `assertion_invalid`: the details name another agent or user, or there are two agents.
    """
    body: dict[str, Any] = {name: getattr(details, name) for name in GrantBody.__struct_fields__}
    agents = {one.agent for one in (subject, actor) if one is not None and one.agent is not None}
    if details.agent:
        plain = details.agent if ":" in details.agent else f"agent:{details.agent}"
        agents.add(plain)
    if len(agents) != 1:
        raise BadInput("assertion_invalid" if agents else "details_invalid")
    body["agent"] = agents.pop()
    if subject is not None and subject.agent is None:
        if details.on_behalf_of not in (None, subject.name):
            raise BadInput("assertion_invalid")
        body["on_behalf_of"] = subject.name
    return GrantBody(**body)


def _bound(body: GrantBody, jkt: str, *, ed25519: bool) -> GrantBody:
    """The body bound to the key of the request's proof.

    Raises:
        BadInput: `details_invalid`: it is bound to another, or the key is one that no grant can be bound to.
    """
    bind = body.bind
    if not ed25519 or (bind.cnf is not None and bind.cnf.jkt != jkt):
        raise BadInput("details_invalid")
    return msgspec.structs.replace(body, bind=msgspec.structs.replace(bind, cnf=Confirmation(jkt)))
