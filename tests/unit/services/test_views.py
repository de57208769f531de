"""Masks that compute: ages by the ledger's day, hashes under a key of the field, for every protection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.support.cells import CEILING, SCHEMA, BuiltCell, development_cell
from vault.clock import DAY, SECOND, FixedClock, parse_time
from vault.policy.grant import ScopeEntry
from vault.services.decrypt import DecryptBody, DecryptItem, decrypt
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page

BORN, IBAN, CARD, NOTE = "seen.born", "seen.iban", "seen.card", "seen.note"
FIELDS = [BORN, IBAN, CARD, NOTE]
MORE = f"""
[fields."{BORN}"]
template = "date"
protection = "vaulted"
retention = "customer"
masks = {{ age = "{{age:10}}", fixed = "a day" }}

[fields."{IBAN}"]
template = "iban"
protection = "vaulted"
retention = "customer"
masks = {{ hash = "{{country}} {{hash:12}}" }}

[fields."{CARD}"]
template = "card(keep_last=4, luhn='break')"
protection = "vaultless"
retention = "key-lifetime"
masks = {{ hash = "{{hash:16}}" }}

[fields."{NOTE}"]
protection = "encrypted"
retention = "customer"
masks = {{ hash = "{{hash:16}}" }}
"""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(parse_time("2026-11-23T23:59:59Z"))


@pytest.fixture
def built(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    with development_cell(tmp_path, clock) as made:
        made.apply(SCHEMA + MORE)
        permissions = [f"tokenize:{name}" for name in (BORN, IBAN, CARD)]
        permissions += [f"encrypt:{NOTE}", "grant:create:support"]
        ceiling = msgspec.structs.replace(CEILING, fields=FIELDS)
        service_id, service = made.principal("service", "seen", permissions=permissions, ceiling=ceiling)
        yield replace(made, service=service, service_id=service_id)


def grant(built: BuiltCell, *fields: str) -> str:
    return built.grant(scope=[ScopeEntry(list(fields), ["mask"], ["plain"])], uses=50)


def seen(built: BuiltCell, field: str, value: str, mask: str) -> str:
    token = built.token(field, value)
    version = 1 if field == CARD else None
    values = built.reveal(grant(built, field), field, token, operation="mask", mask=mask, key_version=version)
    assert values is not None
    assert values[0] is not None
    return values[0]


def test_an_age_is_of_the_day_on_which_it_is_asked(built: BuiltCell, clock: FixedClock) -> None:
    assert seen(built, BORN, "1986-11-24", "age") == "30-39"
    clock.advance(SECOND)  # midnight in UTC: the fortieth birthday
    assert seen(built, BORN, "1986-11-24", "age") == "40-49"
    assert seen(built, BORN, "2030-01-01", "age") == "*****"
    assert seen(built, BORN, "1986-11-24", "fixed") == "a day"


def test_equal_values_have_equal_hashes_however_they_are_written(built: BuiltCell) -> None:
    one = seen(built, IBAN, "DE89370400440532013000", "hash")
    assert seen(built, IBAN, "de89 3704 0044 0532 0130 00", "hash") == "de" + one[2:]
    assert seen(built, IBAN, "DE89 3704 0044 0532 0130 00", "hash") == one
    other = seen(built, IBAN, "GB29NWBK60161331926819", "hash")
    assert one.startswith("DE ")
    assert other.startswith("GB ")
    assert one[3:] != other[3:]
    card = seen(built, CARD, "4111 1111 1111 1111", "hash")
    assert card == seen(built, CARD, "4111111111111111", "hash")
    assert card != hashlib.sha256(b"4111111111111111").hexdigest()[:16]


def test_ciphertexts_are_masked_alike(built: BuiltCell) -> None:
    def shown(text: str) -> str:
        made = built.run(encrypt, EncryptBody([EncryptItem(NOTE, text)])).items[0].ciphertext
        item = DecryptItem(NOTE, str(made))
        body = DecryptBody("support", [item], operation="mask", mask="hash")
        answer = built.run(decrypt, body, by=grant(built, NOTE))
        assert answer.items
        return str(answer.items[0].value)

    assert shown("a note") == shown("a note") != shown("another")
    assert len(shown("a note")) == 16


def test_the_key_comes_with_the_mask_and_goes_with_it(built: BuiltCell, clock: FixedClock) -> None:
    def keys() -> list[tuple[str, str]]:
        page = built.run(list_stored_keys, Page(500), KeyFilter(kind="mask"), by=built.admin)
        return sorted((str(key.field), key.state) for key in page.items)

    assert keys() == [(name, "active") for name in (CARD, IBAN, NOTE)]
    before = seen(built, CARD, "4111111111111111", "hash")
    clock.advance(DAY)  # grants that may show the mask are over
    built.apply(SCHEMA + MORE.replace('masks = { hash = "{hash:16}" }', "", 1))
    assert (CARD, "deactivated") in keys()
    built.apply(SCHEMA + MORE)
    assert seen(built, CARD, "4111111111111111", "hash") != before
    assert len(keys()) == 4
