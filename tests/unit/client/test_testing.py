"""The fake for users' own tests answers as a cell does, as far as it says it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from vault.client.grants import KeyedGrant
from vault.client.keys import Holder, Worker
from vault.client.testing import REGION, URL, FakeVault
from vault.clock import SECOND, FixedClock
from vault.errors import CoatcheckError

NAME, NOTE = "customer.name", "customer.note"
ADA = "Ada Lovelace"
NOW = 1_795_442_400 * SECOND


@pytest.fixture
def fake() -> FakeVault:
    values = {NAME: {"tok_1": ADA, "tok_2": "Grace Hopper"}, NOTE: {"tok_1": "a note", "ve1.A": "a text"}}
    masks = {"initial": lambda value: value[0] + "."}
    return FakeVault(values, masks=masks, derived={"longer": lambda value, arg: len(value) > (arg or 0)})


def refused(code: str, work: Callable[[], Any], **facts: Any) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as found:
        work()
    assert found.value.code == code
    assert {name: found.value.facts.get(name) for name in facts} == facts
    return found.value


def given(fake: FakeVault, **more: Any) -> Any:
    return fake.grant(purpose="support", fields=[NAME], **more)


def ask(grant: Any, *tokens: str | None, purpose: str = "support", **more: Any) -> Any:
    return grant.reveal(NAME, tokens or ["tok_1"], purpose=purpose, **more)


def test_values_masks_and_the_rest(fake: FakeVault) -> None:
    operations = ["reveal", "mask", "derive", "verify"]
    grant = fake.grant(purpose="support", fields=[NAME, NOTE], operations=operations)
    shown = ask(grant, "tok_2", None, "tok_1")
    assert (shown.values, shown.uses_left) == (("Grace Hopper", None, ADA), 8)
    assert grant.mask(NAME, ["tok_1"], "initial", purpose="support").values == ("A.",)
    assert grant.derive(NAME, ["tok_1"], "longer", 100, purpose="support").values == (False,)
    assert grant.verify(NAME, "tok_1", ADA, purpose="support").match is True
    assert grant.verify(NAME, "tok_1", "Eve", purpose="support").match is False
    assert grant.decrypt(NOTE, ["ve1.A"], purpose="support").values == ("a text",)
    refused("operation_unsupported", lambda: grant.mask(NAME, ["tok_1"], "other", purpose="support"))
    assert fake.asked[0] == ("detokenize", None)
    assert ADA not in repr(fake) + repr(fake.asked)


def test_two_tokens_are_compared(fake: FakeVault) -> None:
    grant = fake.grant(purpose="support", fields=[NAME], operations=["derive"])
    assert grant.derive(NAME, ["tok_1", "tok_1"], "equals", purpose="support").values == (True, True)
    assert grant.derive(NAME, ["tok_1", "tok_2"], "equals", purpose="support").values == (False, False)
    for some in (["tok_1"], ["tok_1", None], ["tok_1", "tok_2", "tok_1"]):
        refused("pair_required", lambda some=some: grant.derive(NAME, some, "equals", purpose="support"))  # type: ignore[misc]
    assert grant.derive(NAME, ["tok_1", "tok_2"], "equals", purpose="support").uses_left == 4


def test_sealed_answers(fake: FakeVault) -> None:
    grant = given(fake, worker=Worker.new())
    shown = ask(grant, "tok_1", None, "tok_9", subjects=["p", None, None], report=True)
    assert (shown.values, shown.refused, shown.sealed) == ((ADA, None, None), {2: "token_unknown"}, True)
    refused("scope_denied", lambda: ask(grant, sealed=False), member="delivery")


def test_refusals(fake: FakeVault) -> None:
    grant = given(fake, uses=4)
    error = refused("token_unknown", lambda: ask(grant, "tok_1", "tok_9"), uses_left=2)
    assert error.facts["errors"] == [{"index": 1, "code": "token_unknown"}]
    refused("purpose_mismatch", lambda: ask(grant, purpose="other"))
    refused("scope_denied", lambda: grant.reveal(NOTE, ["tok_1"], purpose="support"), member="field")
    refused("budget_exhausted", lambda: ask(grant))
    assert [code for _, code in fake.asked][-1] == "budget_exhausted"
    other = given(fake)
    refused(
        "scope_denied", lambda: other.mask(NAME, ["tok_1"], "initial", purpose="support"), member="operation"
    )
    fake.refuse_next("grant_suspended", retry_after=60)
    refused("grant_suspended", lambda: ask(other), retry_after=60)
    fake.revoke(other.id)
    refused("grant_invalid", lambda: ask(other))


def test_it_refuses_once_and_is_asked_again(fake: FakeVault) -> None:
    fake.refuse_next("too_busy")
    assert ask(given(fake)).values == (ADA,)
    assert fake.asked == [("detokenize", "too_busy"), ("detokenize", None)]


def test_idempotency(fake: FakeVault) -> None:
    grant = given(fake, uses=2)
    assert ask(grant, idempotency_key="a").uses_left == 1
    refused("values_not_kept", lambda: ask(grant, idempotency_key="a"))
    refused("idempotency_conflict", lambda: ask(grant, "tok_2", idempotency_key="a"))
    assert ask(grant, idempotency_key="b").uses_left == 0


def test_delegation(fake: FakeVault) -> None:
    operations = ["reveal", "mask"]
    grant = fake.grant(purpose="support", fields=[NAME, NOTE], operations=operations, depth=2)
    with grant.delegate(fields=[NAME], uses=1) as less:
        assert ask(less).values == (ADA,)
        refused("budget_exhausted", lambda: ask(less))
        refused("budget_exhausted", lambda: ask(less.delegate()))
        refused("scope_denied", lambda: less.delegate().mask(NOTE, [None], "initial", purpose="support"))
        refused("delegation_denied", lambda: ask(less.delegate(fields=[NOTE])), member="fields")
    masked = grant.delegate(mask="initial")
    assert masked.mask(NAME, ["tok_1"], "initial", purpose="support").values == ("A.",)
    refused("scope_denied", lambda: ask(masked), member="operation")
    refused("delegation_denied", lambda: ask(grant.delegate().delegate().delegate()), member="depth")
    with pytest.raises(NotImplementedError):
        ask(grant.delegate(subjects=["cust-1"]))


def test_a_stolen_grant_is_worth_nothing(fake: FakeVault) -> None:
    grant = given(fake, depth=1)
    http = httpx.Client(transport=fake.transport)
    thief = KeyedGrant(URL, REGION, grant.id, Holder.new(), http=http)
    refused("proof_invalid", lambda: ask(thief))
    refused("delegation_denied", lambda: ask(thief.delegate()))
    assert ask(KeyedGrant(URL, REGION, grant.id, grant.holder, http=http)).values == (ADA,)
    late = KeyedGrant(URL, REGION, grant.id, grant.holder, http=http, clock=FixedClock(NOW))
    refused("proof_expired", lambda: ask(late))


def test_a_delegation_ends() -> None:
    clock = FixedClock(NOW)
    fake = FakeVault({NAME: {"tok_1": ADA}}, clock=clock)
    made = given(fake, depth=1)
    grant = KeyedGrant(
        URL, REGION, made.id, made.holder, http=httpx.Client(transport=fake.transport), clock=clock
    )
    less = grant.delegate(ttl_s=10)
    assert ask(less).values == (ADA,)
    clock.advance(10 * SECOND)
    refused("grant_invalid", lambda: ask(less))
    assert ask(grant).values == (ADA,)


def test_async(fake: FakeVault) -> None:
    async def work() -> None:
        fake.refuse_next("too_busy")
        grant = fake.async_grant(purpose="support", fields=[NAME], worker=Worker.new())
        assert (await grant.reveal(NAME, ["tok_1"], purpose="support")).values == (ADA,)

    asyncio.run(work())


def test_the_example_of_its_page_holds() -> None:
    vault = FakeVault({NAME: {"tok_1": ADA}}, masks={"initial": lambda name: name[0] + "."})
    with vault.grant(purpose="support", fields=[NAME], uses=2) as grant:
        assert grant.reveal(NAME, ["tok_1"], purpose="support").values == (ADA,)
