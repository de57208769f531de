"""Requests with an Idempotency-Key: one effect, and the same answer again.

A verb asks `once` behind the gate and hands its command to `keep`. The row is written by the command's own
transaction, with the answer's shape, so a crash leaves both or neither; nothing is claimed beforehand. A
second command of the same request finds the row, is stale, and its verb is made again and finds the answer.

What is kept holds nothing in the clear, no credential and no value, and nothing beyond a day.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from vault.authn.identities import Caller, Holder
from vault.clock import DAY, Micros
from vault.crypto.mac import same
from vault.errors import CoatcheckError, Conflict, IntegrityError, Stale, Unauthenticated, error
from vault.keyring.requests import RequestKey, request_key
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.services.cell import Cell
from vault.services.gate import Request
from vault.services.hidden import Hidden
from vault.store.rows import decode_grant

KEPT: Final[Micros] = DAY
MAX_DROPPED: Final = 1_000  # rows of one transaction
MAX_ROUNDS: Final = 500  # transactions of one call: more than a minute's requests
_NEVER: Final = -1  # in place of the end of a row that was not seen
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Replayable(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """An answer that a repeated request gets again.

    Attributes:
        replayed: that it was given before, and nothing was done now.
    """

    replayed: bool = False


Answer = TypeVar("Answer", bound=Hidden)
Shape = Hidden | CoatcheckError | None
"""What to answer again: an answer or a refusal; None to keep nothing, since nothing was done."""


class _Refused(Hidden, frozen=True, forbid_unknown_fields=True, tag_field="kept", tag="refusal"):
    code: str
    facts: dict[str, Any]


class _Answered(Hidden, frozen=True, forbid_unknown_fields=True, tag_field="kept", tag="answer"):
    answer: msgspec.Raw


@dataclass(frozen=True, slots=True, repr=False)
class _Place:
    """Where a request is kept.

    Attributes:
        key: its key under the newest epoch.
        fingerprint: of what it asks, under that key.
        found_by: the rows that may hold it, under every epoch, each with its end if it was seen and is over.
    """

    key: RequestKey
    fingerprint: bytes
    found_by: dict[tuple[int, bytes], Micros]


class Once(Generic[Answer]):
    """One request: whether it was answered before, and how its command is kept.

    Attributes:
        replay: the answer that it had; None if it is new.
    """

    __slots__ = ("_place", "replay")

    def __init__(self, replay: Answer | None, place: _Place | None) -> None:
        self.replay = replay
        self._place = place

    def keep(self, command: Command, answer: Shape | Callable[[Any, Micros], Shape]) -> Command:
        """The command, which keeps the answer in its own transaction.

        Args:
            answer: to give again, unless `decide` returns a refusal; or made of what it returns and the
                ledger's time. A large one is made before: sealing it is then not the committer's work.
        """
        return command if self._place is None else _Keeping(command, self._place, answer)

    def correct(self, command: Command, refusal: CoatcheckError) -> Command:
        """The command, which keeps a refusal in place of the answer: it was kept, and then not given."""
        return command if self._place is None else _Correcting(command, self._place, refusal)


class _Keeping(Command):
    """A command that keeps its answer."""

    def __init__(
        self, command: Command, place: _Place, answer: Shape | Callable[[Any, Micros], Shape]
    ) -> None:
        self.alone = command.alone
        self.weight = command.weight
        self.prepared_on = command.prepared_on
        self._command = command
        self._place = place
        self._answer = answer if callable(answer) else None
        self._sealed = None if callable(answer) else _sealed(place.key, answer)

    def needs(self, needs: Needs) -> None:
        """The command's rows and the request's."""
        self._command.needs(needs)
        needs.requests.update(self._place.found_by)

    def decide(self, state: State, writes: Writes) -> Any:
        """Decides as the command does, if the request is new, and keeps the answer if there is one."""
        place = self._place
        own = (place.key.epoch, place.key.ref)
        if state.head.write_epoch != place.key.epoch:
            raise Stale
        if any(state.requests.get(row, _NEVER) != end for row, end in place.found_by.items()):
            raise Stale  # it has an answer by now
        value = self._command.decide(state, writes)
        if self._answer is not None:
            sealed = _sealed(place.key, self._answer(value, state.now))
        else:
            sealed = None if isinstance(value, CoatcheckError) else self._sealed
        if sealed is not None:
            expires = state.requests[own] = state.now + KEPT
            writes.insert(
                "idempotency",
                epoch=place.key.epoch,
                ref=place.key.ref,
                fingerprint=place.fingerprint,
                sealed=sealed,
                expires_at=expires,
                replaces=place.found_by[own],
            )
        return value


class _Correcting(Command):
    """A command that keeps another answer in place of the one that was kept a moment ago."""

    def __init__(self, command: Command, place: _Place, answer: CoatcheckError) -> None:
        self.weight = command.weight
        self._command = command
        self._place = place
        self._sealed = _sealed(place.key, answer)

    def needs(self, needs: Needs) -> None:
        """The command's rows and the request's."""
        self._command.needs(needs)
        needs.requests.add((self._place.key.epoch, self._place.key.ref))

    def decide(self, state: State, writes: Writes) -> Any:
        """Decides as the command does. The answer ends when it would have; one that is gone stays gone."""
        place = self._place
        value = self._command.decide(state, writes)
        end = state.requests.get((place.key.epoch, place.key.ref))
        if end is not None and self._sealed is not None:
            writes.insert(
                "idempotency",
                epoch=place.key.epoch,
                ref=place.key.ref,
                fingerprint=place.fingerprint,
                sealed=self._sealed,
                expires_at=end,
                replaces=end,
            )
        return value


class DropExpired(Command):
    """Removes answers that are no longer kept. It has no event: what they answered has one."""

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes a bounded number."""
        writes.update("drop_expired_answers", at=state.now, most=MAX_DROPPED)


def once(
    cell: Cell, request: Request, who: Caller | Holder, route: str, answer: type[Answer], *asked: Any
) -> Once[Answer]:
    """Whether the request was answered before. Behind the gate: whoever may not ask is not answered again.

    Args:
        route: what is asked for; the key is the caller's own on each route.
        answer: the type of the answer, as it is given again.
        asked: ids of the path, and the body.

    Raises:
        CoatcheckError: the refusal that it had.
        Conflict: `idempotency_conflict`: it was another request.
        Unauthenticated: `grant_invalid`: the grant is over, so it answers nothing any more.
    """
    text = request.idempotency
    if text is None:
        return Once(None, None)
    if isinstance(who, Caller):
        tenant, caller = who.principal.tenant, str(who.principal.id)
    else:
        tenant, caller = who.tenant, who.credential.id
    keys = [request_key(epoch, tenant, caller, route, text) for epoch in cell.keyring.epochs]
    message = _encode(asked)
    found_by = {}
    for key in keys:
        found_by[key.epoch, key.ref] = _NEVER
        params = {"epoch": key.epoch, "ref": key.ref}
        for fingerprint, sealed, expires in cell.store.read(cell.store.requests.answer, params):
            if expires <= cell.clock.now():
                found_by[key.epoch, key.ref] = expires
                continue
            if not same(bytes(fingerprint), key.fingerprint(message)):
                raise Conflict("idempotency_conflict")
            if isinstance(who, Holder):
                _check_living(cell, who)
            return Once(_opened(key, bytes(sealed), answer), None)
    return Once(None, _Place(keys[0], keys[0].fingerprint(message), found_by))


def drop_expired(cell: Cell) -> Generator[Command, Committed, None]:
    """Removes answers that are no longer kept, if there are any, in small transactions."""
    params = {"at": cell.clock.now(), "most": 1}
    for _ in range(MAX_ROUNDS):
        if not cell.store.read(cell.store.requests.expired, params):
            return
        yield DropExpired()


def _sealed(key: RequestKey, answer: Shape) -> bytes | None:
    """An answer as it is kept: without its credential."""
    if answer is None:
        return None
    if isinstance(answer, CoatcheckError):
        return key.seal(_encode(_Refused(answer.code, dict(answer.facts))))
    body: Any = answer
    if hasattr(answer, "credential"):
        body = {**msgspec.to_builtins(answer), "credential": None}
    return key.seal(_encode(_Answered(msgspec.Raw(_encode(body)))))


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_making = threading.Lock()


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """What decodes a type. Made by one thread at a time: two at once may crash msgspec."""
    with _making:
        if kind not in _decoders:
            _decoders[kind] = msgspec.json.Decoder(kind)
        return _decoders[kind]


def _opened(key: RequestKey, sealed: bytes, answer: type[Answer]) -> Answer:
    try:
        kept = _decoder(_Refused | _Answered).decode(key.open(sealed))
    except IntegrityError:
        raise IntegrityError("integrity_failed") from None
    if isinstance(kept, _Refused):
        raise error(kept.code, **kept.facts, replayed=True)
    again: Answer = replace(_decoder(answer).decode(kept.answer), replayed=True)
    return again


def _check_living(cell: Cell, who: Holder) -> None:
    """Returns if the grant is neither revoked nor expired. One that is used up may still answer again."""
    rows = cell.store.read_keys(cell.store.record.grants, [who.credential.id])
    found = decode_grant(rows[0], None)
    if found.grant.state_at(cell.clock.now(), found.uses) in ("revoked", "expired"):
        cell.failures.add({"grant_invalid": 1})
        raise Unauthenticated("grant_invalid")
