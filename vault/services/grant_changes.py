"""Changes of a grant that stands: revoked, suspended, let go on, narrowed; and one delegation revoked.

Each binds every request that starts after it is committed: it moves the head's fence in a transaction of its
own, so that whatever was decided on the grant as it stood is decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.base64url import decode
from vault.errors import Conflict, Denied, Unknown
from vault.identifiers import new_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.grant import Grant, GrantState, ScopeEntry
from vault.policy.reduce import Reduction, reduce
from vault.policy.terms import check_terms, encode_terms, is_thumbprint
from vault.services.asked import NEVER_SEEN
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.grant_body import Subjects as SubjectsBody
from vault.services.grant_body import check_text, instant, named_subjects
from vault.services.grant_views import GrantAnswer, shown_row, visible
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.message_keys import delivery_keys
from vault.services.subjects import find
from vault.store.rows import GrantRow


class ChangeBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Why a grant is changed."""

    reason: str | None = None


class NarrowBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What is left of a grant; what is absent stays.

    Attributes:
        version: the grant's, as it was read; another one by now is a conflict.
        scope: the only lines left, each inside one that the grant has.
        uses: in all, those that were used among them.
        networks, conversation: what it is bound to from now on.
    """

    version: int
    scope: list[ScopeEntry] | None = None
    subjects: SubjectsBody | None = None
    uses: int | None = None
    batch: int | None = None
    until: str | None = None
    networks: list[str] | None = None
    conversation: str | None = None
    reason: str | None = None


class BlockAnswer(Replayable, frozen=True):
    """A delegation that was revoked, and when."""

    grant: str
    block: str
    revoked_at: str


class _GrantCommand(CallerCommand):
    """A command on one grant of the caller's tenant."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, grant: str, reason: str | None) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._grant = grant
        self._reason = reason

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the grant."""
        super().needs(needs)
        needs.grants.add(self._grant)

    def _row(self, state: State) -> GrantRow:
        self.check(state)
        row = state.grants.get(self._grant)
        if row is None or row.grant.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        return row

    def _note(self, writes: Writes, kind: str, **facts: Any) -> None:
        """Moves the fence, and says what was done."""
        writes.fence_by += 1
        told = {"grant": self._grant, "credential": self.caller.api_key, **facts, **trace(self._origin)}
        texts = {} if self._reason is None else {"reason": self._reason}
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        writes.event(Event(kind, tenant, actor, told, texts, self.decision))


class SetState(_GrantCommand):
    """Revokes a grant, suspends it, or lets it go on. Doing so twice changes nothing."""

    def __init__(
        self, caller: Caller, origin: Origin, grant: str, reason: str | None, to: GrantState, kind: str
    ) -> None:
        super().__init__(caller, origin, grant, reason)
        self._to = to
        self._kind = kind

    def decide(self, state: State, writes: Writes) -> GrantRow:
        """The grant as it stands then.

        Raises:
            Conflict: `grant_ended`: a revoked grant is neither suspended nor let go on.
            Denied: `approval_required`: nor is one that is not approved yet.
        """
        row = self._row(state)
        if row.grant.state is self._to:
            return row
        if row.grant.state is GrantState.REVOKED:
            raise Conflict("grant_ended")
        if row.grant.state is GrantState.PENDING and self._to is not GrantState.REVOKED:
            raise Denied("approval_required")  # else it would go on without one
        writes.update("set_grant_state", grant_id=self._grant, seen=row.grant.version, to=self._to.value)
        row.grant = replace(row.grant, state=self._to, version=row.grant.version + 1)
        self._note(writes, self._kind)
        return row


class NarrowGrant(_GrantCommand):
    """Leaves less of a grant."""

    def __init__(
        self, caller: Caller, origin: Origin, grant: str, reason: str | None, version: int, left: Reduction
    ) -> None:
        super().__init__(caller, origin, grant, reason)
        self._version = version
        self._left = left

    def decide(self, state: State, writes: Writes) -> GrantRow:
        """The grant as it stands then.

        Raises:
            Conflict: `version_conflict`, `grant_ended`.
            BadInput: `widening_refused` with the member that is not less.
        """
        row = self._row(state)
        if row.grant.state_at(state.now, row.uses) in ("revoked", "expired"):
            raise Conflict("grant_ended")
        if row.grant.version != self._version:
            raise Conflict("version_conflict")
        old = row.grant
        row.grant = reduce(old, self._left, row.uses, state.now)
        check_terms(row.grant.terms, row.grant.batch)
        for person in sorted((old.subjects or frozenset()) - (row.grant.subjects or frozenset())):
            writes.update("drop_grant_subject", grant_id=self._grant, person=person)
        for person in sorted((row.grant.subjects or frozenset()) - (old.subjects or frozenset())):
            writes.insert("grant_subject", grant=self._grant, subject=person)
        writes.update("narrow_grant", grant_id=self._grant, seen=old.version, **_columns(row.grant))
        self._note(writes, "grant.narrow", uses=row.grant.max_uses, version=row.grant.version)
        return row


class RevokeBlock(_GrantCommand):
    """Revokes one delegation of a grant, and all that were made of it."""

    def __init__(self, caller: Caller, origin: Origin, grant: str, reason: str | None, block: str) -> None:
        super().__init__(caller, origin, grant, reason)
        self._block = block

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the grant and the delegation."""
        super().needs(needs)
        needs.blocks.add(decode(self._block))

    def decide(self, state: State, writes: Writes) -> Micros:
        """When it was revoked; a second time changes nothing."""
        self._row(state)
        id_ = decode(self._block)
        known = state.blocks.get(id_)
        if known is not None and known.grant != self._grant:
            raise Unknown("not_found")
        if known is not None and known.revoked_at:
            return known.revoked_at
        if known is None:  # it was never used, or has no count of its own
            writes.insert("grant_block", id=id_, grant=self._grant, uses=0, revoked_at=state.now)
        else:
            writes.update("revoke_grant_block", block_id=id_, at=state.now)
        self._note(writes, "grant.block", block=self._block)
        return state.now


def revoke_grant(cell: Cell, request: Request, grant: str, body: ChangeBody) -> Verb[GrantAnswer]:
    """Revokes a grant: its creator may, and whoever holds `grant:revoke`."""

    def command(caller: Caller) -> SetState:
        return SetState(caller, request.origin, grant, body.reason, GrantState.REVOKED, "grant.revoke")

    return (yield from _change(cell, request, grant, body, "grant.revoke", command))


def suspend_grant(cell: Cell, request: Request, grant: str, body: ChangeBody) -> Verb[GrantAnswer]:
    """Suspends a grant until somebody lets it go on; its creator may, and whoever holds `grant:revoke`."""

    def command(caller: Caller) -> SetState:
        return SetState(caller, request.origin, grant, body.reason, GrantState.SUSPENDED, "grant.suspend")

    return (yield from _change(cell, request, grant, body, "grant.suspend", command))


def resume_grant(cell: Cell, request: Request, grant: str, body: ChangeBody) -> Verb[GrantAnswer]:
    """Lets a suspended grant go on. Whoever holds `grant:revoke` may; its creator alone may not."""

    def command(caller: Caller) -> SetState:
        return SetState(caller, request.origin, grant, body.reason, GrantState.ACTIVE, "grant.resume")

    return (yield from _change(cell, request, grant, body, "grant.resume", command, own=False))


def narrow_grant(cell: Cell, request: Request, grant: str, body: NarrowBody) -> Verb[GrantAnswer]:
    """Leaves less of a grant; its creator may, and whoever holds `grant:revoke`.

    Raises:
        BadInput: `widening_refused`.
        Conflict: `version_conflict`: it is another by now.
    """

    def command(caller: Caller) -> NarrowGrant:
        names = named_subjects(body.subjects)
        left = Reduction(
            scope=None if body.scope is None else tuple(body.scope),
            subjects=None if names is None else _rows(cell, caller, names),
            max_distinct=None if body.subjects is None else body.subjects.max_distinct,
            uses=body.uses,
            batch=body.batch,
            until=None if body.until is None else instant(body.until, "until"),
            networks=body.networks,
            conversation=body.conversation,
        )
        return NarrowGrant(caller, request.origin, grant, body.reason, body.version, left)

    return (yield from _change(cell, request, grant, body, "grant.narrow", command))


def revoke_block(cell: Cell, request: Request, grant: str, block: str, body: ChangeBody) -> Verb[BlockAnswer]:
    """Revokes one delegation, by its id; the grant's creator may, and whoever holds `grant:revoke`."""
    caller = yield from _admitted(cell, request, grant, "grant.block", own=True)
    reason = check_text(body.reason)
    if not is_thumbprint(block):
        raise Unknown("not_found")
    repeat = once(cell, request, caller, "grant.block", BlockAnswer, grant, block, body)
    if repeat.replay is not None:
        return repeat.replay

    def answer(at: Micros, _now: Micros) -> BlockAnswer:
        return BlockAnswer(grant, block, format_time(at))

    done = yield repeat.keep(RevokeBlock(caller, request.origin, grant, reason, block), answer)
    return answer(done.value, done.at)


def _change(
    cell: Cell,
    request: Request,
    grant: str,
    body: ChangeBody | NarrowBody,
    verb: str,
    command: Callable[[Caller], _GrantCommand],
    *,
    own: bool = True,
) -> Verb[GrantAnswer]:
    """Does one change of a grant.

    Args:
        own: whether the grant's creator may, whatever else it may.
    """
    caller = yield from _admitted(cell, request, grant, verb, own=own)
    check_text(body.reason)
    repeat = once(cell, request, caller, verb, GrantAnswer, grant, body)
    if repeat.replay is not None:
        return repeat.replay

    def answer(row: GrantRow, at: Micros) -> GrantAnswer:
        return msgspec.structs.replace(shown_row(row, at), **delivery_keys(cell, row.grant.terms))

    done = yield repeat.keep(command(caller), answer)
    return answer(done.value, done.at)


def _admitted(cell: Cell, request: Request, grant: str, verb: str, *, own: bool) -> Verb[Caller]:
    """Whoever may change a grant that it may see."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, verb, *(() if own else ("grant:revoke",)))
    row = visible(cell, caller, grant)
    if row is None:
        raise Unknown("not_found")
    if own and row.created_by != caller.principal.id:
        yield from admit(cell, caller, request.origin, verb, "grant:revoke")
    return caller


def _rows(cell: Cell, caller: Caller, names: Sequence[str]) -> frozenset[bytes]:
    """The rows of people; whom nobody knows, nobody may be shown."""
    found = find(cell, caller.principal.tenant, names)
    return frozenset(found.get(name, NEVER_SEEN) for name in names)


def _columns(grant: Grant) -> dict[str, Any]:
    """What of a grant's row a narrowing sets."""
    return {
        "to_scope": msgspec.json.encode(list(grant.scope)).decode(),
        "to_max_uses": grant.max_uses,
        "to_batch": grant.batch,
        "to_valid_until": grant.valid_until,
        "to_any_subject": 1 if grant.subjects is None else 0,
        "to_terms": encode_terms(grant.terms),
    }
