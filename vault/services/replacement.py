"""Service keys replaced in time: successors that are valid beside their keys for a while, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import SECOND, Micros, format_time
from vault.errors import BadInput, Conflict, Unknown
from vault.keystate.states import KeyState, move
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, admit, authenticate
from vault.services.idempotency import once
from vault.services.identities import AdministrativeCommand, check_id
from vault.services.key_terms import KeyTerms, ends_soon, expiry, key_state, overlap_end
from vault.services.service_keys import KeyAnswer, KeyReplay, check_networks, insert_key, new_key_row
from vault.store.cell import Store

HOUR: Final[Micros] = 3_600 * SECOND
MAX_WARNED: Final = 200  # keys of one event's transaction; the rest is warned of a minute later


class ReplaceBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How a service key is replaced.

    Attributes:
        overlap: how long the key stays valid beside its successor, like `P7D`; a month at most.
        expires: when the successor ends (RFC 3339).
        networks: from where the successor may be used (CIDRs); absent: from where the key may be.
    """

    overlap: str | None = None
    expires: str | None = None
    networks: list[str] | None = None


class SuccessorAnswer(KeyAnswer, frozen=True, omit_defaults=True, kw_only=True):
    """A successor, and until when its key is valid beside it."""

    replaces: str
    overlap_until: str


class SuccessorReplay(KeyReplay, frozen=True, kw_only=True):
    """The answer to a repeated request for a successor: the credential is not shown again."""

    replaces: str
    overlap_until: str


class ReplaceKey(AdministrativeCommand):
    """Inserts a successor for the same principal, and ends the key when the overlap does."""

    def __init__(self, caller: Caller, origin: Origin, key: str, row: dict[str, Any], until: Micros) -> None:
        super().__init__(
            caller, origin, "apikey.replace", key=key, successor=row["id"], principal=row["principal"],
            until=format_time(until),
        )  # fmt: skip
        self._key = key
        self._row = row
        self._until = until

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the key and its principal."""
        super().needs(needs)
        needs.principals.add(self._row["principal"])
        needs.api_keys.add(self._key)

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it."""
        self.check(state)
        row = state.api_keys.get(self._key)
        owner = state.principals.get(self._row["principal"])
        if row is None or owner is None or owner.removed:
            raise Unknown("not_found")
        check_replaceable(row.revoked_at, row.expires_at, row.replaced_by, state.now)
        state.api_keys[self._key] = row._replace(replaced_by=self._row["id"], expires_at=self._until)
        insert_key(writes, self._row, state.now)
        change = {"api_key": self._key, "until": self._until, "successor": self._row["id"]}
        writes.change("replace_api_key", [change])
        self.note(writes)


def check_replaceable(revoked_at: Micros, expires_at: Micros, replaced_by: str | None, now: Micros) -> None:
    """Returns if a key may be replaced.

    Raises:
        Conflict: `version_conflict`: it is not valid any more, or has a successor.
    """
    move(key_state(expires_at, revoked_at, now), KeyState.DEACTIVATED)
    if replaced_by is not None:
        raise Conflict("version_conflict", successor=replaced_by)


def replace_key(cell: Cell, request: Request, key: str, body: ReplaceBody) -> Verb[SuccessorAnswer]:
    """Gives a service key a successor; both are valid until the overlap ends.

    Raises:
        Unknown: `not_found`.
        BadInput: `validity_invalid`, `limit_invalid`; `operation_unsupported`: a public key or a certificate,
            which has no credential that a successor could have: register another, and revoke this one.
        Conflict: `version_conflict`: it is not valid any more, or has a successor.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "apikey.replace", "principal:write")
    check_id("ck", key)
    rows = cell.store.read(cell.store.record.key_owner, {"key_id": key})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    repeat = once(cell, request, caller, "apikey.replace", SuccessorReplay, key, body)
    if repeat.replay is not None:
        return repeat.replay  # type: ignore[return-value]
    if cell.store.read_keys(cell.store.operators.client_keys, [key]):
        raise BadInput("operation_unsupported", kind="client")
    principal, _, networks, expires_at, revoked_at, replaced_by = rows[0]
    now = cell.clock.now()
    check_replaceable(revoked_at, expires_at, replaced_by, now)
    until = overlap_end(cell.terms, body.overlap, now)
    until = min(until, expires_at) if expires_at else until
    ends = expiry(cell.terms, body.expires, now)
    allowed = msgspec.json.decode(networks, type=list[str])
    allowed = allowed if body.networks is None else check_networks(body.networks)
    row, credential = new_key_row(principal, allowed, ends)
    answer = SuccessorAnswer(
        id=str(row["id"]),
        principal=principal,
        expires=format_time(ends) if ends else None,
        networks=allowed,
        credential=credential,
        replaces=key,
        overlap_until=format_time(until),
    )
    yield repeat.keep(ReplaceKey(caller, request.origin, key, row, until), answer)
    cell.identities.forget()  # so that its new end is seen
    return answer


@dataclass(frozen=True, slots=True, repr=False)
class EndingKey:
    """A valid service key whose end is near."""

    id: str
    tenant: str
    principal: str
    name: str
    expires_at: Micros
    warned_at: Micros
    replaced: bool


def ending_keys(store: Store, terms: KeyTerms, now: Micros) -> list[EndingKey]:
    """The valid keys whose end is near, the nearest first."""
    rows = store.read(store.record.api_keys_ending, {"after": now, "before": terms.warning.after(now)})
    return [
        EndingKey(id_, tenant, principal, name, expires_at, warned_at, successor is not None)
        for id_, tenant, principal, name, expires_at, warned_at, successor in rows
    ]


class WarnOfEnds(Command):
    """Puts it on the record, once a key, that its end is near."""

    def __init__(self, keys: list[EndingKey]) -> None:
        self._keys = keys

    def needs(self, needs: Needs) -> None:
        """The keys."""
        needs.api_keys.update(key.id for key in self._keys)

    def decide(self, state: State, writes: Writes) -> int:
        """Notes an event for each that nobody was warned of, replaced or revoked; how many."""
        warned = 0
        for key in self._keys:
            row = state.api_keys.get(key.id)
            if row is None or row.warned_at or row.revoked_at or row.replaced_by is not None:
                continue
            warned += 1
            state.api_keys[key.id] = row._replace(warned_at=state.now)
            writes.update("warn_of_api_key", api_key=key.id, at=state.now)
            facts = {
                "code": "api_key_ends", "key": key.id, "principal": key.principal,
                "ends": format_time(row.expires_at),
            }  # fmt: skip
            writes.event(Event("alert", key.tenant, "schedule", facts))
        return warned


def warn_of_ends(cell: Cell) -> Verb[int]:
    """Warns of keys that end soon and have no successor; how many it was warned of."""
    now = cell.clock.now()
    ending = [
        key
        for key in ending_keys(cell.store, cell.terms, now)
        if not key.warned_at and not key.replaced and ends_soon(cell.terms, key.expires_at, now)
    ]
    if not ending:
        return 0
    done = yield WarnOfEnds(ending[:MAX_WARNED])
    return int(done.value)


class NoteUses(Command):
    """Writes when service keys were last used, to the hour."""

    def __init__(self, hours: dict[str, Micros]) -> None:
        self._hours = hours

    def needs(self, needs: Needs) -> None:
        """Touches no row that anybody decides on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the updates; never to an earlier hour."""
        for key, hour in sorted(self._hours.items()):
            writes.update("note_api_key_use", api_key=key, hour=hour)


def flush_uses(cell: Cell) -> Verb[int]:
    """Writes down which service keys were used since the last hour that was written; how many."""
    hours = cell.seen.take()
    if hours:
        try:
            yield NoteUses(hours)
        except BaseException:
            cell.seen.give_back(hours)
            raise
    return len(hours)
