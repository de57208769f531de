"""The header: what is a key, which routes take one, and that what is kept goes when its day is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, SSN
from tests.unit.api.inside import Inside, inside
from vault import wiring
from vault.api.app import ROUTES
from vault.api.route import idempotency_key
from vault.errors import BadInput

PRINCIPALS = next(route for route in ROUTES if (route.method, route.path) == ("POST", "principals"))
BODY = {"kind": "service", "name": "x"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Inside]:
    with inside(tmp_path) as made:
        yield made


def post(served: Inside, path: str, body: Any, key: str, by: str | None = None, method: str = "POST") -> Any:
    headers = {"authorization": f"Bearer {by or served.built.admin}", "idempotency-key": key}
    return served.calls((method, f"/v1/eu/{path}", body, headers))[0]


@pytest.mark.parametrize("raw", [b"a", b"a" * 128, b" !~", b"3f0a-7e52", b'{"a": 1}'])
def test_a_key(raw: bytes) -> None:
    assert idempotency_key([(b"idempotency-key", raw)], PRINCIPALS) == raw.decode()


@pytest.mark.parametrize("raw", [b"", b"a" * 129, b"\x1f", b"\x7f", b"\xff", "é".encode(), b"a\tb", b"a\0"])
def test_a_key_that_is_none(raw: bytes) -> None:
    with pytest.raises(BadInput) as refusal:
        idempotency_key([(b"idempotency-key", raw)], PRINCIPALS)
    assert (refusal.value.code, refusal.value.facts) == (
        "parameter_invalid",
        {"parameter": "Idempotency-Key"},
    )
    assert refusal.value.row.status == 400


def test_two_keys_are_none() -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        idempotency_key([(b"idempotency-key", b"a"), (b"idempotency-key", b"a")], PRINCIPALS)


def test_no_key_is_no_key() -> None:
    assert idempotency_key([(b"x-idempotency-key", b"a")], PRINCIPALS) is None


@pytest.mark.parametrize(
    "route", [r for r in ROUTES if not r.repeatable], ids=lambda r: f"{r.method} {r.path}"
)
def test_who_takes_none_refuses_it(route: Any) -> None:
    with pytest.raises(BadInput) as refusal:
        idempotency_key([(b"idempotency-key", b"a")], route)
    assert (refusal.value.code, refusal.value.facts) == (
        "operation_unsupported",
        {"member": "Idempotency-Key"},
    )


def test_over_http(served: Inside) -> None:
    first, again = (post(served, "principals", BODY, "k 1") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json() | {"replayed": True}
    conflict = post(served, "principals", BODY | {"name": "y"}, "k 1")
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    made, again = (post(served, f"principals/{first.json()['id']}/keys", {}, "k 1") for _ in range(2))
    assert again.json() == made.json() | {"credential": None, "replayed": True}
    removed = [post(served, f"principals/{first.json()['id']}", None, "k", method="DELETE") for _ in range(2)]
    assert removed[1].json() == removed[0].json() | {"replayed": True}
    assert post(served, "whoami", None, "k", method="GET").json()["code"] == "operation_unsupported"


def test_a_reveal_over_http(served: Inside) -> None:
    token, grant = served.built.token(NAME, "Ada"), served.built.grant(NAME, SSN, uses=2)
    items = {"purpose": "support", "items": [{"field": NAME, "token": token}]}
    columns = {"purpose": "support", "field": NAME, "tokens": [token]}
    for body, member in ((items, "items"), (columns, "values")):
        first, again = (post(served, "detokenize", body, member, by=grant) for _ in range(2))
        decision = first.json()["decision"]
        assert again.json() == {"decision": decision, "replayed": True, member: None}
    assert post(served, "detokenize", columns, "more", by=grant).json()["code"] == "budget_exhausted"


def test_racing_over_http_one_is_done_and_all_are_answered(served: Inside) -> None:
    headers = {"authorization": f"Bearer {served.built.admin}", "idempotency-key": "raced"}
    answers = served.calls(*[("POST", "/v1/eu/principals", BODY, headers)] * 12)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("replayed" not in answer.json() for answer in answers) == 1


def test_the_key_stands_in_no_log(served: Inside) -> None:
    post(served, "principals", BODY, "canary-of-a-key")
    post(served, "principals", BODY | {"name": "y"}, "canary-of-a-key")
    assert "canary-of-a-key" not in served.log.getvalue()
    assert "canary-of-a-key" not in repr(served.built.events())


def test_what_expired_goes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "FLUSH_EVERY_S", 0.05)
    with inside(tmp_path) as served:
        post(served, "principals", BODY, "k")
        store = served.built.cell.store
        with store.engine.begin() as connection:
            connection.execute(store.tables.idempotency.update().values(expires_at=1))
        end = time.monotonic() + 20
        while store.read(store.tables.idempotency.select()):
            assert time.monotonic() < end
            time.sleep(0.02)
