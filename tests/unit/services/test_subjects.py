"""A grant for some people opens what was tokenized for them, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, SSN, BuiltCell
from tests.unit.services.asking import SSNS, left
from tests.unit.services.calls import rows
from vault.context import EncryptionContext, Use
from vault.envelope.seal import open_message, seal
from vault.identifiers import parse_id
from vault.services.batch import BatchRefused
from vault.store.custody import KeyRow
from vault.tokens.vaulted import decode


def test_only_claims_of_the_subjects_named(built: BuiltCell) -> None:
    ada, bob, nobody = built.tokens(NAME, "Ada", "Bob", "Eve", subjects=["c1", "c2", None])
    credential = built.grant(NAME, subjects=["c1", "c3"])
    assert built.reveal(credential, NAME, ada) == ["Ada"]
    for token in (bob, nobody):
        with pytest.raises(BatchRefused, match="token_unknown"):
            built.reveal(credential, NAME, token)
    assert left(built, credential) == 7


def test_a_subject_in_the_request_narrows(built: BuiltCell) -> None:
    ada, nobody = built.tokens(NAME, "Ada", "Eve", subjects=["c1", None])
    credential = built.grant(NAME, uses=20)
    assert built.reveal(credential, NAME, ada, subjects=["c1"]) == ["Ada"]
    for token, subject in ((ada, "c2"), (ada, "never seen"), (nobody, "c1")):
        with pytest.raises(BatchRefused, match="token_unknown"):
            built.reveal(credential, NAME, token, subjects=[subject])
    with pytest.raises(BatchRefused, match="subject_invalid"):
        built.reveal(credential, NAME, ada, subjects=["c\x00"])
    assert built.reveal(credential, NAME, nobody) == ["Eve"]
    assert left(built, credential) == 14


def test_a_subject_on_a_vaultless_token_proves_nothing_and_is_refused(built: BuiltCell) -> None:
    credential = built.grant(SSN)
    with pytest.raises(BatchRefused, match="subjects_unenforceable"):
        built.reveal(credential, SSN, built.token(SSN, SSNS[0]), subjects=["c1"])


def test_asking_does_not_enter_a_person(built: BuiltCell) -> None:
    credential, token = built.grant(NAME), built.token(NAME, "Ada")
    with pytest.raises(BatchRefused):
        built.reveal(credential, NAME, token, subjects=["never seen"])
    assert rows(built)["cu_subjects"] == []


def test_the_lowest_key_in_scope_is_used_and_on_the_record(built: BuiltCell) -> None:
    """A token with a claim of each of three people, as deterministic tokens will have."""
    values = {subject: built.token(NAME, f"name of {subject}", subject) for subject in ("c1", "c2", "c3")}
    token = values["c2"]
    keys = _share(built, list(values.values()), token)
    assert built.reveal(built.grant(NAME), NAME, token) == ["name of c1"]
    assert built.reveal(built.grant(NAME, subjects=["c2", "c3"]), NAME, token) == ["name of c2"]
    assert built.reveal(built.grant(NAME, subjects=["c3"]), NAME, token) == ["name of c3"]
    assert built.reveal(built.grant(NAME), NAME, token, subjects=["c3"]) == ["name of c3"]
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(built.grant(NAME, subjects=["c4"]), NAME, token)
    used = [_items(built, event)["keys"]["ids"] for event in built.events(kind="detokenize")[:4]]
    assert [[parse_id("key", name) for name in names] for names in used] == [
        [keys[index]] for index in (0, 1, 2, 2)
    ]


def test_a_claim_whose_key_is_gone_gives_way_to_the_next(built: BuiltCell) -> None:
    tokens = [built.token(NAME, f"name of {subject}", subject) for subject in ("c1", "c2")]
    keys = _share(built, tokens, tokens[0])
    _execute(built, "DELETE FROM cu_data_keys WHERE id = ?", keys[0])
    assert built.reveal(built.grant(NAME), NAME, tokens[0]) == ["name of c2"]
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(built.grant(NAME, subjects=["c1"]), NAME, tokens[0])
    _execute(built, "DELETE FROM cu_data_keys WHERE id = ?", keys[1])
    with pytest.raises(BatchRefused, match="erased"):
        built.reveal(built.grant(NAME), NAME, tokens[0])


@pytest.mark.parametrize("table", ["cu_data_keys", "cu_due_periods"])
def test_a_key_or_a_period_in_a_state_that_opens_nothing(built: BuiltCell, table: str) -> None:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, uses=50)
    where = "WHERE class = 'customer'"
    for state in ("deactivated", "compromised", "active"):
        _execute(built, f"UPDATE {table} SET state = ? {where}", state)
        assert built.reveal(credential, NAME, token) == ["Ada"]
    for state in ("pre-active", "suspended", "destroyed"):
        _execute(built, f"UPDATE {table} SET state = ? {where}", state)
        with pytest.raises(BatchRefused, match="erased"):
            built.reveal(credential, NAME, token)


def _share(built: BuiltCell, tokens: list[str], token: str) -> list[bytes]:
    """Gives one token the claims of several, each under its own person's key; the keys, lowest first."""
    cell = built.cell
    cipher = cell.keyring.row_ids("main", NAME)
    target = decode(cipher, token)
    rows = [decode(cipher, other) for other in tokens]
    claims = [cell.store.read_keys(cell.store.custody.claims, [row])[0] for row in rows]
    found = []
    for row, claim in zip(rows, claims, strict=True):
        key = KeyRow(*claim[5:])
        value = open_message(
            cell.keyring.data_key(key), EncryptionContext(Use.CLAIM, "main", "eu", NAME, row), claim[4]
        )
        sealed = seal(
            cell.keyring.data_key(key), EncryptionContext(Use.CLAIM, "main", "eu", NAME, target), value
        )
        _execute(built, "INSERT OR REPLACE INTO va_claims VALUES (?, ?, ?)", target, key.id, sealed)
        found.append(key.id)
    assert found == sorted(found)
    return found


def _execute(built: BuiltCell, sql: str, *parameters: Any) -> None:
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql(sql, parameters)


def _items(built: BuiltCell, event: dict[str, Any]) -> dict[str, Any]:
    store = built.cell.store
    for row in store.read(store.record.audit_range, {"first": 0, "end": 2**62}):
        if msgspec.json.decode(row[2]) == event and row[4] is not None:
            found: dict[str, Any] = msgspec.json.decode(row[4])
            return found
    raise AssertionError
