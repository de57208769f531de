"""Requests that every route takes, made on a cell with people in it: a route without one fails a test.

A drive prepares what its request needs (a token, a grant) and says what is to be sent. Add one with every
route; `tests/scenario/test_audit_faults.py` and the fuzzer go by this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from tests.support.cells import AGENT, EMAIL, HANDLE, NAME, SCHEMA, SSN, VISIT
from tests.support.holders import a_holder, new_holder
from tests.support.operators import log_in, operator, passkey
from tests.support.service import Answer
from tests.support.within import Door
from tests.unit.services.calls import (
    CALLS,
    a_batch,
    a_job,
    a_stopped_job,
    a_transfer,
    an_approval,
    an_approver,
    verifying,
    with_directory,
    with_neighbour,
)

VALUE: Final = "123-45-6789"
PERSON: Final = "Ada Lovelace"
PURPOSE: Final = "support"
MORE: Final = SCHEMA + '\n[purposes.another]\nlegal_basis = "consent"\n'


@dataclass(frozen=True)
class Sent:
    """A request that is taken.

    Attributes:
        path: below the region, its ids filled in.
        key: whose it is.
        shows: what its answer shows and a refusal must not.
    """

    path: str
    body: Any = None
    key: str = ""
    shows: tuple[str, ...] = ()


Drive = Callable[[Door], Sent]


def taken(answer: Answer) -> Any:
    """The document of an answer to a request that was to be taken."""
    assert answer.status < 300, answer.body
    return answer.json()


def token(door: Door, field: str, value: str, subject: str | None = None) -> str:
    """The token of one value."""
    body: dict[str, Any] = {"field": field, "values": [value]}
    if subject is not None:
        body["subjects"] = [subject]
    return str(taken(door.call("POST", "tokenize", body))["tokens"][0])


def grant_body(*fields: str, **more: Any) -> dict[str, Any]:
    """A grant to reveal and mask."""
    scope = [{"fields": list(fields), "operations": ["reveal", "mask"], "delivery": ["plain"]}]
    return {"agent": AGENT, "purpose": PURPOSE, "scope": scope, "limits": {"uses": 5}, **more}


def grant(door: Door, *fields: str, **more: Any) -> dict[str, Any]:
    """A grant, as its creation answered."""
    made: dict[str, Any] = taken(door.call("POST", "grants", grant_body(*fields, **more)))
    return made


def person(door: Door) -> str:
    """The id of a new principal."""
    body = {"kind": "service", "name": "another"}
    return str(taken(door.call("POST", "principals", body, key=door.built.admin))["id"])


def key_of(door: Door) -> str:
    """The id of a new service key."""
    made = door.call("POST", f"principals/{person(door)}/keys", {}, key=door.built.admin)
    return str(taken(made)["id"])


def crypto_key(door: Door) -> str:
    """The id of a key of the hierarchy."""
    token(door, SSN, VALUE)
    return str(taken(door.call("GET", "keys", key=door.built.admin))["items"][0]["id"])


def field_key(door: Door) -> str:
    """The id of the key of a vaultless field, which protects."""
    rows = taken(door.call("GET", "keys?kind=ff1&state=active&limit=500", key=door.built.admin))["items"]
    return next(str(row["id"]) for row in rows if row.get("field") == SSN)


def an_enlisted(door: Door) -> str:
    """Somebody of whom something is kept."""
    token(door, NAME, PERSON, "person")
    return "person"


def _vaultless(door: Door) -> Sent:
    # A known value has a known token: vaultless ones are a function of the value.
    return Sent("tokenize", {"field": SSN, "values": [VALUE, None]}, shows=(token(door, SSN, VALUE),))


def _vaulted(_door: Door) -> Sent:
    return Sent("tokenize", {"items": [{"field": NAME, "value": PERSON, "subject": "new-person"}]})


def _reveal(door: Door) -> Sent:
    item = {"field": NAME, "token": token(door, NAME, PERSON, "person")}
    body = {"purpose": PURPOSE, "items": [item]}
    return Sent("detokenize", body, grant(door, NAME)["credential"], (PERSON, "Lovelace"))


def _reveal_vaultless(door: Door) -> Sent:
    made = token(door, SSN, VALUE)
    body = {"purpose": PURPOSE, "field": SSN, "tokens": [made], "key_version": 1}
    return Sent("detokenize", body, grant(door, SSN)["credential"], (VALUE, "123456789"))


def _mask(door: Door) -> Sent:
    sent = _reveal_vaultless(door)
    body = {**sent.body, "operation": "mask", "mask": "last4"}
    return Sent("detokenize", body, sent.key, (VALUE, "6789"))


def _known(field: str, value: str) -> Drive:
    """A deterministic token that there is: its answer is known."""

    def drive(door: Door) -> Sent:
        made = token(door, field, value, "person")
        body = {"field": field, "values": [value], "subjects": ["another"]}
        return Sent("tokenize", body, shows=(made,))

    return drive


def _rekey(door: Door) -> Sent:
    old = token(door, SSN, VALUE)
    taken(door.call("POST", f"keys/{field_key(door)}/rotate", {}, key=door.built.admin))
    body = {"field": SSN, "tokens": [old], "from_version": 1}
    return Sent("rekey", body, shows=(token(door, SSN, VALUE),))


def _ended(door: Door) -> str:
    """The id of a version that another has replaced."""
    key = field_key(door)
    taken(door.call("POST", f"keys/{key}/rotate", {}, key=door.built.admin))
    return key


def _encrypt(_door: Door) -> Sent:
    item = {"field": VISIT, "value": PERSON, "subject": "new-person", "record": "row 7"}
    return Sent("encrypt", {"items": [item]})


def _decrypt(door: Door) -> Sent:
    item = {"field": VISIT, "subject": "person", "record": "row 7"}
    made = door.call("POST", "encrypt", {"items": [{**item, "value": PERSON}]})
    item["ciphertext"] = taken(made)["items"][0]["ciphertext"]
    body = {"purpose": PURPOSE, "items": [item]}
    return Sent("decrypt", body, grant(door, VISIT)["credential"], (PERSON, "Lovelace"))


def _suspended(door: Door) -> str:
    id_ = str(grant(door, SSN)["id"])
    taken(door.call("POST", f"grants/{id_}/suspend", {}))
    return id_


def _kill(door: Door) -> str:
    made = door.call("POST", "kill", {"conversation": "another"}, key=door.built.admin)
    return str(taken(made)["id"])


def _verify(door: Door) -> Sent:
    body = {"purpose": PURPOSE, "field": SSN, "token": token(door, SSN, VALUE), "key_version": 1}
    return Sent("verify", {**body, "candidate": VALUE}, verifying(door.built))


def _apply(door: Door) -> Sent:
    plan = taken(door.call("POST", "schema/plan", {"toml": MORE}, key=door.built.admin))
    return Sent("schema/apply", {"toml": MORE, "digest": plan["digest"]}, door.built.admin)


def _looked_at(door: Door) -> Sent:
    by = an_approver(door.built)
    return Sent(f"approvals/{an_approval(door.built)}", key=by)


def _decide(door: Door) -> Sent:
    by, (review, number, body) = CALLS["decide_item"].prepare(door.built)
    return Sent(f"reviews/{review}/items/{number}", msgspec.to_builtins(body), by)


def _as_called(name: str, path: str, *, bare: bool = False) -> Drive:
    """What a verb is tried with elsewhere, sent to its route; an id in the path is the verb's argument.

    Args:
        bare: whether the route has no body, whatever the verb takes.
    """

    def drive(door: Door) -> Sent:
        by, arguments = CALLS[name].prepare(door.built)
        ids = [one for one in arguments if isinstance(one, str)]
        bodies = [] if bare else [msgspec.to_builtins(one) for one in arguments if not isinstance(one, str)]
        return Sent(path.replace("{id}", ids[0]) if ids else path, bodies[0] if bodies else None, by)

    return drive


def _another_session(door: Door) -> Sent:
    session, device = operator(door.built)
    return Sent(f"sessions/{log_in(door.built, code=device.code(door.built)).id}", key=session)


def _step_up_by_passkey(door: Door) -> Sent:
    session = operator(door.built)[0]
    made = passkey(door.built, session)
    options = taken(door.call("POST", "sessions/step-up/options", key=session))["options"]
    return Sent("sessions/step-up", {"answer": made.sign(options)}, session)


DRIVES: Final[dict[str, dict[str, Drive]]] = {
    "POST tokenize": {
        "vaultless": _vaultless,
        "vaulted": _vaulted,
        "deterministic": _known(EMAIL, "ada@example.org"),
        "shaped": _known(HANDLE, "ada"),
    },
    "POST tokenize/check": {
        "refused": lambda d: Sent("tokenize/check", {"field": SSN, "values": [PERSON, None]}),
    },
    "POST detokenize": {"vaulted": _reveal, "vaultless": _reveal_vaultless, "mask": _mask},
    "POST rekey": {"after a rotation": _rekey},
    "POST encrypt": {"for a new person": _encrypt},
    "POST decrypt": {"with its record": _decrypt},
    "POST grants": {
        "for anybody": lambda d: Sent("grants", grant_body(SSN, reason="ticket 7")),
        "for a new person": lambda d: Sent("grants", grant_body(NAME, subjects={"in": ["new-person"]})),
    },
    "GET grants": {"all": lambda d: Sent("grants", key=d.built.admin)},
    "GET grants/{id}": {
        "by its creator": lambda d: Sent(f"grants/{grant(d, SSN)['id']}"),
        "by its holder": lambda d: Sent(
            f"grants/{(made := grant(d, SSN))['id']}", key=str(made["credential"])
        ),
    },
    "PATCH grants/{id}": {
        "fewer uses": lambda d: Sent(f"grants/{grant(d, SSN)['id']}", {"version": 1, "uses": 1}),
    },
    "POST grants/{id}/suspend": {
        "with a reason": lambda d: Sent(f"grants/{grant(d, SSN)['id']}/suspend", {"reason": "odd"}),
    },
    "POST grants/{id}/resume": {
        "one that waits": lambda d: Sent(f"grants/{_suspended(d)}/resume", {}, d.built.admin),
    },
    "POST grants/{id}/blocks/{block}/revoke": {
        "one not seen": lambda d: Sent(f"grants/{grant(d, SSN)['id']}/blocks/{'A' * 43}/revoke", {}),
    },
    "POST grants/simulate": {
        "one use": lambda d: Sent(
            "grants/simulate",
            {"grant": grant(d, SSN)["id"], "purpose": PURPOSE, "fields": [SSN]},
            d.built.admin,
        ),
    },
    "GET approvals": {"all": _as_called("list_approvals", "approvals", bare=True)},
    "GET approvals/{id}": {"one": _looked_at},
    "POST approvals/{id}/approve": {"one": _as_called("approve", "approvals/{id}/approve")},
    "POST approvals/{id}/deny": {"one": _as_called("deny", "approvals/{id}/deny")},
    "POST break-glass": {"one": _as_called("break_glass", "break-glass")},
    "GET break-glass": {"all": _as_called("list_break_glass", "break-glass", bare=True)},
    "POST break-glass/{id}/review": {"one": _as_called("review_break_glass", "break-glass/{id}/review")},
    "POST kill": {
        "an agent": lambda d: Sent("kill", {"agent": "other", "reason": "gone"}, d.built.admin),
    },
    "GET kill": {"all": lambda d: Sent("kill", key=d.built.admin)},
    "DELETE kill/{id}": {"one": lambda d: Sent(f"kill/{_kill(d)}", key=d.built.admin)},
    "POST verify": {"a number": _verify},
    "GET policy": {"the default": lambda d: Sent("policy", key=d.built.admin)},
    "GET policy/versions": {"listed": lambda d: Sent("policy/versions", key=d.built.admin)},
    "GET policy/versions/{id}": {"one": _as_called("read_policy", "policy/versions/{id}")},
    "POST policy/plan": {"rules": _as_called("plan_policy", "policy/plan")},
    "PUT policy": {"rules": _as_called("apply_policy", "policy")},
    "POST policy/test": {"one case": _as_called("run_policy_tests", "policy/test")},
    "POST policy/explain": {"a refusal": _as_called("explain_decision", "policy/explain")},
    "POST reviews": {"of a ceiling": _as_called("start_review", "reviews")},
    "GET reviews": {"all": lambda d: Sent("reviews", key=d.built.admin)},
    "GET reviews/{id}": {"one": _as_called("read_review", "reviews/{id}")},
    "POST reviews/{id}/items/{number}": {"removed": _decide},
    "POST erasures": {
        "a person": lambda d: Sent(
            "erasures", {"subject": an_enlisted(d), "grounds": "objection"}, d.built.admin
        )
    },
    "GET erasures": {"all": lambda d: Sent("erasures", key=d.built.admin)},
    "GET erasures/{id}": {"one": _as_called("read_erasure", "erasures/{id}")},
    "GET erasures/{id}/certificate": {"one": _as_called("read_certificate", "erasures/{id}/certificate")},
    "GET certificate-keys": {"all": lambda d: Sent("certificate-keys", key=d.built.admin)},
    "POST subjects/status": {
        "a person": lambda d: Sent("subjects/status", {"subject": an_enlisted(d)}, d.built.admin)
    },
    "GET reports/processing": {"all": lambda d: Sent("reports/processing", key=d.built.admin)},
    "GET reports/retention": {"all": lambda d: Sent("reports/retention", key=d.built.admin)},
    "POST reports/disclosures": {
        "a person": lambda d: Sent("reports/disclosures", {"subject": an_enlisted(d)}, d.built.admin)
    },
    "POST subjects/reopen": {"nobody": _as_called("reopen_subject", "subjects/reopen")},
    "POST holds": {
        "a person": lambda d: Sent("holds", {"subject": an_enlisted(d), "reason": "a case"}, d.built.admin)
    },
    "GET retention/calendar": {"all": lambda d: Sent("retention/calendar", key=d.built.admin)},
    "POST retention/run": {"a key": _as_called("run_retention", "retention/run")},
    "POST events": {"a person": _as_called("report_event", "events")},
    "GET holds": {"all": lambda d: Sent("holds", key=d.built.admin)},
    "GET holds/{id}": {"one": _as_called("read_hold", "holds/{id}")},
    "POST holds/{id}/confirm": {"one": _as_called("confirm_hold", "holds/{id}/confirm")},
    "POST holds/{id}/release": {"one": _as_called("ask_release", "holds/{id}/release")},
    "POST holds/{id}/approve": {"one": _as_called("approve_release", "holds/{id}/approve")},
    "POST holds/{id}/keep": {"one": _as_called("keep_hold", "holds/{id}/keep")},
    "POST grants/{id}/revoke": {
        "with a reason": lambda d: Sent(f"grants/{grant(d, SSN)['id']}/revoke", {"reason": "gone"}),
    },
    "DELETE grants/{id}": {"without": lambda d: Sent(f"grants/{grant(d, SSN)['id']}")},
    "GET fields": {"all": lambda d: Sent("fields")},
    "GET fields/{name}": {"one": lambda d: Sent(f"fields/{SSN}")},
    "GET fields/{name}/explain": {"one": lambda d: Sent(f"fields/{SSN}/explain")},
    "GET templates/{name}/explain": {"one": lambda d: Sent("templates/ssn/explain")},
    "GET schema": {"shown": lambda d: Sent("schema", key=d.built.admin)},
    "GET schema/versions": {"listed": lambda d: Sent("schema/versions", key=d.built.admin)},
    "GET schema/versions/{id}": {"shown": lambda d: Sent("schema/versions/1", key=d.built.admin)},
    "POST schema/plan": {"planned": lambda d: Sent("schema/plan", {"toml": MORE}, d.built.admin)},
    "POST schema/apply": {"applied": _apply},
    "GET whoami": {"key": lambda d: Sent("whoami")},
    "POST principals": {
        "service": lambda d: Sent("principals", {"kind": "service", "name": "another"}, d.built.admin),
        "agent": lambda d: Sent("principals", {"kind": "agent", "name": "agent:another"}, d.built.admin),
    },
    "GET principals": {"all": lambda d: Sent("principals", key=d.built.admin)},
    "DELETE principals/{id}": {
        "with its keys": lambda d: Sent(f"principals/{d.built.service_id}", key=d.built.admin),
    },
    "POST principals/{id}/clients": {
        "by certificate": lambda d: Sent(
            f"principals/{person(d)}/clients", {"thumbprint": "A" * 43}, d.built.admin
        ),
    },
    "POST principals/{id}/keys": {
        "plain": lambda d: Sent(f"principals/{person(d)}/keys", {}, d.built.admin),
    },
    "GET principals/{id}/keys": {
        "all": lambda d: Sent(f"principals/{d.built.service_id}/keys", key=d.built.admin),
    },
    "POST tenants": {"a second one": lambda d: Sent("tenants", {"name": "second"}, d.built.admin)},
    "GET tenants": {"all": lambda d: Sent("tenants", key=d.built.admin)},
    "GET keys": {"all": lambda d: Sent("keys", key=d.built.admin)},
    "GET keys/{id}": {"one": lambda d: Sent(f"keys/{crypto_key(d)}", key=d.built.admin)},
    "GET keys/{id}/coverage": {
        "of a field": lambda d: Sent(f"keys/{field_key(d)}/coverage", key=d.built.admin)
    },
    "POST keys/{id}/rotate": {
        "the one that protects": lambda d: Sent(f"keys/{field_key(d)}/rotate", {}, d.built.admin)
    },
    "GET grants/{id}/usage": {
        "one": lambda d: Sent(f"grants/{grant(d, SSN)['id']}/usage", key=d.built.service)
    },
    "POST intake-key": {"it": lambda d: Sent("intake-key", key=d.built.service)},
    "POST agents/{id}/keys": {
        "a key": lambda d: Sent(f"agents/{d.built.agent_id}/keys", new_holder(), d.built.admin)
    },
    "GET agents/{id}/keys": {"all": lambda d: Sent(f"agents/{d.built.agent_id}/keys", key=d.built.admin)},
    "DELETE agents/{id}/keys/{jkt}": {
        "one": lambda d: Sent(f"agents/{d.built.agent_id}/keys/{a_holder(d.built)}", key=d.built.admin)
    },
    "POST keys/{id}/compromise": {
        "the one that protects": lambda d: Sent(
            f"keys/{field_key(d)}/compromise", {"reason": "a leak"}, d.built.admin
        )
    },
    "POST keys/{id}/destroy": {
        "an old one": lambda d: Sent(f"keys/{_ended(d)}/destroy", {}, d.built.admin),
    },
    "POST keys/{id}/replace": {
        "one": lambda d: Sent(f"keys/{key_of(d)}/replace", {"overlap": "P1D"}, d.built.admin)
    },
    "DELETE keys/{id}": {"one": lambda d: Sent(f"keys/{key_of(d)}", key=d.built.admin)},
    "POST sessions": {"by password and code": _as_called("sign_in", "sessions")},
    "POST sessions/passkey/options": {"one": _as_called("passkey_options", "sessions/passkey/options")},
    "POST sessions/passkey": {"by passkey": _as_called("passkey_sign_in", "sessions/passkey")},
    "GET sessions": {"own": _as_called("list_sessions", "sessions")},
    "DELETE sessions/current": {"this one": _as_called("end_session", "sessions/current")},
    "DELETE sessions/{id}": {"another": _another_session},
    "POST sessions/step-up/options": {"one": _as_called("step_up_options", "sessions/step-up/options")},
    "POST sessions/step-up": {
        "by code": _as_called("step_up_session", "sessions/step-up"),
        "by passkey": _step_up_by_passkey,
    },
    "POST self/password": {"another": _as_called("change_password", "self/password")},
    "POST self/totp": {"another": _as_called("begin_totp", "self/totp")},
    "POST self/totp/confirm": {"the first": _as_called("confirm_totp", "self/totp/confirm")},
    "DELETE self/totp": {"the only one": _as_called("drop_totp", "self/totp")},
    "POST self/recovery-codes": {"ten": _as_called("new_recovery_codes", "self/recovery-codes")},
    "POST self/passkeys/options": {"one": _as_called("register_options", "self/passkeys/options")},
    "POST self/passkeys": {"one": _as_called("register_passkey", "self/passkeys")},
    "GET self/passkeys": {"own": _as_called("list_passkeys", "self/passkeys")},
    "DELETE self/passkeys/{id}": {"one": _as_called("remove_passkey", "self/passkeys/{id}")},
    "GET audit": {"all": lambda d: Sent("audit", key=d.built.admin)},
    "GET epochs": {"all": lambda d: Sent("epochs", key=d.built.admin)},
    "GET regions": {"all": lambda _: Sent("regions")},
    "POST directory/lookup": {
        "one": lambda d: Sent("directory/lookup", {"subject": with_directory(d.built)}, d.built.admin)
    },
    "POST transfers": {"one": lambda d: Sent("transfers", with_neighbour(d.built), d.built.admin)},
    "POST arrivals": {
        "one": lambda d: Sent("arrivals", msgspec.to_builtins(a_batch(d.built)), d.built.admin)
    },
    "GET transfers/{id}": {"one": lambda d: Sent(f"transfers/{a_transfer(d.built)}", key=d.built.admin)},
    "GET transfers/{id}/tokens": {
        "one": lambda d: Sent(f"transfers/{a_transfer(d.built)}/tokens", key=d.built.admin)
    },
    "POST epochs/turn": {"one": lambda d: Sent("epochs/turn", {}, d.built.admin)},
    "GET jobs": {"all": lambda d: Sent("jobs", key=d.built.admin)},
    "GET jobs/{id}": {"one": lambda d: Sent(f"jobs/{a_job(d.built)}", key=d.built.admin)},
    "POST jobs/{id}/cancel": {"one": lambda d: Sent(f"jobs/{a_job(d.built)}/cancel", {}, d.built.admin)},
    "POST jobs/{id}/resume": {
        "one": lambda d: Sent(f"jobs/{a_stopped_job(d.built)}/resume", {}, d.built.admin)
    },
}

ALL: Final = [(route, what) for route, drives in DRIVES.items() for what in drives]


def send(door: Door, route: str, sent: Sent) -> Answer:
    """Sends a drive's request."""
    return door.call(route.partition(" ")[0], sent.path, sent.body, key=sent.key or None)
