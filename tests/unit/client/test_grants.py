"""Keyed grants: what is sent, what is believed of an answer, and what is sent again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.nursery import ROOT
from vault.client.exchange import Patience
from vault.client.grants import AsyncKeyedGrant, KeyedGrant
from vault.client.keys import Holder, Worker
from vault.client.uses import base_url
from vault.clock import SECOND, FixedClock
from vault.codes import CODES
from vault.crypto import hpke
from vault.crypto.base64url import digest, encode
from vault.crypto.delivery import info, signed_bytes
from vault.crypto.signing import Signer, keypair
from vault.crypto.statements import BLOCK, JOINT, PROOF
from vault.errors import CoatcheckError, Conflict, IntegrityError, Unavailable

GRANT = "gr_01KARF3GPKFS7RMPVCFP79Z85H"
DECISION = "dec_01KARF3GPKFS7RMPVCFP79Z85K"
NAME = "customer.name"
TOKEN, OTHER = "tok_" + "a" * 26, "tok_" + "b" * 26
ADA, GRACE = "Ada Lovelace", "Grace Hopper"
NOW = 1_795_442_400 * SECOND
CELL = Signer(keypair()[0])
Handler = Callable[[httpx.Request], httpx.Response]


class Cell:
    """Answers what it is told to, in turn, the last again and again; and remembers what was asked."""

    def __init__(self, *answers: Handler | httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return answer(request)

    def grant(self, holder: Holder | None = None, **more: Any) -> KeyedGrant:
        http = httpx.Client(transport=httpx.MockTransport(self))
        more = {"http": http, "pause": self.pauses.append, "clock": FixedClock(NOW), **more}
        return KeyedGrant("https://vault.example", "eu", GRANT, holder or Holder.new(), **more)

    def jtis(self) -> list[str]:
        return [PROOF.parse(request.headers["dpop"]).claims.jti for request in self.requests]


def told(*values: Any, **more: Any) -> httpx.Response:
    answer = {"decision": DECISION, "grant": {"id": GRANT, "uses_left": 3}, "values": list(values), **more}
    return httpx.Response(200, json=answer)


def problem(code: str, status: int | None = None, **facts: Any) -> httpx.Response:
    status = status or CODES[code].status
    headers = {"retry-after": str(facts.get("retry_after", 1))} if status in (423, 429, 503) else {}
    return httpx.Response(status, headers=headers, json={"code": code, "status": status, **facts})


def sealing(worker: Worker, signer: Signer = CELL, **lies: Any) -> Handler:
    """A cell that seals values to a worker; lies change what it says."""

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        jti = PROOF.parse(request.headers["dpop"]).claims.jti
        says = {"cell": "eu", "grant": GRANT, "challenge": body.get("challenge", ""), "decision": DECISION}
        says |= {name: lies[name] for name in says if name in lies}
        values = lies.get("values", [ADA, GRACE][: len(body["tokens"])])
        items = [
            {"field": body["field"], "of": token or "", "value": value}
            for token, value in zip(lies.get("tokens", body["tokens"]), values, strict=True)
        ]
        plaintext = {"decision": DECISION, "jti": jti, "items": lies.get("items", items)} | lies.get("in", {})
        enc_ct = hpke.seal(
            lies.get("to", worker.public),
            info(hpke.SUITE, GRANT, lies.get("jti", jti)),
            json.dumps(plaintext).encode(),
        )
        signed = signed_bytes(**says, suite=hpke.SUITE, kid=worker.thumbprint, enc_ct=enc_ct)
        sealed = {"suite": hpke.SUITE, "kid": worker.thumbprint, "enc_ct": encode(enc_ct)}
        sealed["sig"] = encode(signer.sign(signed))
        answer = {
            "decision": lies.get("answered", DECISION),
            "grant": {"id": GRANT, "uses_left": 3},
            "items": [{"status": "sealed"}] * len(body["tokens"]),
            "sealed": sealed,
        }
        return httpx.Response(200, json=answer)

    return handle


def refused(code: str, work: Callable[[], Any]) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as found:
        work()
    assert found.value.code == code
    assert ADA not in repr(found.value) + str(found.value) + repr(found.value.facts)
    return found.value


def reveal(grant: KeyedGrant, *tokens: str | None, **more: Any) -> Any:
    return grant.reveal(NAME, tokens or [TOKEN], purpose="support", **more)


class TestRequests:
    def test_it_has_a_proof_of_itself(self) -> None:
        cell, holder = Cell(told(ADA, None)), Holder.new()
        shown = reveal(cell.grant(holder), TOKEN, None, key_version=2, conversation="c", subjects=["p", None])
        assert (shown.values, shown.uses_left, shown.decision) == ((ADA, None), 3, DECISION)
        assert (shown.refused, shown.sealed) == ({}, False)
        request = cell.requests[0]
        signed = PROOF.parse(request.headers["dpop"])
        assert signed.jkt == holder.thumbprint
        claims = signed.claims
        assert (claims.htm, claims.htu) == ("POST", "https://vault.example/v1/eu/detokenize")
        assert (claims.gid, claims.bdh) == (GRANT, digest(request.content))
        assert claims.iat == NOW // SECOND
        assert request.headers["authorization"] == f"Grant {GRANT}"
        assert "coatcheck-chain" not in request.headers
        assert json.loads(request.content) == {
            "field": NAME, "tokens": [TOKEN, None], "operation": "reveal", "subjects": ["p", None],
            "key_version": 2, "purpose": "support", "conversation": "c",
        }  # fmt: skip

    def test_the_other_operations(self) -> None:
        cell = Cell(
            told("A."),
            told(True),
            told(items=[{"value": ADA}], values=None),
            told(match=False, attempts_left=2),
        )
        grant = cell.grant()
        assert grant.mask(NAME, [TOKEN], "initial", purpose="p").values == ("A.",)
        assert grant.derive(NAME, [TOKEN], "age_at_least", 18, purpose="p").values == (True,)
        ciphertext = grant.decrypt("text", ["ve1.A"], purpose="p", records=["row 7"], subjects=["cust-1"])
        assert ciphertext.values == (ADA,)
        verified = grant.verify(NAME, TOKEN, ADA, purpose="p", subject="cust-1", task="t")
        assert (verified.match, verified.attempts_left, verified.uses_left) == (False, 2, 3)
        bodies = [json.loads(request.content) for request in cell.requests]
        assert (bodies[0]["operation"], bodies[0]["mask"]) == ("mask", "initial")
        assert bodies[1]["derive"] == {"fn": "age_at_least", "arg": 18}
        assert bodies[2]["items"] == [
            {"field": "text", "ciphertext": "ve1.A", "subject": "cust-1", "record": "row 7"}
        ]
        assert bodies[3]["candidate"] == ADA
        assert [request.url.path for request in cell.requests] == [
            "/v1/eu/detokenize", "/v1/eu/detokenize", "/v1/eu/decrypt", "/v1/eu/verify",
        ]  # fmt: skip

    def test_what_cannot_be_asked_is_not_sent(self) -> None:
        cell = Cell(told())
        grant = cell.grant()
        refused("items_mismatch", lambda: reveal(grant, TOKEN, subjects=["a", "b"]))
        refused("items_mismatch", lambda: grant.decrypt("text", ["ve1.A"], purpose="p", records=[]))
        refused("parameter_invalid", lambda: grant.reveal(NAME, TOKEN, purpose="p"))
        refused("parameter_invalid", lambda: reveal(grant, sealed=True))
        refused("parameter_invalid", lambda: reveal(grant, idempotency_key=" a"))
        assert cell.requests == []

    def test_it_goes_nowhere_else(self) -> None:
        cell = Cell(httpx.Response(307, headers={"location": "https://elsewhere.example/"}))
        http = httpx.Client(transport=httpx.MockTransport(cell), follow_redirects=True)
        refused("service_unreachable", lambda: reveal(cell.grant(http=http)))
        assert len(cell.requests) == 1

    @pytest.mark.parametrize(
        ("url", "base"),
        [
            ("HTTPS://Vault.Example:443/", "https://vault.example/v1/e%C3%BC/"),
            ("http://127.0.0.1:8700/below", "http://127.0.0.1:8700/below/v1/e%C3%BC/"),
        ],
    )
    def test_a_proof_names_the_url_that_is_asked(self, url: str, base: str) -> None:
        assert base_url(url, "eü") == base
        assert str(httpx.URL(base)) == base

    @pytest.mark.parametrize(
        "url", ["", "x", "ftp://a", "https://", "https://u:p@a", "https://a?b", "http://["]
    )
    def test_an_address_that_is_none(self, url: str) -> None:
        refused("parameter_invalid", lambda: KeyedGrant(url, "eu", GRANT, Holder.new()))

    @pytest.mark.parametrize("grant", ["", "gr_", GRANT[:-1], GRANT.lower(), "cg" + GRANT[2:], GRANT + "\n"])
    def test_an_id_that_is_none(self, grant: str) -> None:
        refused("parameter_invalid", lambda: KeyedGrant("https://a", "eu", grant, Holder.new()))


class TestSealedAnswers:
    worker = Worker.new()

    def ask(self, handler: Handler | httpx.Response, *tokens: str | None, **more: Any) -> Any:
        keys = more.pop("keys", [CELL.public])
        return reveal(Cell(handler).grant(worker=self.worker, delivery_keys=keys), *tokens, **more)

    def test_an_answer_of_the_cell_is_opened(self) -> None:
        shown = self.ask(sealing(self.worker), TOKEN, OTHER)
        assert (shown.values, shown.sealed, shown.uses_left) == ((ADA, GRACE), True, 3)
        assert self.ask(sealing(self.worker, values=[None, ADA]), None, TOKEN).values == (None, ADA)

    def test_each_request_has_a_challenge_of_its_own(self) -> None:
        cell = Cell(sealing(self.worker))
        grant = cell.grant(worker=self.worker, delivery_keys=[CELL.public])
        reveal(grant)
        reveal(grant)
        challenges = {json.loads(request.content)["challenge"] for request in cell.requests}
        assert len(challenges) == len(set(cell.jtis())) == 2

    def test_one_of_several_pinned_keys(self) -> None:
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(CELL.public)}
        for keys in ([keypair()[1], jwk], [encode(CELL.public), keypair()[1]]):
            assert self.ask(sealing(self.worker), keys=keys).values == (ADA,)
        self.refused(sealing(self.worker), keys=[keypair()[1]])

    def refused(self, handler: Handler | httpx.Response, *tokens: str | None, **more: Any) -> None:
        error = refused("ciphertext_invalid", lambda: self.ask(handler, *tokens, **more))
        assert isinstance(error, IntegrityError)
        assert error.facts == {}

    def test_what_another_planted_is_refused(self) -> None:
        """Whoever knows `seal_to` can seal a value to it; only the cell signs."""
        self.refused(sealing(self.worker, signer=Signer(keypair()[0])))

    @pytest.mark.parametrize(
        "lies",
        [
            {"cell": "us"},
            {"grant": GRANT[:-1] + "G"},
            {"challenge": "n" * 43},
            {"answered": DECISION[:-1] + "G"},
            {"decision": DECISION[:-1] + "G"},
            {"jti": "j" * 43},
            {"in": {"jti": "j" * 43}},
            {"in": {"decision": DECISION[:-1] + "G"}},
            {"tokens": [OTHER, TOKEN]},
            {"tokens": [TOKEN, TOKEN]},
            {"items": []},
            {"items": [{"field": NAME, "of": TOKEN, "value": ADA}]},
            {"items": [{"field": NAME, "of": TOKEN, "value": ADA, "subject": "p"}] * 2},
            {"items": [{"field": "customer.note", "of": one, "value": ADA} for one in (TOKEN, OTHER)]},
            {"items": [{"field": NAME, "of": one} for one in (TOKEN, OTHER)]},
            {"items": [{"field": NAME, "of": one, "value": ADA, "code": "erased"} for one in (TOKEN, OTHER)]},
            {"items": [{"field": NAME, "of": one, "code": "erased"} for one in (TOKEN, OTHER)]},
            {"items": "none"},
            {"values": [ADA, None]},
            {"values": [ADA, True]},
            {"to": Worker.new().public},
        ],
    )
    def test_an_answer_to_something_else_is_refused(self, lies: dict[str, Any]) -> None:
        self.refused(sealing(self.worker, **lies), TOKEN, OTHER)

    def test_a_plain_answer_is_none(self) -> None:
        self.refused(told(ADA))
        self.refused(told(items=[{"value": ADA}], values=None))

    def test_an_answer_of_before_is_refused(self) -> None:
        kept: list[httpx.Response] = []

        def replay(request: httpx.Request) -> httpx.Response:
            kept.append(sealing(self.worker)(request))
            return kept[0]

        grant = Cell(replay).grant(worker=self.worker, delivery_keys=[CELL.public])
        assert reveal(grant).values == (ADA,)
        refused("ciphertext_invalid", lambda: reveal(grant))

    def test_refused_tokens_are_told_in_their_places(self) -> None:
        items = [{"field": NAME, "of": TOKEN, "code": "erased"}, {"field": NAME, "of": OTHER, "value": GRACE}]
        shown = self.ask(sealing(self.worker, items=items), TOKEN, OTHER, report=True)
        assert (shown.values, shown.refused) == ((None, GRACE), {0: "erased"})

    def test_keys_go_together(self) -> None:
        refused("parameter_invalid", lambda: Cell(told()).grant(worker=self.worker))
        refused("parameter_invalid", lambda: Cell(told()).grant(delivery_keys=[CELL.public]))

    @pytest.mark.parametrize(
        "key",
        [b"", "A", "!" * 43, {"kty": "OKP", "crv": "X25519", "x": encode(CELL.public)}, {}, 7, None],
    )
    def test_a_delivery_key_that_is_none(self, key: Any) -> None:
        refused("parameter_invalid", lambda: Cell(told()).grant(worker=self.worker, delivery_keys=[key]))


class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        "answer",
        [
            {},
            [],
            None,
            "text",
            {"decision": DECISION},
            {"decision": DECISION, "grant": {"uses_left": 3}},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": []},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": [ADA, ADA]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": [None]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": [7]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": [True]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "values": [{"error": {"code": "erased"}}]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "items": [{}]},
            {"decision": DECISION, "grant": {"uses_left": 3}, "items": [{"status": "sealed"}]},
            {"decision": DECISION, "values": [ADA]},
            {"grant": {"uses_left": 3}, "values": [ADA]},
        ],
    )
    def test_nothing_is_believed(self, answer: Any) -> None:
        error = refused("service_unreachable", lambda: reveal(Cell(httpx.Response(200, json=answer)).grant()))
        assert isinstance(error, Unavailable)

    def test_a_code_that_nobody_knows(self) -> None:
        values = told({"error": {"code": ADA}})
        refused("service_unreachable", lambda: reveal(Cell(values).grant(), report=True))
        shown = reveal(Cell(told({"error": {"code": "erased"}})).grant(), report=True)
        assert (shown.values, shown.refused) == ((None,), {0: "erased"})


class TestSendingAgain:
    def count(self, *answers: Any, **more: Any) -> tuple[Cell, Any]:
        cell = Cell(*answers)
        grant = cell.grant(**({"patience": more.pop("patience")} if "patience" in more else {}))
        try:
            return cell, reveal(grant, **more)
        except CoatcheckError as error:
            return cell, error

    @pytest.mark.parametrize(
        "failure",
        [
            httpx.ConnectError("x"),
            httpx.ConnectTimeout("x"),
            httpx.PoolTimeout("x"),
            problem("too_busy"),
            problem("database_unavailable", retry_after=2),
            problem("rate_limited", retry_after=7, decision=DECISION),
        ],
    )
    def test_what_was_not_decided_is_sent_again_with_a_new_proof(self, failure: Any) -> None:
        cell, shown = self.count(failure, failure, told(ADA))
        assert shown.values == (ADA,)
        assert len(set(cell.jtis())) == len(cell.requests) == 3
        assert len({request.content for request in cell.requests}) == 1
        least = int(failure.headers["retry-after"]) if isinstance(failure, httpx.Response) else 0.1
        assert len(cell.pauses) == 2
        assert all(least <= pause for pause in cell.pauses)

    @pytest.mark.parametrize(
        "failure",
        [
            httpx.ReadError("x"),
            httpx.ReadTimeout("x"),
            httpx.WriteError("x"),
            httpx.RemoteProtocolError("x"),
            problem("outcome_unknown"),
            problem("key_unavailable", decision=DECISION, uses_left=2),  # charged, and then not opened
            problem("rate_limited", retry_after=720),
            problem("grant_suspended", retry_after=1),
            problem("grant_invalid"),
            problem("proof_expired"),
            problem("budget_exhausted"),
            problem("internal"),
            httpx.Response(503, json={"code": "too_busy"}),
            httpx.Response(503, json={"code": "too_busy"}, headers={"retry-after": "soon"}),
            httpx.Response(502, content=b"<html>", headers={"retry-after": "1"}),
            httpx.Response(200, content=b"{"),
            httpx.UnsupportedProtocol("x"),
        ],
    )
    def test_what_may_have_been_decided_is_not(self, failure: Any) -> None:
        cell, error = self.count(failure, told(ADA))
        assert isinstance(error, CoatcheckError)
        assert (len(cell.requests), cell.pauses) == (1, [])

    @pytest.mark.parametrize(
        "failure", [httpx.ReadError("x"), httpx.RemoteProtocolError("x"), problem("outcome_unknown")]
    )
    def test_under_an_idempotency_key_it_is(self, failure: Any) -> None:
        cell, shown = self.count(failure, told(ADA), idempotency_key="one key")
        assert shown.values == (ADA,)
        assert {request.headers["idempotency-key"] for request in cell.requests} == {"one key"}
        assert len(set(cell.jtis())) == 2

    def test_values_are_not_given_twice(self) -> None:
        again = httpx.Response(200, json={"decision": DECISION, "values": None, "replayed": True})
        _, error = self.count(httpx.ReadError("x"), again, idempotency_key="one key")
        assert isinstance(error, Conflict)
        assert (error.code, error.facts) == ("values_not_kept", {"decision": DECISION})
        verify = Cell(httpx.Response(200, json={"decision": DECISION, "match": None, "replayed": True}))
        refused("values_not_kept", lambda: verify.grant().verify(NAME, TOKEN, ADA, purpose="p"))

    def test_it_ends(self) -> None:
        cell, error = self.count(problem("too_busy"))
        assert (error.code, len(cell.requests), len(cell.pauses)) == ("too_busy", 3, 2)
        cell, error = self.count(httpx.ConnectError("x"), patience=Patience(tries=5))
        assert (error.code, len(cell.requests)) == ("service_unreachable", 5)
        cell, error = self.count(problem("too_busy", retry_after=60))
        assert (error.facts, len(cell.requests)) == ({"retry_after": 60}, 1)

    def test_pauses_differ(self) -> None:
        """Control: without chance in them all of these would be one number."""
        pauses = [tuple(self.count(problem("too_busy"))[0].pauses) for _ in range(20)]
        assert len(set(pauses)) > 1
        assert all(1 <= pause <= 1.5 for both in pauses for pause in both)

    def test_a_sealed_answer_to_the_first_request_is_none_to_the_second(self) -> None:
        worker = Worker.new()
        first: list[httpx.Response] = []

        def lose(request: httpx.Request) -> httpx.Response:
            first.append(sealing(worker)(request))
            raise httpx.ReadError("x")

        def late(request: httpx.Request) -> httpx.Response:
            return first[0]

        grant = Cell(lose, late).grant(worker=worker, delivery_keys=[CELL.public])
        refused("ciphertext_invalid", lambda: reveal(grant, idempotency_key="one key"))


class TestDelegation:
    def test_a_chain_for_a_key_elsewhere(self) -> None:
        cell, delegate = Cell(told(ADA)), Holder.new()
        chain = cell.grant().delegate(delegate.thumbprint, fields=[NAME, NAME], uses=2, ttl_s=60)
        claims = BLOCK.parse(chain).claims
        assert claims.cnf.jkt == delegate.thumbprint
        assert (claims.n.fields, claims.n.uses, claims.n.exp) == ((NAME,), 2, NOW // SECOND + 60)
        assert reveal(cell.grant(delegate, chain=chain)).values == (ADA,)
        sent = cell.requests[0]
        assert sent.headers["coatcheck-chain"] == chain
        signed = PROOF.parse(sent.headers["dpop"])
        assert (signed.jkt, signed.claims.cdh) == (delegate.thumbprint, digest(chain.encode()))

    def test_a_narrower_grant_in_a_context(self) -> None:
        cell = Cell(told(ADA))
        with cell.grant() as grant:
            with grant.delegate(operations=["mask"]) as narrower, narrower.delegate(mask="initial") as third:
                assert third.chain is not None
                assert third.chain.count(JOINT) == 1
                assert (
                    len({grant.holder.thumbprint, narrower.holder.thumbprint, third.holder.thumbprint}) == 3
                )
                reveal(third)
            assert reveal(grant).values == (ADA,)  # its connections are still there
            assert grant.chain is None

    def test_own_connections_are_closed_by_the_grant_alone(self) -> None:
        grant = KeyedGrant("http://127.0.0.1:9", "eu", GRANT, Holder.new())
        grant.delegate().close()
        assert not grant._http.is_closed
        grant.close()
        assert grant._http.is_closed

    @pytest.mark.parametrize(
        "narrower",
        [
            {"fields": NAME},
            {"fields": []},
            {"uses": 0},
            {"mask": ""},
            {"subjects": {"a"}},
            {"ttl_s": -(10**12)},
        ],
    )
    def test_what_a_block_cannot_say(self, narrower: Any) -> None:
        refused("parameter_invalid", lambda: Cell(told()).grant().delegate(**narrower))

    def test_whom_a_block_cannot_name(self) -> None:
        grant = Cell(told()).grant()
        refused("parameter_invalid", lambda: grant.delegate("not a thumbprint"))
        third = grant.delegate().delegate().delegate()
        refused("parameter_invalid", lambda: third.delegate())

    def test_a_chain_of_anothers_is_refused_at_once(self) -> None:
        cell, delegate = Cell(told()), Holder.new()
        chain = cell.grant().delegate(delegate.thumbprint)
        refused("parameter_invalid", lambda: cell.grant(Holder.new(), chain=chain))
        refused("parameter_invalid", lambda: cell.grant(delegate, chain=chain[:-2]))
        refused("parameter_invalid", lambda: cell.grant(delegate, chain=""))
        assert cell.grant(delegate, chain=chain).chain == chain


def test_async_is_the_same() -> None:
    worker = Worker.new()
    cell = Cell(httpx.ConnectError("x"), problem("too_busy"), sealing(worker))
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(cell))
        more: dict[str, Any] = {
            "worker": worker,
            "delivery_keys": [CELL.public],
            "http": http,
            "pause": pause,
        }
        async with AsyncKeyedGrant("https://vault.example", "eu", GRANT, Holder.new(), **more) as grant:
            assert (await grant.reveal(NAME, [TOKEN], purpose="p")).values == (ADA,)
            cell.answers[:] = [told("A."), told(True), told(ADA), told(match=True), problem("grant_invalid")]
            async with grant.delegate(uses=1) as less:
                assert (await less.mask(NAME, [TOKEN], "initial", purpose="p", sealed=False)).values == (
                    "A.",
                )
            derived = await grant.derive(NAME, [TOKEN], "age_at_least", 18, purpose="p", sealed=False)
            assert derived.values == (True,)
            assert (await grant.decrypt("text", ["ve1.A"], purpose="p", sealed=False)).values == (ADA,)
            assert (await grant.verify(NAME, TOKEN, ADA, purpose="p")).match is True
            await_refusal = grant.reveal(NAME, [TOKEN], purpose="p")
            with pytest.raises(CoatcheckError) as found:
                await await_refusal
            assert found.value.code == "grant_invalid"
        await http.aclose()

    asyncio.run(work())
    assert len(pauses) == 2
    assert len(set(cell.jtis())) == 8


def test_both_kinds_do_the_same() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")} - {"close", "aclose"}

    assert verbs(KeyedGrant) == verbs(AsyncKeyedGrant) >= {"reveal", "mask", "derive", "decrypt", "verify"}


def test_nothing_shows_a_value() -> None:
    worker = Worker.new()
    cell = Cell(sealing(worker), told(ADA), told(match=True))
    grant = cell.grant(worker=worker, delivery_keys=[CELL.public])
    things: list[Any] = [grant, reveal(grant), reveal(grant, sealed=False)]
    things += [grant.verify(NAME, TOKEN, ADA, purpose="p"), grant.delegate(), grant._uses]
    for thing in things:
        shown = f"{thing!r} {thing} {[thing]} {thing.__class__.__name__}"
        assert ADA not in shown
        assert TOKEN not in shown
    assert repr(things[1]) == "<Shown>"
    assert things[1].__rich_repr__() == []


def test_it_imports_little(tmp_path: Path) -> None:
    """An agent's process takes no database, server or arrays with it."""
    heavy = {
        "sqlalchemy",
        "litestar",
        "numpy",
        "alembic",
        "uvicorn",
        "hvac",
        "pyarrow",
        "argon2",
        "prometheus_client",
    }
    for module in ("grants", "testing"):
        code = f"import sys, vault.client.{module}; print(*sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        names = {name.partition(".")[0] for name in run.stdout.split()}
        assert "httpx" in names
        assert not names & heavy
