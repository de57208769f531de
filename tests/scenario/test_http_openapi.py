"""The OpenAPI document is well formed, and says what the service does."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.harness.doors import (
    BY_NAME,
    RULES,
    Doors,
    bodies_taken,
    initialise_doors,
    path_of,
    signed_in,
)
from tests.harness.hostile import bodies
from tests.harness.jsonschema import Validator
from tests.harness.roomy import AGENT, HANDLE, NAME, PURPOSE, SCHEMA, SSN, TEXT, grant_body
from tests.support.batches import a_batch_to
from tests.support.holders import new_holder
from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.passkeys import Authenticator
from tests.support.service import Answer, coatcheck_here
from vault.api.app import ROUTES
from vault.api.openapi import document
from vault.api.route import Route
from vault.clock import DAY, SystemClock, format_time
from vault.config import load
from vault.identifiers import uuid7
from vault.wiring import Wiring

METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
MORE = """
[cell.us]
database = "sqlite:///us.db"
kms = "local:keys/us"
half_stores = ["keys/us"]
key_file = "keys/us/development.key"
schema = "schema.toml"

[directory]
database = "sqlite:///directory.db"
kms = "local:keys/directory"
half_stores = ["keys/directory"]
key_file = "keys/directory/development.key"
"""
DOCUMENT = json.loads(json.dumps(document(ROUTES)))
VALIDATOR = Validator(DOCUMENT)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("openapi") / "deployment", MORE)
    assert coatcheck_here("directory", "create", "--config", service.folder).returncode == 0
    service.settings["COATCHECK_WORKER__INSIDE"] = "false"  # a job is to stand where it was put
    service.settings["COATCHECK_CELL__EU__TRANSFER_TO"] = '["us"]'
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def test_it_is_served_as_it_is_made(doors: Doors) -> None:
    answer = doors.service.get("/openapi.json")
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json() == DOCUMENT


def test_it_has_the_shape_of_openapi() -> None:
    """OpenAPI 3.1, sections 4.8.1, 4.8.2, 4.8.8, 4.8.9."""
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT.keys() <= {"openapi", "info", "paths", "components", "servers", "tags", "security"}
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    assert all(path.startswith("/v1/{region}/") for path in DOCUMENT["paths"])
    assert {method for _, method, _ in operations()} <= METHODS


def test_every_route_is_in_it_and_nothing_else() -> None:
    described = {(method.upper(), path) for path, method, _ in operations()}
    assert described == {(route.method, f"/v1/{{region}}/{route.path}") for route in ROUTES}


def test_operations_are_told_apart() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9_]+", id_) for id_ in ids)
    assert all(operation["summary"].endswith(".") for _, _, operation in operations())


def test_parameters_are_those_of_the_path() -> None:
    for path, _, operation in operations():
        listed = [(p["name"], p["in"]) for p in operation["parameters"]]
        assert len(listed) == len(set(listed))
        in_path = {name for name, where in listed if where == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
        assert all(p["description"] for p in operation["parameters"] if p["in"] == "query")


def test_answers_are_described() -> None:
    for path, method, operation in operations():
        route = BY_NAME[f"{method.upper()} {path.removeprefix('/v1/{region}/')}"]
        assert operation["responses"].keys() >= {str(route.status), "400", "421", "500", "503"}
        assert "401" in operation["responses"] or not route.who
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status)
            assert response["description"]
            media = "application/json" if status < "400" else "application/problem+json"
            sheet = ["text/csv"] if route.sheet or route.printed else []
            texts = [*sheet, "text/html"] if route.printed else sheet
            assert list(response["content"]) == [media, *(texts if status == str(route.status) else [])]
        for who in operation["security"]:
            assert who.keys() <= DOCUMENT["components"]["securitySchemes"].keys()


def test_references_lead_somewhere() -> None:
    references = {node["$ref"] for node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    assert references
    for reference in references:
        assert VALIDATOR.resolve(reference)
    used = {reference.rpartition("/")[2] for reference in references}
    assert used | {"Listing"} >= DOCUMENT["components"]["schemas"].keys()


def test_bodies_are_closed() -> None:
    """What is unknown in a request is refused, and the document says so."""
    for route in ROUTES:
        if route.body is not None:
            schema = DOCUMENT["components"]["schemas"][route.body.__name__]
            assert schema["additionalProperties"] is False


def agrees(route: Route, answer: Answer) -> list[str]:
    """Where an answer is not what the document says of its route."""
    operation = DOCUMENT["paths"][f"/v1/{{region}}/{route.path}"][route.method.lower()]
    response = operation["responses"].get(str(answer.status))
    if response is None:
        return [f"status {answer.status} is not described"]
    media = answer.header("content-type")
    if media not in response["content"]:
        return [f"{media} is not described"]
    return list(VALIDATOR.faults(response["content"][media]["schema"], answer.json()))


def sign_in(doors: Doors, call: Any) -> None:
    """All that operators do, each once."""
    session = doors.session
    codes = call("POST self/recovery-codes", {}, key=session)["codes"]
    body = {"name": "watcher", "password": PASSWORD}
    other = call("POST sessions", {**body, "code": codes[0]}, key="none")
    call("GET whoami", key=session)
    call("GET sessions", key=session)
    call("DELETE sessions/{id}", key=session, id=other["id"])
    call("POST sessions/step-up", {"code": codes[1]}, key=session)
    made = Authenticator(origin=f"http://localhost:{doors.service.port}")
    options = call("POST self/passkeys/options", {}, key=session)["options"]
    call("POST self/passkeys", {"answer": made.register(options), "label": "a"}, key=session)
    options = call("POST sessions/step-up/options", {}, key=session)["options"]
    call("POST sessions/step-up", {"answer": made.sign(options)}, key=session)
    options = call("POST sessions/passkey/options", {}, key="none")["options"]
    third = call("POST sessions/passkey", {"answer": made.sign(options)}, key="none")["credential"]
    [passkey] = call("GET self/passkeys", key=session)["items"]
    device = Device(call("POST self/totp", {}, key=session)["secret"])
    code = {"code": device.at(int(time.time()) // STEP_S)}
    call("POST self/totp/confirm", code, key=session)
    call("POST self/password", {"password": PASSWORD, "new_password": "quartz meadow thimble"}, key=session)
    call("DELETE self/totp", key=session)
    call("DELETE self/passkeys/{id}", key=session, id=passkey["id"])
    call("DELETE sessions/current", key=session)
    assert doors.service.call("GET", "whoami", key=third).status == 401


def approve(doors: Doors, call: Any, item: dict[str, str]) -> None:
    """All that people do about approvals and broken glasses, each once."""
    person, asked = doors.session, {"purpose": PURPOSE, "items": [item]}
    needs = {"of": ["role:approver"], "when": {"op": "reveal"}}
    held = call("POST grants", grant_body([NAME], 5) | {"approval": needs})
    for verdict in ("deny", "approve"):
        asked["conversation"] = verdict
        refused = doors.service.call("POST", "detokenize", asked, key=held["credential"])
        assert refused.code == "approval_required"
        of = {"id": refused.json()["approval"]["id"]}
        call("GET approvals/{id}", key=held["credential"], **of)
        seen = call("GET approvals/{id}", key=person, **of)
        assert len(seen["preview"]) == 1
        body = {"digest": seen["digest"], "reason": "a"}
        call(f"POST approvals/{{id}}/{verdict}", body, key=person, **of)
    call("POST detokenize", asked, key=held["credential"])
    call("POST grants", grant_body([NAME], 5) | {"approval": {"of": ["role:approver"]}})
    call("GET approvals", key=person)
    review_by = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    broken = grant_body([NAME], 5) | {"reason": "a", "review_by": review_by}
    made = call("POST break-glass", broken, key=person)
    other = signed_in(doors.service, "reviewer")
    call("POST break-glass/{id}/review", {"verdict": "justified", "note": "a"}, key=other, id=made["id"])
    call("GET break-glass")


def test_answers_agree(doors: Doors) -> None:
    """Every route is made to succeed, and its answer is what the document says."""
    seen: set[str] = set()

    def call(what: str, body: Any = None, key: str = "", **path: str) -> Any:
        route = BY_NAME[what]
        target = route.path.format(**path)
        answer = doors.service.call(route.method, target, body, key=key or doors.credential(route))
        assert answer.status == route.status, answer.body
        assert agrees(route, answer) == []
        seen.add(what)
        return answer.json()

    for body in (
        {"field": SSN, "values": ["123-45-6789", None]},
        {"field": NAME, "values": ["Ada"], "subjects": ["p1"]},
        {"items": [{"field": NAME, "value": "Ada", "subject": "p1"}, {"field": SSN, "value": "123456789"}]},
    ):
        made = call("POST tokenize", body)
    call("POST tokenize/check", {"field": SSN, "values": ["123-45-6789", "x", None]})
    grant = call("POST grants", grant_body([NAME, SSN], 5) | {"reason": "a", "on_behalf_of": "b"})
    limited = call("POST grants", grant_body([NAME], 5, ["p1"]))
    item = {"field": NAME, "token": made["items"][0]["token"]}
    call("POST detokenize", {"purpose": PURPOSE, "items": [item]}, key=grant["credential"])
    columns = {"purpose": PURPOSE, "field": NAME, "tokens": [item["token"], None]}
    call("POST detokenize", columns, key=grant["credential"])
    texts = call("POST encrypt", {"items": [{"field": TEXT, "value": "hi", "subject": "p1", "record": "7"}]})
    opened = call("POST grants", grant_body([TEXT], 5))
    sealed = {"field": TEXT, "ciphertext": texts["items"][0]["ciphertext"], "record": "7"}
    call("POST decrypt", {"purpose": PURPOSE, "items": [sealed]}, key=opened["credential"])
    call("GET grants")
    call("GET grants/{id}", id=grant["id"])
    call("GET grants/{id}", id=grant["id"], key=grant["credential"])
    call("GET grants/{id}", id=limited["id"])
    call("POST grants/{id}/suspend", {"reason": "a"}, id=grant["id"])
    call("POST grants/{id}/resume", id=grant["id"])
    call("PATCH grants/{id}", {"version": 3, "uses": 4}, id=grant["id"])
    call("POST grants/{id}/blocks/{block}/revoke", {}, id=grant["id"], block="A" * 43)
    call("POST grants/simulate", {"grant": grant["id"], "purpose": PURPOSE, "fields": [NAME]})
    stopped = call("POST kill", {"conversation": "c1", "reason": "a"})
    call("GET kill")
    call("DELETE kill/{id}", id=stopped["id"])
    call("GET grants/{id}/usage", id=grant["id"])
    call("POST intake-key")
    agent = call("POST principals", {"kind": "agent", "name": "keyed"})
    held = call(
        "POST agents/{id}/keys",
        new_holder() | {"label": "one", "expires": "2100-01-01T00:00:00Z"},
        id=agent["id"],
    )
    more = {"replaces": held["jkt"], "overlap": "P1D"}
    call("POST agents/{id}/keys", new_holder() | more, id=agent["id"])
    call("GET agents/{id}/keys", id=agent["id"])
    call("DELETE agents/{id}/keys/{jkt}", id=agent["id"], jkt=held["jkt"])
    told = {"fields": [SSN], "operations": ["verify"], "delivery": []}
    asking = call("POST grants", grant_body([SSN], 5) | {"scope": [told]})
    compared = {"purpose": PURPOSE, "field": SSN, "token": made["items"][1]["token"], "key_version": 1}
    call("POST verify", {**compared, "candidate": "123456789"}, key=asking["credential"])
    approve(doors, call, item)
    call("POST grants/{id}/revoke", {"reason": "a"}, id=grant["id"])
    call("DELETE grants/{id}", id=limited["id"])
    call("GET whoami")
    forget(doors, call)
    sign_in(doors, call)
    call("GET fields")
    call("GET fields/{name}", name=SSN)
    call("GET fields/{name}", name=NAME)
    call("GET fields/{name}/explain", name=SSN)
    call("GET fields/{name}/explain", name=TEXT)
    call("GET templates/{name}/explain", name="card")
    call("GET schema")
    call("GET schema/versions")
    call("GET schema/versions/{id}", id="1")
    plan = call("POST schema/plan", {"toml": SCHEMA + '\n[purposes.more]\nlegal_basis = "consent"\n'})
    applied = {"toml": SCHEMA + '\n[purposes.more]\nlegal_basis = "consent"\n', "digest": plan["digest"]}
    call("POST schema/apply", applied)
    ceiling = {"fields": [NAME], "subjects": ["p1", "p2"], "uses": 3, "uses_per_day": 10, "agents": [AGENT]}
    person = call("POST principals", {"kind": "service", "name": "x", "ceiling": ceiling})
    call("GET principals")
    key = call("POST principals/{id}/keys", {"expires": "2100-01-01T00:00:00Z"}, id=person["id"])
    call("POST principals/{id}/clients", {"thumbprint": "A" * 43}, id=person["id"])
    call("GET whoami", key=key["credential"])
    call("GET principals/{id}/keys", id=person["id"])
    call("POST keys/{id}/replace", {"overlap": "P1D"}, id=key["id"])
    call("GET keys/{id}", id=key["id"])
    call("GET principals/{id}/keys", id=person["id"])
    call("DELETE keys/{id}", id=key["id"])
    call("GET principals/{id}/keys", id=person["id"])
    call("DELETE principals/{id}", id=person["id"])
    call("POST tenants", {"name": "acme"})
    call("GET tenants")
    keys = call("GET keys")
    call("GET keys/{id}", id=keys["items"][0]["id"])
    field_key = next(row["id"] for row in keys["items"] if row.get("field") == SSN and row["kind"] == "ff1")
    call("GET keys/{id}/coverage", id=field_key)
    call("GET keys/{id}/coverage", id=next(row["id"] for row in keys["items"] if row["kind"] == "data"))
    old = doors.service.call("POST", "tokenize", {"field": SSN, "values": ["123-45-6789"]}).json()["tokens"]
    call("POST keys/{id}/rotate", {"reason": "due"}, id=field_key)
    oversee(call, made["decision"])
    call("POST rekey", {"field": SSN, "tokens": old, "from_version": 1})
    call("POST rekey", {"field": SSN, "tokens": [*old, "x"], "from_version": 1, "on_error": "report"})
    call("POST keys/{id}/compromise", {}, id=field_key)
    index_key = next(row["id"] for row in keys["items"] if row["kind"] == "subject-reference")
    call("GET keys/{id}/coverage", id=index_key)
    call("POST keys/{id}/rotate", {}, id=index_key)
    word = {"attestation": {"by": "Ada", "statement": "none is left"}}
    call("POST keys/{id}/destroy", word, id=field_key)
    call("GET audit")
    call("GET regions")
    enlist(doors, "p1")
    call("POST directory/lookup", {"subject": "p1"})
    call("POST tokenize", {"field": HANDLE, "values": ["ada"], "subjects": ["p1"]})
    asked = {"subject": "p1", "to": "us", "legal_basis": "relocation", "fields": [HANDLE], "mode": "move"}
    transfer = call("POST transfers", asked)
    sealed_to = call("POST intake-key")["x"]
    call("POST arrivals", msgspec.to_builtins(a_batch_to(sealed_to, "main", HANDLE, "bob", "p2")))
    call("GET transfers/{id}", id=transfer["id"])
    call("GET transfers/{id}/tokens", id=transfer["id"])
    call("GET epochs")
    job = call("POST epochs/turn", {"replays": "drop"})
    call("GET jobs")
    call("GET jobs/{id}", id=job["id"])
    call("POST jobs/{id}/cancel", id=job["id"])
    call("POST jobs/{id}/resume", id=job["id"])
    assert seen == BY_NAME.keys(), "a route that this test does not call yet"


def forget(doors: Doors, call: Any) -> None:
    """Erasures and legal holds."""
    call("POST tokenize", {"field": NAME, "values": ["Eve"], "subjects": ["p9"]})
    call("POST erasures", {"subject": "p9", "grounds": "objection", "dry_run": True})
    made = call("POST erasures", {"subject": "p9", "grounds": "objection", "request_ref": "a"})
    call("GET erasures")
    call("GET erasures/{id}", id=made["id"])
    call("GET erasures/{id}/certificate", id=made["id"])
    call("GET certificate-keys")
    call("POST subjects/status", {"subject": "p9"})
    call("POST erasures", {"subject": "nobody", "grounds": "objection"})
    call("POST subjects/reopen", {"subject": "nobody", "reason": "a"})
    call("GET retention/calendar")
    call("POST retention/run", {"dry_run": True})
    call("POST tokenize", {"field": NAME, "values": ["Eve"], "subjects": ["p8"]})
    counts = SCHEMA + '\n[retention.closed]\nkeep = "P1M"\nfrom = "event:closed"\nmax = "P1Y"\n'
    plan = doors.service.call("POST", "schema/plan", {"toml": counts}, key=doors.all_powerful).json()
    applied = {"toml": counts, "digest": plan["digest"]}
    doors.service.call("POST", "schema/apply", applied, key=doors.all_powerful)
    call("POST events", {"event": "closed", "subject": "p8"})
    held = call("POST holds", {"field": NAME, "reason": "a"})
    call("GET holds")
    call("GET reports/processing")
    call("GET reports/retention")
    call("POST reports/disclosures", {"subject": "p9"})
    call("GET holds/{id}", id=held["id"])
    call("POST holds/{id}/confirm", {"reason": "a"}, key=doors.session, id=held["id"])
    for _ in range(2):
        call("POST holds/{id}/release", {"reason": "a"}, id=held["id"])
        call("POST holds/{id}/keep", {"reason": "a"}, id=held["id"])
    call("POST holds/{id}/release", {"reason": "a"}, id=held["id"])
    call("POST holds/{id}/approve", {"reason": "a"}, key=doors.session, id=held["id"])


def oversee(call: Any, decision: str) -> None:
    """Rules put in force, tried and asked about; and a review of access."""
    call("GET policy")
    plan = call("POST policy/plan", {"text": RULES})
    call("PUT policy", {"text": RULES, "digest": plan["digest"]})
    call("POST policy/plan", {"text": "permit (principal, action, resource);"})
    call("GET policy")
    call("GET policy/versions")
    call("GET policy/versions/{id}", id="1")
    case = {"principal": AGENT, "action": "reveal", "field": NAME}
    call("POST policy/test", {"cases": [{**case, "expect": "permit"}, {**case, "expect": "forbid"}, case]})
    call("POST policy/explain", {"decision": decision})
    call("POST policy/explain", {"case": case})
    keys = {}
    for name in ("first", "second"):
        body = {"kind": "operator", "name": name, "roles": ["reviewer"]}
        person = call("POST principals", body)
        keys[name] = call("POST principals/{id}/keys", {}, id=person["id"])["credential"]
    due = format_time(SystemClock().now() + 10 * DAY)
    names = {"reviewer": "operator:first", "deputy": "operator:second"}
    scope = {"principals": ["operator:first", "operator:second"]}
    review = call("POST reviews", {"due": due, **names, "scope": scope})
    call("GET reviews")
    items = call("GET reviews/{id}", id=review["id"])["items"]
    for item, decided in zip(items[:2], ("confirm", "remove"), strict=True):
        key = keys[item["reviewer"].removeprefix("operator:")]
        named = {"id": review["id"], "number": str(item["number"])}
        call("POST reviews/{id}/items/{number}", {"decision": decided, "reason": "a"}, key=key, **named)
    call("GET reviews/{id}", id=review["id"])


def enlist(doors: Doors, person: str) -> None:
    """Lists a person, as a worker would."""
    directory = Wiring(load(doors.service.folder / "coatcheck.toml")).directory()
    assert directory is not None
    with closing(directory):
        directory.store.enter("eu", 1)
        held = directory.store.take("eu", uuid7())
        assert held is not None
        newest = directory.keys()[0]
        directory.store.put(held, newest.version, [newest.of("main", person)])


@pytest.mark.parametrize("name", list(BY_NAME))
def test_refusals_agree(doors: Doors, name: str) -> None:
    route = BY_NAME[name]
    target = f"/v1/eu/{path_of(route)}"
    allowed = {"authorization": f"Bearer {doors.credential(route)}"}
    answers = [
        doors.service.request(route.method, target, None, {}),
        doors.service.request(route.method, target + "?x=1", None, allowed),
        doors.service.request(route.method, target.replace("/eu/", "/mars/"), None, {}),
    ]
    if route.body is not None:
        some = [body for document_ in bodies_taken(route) for _, body in list(bodies(document_))[::7]]
        answers += [doors.send(route, body) for body in some]
    wrong = [(answer.status, agrees(route, answer)) for answer in answers]
    assert [(status, faults) for status, faults in wrong if faults] == []


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, [1, -1], [True, 1.5, "1", None]),
        ({"type": ["string", "null"]}, ["", None], [0]),
        ({"enum": ["a"]}, ["a"], ["b", None]),
        ({"type": "array", "items": {"type": "string"}}, [[], ["a"]], [[1], {}]),
        ({"required": ["a"], "properties": {"a": {"const": 1}}}, [{"a": 1, "b": 2}], [{}, {"a": 2}]),
        ({"additionalProperties": False, "properties": {"a": {}}}, [{}, {"a": 1}], [{"b": 1}]),
        ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, [1], [5]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["a", None], [1]),
        ({"minimum": 1, "maximum": 2}, [1, 2], [0, 3]),
        ({"pattern": "^a$", "maxLength": 1}, ["a"], ["b", "aa"]),
        ({"$ref": "#/x"}, [1], ["a"]),
    ],
)
def test_the_validator_finds_faults(schema: Any, good: list[Any], bad: list[Any]) -> None:
    validator = Validator({"x": {"type": "integer"}})
    assert [value for value in good if list(validator.faults(schema, value))] == []
    assert [value for value in bad if not list(validator.faults(schema, value))] == []


def test_the_page_loads_nothing_from_elsewhere(doors: Doors) -> None:
    answer = doors.service.get("/docs")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']?\s*(?:https?:)?//""", page) == []
    assert re.findall(r"<(?:script|iframe|object|embed|link|img|base|form)\b|@import|url\(", page) == []
    for route in ROUTES:
        assert f"{route.method} /v1/{{region}}/{route.path}" in page
