"""Keyed grants from a program: created over HTTP, used and handed on with the client, on a served cell.

The how-to page's blocks run as they stand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.service import Service, running
from vault.client.grants import AsyncKeyedGrant, KeyedGrant
from vault.client.keys import Holder, Worker
from vault.errors import CoatcheckError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-a-keyed-grant.md"
NAME, NOTE, TEXT, SSN = "customer.name", "customer.note", "conversation.text", "customer.ssn"
ADA, GRACE = "Ada Lovelace", "Grace Hopper"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("keyed") / "deployment") as made:
        yield made


@pytest.fixture(scope="module")
def tokens(service: Service) -> list[str]:
    body = {"field": NAME, "values": [ADA, GRACE], "subjects": ["cust-1", "cust-2"]}
    answer = service.call("POST", "tokenize", body)
    assert answer.status == 200, answer.body
    return list(answer.json()["tokens"])


def create(service: Service, holder: Holder, worker: Worker | None = None, **more: Any) -> Any:
    """A keyed grant over the fields, created by the service principal."""
    deliveries = ["plain", "sealed"] if worker else ["plain"]
    scope = [
        {"fields": [field], "operations": ["reveal", "mask"][: 1 + (field == NAME)], "delivery": deliveries}
        for field in more.pop("fields", [NAME])
    ]
    body = {
        "agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": more.pop("uses", 20)},
        "bind": {"cnf": {"jkt": holder.thumbprint}}, "delegation": {"depth": 2, "ttl_max_s": 300}, **more,
    }  # fmt: skip
    if worker is not None:
        body["seal_to"] = worker.jwk
    answer = service.call("POST", "grants", body)
    assert answer.status == 201, answer.body
    return answer.json()


def refused(code: str, work: Callable[[], Any]) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as found:
        work()
    assert found.value.code == code
    shown = f"{found.value!r} {found.value} {found.value.facts}"
    assert not any(value in shown for value in (ADA, GRACE))
    return found.value


def test_plain_and_sealed(service: Service, tokens: list[str]) -> None:
    holder, worker = Holder.new(), Worker.new()
    made = create(service, holder, worker)
    assert made.get("credential") is None
    keys = [made["delivery_key"]]
    with KeyedGrant(service.url, "eu", made["id"], holder, worker=worker, delivery_keys=keys) as grant:
        sealed = grant.reveal(NAME, [*tokens, None], purpose="support", subjects=["cust-1", None, None])
        assert (sealed.values, sealed.sealed, sealed.uses_left) == ((ADA, GRACE, None), True, 18)
        plain = grant.reveal(NAME, tokens, purpose="support", sealed=False)
        assert (plain.values, plain.sealed, plain.uses_left) == ((ADA, GRACE), False, 16)
        masked = grant.mask(NAME, tokens, "initial", purpose="support")
        assert (masked.values, masked.sealed) == (("A.", "G."), True)
        reported = grant.reveal(NAME, ["tok_" + "a" * 26, tokens[0]], purpose="support", report=True)
        assert (reported.values, reported.refused) == ((None, ADA), {0: "token_unknown"})
        for shown in (sealed, plain, masked, reported):
            assert ADA not in repr(shown) + str(shown) + repr([shown])
        error = refused("token_unknown", lambda: grant.reveal(NAME, ["tok_" + "a" * 26], purpose="support"))
        assert error.facts["errors"] == [{"index": 0, "code": "token_unknown"}]
        refused("purpose_mismatch", lambda: grant.reveal(NAME, tokens, purpose="files"))
        refused("scope_denied", lambda: grant.reveal(NOTE, tokens, purpose="support"))
    other = [Holder.new().public]  # another cell's key: nothing is opened that this one signed
    with KeyedGrant(service.url, "eu", made["id"], holder, worker=worker, delivery_keys=other) as pinned:
        refused("ciphertext_invalid", lambda: pinned.reveal(NAME, tokens, purpose="support"))
    thief = KeyedGrant(service.url, "eu", made["id"], Holder.new())
    refused("proof_invalid", lambda: thief.reveal(NAME, tokens, purpose="support"))
    thief.close()
    assert ADA not in service.log()


def test_two_hops(service: Service, tokens: list[str], tmp_path: Path) -> None:
    holder, worker = Holder.new(), Worker.new()
    made = create(service, holder, worker, fields=[NAME, NOTE])
    sealing: dict[str, Any] = {"worker": worker, "delivery_keys": [made["delivery_key"]]}
    elsewhere = Holder.new()
    elsewhere.save(tmp_path / "delegate.pem")
    with KeyedGrant(service.url, "eu", made["id"], holder, **sealing) as grant:
        with grant.delegate(fields=[NAME], uses=3) as first:
            assert first.reveal(NAME, tokens, purpose="support").values == (ADA, GRACE)
            refused("scope_denied", lambda: first.reveal(NOTE, tokens[:1], purpose="support"))
            refused("budget_exhausted", lambda: first.reveal(NAME, tokens, purpose="support"))
        second = grant.delegate(fields=[NAME])
        chain = second.delegate(elsewhere.thumbprint, mask="initial", ttl_s=60)
        assert grant.reveal(NAME, tokens[:1], purpose="support").values == (ADA,)
    key = Holder.load(tmp_path / "delegate.pem")  # as in another process
    with KeyedGrant(service.url, "eu", made["id"], key, chain=chain, **sealing) as third:
        assert third.mask(NAME, tokens, "initial", purpose="support").values == ("A.", "G.")
        refused("scope_denied", lambda: third.reveal(NAME, tokens, purpose="support"))
        deeper = third.delegate()
        refused("delegation_denied", lambda: deeper.mask(NAME, tokens, "initial", purpose="support"))


def test_ciphertexts_and_vaultless_tokens(service: Service) -> None:
    items = [{"field": TEXT, "value": ADA, "subject": "cust-1", "record": "row 7"}]
    made = service.call("POST", "encrypt", {"items": items})
    assert made.status == 200, made.body
    ciphertext = made.json()["items"][0]["ciphertext"]
    column = service.call("POST", "tokenize", {"field": SSN, "values": ["123-45-6789"]}).json()
    holder = Holder.new()
    grant = KeyedGrant(service.url, "eu", create(service, holder, fields=[TEXT, SSN])["id"], holder)
    with grant:
        shown = grant.decrypt(TEXT, [ciphertext, None], purpose="support", records=["row 7", None])
        assert shown.values == (ADA, None)
        opened = grant.reveal(SSN, column["tokens"], purpose="support", key_version=column["key_version"])
        assert opened.values == ("123-45-6789",)


def test_a_request_that_is_repeated_is_charged_once(service: Service, tokens: list[str]) -> None:
    """The first answer is lost behind the service; the client asks again under the same key."""
    holder, worker = Holder.new(), Worker.new()
    made = create(service, holder, worker)

    class Losing(httpx.HTTPTransport):
        sent = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            response.read()
            Losing.sent += 1
            if Losing.sent == 1:
                raise httpx.ReadError("lost")
            return response

    with httpx.Client(transport=Losing()) as http:
        sealing: dict[str, Any] = {"worker": worker, "delivery_keys": [made["delivery_key"]]}
        grant = KeyedGrant(service.url, "eu", made["id"], holder, http=http, pause=lambda _: None, **sealing)

        def ask(key: str) -> Any:
            return grant.reveal(NAME, tokens, purpose="support", idempotency_key=key)

        refused("values_not_kept", lambda: ask("first"))
        assert Losing.sent == 2
        assert ask("second").uses_left == 16  # both of the first, and both of this


def test_async_once(service: Service, tokens: list[str]) -> None:
    holder, worker = Holder.new(), Worker.new()
    made = create(service, holder, worker)
    keys = [made["delivery_key"]]

    async def work() -> None:
        async with AsyncKeyedGrant(
            service.url, "eu", made["id"], holder, worker=worker, delivery_keys=keys
        ) as grant:
            several = [grant.reveal(NAME, [token], purpose="support") for token in tokens]
            assert [shown.values for shown in await asyncio.gather(*several)] == [(ADA,), (GRACE,)]
            async with grant.delegate(operations=["mask"]) as less:
                masked = await less.mask(NAME, tokens, "initial", purpose="support")
                assert (masked.values, masked.uses_left) == (("A.", "G."), 16)
            with pytest.raises(CoatcheckError) as found:
                await grant.reveal(NOTE, tokens, purpose="support")
            assert found.value.code == "scope_denied"

    asyncio.run(work())


def test_the_page_works_as_it_stands(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    monkeypatch.chdir(tmp_path)
    (tmp_path / "var").symlink_to(service.folder)  # as `make run` makes it in the checkout
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8700", service.url), str(PAGE), "exec"), names)
    assert names["shown"].values == (ADA, GRACE)
    assert names["masked"].values == ("A.", "G.")
    assert names["seen"] == ("Ada Lovelace",)
