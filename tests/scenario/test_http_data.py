"""Values in, tokens out, and back under a grant: rows and columns, nulls, order, batches, bad items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.doors import Doors, complaints, initialise_doors
from tests.harness.roomy import NAME, NOTE, PAN, PURPOSE, SSN, add_principal, grant_body, principal
from tests.support.service import Answer

MOST = 10_000


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("data") / "deployment")
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def call(doors: Doors, path: str, body: Any, key: str | None = None) -> Answer:
    answer = doors.service.call("POST", path, body, key=key or doors.all_powerful)
    assert complaints(answer) == []
    return answer


def ok(doors: Doors, path: str, body: Any, key: str | None = None) -> Any:
    answer = call(doors, path, body, key)
    assert answer.status in (200, 201), answer.body
    return answer.json()


def reveal(doors: Doors, field: str, tokens: list[str | None], **more: Any) -> Any:
    """The values of tokens under the grant that opens everything."""
    version = {"key_version": 1} if field in (SSN, PAN) else {}
    body = {"purpose": PURPOSE, "field": field, "tokens": tokens, **version, **more}
    return ok(doors, "detokenize", body, doors.grant)["values"]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (SSN, ["123-45-6789", "123456789", None, "078-05-1120"]),
        (PAN, ["4111 1111 1111 1111", None, "5500-0000-0000-0004", "378282246310005"]),
        (NAME, ["Ada Lovelace", "王小明", None, "Ada Lovelace", "O'Neil-Müller\t🦊"]),
        (NOTE, [None, "line one\r\nline two", "x" * 4000, "  spaces  "]),
    ],
)
def test_columns_keep_order_nulls_and_layout(doors: Doors, field: str, values: list[str | None]) -> None:
    made = ok(doors, "tokenize", {"field": field, "values": values})
    assert made["field"] == field
    assert made["decision"].startswith("dec_")
    assert ("key_version" in made) is (field in (SSN, PAN))
    tokens = made["tokens"]
    assert [token is None for token in tokens] == [value is None for value in values]
    assert set(tokens) & set(values) <= {None}
    if field in (SSN, PAN):
        for token, value in zip(tokens, values, strict=True):
            assert value is None or [c.isdigit() for c in token] == [c.isdigit() for c in value]
    else:
        assert len(set(tokens)) == len(tokens)  # also for values that are the same
    assert reveal(doors, field, tokens) == values
    assert reveal(doors, field, list(reversed(tokens))) == list(reversed(values))


def test_the_same_value_gives_the_same_vaultless_token(doors: Doors) -> None:
    body = {"field": SSN, "values": ["123-45-6789"] * 3}
    first, second = ok(doors, "tokenize", body)["tokens"], ok(doors, "tokenize", body)["tokens"]
    assert len({*first, *second}) == 1


def test_rows_of_mixed_fields(doors: Doors) -> None:
    items: list[dict[str, Any]] = [
        {"field": NAME, "value": "Ada", "subject": "p1"},
        {"field": SSN, "value": "123-45-6789"},
        {"field": NOTE, "value": None},
        {"field": NAME, "value": "Bob", "subject": None},
    ]
    made = ok(doors, "tokenize", {"items": items})["items"]
    assert [item.get("key_version") for item in made] == [None, 1, None, None]
    assert made[2]["token"] is None
    asked = [{"field": item["field"], **token} for item, token in zip(items, made, strict=True)]
    back = ok(doors, "detokenize", {"purpose": PURPOSE, "items": asked}, doors.grant)
    assert [item["value"] for item in back["items"]] == [item["value"] for item in items]
    assert back["grant"]["id"].startswith("gr_")


def test_masks_show_what_they_say(doors: Doors) -> None:
    for field, value, mask, shown in (
        (SSN, "123-45-6789", "last4", "***-**-6789"),
        (PAN, "4111 1111 1111 1111", "last4", "**** **** **** 1111"),
        (NAME, "Ada Lovelace", "initial", "A."),
    ):
        tokens = ok(doors, "tokenize", {"field": field, "values": [value, None]})["tokens"]
        assert reveal(doors, field, tokens, operation="mask", mask=mask) == [shown, None]


def test_nulls_cost_nothing(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"][0]
    grant = ok(doors, "grants", grant_body([NAME], 3))
    body = {"purpose": PURPOSE, "field": NAME, "tokens": [None, token, None]}
    answer = ok(doors, "detokenize", body, grant["credential"])
    assert answer["values"] == [None, "Ada", None]
    assert answer["grant"]["uses_left"] == 2
    body["tokens"] = [None] * 100
    assert ok(doors, "detokenize", body, grant["credential"])["grant"]["uses_left"] == 2


@pytest.mark.parametrize("field", [SSN, NAME])
def test_the_largest_batch_and_one_more(doors: Doors, field: str) -> None:
    values = [f"{number:09}" for number in range(MOST)]
    tokens = ok(doors, "tokenize", {"field": field, "values": values})["tokens"]
    assert len(set(tokens)) == MOST
    assert reveal(doors, field, tokens) == values
    answer = call(doors, "tokenize", {"field": field, "values": [*values, "123456789"]})
    assert (answer.status, answer.code, answer.json()["most"]) == (413, "batch_too_large", MOST)
    body = {"purpose": PURPOSE, "field": field, "tokens": [*tokens, tokens[0]], "key_version": 1}
    answer = call(doors, "detokenize", body, doors.grant)
    assert (answer.status, answer.code) == (413, "batch_too_large")
    rows = [{"field": field, "value": value} for value in [*values, "1"]]
    assert call(doors, "tokenize", {"items": rows}).code == "batch_too_large"


def test_every_bad_item_is_listed_and_nothing_is_made(doors: Doors) -> None:
    values = ["123-45-6789", "", "12345678x", None, "12", "123-45-6789"]
    answer = call(doors, "tokenize", {"field": SSN, "values": values})
    assert answer.status == 422
    problem = answer.json()
    assert problem["errors"] == [
        {"index": 1, "code": "value_empty"},
        {"index": 2, "code": "value_alphabet"},
        {"index": 4, "code": "value_length"},
    ]
    assert problem["code"] == "value_empty"
    assert "decision" not in problem


def test_a_bad_token_spoils_the_batch_and_is_charged(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"][0]
    grant = ok(doors, "grants", grant_body([NAME], 5))
    body = {"purpose": PURPOSE, "field": NAME, "tokens": [token, "tok_" + "a" * 26, token]}
    answer = call(doors, "detokenize", body, grant["credential"])
    problem = answer.json()
    assert (answer.status, problem["errors"]) == (422, [{"index": 1, "code": "token_unknown"}])
    assert problem["uses_left"] == 2
    assert problem["decision"].startswith("dec_")
    assert "Ada" not in answer.body.decode()
    answer = call(doors, "detokenize", body, grant["credential"])
    assert (answer.status, answer.code) == (403, "budget_exhausted")
    assert ok(doors, "detokenize", {**body, "tokens": [token]}, grant["credential"])["values"] == ["Ada"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "member_missing"),
        ({"field": NAME}, "member_missing"),
        ({"values": ["Ada"]}, "member_missing"),
        ({"field": NAME, "values": []}, "member_missing"),
        ({"items": []}, "member_missing"),
        ({"items": [{"field": NAME, "value": "Ada"}], "field": NAME}, "body_malformed"),
        ({"items": [{"field": NAME, "value": "Ada"}], "subjects": ["p"]}, "body_malformed"),
        ({"field": NAME, "values": ["Ada"], "subjects": []}, "items_mismatch"),
        ({"field": NAME, "values": ["Ada"], "subjects": ["p", "q"]}, "items_mismatch"),
        ({"items": [{"field": NAME}]}, "member_missing"),
    ],
)
def test_bodies_that_do_not_add_up(doors: Doors, body: Any, code: str) -> None:
    answer = call(doors, "tokenize", body)
    assert answer.code == code
    assert answer.status in (400, 422)


def test_a_person_on_a_vaultless_field_is_refused(doors: Doors) -> None:
    answer = call(doors, "tokenize", {"field": SSN, "values": ["123-45-6789"], "subjects": ["p1"]})
    assert answer.json()["errors"] == [{"index": 0, "code": "subjects_unenforceable"}]
    answer = call(doors, "grants", grant_body([SSN], 1, ["p1"]))
    assert (answer.status, answer.code) == (422, "subjects_unenforceable")


def test_a_grant_for_one_person_opens_no_other(doors: Doors) -> None:
    body = {"field": NAME, "values": ["Ada", "Bob", "Eve"], "subjects": ["p1", "p2", None]}
    ada, bob, eve = ok(doors, "tokenize", body)["tokens"]
    grant = ok(doors, "grants", grant_body([NAME], 10, ["p1"]))["credential"]
    ask = {"purpose": PURPOSE, "field": NAME}
    assert ok(doors, "detokenize", {**ask, "tokens": [ada]}, grant)["values"] == ["Ada"]
    assert ok(doors, "detokenize", {**ask, "tokens": [ada], "subjects": ["p1"]}, grant)["values"] == ["Ada"]
    for token in (bob, eve):
        answer = call(doors, "detokenize", {**ask, "tokens": [token]}, grant)
        assert answer.json()["errors"] == [{"index": 0, "code": "token_unknown"}]
    for subject in ("p2", "nobody yet"):
        answer = call(doors, "detokenize", {**ask, "tokens": [ada], "subjects": [subject]}, grant)
        assert answer.json()["errors"] == [{"index": 0, "code": "token_unknown"}]


def test_a_vaultless_token_needs_its_version(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": SSN, "values": ["123-45-6789"]})["tokens"][0]
    ask = {"purpose": PURPOSE, "field": SSN, "tokens": [token]}
    answer = call(doors, "detokenize", ask, doors.grant)
    assert answer.json()["errors"] == [{"index": 0, "code": "key_version_required"}]
    answer = call(doors, "detokenize", {**ask, "key_version": 2}, doors.grant)
    assert answer.json()["errors"][0]["code"] in ("key_version_unknown", "token_unknown")
    pinned = grant_body([SSN], 5)
    pinned["scope"][0]["key_version"] = 1
    grant = ok(doors, "grants", pinned)["credential"]
    assert ok(doors, "detokenize", ask, grant)["values"] == ["123-45-6789"]


def test_a_token_of_one_field_is_none_of_another(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"][0]
    answer = call(doors, "detokenize", {"purpose": PURPOSE, "field": NOTE, "tokens": [token]}, doors.grant)
    assert answer.json()["errors"] == [{"index": 0, "code": "token_unknown"}]


def test_uses_run_out_exactly(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"][0]
    grant = ok(doors, "grants", grant_body([NAME], 3))
    ask = {"purpose": PURPOSE, "field": NAME, "tokens": [token]}
    left = [ok(doors, "detokenize", ask, grant["credential"])["grant"]["uses_left"] for _ in range(3)]
    assert left == [2, 1, 0]
    answer = call(doors, "detokenize", ask, grant["credential"])
    assert (answer.status, answer.code) == (403, "budget_exhausted")
    shown = doors.service.call("GET", f"grants/{grant['id']}", key=grant["credential"]).json()
    assert (shown["state"], shown["uses"], shown["uses_left"]) == ("exhausted", 3, 0)


def test_a_revoked_grant_opens_nothing(doors: Doors) -> None:
    token = ok(doors, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"][0]
    ask = {"purpose": PURPOSE, "field": NAME, "tokens": [token]}
    for method, path, body in (("POST", "/revoke", {"reason": "done"}), ("DELETE", "", None)):
        grant = ok(doors, "grants", grant_body([NAME], 3))
        ok(doors, "detokenize", ask, grant["credential"])
        for _ in range(2):  # again changes nothing
            answer = doors.service.call(method, f"grants/{grant['id']}{path}", body, key=doors.all_powerful)
            assert (answer.status, answer.json()["state"]) == (200, "revoked")
        answer = call(doors, "detokenize", ask, grant["credential"])
        assert (answer.status, answer.code) == (401, "grant_invalid")


def test_a_ceiling_of_people_binds(doors: Doors) -> None:
    """A service that may grant for two people grants for either, for both, and for nobody else."""
    ceiling = principal("x")["ceiling"] | {"subjects": ["person one", "person two"]}
    id_, key = add_principal(doors.service, "guardian", ceiling=ceiling)
    for people in (["person one"], ["person two", "person one"]):
        assert call(doors, "grants", grant_body([NAME], 1, people), key).status == 201
    outside: tuple[list[str] | None, ...] = (["person three"], ["person one", "person three"], None)
    for asked in outside:
        answer = call(doors, "grants", grant_body([NAME], 1, asked), key)
        assert (answer.status, answer.code) == (403, "delegation_denied")
        assert answer.json()["member"] == "subjects"
    listed = doors.service.call("GET", "principals?limit=500", key=doors.all_powerful).json()["items"]
    shown = next(row for row in listed if row["id"] == id_)["ceiling"]["subjects"]
    assert len(shown) == 2
    assert all(person.startswith("sub_") for person in shown)
