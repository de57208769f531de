"""P13: whatever breaks inside, with whatever text in it, neither the answer nor the log shows it."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

import vault.api.app
import vault.api.audit
import vault.api.data
import vault.api.grants
import vault.ledger.group
import vault.ledger.writing
import vault.services.issue
import vault.services.opening
import vault.services.tokenize
import vault.services.use_grant
import vault.services.vaulting
import vault.store.cell
from tests.harness.canaries import Planted, Scanner, luhn
from tests.unit.api.inside import Inside, inside
from vault.api.log import JsonFormatter, TextFormatter

CANARY = "Uqzilcanarybreak"
SSN = "123-45-6789"
PLANTED = Planted(random.Random(1), ssns={SSN}, texts={CANARY}, cards={luhn("411111111111111")})


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(tmp_path_factory.mktemp("inside")) as app:
        yield app


def explode(*arguments: Any, **more: Any) -> Any:
    """Fails with everything it was given in its text, its cause and its locals."""
    local = f"{CANARY} {SSN} {arguments!r} {more!r}"
    try:
        raise KeyError(local)
    except KeyError as cause:
        raise RuntimeError(local, cause) from cause


def refuse_to_write(*arguments: Any, **more: Any) -> Any:
    """What SQLAlchemy says when a statement fails: the statement and its parameters."""
    raise OperationalError(f"INSERT {CANARY}", {"value": SSN}, sqlite3.OperationalError(CANARY))


def run_out_of_memory(*arguments: Any, **more: Any) -> Any:
    """No ordinary exception."""
    raise MemoryError(CANARY)


TOKENIZE = (
    "POST",
    "tokenize",
    {"field": "customer.name", "values": [CANARY, SSN], "subjects": [CANARY, None]},
)
GRANT = (
    "POST",
    "grants",
    {
        "agent": "agent:demo",
        "purpose": "support",
        "reason": CANARY,
        "subjects": {"in": [CANARY]},
        "scope": [{"fields": ["customer.name"], "operations": ["reveal"], "delivery": ["plain"]}],
    },
)
AUDIT = ("GET", "audit", None)
Request = tuple[str, str, Any]


@pytest.mark.parametrize("failure", [explode, refuse_to_write, run_out_of_memory])
@pytest.mark.parametrize(
    ("module", "name", "request_"),
    [
        (vault.api.data, "tokenize", TOKENIZE),
        (vault.api.grants, "create_grant", GRANT),
        (vault.api.audit, "read_audit", AUDIT),
        (vault.services.tokenize, "admit", TOKENIZE),
        (vault.services.vaulting, "seal_encoded", TOKENIZE),
        (vault.services.vaulting, "encode_many", TOKENIZE),
        (vault.services.tokenize, "tokens_of", TOKENIZE),
        (vault.services.issue.Issue, "decide", TOKENIZE),
        (vault.services.issue.Issue, "needs", TOKENIZE),
        (vault.ledger.group, "load", TOKENIZE),
        (vault.ledger.group, "write", TOKENIZE),
        (vault.ledger.writing, "seal_event", GRANT),
        (vault.store.cell.Store, "read", AUDIT),
    ],
)
def test_a_failure_inside_shows_nothing(
    app: Inside,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    request_: Request,
    failure: Callable[..., Any],
) -> None:
    before = app.built.next_number
    app.log.truncate(0)
    with monkeypatch.context() as broken:
        broken.setattr(module, name, failure)
        answer = app.call(*request_, by=app.built.admin if request_ is AUDIT else None)
    assert answer.status_code in (500, 503)
    assert answer.json()["code"] in ("internal", "database_unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert Scanner(PLANTED).hits(answer.content + repr(answer.headers).encode()) == []
    log = app.log.getvalue()
    assert Scanner(PLANTED).hits(log.encode()) == []
    assert '"level":"error"' in log or answer.json()["code"] == "database_unavailable"
    kinds = {event["kind"] for event in app.built.events(before)}
    assert kinds <= {"subject.create", "key.create"}
    assert app.call("POST", "tokenize", {"field": "customer.ssn", "values": [SSN]}).status_code == 200


@pytest.mark.parametrize("failure", [explode, refuse_to_write])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (vault.services.opening, "open_encoded"),
        (vault.services.opening, "_claim"),
        (vault.services.use_grant, "open_values"),
    ],
)
def test_a_failure_after_the_charge_shows_nothing_and_stays_charged(
    app: Inside, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, failure: Callable[..., Any]
) -> None:
    token = app.built.token("customer.name", CANARY)
    grant = app.built.grant("customer.name", uses=2)
    body = {"purpose": "support", "items": [{"field": "customer.name", "token": token}]}
    app.log.truncate(0)
    with monkeypatch.context() as broken:
        broken.setattr(module, name, failure)
        answer = app.call("POST", "detokenize", body, by=grant)
    assert answer.status_code == 500
    made, failed = app.built.events(kind="detokenize")[-2:]
    assert (made["outcome"], failed["outcome"], failed["code"]) == ("allowed", "failed", "internal")
    assert made["decision"] == failed["decision"]
    planted = Planted(PLANTED.rng, PLANTED.ssns, texts=PLANTED.texts, tokens={token}, credentials={grant})
    assert Scanner(planted).hits(answer.content) == []
    assert Scanner(planted).hits(app.log.getvalue().encode()) == []
    again = app.call("POST", "detokenize", body, by=grant)
    assert again.json()["grant"]["uses_left"] == 0
    assert again.json()["items"] == [{"value": CANARY}]


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_traceback_is_shown_by_its_places(formatter: logging.Formatter) -> None:
    try:
        explode(CANARY, value=SSN)
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    shown = formatter.format(record)
    assert "RuntimeError" in shown
    assert "test_failures.py" in shown
    assert Scanner(PLANTED).hits(shown.encode()) == []
    plain = logging.Formatter().format(record)  # the control: what the standard library would show
    assert len(Scanner(PLANTED).hits(plain.encode())) == 2


@pytest.mark.parametrize("by", ["", "ck_01M84HD64DFW18BYTQYF0BJRJQ_" + "a" * 43])
def test_nobody_unknown_has_a_body_read_or_decoded(
    app: Inside, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setattr(vault.api.app, "read_body", explode)
    monkeypatch.setattr(vault.api.app.Api, "_decode", explode)
    assert app.call(*TOKENIZE, by=by).status_code == 401
    assert app.call(*TOKENIZE).status_code == 500  # the control: somebody known has


def test_what_the_end_of_the_process_cuts_off_is_no_error(
    app: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[bool] = []

    async def hang(*_: Any) -> None:
        began.append(True)
        await asyncio.sleep(60)

    monkeypatch.setattr(vault.api.app.Api, "_v1", hang)

    async def cut() -> None:
        scope = {"type": "http", "raw_path": b"/v1/eu/whoami"}
        task = asyncio.create_task(app.api.application(scope, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(cut())
    assert began
