"""Certificates of erasure: what was selected, which level was reached when, and what shows it. Pure.

A certificate is a JWS in compact form (RFC 7515) by Ed25519 (RFC 8032). Its payload is canonical JSON:
members in the order of their names, no space, and nothing but texts, whole numbers, lists and objects. So one
state of an erasure has one certificate, byte for byte, whenever it is asked for. Its format:
docs/spec/erasure-certificate.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from vault.clock import parse_time
from vault.crypto.base64url import decode, encode
from vault.crypto.jose import ED25519
from vault.crypto.signing import Signer, thumbprint, verify
from vault.errors import IntegrityError

TYP: Final = "coatcheck-erasure+jws"
VERSION: Final = 1
MAX_BYTES: Final = 262_144  # of a certificate
MAX_LISTED: Final = 64  # key ids that stand in it one by one
LEVELS: Final = ("requested", "keys_removed", "epoch_closed", "kms_destroyed")

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Selected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was selected.

    Attributes:
        keys: data keys.
        key_ids: theirs, sorted; empty where there were more than `MAX_LISTED`, or a whole period went.
        key_ids_sha256: of the ids, sorted, each on a line that ends with LF; empty where a period went.
        values: of rows that lay under them, by field.
        shared_tokens: that stay, as other people have values under them too.
    """

    keys: int
    key_ids: list[str]
    key_ids_sha256: str
    classes: list[str]
    values: dict[str, int]
    shared_tokens: int


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A level that was reached, and what it means."""

    level: str
    at: str
    means: str


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The turn of the epoch that made it final against backups.

    Attributes:
        events: that the audit log had when the new epoch became the one that is read.
        opened_at, refused_at: when the old epoch was opened once more, with all halves and the key store; and
            when the same bytes did not open any more, with which code.
        survivors: what was found in the new epoch and compared with the old one.
        receipt: what the key store says that it destroyed, or has scheduled.
    """

    opens: int
    closes: int
    events: int
    half_stores: list[str]
    opened_at: str
    refused_at: str
    refused: str
    survivors: dict[str, int]
    receipt: dict[str, Any]


class Logged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of the audit log: its number, and its leaf hash in hex."""

    number: int
    leaf: str


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a certificate says.

    Attributes:
        subject: the person's row, which points at nobody by now; empty if nobody was known, or nobody meant.
        target: which period or class; empty, of a person.
        due: when the root key will be gone for good, where the key store has scheduled it; empty if it is.
        backups_until: until when backups of the keys' own rows may be kept; none of them opens, from
            `epoch_closed` on.
        fenced_until: until when late writes for the person are refused; empty if they are not.
        held_by: legal holds that keep it at `requested`.
        not_covered: what erasing keys does not reach, each in a sentence.
        log: where the request, and the removal, stand in the audit log.
    """

    v: int
    id: str
    region: str
    tenant: str
    kind: str
    grounds: str
    requested_by: str
    subject: str
    target: dict[str, str]
    selected: Selected
    levels: list[Level]
    turn: Turn | None
    due: str
    backups_until: str
    fenced_until: str
    held_by: list[str]
    not_covered: list[str]
    log: dict[str, Logged]

    @property
    def level(self) -> str:
        """The highest level."""
        return self.levels[-1].level


def sign_certificate(signer: Signer, certificate: Certificate) -> str:
    """A certificate as it is handed out."""
    header = _encode({"alg": ED25519, "kid": thumbprint(signer.public), "typ": TYP})
    signed = f"{encode(header)}.{encode(_encode(certificate))}"
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


def public_keys(jwks: Iterable[Any]) -> dict[str, bytes]:
    """The keys of a JWK Set by their thumbprints.

    Raises:
        ValueError: one is no public key of Ed25519 (RFC 8037, 2).
    """
    found = {}
    for key in jwks:
        if not isinstance(key, dict) or (key.get("kty"), key.get("crv"), "d" in key) != (
            "OKP",
            "Ed25519",
            False,
        ):
            raise ValueError("not a public key of Ed25519")
        public = decode(str(key.get("x")))
        found[thumbprint(public)] = public
    return found


def kid_of(text: str) -> str:
    """The thumbprint of the key that has signed a certificate which was checked."""
    return str(msgspec.json.decode(decode(text.partition(".")[0]))["kid"])


def check_certificate(text: str, keys: Mapping[str, bytes]) -> Certificate:
    """What a certificate says, if one of the keys has signed it and it does not contradict itself.

    Args:
        keys: 32-byte public keys by their thumbprints (RFC 7638).

    Raises:
        IntegrityError: `certificate_invalid`, with the `reason`.
    """
    if len(text) > MAX_BYTES or not text.isascii() or text.count(".") != 2:
        raise _invalid("form")
    head, body, signature = text.split(".")
    try:
        header: Any = msgspec.json.decode(decode(head))
        payload, signed = decode(body), decode(signature)
        found = msgspec.json.decode(payload, type=Certificate)
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _invalid("form") from None
    if not isinstance(header, dict) or header.keys() != {"alg", "kid", "typ"}:
        raise _invalid("form")
    if (header["alg"], header["typ"], found.v) != (ED25519, TYP, VERSION) or _encode(found) != payload:
        raise _invalid("form")
    public = keys.get(header["kid"]) if isinstance(header["kid"], str) else None
    if public is None:
        raise _invalid("key")
    try:
        verify(public, f"{head}.{body}".encode(), signed)
    except IntegrityError:
        raise _invalid("signature") from None
    _check_claims(found)
    return found


def _check_claims(found: Certificate) -> None:
    """Whether a certificate claims no more than it shows."""
    names = [level.level for level in found.levels]
    if not names or names != list(LEVELS[: len(names)]):
        raise _invalid("levels")
    try:
        times = [parse_time(level.at) for level in found.levels]
        due = parse_time(found.due) if found.due else None
    except ValueError:
        raise _invalid("times") from None
    if times != sorted(times):
        raise _invalid("times")
    if len(names) > 1 and ("removed" not in found.log or found.held_by):
        raise _invalid("removal")
    if len(names) > 2 and (found.turn is None or found.turn.events <= found.log["removed"].number):
        raise _invalid("turn")  # what was removed after a turn's flip waits for the next one
    if len(names) > 3 and (due is not None or found.turn is None or not found.turn.refused):
        raise _invalid("destruction")


def _invalid(reason: str) -> IntegrityError:
    return IntegrityError("certificate_invalid", reason=reason)
