"""What a restored cell needs before it can be served: epochs, jobs, access, numbers, and what was erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, and_, delete, func, select, true, update

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.keystate.states import KeyState
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell
from vault.services.initialise import MAIN_TENANT
from vault.services.jobs import QUEUED, RUNNING
from vault.services.remove_keys import AT_ONCE, remove_keys, still_there
from vault.services.turning import KIND
from vault.store.cell import Store
from vault.store.loads import Loading
from vault.store.tables import Tables
from vault.store.work import UNENDED

AFTER_CLOSE: Final = "destroy"  # the step of a turn that what was backed up under the new epoch goes on with
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True, repr=False)
class Settled:
    """What a restore did besides loading.

    Attributes:
        erased_keys, erased_values: brought back by the backup, and removed again.
        without_value: tokens whose values are in no file that was restored.
        event: the number of the event that says so.
    """

    grants: int
    credentials: int
    erased_keys: int
    erased_values: int
    without_value: int
    event: int


class Restored(Command):
    """Says that the cell was restored; unless the record is the newest, ends all access. Bumps the fence."""

    alone = True

    def __init__(
        self, caller: Caller, facts: dict[str, Any], progress: dict[str, Any], *, revoke: bool
    ) -> None:
        self._event = Event("cell.restore", MAIN_TENANT, caller.actor, facts)
        self._progress = progress
        self._revoke = revoke

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on: nobody else is there."""

    def decide(self, state: State, writes: Writes) -> int:
        """Ends it; the number of its event."""
        if self._revoke:
            writes.update("revoke_every_api_key", at=state.now)
            writes.update("revoke_every_grant")
            writes.update("revoke_every_session", at=state.now)
            writes.update("revoke_every_holder_key", at=state.now)
            for statement in (
                *("drop_every_password", "drop_every_totp"),
                *("drop_every_recovery_code", "drop_every_passkey"),
            ):
                writes.update(statement)
        progress = {**self._progress, "event": state.head.next}
        writes.update("note_load", new_progress=_encode(progress).decode())
        writes.fence_by += 1
        writes.event(self._event)
        return state.head.next


def mend(loading: Loading, epoch: int, resumes_at: int) -> None:
    """Brings what was under way at that instant to where it can go on: one transaction.

    A turn's own backup is written between its flip and its close, and is the new side of it: so that turn is
    closed by now, and what is left of it is to destroy the old epoch, if that is still there.
    """
    t = loading.store.tables
    with loading.mending(mended=True) as connection:
        connection.execute(
            update(t.head).values(write_epoch=epoch, read_epoch=epoch, next=max_of(t, resumes_at))
        )
        connection.execute(
            update(t.jobs).values(state=QUEUED, runner=None, lease_until=0).where(t.jobs.c.state == RUNNING)
        )
        _mend_turns(connection, t, epoch)
        connection.execute(
            update(t.epochs)
            .values(destroy_at=func.coalesce(t.epochs.c.destroy_at, loading.load.started_at))
            .where(t.epochs.c.epoch < epoch, t.epochs.c.state != KeyState.DESTROYED.value)
        )


def max_of(t: Tables, resumes_at: int) -> Any:
    """The next number, never below what the record itself has."""
    return (
        func.max(t.head.c.next, resumes_at)
        if t.dialect == "sqlite"
        else func.greatest(t.head.c.next, resumes_at)
    )


def _mend_turns(connection: Connection, t: Tables, epoch: int) -> None:
    unended = select(t.jobs.c.id, t.jobs.c.params).where(t.jobs.c.kind == KIND, t.jobs.c.state.in_(UNENDED))
    for id_, params in connection.execute(unended).all():
        if msgspec.json.decode(params)["from"] < epoch:
            goes_on = {"state": QUEUED, "step": AFTER_CLOSE, "waits_for": "", "error": ""}
            connection.execute(update(t.jobs).values(goes_on).where(t.jobs.c.id == id_))


def counts(store: Store) -> tuple[int, int]:
    """How many tokens have no value, and how many values have no key."""
    t = store.tables
    without_value = (
        select(func.count())
        .select_from(t.tokens)
        .where(~select(t.claims.c.token).where(t.claims.c.token == t.tokens.c.id).exists())
    )
    return int(store.read(without_value)[0][0]), int(store.read(_keyless(t, counted=True))[0][0])


def _keyless(t: Tables, *, counted: bool) -> Any:
    """Claims whose key is gone: to count, or to remove."""
    gone = and_(~select(t.data_keys.c.id).where(t.data_keys.c.id == t.claims.c.key).exists())
    if counted:
        return select(func.count()).select_from(t.claims).where(gone)
    return delete(t.claims).where(gone)


def settle(
    cell: Cell,
    caller: Caller,
    progress: dict[str, Any],
    erased: list[bytes],
    facts: dict[str, Any],
    *,
    newest: bool,
) -> Verb[Settled]:
    """Ends access, says that the cell was restored, and removes again what was erased.

    Args:
        progress: of the load; whether the event is there already.
        erased: the keys that `erased.log` names.
    """
    rows = [
        row
        for start in range(0, len(erased), AT_ONCE)
        for row in still_there(cell, erased[start : start + AT_ONCE])
    ]
    without_value, keyless = counts(cell.store)
    t = cell.store.tables
    grants, keys, sessions, passwords = (
        int(cell.store.read(select(func.count()).select_from(table).where(condition))[0][0])
        for table, condition in (
            (t.grants, t.grants.c.state == "active"),
            (t.api_keys, t.api_keys.c.revoked_at == 0),
            (t.sessions, t.sessions.c.revoked_at == 0),
            (t.passwords, true()),
        )
    )
    credentials = keys + sessions + passwords
    under = keyless + _claims_of(cell.store, [row.id for row in rows])
    number = progress.get("event")
    if number is None:
        facts = {
            **facts,
            "newest": newest,
            "erased": {"keys": len(rows), "values": under},
            "revoked": {"grants": 0, "credentials": 0}
            if newest
            else {"grants": grants, "credentials": credentials},
            "tokens_without_value": without_value,
        }
        done = yield Restored(caller, facts, progress, revoke=not newest)
        number = done.value
    yield from remove_keys(cell, caller.actor, [row.id for row in rows], note=False, because="restore")
    gone = (0, 0) if newest else (grants, credentials)
    return Settled(*gone, len(rows), under, without_value, number)


def _claims_of(store: Store, keys: list[bytes]) -> int:
    t = store.tables
    found = 0
    for start in range(0, len(keys), AT_ONCE):
        those = keys[start : start + AT_ONCE]
        found += int(
            store.read(select(func.count()).select_from(t.claims).where(t.claims.c.key.in_(those)))[0][0]
        )
    return found


def remove_keyless(loading: Loading) -> int:
    """Removes the values whose keys are gone; how many there were."""
    with loading.mending(swept=True) as connection:
        return int(connection.execute(_keyless(loading.store.tables, counted=False)).rowcount)
