"""To one tenant another is not there: every route, with what the other has and with what nobody has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.harness.doors import TAKEN, UNKNOWN_BLOCK
from tests.support.cells import CEILING, HOST, NAME, SSN, BuiltCell, development_cell
from tests.unit.services.calls import grant_id, rows
from vault.api.app import ROUTES
from vault.api.route import Call, Route
from vault.errors import CoatcheckError
from vault.identifiers import new_id
from vault.policy.permissions import CELL_WIDE, KEEPING_KEYS, PERMISSIONS
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.wiring import perform

MARK = "zebra"
BY_NAME = {f"{route.method} {route.path}": route for route in ROUTES}
WITH_ID = [name for name in BY_NAME if "{" in name]
LISTS = [
    name
    for name, route in BY_NAME.items()
    if route.method == "GET" and "{" not in name and route.who != ("session",)  # those are one's own
]
SECOND = {"block": UNKNOWN_BLOCK, "jkt": UNKNOWN_BLOCK, "number": "1"}
"""What paths name beside the thing itself."""
SCHEMA = f"""
[purposes.{MARK}]
legal_basis = "contract"
bearer = {{ delivery = ["plain"], max_uses = 50, max_ttl = "PT15M" }}

[fields."{MARK}.name"]
template = "text(max=50)"
protection = "vaulted"
retention = "customer"
"""


@dataclass
class Pair:
    """A tenant whose things are all called after an animal, and who looks for them.

    Attributes:
        there: the tenant with the things; `names`: what it has, each with the like of it that nobody has.
        lookers, custodians: credentials with every permission, by tenant: no one key may have them all;
            `grants`: one of a grant over all fields.
    """

    there: BuiltCell
    names: dict[str, str]
    lookers: dict[str, str]
    custodians: dict[str, str]
    grants: dict[str, str]
    token: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with development_cell(tmp_path_factory.mktemp("tenants")) as main:
        here, there = main.another_tenant("here"), main.another_tenant("there")
        lookers, custodians, grants = {}, {}, {}
        for looker in (here, main):
            lookers[looker.tenant] = powerful(looker, "looker", [NAME, SSN, f"{MARK}.name", "nobody.name"])
            custodians[looker.tenant] = keeper(looker)
            grants[looker.tenant] = looker.grant(NAME, uses=50)
        there.apply(there.schema + SCHEMA)
        agent, _ = there.principal("agent", f"agent:{MARK}")
        credential = powerful(there, MARK, [NAME, f"{MARK}.name"])
        token = there.token(NAME, "Ada", f"{MARK}-person")
        service = next(row[0] for row in rows(there)["re_principals"] if row[3] == f"service:{MARK}")
        ids = [agent, service, there.service_id, grant_id(there.grant(NAME)), credential.rpartition("_")[0]]
        keys = there.run(list_stored_keys, Page(), KeyFilter(), by=HOST).items
        # Its first operator's key was made by the cell's first tenant, whose log says so.
        ids += [key.id for key in keys if not key.id.startswith("ck_")]
        ids += [row[0] for row in rows(there)["re_tenants"] if row[1] == "there"]
        names = {id_: new_id(id_.partition("_")[0]) for id_ in ids}
        names[f"{MARK}.name"] = "nobody.name"
        yield Pair(there, names, lookers, custodians, grants, token)


def plain(built: BuiltCell) -> set[str]:
    """The permissions that its tenant can give, but for those that name a field or purpose."""
    permissions = {one for one in PERMISSIONS if not one.endswith("*")}
    return permissions if built.tenant == "main" else permissions - CELL_WIDE


def keeper(built: BuiltCell) -> str:
    """The credential of a service that may have keys made and destroyed, and gives nobody a grant."""
    return built.principal("service", "keeper", permissions=sorted(plain(built)))[1]


def powerful(built: BuiltCell, name: str, fields: list[str]) -> str:
    """The credential of a service with every permission that its tenant can give, but over keys."""
    permissions = plain(built) - KEEPING_KEYS
    ceiling = msgspec.structs.replace(CEILING, agents=["agent:demo", f"agent:{MARK}", "agent:nobody"])
    more = [f"tokenize:{field}" for field in fields]
    more += [f"grant:create:{purpose}" for purpose in ("support", MARK, "nobody")]
    return built.principal("service", name, permissions=sorted(permissions) + more, ceiling=ceiling)[1]


def ask(pair: Pair, tenant: str, route: Route, path: dict[str, str], body: Any) -> tuple[str, Any]:
    """The code of a refusal, or an empty one with the decoded answer."""
    if route.body is not None:
        body = msgspec.convert(body, route.body)
    keys = pair.custodians if route.permission in KEEPING_KEYS else pair.lookers
    by = keys[tenant] if "key" in route.who else pair.grants[tenant]
    call = Call(pair.there.cell, pair.there.request(by), body, path, {})
    try:
        answer = perform(pair.there.cell, lambda: route.start(call))
    except CoatcheckError as refusal:
        errors = refusal.facts.get("errors", [])
        return refusal.code, errors
    return "", msgspec.json.decode(msgspec.json.encode(answer))


def body_of(name: str) -> Any:
    """A body that a route with an id in its path takes."""
    route = BY_NAME[name]
    if route.body is None:
        return None
    return {} if route.body_optional else TAKEN[name][0]


def silent(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """All rows but those of the log, whose events say who looked."""
    return {table: those for table, those in found.items() if "audit" not in table and "head" not in table}


@pytest.mark.parametrize("tenant", ["here", "main"])
@pytest.mark.parametrize("name", WITH_ID)
def test_what_another_tenant_has_is_as_if_nobody_had_it(pair: Pair, name: str, tenant: str) -> None:
    route = BY_NAME[name]
    parameter = route.path.partition("{")[2].partition("}")[0]
    before = silent(rows(pair.there))
    for theirs, nobodys in pair.names.items():
        found = [
            ask(pair, tenant, route, SECOND | {parameter: id_}, body_of(name)) for id_ in (theirs, nobodys)
        ]
        assert found[0] == found[1]
        assert MARK not in repr(found) or MARK in theirs
    assert silent(rows(pair.there)) == before


@pytest.mark.parametrize("name", ["GET grants/{id}", "GET keys/{id}", "GET fields/{name}"])
def test_the_control_finds_its_own(pair: Pair, name: str) -> None:
    """The same look from inside finds something by at least one of the names."""
    route = BY_NAME[name]
    parameter = route.path.partition("{")[2].partition("}")[0]
    own = powerful(pair.there, "own-" + "".join(c for c in name.lower() if c.isalnum()), [NAME])
    inside = Pair(pair.there, pair.names, {"there": own}, {}, {}, "")
    codes = {ask(inside, "there", route, {parameter: id_}, None)[0] for id_ in pair.names}
    assert "" in codes


@pytest.mark.parametrize("tenant", ["here", "main"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_show_one_s_own(pair: Pair, name: str, tenant: str) -> None:
    code, answer = ask(pair, tenant, BY_NAME[name], {}, None)
    if BY_NAME[name].permission in CELL_WIDE:
        assert code == ("" if tenant == "main" else "permission_denied")
        return
    assert code == ""
    shown = json.dumps(answer)
    for theirs in pair.names:
        if MARK not in theirs and not (tenant == "main" and theirs.startswith("tn_")):  # which it made
            assert theirs not in shown
    if name != "GET audit":  # which tells the looker what itself has asked for
        for own in (f"tokenize:{MARK}.name", f"grant:create:{MARK}", f"agent:{MARK}"):  # its ceiling
            shown = shown.replace(own, "")
        assert MARK not in shown


def test_the_log_shows_one_s_own_events(pair: Pair) -> None:
    for tenant, own in (("here", {"here"}), ("main", {"main", ""})):
        _, answer = ask(pair, tenant, BY_NAME["GET audit"], {}, None)
        assert {row["event"]["tenant"] for row in answer["items"]} <= own
        assert answer["items"]


def _grant(**change: Any) -> dict[str, Any]:
    scope = [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]
    return {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": 1}, **change}


def _scope(field: str) -> list[dict[str, Any]]:
    return [{"fields": [field], "operations": ["reveal"], "delivery": ["plain"]}]


# Bodies that name a thing of the other tenant (True), or one that nobody has (False).
NAMING: dict[str, tuple[str, Callable[[Pair, bool], Any]]] = {
    "a field, tokenized": (
        "POST tokenize",
        lambda p, t: {"field": f"{MARK if t else 'nobody'}.name", "values": ["Ada"]},
    ),
    "a field, granted": (
        "POST grants",
        lambda p, t: _grant(scope=_scope(f"{MARK if t else 'nobody'}.name")),
    ),
    "an agent": ("POST grants", lambda p, t: _grant(agent=f"agent:{MARK if t else 'nobody'}")),
    "a purpose": ("POST grants", lambda p, t: _grant(purpose=MARK if t else "nobody")),
    "a token": (
        "POST detokenize",
        lambda p, t: {
            "purpose": "support",
            "items": [{"field": NAME, "token": p.token if t else "tok_" + "a" * 26}],
        },
    ),
    "a token and its person": (
        "POST detokenize",
        lambda p, t: {
            "purpose": "support",
            "items": [
                {
                    "field": NAME,
                    "token": p.token if t else "tok_" + "a" * 26,
                    "subject": f"{MARK}-person" if t else "nobody",
                }
            ],
        },
    ),
}


@pytest.mark.parametrize("tenant", ["here", "main"])
@pytest.mark.parametrize("what", NAMING)
def test_what_a_body_names_is_as_if_nobody_had_it(pair: Pair, what: str, tenant: str) -> None:
    name, body = NAMING[what]
    theirs, nobodys = (ask(pair, tenant, BY_NAME[name], {}, body(pair, yes)) for yes in (True, False))
    assert theirs == nobodys
    assert theirs[0] in ("field_unknown", "agent_unknown", "purpose_unknown", "token_unknown")


def test_one_name_in_two_tenants_has_two_keys_and_two_tokens(pair: Pair) -> None:
    keys = [row for row in rows(pair.there)["cu_field_keys"] if row[2] == SSN]
    assert sorted(row[1] for row in keys) == ["here", "main", "there"]
    assert len({row[0] for row in keys}) == len({bytes(row[7]) for row in keys}) == 3
    tokens = set()
    for tenant in ("here", "main"):
        body = {"field": SSN, "values": ["219-09-9999"]}
        tokens |= set(ask(pair, tenant, BY_NAME["POST tokenize"], {}, body)[1]["tokens"])
    assert len(tokens | {pair.there.token(SSN, "219-09-9999")}) == 3


def test_the_same_idempotency_key_in_two_tenants_is_two_requests(pair: Pair) -> None:
    made = []
    route = BY_NAME["POST principals"]
    for tenant in ("here", "main"):
        assert route.body is not None
        body = msgspec.convert({"kind": "service", "name": "twin"}, route.body)
        call = Call(pair.there.cell, pair.there.request(pair.lookers[tenant], once="same"), body, {}, {})
        made.append(perform(pair.there.cell, lambda call=call: route.start(call)))  # type: ignore[misc]
    assert made[0].id != made[1].id
    assert not any(one.replayed for one in made)
