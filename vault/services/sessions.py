"""Operators' sessions: begin, end, step up, list."""

from __future__ import annotations

from typing import Any, Final

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.authn.passkeys import authentication_options
from vault.authn.sessions import network_of
from vault.clock import SECOND, Micros, format_time
from vault.crypto.mac import secret_digest
from vault.crypto.randomness import credential_secret
from vault.errors import BadInput, Stale, Unauthenticated, Unknown
from vault.identifiers import new_id
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.challenges import new_challenge
from vault.services.gate import Refused, Request, Steps, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.identities import AdministrativeCommand, check_id
from vault.services.initialise import MAIN_TENANT
from vault.services.listing import FIRST_PAGE, Listing, Page, check_page, listing
from vault.services.proving import (
    Operator,
    Proof,
    operator_named,
    operator_of,
    prove,
    prove_code,
    prove_passkey,
)
from vault.store.operators import SessionRow
from vault.store.rows import PrincipalRow

SIGN_IN: Final = "sign-in"
STEP_UP: Final = "step-up"


class LoginBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Who signs in, and by what.

    Attributes:
        name: the operator's; behind it an `@` and the tenant, where that is not `main`.
        code: of the TOTP device, or one of the recovery codes; none where there is no second factor yet.
    """

    name: str
    password: str
    code: str | None = None


class PasskeyBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A browser's answer to options, as `PublicKeyCredential.toJSON()` gives it."""

    answer: dict[str, Any]


class StepUpBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A second factor: a code, or a browser's answer to options; one of the two."""

    code: str | None = None
    answer: dict[str, Any] | None = None


class NoMembers(Hidden, forbid_unknown_fields=True, frozen=True):
    """A body without members."""


class OptionsAnswer(Hidden, frozen=True):
    """What a browser's `navigator.credentials` takes: the options in JSON, with a challenge of one use."""

    options: dict[str, Any]


class SessionAnswer(Hidden, frozen=True, omit_defaults=True):
    """A session as it is shown; the credential only in the answer that began it.

    Attributes:
        mfa: by which second factor, and `mfa_at` when it was last proved.
        fresh_until: until when it is good for what is administrative.
        enrol: whether there is no second factor yet: then it is good for getting one.
        network: that it was begun from, or where a second factor was last proved.
    """

    id: str
    principal: str
    name: str
    expires: str
    credential: str | None = None
    mfa: str | None = None
    mfa_at: str | None = None
    fresh_until: str | None = None
    enrol: bool = False
    created: str | None = None
    seen: str | None = None
    network: str | None = None
    current: bool = False


class SessionEnded(Hidden, frozen=True):
    """A session that is over."""

    id: str


class BeginSession(Command):
    """Inserts a session of whoever has proved to be somebody."""

    def __init__(self, operator: Operator, origin: Origin, proof: Proof, session: dict[str, Any]) -> None:
        self._principal = operator.principal
        self._proof = proof
        self._session = session
        named = {"session": session["id"], "principal": proof.principal}
        self._facts = {**named, "mfa": proof.by, **trace(origin)}

    def needs(self, needs: Needs) -> None:
        """The operator's rows, and those of what it proved itself by."""
        self._proof.needs(needs)

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it, and uses up what is good for once."""
        check_operator(state.principals.get(self._proof.principal), self._principal.version)
        self._proof.spend(state, writes)
        mfa_at = state.now if self._proof.by else 0
        writes.insert(
            "session", **self._session, created_at=state.now, seen_at=state.now, revoked_at=0, mfa_at=mfa_at
        )
        writes.event(Event("session.create", self._principal.tenant, self._principal.name, self._facts))


def check_operator(row: PrincipalRow | None, version: int) -> None:
    """Returns if an operator is still who it was.

    Raises:
        Stale: it is not.
    """
    if row is None or row.removed or row.principal.version != version:
        raise Stale


class EndSession(AdministrativeCommand):
    """Ends a session of the caller's own."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, session: str) -> None:
        super().__init__(caller, origin, "session.end", session=session)
        self._session = session

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the session."""
        super().needs(needs)
        needs.sessions.add(self._session)

    def decide(self, state: State, writes: Writes) -> None:
        """Ends it; to end it twice changes nothing."""
        self.check(state)
        row = state.sessions.get(self._session)
        if row is None or row.principal != self.caller.principal.id:
            raise Unknown("not_found")
        if row.revoked_at:
            return
        writes.update("revoke_session", session=self._session, at=state.now)
        writes.fence_by += 1
        self.note(writes)


class StepUp(AdministrativeCommand):
    """Notes that a second factor was proved in a session."""

    def __init__(self, caller: Caller, origin: Origin, proof: Proof) -> None:
        super().__init__(caller, origin, "session.step-up", session=caller.api_key, mfa=proof.by)
        self._proof = proof

    def needs(self, needs: Needs) -> None:
        """The caller's rows, and those of what it proved itself by."""
        super().needs(needs)
        self._proof.needs(needs)

    def decide(self, state: State, writes: Writes) -> None:
        """Notes it, and uses up what is good for once."""
        self.check(state)
        self._proof.spend(state, writes)
        step_up(self.caller, self._proof.by, self.network, state, writes)
        self.note(writes)


def step_up(caller: Caller, by: str, network: str, state: State, writes: Writes) -> None:
    """Notes in a caller's session that a second factor was proved now, and where."""
    row = state.sessions[caller.api_key]
    proved: dict[str, Any] = {"mfa_at": state.now, "mfa_by": by, "network": network}
    state.sessions[caller.api_key] = row._replace(**proved)
    writes.update("step_up_session", session=caller.api_key, at=state.now, by=by, from_network=network)


def sign_in(cell: Cell, request: Request, body: LoginBody) -> Verb[SessionAnswer]:
    """Begins a session by a name, a password and a code.

    Raises:
        Unauthenticated: `login_refused`, whatever of it is wrong; counted.
        Unavailable: `rate_limited`.
    """
    name, _, tenant = body.name.partition("@")
    tenant = tenant or MAIN_TENANT
    operator = operator_named(cell, tenant, name)
    account, network = f"{tenant}\n{name}", network_of(request.origin.address)
    asked = {"of_principal": "" if operator is None else operator.principal.id, "from_network": network}
    [[before]] = cell.store.read(cell.store.operators.known_network, asked)
    if not before:
        cell.pacing.check_network(request.origin.address)
    cell.throttle.enter(account, network, known=before > 0)
    try:
        proof = prove(cell, operator, body.password, body.code)
        answer = yield from _begin(cell, request, operator, proof, network)
    except Unauthenticated as failure:
        cell.failures.add({failure.code: 1})
        cell.pacing.failed(request.origin.address)
        raise
    except BaseException:
        cell.throttle.forgive(account, network)
        raise
    cell.throttle.succeeded(account, network)
    return answer


def passkey_options(cell: Cell, request: Request) -> Verb[OptionsAnswer]:
    """What a browser signs in by. Names nobody, and says of nobody whether there is such a one."""
    yield from ()
    party = cell.sign_in.party
    if party is None:
        raise BadInput("passkeys_unavailable")
    return OptionsAnswer(authentication_options(party, new_challenge(cell, SIGN_IN)))


def passkey_sign_in(cell: Cell, request: Request, body: PasskeyBody) -> Verb[SessionAnswer]:
    """Begins a session by a passkey: no name, no password, no waiting.

    Raises:
        BadInput: `passkey_invalid`, `passkeys_unavailable`.
        Unauthenticated: `login_refused`; counted.
    """
    network = network_of(request.origin.address)
    try:
        proof, operator = prove_passkey(cell, body.answer, SIGN_IN)
        return (yield from _begin(cell, request, operator, proof, network))
    except Unauthenticated as failure:
        cell.failures.add({failure.code: 1})
        raise


def _begin(
    cell: Cell, request: Request, operator: Operator | None, proof: Proof, network: str
) -> Verb[SessionAnswer]:
    if operator is None:
        raise Unauthenticated("login_refused")
    secret = credential_secret()
    expires = cell.clock.now() + cell.sign_in.longest
    session: dict[str, Any] = {
        "id": new_id("cs"),
        "principal": proof.principal,
        "digest": secret_digest(secret),
        "network": network,
        "expires_at": expires,
        "mfa_by": proof.by,
    }
    done = yield BeginSession(operator, request.origin, proof, session)
    return SessionAnswer(
        id=session["id"],
        principal=proof.principal,
        name=operator.principal.name,
        expires=format_time(expires),
        credential=f"{session['id']}_{secret}",
        enrol=not operator.has_second_factor,
        **_proved(cell, proof.by, done.at if proof.by else 0),
    )


def _proved(cell: Cell, by: str, at: Micros) -> dict[str, Any]:
    if not at:
        return {}
    return {"mfa": by, "mfa_at": format_time(at), "fresh_until": format_time(at + cell.sign_in.fresh)}


def in_session(verb: str, cell: Cell, request: Request) -> Verb[Caller]:
    """The operator that acts, in a session.

    Raises:
        Unauthenticated: `credential_invalid`: nobody, or a service.
    """
    caller = authenticate(cell, request, fresh=True)
    if not caller.in_session:
        cell.failures.add({"credential_invalid": 1})
        raise Unauthenticated("credential_invalid")
    yield from admit(cell, caller, request.origin, verb)
    return caller


def end_session(cell: Cell, request: Request, session: str | None = None) -> Verb[SessionEnded]:
    """Ends a session of the operator's own; this one, if none is named."""
    caller = yield from in_session("session.end", cell, request)
    ended = caller.api_key if session is None else session
    check_id("cs", ended)
    yield EndSession(caller, request.origin, ended)
    cell.identities.drop(ended)
    return SessionEnded(ended)


def step_up_options(cell: Cell, request: Request) -> Verb[OptionsAnswer]:
    """What a browser proves one of the operator's passkeys by, in this session."""
    caller = yield from in_session(STEP_UP_VERB, cell, request)
    party = cell.sign_in.party
    if party is None:
        raise BadInput("passkeys_unavailable")
    operator = operator_of(cell, caller.principal.id)
    those = [bytes(row.credential) for row in operator.passkeys] if operator is not None else []
    if not those:
        raise BadInput("operation_unsupported")
    challenge = new_challenge(cell, STEP_UP, caller.api_key)
    return OptionsAnswer(authentication_options(party, challenge, those))


def step_up_session(cell: Cell, request: Request, body: StepUpBody) -> Verb[SessionAnswer]:
    """Proves a second factor once more, so that the session is good for what is administrative.

    Raises:
        BadInput: `passkey_invalid`, `passkeys_unavailable`, `body_malformed`.
        Denied: `login_refused` is on the record.
        Unavailable: `rate_limited`.
    """
    caller = yield from in_session(STEP_UP_VERB, cell, request)
    if (body.code is None) == (body.answer is None):
        raise BadInput("body_malformed")
    principal = str(caller.principal.id)
    network = network_of(request.origin.address)
    cell.throttle.enter(f"step-up\n{principal}", network, known=False)
    try:
        if body.answer is not None:
            proof, _ = prove_passkey(cell, body.answer, STEP_UP, caller.api_key, principal)
        else:
            proof = prove_code(cell, operator_of(cell, principal), body.code)
        done = yield StepUp(caller, request.origin, proof)
    except Unauthenticated as failure:
        yield from refuse(caller, request.origin, STEP_UP_VERB, failure)
        raise
    except BaseException:
        cell.throttle.forgive(f"step-up\n{principal}", network)
        raise
    cell.throttle.succeeded(f"step-up\n{principal}", network)
    cell.identities.drop(caller.api_key)
    return SessionAnswer(
        id=caller.api_key,
        principal=principal,
        name=caller.principal.name,
        expires=format_time(caller.expires_at),
        **_proved(cell, proof.by, done.at),
    )


STEP_UP_VERB: Final = "session.step-up"


def refuse(caller: Caller, origin: Origin, verb: str, failure: Unauthenticated) -> Steps:
    """Puts on the record that somebody in a session failed to prove what it had to."""
    refused = Refused(caller, origin, verb, failure.code)
    yield refused
    failure.facts["decision"] = refused.decision


def list_sessions(cell: Cell, request: Request, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """The operator's own sessions that are not over, newest first."""
    caller = yield from in_session("session.list", cell, request)
    params = {
        "of_principal": caller.principal.id,
        "at": cell.clock.now(),
        "below": check_page(page, "cs"),
        "most": page.limit + 1,
    }
    rows = [SessionRow(*row) for row in cell.store.read(cell.store.operators.sessions_page, params)]
    shown = [
        SessionAnswer(
            id=row.id,
            principal=row.principal,
            name=caller.principal.name,
            expires=format_time(row.expires_at),
            created=format_time(row.created_at),
            seen=format_time(max(row.seen_at, cell.identities.seen.last(row.id))),
            network=row.network or None,
            current=row.id == caller.api_key,
            **_proved(cell, row.mfa_by, row.mfa_at),
        )
        for row in rows
        if max(row.seen_at, cell.identities.seen.last(row.id)) + cell.sign_in.idle > cell.clock.now()
    ]
    return listing(list(shown), [row.id for row in shown], page)


class NoteSessions(Command):
    """Writes when sessions were last used, and forgets what is long over. It has no event."""

    def __init__(self, uses: dict[str, Micros]) -> None:
        self._uses = uses

    def needs(self, needs: Needs) -> None:
        """Touches no row that anybody decides on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the updates; never to an earlier minute."""
        for session, seen in sorted(self._uses.items()):
            writes.update("note_session_seen", session=session, seen=seen)
        writes.update("drop_challenges", at=state.now)
        writes.update("drop_sessions", before=max(0, state.now - REMEMBERED))


REMEMBERED: Final[Micros] = 90 * 86_400 * SECOND
"""How long sessions that are over are kept: so long a network is one that somebody signed in from."""


def flush_sessions(cell: Cell) -> Verb[int]:
    """Writes down when sessions were used since the last time; how many were."""
    uses = cell.identities.seen.take()
    if uses:
        try:
            yield NoteSessions(uses)
        except BaseException:
            cell.identities.seen.give_back(uses)
            raise
    return len(uses)
