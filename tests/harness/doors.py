"""What every route is tried with: a path, a credential, a body that it takes."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.harness.hostile import example, found
from tests.harness.roomy import (
    AGENT,
    EMAIL,
    HANDLE,
    MANY,
    MASKED,
    NAME,
    ONE_CELL,
    PURPOSE,
    SSN,
    TEXT,
    TOKENIZED,
    add_principal,
    grant_body,
    initialise_roomy,
    principal,
)
from tests.support.holders import new_holder
from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.service import Answer, Service
from vault.api.app import ROUTES
from vault.api.openapi import codes_of
from vault.api.problems import TYPE_PREFIX
from vault.api.route import Route
from vault.cli.doors import host_request
from vault.codes import CODES
from vault.config import load
from vault.policy.permissions import KEEPING_KEYS, PERMISSIONS
from vault.services.operators import OperatorBody, create_operator
from vault.wiring import Wiring, perform

UNKNOWN_ID: Final = "01M84HD64DFW18BYTQYF0BJRJQ"
UNKNOWN_BLOCK: Final = "A" * 43
PREFIXES: Final = {
    "approvals": "apr",
    "break-glass": "gr",
    "agents": "pr",
    "erasures": "er",
    "grants": "gr",
    "holds": "hold",
    "keys": "ck",
    "kill": "kill",
    "principals": "pr",
    "reviews": "rev",
    "self": "pk",
    "sessions": "cs",
    "tenants": "tn",
    "transfers": "xfer",
}
BY_NAME: Final = {route.method + " " + route.path: route for route in ROUTES}
FOR_NOBODY: Final = [name for name, route in BY_NAME.items() if not route.who]
"""Routes of those who sign in: they take no credential, and a small body."""
WITH_BODY: Final = [name for name, route in BY_NAME.items() if route.body is not None]

RULES: Final = '@id("all") permit (principal, action, resource);'

# Bodies that the routes take; a route that is not here is tried with an example of its type.
TAKEN: Final[dict[str, list[Any]]] = {
    "POST tokenize": [
        {"field": NAME, "values": ["Ada"], "subjects": ["person"]},
        {"items": [{"field": NAME, "value": "Ada", "subject": "person"}, {"field": SSN, "value": "1"}]},
        {"items": [{"field": EMAIL, "value": "ada@example.org", "subject": "person"}], "on_error": "report"},
        {"field": HANDLE, "values": ["ada"], "subjects": ["person"], "keep": "P7D"},
    ],
    "POST tokenize/check": [
        {"field": NAME, "values": ["Ada", None], "subjects": ["person", None]},
        {"field": SSN, "values": ["1", "123-45-6789"]},
    ],
    "POST rekey": [
        {"field": SSN, "tokens": ["123-45-6789", None], "from_version": 1},
        {"field": SSN, "tokens": ["1"], "from_version": 1, "on_error": "report"},
    ],
    "POST agents/{id}/keys": [new_holder()],
    "POST keys/{id}/destroy": [{"attestation": {"by": "Ada", "statement": "none is left"}}],
    "POST keys/{id}/replace": [
        {"overlap": "P7D", "expires": "2100-01-01T00:00:00Z", "networks": ["192.0.2.0/24"]},
    ],
    "POST encrypt": [
        {"items": [{"field": TEXT, "value": "Ada", "subject": "person", "record": "row 7"}]},
        {"items": [{"field": TEXT, "value": "Ada"}], "on_error": "report"},
    ],
    "POST decrypt": [
        {"purpose": PURPOSE, "items": [{"field": TEXT, "ciphertext": "ve1." + "A" * 160, "record": "row 7"}]},
        {"purpose": PURPOSE, "operation": "reveal", "delivery": "plain", "on_error": "report",
         "items": [{"field": TEXT, "ciphertext": "ve1.AAAA", "subject": "person"}]},
    ],
    "POST detokenize": [
        {"purpose": PURPOSE, "field": SSN, "tokens": ["123-45-6789"], "key_version": 1},
        {"purpose": PURPOSE, "operation": "mask", "mask": "initial", "delivery": "plain",
         "items": [{"field": NAME, "token": "tok_" + "a" * 26, "subject": "person"}]},
    ],
    "POST grants": [
        grant_body([NAME], 1, ["person"]) | {"reason": "a", "on_behalf_of": "user:1"},
        {"agent": AGENT, "purpose": PURPOSE, "limits": {"uses": 2, "batch": 1},
         "scope": [{"fields": [SSN], "operations": ["mask"], "delivery": ["plain"], "mask": "last4",
                    "key_version": 1}],
         "valid": {"until": "2100-01-01T00:00:00Z"}},
        {"agent": AGENT, "purpose": PURPOSE,
         "limits": {"uses": 2, "rate": {"count": 5, "per_s": 60}, "verify_attempts": 2},
         "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["sealed"]}],
         "subjects": {"max_distinct": 1},
         "valid": {"windows": [{"days": ["mon"], "from": "08:00", "until": "18:00", "zone": "UTC"}]},
         "bind": {"cnf": {"jkt": "A" * 43}, "networks": ["192.0.2.0/24"], "conversation": "c1", "task": "t"},
         "seal_to": {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"},
         "delegation": {"depth": 1, "ttl_max_s": 60},
         "approval": {"n": 2, "of": ["role:privacy-officer", "operator:ada"], "ttl": "PT30M",
                      "when": {"op": "reveal", "fields": [NAME]}, "not_self": False}},
    ],
    "PATCH grants/{id}": [
        {"version": 1, "uses": 1, "batch": 1, "until": "2099-01-01T00:00:00Z", "conversation": "c1",
         "networks": ["127.0.0.0/8"], "subjects": {"in": ["person"], "max_distinct": 1},
         "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]},
        {"version": 2, "uses": 10**12, "reason": "a"},
    ],
    "POST grants/simulate": [
        {"grant": f"gr_{UNKNOWN_ID}", "purpose": PURPOSE, "fields": [NAME], "source": "192.0.2.1"},
    ],
    "POST approvals/{id}/approve": [{"digest": "A" * 43, "reason": "a"}],
    "POST approvals/{id}/deny": [{"digest": "A" * 43}],
    "POST break-glass": [
        {"agent": AGENT, "purpose": PURPOSE, "reason": "a", "review_by": "2100-01-01T00:00:00Z",
         "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]},
    ],
    "POST break-glass/{id}/review": [{"verdict": "justified", "note": "a"}, {"verdict": "fine"}],
    "POST kill": [{"conversation": "conv-of-nobody", "reason": "a"}],
    "POST verify": [
        {"purpose": PURPOSE, "field": SSN, "token": "123-45-6789", "candidate": "123-45-6789",
         "key_version": 1, "conversation": "c1"},
    ],
    "POST schema/plan": [{"toml": "[purposes.a]"}, {"document": {"purposes": {"a": {"activity": "x"}}}}],
    "POST schema/apply": [{"toml": "[purposes.a]", "digest": "0" * 64}],
    "POST policy/plan": [{"text": RULES}, {"text": "permit (principal, action, resource);"}],
    "PUT policy": [{"text": RULES, "digest": "0" * 64}],
    "POST policy/test": [
        {"cases": [{"principal": AGENT, "action": "reveal", "field": NAME, "expect": "permit",
                    "context": {"purpose": PURPOSE, "hour": 3, "ip": "192.0.2.1"}}]},
        {"cases": [{"principal": "service:a", "action": "tokenize", "field": NAME, "roles": ["admin"]}],
         "text": RULES},
    ],
    "POST policy/explain": [
        {"decision": f"dec_{UNKNOWN_ID}"},
        {"case": {"principal": "operator:a", "action": "grant:create", "purpose": PURPOSE}},
    ],
    "POST reviews": [
        {"due": "2026-12-24T00:00:00Z", "reviewer": "operator:nobody", "deputy": "operator:other",
         "scope": {"kinds": ["role"], "principals": ["service:all"]}},
    ],
    "POST reviews/{id}/items/{number}": [{"decision": "confirm", "reason": "needed"}],
    "POST erasures": [
        {"subject": "person", "grounds": "objection", "request_ref": "ticket 7"},
        {"subject": "person", "grounds": "objection", "dry_run": True},
    ],
    "POST events": [
        {"event": "closed", "subject": "person"},
        {"event": "closed", "subject": "person", "at": "2026-01-01T00:00:00Z"},
    ],
    "POST subjects/status": [{"subject": "person"}],
    "POST reports/disclosures": [
        {"subject": "person"},
        {"subject": "person", "from": "2026-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "cursor": "7"},
    ],
    "POST subjects/reopen": [{"subject": "person", "reason": "a"}],
    "POST holds": [
        {"subject": "person", "reason": "a"}, {"field": NAME, "reason": "a"},
        {"class": "customer", "reason": "a"},
    ],
    "POST holds/{id}/release": [{"reason": "a"}],
    "POST holds/{id}/confirm": [{"reason": "a"}],
    "POST holds/{id}/approve": [{"reason": "a"}],
    "POST holds/{id}/keep": [{"reason": "a"}],
    "POST principals": [principal("other"), {"kind": "agent", "name": "agent:other"}],
    "POST directory/lookup": [{"subject": "person"}],
    "POST transfers": [
        {"subject": "person", "to": "us", "legal_basis": "contract", "fields": [SSN]},
        {"subject": "person", "to": "us", "legal_basis": "contract", "fields": [HANDLE]},
        {"subject": "person", "to": "us", "legal_basis": "contract", "fields": [HANDLE], "mode": "move"},
    ],
    "POST arrivals": [
        {"source": "us", "transfer": f"xfer_{UNKNOWN_ID}", "number": 1, "enc_ct": "AAAA"},
    ],
    "POST tenants": [{"name": "acme"}],
    "POST sessions": [
        {"name": "nobody", "password": "walnut ferry lantern", "code": "123456"},
        {"name": "nobody@acme", "password": "walnut ferry lantern"},
    ],
    "POST sessions/passkey": [{"answer": {"rawId": "AAAA", "response": {"clientDataJSON": "e30"}}}],
    "POST sessions/step-up": [{"code": "123456"}, {"answer": {"rawId": "AAAA"}}],
    "POST self/password": [{"password": "walnut ferry lantern", "new_password": "quartz meadow thimble"}],
    "POST self/totp/confirm": [{"code": "123456"}],
    "POST self/passkeys": [{"answer": {"rawId": "AAAA", "response": {"clientDataJSON": "e30"}}}],
    "POST principals/{id}/clients": [{"thumbprint": "A" * 43, "networks": ["127.0.0.0/8"]}],
    "POST principals/{id}/keys": [{"expires": "2100-01-01T00:00:00Z", "networks": ["127.0.0.0/8"]}],
}  # fmt: skip


def bodies_taken(route: Route) -> list[Any]:
    """Bodies that a route takes or nearly takes, an example of its type last."""
    return [*TAKEN.get(f"{route.method} {route.path}", []), example(route.body)]


def path_of(route: Route) -> str:
    """The route's path with ids that nothing has."""
    prefix = PREFIXES.get(route.path.partition("/")[0], "")
    path = route.path.replace("{id}", f"{prefix}_{UNKNOWN_ID}").replace("{name}", "no.such.field")
    path = path.replace("{block}", UNKNOWN_BLOCK).replace("{jkt}", UNKNOWN_BLOCK)
    return path.replace("{number}", "1")


class Doors:
    """A served deployment, and credentials that open every route.

    Attributes:
        all_powerful: of a service that may do everything but what is for custodians of keys.
        custodian: of a service that may do that, and gives no data away.
        grant: of a grant over all fields that lasts.
        session: of an operator with a second factor.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        roles = {"roles": ["admin", "auditor"]}
        single = [name for name in PERMISSIONS if not name.endswith("*")]
        permissions = [name for name in single if name not in KEEPING_KEYS]
        permissions += [f"tokenize:{field}" for field in TOKENIZED]
        permissions += [f"encrypt:{TEXT}", f"rekey:{SSN}", f"grant:create:{PURPOSE}"]
        _, self.all_powerful = add_principal(service, "all", permissions=permissions, **roles)
        _, self.custodian = add_principal(service, "custodian", permissions=single, ceiling=None)
        body = {
            "agent": AGENT,
            "purpose": PURPOSE,
            "limits": {"uses": MANY},
            "scope": [
                {"fields": list(MASKED), "operations": ["reveal", "mask"], "delivery": ["plain"]},
                {"fields": [*TOKENIZED, TEXT], "operations": ["reveal"], "delivery": ["plain"]},
            ],
        }
        made = service.call("POST", "grants", body, key=self.all_powerful)
        assert made.status == 201, made.body
        self.grant = str(made.json()["credential"])
        self.session = signed_in(service)

    def credential(self, route: Route) -> str:
        """One that the route takes."""
        if route.who in ((), ("session",)):
            return self.session
        if route.permission in KEEPING_KEYS:
            return self.custodian
        return self.all_powerful if "key" in route.who else self.grant

    def send(self, route: Route, body: bytes) -> Answer:
        """A body to a route, with a credential that it takes."""
        return self.service.call(route.method, path_of(route), body, key=self.credential(route))


def initialise_doors(folder: Path, more: str = "") -> Service:
    """A deployment for `Doors`, not yet started, whose log says all it can; with more settings."""
    initialise_roomy(folder, ONE_CELL + more)
    add_operator(folder, "watcher", "reviewer")
    return Service(folder)


def add_operator(folder: Path, *names: str) -> None:
    """Operators with a password, who may approve, break glasses and review, and nothing else."""
    config = load(folder / "coatcheck.toml")
    permissions = ["break-glass:create", "break-glass:review", "hold:decide"]
    with closing(Wiring(config).open(next(iter(config.cell)))) as opened:
        for name in names or ("watcher",):
            body = OperatorBody(name, PASSWORD, ["approver"], permissions)
            perform(opened.cell, partial(create_operator, opened.cell, host_request(), body))


def signed_in(service: Service, name: str = "watcher") -> str:
    """The session of such an operator, in which a device was just enrolled."""
    made = service.call("POST", "sessions", {"name": name, "password": PASSWORD}, key="none")
    assert made.status == 201, made.body
    session = str(made.json()["credential"])
    device = Device(service.call("POST", "self/totp", key=session).json()["secret"])
    step = int(time.time()) // STEP_S
    confirmed = service.call("POST", "self/totp/confirm", {"code": device.at(step)}, key=session)
    assert confirmed.status == 200, confirmed.body
    return session


def complaints(answer: Answer, method: str = "GET") -> list[str]:
    """What is wrong with an answer, whatever was asked."""
    wrong = []
    shown = dict(answer.headers)
    if answer.status >= 500:
        wrong.append(f"status {answer.status}")
    if "no-store" not in shown.get("cache-control", ""):
        wrong.append("may be cached")
    if not shown.get("x-request-id", "").startswith("req_"):
        wrong.append("has no request id")
    if shown.get("x-content-type-options") != "nosniff":
        wrong.append("may be taken for another type")
    if answer.status >= 400:
        if found(_shown(answer)):
            wrong.append("echoes")
        wrong += _not_a_problem(answer, shown) if method != "HEAD" else []
    return wrong


def undocumented(route: Route, answer: Answer) -> list[str]:
    """The codes of a refusal, its items' too, that the route's documentation does not list."""
    if answer.status < 400:
        return [] if answer.status == route.status else [f"status {answer.status}"]
    document = answer.json()
    found = {document["code"], *(item["code"] for item in document.get("errors", []))}
    return sorted(found - set(codes_of(route)))


def _shown(answer: Answer) -> str:
    """All that an answer shows, but for the names in a schema that the reasons why it is refused go by."""
    text = answer.body.decode("utf-8", "replace")
    if answer.body.startswith(b"{") and answer.code in ("schema_refused", "policy_refused"):
        document = answer.json()
        reasons = [line.partition(": ")[2] for line in document.pop("refusals")]
        text = repr((document, reasons))
    return text + repr(answer.headers)


def _not_a_problem(answer: Answer, shown: dict[str, str]) -> list[str]:
    if shown.get("content-type") != "application/problem+json":
        return ["is not a problem document"]
    document = answer.json()
    code = document.get("code")
    if code not in CODES:
        return ["has a code that is none"]
    wrong = []
    expected = 422 if "errors" in document else CODES[code].status
    if not answer.status == document["status"] == expected:
        wrong.append(f"has status {answer.status} with {code}")
    if document["type"] != TYPE_PREFIX + code or document["title"] != CODES[code].sentence:
        wrong.append("has a type or a title of another code")
    if document["request"] != shown.get("x-request-id") or document["retry"] != CODES[code].retry:
        wrong.append("disagrees with itself")
    return wrong
