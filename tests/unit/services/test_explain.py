"""Explaining through the verbs: any principal, its own tenant's fields, and nothing but spellings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cells import PHONE, SSN, TEXT, BuiltCell, development_cell
from tests.unit.echo import shown
from vault.errors import BadInput, CoatcheckError, Unknown
from vault.services.explain import TemplateQuestion, explain_field, explain_template
from vault.services.trial import try_values


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltCell]:
    with development_cell(tmp_path_factory.mktemp("cell")) as made:
        yield made


def test_any_principal_may_ask(built: BuiltCell) -> None:
    _, nobody = built.principal("service", "nobody")
    question = TemplateQuestion("keep_first=6,keep_last=4")
    found = built.run(explain_template, "card", question, by=nobody)
    assert found.template == "card(keep_first=6, keep_last=4, luhn='keep')"
    assert built.run(explain_field, SSN, by=nobody).protection == "vaultless"
    shaped = built.run(explain_field, PHONE, by=nobody)
    assert shaped.guess is not None
    assert shaped.guess.rows is not None
    assert shaped.guess.rows.denominator == 10**10 // 20
    assert built.run(explain_field, TEXT, by=nobody).protection == "encrypted"


def test_fields_of_another_tenant_are_not_there(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    other.apply(
        '[retention.y]\nkeep = "P1Y"\n[fields.only]\nprotection = "encrypted"\nretention = "y"\n'
        + built.schema
    )
    assert other.run(explain_field, "only").protection == "encrypted"
    with pytest.raises(Unknown, match="not_found"):
        built.run(explain_field, "only")


@pytest.mark.parametrize(
    ("name", "question", "code"),
    [
        ("none", TemplateQuestion(), "not_found"),
        ("ssn(strict=true)", TemplateQuestion(), "not_found"),
        ("ssn", TemplateQuestion("strict=maybe"), "template_invalid"),
        ("ssn", TemplateQuestion(")(strict=true"), "template_invalid"),
        ("ssn", TemplateQuestion("x" * 2_000), "template_invalid"),
        ("ssn", TemplateQuestion(protection="none"), "parameter_invalid"),
        ("text", TemplateQuestion(protection="vaultless"), "parameter_invalid"),
        ("ssn", TemplateQuestion(protection="vaultless", surrogate="ssn"), "parameter_invalid"),
        ("ssn", TemplateQuestion(surrogate="secret"), "parameter_invalid"),
        ("ssn", TemplateQuestion(surrogate="ssn", max_rows=0), "parameter_invalid"),
        ("ssn", TemplateQuestion(per_day=0), "parameter_invalid"),
        ("ssn", TemplateQuestion(per_day=10**12 + 1), "parameter_invalid"),
    ],
)
def test_what_cannot_be_explained(built: BuiltCell, name: str, question: TemplateQuestion, code: str) -> None:
    with pytest.raises(CoatcheckError, match=code) as refused:
        built.run(explain_template, name, question)
    assert "secret" not in shown(refused.value)
    assert "maybe" not in shown(refused.value)


def test_values_are_tried_under_a_key_of_their_own() -> None:
    taken, wrong, short = try_values(
        "card(keep_last=8)", ["4111 1111 1111 1111", "4111111111111112", "411111111117"]
    )
    assert (taken.result, taken.among, taken.kept) == ("taken", 10**7, "#### #### 1111 1111")
    assert taken.token is not None
    assert taken.token.endswith("1111 1111")
    assert (wrong.result, wrong.kept, wrong.token) == ("value_checksum", None, None)
    assert (short.result, short.among, short.token) == ("domain_too_small", 1_000, None)
    assert "1111" not in repr(taken)
    again = try_values("card(keep_last=8)", ["4111 1111 1111 1111"] * 2)
    assert again[0].token == again[1].token
    assert again[0].token != taken.token  # but once in ten million times
    (kept,) = try_values("text", ["Ada"])
    assert (kept.result, kept.among, kept.kept) == ("taken", None, None)
    assert kept.token is not None
    assert kept.token.startswith("tok_")
    with pytest.raises(BadInput, match="template_invalid"):
        try_values("none", [])
