"""The page key-hierarchy.md says what the code does: everything in its example is opened."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from tests.unit.crypto.test_kdf import hkdf_expand
from tests.unit.envelope.pages import example, octets, text
from vault.context import (
    TAG_CALLER,
    TAG_CLASS,
    TAG_DUE,
    TAG_RECORD,
    TAG_REQUEST,
    TAG_ROUTE,
    TAG_SUBJECT,
    TAG_TENANT,
    TAG_VERSION,
    canonical,
)
from vault.crypto.block import BlockCipher
from vault.crypto.kdf import Label, combine, expand
from vault.crypto.mac import reference
from vault.crypto.passwords import Argon2Parameters
from vault.errors import IntegrityError
from vault.keyring.field_keys import References
from vault.keyring.hierarchy import (
    Purpose,
    check_canary,
    half_context,
    make_epoch,
    open_data_key,
    open_page,
    open_paged_key,
    slot_owner,
)
from vault.keyring.requests import request_key
from vault.kms.halves import HalfStores
from vault.kms.registry import ProviderSettings, open_provider
from vault.secret import Secret
from vault.store.custody import KeyRow, Slot
from vault.store.turning import PageRow

EXAMPLE = example("key-hierarchy")


def part(name: str) -> bytes:
    return octets(EXAMPLE[name])


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)


def test_from_the_files_of_the_page_to_a_data_key(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "key", part("key_file"))
    write(tmp_path / "roots" / "root-000001", part("root_file"))
    write(tmp_path / "halves" / "half-000001", part("half_file"))
    settings = ProviderSettings(EXAMPLE["region"], tmp_path, None, tmp_path / "elsewhere" / "key")
    context = half_context(EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"))
    assert context == part("half_context")

    provider = open_provider("local:roots", settings)
    kms_half = provider.unwrap(EXAMPLE["epoch"], part("wrapped_half"), context)
    assert kms_half.expose() == part("kms_half")
    store_half = HalfStores(EXAMPLE["region"], [tmp_path / "halves"]).read(EXAMPLE["epoch"])
    assert store_half.expose() == part("half_file")[44:76]

    epoch_key = combine(kms_half, store_half, Label.EPOCH, context)
    assert epoch_key.expose() == part("epoch_key")
    assert expand(epoch_key, Label.EPOCH_SEALING).expose() == part("sealing_key")

    row: dict[str, Any] = EXAMPLE["data_key"]
    slot = Slot(row["tenant"], octets(row["subject"]), row["class"], row["due"])
    assert slot_owner(slot) == octets(row["owner"])
    assert hashlib.sha256(slot_owner(slot)).digest() == octets(row["owner_sha256"])
    epoch = make_epoch(EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"), kms_half, store_half)
    stored = KeyRow(bytes(16), *slot, "active", EXAMPLE["epoch"], octets(row["sealed"]), "active")
    assert open_data_key(epoch, stored).key.expose() == octets(row["key"])


def test_the_page_and_the_canary_of_the_page() -> None:
    row: dict[str, Any] = EXAMPLE["page"]
    store_half = Secret(part("half_file")[44:76])
    kms_half = Secret(part("kms_half"))
    epoch = make_epoch(EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"), kms_half, store_half)
    assert epoch.backup.key.expose() == octets(row["backup_key"])
    check_canary(epoch, octets(row["canary"]))
    page = PageRow(
        octets(row["id"]), "main", "customer", "2031-01", row["version"], 1, 2, octets(row["sealed"])
    )
    opened = open_page(epoch, page)
    assert opened.expose() == octets(row["plaintext"])
    record = (
        (TAG_RECORD, page.id), (TAG_CLASS, b"customer"), (TAG_DUE, b"2031-01"), (TAG_VERSION, b"\0\0\0\3"),
    )  # fmt: skip
    assert canonical(record) == octets(row["record"])
    first, second = octets(row["first_id"]), octets(row["second_id"])
    slots = {
        first: (Slot("main", octets(EXAMPLE["data_key"]["subject"]), "customer", "2031-01"), "data_key"),
        second: (Slot("main", octets(row["second_subject"]), "customer", "2031-01"), "page"),
    }
    for id_, (slot, where) in slots.items():
        key = KeyRow(id_, *slot, "active", 0, b"", "active", None, page.id)
        wanted = EXAMPLE[where]["key" if where == "data_key" else "second_key"]
        assert open_paged_key(opened, key).key.expose() == octets(wanted)
        with pytest.raises(IntegrityError):
            open_paged_key(opened, key._replace(due="2031-02"))
    for moved in (
        {"version": 4}, {"due": ""}, {"class_": "other"}, {"tenant": "other"}, {"id": bytes(16)},
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            open_page(epoch, page._replace(**moved))


def test_the_reference_of_the_page() -> None:
    row = EXAMPLE["reference"]
    message = canonical(((TAG_TENANT, row["tenant"].encode()), (TAG_SUBJECT, row["identifier"].encode())))
    assert message == octets(row["message"])
    key, layer = Secret(octets(row["reference_key"])), BlockCipher(Secret(octets(row["layer_key"])))
    assert reference(key, message) == octets(row["hmac"])
    assert References(key, layer, row["tenant"]).of(row["identifier"]) == octets(row["reference"])


def test_the_request_of_the_page() -> None:
    row = EXAMPLE["request"]
    store_half = Secret(part("half_file")[44:76])
    epoch = make_epoch(
        EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"), Secret(part("kms_half")), store_half
    )
    over = hkdf_expand(part("epoch_key"), Label.EPOCH_REQUESTS.value, 32)
    assert epoch.requests.expose() == over == octets(row["key_over_requests"])
    named = (
        (TAG_TENANT, row["tenant"].encode()),
        (TAG_CALLER, row["caller"].encode()),
        (TAG_ROUTE, row["route"].encode()),
        (TAG_REQUEST, row["idempotency_key"].encode()),
    )
    key = hkdf_expand(over, Label.REQUEST.value + canonical(named), 32)
    assert key == octets(row["key"])
    found_by = hmac.digest(hkdf_expand(key, Label.REQUEST_REFERENCE.value, 32), b"", "sha256")[:16]
    asked = row["asked"].encode()
    print_of = hmac.digest(hkdf_expand(key, Label.REQUEST_FINGERPRINT.value, 32), asked, "sha256")
    assert (found_by, print_of) == (octets(row["reference"]), octets(row["fingerprint"]))
    ours = request_key(epoch, row["tenant"], row["caller"], row["route"], row["idempotency_key"])
    assert (ours.epoch, ours.ref, ours.fingerprint(asked)) == (EXAMPLE["epoch"], found_by, print_of)
    assert ours.open(octets(row["sealed"])) == row["answer"].encode()


@pytest.mark.parametrize("change", ["tenant", "caller", "route", "idempotency_key"])
def test_another_request_has_another_key(change: str) -> None:
    row = EXAMPLE["request"]
    epoch = make_epoch(
        EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"), Secret(bytes(32)), Secret(bytes(32))
    )
    names = ("tenant", "caller", "route", "idempotency_key")
    one, other = (
        request_key(epoch, *(row[name] + ("x" if name == changed else "") for name in names))
        for changed in ("", change)
    )
    assert one.ref != other.ref
    assert one.fingerprint(b"") != other.fingerprint(b"")
    with pytest.raises(IntegrityError):
        other.open(one.seal(b"answer"))


def test_a_request_key_shows_nothing() -> None:
    row = EXAMPLE["request"]
    epoch = make_epoch(
        EXAMPLE["region"], EXAMPLE["epoch"], part("epoch_id"), Secret(bytes(32)), Secret(bytes(32))
    )
    key = request_key(epoch, row["tenant"], row["caller"], row["route"], row["idempotency_key"])
    assert row["idempotency_key"] not in repr(key)
    assert key._key.expose().hex() not in repr(key)


def test_the_tables_of_the_page_are_the_codes() -> None:
    page = text("key-hierarchy")
    for purpose in Purpose:
        assert f"| `{purpose.value}` |" in page
    for label in set(Label) - {Label.VE1}:
        assert f'"{label.value.decode()}"' in page
    assert len(part("half_file")) == 108
    assert len(part("root_file")) == 37 + 134
    assert "1 to 16 passes, 8,192 to 2,097,152 KiB, 1 to 16 lanes" in " ".join(page.split())
    assert Argon2Parameters(1, 8_192, 1) != Argon2Parameters(16, 2_097_152, 16)  # both are taken
