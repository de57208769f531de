"""Masks and key versions: what a scope names is all there is."""

from __future__ import annotations

import pytest

from tests.support.cells import NAME, PAN, SSN, BuiltCell
from tests.unit.services.asking import SSNS, ask, left
from vault.errors import Denied
from vault.policy.grant import ScopeEntry
from vault.services.batch import BatchRefused
from vault.services.detokenize import DetokenizeItem
from vault.services.tokenize import ColumnAnswer, ItemsAnswer, TokenizeBody, TokenizeItem, tokenize


def test_shows_what_the_mask_shows(built: BuiltCell) -> None:
    ssn, name = built.token(SSN, SSNS[0]), built.token(NAME, "Ada")
    credential = built.grant(SSN, NAME)
    assert built.reveal(credential, SSN, ssn, None, operation="mask", mask="last4") == [
        "***-**-6789",
        None,
    ]
    assert built.reveal(credential, NAME, name, operation="mask", mask="initial") == ["A."]
    assert left(built, credential) == 8
    event = built.events(kind="detokenize")[0]
    assert (event["operation"], event["mask"]) == ("mask", "last4")


def test_a_mask_of_another_field_is_charged_and_refused(built: BuiltCell) -> None:
    credential = built.grant(SSN, NAME)
    for mask in ("initial", "no-such", ""):
        with pytest.raises(BatchRefused, match="operation_unsupported"):
            built.reveal(credential, SSN, built.token(SSN, SSNS[0]), operation="mask", mask=mask)
    assert left(built, credential) == 7


def test_reveal_is_not_mask_and_mask_is_not_reveal(built: BuiltCell) -> None:
    token = built.token(SSN, SSNS[0])
    masking, revealing = built.grant(SSN, operations=["mask"]), built.grant(SSN, operations=["reveal"])
    assert built.reveal(masking, SSN, token, operation="mask", mask="last4") == ["***-**-6789"]
    for credential, more in ((masking, {}), (revealing, {"operation": "mask", "mask": "last4"})):
        with pytest.raises(Denied, match="scope_denied"):
            built.reveal(credential, SSN, token, **more)


def test_the_one_mask_that_a_scope_names(built: BuiltCell) -> None:
    scope = [ScopeEntry([SSN], ["mask"], ["plain"], mask="last4")]
    credential = built.grant(SSN, scope=scope)
    token = built.token(SSN, SSNS[0])
    assert built.reveal(credential, SSN, token, operation="mask", mask="last4") == ["***-**-6789"]
    with pytest.raises(Denied, match="scope_denied"):
        built.reveal(credential, SSN, token, operation="mask", mask="other")


def test_what_a_mask_hides_is_not_in_the_answer(built: BuiltCell) -> None:
    credential = built.grant(PAN)
    shown = built.reveal(
        credential, PAN, built.token(PAN, "4111111111111111"), operation="mask", mask="last4"
    )
    assert shown == ["**** **** **** 1111"]


def test_is_required_on_every_vaultless_token(built: BuiltCell) -> None:
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN)
    with pytest.raises(BatchRefused, match="key_version_required"):
        ask(built, credential, DetokenizeItem(SSN, token))
    assert ask(built, credential, DetokenizeItem(SSN, token, None, 1)) == [SSNS[0]]
    assert left(built, credential) == 8


@pytest.mark.parametrize("version", [0, 2, -1, 2**31, 2**63, 10**30])
def test_a_version_that_is_not_there(built: BuiltCell, version: int) -> None:
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN)
    with pytest.raises(BatchRefused, match="key_version_unknown") as refusal:
        ask(built, credential, DetokenizeItem(SSN, token, None, version))
    assert refusal.value.facts["uses_left"] == 9
    assert left(built, credential) == 9


def test_a_version_on_a_vaulted_token_is_no_token(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada"), built.grant(NAME)
    with pytest.raises(BatchRefused, match="token_unknown"):
        ask(built, credential, DetokenizeItem(NAME, token, None, 1))


def test_pinned_by_the_scope(built: BuiltCell) -> None:
    token = built.token(SSN, SSNS[0])
    pinned = built.grant(SSN, scope=[ScopeEntry([SSN], ["reveal"], ["plain"], key_version=1)])
    assert ask(built, pinned, DetokenizeItem(SSN, token)) == [SSNS[0]]
    assert ask(built, pinned, DetokenizeItem(SSN, token, None, 1)) == [SSNS[0]]
    with pytest.raises(BatchRefused, match="token_unknown"):
        ask(built, pinned, DetokenizeItem(SSN, token, None, 2))
    assert left(built, pinned) == 7
    versions = [event["fields"][0].get("key_version") for event in built.events(kind="detokenize")]
    assert versions == [1, 1, None]


def test_tokenize_says_which(built: BuiltCell) -> None:
    column = built.run(tokenize, TokenizeBody(field=SSN, values=[SSNS[0]]))
    assert isinstance(column, ColumnAnswer)
    assert column.key_version == 1
    body = TokenizeBody(
        items=[TokenizeItem(SSN, SSNS[0]), TokenizeItem(NAME, "Ada"), TokenizeItem(NAME, None)]
    )
    made = built.run(tokenize, body)
    assert isinstance(made, ItemsAnswer)
    assert [item.key_version for item in made.items] == [1, None, None]
    assert made.items[2].token is None
