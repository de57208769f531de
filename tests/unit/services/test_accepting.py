"""Batches out of another process: entered once, for one cell, tenant and transfer, answered sealed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, BuiltCell
from tests.support.regions import Pair, two_regions
from vault.crypto import crossing, hpke
from vault.crypto.base64url import decode, encode
from vault.errors import CoatcheckError
from vault.identifiers import new_id
from vault.services import accepting
from vault.services.accepting import accept
from vault.services.crossing import (
    ENTER,
    FORGET,
    TOKENS,
    Batch,
    BatchBody,
    Outcome,
    Reply,
    SentValue,
)
from vault.services.identities import PrincipalBody, create_principal
from vault.services.intake import read_intake_key

ROWS = [bytes([0] * 15 + [one]).hex() for one in range(1, 6)]
VALUES = [SentValue(row, NAME, f"Ada {number}") for number, row in enumerate(ROWS)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with two_regions(tmp_path) as made:
        yield made


class Sender:
    """What a source does, by hand."""

    def __init__(self, built: BuiltCell, *permissions: str) -> None:
        self.built = built
        self.transfer = new_id("xfer")
        made = built.run(
            create_principal,
            PrincipalBody(kind="service", name="from-eu", permissions=list(permissions)),
            by=built.admin,
        )
        self.key = built.key(made.id)
        self.public = decode(built.run(read_intake_key, by=self.key).x)
        self.private, self.reply = hpke.keypair()

    def body(self, number: int = 1, public: bytes | None = None, **batch: Any) -> BatchBody:
        given = {
            "step": ENTER, "tenant": "main", "legal_basis": "contract", "person": "ada", "values": VALUES,
        } | batch  # fmt: skip
        public = public or self.public
        plain = msgspec.json.encode(Batch(reply=encode(self.reply), **given))
        sealed = hpke.seal(public, crossing.info("eu", "us", self.transfer, number), plain)
        return BatchBody("eu", self.transfer, number, encode(sealed))

    def send(self, body: BatchBody) -> list[Outcome]:
        answer = self.built.run(accept, body, by=self.key)
        bound = crossing.answer_info(body.source, "us", body.transfer, body.number)
        plain = hpke.open_sealed(self.private, bound, decode(answer.enc_ct))
        return msgspec.json.decode(plain, type=Reply).values

    def refused(self, body: BatchBody) -> str:
        with pytest.raises(CoatcheckError) as refusal:
            self.built.run(accept, body, by=self.key)
        [event] = self.built.events(kind="denied")[-1:]
        assert (event["verb"], event["code"]) == ("transfer.receive", refusal.value.code)
        return refusal.value.code


def arrived(built: BuiltCell) -> int:
    return len(built.events(kind="transfer.receive"))


def test_a_batch_is_entered_once_however_often_it_comes(pair: Pair) -> None:
    sender = Sender(pair.us, "transfer:receive")
    body = sender.body()
    first = sender.send(body)
    assert [(one.source, one.code, one.token) for one in first] == [(row, "", "") for row in ROWS]
    assert sender.send(body) == first
    assert sender.send(sender.body(2)) == first  # in another batch, too
    assert arrived(pair.us) == 1
    told = sender.send(sender.body(0, step=TOKENS, values=[], above=ROWS[0], most=3))
    assert [one.source for one in told] == ROWS[1:4]
    assert len({one.token for one in told}) == 3
    assert sender.send(sender.body(0, step=FORGET, values=[])) == []
    assert sender.send(sender.body(0, step=TOKENS, values=[], most=3)) == []
    [event] = pair.us.events(kind="transfer.receive")
    assert (event["transfer"], event["from"], event["actor"]) == (sender.transfer, "eu", "service:from-eu")


def test_without_what_has_arrived_it_would_be_entered_twice(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nothing else keeps a batch from being entered again."""
    sender = Sender(pair.us, "transfer:receive")
    sender.send(sender.body())
    monkeypatch.setattr(crossing, "kept_as", lambda *_: new_id("xfer")[:32])
    sender.send(sender.body())
    assert arrived(pair.us) == 2


def test_what_is_not_for_this_cell_is_refused_on_the_record(pair: Pair) -> None:
    sender = Sender(pair.us, "transfer:receive")
    good = sender.body()
    last = "A" if good.enc_ct[-6] != "A" else "B"
    wrong = [
        msgspec.structs.replace(good, enc_ct=good.enc_ct[:-6] + last + good.enc_ct[-5:]),
        msgspec.structs.replace(good, transfer=new_id("xfer")),
        msgspec.structs.replace(good, transfer="xfer_none"),
        msgspec.structs.replace(good, number=2),
        msgspec.structs.replace(good, source="ap"),
        sender.body(public=hpke.keypair()[1]),
        sender.body(0),
        sender.body(legal_basis="because"),
        sender.body(step="steal"),
        sender.body(values=[VALUES[0], VALUES[0]]),
        sender.body(values=[SentValue("00", NAME, "Ada")]),
    ]
    assert {sender.refused(body) for body in wrong} == {"sealed_invalid"}
    assert sender.refused(sender.body(tenant="other")) == "residency_refused"
    assert arrived(pair.us) == 0


def test_whoever_lacks_the_permission_is_refused(pair: Pair) -> None:
    sender = Sender(pair.us, "transfer:read")
    assert sender.refused(sender.body()) == "permission_denied"


def test_another_tenant_is_not_led_to_what_arrived() -> None:
    named = (("a", "eu", "x"), ("b", "eu", "x"), ("a", "us", "x"), ("a", "eu", "y"), ("ae", "u", "x"))
    kept = {crossing.kept_as(*parts) for parts in named}
    assert len(kept) == 5
    assert all(len(one) <= 32 for one in kept)


def test_a_row_is_sixteen_bytes() -> None:
    assert accepting._row(ROWS[0])[-1] == 1
    with pytest.raises(ValueError, match="not a row"):
        accepting._row("00")
