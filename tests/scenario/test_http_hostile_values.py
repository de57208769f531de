"""Every field meets every bad value, token and subject: refused by item, and nothing of it is repeated."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.harness.doors import Doors, complaints, initialise_doors
from tests.harness.roomy import FIELDS, NAME, NOTE, NUMBER, PAN, PURPOSE, SSN, WORD
from tests.support.service import Answer

GOOD = {
    SSN: "123-45-6789",
    PAN: "4111 1111 1111 1111",
    NAME: "Ada Lovelace",
    NOTE: "Calls on\tMondays,\nnever before nine.",
    NUMBER: "5550123456",
    WORD: "Xy77pQ3a",
}
VAULTED = (NAME, NOTE)
LONGEST = {NAME: 200, NOTE: 4000}

# What no template takes: a character that is none, or one too many.
EVERYWHERE = ("", "12345678\0", "\0", "123-45-678\u0007", "123-45-67\x7f9", "41111111111\x9b11111")
# What only text takes, as it is: the display must guard itself.
TEXT_ONLY = (
    "１２３４５６７８９",
    "123-45-67８9",
    "123-45-6789\u202e",
    "\u2067123456789",
    "1234\u200b56789",
    "\ufeff123456789",
    "12345678²",
    "12345678é",
    "1234567e\u0301",
    "123456789\U000e0031",
    "4111\u00a01111\u00a01111\u00a01111",
)
BY_FIELD = {
    SSN: {
        "123456789a": "value_alphabet",
        "12345678a": "value_alphabet",
        "12-345-6789": "value_format",
        "1234567890": "value_format",
        "123 45 6789": "value_alphabet",
        "12345678": "value_length",
        "123-45-67890": "value_length",
        "9" * 5_000: "value_length",
    },
    PAN: {
        "4111 1111 1111 1112": "value_checksum",
        "4111111111111112": "value_checksum",
        "4111  1111 1111 1111": "value_format",
        "41111111111": "value_length",
        "41111111111111111111": "value_length",
        "4111-1111-1111-111x": "value_alphabet",
        "0" * 60_000: "value_length",
    },
    NUMBER: {
        "12": "value_length",
        "12345": "domain_too_small",
        "555-0123456": "value_alphabet",
        "1" * 41: "value_length",
    },
    WORD: {
        "x": "domain_too_small",
        "abc": "domain_too_small",
        "with space": "value_alphabet",
        "a" * 41: "value_length",
    },
    NAME: {"n" * 201: "value_length", "n" * 100_000: "value_length", "A\ufffeda": "value_alphabet"},
    NOTE: {"n" * 4_001: "value_length", "A\ufdd0": "value_alphabet", "A\x00": "value_alphabet"},
}
BAD = [(field, value) for field in FIELDS for value in (*EVERYWHERE, *BY_FIELD[field])]
BAD += [(field, value) for field in FIELDS if field not in VAULTED for value in TEXT_ONLY]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("values") / "deployment")
    try:
        service.start()
        yield Doors(service)
        log = service.log()
        for _, value in BAD:
            assert len(value) < 4 or value not in log
        assert "Traceback" not in log
    finally:
        service.kill()


def rows(doors: Doors) -> tuple[int, int]:
    """How many token rows and how many events there are."""
    with closing(sqlite3.connect(f"file:{doors.service.folder / 'eu.db'}?mode=ro", uri=True)) as database:
        [(tokens,)] = database.execute("SELECT count(*) FROM cu_tokens").fetchall()
        [(events,)] = database.execute("SELECT next FROM re_head").fetchall()
    return tokens, events


def expected(field: str, value: str) -> set[str]:
    """The codes that a field may say to a value; templates have their own tests of which."""
    if not value:
        return {"value_empty"}
    return {BY_FIELD[field][value]} if value in BY_FIELD[field] else {"value_alphabet", "value_length"}


def tokenize(doors: Doors, body: Any) -> Answer:
    """An answer in which nothing is wrong."""
    answer = doors.service.call("POST", "tokenize", body, key=doors.all_powerful)
    assert complaints(answer) == []
    return answer


def detokenize(doors: Doors, body: Any) -> Answer:
    """An answer in which nothing is wrong."""
    answer = doors.service.call("POST", "detokenize", {"purpose": PURPOSE, **body}, key=doors.grant)
    assert complaints(answer) == []
    return answer


def shows(answer: Answer, value: str) -> bool:
    """Whether an answer repeats a value, whole or in part."""
    text = answer.body.decode()
    return len(value) > 4 and (value in text or value[: len(value) // 2] in text or repr(value)[1:-1] in text)


@pytest.mark.parametrize(("field", "value"), BAD, ids=lambda part: ascii(part)[:30])
def test_a_bad_value_is_refused_by_its_place(doors: Doors, field: str, value: str) -> None:
    before = rows(doors)
    answer = tokenize(doors, {"field": field, "values": [GOOD[field], value, None, GOOD[field], value]})
    found = answer.json()
    assert (answer.status, answer.code) == (422, found["errors"][0]["code"])
    assert [error["index"] for error in found["errors"]] == [1, 4]
    assert {error["code"] for error in found["errors"]} <= expected(field, value)
    assert not shows(answer, value)
    assert rows(doors) == before


@pytest.mark.parametrize("field", VAULTED)
@pytest.mark.parametrize("value", TEXT_ONLY, ids=ascii)
def test_text_comes_back_as_it_was(doors: Doors, field: str, value: str) -> None:
    made = tokenize(doors, {"field": field, "values": [value]})
    assert made.status == 200
    back = detokenize(doors, {"field": field, "tokens": made.json()["tokens"]})
    assert back.json()["values"] == [value]


@pytest.mark.parametrize("field", FIELDS)
def test_a_good_value_comes_back_as_it_was(doors: Doors, field: str) -> None:
    value = GOOD[field]
    made = tokenize(doors, {"field": field, "values": [value, None, value]}).json()
    assert made["tokens"][1] is None
    assert value not in made["tokens"]
    version = {"key_version": made["key_version"]} if "key_version" in made else {}
    back = detokenize(doors, {"field": field, "tokens": made["tokens"], **version})
    assert back.json()["values"] == [value, None, value]


@pytest.mark.parametrize(
    "subject",
    ["", "p" * 257, "é" * 129, "a\0", "a\nb", "e\u0301", "\u0085", "a\ufffe", "\t", "\U000e0fff"],
    ids=ascii,
)
def test_a_bad_subject_is_refused(doors: Doors, subject: str) -> None:
    before = rows(doors)
    body = {"field": NAME, "values": ["Ada", "Bob"], "subjects": [None, subject]}
    answer = tokenize(doors, body)
    assert (answer.status, answer.code) == (422, "subject_invalid")
    assert answer.json()["errors"] == [{"index": 1, "code": "subject_invalid"}]
    assert not shows(answer, subject)
    assert rows(doors) == before
    scope = [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]
    grant = {"agent": "agent:demo", "purpose": PURPOSE, "scope": scope, "subjects": {"in": [subject]}}
    answer = doors.service.call("POST", "grants", grant, key=doors.all_powerful)
    assert (answer.status, answer.code) == (422, "subject_invalid")
    assert complaints(answer) == []


def test_a_subject_of_any_script_is_taken(doors: Doors) -> None:
    for subject in ("p", "p" * 256, "é" * 128, "王小明", "user:42/x@y", "１２３", "a\u200db", "👩‍👧"):
        body = {"field": NAME, "values": ["Ada"], "subjects": [subject]}
        assert tokenize(doors, body).status == 200, ascii(subject)


BODY = "a" * 26
BAD_TOKENS = [
    "", "\0", "tok_", f"tok_{BODY}", f"tok_{BODY.upper()}", f"tok_{BODY[1:]}", f"tok_{BODY}a",
    f"TOK_{BODY}", "tok_" + "ａ" * 26, f"tok_{BODY[1:]}\0", f"tok_{BODY[1:]}\u200b", f"tok_{BODY * 4000}",
    "１２３-45-6789", "123-45-678\u202e", "4111111111111112-x", f" tok_{BODY}", f"tok_{BODY}\n", f"gr_{BODY}",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("token", BAD_TOKENS, ids=lambda text: ascii(text)[:30])
def test_a_bad_token_is_refused_and_charged(doors: Doors, field: str, token: str) -> None:
    version = None if field in VAULTED else 1
    answer = detokenize(doors, {"items": [{"field": field, "token": token, "key_version": version}]})
    assert answer.status == 422
    [error] = answer.json()["errors"]
    assert error["index"] == 0
    assert error["code"] == "token_unknown" or (field not in VAULTED and error["code"].startswith("value_"))
    assert answer.json()["decision"].startswith("dec_")
    assert not shows(answer, token)
    left = answer.json()["uses_left"]
    again = detokenize(doors, {"items": [{"field": field, "token": token, "key_version": version}]})
    assert again.json()["uses_left"] == left - 1


def test_other_spellings_of_a_token_are_unknown(doors: Doors) -> None:
    [token] = tokenize(doors, {"field": NAME, "values": ["Ada"]}).json()["tokens"]
    for other in (
        token.upper(),
        token + "=",
        token[:-1],
        token + "a",
        token.replace("tok_", ""),
        f" {token}",
    ):
        answer = detokenize(doors, {"field": NAME, "tokens": [other]})
        assert answer.json()["errors"] == [{"index": 0, "code": "token_unknown"}]
    for field in FIELDS:
        if field != NAME:
            answer = detokenize(doors, {"field": field, "tokens": [token], "key_version": None})
            assert answer.status == 422


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**63 - 1])
def test_a_key_version_that_is_none(doors: Doors, version: int) -> None:
    made = tokenize(doors, {"field": SSN, "values": [GOOD[SSN]]}).json()
    answer = detokenize(doors, {"field": SSN, "tokens": made["tokens"], "key_version": version})
    assert answer.status == 422
    assert answer.json()["errors"][0]["code"] in ("key_version_unknown", "token_unknown")


@pytest.mark.parametrize(
    "field", ["", "customer", "customer.nam", "customer.name\0", "*", "ｎame", "a" * 9_999]
)
def test_a_field_that_is_none(doors: Doors, field: str) -> None:
    """Unknown fields and fields one may not touch look alike."""
    answer = tokenize(doors, {"field": field, "values": ["Ada"]})
    assert (answer.status, answer.code) == (403, "permission_denied")
    assert len(field) < 4 or field not in answer.body.decode()
    answer = detokenize(doors, {"field": field, "tokens": ["x"]})
    assert (answer.status, answer.code) == (403, "scope_denied")
    assert len(field) < 4 or field not in answer.body.decode()
