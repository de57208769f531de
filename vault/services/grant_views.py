"""Grants as they are shown: one to its creator, its holder and reviewers; the list to reviewers."""

from __future__ import annotations

import msgspec

from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.jws import Jwk
from vault.errors import Unknown
from vault.identifiers import format_id, parse_id
from vault.ledger.command import Verb
from vault.policy.grant import ScopeEntry
from vault.policy.terms import NONE, Terms
from vault.services.approving import Need
from vault.services.audit import MAX_SCANS, SCAN_ROWS
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate, holder, is_grant
from vault.services.idempotency import Replayable
from vault.services.listing import Listing, Page, check_page
from vault.services.message_keys import delivery_keys
from vault.services.standing import delegate_left
from vault.store.rows import GrantRow, decode_grant


class GrantAnswer(Replayable, frozen=True):
    """A grant as it is shown; the credential only in the answer that created it.

    Attributes:
        jkt: the thumbprint of the holder's key, of a keyed grant.
        terms: what it is bound to beside its scope.
        delivery_key: what signs the answers that are sealed for it, to be pinned by whoever opens them.
        next_delivery_key: what will, within a week: to be pinned beside it.
        approval: what has to be approved before it is active; in the answer that created it.
    """

    id: str
    state: str
    version: int
    agent: str
    purpose: str
    scope: list[ScopeEntry]
    uses: int
    uses_left: int
    batch: int
    created_by: str
    valid_from: str
    valid_until: str
    subjects: list[str] | None = None
    credential: str | None = None
    decision: str | None = None
    jkt: str | None = None
    terms: Terms | None = None
    delivery_key: Jwk | None = None
    next_delivery_key: Jwk | None = None
    approval: Need | None = None


class GrantReplay(GrantAnswer, frozen=True, kw_only=True):
    """The answer to a repeated request for a grant: the credential is not shown again."""

    credential: None


class GrantFilter(msgspec.Struct, frozen=True):
    """Which grants a list shows."""

    agent: str | None = None
    purpose: str | None = None
    state: str | None = None

    def matches(self, grant: GrantAnswer) -> bool:
        """Whether the list shows a grant."""
        return (
            self.agent in (None, grant.agent)
            and self.purpose in (None, grant.purpose)
            and self.state in (None, grant.state)
        )


def read_grant(cell: Cell, request: Request, grant: str) -> Verb[GrantAnswer]:
    """One grant: for its creator, its holder, and whoever holds `grant:list`.

    A delegate is told the uses that are left to it.
    """
    if is_grant(request.authorization):
        who = holder(cell, request)
        shown = _read(cell, who.tenant, grant) if who.credential.id == grant else None
        if shown is not None and who.chain:
            left = delegate_left(cell, who.chain, shown.uses_left)
            shown = msgspec.structs.replace(shown, uses_left=left)
    else:
        caller = authenticate(cell, request, fresh=True)
        yield from admit(cell, caller, request.origin, "grant.read")
        shown = visible(cell, caller, grant)
    if shown is None:
        raise Unknown("not_found")
    return shown


def list_grants(cell: Cell, request: Request, page: Page, only: GrantFilter) -> Verb[Listing]:
    """Grants of the tenant, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "grant.list", "grant:list")
    below = check_page(page, "gr")
    now = cell.clock.now()
    found: list[GrantAnswer] = []
    tenant = caller.principal.tenant
    for _ in range(MAX_SCANS):
        params = {"tenant": tenant, "below": below, "most": SCAN_ROWS}
        rows = cell.store.read(cell.store.record.grants_page, params)
        for row in rows:
            grant = _shown(decode_grant(row, frozenset()), now)
            if only.matches(grant):
                if len(found) == page.limit:
                    return Listing(list(found), below)
                found.append(grant)
            below = grant.id
        if len(rows) < SCAN_ROWS:
            return Listing(list(found), None)
    # A rare match among many: this page may be short, even empty, and `next` goes on from here.
    return Listing(list(found), below)


def visible(cell: Cell, caller: Caller, grant: str) -> GrantAnswer | None:
    """The grant, if there is one and the caller may see it."""
    shown = _read(cell, caller.principal.tenant, grant)
    if shown is None:
        return None
    may = not caller.api_key or shown.created_by == caller.principal.id
    held = caller.principal.held
    return shown if may or "grant:list" in held or "grant:revoke" in held else None


def _read(cell: Cell, tenant: str, grant: str) -> GrantAnswer | None:
    found = read_row(cell, tenant, grant)
    if found is None:
        return None
    shown = shown_row(found, cell.clock.now())
    return msgspec.structs.replace(shown, **delivery_keys(cell, found.grant.terms))


def read_row(cell: Cell, tenant: str, grant: str) -> GrantRow | None:
    """A grant of a tenant with its data subjects, as it stands now; None if there is none."""
    try:
        parse_id("gr", grant)
    except ValueError:
        return None
    rows = cell.store.read_keys(cell.store.record.grants, [grant])
    if not rows or rows[0][1] != tenant:
        return None
    people = [] if rows[0][6] else cell.store.read_keys(cell.store.record.grant_subjects, [grant])
    return decode_grant(rows[0], frozenset(bytes(row[1]) for row in people))


def shown_row(found: GrantRow, now: Micros) -> GrantAnswer:
    """A grant as it is shown, with its data subjects if it is for some."""
    subjects = found.grant.subjects
    shown = _shown(found, now)
    if subjects is None:
        return shown
    return msgspec.structs.replace(shown, subjects=sorted(format_id("sub", row) for row in subjects))


def _shown(found: GrantRow, now: Micros) -> GrantAnswer:
    grant = found.grant
    return GrantAnswer(
        id=grant.id,
        state=grant.state_at(now, found.uses),
        version=grant.version,
        agent=grant.agent,
        purpose=grant.purpose,
        scope=list(grant.scope),
        uses=found.uses,
        uses_left=grant.max_uses - found.uses,
        batch=grant.batch,
        created_by=grant.created_by,
        valid_from=format_time(grant.valid_from),
        valid_until=format_time(grant.valid_until),
        jkt=grant.jkt,
        terms=None if grant.terms == NONE else grant.terms,
    )
