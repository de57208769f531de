"""The pages on keyed grants: their examples hold, and what a script written from one makes is taken."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.unit.crypto import hpke_by_hand
from tests.vectors import second_proofs
from tests.vectors.made_proofs import GRANT, URL, chain_of
from tests.vectors.made_statements import JKT, digest
from vault.client.sealed import Sealed, open_delivery
from vault.clock import SECOND
from vault.crypto import crossing, delivery, hpke, intake
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import Signer, thumbprint
from vault.policy.block import parse_chain
from vault.policy.proof import check_proof, parse_proof
from vault.secret import Secret

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
SCRIPT = ROOT / "tests" / "vectors" / "prove.sh"


def has_openssl_3() -> bool:
    """Whether there is the program that the script uses; some machines have an older one."""
    path = shutil.which("openssl")
    if path is None:
        return False
    return b"OpenSSL 3" in subprocess.run([path, "version"], check=True, capture_output=True).stdout


def example(page: str) -> dict[str, Any]:
    """What a page's example says, its broken lines joined."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", (SPEC / page).read_text(encoding="utf-8"), re.M | re.S)
    said: dict[str, Any] = tomllib.loads(block)["example"]
    return {
        name: "".join(value.split("\n")) if isinstance(value, str) else value for name, value in said.items()
    }


def test_the_proof_of_the_page() -> None:
    said = example("grant-proof.md")
    header, claims, _ = said["proof"].split(".")
    assert decode(header).decode() == said["header"]
    assert decode(claims).decode() == said["claims"]
    proof = parse_proof(said["proof"])
    assert proof.jkt == said["jkt"] == thumbprint(Signer(Secret(bytes.fromhex(said["seed"]))).public)
    check_proof(
        proof,
        method=said["method"],
        url=said["url"],
        grant=said["grant"],
        body_digest=digest(said["body"].encode()),
        chain_digest=None,
        now=said["now"] * SECOND,
    )


def test_the_chain_of_the_page() -> None:
    said = example("delegation-block.md")
    (block,) = parse_chain(said["chain"], said["grant"], said["holder"])
    assert block.id == said["id"]
    assert json.loads(decode(said["chain"].split(".")[1])) == json.loads(said["claims"])
    assert second_proofs.read_chain(said["chain"], said["grant"], said["holder"])[0]["id"] == said["id"]


def test_the_sealed_answer_of_the_page() -> None:
    said = example("sealed-delivery.md")
    private, signer = (
        Secret(bytes.fromhex(said["private"])),
        Signer(Secret(bytes.fromhex(said["delivery_seed"]))),
    )
    enc_ct, public = decode(said["enc_ct"]), hpke.public_of(private)
    assert (encode(public), encode(signer.public)) == (said["seal_to"], said["delivery_key"])
    assert thumbprint(public, "X25519") == said["kid"]
    info = delivery.info(said["suite"], said["grant"], said["jti"])
    assert info.hex() == said["info"]
    sealed = hpke_by_hand.seal(
        public, bytes.fromhex(said["ephemeral"]), info, b"", said["plaintext"].encode()
    )
    assert sealed == enc_ct
    names = ("cell", "grant", "challenge", "decision", "suite", "kid")
    signed = delivery.signed_bytes(**{name: said[name] for name in names}, enc_ct=enc_ct)
    assert signed.hex() == said["signed"]
    assert encode(signer.sign(signed)) == said["sig"]
    answer = Sealed(*(said[name] for name in ("suite", "kid", "enc_ct", "sig")))
    asked = {name: said[name] for name in ("cell", "grant", "jti", "challenge", "decision")}
    opened = open_delivery(answer, private=private, delivery_key=signer.public, **asked)
    assert opened.decode() == said["plaintext"]


@pytest.mark.skipif(not has_openssl_3(), reason="needs the openssl program, version 3")
@pytest.mark.parametrize("chain", [None, chain_of({"uses": 3})], ids=["without a chain", "with a chain"])
@pytest.mark.parametrize("body", [b"", b'{"purpose":"refund"}\n'], ids=["without a body", "with a body"])
def test_a_proof_by_openssl_is_taken(chain: str | None, body: bytes, tmp_path: Path) -> None:
    key = tmp_path / "holder.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True
    )
    public = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout[-32:]
    (tmp_path / "body").write_bytes(body)
    given = ["bash", str(SCRIPT), str(key), "POST", URL + "?a=b", GRANT, str(tmp_path / "body")]
    if chain is not None:
        (tmp_path / "chain").write_text(chain + "\n", encoding="utf-8")
        given.append(str(tmp_path / "chain"))
    made = subprocess.run(given, check=True, capture_output=True, text=True)
    proof = parse_proof(made.stdout.strip())
    assert (made.stderr, proof.jkt) == ("", thumbprint(public))
    assert proof.jkt not in JKT
    check_proof(
        proof,
        method="POST",
        url=URL,
        grant=GRANT,
        body_digest=digest(body),
        chain_digest=None if chain is None else digest(chain.encode()),
        now=int(time.time()) * SECOND,
    )


def test_the_sealed_request_of_the_page() -> None:
    said = example("sealed-intake.md")
    private = Secret(bytes.fromhex(said["private"]))
    public, enc_ct = hpke.public_of(private), decode(said["enc_ct"])
    assert (encode(public), thumbprint(public, "X25519")) == (said["x"], said["kid"])
    info = intake.info(said["cell"], said["path"], said["principal"])
    assert info.hex() == said["info"]
    plaintext = said["plaintext"].encode()
    assert hpke_by_hand.seal(public, bytes.fromhex(said["ephemeral"]), info, b"", plaintext) == enc_ct
    assert hpke.open_sealed(private, info, enc_ct) == plaintext


def test_the_sealed_batch_of_the_page() -> None:
    said = example("sealed-batch.md")
    private = Secret(bytes.fromhex(said["private"]))
    public, enc_ct = hpke.public_of(private), decode(said["enc_ct"])
    assert (encode(public), thumbprint(public, "X25519")) == (said["x"], said["kid"])
    info = crossing.info(said["source"], said["target"], said["transfer"], said["number"])
    assert info.hex() == said["info"]
    assert crossing.kept_as(said["tenant"], said["source"], said["transfer"]) == said["kept_as"]
    plaintext = said["plaintext"].encode()
    assert hpke_by_hand.seal(public, bytes.fromhex(said["ephemeral"]), info, b"", plaintext) == enc_ct
    assert hpke.open_sealed(private, info, enc_ct) == plaintext
    for other in (("us", "eu", said["transfer"], 1), ("eu", "us", said["transfer"], 2)):
        assert crossing.info(*other) != info
