"""From two halves to a field's key: every name on the way is bound, so no row serves in another's place."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from typing import Any

import pytest

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.keyring.stores import EPOCH_ID, KMS_HALF, STORE_HALF, epoch
from vault.context import EncryptionContext, Use
from vault.crypto.keypack import pack, unpack
from vault.envelope.seal import open_message, open_secret, seal
from vault.errors import IntegrityError
from vault.identifiers import NIL
from vault.keyring.hierarchy import (
    CELL,
    Epoch,
    Purpose,
    field_key_owner,
    half_context,
    new_data_key,
    new_field_key,
    open_data_key,
    open_field_key,
    slot_owner,
)
from vault.secret import Secret
from vault.store.custody import FieldKeyRow, KeyRow, Slot

SLOT = Slot("main", b"s" * 16, "customer", "2031-01")
CLAIM = EncryptionContext(Use.CLAIM, "main", "eu", "customer.name", b"r" * 16)


def refused(open_: Any, *arguments: Any) -> None:
    with pytest.raises(IntegrityError) as refusal:
        open_(*arguments)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})


# the epoch key


def test_the_epoch_key_is_derived_as_published() -> None:
    context = (
        b"\x01"
        b"\x03\0\0\0\x02eu"  # region
        b"\x0b\0\0\0\x14" + bytes((0, 0, 0, 7)) + EPOCH_ID  # epoch: number and id
    )
    assert half_context("eu", 7, EPOCH_ID) == context
    prk = hmac.digest(bytes(32), KMS_HALF + STORE_HALF, hashlib.sha256)
    epoch_key = hkdf_expand(prk, b"coatcheck/epoch/" + context, 32)
    sealing = epoch(number=7).sealing
    assert sealing.key.expose() == hkdf_expand(epoch_key, b"coatcheck/epoch-sealing/", 32)
    assert (sealing.id, sealing.version) == (EPOCH_ID, 7)


CHANGED: list[dict[str, Any]] = [
    {},
    {"kms_half": KMS_HALF[:-1] + b"\0"},
    {"store_half": STORE_HALF[:-1] + b"\0"},
    {"kms_half": STORE_HALF, "store_half": KMS_HALF},
    {"kms_half": bytes(32)},
    {"store_half": bytes(32)},
    {"region": "us"},
    {"number": 2},
    {"epoch_id": NIL},
]


def test_another_half_region_number_or_id_is_another_key() -> None:
    keys = [epoch(**changes).sealing.key.expose() for changes in CHANGED]
    assert len(set(keys)) == len(CHANGED)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(range(len(CHANGED)), 2)), ids=str)
def test_what_one_epoch_sealed_no_other_opens(one: int, other: int) -> None:
    row = new_data_key(epoch(**CHANGED[one]), SLOT)
    refused(open_data_key, epoch(**CHANGED[other]), row)


# data keys


def test_a_data_key_comes_back_under_its_rows_id() -> None:
    row = new_data_key(epoch(), SLOT)
    assert (row.slot, row.state, row.period, row.epoch, row.id[6] >> 4) == (SLOT, "active", "active", 1, 7)
    one, again = open_data_key(epoch(), row), open_data_key(epoch(), row)
    assert (one.id, one.version) == (row.id, 1)
    assert one.key.matches(again.key)
    assert len({open_data_key(epoch(), new_data_key(epoch(), SLOT)).key.expose() for _ in range(50)}) == 50


OTHER_SLOTS = [
    SLOT._replace(tenant="other"),
    SLOT._replace(subject=b"t" * 16),
    SLOT._replace(subject=NIL),
    SLOT._replace(class_="conversation"),
    SLOT._replace(due="2031-02"),
    SLOT._replace(due=""),
    SLOT._replace(tenant="mai", class_="ncustomer"),
]


@pytest.mark.parametrize("other", OTHER_SLOTS, ids=str)
def test_a_data_key_serves_in_no_other_slot(other: Slot) -> None:
    ours, theirs = new_data_key(epoch(), SLOT), new_data_key(epoch(), other)
    moved = ours._replace(tenant=other.tenant, subject=other.subject, class_=other.class_, due=other.due)
    refused(open_data_key, epoch(), moved)  # our row, renamed
    refused(open_data_key, epoch(), theirs._replace(sealed=ours.sealed))  # our bytes in their row
    refused(open_data_key, epoch(), ours._replace(sealed=theirs.sealed))


def test_a_renamed_key_opens_none_of_what_it_sealed() -> None:
    """The row's id is not in the seal; it stands in the header of every message."""
    row = new_data_key(epoch(), SLOT)
    message = seal(open_data_key(epoch(), row), CLAIM, b"value")
    renamed = open_data_key(epoch(), row._replace(id=NIL))
    refused(open_message, renamed, CLAIM, message)
    assert open_message(open_data_key(epoch(), row), CLAIM, message) == b"value"


def test_a_slot_has_one_encoding() -> None:
    assert slot_owner(SLOT) == (
        b"\x01\x02\0\0\0\x04main\x08\0\0\0\x10" + b"s" * 16 + b"\x09\0\0\0\x08customer\x0a\0\0\0\x072031-01"
    )
    assert slot_owner(SLOT._replace(due="")) == slot_owner(SLOT)[: -len(b"\x0a\0\0\0\x072031-01")]
    assert len({slot_owner(slot) for slot in (SLOT, *OTHER_SLOTS)}) == len(OTHER_SLOTS) + 1


# field keys


def field_key(
    tenant: str = "main", field: str = "customer.ssn", purpose: Purpose = Purpose.FF1, version: int = 1
) -> FieldKeyRow:
    return new_field_key(epoch(), tenant, field, purpose, version)


def test_a_field_key_comes_back() -> None:
    row = field_key()
    assert (row.state, row.epoch, row.purpose) == ("active", 1, "ff1")
    assert len(open_field_key(epoch(), row)) == 32
    assert open_field_key(epoch(), row).matches(open_field_key(epoch(), row))


OTHER_KEYS: list[dict[str, Any]] = [
    {"tenant": "other"},
    {"tenant": CELL},
    {"field": "customer.pan"},
    {"field": CELL},
    {"purpose": Purpose.ROW_ID},
    {"purpose": Purpose.SUBJECT_REFERENCE},
    {"purpose": Purpose.INDEX_LAYER},
    {"version": 2},
    {"version": 0},
    {"tenant": "maincustomer", "field": ".ssn"},
]


@pytest.mark.parametrize("other", OTHER_KEYS, ids=str)
def test_a_field_key_serves_nothing_else(other: dict[str, Any]) -> None:
    ours, theirs = field_key(), field_key(**other)
    named = {name: getattr(theirs, name) for name in ("tenant", "field", "purpose", "version")}
    refused(open_field_key, epoch(), ours._replace(**named))
    refused(open_field_key, epoch(), theirs._replace(sealed=ours.sealed))
    refused(open_field_key, epoch(), ours._replace(sealed=theirs.sealed))


def test_a_field_key_has_one_encoding() -> None:
    assert field_key_owner("main", "customer.ssn", "ff1", 258) == (
        b"\x01\x02\0\0\0\x04main\x04\0\0\0\x0ccustomer.ssn\x0c\0\0\0\x03ff1\x0d\0\0\0\x04\0\0\x01\x02"
    )


def test_a_data_key_is_no_field_key() -> None:
    """Were both packed for one owner, the use label would still keep them apart."""
    held, owner = epoch(), b"one owner"
    contexts = [held.context(use, "main") for use in (Use.DATA_KEY, Use.FIELD_KEY)]
    for here, there in itertools.permutations(contexts):
        sealed = seal(held.sealing, here, pack(Secret(bytes(32)), owner))
        assert len(unpack(open_secret(held.sealing, here, sealed), owner)) == 32
        refused(open_secret, held.sealing, there, sealed)


def test_an_epoch_shows_nothing_of_its_key() -> None:
    held: Epoch = epoch()
    assert "<Secret>" in repr(held)
    assert held.sealing.key.expose().hex() not in repr(held)
    row: KeyRow = new_data_key(held, SLOT)
    assert repr(open_data_key(held, row).key.expose())[2:-1] not in repr(row)
