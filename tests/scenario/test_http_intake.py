"""Sealed requests at the door: what is in one is treated as if it had come openly; all else is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import checks
from tests.support.service import Answer, Service, running
from vault.client.intake import MEDIA_TYPE, seal_body
from vault.crypto import hpke
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import thumbprint

NAME = "customer.name"
PLANTED = "Ada Planted-Lovelace"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("intake") / "deployment", {"COATCHECK_LOG__LEVEL": "debug"}) as made:
        yield made
        assert PLANTED not in made.log()


@pytest.fixture(scope="module")
def key(service: Service) -> dict[str, str]:
    answer = service.call("POST", "intake-key")
    assert answer.status == 200, answer.body
    return dict(answer.json())


@pytest.fixture(scope="module")
def me(service: Service) -> str:
    return str(service.call("GET", "whoami").json()["principal"])


def send(service: Service, path: str, body: bytes, **headers: str) -> Answer:
    sent = {"authorization": f"Bearer {service.credential()}", "content-type": MEDIA_TYPE, **headers}
    return service.request("POST", f"/v1/eu/{path}", body, sent)


def sealed(key: dict[str, str], me: str, body: Any, path: str = "tokenize", cell: str = "eu") -> bytes:
    return seal_body(key, cell=cell, path=path, principal=me, body=body)


def test_the_key_stays_the_same_and_is_made_once(service: Service, key: dict[str, str]) -> None:
    again = service.call("POST", "intake-key", key=service.credential("admin_key")).json()
    assert again == key
    assert key["kid"] == thumbprint(decode(key["x"]), "X25519")
    made = [e for e in checks.events(service.folder / "eu.db") if e["kind"] == "cell.key"]
    assert [event["purpose"] for event in made].count("intake") == 1
    assert service.call("POST", "intake-key", key="nobody").status == 401


@pytest.mark.parametrize("count", [1, 2000])
def test_values_are_tokenized_unseen(service: Service, key: dict[str, str], me: str, count: int) -> None:
    """Of small and of large bodies, whose columns are taken as they came."""
    values = [f"{PLANTED} {n}" for n in range(count)]
    sent = sealed(key, me, {"field": NAME, "values": values})
    assert PLANTED.encode() not in sent
    tokens = send(service, "tokenize", sent).json()["tokens"]
    grant = service.call(
        "POST",
        "grants",
        {
            "agent": "agent:demo",
            "purpose": "support",
            "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
            "limits": {"uses": 1},
        },
    ).json()["credential"]
    asked = {"purpose": "support", "field": NAME, "tokens": tokens[-1:]}
    assert service.call("POST", "detokenize", asked, key=grant).json()["values"] == values[-1:]


def test_values_are_encrypted_unseen(service: Service, key: dict[str, str], me: str) -> None:
    body = {"items": [{"field": "conversation.text", "value": PLANTED, "subject": "p1"}]}
    answer = send(service, "encrypt", sealed(key, me, body, "encrypt"))
    assert answer.status == 200, answer.body
    assert answer.json()["items"][0]["ciphertext"].startswith("ve1.")


def test_a_repetition_may_be_sealed_anew(service: Service, key: dict[str, str], me: str) -> None:
    body = {"field": NAME, "values": [PLANTED]}
    once = {"idempotency-key": "again"}
    first, second = (send(service, "tokenize", sealed(key, me, body), **once).json() for _ in range(2))
    openly = service.request(
        "POST",
        "/v1/eu/tokenize",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {service.credential()}", "content-type": "application/json", **once},
    ).json()
    assert first["tokens"] == second["tokens"] == openly["tokens"]
    other = sealed(key, me, {"field": NAME, "values": ["another"]})
    assert send(service, "tokenize", other, **once).code == "idempotency_conflict"


def test_what_is_wrong_inside_is_said_as_ever(service: Service, key: dict[str, str], me: str) -> None:
    for body, code in (
        (b"{", "body_malformed"),
        (b'{"field":"customer.name","field":"customer.name","values":[]}', "member_duplicate"),
        ({"field": NAME, "values": [], "more": 1}, "member_unknown"),
        ({"field": "no.such", "values": ["x"]}, "permission_denied"),
        (b'{"field":"customer.name","values":[' + b'"1",' * 20_000 + b'"1"]}', "batch_too_large"),
    ):
        assert send(service, "tokenize", sealed(key, me, body)).code == code


def damaged(sent: bytes, member: str, change: Any) -> bytes:
    body = json.loads(sent)
    body[member] = change(body[member])
    return json.dumps(body).encode()


def test_all_else_is_refused_as_one(service: Service, key: dict[str, str], me: str) -> None:
    body = {"field": NAME, "values": [PLANTED]}
    right = sealed(key, me, body)
    _, other = hpke.keypair()
    foreign = {"kid": thumbprint(other, "X25519"), "x": encode(other)}
    wrong = {
        "another cell": sealed(key, me, body, cell="us"),
        "another route": sealed(key, me, body, path="encrypt"),
        "another principal": sealed(key, "pr_01M84HD64DFW18BYTQYF0BJRJQ", body),
        "another key": sealed(foreign, me, body),
        "another key under this name": damaged(sealed(foreign, me, body), "kid", lambda _: key["kid"]),
        "another suite": damaged(right, "suite", lambda s: s[:-1]),
        "cut": damaged(right, "enc_ct", lambda s: s[:-4]),
        "flipped": damaged(right, "enc_ct", lambda s: ("A" if s[0] != "A" else "B") + s[1:]),
        "padded": damaged(right, "enc_ct", lambda s: s + "="),
        "nothing": damaged(right, "enc_ct", lambda _: ""),
        "a point of small order": damaged(right, "enc_ct", lambda _: encode(bytes(80))),
        "more": right[:-1] + b',"more":1}',
        "open": json.dumps(body).encode(),
        "no JSON": b"[" * 10_000,
    }
    told = {name: send(service, "tokenize", sent) for name, sent in wrong.items()}
    assert {name: (a.status, a.code) for name, a in told.items()} == dict.fromkeys(
        wrong, (422, "sealed_invalid")
    )
    assert len({tuple(sorted(a.json().keys())) for a in told.values()}) == 1
    assert send(service, "tokenize", right).status == 200


def test_it_is_taken_only_where_values_are(service: Service, key: dict[str, str], me: str) -> None:
    body = {"toml": ""}
    answer = send(service, "tokenize/check", sealed(key, me, body, "tokenize/check"))
    assert (answer.status, answer.code) == (415, "media_type_unsupported")
