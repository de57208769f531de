"""What a use of a grant does about approvals: asks for one, waits for it, and spends it.

All of it is decided under the lock of the grant's row, in the transaction of the charge: two requests that
are the same have one approval, and one that was given is spent once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.authn.identities import Holder
from vault.clock import Micros
from vault.identifiers import new_id
from vault.keyring.approvals import approval_keys
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.policy.approval import Approval
from vault.policy.decision import APPROVAL_REQUIRED, Decision
from vault.policy.grant import Derived, Grant, Proposal
from vault.services.asked import Asked, Asking
from vault.services.cell import Cell
from vault.services.hidden import Hidden
from vault.services.notices import APPROVAL as TOLD
from vault.services.notices import PENDING_GRANT, tell
from vault.store.approving import APPROVE, APPROVED, DENIED, PENDING, USED, ApprovalRow

SHOWN: Final = 20
"""How many items of a request are kept to be shown to whoever is to approve it. Its digest is of all."""
MAX_OPEN: Final = 20
"""Approvals of one grant that wait for somebody: more would be asked than people can look at."""
WAIT_S: Final = 60  # before a holder asks for one more
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class AskedItem(Hidden, frozen=True, omit_defaults=True):
    """An item of a request, as it is kept, sealed, until its approval is over.

    Attributes:
        text: the token or ciphertext.
        person: the row of the person that the request names, in hex.
    """

    field: str
    text: str
    key_version: int | None = None
    person: str | None = None
    record: str | None = None


class AskedFor(Hidden, frozen=True):
    """What was asked, as it is kept, sealed.

    Attributes:
        people: rows of those whom the delegations leave, in hex; None: anybody.
    """

    purpose: str
    mask: str | None
    derive: Derived | None
    items: list[AskedItem]
    people: list[str] | None


class Need(Hidden, frozen=True):
    """What a holder is told of an approval: where to send somebody, and how many are missing."""

    id: str
    needed: int
    have: int
    uri: str


class Seeking:
    """One request's approval, or its grant's: found by its digest under the lock of the grant's row.

    Args:
        digest: of what was asked, or of the grant.
        row: of the approval that is made if there is none; its grant's version and the times are not known
            yet. None where nothing is made: the approval of the grant itself.
    """

    __slots__ = ("_row", "_tell", "_terms", "_uri", "digest", "found", "spent")

    def __init__(self, cell: Cell, terms: Approval, digest: bytes, row: ApprovalRow | None) -> None:
        self.digest = digest
        self._terms = terms
        self._row = row
        self._uri = uri_of(cell, "")
        self._tell = cell.channels
        self.found: ApprovalRow | None = None
        self.spent = False

    def add_needs(self, needs: Needs) -> None:
        """Adds the approval, and how many others of the grant wait for somebody."""
        needs.approvals.add(self.digest)
        if self._row is not None:
            needs.open_approvals.add(self._row.grant)

    @property
    def need(self) -> Need | None:
        """What the holder is told, once it was decided."""
        row = self.found
        return None if row is None else Need(row.id, row.needed, row.have, self._uri + row.id)

    def decide(self, decision: Decision, grant: Grant, state: State, writes: Writes) -> Decision:
        """Check 10: the decision as an approval leaves it, of a request that passed checks 1 to 8.

        Costs rate and no use where it is refused, hit or miss.
        """
        known = state.approvals.get(self.digest)
        self.found, self.spent = None, False
        if decision.code == APPROVAL_REQUIRED:  # the grant itself is not approved
            self.found = known
            return decision
        if self._row is None or decision.code is not None:
            return decision
        if known is None or not stands(known, grant, state.now) or known.state == USED:
            if state.open_approvals.get(grant.id, 0) >= MAX_OPEN:
                return Decision("rate_limited", 0, 10, retry_after=WAIT_S, tat=decision.tat)
            known = self._ask(grant, state, writes)
        self.found = known
        if known.state == APPROVED:
            known.state, self.spent = USED, True
            writes.update("end_approval", approval_id=known.id, seen=APPROVED, to=USED)
            return decision
        code = "approval_denied" if known.state == DENIED else APPROVAL_REQUIRED
        return decision._replace(code=code, charged=0, check=10)

    def _ask(self, grant: Grant, state: State, writes: Writes) -> ApprovalRow:
        """A new approval, and whoever is told of it."""
        if self._row is None:
            raise TypeError("nothing is asked for")
        row = self._row
        row.version, row.created_at = grant.version, state.now
        row.expires_at = min(state.now + self._terms.lasts, grant.valid_until)
        row.state, row.votes = PENDING, []
        state.approvals[self.digest] = row
        state.open_approvals[grant.id] = state.open_approvals.get(grant.id, 0) + 1
        insert(writes, row)
        tell(self._tell, writes, state.now, TOLD, row.tenant, row.id, grant.agent, grant.purpose)
        return row

    def facts(self) -> dict[str, Any]:
        """What the decision's event says: the approval, and of one that was spent, who gave it and how sure
        it was who they are.
        """
        row = self.found
        if row is None:
            return {}
        if not self.spent:
            return {"approval": row.id}
        approved = [vote for vote in row.votes if vote.verdict == APPROVE]
        by = [{"principal": vote.principal, "mfa": vote.mfa_by} for vote in approved]
        return {"approval": row.id, "approved_by": by}


class Waiting:
    """The approval of a grant that is being made."""

    __slots__ = ("_cell", "_lasts", "_row")

    def __init__(self, cell: Cell, terms: Approval, row: ApprovalRow) -> None:
        self._cell = cell
        self._lasts = terms.lasts
        self._row = row

    @property
    def need(self) -> Need:
        """What the grant's creator is told."""
        return Need(self._row.id, self._row.needed, 0, uri_of(self._cell, self._row.id))

    def write(self, now: Micros, writes: Writes, proposal: Proposal) -> None:
        """Notes the insert, with the grant's own."""
        row = self._row
        row.version, row.created_at = 1, now
        row.expires_at = min(now + self._lasts, proposal.valid_until)
        insert(writes, row)
        tell(
            self._cell.channels,
            writes,
            now,
            PENDING_GRANT,
            row.tenant,
            row.id,
            proposal.agent,
            proposal.purpose,
        )


def pending_grant(cell: Cell, tenant: str, grant: str, terms: Approval | None) -> Waiting | None:
    """The approval that a new grant needs before it is active; None if it needs none."""
    if terms is None or terms.when is not None:
        return None
    digest = approval_keys(cell.keyring).digest(grant, b"")
    return Waiting(cell, terms, new_row(tenant, grant, digest, terms.n))


def stands(row: ApprovalRow, grant: Grant, now: int) -> bool:
    """Whether an approval is still of use: in time, and of the grant as it is."""
    return row.version == grant.version and now < row.expires_at


def insert(writes: Writes, row: ApprovalRow) -> None:
    """Notes the insert of an approval."""
    columns = {name: getattr(row, name) for name in ApprovalRow.__slots__ if name != "votes"}
    writes.insert("approval", **columns)


def new_row(tenant: str, grant: str, digest: bytes, needed: int, **more: Any) -> ApprovalRow:
    """An approval of a grant, or with more, of a request; its version and times are not known yet."""
    asked: dict[str, Any] = {
        "id": new_id("apr"), "verb": "", "operation": "", "delivery": "", "fields": "[]", "items": 0,
        "sealed": b"", **more,
    }  # fmt: skip
    return ApprovalRow(
        tenant=tenant, grant=grant, digest=digest, version=0, needed=needed, state=PENDING, created_at=0,
        expires_at=0, **asked,
    )  # fmt: skip


def uri_of(cell: Cell, approval: str) -> str:
    """Where a person approves. The id stands where no proxy and no log of ours sees it."""
    return f"{cell.regions.get(cell.region, '').rstrip('/')}/approve#{cell.region}/{approval}"


class DropRequests(Command):
    """Forgets what was asked where its approval has ended. It has no event: what was asked has one."""

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on: it is over."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes what was sealed."""
        writes.update("empty_approvals", at=state.now)


def drop_requests(cell: Cell) -> Verb[None]:
    """Forgets what was asked where its approval has ended, if there is any."""
    if cell.store.read(cell.store.approving.full_approvals, {"at": cell.clock.now()}):
        yield DropRequests()


def seek(
    cell: Cell, who: Holder, asking: Asking, asked: list[Asked], people: frozenset[bytes] | None
) -> Seeking | None:
    """The approval that a use needs; None if it needs none.

    Args:
        people: those whom the delegations leave; None: anybody.
    """
    terms = who.approval
    if terms is None:
        return None
    keys = approval_keys(cell.keyring)
    grant = who.credential.id
    if terms.when is None:
        return Seeking(cell, terms, keys.digest(grant, b""), None)
    fields = sorted({one.field for one in asked})
    if not terms.asks_for(asking.operation, fields):
        return None
    digest = keys.digest(grant, _request(who, asking, asked))
    known = [one for one in asked if one.given and one.rule is not None]
    row = new_row(
        who.tenant,
        grant,
        digest,
        terms.n,
        verb=asking.verb,
        operation=asking.operation,
        delivery=asking.delivery,
        fields=_encode(sorted({one.field for one in known})).decode(),
        items=sum(one.given for one in asked),
    )
    kept = AskedFor(
        asking.purpose,
        asking.mask,
        asking.derive,
        [_kept(one) for one in known[:SHOWN]],
        None if people is None else sorted(person.hex() for person in people),
    )
    row.sealed = keys.seal(row.id, _encode(kept))
    return Seeking(cell, terms, digest, row)


def _request(who: Holder, asking: Asking, asked: list[Asked]) -> bytes:
    """The canonical request: all that says what is shown to whom. Not how fresh it is: a request that is
    made again with another `challenge` is the same.
    """
    items = [
        (one.given, one.field, one.text, one.named, one.key_version, one.candidate,
         None if one.record is None else one.record.hex())
        for one in asked
    ]  # fmt: skip
    holder = (
        who.proof.jkt if who.proof is not None else None,
        [block.id for block in who.chain],
        who.seal_to,
    )
    asks = (
        asking.verb, asking.operation, asking.mask, asking.delivery, asking.purpose, asking.on_error,
        asking.conversation, asking.task, asking.derive,
    )  # fmt: skip
    return _encode((asks, items, holder))


def _kept(one: Asked) -> AskedItem:
    return AskedItem(
        one.field,
        one.text,
        one.key_version,
        None if one.subject is None else one.subject.hex(),
        None if one.record is None else one.record.hex(),
    )
