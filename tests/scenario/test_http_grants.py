"""Keyed grants over HTTP: proofs of real requests, by our client and by OpenSSL from the pages alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.harness.doors import Doors, complaints, initialise_doors
from tests.harness.roomy import AGENT, NAME, PURPOSE
from tests.support.holders import new_signer, sealing
from tests.support.service import Answer
from vault.client.proofs import proof_headers
from vault.client.sealed import Sealed, open_delivery
from vault.clock import SystemClock
from vault.crypto.base64url import decode
from vault.crypto.signing import Signer, thumbprint

SCRIPT = Path(__file__).parents[1] / "vectors" / "prove.sh"
PERSON = "Ada Lovelace"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("data") / "deployment")
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def create(doors: Doors, jkt: str, **more: Any) -> Any:
    body = {
        "agent": AGENT,
        "purpose": PURPOSE,
        "limits": {"uses": 20},
        "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
        "bind": {"cnf": {"jkt": jkt}},
    }
    made = doors.service.call("POST", "grants", {**body, **more}, key=doors.all_powerful)
    assert made.status == 201, made.body
    return made.json()


def token(doors: Doors) -> str:
    body = {"field": NAME, "values": [PERSON], "subjects": ["person"]}
    return str(doors.service.call("POST", "tokenize", body, key=doors.all_powerful).json()["tokens"][0])


def asked(doors: Doors, **more: Any) -> bytes:
    return json.dumps({"purpose": PURPOSE, "field": NAME, "tokens": [token(doors)], **more}).encode()


def send(doors: Doors, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    sent = {"content-type": "application/json", **headers}
    answer = doors.service.request("POST", f"/v1/eu/{path}", body, sent)
    assert complaints(answer) == []
    return answer


def proved(doors: Doors, signer: Signer, grant: str, body: bytes, path: str = "detokenize") -> dict[str, str]:
    url = f"{doors.service.url}/v1/eu/{path}"
    now = SystemClock().now()
    return proof_headers(signer, method="POST", url=url, grant=grant, body=body, chain=None, now=now)


def test_a_value_comes_back_to_the_holder_of_the_key(doors: Doors) -> None:
    signer = new_signer()
    made = create(doors, thumbprint(signer.public))
    assert "credential" not in made
    body = asked(doors)
    headers = proved(doors, signer, made["id"], body)
    answer = send(doors, "detokenize", body, headers)
    assert (answer.status, answer.json()["values"]) == (200, [PERSON])
    again = send(doors, "detokenize", body, headers)
    assert (again.status, again.code) == (409, "proof_replayed")
    shown = proof_headers(
        signer, method="GET", url=f"{doors.service.url}/v1/eu/grants/{made['id']}", grant=made["id"],
        body=b"", chain=None, now=SystemClock().now(),
    )  # fmt: skip
    read = doors.service.request("GET", f"/v1/eu/grants/{made['id']}", None, shown)
    assert (read.status, read.json()["uses"]) == (200, 1)


@pytest.mark.parametrize("wrong", ["no proof", "another body", "another path", "another key", "two proofs"])
def test_a_request_without_its_own_proof_is_refused(doors: Doors, wrong: str) -> None:
    signer = new_signer()
    grant = create(doors, thumbprint(signer.public))["id"]
    body = asked(doors)
    headers = proved(doors, signer, grant, body)
    path, code, status = "detokenize", "proof_invalid", 401
    if wrong == "no proof":
        del headers["DPoP"]
    elif wrong == "another body":
        body = asked(doors, on_error="report")
    elif wrong == "another path":
        path = "decrypt"
        body = json.dumps({"purpose": PURPOSE, "items": []}).encode()
        headers = proved(doors, signer, grant, body, "detokenize")
    elif wrong == "another key":
        headers = proved(doors, new_signer(), grant, body)
    else:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw = (
            f"POST /v1/eu/detokenize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{head}"
            f"DPoP: {headers['DPoP']}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        answer = doors.service.raw(raw.encode() + body)
        assert answer is not None
        assert (answer.status, answer.code) == (400, "parameter_invalid")
        return
    answer = send(doors, path, body, headers)
    assert (answer.status, answer.code) == (status, code)
    challenge = (
        'DPoP realm="coatcheck", error="invalid_dpop_proof", algs="Ed25519 EdDSA ES256 ES384", '
        f'resource_metadata="{doors.service.url}/.well-known/oauth-protected-resource/v1/eu"'
    )
    assert answer.header("www-authenticate") == challenge


def test_an_independent_client_proves_it_from_the_page_alone(doors: Doors, tmp_path: Path) -> None:
    """OpenSSL makes key, thumbprint and proof; curl sends them."""
    if shutil.which("curl") is None or shutil.which("openssl") is None:
        pytest.skip("there is no curl or no openssl")
    key = tmp_path / "holder.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    der = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    grant = create(doors, thumbprint(der[-32:]))["id"]
    body = tmp_path / "body.json"
    body.write_bytes(asked(doors))
    url = f"{doors.service.url}/v1/eu/detokenize"
    proof = subprocess.run(
        ["bash", SCRIPT, key, "POST", url, grant, body], check=True, capture_output=True, text=True
    ).stdout.strip()
    answer = subprocess.run(
        ["curl", "-sS", url, "-H", f"Authorization: Grant {grant}", "-H", f"DPoP: {proof}",
         "-H", "content-type: application/json", "--data-binary", f"@{body}"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert json.loads(answer)["values"] == [PERSON]


def test_a_sealed_answer_passes_through_hands_that_learn_nothing(doors: Doors) -> None:
    signer, (private, seal_to) = new_signer(), sealing()
    made = create(
        doors,
        thumbprint(signer.public),
        scope=[{"fields": [NAME], "operations": ["reveal"], "delivery": ["sealed"]}],
        seal_to={"kty": seal_to.kty, "crv": seal_to.crv, "x": seal_to.x},
    )
    challenge = "c" * 22
    body = asked(doors, delivery="sealed", challenge=challenge)
    headers = proved(doors, signer, made["id"], body)
    answer = send(doors, "detokenize", body, headers)
    assert answer.status == 200, answer.body
    assert PERSON.encode() not in answer.body
    told = answer.json()
    claims = json.loads(decode(headers["DPoP"].split(".")[1]))
    plaintext = open_delivery(
        Sealed(**told["sealed"]),
        private=private,
        delivery_key=decode(made["delivery_key"]["x"]),
        cell="eu",
        grant=made["id"],
        jti=claims["jti"],
        challenge=challenge,
        decision=told["decision"],
    )
    assert json.loads(plaintext)["items"][0]["value"] == PERSON


def test_who_comes_too_fast_or_is_stopped_learns_when_to_come_back(doors: Doors) -> None:
    signer = new_signer()
    limits = {"uses": 20, "rate": {"count": 1, "per_s": 3600}}
    grant = create(doors, thumbprint(signer.public), limits=limits)["id"]
    body = asked(doors)
    assert send(doors, "detokenize", body, proved(doors, signer, grant, body)).status == 200
    fast = send(doors, "detokenize", body, proved(doors, signer, grant, body))
    assert (fast.status, fast.code) == (429, "rate_limited")
    assert int(fast.header("retry-after") or 0) == fast.json()["retry_after"] > 3_500
    stopped = doors.service.call("POST", f"grants/{grant}/suspend", {}, key=doors.all_powerful)
    assert stopped.status == 200
    waiting = send(doors, "detokenize", body, proved(doors, signer, grant, body))
    assert (waiting.status, waiting.code, waiting.header("retry-after")) == (423, "grant_suspended", "60")


def test_a_stream_takes_no_proof(doors: Doors) -> None:
    signer = new_signer()
    grant = create(doors, thumbprint(signer.public))["id"]
    body = json.dumps({"purpose": PURPOSE, "field": NAME}).encode() + b"\n"
    headers = {
        **proved(doors, signer, grant, body, "detokenize/stream"),
        "content-type": "application/x-ndjson",
    }
    answer = doors.service.request("POST", "/v1/eu/detokenize/stream", body, headers)
    assert (answer.status, answer.code) == (422, "operation_unsupported")


def test_a_sealed_answer_is_asked_for_again_with_another_challenge(doors: Doors) -> None:
    """Under one Idempotency-Key it is the same request, answered as every one that showed values."""
    signer, (_, seal_to) = new_signer(), sealing()
    grant = create(
        doors,
        thumbprint(signer.public),
        scope=[{"fields": [NAME], "operations": ["reveal"], "delivery": ["sealed"]}],
        seal_to={"kty": seal_to.kty, "crv": seal_to.crv, "x": seal_to.x},
    )["id"]
    answers, of = [], token(doors)
    for challenge in ("c" * 22, "d" * 22):
        body = json.dumps(
            {"purpose": PURPOSE, "field": NAME, "tokens": [of], "delivery": "sealed", "challenge": challenge}
        ).encode()
        headers = {**proved(doors, signer, grant, body), "Idempotency-Key": "once"}
        answers.append(send(doors, "detokenize", body, headers).json())
    first, second = answers
    assert "sealed" in first
    assert (second["replayed"], second["decision"]) == (True, first["decision"])
    assert "sealed" not in second
    other = asked(doors, delivery="sealed", challenge="e" * 22)  # another token
    headers = {**proved(doors, signer, grant, other), "Idempotency-Key": "once"}
    assert send(doors, "detokenize", other, headers).code == "idempotency_conflict"


def test_a_grant_that_was_changed_says_what_signs_its_answers(doors: Doors) -> None:
    signer, (_, seal_to) = new_signer(), sealing()
    grant = create(
        doors,
        thumbprint(signer.public),
        scope=[{"fields": [NAME], "operations": ["reveal"], "delivery": ["sealed"]}],
        seal_to={"kty": seal_to.kty, "crv": seal_to.crv, "x": seal_to.x},
    )
    for verb in ("suspend", "resume"):
        changed = doors.service.call("POST", f"grants/{grant['id']}/{verb}", {}, key=doors.all_powerful)
        assert changed.json()["delivery_key"] == grant["delivery_key"]


def test_a_stream_says_what_it_is_part_of(doors: Doors) -> None:
    """A bearer grant that is bound to a conversation and a task."""
    made = doors.service.call(
        "POST",
        "grants",
        {
            "agent": "agent:demo",
            "purpose": PURPOSE,
            "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
            "limits": {"uses": 5},
            "bind": {"conversation": "c1", "task": "t1"},
        },
        key=doors.all_powerful,
    )
    assert made.status == 201, made.body
    of = token(doors)
    for more, status in (({"conversation": "c1", "task": "t1"}, 200), ({"conversation": "c2"}, 403)):
        lines = [{"purpose": PURPOSE, "field": NAME, **more}, {"token": of}]
        sent = "".join(json.dumps(line) + "\n" for line in lines).encode()
        headers = {
            "authorization": f"Bearer {made.json()['credential']}",
            "content-type": "application/x-ndjson",
        }
        answer = doors.service.request("POST", "/v1/eu/detokenize/stream", sent, headers)
        assert answer.status == status, answer.body
        assert (PERSON.encode() in answer.body) is (status == 200)
