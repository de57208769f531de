"""What a source makes of the other region's answers: it waits, it stops, or it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from vault.crypto import crossing, hpke
from vault.crypto.base64url import decode, encode
from vault.errors import CoatcheckError
from vault.identifiers import new_id
from vault.services import peers
from vault.services.crossing import FORGET, Batch, BatchAnswer, BatchBody, Outcome, Reply
from vault.services.peers import MAX_ANSWER_BYTES, TRIES, Peer

PRIVATE, PUBLIC = hpke.keypair()
TRANSFER = new_id("xfer")
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "FIRST_PAUSE_S", 0.0)


def through(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> list[httpx.Request]:
    """Answers in place of the other region; the requests that came."""
    came: list[httpx.Request] = []
    real = httpx.Client

    def answered(request: httpx.Request) -> httpx.Response:
        came.append(request)
        return handler(request)

    def client(**more: Any) -> httpx.Client:
        assert more.pop("verify") is True
        return real(transport=httpx.MockTransport(answered), **more)

    monkeypatch.setattr(httpx, "Client", client)
    return came


def peer(pinned: bytes | None = PUBLIC) -> Peer:
    return Peer("https://us.example", "us", "eu", lambda: "ck_secret", pinned)


def answer(request: httpx.Request, label: str = "us", number: int = 0) -> httpx.Response:
    """As the target does it."""
    body = msgspec.json.decode(request.content, type=BatchBody)
    bound = crossing.info("eu", "us", body.transfer, body.number)
    batch = msgspec.json.decode(hpke.open_sealed(PRIVATE, bound, decode(body.enc_ct)), type=Batch)
    back = crossing.answer_info("eu", label, body.transfer, number)
    sealed = hpke.seal(decode(batch.reply), back, msgspec.json.encode(Reply([Outcome("00")])))
    return httpx.Response(200, content=msgspec.json.encode(BatchAnswer(encode(sealed))))


def refused(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> tuple[str, int]:
    came = through(monkeypatch, handler)
    with pytest.raises(CoatcheckError) as refusal:
        peer().send(TRANSFER, 0, step=FORGET, tenant="main")
    assert "ck_secret" not in str(refusal.value)
    assert refusal.value.facts == {}
    return refusal.value.code, len(came)


def test_an_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    came = through(monkeypatch, answer)
    assert peer().send(TRANSFER, 0, step=FORGET, tenant="main") == [Outcome("00")]
    assert str(came[0].url) == "https://us.example/v1/us/arrivals"
    assert repr(peer()) == "<Peer>"


def test_the_key_is_asked_for_where_none_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("intake-key"):
            return httpx.Response(200, json={"kty": "OKP", "x": encode(PUBLIC)})
        return answer(request)

    came = through(monkeypatch, handler)
    assert peer(None).send(TRANSFER, 0, step=FORGET, tenant="main") == [Outcome("00")]
    assert len(came) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 302, 204])
def test_trouble_is_tried_again_and_then_waited_for(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    assert refused(monkeypatch, lambda _: httpx.Response(status)) == ("region_unavailable", TRIES)


def test_a_network_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away", request=request)

    assert refused(monkeypatch, away) == ("region_unavailable", TRIES)


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    large = b"0" * (MAX_ANSWER_BYTES + 1)
    assert refused(monkeypatch, lambda _: httpx.Response(200, content=large))[0] == "region_unavailable"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, {"code": "permission_denied", "decision": "dec_1"}, "permission_denied"),
        (401, {"code": "credential_invalid"}, "credential_invalid"),
        (422, {"code": "sealed_invalid"}, "sealed_invalid"),
        (404, {"code": "made_up"}, "region_refused"),
        (400, ["x"], "region_refused"),
        (403, {"code": "internal"}, "region_refused"),
        (403, {"code": 5}, "region_refused"),
    ],
)
def test_a_refusal_is_final(monkeypatch: pytest.MonkeyPatch, status: int, body: Any, code: str) -> None:
    assert refused(monkeypatch, lambda _: httpx.Response(status, json=body)) == (code, 1)


def test_a_conflict_of_theirs_is_none_of_the_job_s(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"code": "version_conflict"}
    assert refused(monkeypatch, lambda _: httpx.Response(409, json=body))[0] == "region_unavailable"


@pytest.mark.parametrize(
    "handler",
    [
        lambda request: answer(request, label="ap"),
        lambda request: answer(request, number=1),
        lambda _: httpx.Response(200, json={"enc_ct": "AAAA"}),
        lambda _: httpx.Response(200, json={"values": []}),
        lambda _: httpx.Response(200, content=b"{"),
    ],
)
def test_an_answer_by_another_is_none(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> None:
    assert refused(monkeypatch, handler) == ("ciphertext_invalid", 1)
