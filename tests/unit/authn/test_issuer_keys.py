"""The keys of an issuer at its address: what is no JWK Set, or does not come in time, is refused."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from vault.authn import issuers
from vault.authn.issuers import Issuer, keys_in, of_address
from vault.crypto.base64url import encode
from vault.crypto.jose import published_jwk, sign
from vault.crypto.signing import Signer, keypair, thumbprint
from vault.errors import BadInput

SET = b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}'
WHERE = "https://login.example/keys"


class Slow(httpx.SyncByteStream):
    """A body that comes in pieces."""

    def __iter__(self) -> Iterator[bytes]:
        yield from (SET[:9], SET[9:])


def answered(status: int, body: bytes | httpx.SyncByteStream) -> httpx.MockTransport:
    content = {"content": body} if isinstance(body, bytes) else {"stream": body}
    return httpx.MockTransport(lambda _: httpx.Response(status, **content))


def test_a_set_is_fetched_and_read() -> None:
    assert list(keys_in(of_address(WHERE, transport=answered(200, SET))())) == ["a"]
    assert list(keys_in(of_address(WHERE, transport=answered(200, Slow()))())) == ["a"]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"\xff", b"[" * 200_000, b'{"keys":' * 60_000])
def test_what_is_no_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):
        keys_in(document)


@pytest.mark.parametrize("transport", [answered(404, SET), answered(200, b"x" * (issuers.MAX_DOCUMENT + 1))])
def test_what_is_not_there_or_too_large_is_refused(transport: httpx.MockTransport) -> None:
    with pytest.raises(ValueError):
        of_address(WHERE, transport=transport)()


def test_what_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time, and all of it does not."""
    ticks = itertools.count(0.0, issuers.TIMEOUT_S * 0.9)
    monkeypatch.setattr("vault.authn.issuers.time.monotonic", lambda: next(ticks))
    with pytest.raises(ValueError, match="too slow"):
        of_address(WHERE, transport=answered(200, Slow()))()


@pytest.mark.parametrize(
    "header", [b'{"alg":"EdDSA","kid":["a"]}', b'{"alg":"EdDSA","kid":{}}', b'{"kid":1}', b"[" * 9_000]
)
def test_a_token_that_names_its_key_by_no_text_is_refused(header: bytes) -> None:
    """And the issuer is not asked for it."""
    asked: list[int] = []

    def keys() -> bytes:
        asked.append(1)
        return SET

    issuer = Issuer("login", "https://login.example", "coatcheck", {}, True, keys)
    with pytest.raises(BadInput, match="assertion_invalid"):
        issuer.check(f"{encode(header)}.e30.AA", 0)
    assert asked == []


def test_who_has_a_known_key_does_not_wait_for_a_fetch() -> None:
    """Somebody names a key that there is none of, and the issuer takes its time to say so."""
    seed, public = keypair()
    signer, document = Signer(seed), json.dumps({"keys": [published_jwk(public)]}).encode()
    asked, answering = threading.Event(), threading.Event()
    calls = itertools.count()

    def keys() -> bytes:
        if next(calls):
            asked.set()
            assert answering.wait(30)
        return document

    passed = itertools.count(0.0, issuers.PAUSE_S)  # a fetch is due each time that one is wanted
    issuer = Issuer("login", "https://login.example", "coatcheck", {}, True, keys, lambda: next(passed) % 240)
    claims = {"iss": issuer.issuer, "sub": "ada", "aud": "coatcheck", "exp": 2_000_000_000}
    token = sign(signer, "JWT", claims, thumbprint(public))
    made_up = sign(signer, "JWT", claims, "made-up")
    assert issuer.check(token, 0).name == "login:ada"
    refused: list[str] = []

    def ask() -> None:
        try:
            issuer.check(made_up, 0)
        except BadInput as refusal:
            refused.append(refusal.code)

    stranger = threading.Thread(target=ask)
    stranger.start()
    assert asked.wait(30)
    known = threading.Thread(target=issuer.check, args=(token, 0))
    known.start()
    known.join(10)
    waits = known.is_alive()
    answering.set()
    stranger.join()
    known.join()
    assert not waits
    assert refused == ["assertion_invalid"]
