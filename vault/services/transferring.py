"""The work of a transfer: a person's values opened under one cell's keys and sealed under the other's.

One process has both cells; what is open lies in its memory alone. A batch goes in three commits:

1. the source says in its log what it is about to open, and only then opens it;
2. the target enters tokens, claims, and which row each came from, with its event, in one transaction;
3. the source moves the job's cursor, and with `move` removes what has arrived, in one transaction.

Whoever is killed between the second and the third finds at the target what has arrived, and enters nothing
twice. Whoever is overtaken finds the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from vault.audit.event import Event, listed
from vault.clock import DAY, Micros
from vault.codes import CODES
from vault.context import Use, encode_for
from vault.envelope.seal import open_encoded
from vault.errors import Denied, IntegrityError
from vault.identifiers import NIL, format_id
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import Command, Committed, State, Writes
from vault.ledger.committer import drive
from vault.retention.period import falls_due
from vault.services.arriving import Arrived, Coming, arrivals, receive
from vault.services.cell import Cell
from vault.services.crossing import ENTER, FORGET, SentValue
from vault.services.enlisting import identifiers
from vault.services.jobs import DONE, RUNNING, WAITING, Piece, Release, Work
from vault.services.peers import Peer
from vault.services.retention import NEVER
from vault.services.transfers import KEEP, MOVE, stored
from vault.store.crossing import SentRow, SubjectRow, TransferRow
from vault.store.custody import KeyRow
from vault.tokens.shaped import claim_record

WINDOW: Final = 20_000  # tokens that one piece looks through
BATCH: Final = 256  # values of one piece
KEPT: Final = 7 * DAY  # for so long the pairs of tokens are told

Pieces = Generator[Command, Committed, None]


@dataclass(frozen=True, slots=True, repr=False)
class Going:
    """A token that is to be transferred: its living claims of this person, the one kept longest last."""

    token: bytes
    field: str
    surrogate: str | None
    claims: tuple[tuple[KeyRow, bytes], ...]

    @property
    def key(self) -> KeyRow:
        """The key of the claim that is opened."""
        return self.claims[-1][0]


class Opening(Piece):
    """Says in the source's log that values are about to be opened, and moves nothing.

    Returns from `decide`: itself, for `_open`.
    """

    def __init__(self, work: Work, row: TransferRow, going: Sequence[Going]) -> None:
        super().__init__(work, work.progress)
        self.going = going
        self._row = row

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        row = self._row
        fields = Counter(one.field for one in self.going)
        facts: dict[str, Any] = {
            "transfer": row.id,
            "to": row.to,
            "mode": row.mode,
            "legal_basis": row.legal_basis,
            "fields": [{"field": name, "values": count} for name, count in sorted(fields.items())],
            "job": self.work.id,
        }
        items = {
            "subjects": listed([format_id("sub", row.subject)]),
            "keys": listed(sorted({format_id("key", one.key.id) for one in self.going})),
            "rows": listed([one.token.hex() for one in self.going]),
        }
        writes.event(Event("transfer.send", row.tenant, self.work.actor, facts, items))

    def decide(self, state: State, writes: Writes) -> Any:
        """As any piece; the proof is of this very opening."""
        super().decide(state, writes)
        return self


class Sent(Piece):
    """Moves the cursor behind a batch; with `move`, removes the claims that have arrived."""

    def __init__(self, work: Work, then: Any, row: TransferRow, gone: list[tuple[bytes, bytes]]) -> None:
        super().__init__(work, then)
        self._row = row
        self._gone = gone

    def effect(self, state: State, writes: Writes) -> None:
        """Removes them."""
        if not self._gone:
            return
        rows = [{"of_token": token, "of_key": key} for token, key in self._gone]
        writes.change("drop_claim", rows, each=False)
        row = self._row
        facts = {"transfer": row.id, "to": row.to, "claims": len(rows), "job": self.work.id}
        items = {
            "subjects": listed([format_id("sub", row.subject)]),
            "rows": listed(sorted({token.hex() for token, _ in self._gone})),
        }
        writes.event(Event("transfer.remove", row.tenant, self.work.actor, facts, items))


def advance(cell: Cell, work: Work) -> Pieces:
    """Does the next piece of a transfer.

    Raises:
        Unavailable: a key store, a database or the other cell is out of reach; it is tried again.
        IntegrityError: a claim does not open; a person must look.
        Denied: `residency_refused`: it is not permitted any more.
    """
    row = stored(cell, work.params["transfer"])
    remote = bool(work.params.get("remote"))
    other = cell.peers.get(row.to) if remote else cell.neighbours.get(row.to)
    if other is None:
        then = replace(work.progress, state=WAITING, waits_for="region", error="transfer_unsupported")
        yield Release(work, then, 10)
        work.progress = then
    elif work.progress.step == KEEP:
        yield from _forget(cell, other, work, row)
    else:
        yield from _send(cell, other, work, row)


def _send(cell: Cell, other: Cell | Peer, work: Work, row: TransferRow) -> Pieces:
    now = work.progress
    above = bytes.fromhex(now.cursor.get("above", ""))
    _check_permitted(cell, row)
    through, going = _next(cell, row, above)
    if through is None:
        until = cell.clock.now() + KEPT
        then = replace(
            now, state=WAITING, step=KEEP, waits_for="pickup", due_at=until, error="",
            total=now.done, cursor={**now.cursor, "until": until},
        )  # fmt: skip
        yield Release(work, then)
        work.progress = then
        return
    number = now.cursor.get("batch", 0) + 1
    # A cell of another process says so in its answer, however often it is asked.
    arrived = {} if isinstance(other, Peer) else arrivals(other, row.id, [one.token for one in going])
    left = [one for one in going if one.token not in arrived]
    if left:
        opening = Opening(work, row, left)
        proof = yield opening
        coming = _open(cell, proof, row, left)
        person = _identifier(cell, row)
        if isinstance(other, Peer):
            arrived = _deliver(other, row, number, person, coming)
        else:
            arrived |= drive(
                other.committer,
                lambda: receive(other, row.tenant, cell.region, row.id, row.legal_basis, person, coming),
                other.forget,
            )
    refused = Counter(now.cursor.get("refused", {}))
    refused.update(one.code for one in arrived.values() if one.code)
    moved = sum(not one.code for one in arrived.values())
    gone = []
    if row.mode == MOVE:
        gone = [(one.token, key.id) for one in going if not arrived[one.token].code for key, _ in one.claims]
    cursor = {**now.cursor, "above": through.hex(), "batch": number, "refused": dict(sorted(refused.items()))}
    then = replace(now, state=RUNNING, cursor=cursor, done=now.done + moved, total=now.done + moved)
    yield Sent(work, then, row, gone)
    work.progress = then


def _deliver(
    other: Peer, row: TransferRow, number: int, person: str, coming: list[Coming]
) -> dict[bytes, Arrived]:
    """What became of each value, as the other cell says once it is durable there.

    Raises:
        IntegrityError: `integrity_failed`: it does not speak of what was sent; nothing is taken for arrived.
    """
    values = [SentValue(one.source.hex(), one.field, one.value, one.ends) for one in coming]
    told = other.send(
        row.id,
        number,
        step=ENTER,
        tenant=row.tenant,
        legal_basis=row.legal_basis,
        person=person,
        values=values,
    )
    if sorted(one.source for one in told) != sorted(one.source for one in values):
        raise IntegrityError("integrity_failed")
    if any(one.code and one.code not in CODES for one in told):
        raise IntegrityError("integrity_failed")
    return {bytes.fromhex(one.source): Arrived(NIL, one.code) for one in told}


def _check_permitted(cell: Cell, row: TransferRow) -> None:
    """Returns if what was permitted when it was asked for is so still.

    Raises:
        Denied: `residency_refused`.
    """
    rules = cell.schemas.of(row.tenant, fresh=True).schema.fields
    permitted = {name for name, rule in rules.items() if row.to in rule.transfer_to}
    if row.to not in cell.transfer_to or not permitted.issuperset(msgspec.json.decode(row.fields)):
        raise Denied("residency_refused")


def _forget(cell: Cell, other: Cell | Peer, work: Work, row: TransferRow) -> Pieces:
    """Forgets the pairs of tokens once their time is over."""
    now = work.progress
    if cell.clock.now() < now.cursor.get("until", 0):  # somebody resumed it
        then = replace(now, state=WAITING, waits_for="pickup", due_at=now.cursor["until"])
        yield Release(work, then)
        work.progress = then
        return
    if isinstance(other, Peer):
        other.send(row.id, 0, step=FORGET, tenant=row.tenant)
    else:
        drive(other.committer, lambda: drop(other, row.id), other.forget)
    then = replace(now, state=DONE, waits_for="", error="")
    yield Piece(work, then)
    work.progress = then


class Forgotten(Command):
    """Removes the pairs of a transfer up to a row. They had their events when they came."""

    def __init__(self, transfer: str, through: bytes) -> None:
        self._of = {"of_transfer": transfer, "through": through}

    def needs(self, needs: Any) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes them."""
        writes.update("drop_arrivals", **self._of)


def drop(other: Cell, transfer: str) -> Pieces:
    """Removes the pairs of a transfer, where they are kept."""
    page = {"of_transfer": transfer, "above": b"", "most": BATCH}
    while rows := other.store.read(other.store.crossing.arrivals_page, page):
        yield Forgotten(transfer, bytes(rows[-1][1]))


def _next(cell: Cell, row: TransferRow, above: bytes) -> tuple[bytes | None, list[Going]]:
    """The next tokens to be sent, a batch at most, and through which row that leads; None: the end."""
    store = cell.store
    ask = {"above": above, "most": WINDOW}
    last = store.read(store.crossing.tokens_through, ask)
    if not last:
        return None, []
    through = bytes(last[0][0])
    person = {"tenant": row.tenant, "of_subject": row.subject}
    ids = [bytes(one[0]) for one in store.read(store.forgetting.keys_of_subject, person)]
    keys = {bytes(one[0]): KeyRow(*one) for one in store.read_keys(store.custody.data_keys, ids)}
    living = {id_: key for id_, key in keys.items() if may_open(KeyState(key.state), KeyState(key.period))}
    if not living:
        return through, []
    within = {"above": above, "through": through, "tenant": row.tenant}
    sent = [
        SentRow(bytes(one[0]), one[1], one[2], bytes(one[3]), bytes(one[4]))
        for one in store.read_keys(store.crossing.sent, sorted(living), **within)
    ]
    going = _by_token(row, sent, living)
    if len(going) > BATCH:
        going = going[:BATCH]
        through = going[-1].token
    return through, going


def _ends(key: KeyRow) -> Micros | None:
    """When what lies under a key must be gone; None: nothing says so yet."""
    return falls_due(key.due) if key.due else key.due_at


def _by_token(row: TransferRow, sent: Iterable[SentRow], keys: dict[bytes, KeyRow]) -> list[Going]:
    fields = set(msgspec.json.decode(row.fields))
    claims: dict[bytes, list[SentRow]] = {}
    for one in sent:
        if one.field in fields:
            claims.setdefault(one.token, []).append(one)
    found = []
    for token in sorted(claims):
        those = [(keys[one.key], one.sealed) for one in claims[token]]
        those.sort(
            key=lambda pair: (falls_due(pair[0].due) if pair[0].due else pair[0].due_at or NEVER, pair[0].id)
        )
        first = claims[token][0]
        found.append(Going(token, first.field, first.surrogate, tuple(those)))
    return found


def _open(cell: Cell, done: Committed, row: TransferRow, going: Sequence[Going]) -> list[Coming]:
    """The values of tokens, with the proof that the log tells of it."""
    if not isinstance(done, Committed):
        raise TypeError("opening takes a Committed")
    if not isinstance(done.value, Opening) or done.value.going is not going:
        raise TypeError("opening takes the Committed of this very opening")
    cell.keyring.prepare([one.key for one in going])
    coming = []
    for one in going:
        key, sealed = one.claims[-1]
        record = claim_record(one.token, one.surrogate)
        context = encode_for(Use.CLAIM, row.tenant, cell.region, one.field, record)
        try:
            value = open_encoded(cell.keyring.data_key(key), context, sealed).decode()
        except (IntegrityError, UnicodeDecodeError):
            raise IntegrityError("integrity_failed") from None
        coming.append(Coming(one.token, one.field, value, _ends(key)))
    return coming


def _identifier(cell: Cell, row: TransferRow) -> str:
    """The caller's own identifier of the person.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    for found in cell.store.read(cell.store.crossing.subject_row, {"subject_id": row.subject}):
        person = SubjectRow(bytes(found[0]), found[1], bytes(found[2]), bytes(found[3]))
        for _, subject in identifiers(cell, [person]):
            if subject is not None:
                return subject
    raise IntegrityError("integrity_failed")
