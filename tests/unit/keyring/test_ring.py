"""The keyring: finds, opens and keeps keys, and never serves one in another's place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.keyring.stores import Keys, epoch
from tests.unit.keyring.test_cache import Time
from vault.context import EncryptionContext, Use
from vault.envelope.seal import open_message, seal
from vault.errors import IntegrityError, Stale, Unavailable, ValueRefused
from vault.formats.catalog import parse_template
from vault.identifiers import NIL, RowId, uuid7
from vault.keyring.hierarchy import CELL, Purpose, new_data_key, new_field_key
from vault.keyring.ring import Keyring
from vault.keystate.states import KeyState
from vault.store.cache import BoundedCache
from vault.store.custody import FieldKeyRow, Slot
from vault.tokens.vaulted import decode, encode

SLOT = Slot("main", b"s" * 16, "customer", "2031-01")
SSN = parse_template("ssn")
CLAIM = EncryptionContext(Use.CLAIM, "main", "eu", "customer.name", b"r" * 16)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Keys]:
    made = Keys(tmp_path)
    yield made
    made.close()


@pytest.fixture
def ring(store: Keys) -> Keyring:
    return Keyring("eu", {1: epoch(), 2: epoch(number=2)}, store)


def add(store: Keys, field: str, purpose: Purpose, version: int = 1, tenant: str = "main") -> FieldKeyRow:
    row = new_field_key(epoch(), tenant, field, purpose, version)
    store.add(row)
    return row


def test_epochs_are_those_it_was_given(ring: Keyring) -> None:
    assert (ring.epoch(1).number, ring.epoch(2).number, ring.write_epoch) == (1, 2, 2)
    for unknown in (0, 3):
        with pytest.raises(Unavailable, match="key_unavailable"):
            ring.epoch(unknown)


# data keys


def test_a_data_key_is_opened_once(ring: Keyring) -> None:
    row = new_data_key(epoch(), SLOT)
    assert ring.data_key(row) is ring.data_key(row._replace())
    ring.forget()
    assert ring.data_key(row).key.matches(ring.data_key(row).key)


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "other"},
        {"subject": NIL},
        {"class_": "payment"},
        {"due": "2031-02"},
        {"due": ""},
        {"epoch": 2},
    ],
    ids=str,
)
def test_a_row_that_was_changed_is_refused_also_when_its_key_is_cached(
    ring: Keyring, changes: dict[str, str], warm: bool
) -> None:
    """Else whoever writes to the database could give a person's values to another for a minute."""
    row = new_data_key(epoch(), SLOT)
    if warm:
        ring.data_key(row)
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        ring.data_key(row._replace(**changes))  # type: ignore[arg-type]
    assert ring.data_key(row).id == row.id


def test_a_key_of_an_epoch_that_is_gone_is_unavailable(ring: Keyring) -> None:
    with pytest.raises(Unavailable, match="key_unavailable"):
        ring.data_key(new_data_key(epoch(number=3), SLOT))


def test_cached_keys_age_and_are_bounded(ring: Keyring) -> None:
    time = Time()
    ring._data = BoundedCache(size=2, clock=time)
    rows = [new_data_key(epoch(), SLOT) for _ in range(3)]
    first = [ring.data_key(row) for row in rows]
    assert len(ring._data) == 2
    assert ring.data_key(rows[2]) is first[2]
    assert ring.data_key(rows[0]) is not first[0]
    time.now += 60
    assert ring.data_key(rows[2]) is not first[2]


def test_a_slots_row_is_read_once_and_a_missing_one_each_time(ring: Keyring, store: Keys) -> None:
    assert ring.slot(SLOT) is None
    row = new_data_key(epoch(), SLOT)
    store.add(row)
    assert ring.slot(SLOT) == row
    before = store.reads
    assert ring.slot(SLOT) == row
    assert store.reads == before
    other = new_data_key(epoch(), SLOT)
    ring.remember(other)
    assert ring.slot(SLOT) == other
    ring.forget()
    assert ring.slot(SLOT) == row


def test_what_is_sealed_under_a_key_opens_through_the_ring(ring: Keyring, store: Keys) -> None:
    store.add(new_data_key(epoch(), SLOT))
    found = ring.slot(SLOT)
    assert found is not None
    assert open_message(ring.data_key(found), CLAIM, seal(ring.data_key(found), CLAIM, b"value")) == b"value"


# field keys


def test_the_newest_version_that_may_protect_is_primary(ring: Keyring, store: Keys) -> None:
    rows = [add(store, "customer.ssn", Purpose.FF1, version) for version in (1, 2, 10)]
    assert ring.ff1_versions("main", "customer.ssn").primary == 10
    store.change(rows[2].id, state=KeyState.DEACTIVATED.value)
    ring.forget()
    assert ring.ff1_versions("main", "customer.ssn").primary == 2
    for row in rows:
        store.change(row.id, state=KeyState.SUSPENDED.value)
    ring.forget()
    with pytest.raises(Unavailable, match="key_unavailable"):
        _ = ring.ff1_versions("main", "customer.ssn").primary


def test_keys_that_have_all_ended_are_an_older_schemas(ring: Keyring, store: Keys) -> None:
    """The field is gone, or has another protection: whoever asks prepares again."""
    for field, purpose in (("customer.ssn", Purpose.FF1), ("customer.name", Purpose.ROW_ID)):
        for version in (1, 2):
            store.change(add(store, field, purpose, version).id, state=KeyState.DEACTIVATED.value)
    with pytest.raises(Stale):
        _ = ring.ff1_versions("main", "customer.ssn").primary
    with pytest.raises(Stale):
        ring.row_ids("main", "customer.name")


def test_a_field_without_keys_is_unavailable(ring: Keyring, store: Keys) -> None:
    add(store, "customer.ssn", Purpose.FF1)
    for tenant, field in (("main", "customer.pan"), ("other", "customer.ssn")):
        with pytest.raises(Unavailable, match="key_unavailable"):
            ring.ff1_versions(tenant, field)
    with pytest.raises(Unavailable, match="key_unavailable"):
        ring.row_ids("main", "customer.ssn")


@pytest.mark.parametrize("state", KeyState)
def test_a_version_opens_tokens_in_the_states_that_allow_it(
    ring: Keyring, store: Keys, state: KeyState
) -> None:
    row = add(store, "customer.ssn", Purpose.FF1)
    token = ring.vaultless("main", "customer.ssn", SSN, 1).tokenize("123-45-6789")
    store.change(row.id, state=state.value)
    ring.forget()
    if state in (KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.COMPROMISED):
        assert ring.vaultless("main", "customer.ssn", SSN, 1).detokenize(token) == "123-45-6789"
    else:
        with pytest.raises(ValueRefused, match="key_version_unknown"):
            ring.vaultless("main", "customer.ssn", SSN, 1)


def test_a_version_that_is_not_there_is_unknown(ring: Keyring, store: Keys) -> None:
    add(store, "customer.ssn", Purpose.FF1)
    for version in (0, 2, -1, 2**40):
        with pytest.raises(ValueRefused, match="key_version_unknown"):
            ring.vaultless("main", "customer.ssn", SSN, version)


def test_every_version_and_field_makes_tokens_of_its_own(ring: Keyring, store: Keys) -> None:
    for field in ("customer.ssn", "other.ssn"):
        for version in (1, 2):
            add(store, field, Purpose.FF1, version)
    tokens = {
        ring.vaultless("main", field, SSN, version).tokenize("123-45-6789")
        for field in ("customer.ssn", "other.ssn")
        for version in (1, 2)
    }
    assert len(tokens) == 4
    assert ring.vaultless("main", "customer.ssn", SSN, 1) is ring.vaultless("main", "customer.ssn", SSN, 1)


def test_rows_of_field_keys_cannot_be_exchanged(ring: Keyring, store: Keys) -> None:
    one, other = add(store, "customer.name", Purpose.ROW_ID), add(store, "customer.note", Purpose.ROW_ID)
    store.change(one.id, sealed=other.sealed)
    with pytest.raises(IntegrityError, match="integrity_failed"):
        ring.row_ids("main", "customer.name")
    assert len(ring.row_ids("main", "customer.note").encrypt(NIL)) == 16


def test_a_token_of_one_field_names_no_row_of_another(ring: Keyring, store: Keys) -> None:
    for field in ("customer.name", "customer.note"):
        add(store, field, Purpose.ROW_ID)
    row = RowId(uuid7())
    token = encode(ring.row_ids("main", "customer.name"), row)
    assert decode(ring.row_ids("main", "customer.name"), token) == row
    assert decode(ring.row_ids("main", "customer.note"), token) != row


def test_references_belong_to_a_tenant_and_lie_under_the_cells_index_layer(
    ring: Keyring, store: Keys
) -> None:
    for tenant in ("main", "other"):
        add(store, CELL, Purpose.SUBJECT_REFERENCE, tenant=tenant)
    layer = add(store, CELL, Purpose.INDEX_LAYER, 2, tenant=CELL)
    main, other = ring.references("main"), ring.references("other")
    people = ["cust-1", "cust-2", "CUST-1", "cust-1 ", "", "\U0001f511"]
    refs = [references.of(person) for references in (main, other) for person in people]
    assert len(set(refs)) == 2 * len(people)
    assert all(len(ref) == 16 for ref in refs)
    assert main.of("cust-1") == ring.references("main").of("cust-1")
    # without the layer's key none of them could be computed again
    store.remove(layer.id)
    add(store, CELL, Purpose.INDEX_LAYER, 2, tenant=CELL)
    ring.forget()
    assert not set(refs) & {ring.references("main").of(person) for person in people}
