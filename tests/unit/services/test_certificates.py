"""Certificates: what they say at each level, and that nobody can make them say more."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from joserfc import jwk, jws

from tests.support.cells import HOST, NAME, REGION, SSN, BuiltCell, any_cell
from tests.support.turns import begin, turn, until, with_keys
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import Signer, keypair, thumbprint
from vault.errors import IntegrityError, Unknown
from vault.kms import local
from vault.retention.certificate import (
    LEVELS,
    Certificate,
    check_certificate,
    public_keys,
    sign_certificate,
)
from vault.retention.certificate_page import page
from vault.services.certificates import CertificateAnswer, read_certificate, read_certificate_keys
from vault.services.erasures import ErasureBody, request_erasure
from vault.services.holds import HoldBody, create_hold
from vault.services.worker import Worker

ADA, BOB = "cust-ada", "cust-bob"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def erase(built: BuiltCell, subject: str = ADA) -> str:
    return str(built.run(request_erasure, ErasureBody(subject, "consent_withdrawn"), by=HOST).id)


def certified(built: BuiltCell, erasure: str) -> CertificateAnswer:
    return built.run(read_certificate, erasure, by=HOST)


def keys(built: BuiltCell) -> dict[str, bytes]:
    return public_keys(built.run(read_certificate_keys, by=HOST).keys)


def test_it_says_what_was_reached_and_no_more(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    erasure = erase(built)
    first = certified(built, erasure).certificate
    assert [one.level for one in first.levels] == ["requested"]
    assert (first.turn, first.due, first.backups_until, list(first.log)) == (None, "", "", ["requested"])
    Worker(built.cell).run_due()
    second = certified(built, erasure).certificate
    assert [one.level for one in second.levels] == ["requested", "keys_removed"]
    selected = second.selected
    assert (selected.keys, selected.values, selected.classes) == (2, {NAME: 1}, ["customer"])
    assert len(selected.key_ids) == 2
    assert second.subject.startswith("sub_")
    assert SSN in "".join(second.not_covered)  # a vaultless field
    turn(built)
    last = certified(built, erasure)
    assert [one.level for one in last.certificate.levels] == list(LEVELS)
    closed = last.certificate.turn
    assert closed is not None
    assert (closed.closes, closed.opens, closed.refused) == (1, 2, "key_unavailable")
    assert closed.events > last.certificate.log["removed"].number > last.certificate.log["requested"].number
    assert certified(built, erasure).jws == last.jws  # byte for byte
    assert check_certificate(last.jws, keys(built)) == last.certificate
    events = {event["kind"]: event for event in built.events() if event["kind"].startswith("erasure.")}
    for name, kind in (("requested", "erasure.request"), ("removed", "erasure.removed")):
        number = last.certificate.log[name].number
        [row] = built.cell.store.read(
            built.cell.store.record.audit_range, {"first": number, "end": number + 1}
        )
        assert bytes(row[1]).hex() == last.certificate.log[name].leaf
        assert json.loads(row[2])["erasure"] == erasure == events[kind]["erasure"]


def test_a_removal_after_the_flip_waits_for_the_next_turn(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    job = begin(built)
    until(built, job, step="reseal")
    erasure = erase(built)
    until(built, job)
    Worker(built.cell).run_due()
    assert certified(built, erasure).certificate.level == "keys_removed"
    turn(built)
    found = certified(built, erasure).certificate
    assert (found.level, found.turn and found.turn.closes) == ("kms_destroyed", 2)


def test_a_key_store_that_waits_is_said_to(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    built.token(NAME, "Ada", ADA)
    erasure = erase(built)
    Worker(built.cell).run_due()
    original = local.LocalProvider.destroy_root
    later = built.cell.clock.now() + 7 * 86_400_000_000

    def scheduled(self: Any, version: int) -> Any:
        from dataclasses import replace

        return replace(original(self, version), final_at=later)

    monkeypatch.setattr(local.LocalProvider, "destroy_root", scheduled)
    turn(built)
    found = certified(built, erasure).certificate
    assert found.level == "epoch_closed"
    assert found.due
    assert check_certificate(certified(built, erasure).jws, keys(built)) == found


def test_a_held_one_says_so(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    hold = built.run(create_hold, HoldBody(reason="a case", subject=ADA), by=HOST).id
    erasure = erase(built)
    Worker(built.cell).run_due()
    turn(built)
    found = certified(built, erasure).certificate
    assert (found.level, found.held_by) == ("requested", [hold])


def test_somebody_whom_nobody_knew_is_certified_too(built: BuiltCell) -> None:
    found = certified(built, erase(built, "cust-nobody")).certificate
    assert (found.level, found.subject, found.selected.keys) == ("keys_removed", "", 0)
    for id_ in ("er_01M84HD64DFW18BYTQYF0BJRJQ", "er", "hold_01M84HD64DFW18BYTQYF0BJRJQ"):
        with pytest.raises(Unknown, match="not_found"):
            certified(built, id_)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes], Certificate]]:
    """A certificate of the last level, and the keys."""
    with any_cell("sqlite", tmp_path) as made:
        built = with_keys(made)
        built.token(NAME, "Ada", ADA)
        erasure = erase(built)
        Worker(built.cell).run_due()
        turn(built)
        answer = certified(built, erasure)
        yield answer.jws, keys(built), answer.certificate


Whole = tuple[str, dict[str, bytes], Certificate]


def test_a_stock_library_checks_it(whole: Whole) -> None:
    text, public, found = whole
    [(kid, raw)] = public.items()
    key = jwk.import_key({"kty": "OKP", "crv": "Ed25519", "x": encode(raw), "kid": kid})
    opened = jws.deserialize_compact(text, key, algorithms=["Ed25519"])
    assert json.loads(opened.payload) == msgspec.to_builtins(found)


def test_every_changed_byte_is_found(whole: Whole) -> None:
    text, public, _ = whole
    for place in range(0, len(text), 7):
        for other in ("A" if text[place] != "A" else "B", ""):
            changed = text[:place] + other + text[place + 1 :]
            with pytest.raises(IntegrityError, match="certificate_invalid"):
                check_certificate(changed, public)
    for wrong in (
        "",
        "..",
        text + "A",
        text + ".",
        f"{text}.x",
        text.replace(".", "", 1),
        " " + text,
        "é" * 9,
    ):
        with pytest.raises(IntegrityError, match="certificate_invalid"):
            check_certificate(wrong, public)


def test_another_key_does_not_do(whole: Whole) -> None:
    text, _, found = whole
    seed, public = keypair()
    forged = sign_certificate(Signer(seed), found)
    assert check_certificate(forged, {thumbprint(public): public}) == found
    for keys_ in ({}, whole[1]):
        with pytest.raises(IntegrityError) as refusal:
            check_certificate(forged, keys_)
        assert refusal.value.facts == {"reason": "key"}
    head = encode(decode(text.partition(".")[0]).replace(thumbprint(whole[1].popitem()[1]).encode(), b"x"))
    with pytest.raises(IntegrityError):
        check_certificate(head + "." + text.partition(".")[2], whole[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: {"levels": c.levels[1:]}, "levels"),
        (lambda c: {"levels": []}, "levels"),
        (lambda c: {"levels": [c.levels[0], c.levels[2]]}, "levels"),
        (
            lambda c: {"levels": [*c.levels[:3], msgspec.structs.replace(c.levels[3], at=c.levels[0].at)]},
            "times",
        ),
        (lambda c: {"due": "tomorrow"}, "times"),
        (lambda c: {"held_by": ["hold_1"]}, "removal"),
        (lambda c: {"log": {"requested": c.log["requested"]}}, "removal"),
        (lambda c: {"turn": None}, "turn"),
        (lambda c: {"turn": msgspec.structs.replace(c.turn, events=c.log["removed"].number)}, "turn"),
        (lambda c: {"turn": msgspec.structs.replace(c.turn, refused="")}, "destruction"),
        (lambda c: {"due": c.levels[3].at}, "destruction"),
        (lambda c: {"v": 2}, "form"),
    ],
)
def test_one_that_claims_too_much_is_refused_whoever_signed_it(
    whole: Whole, change: Any, reason: str
) -> None:
    seed, public = keypair()
    forged = sign_certificate(Signer(seed), msgspec.structs.replace(whole[2], **change(whole[2])))
    with pytest.raises(IntegrityError) as refusal:
        check_certificate(forged, {thumbprint(public): public})
    assert refusal.value.facts == {"reason": reason}


def test_one_that_is_spelled_otherwise_is_refused(whole: Whole) -> None:
    seed, public = keypair()
    signer = Signer(seed)
    plain = msgspec.to_builtins(whole[2])
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    headers: list[dict[str, Any]] = [
        {"alg": "Ed25519", "kid": thumbprint(public), "typ": "coatcheck-erasure+jws"}
    ]
    headers += [{**headers[0], "typ": "JWT"}, {**headers[0], "alg": "none"}, {**headers[0], "crit": ["b64"]}]
    bodies = [canonical, json.dumps(plain), canonical[:-1] + ',"v":1}', canonical[:-1] + ',"more":1}']
    taken = 0
    for header, body in itertools.product(headers, bodies):
        signed = f"{encode(json.dumps(header).encode())}.{encode(body.encode())}"
        text = f"{signed}.{encode(signer.sign(signed.encode()))}"
        try:
            check_certificate(text, {thumbprint(public): public})
            taken += 1
        except IntegrityError:
            continue
    assert taken == 1


def test_the_page_shows_it_and_runs_nothing(whole: Whole) -> None:
    text, public, found = whole
    evil = msgspec.structs.replace(found, requested_by="<script>alert(1)</script>")
    shown = page(evil, text, next(iter(public)))
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    for part in (found.id, text, found.selected.key_ids_sha256, *(one.at for one in found.levels), REGION):
        assert part in shown
    assert "http" not in shown


@pytest.mark.parametrize(
    "key",
    [{}, {"kty": "EC", "crv": "Ed25519", "x": "A" * 43}, {"kty": "OKP", "crv": "Ed25519", "x": "A"},
     {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43}, "key", None],
)  # fmt: skip
def test_what_is_no_public_key(key: Any) -> None:
    with pytest.raises(ValueError):
        public_keys([key])
