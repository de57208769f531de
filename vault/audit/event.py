"""Audit events: canonical bytes, leaf hashes, and the digest that stands in for what can be forgotten.

The leaf holds what may stay for ever. Our own row and key ids and the callers' texts (reason,
on_behalf_of, conversation) are *items*: only a salted digest of them is in the leaf; the items and the
salt are kept apart and can go, and the log stays whole. Byte format: docs/spec/audit.md.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from vault.clock import Micros, format_time
from vault.errors import IntegrityError

VERSION: Final = 1
MAX_ITEM_IDS: Final = 1_000
MAX_NUMBER: Final = 2**53 - 1  # RFC 8785, 3.2.2.3: what every reader of JSON takes exactly
_LEAF_PREFIX: Final = b"\x00"  # RFC 9162, 2.1.1
SALT_BYTES: Final = 32

_OWN: Final = frozenset({"v", "kind", "at", "region", "tenant", "actor", "decision", "items_digest"})

_PLAIN: Final = frozenset({str, bool, type(None)})
_MAX_NAMES: Final = 1_000
_names: Final[set[str]] = set()  # members' names that were looked at and found to be ASCII

_stamp = lru_cache(maxsize=16)(format_time)  # a group's events have one time
_encoder = msgspec.json.Encoder(order="sorted")


@dataclass(slots=True)
class Event:
    """What happened.

    Attributes:
        kind: a word of `KINDS`.
        facts: numbers, codes and ids of grants, principals and credentials; JSON without floats.
        items: row and key ids and callers' texts; go with the subject.

    Raises:
        LookupError: not a word of `KINDS`.
        ValueError: a fact has the name of a member that every event has.
    """

    kind: str
    tenant: str
    actor: str
    facts: Mapping[str, Any]
    items: Mapping[str, Any] = field(default_factory=dict)
    decision: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LookupError("not a kind of event")
        if not _OWN.isdisjoint(self.facts):
            raise ValueError("a fact would overwrite a member that every event has")


KINDS: Final[dict[str, str]] = {
    "agent-key.create": "a key that an agent holds was registered",
    "agent-key.revoke": "a key that an agent holds was revoked, and the grants that are bound to it",
    "alert": "something that a person should look at",
    "apikey.create": "a service key was made",
    "apikey.replace": "a service key has a successor, and ends when the overlap does",
    "apikey.revoke": "a service key was revoked",
    "approval.approve": "somebody approved a use of a grant, or a grant",
    "approval.deny": "somebody denied a use of a grant, or a grant",
    "approval.preview": "somebody who is to approve a use saw what a mask shows of it",
    "break-glass.review": "somebody reviewed a grant that was made past its creator's ceiling",
    "cell.backup": "a backup of the cell was written and read back",
    "cell.copy": "the cell was copied to where it now is",
    "cell.init": "the cell was created",
    "cell.key": "a key of the cell's own was made",
    "cell.restore": "the cell was restored from a backup",
    "decrypt": "a grant was used on ciphertexts, or its use refused",
    "denied": "an authenticated request was refused before it could change anything",
    "detokenize": "a grant was used on tokens, or its use refused",
    "directory.lookup": "somebody asked in which region a person is, or was refused that",
    "encrypt": "values were turned into ciphertexts",
    "epoch.turn": "a turn of the cell's epoch took a step",
    "erasure.fence": "late writes for somebody who was erased are not refused any more",
    "erasure.removed": "the keys of somebody who is erased are gone",
    "erasure.request": "an erasure was asked for: what is kept of the person is denied from now on",
    "grant.block": "one delegation of a grant was revoked",
    "grant.create": "a grant was created, or refused by the grantor's ceiling",
    "grant.narrow": "less was left of a grant",
    "grant.resume": "a suspended grant goes on",
    "grant.revoke": "a grant was revoked",
    "grant.suspend": "a grant was suspended",
    "hold.confirm": "a second person agreed to a legal hold",
    "hold.create": "a legal hold is in force",
    "hold.keep": "a legal hold stays: its release was not agreed to",
    "hold.release": "a legal hold ended: a second person agreed",
    "hold.release_asked": "somebody asked for the end of a legal hold",
    "job.cancel": "a job was stopped where it stood",
    "job.create": "a job was begun",
    "job.end": "a job ended, or failed and waits for a person",
    "job.resume": "a job that had failed or was stopped goes on",
    "key.compromise": "a field key was declared compromised, and replaced if it was the one that protects",
    "key.create": "data keys were made",
    "key.destroy": "a field key was destroyed",
    "key.reindex": "the rotation of an index key took a step",
    "key.remove": "data keys were removed",
    "key.rotate": "a field key has a new version",
    "kill.lift": "a kill switch was lifted",
    "kill.set": "a kill switch was set",
    "limited": "requests that were refused for coming too fast, counted over a minute",
    "operator.enrol": "an operator has a second factor more, or began to get one",
    "operator.password": "an operator has a password, or another one",
    "operator.reset-mfa": "an operator's second factors and sessions were taken away by the host",
    "operator.unenrol": "an operator removed a second factor of its own",
    "policy.apply": "a set of attribute rules was applied",
    "policy.test": "attribute rules were tried on cases",
    "principal.create": "a principal was created",
    "principal.remove": "a principal was removed, and its keys and grants with it",
    "rekey": "vaultless tokens were turned into those of a newer key version",
    "retention.event": "an event was told that values' time counts from",
    "retention.expire": "what a retention class keeps is over its time: denied from now on",
    "review.close": "a review of access ended",
    "review.confirm": "access that was reviewed stays",
    "review.expire": "access that nobody confirmed in time was taken away, or could not be",
    "review.remove": "access that was reviewed was taken away",
    "review.start": "a review of access began",
    "schema.apply": "a schema was applied",
    "session.create": "an operator signed in",
    "session.end": "an operator ended a session",
    "session.step-up": "an operator proved a second factor once more",
    "subject.create": "data subjects were entered",
    "tenant.create": "a tenant was created, with its keys and its first admin",
    "token.issue": "an access token was issued to a service key",
    "token.revoke": "an access token was revoked before its end",
    "tokenize": "values were turned into tokens",
    "transfer.create": "a transfer of a person's values into another region was begun",
    "transfer.receive": "values of a transfer arrived, and have tokens here",
    "transfer.remove": "values of a transfer that have arrived were removed here",
    "transfer.send": "values are opened, to be sent into another region",
    "unauthenticated": "requests without a valid credential, counted over a minute",
    "verify": "a grant was used to compare a candidate with a value, or its use refused",
}


class Sealed(NamedTuple):
    """An event ready to be written: canonical body, leaf hash, and the items with their salt."""

    body: bytes
    leaf: bytes
    items: bytes | None
    salt: bytes | None


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON: members sorted, no white space, integers only (a profile of RFC 8785).

    Raises:
        TypeError: a number that is not whole, or something that JSON cannot say.
    """
    _require_whole(value)
    return _encoder.encode(value)


def _require_whole(value: Any) -> None:
    """Refuses what two programs might write in two ways: fractions, and numbers over 53 bits."""
    kind = type(value)
    if kind in _PLAIN or (kind is int and -MAX_NUMBER <= value <= MAX_NUMBER):
        return
    if kind is list or kind is tuple:
        if not set(map(type, value)) <= _PLAIN:
            for member in value:
                _require_whole(member)
    elif kind is dict or isinstance(value, Mapping):
        for name, member in value.items():
            if name not in _names:
                _require_name(name)
            kind = type(member)
            if kind is not str and not (kind is int and -MAX_NUMBER <= member <= MAX_NUMBER):
                _require_whole(member)
    else:
        raise TypeError("an event holds text, whole numbers, lists and tables")


def _require_name(name: Any) -> None:
    if type(name) is not str or not name.isascii():
        raise TypeError("a member's name is ASCII text")
    if len(_names) < _MAX_NAMES:
        _names.add(name)


def leaf_hash(body: bytes) -> bytes:
    """The leaf of the log's Merkle tree: SHA-256(0x00 || body)."""
    return hashlib.sha256(_LEAF_PREFIX + body).digest()


def items_digest(salt: bytes, items: bytes) -> str:
    """SHA-256(salt || items), in hex."""
    return hashlib.sha256(salt + items).hexdigest()


def draw_salts(count: int) -> Iterator[bytes]:
    """Fresh salts, from one call of the system: it gives up the interpreter's lock, and then waits for it."""
    drawn = os.urandom(SALT_BYTES * count)
    return (drawn[at : at + SALT_BYTES] for at in range(0, len(drawn), SALT_BYTES))


def seal_event(event: Event, at: Micros, region: str, salts: Iterator[bytes] | None = None) -> Sealed:
    """The event's bytes. Neither its number nor any running counter is in them.

    Args:
        salts: from `draw_salts`, one for each event that has items; None draws one.
    """
    body: dict[str, Any] = {
        "v": VERSION,
        "kind": event.kind,
        "at": _stamp(at),
        "region": region,
        "tenant": event.tenant,
        "actor": event.actor,
        **event.facts,
    }
    if event.decision is not None:
        body["decision"] = event.decision
    items = salt = None
    if event.items:
        items = canonical(event.items)
        salt = next(draw_salts(1) if salts is None else salts)
        body["items_digest"] = items_digest(salt, items)
    encoded = canonical(body)
    return Sealed(encoded, leaf_hash(encoded), items, salt)


def check_event(body: bytes, leaf: bytes, items: bytes | None, salt: bytes | None) -> None:
    """Returns if leaf and items digest are those of the body.

    Raises:
        IntegrityError: `audit_broken`.
    """
    if leaf_hash(body) != leaf:
        raise IntegrityError("audit_broken", reason="leaf")
    if items is None and salt is None:
        return
    # The salt's length is fixed: of salt and items one behind the other, the boundary could else be moved.
    if items is None or salt is None or len(salt) != SALT_BYTES:
        raise IntegrityError("audit_broken", reason="items")
    try:
        digest = msgspec.json.decode(body)["items_digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        digest = None
    if digest != items_digest(salt, items):
        raise IntegrityError("audit_broken", reason="items")


def listed(ids: list[str]) -> dict[str, Any]:
    """Ids for the items of an event: up to 1,000 by name, beyond that their count and digest."""
    if len(ids) <= MAX_ITEM_IDS:
        return {"ids": ids}
    return {"count": len(ids), "digest": hashlib.sha256("\n".join(ids).encode()).hexdigest()}
