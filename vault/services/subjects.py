"""Data subjects: finding their rows by keyed reference, and entering those not seen before."""

from __future__ import annotations

import unicodedata
from collections.abc import Generator, Iterable
from typing import NamedTuple

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.context import EncryptionContext, Use
from vault.envelope.seal import open_message, seal
from vault.errors import Conflict, IntegrityError, ValueRefused
from vault.identifiers import format_id, uuid7
from vault.keyring.hierarchy import CELL, new_data_key
from vault.ledger.command import ROWS_A_WEIGHT, Command, Committed, Needs, State, Writes
from vault.retention.period import IDENTIFIER_CLASS, NO_DUE
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, trace
from vault.store.custody import KeyRow, Slot
from vault.store.rows import EpochsInUse

MAX_BYTES = 256
MAX_SUBJECTS = 1_000  # of one grant, and of one ceiling


def check_subject(subject: str) -> str:
    """The caller's own identifier of a person.

    Raises:
        ValueRefused: `subject_invalid`: not 1 to 256 bytes of UTF-8 in NFC, or with control characters.
    """
    if (
        not 1 <= len(subject) <= MAX_BYTES
        or len(subject.encode("utf-8", "surrogatepass")) > MAX_BYTES
        or not unicodedata.is_normalized("NFC", subject)
        or any(unicodedata.category(char) in ("Cc", "Cs", "Cn") for char in subject)
    ):
        raise ValueRefused("subject_invalid")
    return subject


class NewSubject(NamedTuple):
    """A person not seen before, ready to be entered.

    Attributes:
        ref: the reference that is looked up by.
        known_as: the references that an erasure of this person may have left.
        refs: (epoch, key version, reference): in each epoch and version that references are written in.
    """

    ref: bytes
    known_as: frozenset[bytes]
    refs: tuple[tuple[int, int, bytes], ...]
    row: bytes
    key: KeyRow
    sealed: bytes


class EnterSubjects(CallerCommand):
    """Enters people not seen before; whoever was entered meanwhile stays as they are.

    Returns from `decide`: the subject row of each reference. Raises `subject_erased`: one of them was erased,
    and nobody said that they may be entered anew.
    """

    def __init__(
        self, caller: Caller, origin: Origin, head: int, epochs: EpochsInUse, people: list[NewSubject]
    ) -> None:
        super().__init__(caller, head)  # under another head the key of references may be another
        self.prepared_on = epochs
        self._origin = origin
        self._people = people
        self.weight = 1 + len(people) // ROWS_A_WEIGHT

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the references."""
        super().needs(needs)
        needs.refs.update(person.ref for person in self._people)
        needs.suppressed.update(*(person.known_as for person in self._people))

    def decide(self, state: State, writes: Writes) -> dict[bytes, bytes]:
        """Inserts the key, the person and the reference of each who is new."""
        self.check(state)
        new = [person for person in self._people if person.ref not in state.refs]
        if any(state.suppressed.keys() & person.known_as for person in new):
            raise Conflict("subject_erased")
        for person in new:
            state.refs[person.ref] = person.row
            insert_data_key(writes, person.key, state.now)
            writes.insert(
                "subject",
                id=person.row,
                tenant=person.key.tenant,
                key=person.key.id,
                sealed=person.sealed,
                created_at=state.now,
                listed=0,
                erasure=None,
            )
            for epoch, version, ref in person.refs:
                of = {"epoch": epoch, "ref": ref, "key_version": version}
                writes.insert("subject_ref", **of, subject=person.row)
        if new:
            ids = [format_id("sub", person.row) for person in new]
            facts = {"count": len(new), **trace(self._origin)}
            writes.event(
                Event(
                    "subject.create",
                    self.caller.principal.tenant,
                    self.caller.actor,
                    facts,
                    {"subjects": listed(ids)},
                )
            )
        return {person.ref: state.refs[person.ref] for person in self._people}


def insert_data_key(writes: Writes, key: KeyRow, now: int) -> None:
    """Notes the inserts of a new data key and of its due period."""
    writes.insert(
        "due_period", **{"tenant": key.tenant, "class": key.class_, "due": key.due, "state": "active"}
    )
    writes.insert(
        "data_key",
        **{
            "id": key.id,
            "tenant": key.tenant,
            "subject": key.subject,
            "class": key.class_,
            "due": key.due,
            "state": key.state,
            "epoch": key.epoch,
            "sealed": key.sealed,
            "created_at": now,
            "due_at": key.due_at,
            "page": key.page,
        },
    )


def find(
    cell: Cell, tenant: str, subjects: Iterable[str], epochs: EpochsInUse | None = None
) -> dict[str, bytes]:
    """The rows of those subjects that are known.

    Args:
        epochs: those that the verb was begun on; its command is stale under others, so that nobody is taken
            for unknown whose reference was just carried over.
    """
    epoch = (epochs or cell.keyring.in_use).read
    references = cell.keyring.references(tenant, epoch)
    by_ref = {references.of(subject): subject for subject in subjects}
    if not by_ref:
        return {}
    rows = cell.store.read_keys(cell.store.custody.subject_refs, list(by_ref), epoch=epoch)
    return {by_ref[bytes(ref)]: bytes(row) for ref, row in rows}


def enter(
    cell: Cell, caller: Caller, origin: Origin, subjects: Iterable[str]
) -> Generator[Command, Committed, dict[str, bytes]]:
    """The row of each subject; people not seen before are entered first."""
    tenant = caller.principal.tenant
    wanted = list(dict.fromkeys(subjects))
    head = cell.schemas.of(tenant).head  # before the keys of references are looked at
    epochs = cell.keyring.in_use
    rows = find(cell, tenant, wanted, epochs)
    unknown = [subject for subject in wanted if subject not in rows]
    if not unknown:
        return rows
    left = suppressing_versions(cell, tenant)
    people = {subject: _new_subject(cell, tenant, epochs, subject, left) for subject in unknown}
    done = yield EnterSubjects(caller, origin, head, epochs, list(people.values()))
    rows.update({subject: done.value[person.ref] for subject, person in people.items()})
    return rows


def suppressing_versions(cell: Cell, tenant: str) -> list[int]:
    """The versions of the key of references by which an erased person may be known: all that there are.

    One that an erasure has left is not destroyed: nobody can refer to an erased person by a newer one.
    """
    now = cell.keyring.index_versions(tenant, CELL)
    return sorted({*cell.keyring.reference_versions(tenant), now.read, *now.write})


def erased_among(cell: Cell, tenant: str, subjects: Iterable[str]) -> set[str]:
    """Those who were erased, and of whom nobody said that they may be entered anew; as it is now."""
    epochs, versions = cell.keyring.in_use, suppressing_versions(cell, tenant)
    by_ref = {
        ref: subject for subject in subjects for ref in suppressed_as(cell, tenant, epochs, subject, versions)
    }
    found = cell.store.read_keys(cell.store.forgetting.suppressions, sorted(by_ref), epoch=epochs.read)
    return {by_ref[bytes(row[0])] for row in found}


def suppressed_as(
    cell: Cell, tenant: str, epochs: EpochsInUse, subject: str, versions: Iterable[int]
) -> frozenset[bytes]:
    """The references that an erasure of somebody may have left, in the epoch that is looked up in."""
    return frozenset(
        cell.keyring.references(tenant, epochs.read, version).of(subject) for version in versions
    )


def _new_subject(cell: Cell, tenant: str, epochs: EpochsInUse, subject: str, left: list[int]) -> NewSubject:
    epoch = cell.keyring.epoch(epochs.write)
    versions = cell.keyring.index_versions(tenant, CELL)
    refs = tuple(
        (number, version, cell.keyring.references(tenant, number, version).of(subject))
        for number in epochs.each
        for version in versions.write
    )
    row = uuid7()
    key = new_data_key(epoch, Slot(tenant, row, IDENTIFIER_CLASS, NO_DUE))
    sealed = seal(cell.keyring.data_key(key), _context(cell, tenant, row), subject.encode())
    known_as = suppressed_as(cell, tenant, epochs, subject, left)
    return NewSubject(refs[0][2], known_as, refs, row, key, sealed)


def open_identifier(cell: Cell, tenant: str, row: bytes, key: KeyRow, sealed: bytes) -> str:
    """The identifier of a person, as the row has it. Whether its key may be used is for the caller to say.

    Raises:
        IntegrityError: `ciphertext_invalid`: it does not open, which is damage of ours.
        Unavailable: `key_unavailable`.
    """
    opened = open_message(cell.keyring.data_key(key), _context(cell, tenant, row), sealed)
    try:
        return opened.decode()
    except UnicodeDecodeError:
        raise IntegrityError("ciphertext_invalid") from None


def _context(cell: Cell, tenant: str, row: bytes) -> EncryptionContext:
    return EncryptionContext(Use.SUBJECT_IDENTIFIER, tenant, cell.region, record=row)
