"""Who may do what over HTTP: every route by permission, credentials that end, lists, the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.harness.doors import BY_NAME, TAKEN, Doors, complaints, initialise_doors, path_of
from tests.harness.roomy import AGENT, NAME, PURPOSE, SSN, TEXT, add_principal, grant_body
from tests.support.service import Answer
from vault.api.route import Route

GRANT_ONLY = [name for name, route in BY_NAME.items() if route.who == ("grant",)]
KEYED = [name for name, route in BY_NAME.items() if "key" in route.who]
GUARDED = [name for name in KEYED if BY_NAME[name].permission]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("roles") / "deployment")
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def permission_of(route: Route) -> str:
    """The permission that the route's first body needs."""
    named = {
        "encrypt:FIELD": f"encrypt:{TEXT}",
        "grant:create:PURPOSE": f"grant:create:{PURPOSE}",
        "rekey:FIELD": f"rekey:{SSN}",
        "tokenize:FIELD": f"tokenize:{NAME}",
    }
    return named.get(route.permission, route.permission)


def ask(doors: Doors, name: str, key: str) -> Answer:
    """A well-formed request to a route."""
    route = BY_NAME[name]
    body = TAKEN.get(name, [{}])[0] if route.body is not None else None
    answer = doors.service.call(route.method, path_of(route), body, key=key)
    assert complaints(answer) == []
    return answer


@pytest.fixture(scope="module")
def nobody(doors: Doors) -> str:
    """The key of a principal that may do nothing in particular."""
    return add_principal(doors.service, "nobody", permissions=[], ceiling=None)[1]


@pytest.mark.parametrize("name", GUARDED)
def test_without_the_permission_it_is_refused_and_on_record(doors: Doors, nobody: str, name: str) -> None:
    answer = ask(doors, name, nobody)
    assert (answer.status, answer.code) == (403, "permission_denied")
    [entry] = doors.service.call("GET", "audit?kind=denied&limit=1", key=doors.all_powerful).json()["items"]
    event = entry["event"]
    assert event["decision"] == answer.json()["decision"]
    assert (event["code"], event["actor"]) == ("permission_denied", "service:nobody")
    assert event["request"] == answer.header("x-request-id")


@pytest.mark.parametrize("name", GUARDED)
def test_with_just_the_permission_it_is_not(doors: Doors, name: str) -> None:
    route = BY_NAME[name]
    who = "one." + "".join(char if char.isalnum() else "-" for char in name.lower())
    _, key = add_principal(doors.service, who, permissions=[permission_of(route)])
    answer = ask(doors, name, key)
    assert answer.code if answer.status >= 400 else "" not in ("permission_denied", "credential_invalid")
    assert answer.status in (200, 201, 202, 404, 409, 422)


@pytest.mark.parametrize("name", [name for name in KEYED if not BY_NAME[name].permission])
def test_what_needs_no_permission_needs_a_key(doors: Doors, nobody: str, name: str) -> None:
    assert ask(doors, name, nobody).status in (200, 404)
    assert ask(doors, name, "ck_" + "0" * 26 + "_" + "a" * 43).code == "credential_invalid"


@pytest.mark.parametrize("name", KEYED)
def test_a_grant_is_no_key(doors: Doors, name: str) -> None:
    answer = ask(doors, name, doors.grant)
    expected = (404, "not_found") if "grant" in BY_NAME[name].who else (401, "credential_invalid")
    assert (answer.status, answer.code) == expected


@pytest.mark.parametrize("name", GRANT_ONLY)
def test_a_key_is_no_grant(doors: Doors, name: str) -> None:
    """Nobody detokenizes by permission, whoever it is."""
    answer = ask(doors, name, doors.all_powerful)
    assert (answer.status, answer.code) == (401, "grant_invalid")


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        (
            ["admin"],
            {
                *("grant:list", "grant:revoke", "job:control", "job:read", "kill:control"),
                *("policy:apply", "policy:read", "principal:list", "principal:write"),
                *("review:read", "review:start", "schema:apply", "schema:read"),
            },
        ),
        (
            ["auditor"],
            {
                *("audit:read", "erasure:read", "grant:list", "job:read", "key:read", "policy:read"),
                "principal:list",
                "retention:read",
                *("report:read", "review:read", "schema:read"),
            },
        ),
        (["reviewer"], {"review:decide", "review:read"}),
        (["key-custodian"], {"job:control", "job:read", "key:destroy", "key:read", "key:rotate"}),
        (["operator"], {"grant:list", "grant:revoke", "job:control", "job:read", "kill:control"}),
        (["cell-admin"], {"tenant:create", "tenant:read"}),
        (["cell-custodian"], {"epoch:turn", "job:control", "job:read", "key:read"}),
    ],
)
def test_roles_are_what_the_pages_say(doors: Doors, roles: list[str], allowed: set[str]) -> None:
    """An admin reads no data and no log; an auditor changes nothing."""
    _, key = add_principal(
        doors.service, f"an-{roles[0]}", kind="operator", roles=roles, permissions=[], ceiling=None
    )
    for name in GUARDED:
        answer = ask(doors, name, key)
        refused = answer.status == 403 and answer.code == "permission_denied"
        assert refused is (BY_NAME[name].permission not in allowed), name


def test_whoami_says_who(doors: Doors, nobody: str) -> None:
    shown = doors.service.call("GET", "whoami", key=nobody).json()
    assert (shown["name"], shown["tenant"], shown["region"]) == ("service:nobody", "main", "eu")
    assert (shown["roles"], shown["permissions"]) == ([], [])
    assert nobody.startswith(shown["key"] + "_")


def admin(doors: Doors, method: str, path: str, body: Any = None) -> Any:
    answer = doors.service.call(method, path, body, key=doors.all_powerful)
    assert answer.status in (200, 201), answer.body
    return answer.json()


def test_a_key_ends_with_its_revocation_and_its_principal(doors: Doors) -> None:
    id_, first = add_principal(doors.service, "short-lived")
    second = admin(doors, "POST", f"principals/{id_}/keys", {"networks": ["127.0.0.1/32"]})["credential"]
    grant = doors.service.call("POST", "grants", grant_body([NAME], 5), key=first).json()
    key_id = first.rpartition("_")[0]
    assert admin(doors, "DELETE", f"keys/{key_id}")["revoked"] is True
    assert doors.service.call("GET", "whoami", key=first).code == "credential_invalid"
    assert doors.service.call("GET", "whoami", key=second).status == 200
    rows = admin(doors, "GET", f"principals/{id_}/keys")["items"]
    assert sorted((row["id"] == key_id, row.get("revoked", False)) for row in rows) == [
        (False, False),
        (True, True),
    ]
    assert all("credential" not in row for row in rows)
    removed = admin(doors, "DELETE", f"principals/{id_}")
    assert (removed["keys_revoked"], removed["grants_revoked"]) == (1, 1)
    assert doors.service.call("GET", "whoami", key=second).code == "credential_invalid"
    answer = doors.service.call(
        "POST", "detokenize", {"purpose": PURPOSE, "field": NAME, "tokens": ["x"]}, key=grant["credential"]
    )
    assert answer.code == "grant_invalid"
    assert doors.service.call("DELETE", f"principals/{id_}", key=doors.all_powerful).status == 404


def test_a_key_works_from_its_networks_only(doors: Doors) -> None:
    id_, _ = add_principal(doors.service, "elsewhere")
    key = admin(doors, "POST", f"principals/{id_}/keys", {"networks": ["192.0.2.0/24"]})["credential"]
    answer = doors.service.call("GET", "whoami", key=key)
    assert (answer.status, answer.code) == (403, "network_denied")
    assert answer.json()["decision"].startswith("dec_")


def test_an_agent_holds_no_key_and_no_permission(doors: Doors) -> None:
    made = admin(doors, "POST", "principals", {"kind": "agent", "name": "helper"})
    answer = doors.service.call("POST", f"principals/{made['id']}/keys", {}, key=doors.all_powerful)
    assert (answer.status, answer.code) == (422, "operation_unsupported")
    for more in ({"roles": ["admin"]}, {"permissions": [f"tokenize:{NAME}"]}, {"ceiling": {"uses": 1}}):
        body = {"kind": "agent", "name": "other-helper", **more}
        answer = doors.service.call("POST", "principals", body, key=doors.all_powerful)
        assert (answer.status, answer.code) == (422, "permission_unknown")


def test_a_name_is_taken_once(doors: Doors) -> None:
    body = {"kind": "operator", "name": "twin"}
    assert doors.service.call("POST", "principals", body, key=doors.all_powerful).status == 201
    answer = doors.service.call("POST", "principals", body, key=doors.all_powerful)
    assert (answer.status, answer.code) == (409, "name_taken")


ENTRY = {"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"agent": "agent:unknown"}, "delegation_denied"),
        ({"purpose": "marketing"}, "permission_denied"),
        ({"scope": []}, "member_missing"),
        ({"scope": [ENTRY | {"fields": ["no.such"]}]}, "field_unknown"),
        ({"scope": [ENTRY | {"operations": ["guess"]}]}, "operation_unsupported"),
        ({"scope": [ENTRY | {"delivery": ["fax"]}]}, "operation_unsupported"),
        ({"limits": {"uses": 0}}, "limit_invalid"),
        ({"limits": {"uses": 1, "batch": 2}}, "limit_invalid"),
        ({"limits": {"uses": 10**7}}, "limit_invalid"),
        ({"valid": {"until": "2001-01-01T00:00:00Z"}}, "validity_invalid"),
        ({"valid": {"until": "2100-01-01T00:00:00Z"}}, "validity_invalid"),
        ({"valid": {"until": "tomorrow"}}, "validity_invalid"),
        ({"reason": "x" * 501}, "limit_invalid"),
        ({"subjects": {"in": []}}, "limit_invalid"),
        ({"subjects": {"in": [f"p{number}" for number in range(1001)]}}, "limit_invalid"),
    ],
)  # fmt: skip
def test_a_grant_that_cannot_be(doors: Doors, change: dict[str, Any], code: str) -> None:
    answer = doors.service.call("POST", "grants", grant_body([NAME], 1) | change, key=doors.all_powerful)
    assert complaints(answer) == []
    assert answer.code == code


def soon(minutes: int) -> str:
    """An instant, RFC 3339."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat(timespec="seconds")


def test_a_ceiling_binds(doors: Doors) -> None:
    """Each of them lies outside in one respect."""
    ceiling = {"fields": [NAME], "operations": ["reveal"], "deliveries": ["plain"], "purposes": [PURPOSE],
               "agents": [AGENT], "uses": 5, "ttl": "PT1H", "uses_per_day": 12}  # fmt: skip
    _, key = add_principal(doors.service, "bounded", ceiling=ceiling)
    wide: dict[str, Any] = grant_body([NAME], 5)
    mask = [{"fields": [NAME], "operations": ["mask"], "delivery": ["plain"]}]
    admin(doors, "POST", "principals", {"kind": "agent", "name": "stranger"})
    for change, member in (
        ({"limits": {"uses": 6}}, "uses"),
        ({"scope": grant_body([NAME, SSN], 1)["scope"]}, "fields"),
        ({"scope": mask}, "operations"),
        ({"agent": "agent:stranger"}, "agent"),
        ({"valid": {"until": soon(90)}}, "valid"),
    ):
        answer = doors.service.call("POST", "grants", wide | change, key=key)
        assert (answer.status, answer.code) == (403, "delegation_denied"), member
        assert answer.json()["member"] == member
    for _ in range(2):
        made = doors.service.call("POST", "grants", wide, key=key).json()
        span = [datetime.fromisoformat(made[name]) for name in ("valid_from", "valid_until")]
        assert span[1] - span[0] == timedelta(hours=1)  # the purpose would allow twelve
    answer = doors.service.call("POST", "grants", wide, key=key)
    assert (answer.status, answer.code) == (403, "budget_exhausted")  # ten of the day's twelve are given


def test_grants_are_seen_by_who_may(doors: Doors, nobody: str) -> None:
    _, creator = add_principal(doors.service, "creator")
    made = doors.service.call("POST", "grants", grant_body([NAME], 2), key=creator).json()
    path = f"grants/{made['id']}"
    may = dict.fromkeys((creator, made["credential"], doors.all_powerful), 200)
    for key, status in (may | {nobody: 404, doors.grant: 404}).items():
        answer = doors.service.call("GET", path, key=key)
        assert answer.status == status
        if status == 200:
            assert "credential" not in answer.json()
    assert doors.service.call("POST", f"{path}/revoke", {}, key=nobody).status == 404
    assert doors.service.call("POST", f"{path}/revoke", {}, key=creator).status == 200


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_lists_run_from_the_newest_to_the_end(doors: Doors, limit: int) -> None:
    for number in range(10):
        name = f"row{number}-of-{limit}"
        admin(doors, "POST", "principals", {"kind": "agent", "name": name})
        admin(doors, "POST", "grants", grant_body([NAME], 1))
    for path, member in (("principals", "id"), ("grants", "id"), ("audit", "number")):
        found: list[Any] = []
        cursor = ""
        for _ in range(1000):
            page = admin(doors, "GET", f"{path}?limit={limit}{cursor}")
            assert len(page["items"]) <= limit
            found += [row[member] for row in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert len(found) == len(set(found)) > 10
        assert all(one > other for one, other in pairwise(found))
        if limit == 1 and path == "audit":
            break


def test_lists_are_filtered(doors: Doors) -> None:
    revoked = admin(doors, "POST", "grants", grant_body([NAME], 1))["id"]
    admin(doors, "DELETE", f"grants/{revoked}")
    states = admin(doors, "GET", "grants?limit=500&state=revoked")["items"]
    assert revoked in [row["id"] for row in states]
    assert {row["state"] for row in states} == {"revoked"}
    assert admin(doors, "GET", "grants?agent=agent:nobody")["items"] == []
    assert {row["agent"] for row in admin(doors, "GET", f"grants?agent={AGENT}")["items"]} == {AGENT}
    assert {row["purpose"] for row in admin(doors, "GET", f"grants?purpose={PURPOSE}")["items"]} == {PURPOSE}
    kinds = {row["event"]["kind"] for row in admin(doors, "GET", "audit?kind=grant.revoke")["items"]}
    assert kinds == {"grant.revoke"}
    middle = admin(doors, "GET", "audit?from=3&to=6")["items"]
    assert [row["number"] for row in middle] == [5, 4, 3]


def test_every_effect_is_on_record_under_its_decision(doors: Doors) -> None:
    made = admin(doors, "POST", "tokenize", {"field": NAME, "values": ["Ada"]})
    grant = admin(doors, "POST", "grants", grant_body([NAME], 1) | {"reason": "ticket 7"})
    body = {"purpose": PURPOSE, "field": NAME, "tokens": made["tokens"]}
    used = doors.service.call("POST", "detokenize", body, key=grant["credential"]).json()
    newest = admin(doors, "GET", "audit?limit=3")["items"]
    assert [row["event"]["decision"] for row in newest] == [
        used["decision"],
        grant["decision"],
        made["decision"],
    ]
    assert [row["event"]["kind"] for row in newest] == ["detokenize", "grant.create", "tokenize"]
    assert newest[1]["items"]["reason"] == "ticket 7"
    assert newest[0]["event"]["charged"] == 1
    assert newest[0]["event"]["grant"] == grant["id"]
