"""Deterministic tokens: equal values, one token; one claim a person; and what happens when claims go."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.cells import CITY, EMAIL, NAME, BuiltCell
from vault.errors import Stale
from vault.services.batch import BatchRefused
from vault.services.issue import Issue
from vault.services.tokenize import TokenizeBody, tokenize

ADA = "Ada@Example.org"


def count(built: BuiltCell, table: str) -> int:
    with built.cell.store.engine.connect() as connection:
        found: int = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
        return found


def execute(built: BuiltCell, sql: str, *parameters: Any) -> None:
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql(sql, parameters)


def forget_person(built: BuiltCell, place: int) -> None:
    """Removes the data keys of a person's e-mail addresses, as an erasure will; 0 for who came first."""
    built.cell.keyring.forget()
    keys = "SELECT id FROM cu_data_keys WHERE class = 'customer' AND subject <> zeroblob(16) ORDER BY id"
    with built.cell.store.engine.connect() as connection:
        key = connection.exec_driver_sql(f"{keys} LIMIT 1 OFFSET {place}").scalar_one()
    execute(built, "DELETE FROM va_claims WHERE key = ?", key)
    execute(built, "DELETE FROM cu_data_keys WHERE id = ?", key)


def test_equal_values_of_a_field_have_one_token_whoever_they_are_of(built: BuiltCell) -> None:
    first = built.token(EMAIL, ADA, "c1")
    assert built.token(EMAIL, ADA, "c1") == first
    assert built.token(EMAIL, ADA, "c2") == first
    assert built.token(EMAIL, "bob@example.org", "c1") != first
    assert count(built, "cu_blind_index") == 2
    assert count(built, "va_claims") == 3


def test_values_are_compared_in_their_normal_form_and_come_back_as_they_were(built: BuiltCell) -> None:
    token = built.token(EMAIL, ADA, "c1")
    assert built.token(EMAIL, ADA.upper(), "c2") == token
    grant = built.grant(EMAIL, uses=4)
    assert built.reveal(grant, EMAIL, token, subjects=["c1"]) == [ADA]
    assert built.reveal(grant, EMAIL, token, subjects=["c2"]) == [ADA.upper()]


def test_a_batch_with_the_same_value_twice_makes_one_token(built: BuiltCell) -> None:
    tokens = built.tokens(EMAIL, ADA, ADA, "x@example.org", ADA, subjects=["c1", "c1", "c1", "c2"])
    assert tokens[0] == tokens[1] == tokens[3] != tokens[2]
    assert count(built, "cu_tokens") == 2
    assert count(built, "va_claims") == 3
    assert built.tokens(EMAIL, ADA, ADA, subjects=["c1", "c2"]) == [tokens[0]] * 2
    assert count(built, "va_claims") == 3


def test_within_a_person_only(built: BuiltCell) -> None:
    ours, theirs = built.token(CITY, "Paris", "c1"), built.token(CITY, "Paris", "c2")
    assert ours != theirs
    assert built.token(CITY, "Paris", "c1") == ours
    nobodys = built.token(CITY, "Paris")
    assert nobodys not in (ours, theirs)
    assert built.token(CITY, "Paris") == nobodys


def test_a_field_that_is_deterministic_over_people_needs_one(built: BuiltCell) -> None:
    with pytest.raises(BatchRefused, match="subject_required"):
        built.tokens(EMAIL, ADA)


def test_a_shared_token_survives_the_loss_of_one_claim(built: BuiltCell) -> None:
    token = built.token(EMAIL, ADA, "c1")
    built.token(EMAIL, ADA, "c2")
    forget_person(built, 0)
    grant = built.grant(EMAIL, uses=4)
    assert built.reveal(grant, EMAIL, token) == [ADA]
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(grant, EMAIL, token, subjects=["c1"])
    assert built.token(EMAIL, ADA, "c3") == token


def test_with_its_last_claim_a_token_dies_and_the_value_gets_another(built: BuiltCell) -> None:
    token = built.token(EMAIL, ADA, "c1")
    forget_person(built, 0)
    grant = built.grant(EMAIL, uses=4)
    with pytest.raises(BatchRefused, match="erased"):
        built.reveal(grant, EMAIL, token)
    again = built.token(EMAIL, ADA, "c1")
    assert again != token
    assert built.token(EMAIL, ADA, "c2") == again
    assert count(built, "cu_blind_index") == 1
    with pytest.raises(BatchRefused, match="erased"):
        built.reveal(grant, EMAIL, token)


def test_many_at_once_make_one_token(built: BuiltCell) -> None:
    built.token(NAME, "warm", "c1")
    tokens: list[str] = []
    start = threading.Barrier(16)

    def race() -> None:
        start.wait()
        tokens.append(built.token(EMAIL, ADA, "c1"))

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 16
    assert len(set(tokens)) == 1
    assert count(built, "cu_blind_index") == 1
    assert count(built, "va_claims") == 2


def prepared(built: BuiltCell, value: str, subject: str) -> Issue:
    """The command of a tokenize that stops there."""
    request = built.request(built.service)
    verb = tokenize(built.cell, request, TokenizeBody(field=EMAIL, values=[value], subjects=[subject]))
    command = next(verb)
    while not isinstance(command, Issue):
        command = verb.send(built.cell.committer.execute(command))
    return command


@pytest.mark.parametrize("before", ["a miss", "a hit", "a dead hit"])
def test_what_the_index_said_is_looked_at_again(built: BuiltCell, before: str) -> None:
    """Whatever happened since a value was prepared, the index is the ledger's, not the preparation's."""
    built.token(NAME, "warm", "c1")
    if before != "a miss":
        built.token(EMAIL, ADA, "c1")
    if before == "a dead hit":
        forget_person(built, 0)
    command = prepared(built, ADA, "c2")
    if before == "a hit":
        forget_person(built, 0)
    else:
        built.token(EMAIL, ADA, "c3")
    tokens = count(built, "cu_tokens")
    with pytest.raises(Stale):
        built.cell.committer.execute(command)
    assert count(built, "cu_tokens") == tokens
    token = built.token(EMAIL, ADA, "c2")
    assert built.reveal(built.grant(EMAIL), EMAIL, token, subjects=["c2"]) == [ADA]


def test_a_claim_that_is_gone_is_made_anew(built: BuiltCell) -> None:
    built.token(EMAIL, ADA, "c1")
    built.token(EMAIL, ADA, "c2")
    command = prepared(built, ADA, "c1")  # it need not write a claim
    execute(built, "DELETE FROM va_claims WHERE key = (SELECT min(key) FROM va_claims)")
    with pytest.raises(Stale):
        built.cell.committer.execute(command)
    token = built.token(EMAIL, ADA, "c1")
    assert built.reveal(built.grant(EMAIL), EMAIL, token, subjects=["c1"]) == [ADA]


def test_an_entry_says_nothing_without_its_keys(built: BuiltCell) -> None:
    """The same value has unlike entries in another field, and for another person within one."""
    index = built.cell.keyring.blind_index("main", EMAIL)
    other = built.cell.keyring.blind_index("main", CITY)
    person = bytes(15) + b"\x01"
    entries = [
        index.entry("x", None),
        other.entry("x", None),
        index.entry("x", person),
        index.entry("", None),
    ]
    assert len(set(entries)) == 4
    assert {len(entry) for entry in entries} == {16}


def test_what_was_issued_counts_tokens_not_values(built: BuiltCell) -> None:
    built.tokens(EMAIL, ADA, ADA, "x@example.org", subjects=["c1", "c2", "c1"])
    built.token(EMAIL, ADA, "c1")
    rows = built.cell.store.read(built.cell.store.custody.issued, {"tenant": "main", "field": EMAIL})
    assert [row[:2] for row in rows] == [(0, 2)]
