"""Values of vaultless fields that are too few for FF1: refused, vaulted, or passed, as the field says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import CEILING, NAME, SCHEMA, BuiltCell, any_cell, reveal
from tests.unit.services.asking import left
from tests.unit.services.calls import rows
from vault.errors import BadInput, Denied
from vault.formats.checksum import luhn_digit_at
from vault.policy.grant import ScopeEntry
from vault.services.batch import BatchRefused, ItemError
from vault.services.detokenize import DetokenizeBody, DetokenizeItem, detokenize
from vault.services.fields import read_field
from vault.services.schema import SchemaBody, plan_schema
from vault.services.tokenize import ColumnAnswer, ItemsAnswer, TokenizeBody, TokenizeItem, tokenize
from vault.store.custody import KeyRow

ROWS, BARE, PLAIN = "few.rows", "few.bare", "few.plain"
MORE = f"""
[retention.few]
keep = "P90D"
period = "day"

[retention.other]
keep = "P1Y"

[fields."{ROWS}"]
template = "digits(min=1, max=24)"
protection = "vaultless"
retention = "key-lifetime"
small = "vaulted"
small_retention = "few"
tokenize_budget = {{ per_day = 100 }}
masks = {{ last1 = "*{{last:1}}" }}

[fields."{BARE}"]
template = "card(keep_first=5, keep_last=2, luhn='break')"
protection = "vaultless"
retention = "key-lifetime"
small = "pass"
masks = {{ last4 = "*{{last:4}}" }}

[fields."{PLAIN}"]
template = "digits(min=1, max=24)"
protection = "vaultless"
retention = "key-lifetime"
"""
FIELDS = [ROWS, BARE, PLAIN]
LONG, SHORT = "4111 1111 1111 1111", "411111111111"[:11] + luhn_digit_at("411111111110", 11)


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_fields(made)


def with_fields(made: BuiltCell) -> BuiltCell:
    made.apply(SCHEMA + MORE)
    permissions = [f"tokenize:{name}" for name in (*FIELDS, NAME)] + ["grant:create:support"]
    ceiling = msgspec.structs.replace(CEILING, fields=[*FIELDS, NAME])
    service_id, service = made.principal("service", "few", permissions=permissions, ceiling=ceiling)
    return replace(made, service=service, service_id=service_id)


def column(built: BuiltCell, field: str, *values: str | None, **more: Any) -> ColumnAnswer:
    answer = built.run(tokenize, TokenizeBody(field=field, values=list(values), **more))
    assert isinstance(answer, ColumnAnswer)
    return answer


def grant(built: BuiltCell, *fields: str, **more: Any) -> str:
    operations = ["reveal", "mask"] if PLAIN not in fields else ["reveal"]
    return built.grant(scope=[ScopeEntry(list(fields), operations, ["plain"], **more)], uses=50)


def test_a_column_of_both_kinds_comes_back(built: BuiltCell) -> None:
    values = ["12345678", "42", None, "99999", "100000", "42"]
    made = column(built, ROWS, *values)
    large, small, null, smaller, bound, again = made.tokens
    assert made.key_version == 1
    assert null is None
    assert isinstance(large, str)
    assert large.isdigit()
    assert len(large) == 8
    assert isinstance(bound, str)
    assert len(bound) == 6
    for token in (small, smaller, again):
        assert isinstance(token, str)
        assert token.startswith("tok_")
    assert small != again  # in a domain this small, equal tokens would tell which values are equal
    credential = grant(built, ROWS)
    tokens = [token for token in made.tokens if not isinstance(token, ItemError)]
    assert built.reveal(credential, ROWS, *tokens, key_version=1) == values
    assert left(built, credential) == 50 - 5
    masked = built.reveal(credential, ROWS, *tokens[:2], key_version=1, operation="mask", mask="last1")
    assert masked == ["*8", "*2"]


def test_the_version_is_for_tokens_of_a_key(built: BuiltCell) -> None:
    items = [TokenizeItem(ROWS, "42"), TokenizeItem(ROWS, "12345678"), TokenizeItem(BARE, SHORT)]
    made = built.run(tokenize, TokenizeBody(items=items))
    assert isinstance(made, ItemsAnswer)
    assert [item.key_version for item in made.items] == [None, 1, None]
    asked = [
        DetokenizeItem(item.field, str(token.token), key_version=token.key_version)
        for item, token in zip(items, made.items, strict=True)
    ]
    answer = built.run(detokenize, DetokenizeBody("support", items=asked), by=grant(built, ROWS, BARE))
    assert isinstance(answer.items, list)
    assert [item.value for item in answer.items] == ["42", "12345678", SHORT]
    assert column(built, ROWS, "42").key_version is None


def test_nothing_is_vaulted_or_passed_unless_the_field_says_so(built: BuiltCell) -> None:
    with pytest.raises(BatchRefused, match="domain_too_small"):
        column(built, PLAIN, "12345678", "42")
    with pytest.raises(BatchRefused, match=r"token_unknown|value_"):
        built.reveal(grant(built, PLAIN), PLAIN, str(column(built, ROWS, "42").tokens[0]), key_version=1)
    assert built.run(read_field, PLAIN).small == "refuse"
    assert (built.run(read_field, ROWS).small, built.run(read_field, ROWS).small_retention) == (
        "vaulted",
        "few",
    )


def test_a_passed_value_is_its_own_token(built: BuiltCell) -> None:
    made = column(built, BARE, LONG, SHORT, None)
    token, passed, _ = made.tokens
    assert passed == SHORT
    assert token != LONG
    credential = grant(built, BARE)
    assert built.reveal(credential, BARE, str(token), str(passed), key_version=1) == [LONG, SHORT]
    assert built.reveal(credential, BARE, SHORT, operation="mask", mask="last4") == ["*" + SHORT[-4:]]
    with pytest.raises(BatchRefused, match="key_version_required"):
        built.reveal(credential, BARE, str(token))
    with pytest.raises(BatchRefused, match="value_checksum"):  # a real number is no token, large or small
        built.reveal(credential, BARE, LONG, key_version=1)
    wrong = SHORT[:-1] + str((int(SHORT[-1]) + 5) % 10)
    with pytest.raises(BatchRefused, match=r"value_checksum|domain_too_small"):
        built.reveal(credential, BARE, wrong, key_version=1)


def test_what_was_never_made_opens_nothing(built: BuiltCell) -> None:
    credential = grant(built, ROWS, NAME)
    ours, named = str(column(built, ROWS, "42").tokens[0]), built.token(NAME, "Ada")
    for token in (named, "tok_" + "a" * 26, "tok_", "tok_42", ours.upper(), ours + "a"):
        with pytest.raises(BatchRefused) as refused:
            built.reveal(credential, ROWS, token, key_version=1)
        assert refused.value.code in ("token_unknown", "value_alphabet", "value_length")
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(credential, NAME, ours)
    with pytest.raises(BatchRefused, match="domain_too_small"):  # FF1 is not used on it either way
        built.reveal(credential, ROWS, "42", key_version=1)


def test_a_grant_for_a_key_version_is_for_its_tokens_alone(built: BuiltCell) -> None:
    small, large = (str(column(built, ROWS, value).tokens[0]) for value in ("42", "12345678"))
    pinned = grant(built, ROWS, key_version=1)
    assert built.reveal(pinned, ROWS, large) == ["12345678"]
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(pinned, ROWS, small)
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(grant(built, BARE, key_version=1), BARE, SHORT)


def test_nobody_is_named(built: BuiltCell) -> None:
    for field, value in ((ROWS, "42"), (BARE, SHORT)):
        with pytest.raises(BatchRefused, match="subjects_unenforceable"):
            column(built, field, value, subjects=["p1"])
        token = str(column(built, field, value).tokens[0])
        with pytest.raises(BatchRefused, match="subjects_unenforceable"):
            built.reveal(grant(built, field), field, token, subjects=["p1"])
        with pytest.raises(BadInput, match="subjects_unenforceable"):
            built.grant(field, subjects=["p1"])


def test_they_count_against_the_budget(built: BuiltCell) -> None:
    column(built, ROWS, *["42"] * 60, *["12345678"] * 39)
    with pytest.raises(Denied, match="budget_exhausted"):
        column(built, ROWS, "1", "2")
    column(built, ROWS, "1")
    with pytest.raises(Denied, match="budget_exhausted"):
        column(built, ROWS, "12345678")


def test_the_record_says_how_many(built: BuiltCell) -> None:
    column(built, ROWS, "42", "7", "12345678", "x", on_error="report")
    made = built.events(kind="tokenize")[-1]
    assert made["fields"] == [
        {
            "field": ROWS,
            "values": 3,
            "protection": "vaultless",
            "key_version": 1,
            "vaulted": 2,
            "failed": {"value_alphabet": 1},
        }
    ]
    assert made["items_digest"]  # of the rows and their key
    column(built, BARE, SHORT, LONG)
    assert built.events(kind="tokenize")[-1]["fields"][0]["passed"] == 1
    built.reveal(grant(built, BARE), BARE, SHORT)
    assert built.events(kind="detokenize")[-1]["fields"] == [{"field": BARE, "items": 1, "passed": 1}]
    issued = built.cell.store.read(built.cell.store.custody.issued, {"tenant": "main", "field": ROWS})
    assert [(row[0], row[1]) for row in issued] == [(0, 2), (1, 1)]


def test_errors_stay_in_their_places(built: BuiltCell) -> None:
    made = column(built, ROWS, "x", "42", "", "12345678", on_error="report")
    codes = [token.error.code if isinstance(token, ItemError) else None for token in made.tokens]
    assert (codes, made.failed) == (["value_alphabet", None, "value_empty", None], 2)
    with pytest.raises(BatchRefused) as refused:
        column(built, ROWS, "x", "42")
    assert refused.value.facts["errors"] == [{"index": 0, "code": "value_alphabet"}]


def test_rows_are_kept_in_their_own_class_and_end_with_it(built: BuiltCell) -> None:
    token = str(column(built, ROWS, "42").tokens[0])
    store = built.cell.store
    key = KeyRow(*store.read(store.custody.data_key_slot, slot_of(built))[0])
    assert (key.class_, key.subject) == ("few", bytes(16))
    credential = grant(built, ROWS)
    table = "cu_due_periods" if store.engine.dialect.name == "sqlite" else "custody.due_periods"
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET state = 'destroyed' WHERE class = 'few'")
    with pytest.raises(BatchRefused, match="erased"):
        built.reveal(credential, ROWS, token)


def slot_of(built: BuiltCell) -> dict[str, Any]:
    keys = built.cell.store.custody
    rows = built.cell.store.read(keys.data_keys_page, {"tenant": "main", "below": b"\xff" * 16, "most": 9})
    (few,) = [row for row in rows if row[7] == "few"]
    return {"tenant": "main", "subject": bytes(16), "class": few[7], "due": few[8]}


def test_what_lives_holds_the_setting(built: BuiltCell) -> None:
    column(built, ROWS, "42", "12345678")
    column(built, BARE, SHORT, LONG)

    def refusals(old: str, new: str) -> list[str]:
        assert MORE.count(old) == 1
        body = SchemaBody(toml=SCHEMA + MORE.replace(old, new))
        return built.run(plan_schema, body, by=built.admin).refusals

    rows = 'small = "vaulted"\nsmall_retention = "few"\n'
    assert refusals(rows, "") == [
        f"field {ROWS}: cannot change small while small values of it live: 1",
        f"field {ROWS}: cannot change small_retention while small values of it live: 1",
    ]
    assert refusals('small = "pass"\n', "") == [
        f"field {BARE}: cannot change small while small values of it live: 1"
    ]
    assert refusals('small_retention = "few"', 'small_retention = "other"') == [
        f"field {ROWS}: cannot change small_retention while small values of it live: 1"
    ]
    assert refusals('keep = "P90D"', 'keep = "P91D"') == [
        "retention few: cannot change keep while keys live under it: 1"
    ]


def test_the_setting_may_come_later(built: BuiltCell) -> None:
    token = str(column(built, PLAIN, "12345678").tokens[0])
    later = MORE.rstrip() + '\nsmall = "vaulted"\nsmall_retention = "few"\n'
    built.apply(SCHEMA + later)
    small = str(column(built, PLAIN, "42").tokens[0])
    assert built.reveal(grant(built, PLAIN), PLAIN, token, small, key_version=1) == ["12345678", "42"]
    passing = MORE.rstrip() + '\nsmall = "pass"\n'
    plan = built.run(plan_schema, SchemaBody(toml=SCHEMA + passing), by=built.admin)
    assert any("small values of it live: 1" in told for told in plan.refusals)
    warned = [told for told in plan.warnings if PLAIN in told]
    assert warned == [
        f"field {PLAIN}: values of which fewer than 1,000,000 look alike are handed back as they are"
    ]


def test_a_retry_gets_the_same_tokens(built: BuiltCell) -> None:
    body = TokenizeBody(field=ROWS, values=["42", "12345678"])
    first = built.run(tokenize, body, once="k1")
    again = built.run(tokenize, body, once="k1")
    assert isinstance(first, ColumnAnswer)
    assert isinstance(again, ColumnAnswer)
    assert (again.tokens, again.replayed) == (first.tokens, True)
    bare = TokenizeBody(field=BARE, values=[SHORT])
    assert built.run(tokenize, bare, once="k2").tokens == [SHORT]  # type: ignore[union-attr]
    assert built.run(tokenize, bare, once="k2").tokens == [SHORT]  # type: ignore[union-attr]


def test_a_denied_use_opens_nothing(built: BuiltCell) -> None:
    token = str(column(built, ROWS, "42").tokens[0])
    with pytest.raises(Denied):
        built.run(detokenize, reveal(ROWS, [token]), by=grant(built, BARE))


def test_no_passed_value_lies_in_the_database(built: BuiltCell) -> None:
    column(built, BARE, SHORT)
    built.run(tokenize, TokenizeBody(field=BARE, values=[SHORT]), once="kept")  # with its answer, sealed
    built.reveal(grant(built, BARE), BARE, SHORT)
    everything = str(rows(built)).encode().decode("unicode_escape", errors="replace")
    assert SHORT not in everything
