"""Certificates of erasures, made of what the record says: nothing is kept of them, and nothing noted."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.clock import format_time
from vault.crypto.jose import published_jwk
from vault.errors import IntegrityError, Unavailable
from vault.identifiers import format_id
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Verb
from vault.retention.certificate import (
    VERSION,
    Certificate,
    Level,
    Logged,
    Selected,
    Turn,
    sign_certificate,
)
from vault.schema.document import Schema
from vault.schema.rules import Protection
from vault.services import levels
from vault.services.cell import Cell
from vault.services.erasure_kinds import decode_target
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.selecting import held_by, stored
from vault.store.forgetting import ErasureRow

BEYOND: Final = (
    "values that were shown under a grant before, wherever they were taken",
    "copies of the database and of its backups: they stay where they are, and do not open from the level on "
    "that the certificate says",
)
_VAULTLESS: Final = "tokens of the vaultless field {}, which no row of a person's leads to"


class CertificateAnswer(Hidden, frozen=True):
    """A certificate, as text that is handed on, and what it says."""

    jws: str
    certificate: Certificate


class KeysAnswer(Hidden, frozen=True):
    """The keys that certificates are checked with: a JWK Set (RFC 7517, 5)."""

    keys: list[dict[str, str]]


def read_certificate(cell: Cell, request: Request, erasure: str) -> Verb[CertificateAnswer]:
    """The certificate of an erasure, at the level that it has reached.

    Raises:
        Unknown: `not_found`.
        Unavailable: `key_unavailable`: there is no key that signs.
        IntegrityError: `integrity_failed`: the log lacks its event.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "erasure.certificate", "erasure:read")
    found = certificate_of(cell, stored(cell, erasure, caller.principal.tenant))
    for _, signer in cell.keyring.signers(Purpose.CERTIFICATES):
        return CertificateAnswer(sign_certificate(signer, found), found)
    raise Unavailable("key_unavailable")


def read_certificate_keys(cell: Cell, request: Request) -> Verb[KeysAnswer]:
    """The public keys: to be handed on to whoever checks certificates, and kept with them."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "erasure.keys", "erasure:read")
    signers = cell.keyring.signers(Purpose.CERTIFICATES)
    return KeysAnswer([published_jwk(signer.public) for _, signer in signers])


def certificate_of(cell: Cell, row: ErasureRow) -> Certificate:
    """What can be certified of an erasure by now."""
    found = levels.reached(row, levels.turns_of(cell.store), cell.clock.now())
    counts: dict[str, Any] = msgspec.json.decode(row.counts)
    closed = found.at.get(levels.EPOCH_CLOSED)
    keep = cell.working.custody_backup_keep
    log = {"requested": row.number} | ({"removed": row.events} if row.removed_at else {})
    return Certificate(
        v=VERSION,
        id=row.id,
        region=cell.region,
        tenant=row.tenant,
        kind=row.kind,
        grounds=row.grounds,
        requested_by=row.created_by,
        subject="" if row.subject is None else format_id("sub", row.subject),
        target=decode_target(row.target),
        selected=Selected(
            keys=row.keys,
            key_ids=counts.get("key_ids", []),
            key_ids_sha256=counts.get("key_ids_sha256", ""),
            classes=counts.get("classes", []),
            values=counts["values"],
            shared_tokens=counts["shared"],
        ),
        levels=[Level(name, format_time(at), levels.LEVELS[name]) for name, at in found.at.items()],
        turn=_turn(found) if closed is not None else None,
        due="" if found.due is None else format_time(found.due),
        backups_until="" if closed is None else format_time(keep.after(closed)),
        fenced_until=format_time(row.fenced_until) if row.fenced_until and not row.reopened_at else "",
        held_by=held_by(cell, row),
        not_covered=_not_covered(cell.schemas.of(row.tenant).schema),
        log={name: _logged(cell, number) for name, number in log.items()},
    )


def _turn(found: levels.Reached) -> Turn | None:
    turn = found.turn
    if turn is None or turn.flip is None:
        return None
    evidence = turn.evidence
    return Turn(
        opens=turn.opens,
        closes=turn.closes,
        events=turn.flip,
        half_stores=evidence.get("half_stores", []),
        opened_at=evidence.get("opened_at", ""),
        refused_at=evidence.get("refused_at", ""),
        refused=evidence.get("refused", ""),
        survivors=evidence.get("counted", {}),
        receipt=evidence.get("root_destroyed", {}),
    )


def _not_covered(schema: Schema) -> list[str]:
    fields = [
        _VAULTLESS.format(name)
        for name, rule in sorted(schema.fields.items())
        if rule.protection is Protection.VAULTLESS
    ]
    return [*BEYOND, *fields]


def _logged(cell: Cell, number: int) -> Logged:
    rows = cell.store.read(cell.store.record.audit_range, {"first": number, "end": number + 1})
    if not rows:
        raise IntegrityError("integrity_failed", event=number)
    return Logged(number, bytes(rows[0][1]).hex())
