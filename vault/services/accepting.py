"""Batches that the service of another region sends: opened, entered once, answered sealed."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from vault.authn.identities import Caller
from vault.crypto import crossing, hpke
from vault.crypto.base64url import decode, encode
from vault.errors import BadInput, CoatcheckError, Denied, IntegrityError
from vault.identifiers import NIL, parse_id
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Verb
from vault.services.arriving import VERB, Coming, receive
from vault.services.cell import Cell
from vault.services.crossing import (
    ENTER,
    FORGET,
    TOKENS,
    Batch,
    BatchAnswer,
    BatchBody,
    Outcome,
    Reply,
    SentValue,
)
from vault.services.gate import Refused, Request, admit, authenticate
from vault.services.message_keys import intake_keys
from vault.services.transferring import drop
from vault.services.transfers import LEGAL_BASES, tokens_of
from vault.store.crossing import ArrivalRow

PERMISSION: Final = "transfer:receive"
ROW_BYTES: Final = 16
_decoder: Final = msgspec.json.Decoder(Batch)


def accept(cell: Cell, request: Request, body: BatchBody) -> Verb[BatchAnswer]:
    """Takes a batch. The answer is given after all of it is durable, and is the same however often it comes.

    Raises:
        Unauthenticated, Denied: the caller may not; `residency_refused`: of a region that is not known here,
            or of another tenant; on the record.
        BadInput: `sealed_invalid`: not for this cell, region, transfer and number, or not by its key; on the
            record.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, VERB, PERMISSION)
    try:
        batch, reply = _open(cell, body)
    except BadInput:
        refused = Refused(caller, request.origin, VERB, "sealed_invalid")
        yield refused
        raise BadInput("sealed_invalid", decision=refused.decision) from None
    known = body.source in cell.regions and body.source != cell.region
    if not known or batch.tenant != caller.principal.tenant:
        refused = Refused(caller, request.origin, VERB, "residency_refused")
        yield refused
        raise Denied("residency_refused", decision=refused.decision)
    kept = crossing.kept_as(batch.tenant, body.source, body.transfer)
    if batch.step == ENTER:
        outcomes = yield from _enter(cell, request, caller, body, batch, kept)
    elif batch.step == TOKENS:
        outcomes = _page(cell, batch, kept)
    else:
        yield from drop(cell, kept)
        outcomes = []
    bound = crossing.answer_info(body.source, cell.region, body.transfer, body.number)
    return BatchAnswer(encode(hpke.seal(reply, bound, msgspec.json.encode(Reply(outcomes)))))


def _open(cell: Cell, body: BatchBody) -> tuple[Batch, bytes]:
    """What was sealed, and the key that the answer is sealed to.

    Raises:
        BadInput: `sealed_invalid`, whatever is wrong with it.
    """
    try:
        parse_id("xfer", body.transfer)
        if not cell.keyring.has_own(Purpose.INTAKE):
            raise BadInput("sealed_invalid")
        bound = crossing.info(body.source, cell.region, body.transfer, body.number)
        batch = _decoder.decode(_opened(cell, bound, decode(body.enc_ct)))
        reply = decode(batch.reply)
        hpke.check_public(reply)
        if batch.step not in (ENTER, TOKENS, FORGET) or (batch.step == ENTER) != (body.number > 0):
            raise BadInput("sealed_invalid")
        if batch.step == ENTER and batch.legal_basis not in LEGAL_BASES:
            raise BadInput("sealed_invalid")
        rows = [_row(one.source) for one in batch.values]
        if len(set(rows)) != len(rows) or (batch.above and not _row(batch.above)):
            raise BadInput("sealed_invalid")
    except (CoatcheckError, msgspec.DecodeError, ValueError, RecursionError):
        raise BadInput("sealed_invalid") from None
    return batch, reply


def _opened(cell: Cell, bound: bytes, sealed: bytes) -> bytes:
    """What was sealed to the newest key, or to the one before: who sends chooses neither."""
    for private in intake_keys(cell):
        with contextlib.suppress(IntegrityError):
            return hpke.open_sealed(private, bound, sealed)
    raise BadInput("sealed_invalid")


def _row(text: str) -> bytes:
    row = bytes.fromhex(text)
    if len(row) != ROW_BYTES:
        raise ValueError("not a row")
    return row


def _coming(one: SentValue) -> Coming:
    return Coming(_row(one.source), one.field, one.value, one.ends)


def _enter(
    cell: Cell, request: Request, caller: Caller, body: BatchBody, batch: Batch, kept: str
) -> Verb[list[Outcome]]:
    arrived = yield from receive(
        cell, batch.tenant, body.source, kept, batch.legal_basis, batch.person,
        [_coming(one) for one in batch.values], by=(caller, request.origin, body.transfer),
    )  # fmt: skip
    return [Outcome(row.hex(), code=one.code) for row, one in sorted(arrived.items())]


def _page(cell: Cell, batch: Batch, kept: str) -> list[Outcome]:
    """What became of some, in the order of the rows that they had."""
    params = {"of_transfer": kept, "above": bytes.fromhex(batch.above), "most": batch.most}
    rows = [ArrivalRow(*one) for one in cell.store.read(cell.store.crossing.arrivals_page, params)]
    made = tokens_of(cell, batch.tenant, [(one.field, bytes(one.token)) for one in rows])
    return [
        Outcome(bytes(one.source).hex(), one.field, one.code, "" if one.token == NIL else token)
        for one, token in zip(rows, made, strict=True)
    ]
