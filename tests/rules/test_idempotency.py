"""Every route that changes something takes an Idempotency-Key, and keeps what that promises.

A new route fails here until it is told how it is called: add it to `ASKED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, SSN, VISIT, BuiltCell, development_cell, reveal
from tests.support.holders import a_holder, new_holder
from tests.unit.services.calls import (
    NEW_SCHEMA,
    a_broken_glass,
    a_hold,
    a_job,
    a_kill,
    a_review,
    a_review_body,
    an_approval,
    an_approver,
    an_erasure,
    an_officer,
    decision_on,
    glass_body,
    grant_id,
    planned,
    rows,
    verifying,
    with_event,
    with_neighbour,
)
from vault.api.app import ROUTES
from vault.api.openapi import codes_of, document
from vault.api.route import Call, Route
from vault.errors import CoatcheckError
from vault.services.detokenize import DetokenizeBody, DetokenizeItem
from vault.services.field_keys import ReasonBody, rotate_key
from vault.services.grant_changes import ChangeBody, suspend_grant
from vault.services.jobs import cancel_job
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.schema import SchemaBody, plan_schema
from vault.wiring import perform

BY_NAME = {f"{route.method} {route.path}": route for route in ROUTES}
CHANGING = {name: route for name, route in BY_NAME.items() if route.repeatable}
DOCUMENT = document(ROUTES)

Asked = tuple[str, dict[str, str], Any, Any]
"""A credential, what stands in the path, a body, and another body that asks for something else."""


def _apply(built: BuiltCell) -> Asked:
    digest = built.run(plan_schema, SchemaBody(toml=NEW_SCHEMA), by=built.admin).digest
    return built.admin, {}, {"toml": NEW_SCHEMA, "digest": digest}, {"toml": NEW_SCHEMA, "digest": "0" * 64}


def _reveal(built: BuiltCell) -> Asked:
    token = built.token(NAME, "Ada", "c1")
    item = DetokenizeItem(NAME, token)
    asked = DetokenizeBody(purpose="support", items=[item])
    return built.grant(NAME, uses=3), {}, asked, reveal(NAME, [token])


def _decrypt(built: BuiltCell) -> Asked:
    text = built.ciphertext(VISIT, "Ada", subject="c1")
    item = {"field": VISIT, "ciphertext": text}
    asked, other = ({"purpose": "support", "items": [{**item, **more}]} for more in ({}, {"subject": "c1"}))
    return built.grant(VISIT, uses=3), {}, asked, other


def _grant(built: BuiltCell) -> Asked:
    return built.service, {}, built.grant_body(SSN), built.grant_body(SSN, uses=3)


def _verify(built: BuiltCell) -> Asked:
    token = built.token(SSN, "123-45-6789")
    asked = {"purpose": "support", "field": SSN, "token": token, "candidate": "123-45-6789", "key_version": 1}
    return verifying(built), {}, asked, {**asked, "candidate": "123-45-6780"}


def _suspended(built: BuiltCell) -> str:
    grant = grant_id(built.grant(SSN))
    built.run(suspend_grant, grant, ChangeBody(), by=built.admin)
    return grant


def _field_key(built: BuiltCell, *, ended: bool = False) -> str:
    """The id of a field's key; with `ended`, of one that a newer version has replaced."""
    rows_ = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind="ff1"), by=built.admin).items
    key = next(str(row.id) for row in rows_ if row.field == SSN)
    if ended:
        built.run(rotate_key, key, ReasonBody(), by=built.admin)
    return key


def _destroy(built: BuiltCell) -> Asked:
    one, other = ({"attestation": {"by": name, "statement": "none is left"}} for name in ("Ada", "Eve"))
    return built.admin, {"id": _field_key(built, ended=True)}, one, other


def _decide(built: BuiltCell) -> Asked:
    session, approval = an_approver(built), an_approval(built)
    seen = decision_on(built, approval, session)
    return session, {"id": approval}, seen, msgspec.structs.replace(seen, reason="another")


def _glass(built: BuiltCell) -> Asked:
    body = glass_body(built)
    return an_approver(built), {}, body, msgspec.structs.replace(body, reason="another")


def _review(built: BuiltCell) -> Asked:
    path = {"id": a_broken_glass(built)}
    return an_approver(built, "rex"), path, {"verdict": "justified"}, {"verdict": "unjustified"}


def _reopen(built: BuiltCell) -> Asked:
    an_erasure(built)
    return built.admin, {}, {"subject": "nobody", "reason": "a"}, {"subject": "nobody", "reason": "b"}


ASKED: dict[str, Callable[[BuiltCell], Asked]] = {
    "POST tokenize": lambda b: (
        b.service,
        {},
        {"field": NAME, "values": ["Ada", None], "subjects": ["new", None]},
        {"field": NAME, "values": ["Eve", None], "subjects": ["new", None]},
    ),
    "POST detokenize": _reveal,
    "POST rekey": lambda b: (
        b.service,
        {},
        {"field": SSN, "tokens": ["123-45-6789"], "from_version": 1},
        {"field": SSN, "tokens": ["123-45-6780"], "from_version": 1},
    ),
    "POST keys/{id}/rotate": lambda b: (
        b.admin, {"id": _field_key(b)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST keys/{id}/compromise": lambda b: (
        b.admin, {"id": _field_key(b)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST keys/{id}/destroy": _destroy,
    "POST keys/{id}/replace": lambda b: (
        b.admin, {"id": b.service.rpartition("_")[0]}, {"overlap": "P1D"}, {"overlap": "P2D"}
    ),
    "POST encrypt": lambda b: (
        b.service,
        {},
        {"items": [{"field": VISIT, "value": "Ada", "subject": "new"}]},
        {"items": [{"field": VISIT, "value": "Eve", "subject": "new"}]},
    ),
    "POST decrypt": _decrypt,
    "POST grants": _grant,
    "POST grants/{id}/revoke": lambda b: (
        b.admin, {"id": grant_id(b.grant(SSN))}, {"reason": "a"}, {"reason": "b"}
    ),
    "PATCH grants/{id}": lambda b: (
        b.admin, {"id": grant_id(b.grant(SSN))}, {"version": 1, "uses": 3}, {"version": 1, "uses": 2}
    ),
    "POST grants/{id}/suspend": lambda b: (
        b.admin, {"id": grant_id(b.grant(SSN))}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST grants/{id}/resume": lambda b: (
        b.admin, {"id": _suspended(b)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST grants/{id}/blocks/{block}/revoke": lambda b: (
        b.admin, {"id": grant_id(b.grant(SSN)), "block": "A" * 43}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST approvals/{id}/approve": _decide,
    "POST approvals/{id}/deny": _decide,
    "POST break-glass": _glass,
    "POST break-glass/{id}/review": _review,
    "POST kill": lambda b: (b.admin, {}, {"agent": "demo"}, {"purpose": "support"}),
    "POST agents/{id}/keys": lambda b: (b.admin, {"id": b.agent_id}, new_holder(), new_holder()),
    "DELETE agents/{id}/keys/{jkt}": lambda b: (
        b.admin, {"id": b.agent_id, "jkt": a_holder(b)}, None, None
    ),
    "DELETE kill/{id}": lambda b: (b.admin, {"id": a_kill(b)}, None, None),
    "PUT policy": lambda b: (
        b.admin, {}, msgspec.to_builtins(planned(b)), {"text": planned(b).text, "digest": "0" * 64}
    ),
    "POST reviews": lambda b: (
        b.admin, {}, (body := a_review_body(b)), body | {"due": "2027-06-01T00:00:00Z"}
    ),
    "POST reviews/{id}/items/{number}": lambda b: (
        (made := a_review(b))[0], {"id": made[1], "number": "1"},
        {"decision": "confirm", "reason": "a"}, {"decision": "remove", "reason": "a"},
    ),
    "POST erasures": lambda b: (
        b.admin, {},
        {"subject": "nobody", "grounds": "objection"}, {"subject": "else", "grounds": "objection"}
    ),
    "POST subjects/reopen": _reopen,
    "POST events": lambda b: (b.admin, {}, (body := with_event(b)), body | {"subject": "else"}),
    "POST holds": lambda b: (
        b.admin, {}, {"everything": True, "reason": "a"}, {"everything": True, "reason": "b"}
    ),
    "POST holds/{id}/confirm": lambda b: (
        an_officer(b), {"id": a_hold(b)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST holds/{id}/release": lambda b: (b.admin, {"id": a_hold(b)}, {"reason": "a"}, {"reason": "b"}),
    "POST holds/{id}/approve": lambda b: (
        an_officer(b), {"id": a_hold(b, releasing=True)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST holds/{id}/keep": lambda b: (
        b.admin, {"id": a_hold(b, releasing=True)}, {"reason": "a"}, {"reason": "b"}
    ),
    "POST verify": _verify,
    "DELETE grants/{id}": lambda b: (b.admin, {"id": grant_id(b.grant(SSN))}, None, None),
    "POST schema/apply": _apply,
    "POST principals": lambda b: (
        b.admin, {}, {"kind": "service", "name": "one"}, {"kind": "service", "name": "two"}
    ),
    "DELETE principals/{id}": lambda b: (b.admin, {"id": b.service_id}, None, None),
    "POST tenants": lambda b: (b.admin, {}, {"name": "acme"}, {"name": "other"}),
    "POST principals/{id}/keys": lambda b: (
        b.admin, {"id": b.service_id}, {}, {"expires": "2100-01-01T00:00:00Z"}
    ),
    "POST principals/{id}/clients": lambda b: (
        b.admin, {"id": b.service_id}, {"thumbprint": "A" * 43}, {"thumbprint": "B" * 42 + "A"}
    ),
    "POST epochs/turn": lambda b: (b.admin, {}, {"replays": "keep"}, {"replays": "drop"}),
    "POST transfers": lambda b: (
        b.admin, {}, with_neighbour(b), with_neighbour(b) | {"legal_basis": "explicit_consent"}
    ),
    "POST jobs/{id}/cancel": lambda b: (b.admin, {"id": a_job(b)}, None, None),
    "POST jobs/{id}/resume": lambda b: (
        b.admin, {"id": b.run(cancel_job, a_job(b), by=b.admin).id}, None, None
    ),
    "DELETE keys/{id}": lambda b: (
        b.admin, {"id": b.key(b.service_id).rpartition("_")[0]}, None, None
    ),
}  # fmt: skip


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made


def ask(built: BuiltCell, route: Route, asked: Asked, key: str, *, other: bool = False) -> Any:
    """The decoded answer to a request with an Idempotency-Key."""
    by, path, *bodies = asked
    body = bodies[1 if other else 0]
    if isinstance(body, dict) and route.body is not None:
        body = msgspec.convert(body, route.body)
    call = Call(built.cell, built.request(by, once=key), body, path, {})
    return msgspec.json.decode(msgspec.json.encode(perform(built.cell, lambda: route.start(call))))


def test_every_route_that_changes_something_is_tried() -> None:
    assert CHANGING.keys() <= ASKED.keys() <= BY_NAME.keys()


def test_who_does_not_take_a_key_says_why() -> None:
    for name, route in BY_NAME.items():
        operation = DOCUMENT["paths"][f"/v1/{{region}}/{route.path}"][route.method.lower()]
        named = [part["name"] for part in operation["parameters"] if part["in"] == "header"]
        assert named == (["Idempotency-Key"] if name in CHANGING else [])
        assert ("idempotency_conflict" in codes_of(route)) is (name in CHANGING)
        if name not in CHANGING and route.method != "GET":
            assert f"takes no Idempotency-Key: {route.unrepeatable}" in operation["description"]


@pytest.mark.parametrize("name", CHANGING)
def test_a_request_is_done_once_and_answered_again(built: BuiltCell, name: str) -> None:
    route = CHANGING[name]
    asked = ASKED[name](built)
    first = ask(built, route, asked, "again")
    done = rows(built)
    second = ask(built, route, asked, "again")
    assert ask(built, route, asked, "again") == second
    assert rows(built) == done
    assert "replayed" not in first
    assert second.pop("replayed") is True
    if "credential" in first:
        assert first.pop("credential")
        assert second.pop("credential", "absent") is None
    if name in ("POST detokenize", "POST decrypt"):
        assert first["items"] == [{"value": "Ada"}]
        assert second == {"decision": first["decision"], "items": None}
    elif name == "POST verify":
        assert first["match"] is True
        assert second == {"decision": first["decision"], "match": None}
    else:
        assert second == first
    assert len(done["cu_idempotency"]) == 1


@pytest.mark.parametrize("name", CHANGING)
def test_another_request_under_the_same_key_is_a_conflict(built: BuiltCell, name: str) -> None:
    route = CHANGING[name]
    asked = ASKED[name](built)
    by, path, body, other = asked
    if body is None:
        beyond = path | {"id": path["id"][:-1] + ("0" if path["id"][-1] != "0" else "1")}
        other_request: Asked = (by, beyond, None, None)
    else:
        other_request = (by, path, other, other)
    ask(built, route, asked, "again")
    done = rows(built)
    with pytest.raises(CoatcheckError) as refusal:
        ask(built, route, other_request, "again")
    assert refusal.value.code in ("idempotency_conflict", *([] if body is not None else ["not_found"]))
    assert rows(built) == done


@pytest.mark.parametrize("name", CHANGING)
def test_the_control_without_a_key_does_it_again_or_refuses(built: BuiltCell, name: str) -> None:
    route = CHANGING[name]
    by, path, *bodies = ASKED[name](built)
    body = msgspec.convert(bodies[0], route.body) if isinstance(bodies[0], dict) and route.body else bodies[0]
    outcomes: list[Any] = []
    for _ in range(2):
        call = Call(built.cell, built.request(by), body, path, {})
        try:
            outcomes.append(perform(built.cell, lambda call=call: route.start(call)))  # type: ignore[misc]
        except Exception as refusal:
            outcomes.append(refusal)
    assert "replayed" not in msgspec.json.decode(msgspec.json.encode(outcomes[0]))
    assert rows(built)["cu_idempotency"] == []
