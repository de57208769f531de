"""What a review looks at: one item for every role, permission, ceiling, key and standing grant of somebody.

An item says what there was when the review began, who has it and who gave it. Who decides on it is neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from vault.clock import Micros, format_time
from vault.policy.principal import Ceiling, Kind
from vault.services.ceilings import leaf_of
from vault.store.cell import Store
from vault.store.rows import decode_scope

ROLE: Final = "role"
PERMISSION: Final = "permission"
CEILING: Final = "ceiling"
KEY: Final = "key"
GRANT: Final = "grant"
KINDS: Final = (ROLE, PERMISSION, CEILING, KEY, GRANT)

OPEN: Final = "open"
CONFIRMED: Final = "confirmed"
REMOVED: Final = "removed"
EXPIRED: Final = "expired"
KEPT: Final = "kept"
STATES: Final = {
    OPEN: "nobody has decided yet",
    CONFIRMED: "it stays",
    REMOVED: "the reviewer took it away",
    EXPIRED: "nobody confirmed it in time, so it was taken away",
    KEPT: "nobody confirmed it in time, and without it nobody could create principals",
}


class Person(NamedTuple):
    """A principal as a review finds it.

    Attributes:
        created_by: the name of whoever created it.
    """

    id: str
    kind: str
    name: str
    roles: list[str]
    permissions: list[str]
    ceiling: Ceiling | None
    created_by: str


class Found(NamedTuple):
    """What is to be reviewed.

    Attributes:
        target: the principal, key or grant; principal: whose access it is.
        given_by: names or ids of principals who gave it.
    """

    kind: str
    target: str
    principal: str
    what: str
    snapshot: dict[str, Any]
    given_by: frozenset[str]

    def involves(self, person: Person) -> bool:
        """Whether somebody has it, or gave it."""
        return person.id == self.principal or not self.given_by.isdisjoint((person.id, person.name))


def people_of(store: Store, tenant: str) -> dict[str, Person]:
    """A tenant's living principals, by id."""
    found = {}
    for id_, kind, name, roles, permissions, ceiling, by in store.read(
        store.oversight.principals_reviewed, {"tenant": tenant}
    ):
        decoded = None if ceiling is None else msgspec.json.decode(ceiling, type=Ceiling)
        held, single = (msgspec.json.decode(text, type=list[str]) for text in (roles, permissions))
        found[id_] = Person(id_, kind, name, held, single, decoded, by)
    return found


def find_items(
    store: Store, tenant: str, people: Mapping[str, Person], kinds: frozenset[str], after: Micros
) -> Iterator[Found]:
    """Everything of these people that a review of these kinds looks at.

    Args:
        people: whose access is reviewed, among all of the tenant's.
        after: grants that end before are left out: they end by themselves.
    """
    for person in people.values():
        named, by = {"principal": person.name}, frozenset({person.created_by})
        if ROLE in kinds:
            for role in sorted(person.roles):
                yield Found(ROLE, person.id, person.id, role, {**named, "role": role}, by)
        if PERMISSION in kinds:
            for one in sorted(person.permissions):
                yield Found(PERMISSION, person.id, person.id, one, {**named, "permission": one}, by)
        if CEILING in kinds and person.ceiling is not None:
            leaf = {**named, "ceiling": leaf_of(person.ceiling)}
            yield Found(CEILING, person.id, person.id, "", leaf, by)
    if KEY in kinds:
        yield from _keys(store, tenant, people)
    if GRANT in kinds:
        yield from _grants(store, tenant, people, after)


def _keys(store: Store, tenant: str, people: Mapping[str, Person]) -> Iterator[Found]:
    for id_, principal, networks, expires, created, used in store.read(
        store.oversight.keys_reviewed, {"tenant": tenant}
    ):
        person = people.get(principal)
        if person is None:
            continue
        snapshot: dict[str, Any] = {"principal": person.name, "networks": msgspec.json.decode(networks)}
        times = {"created": created, "expires": expires, "used": used}
        snapshot |= {name: format_time(at) for name, at in times.items() if at}
        yield Found(KEY, id_, principal, "", snapshot, frozenset({person.created_by}))


def _grants(store: Store, tenant: str, people: Mapping[str, Person], after: Micros) -> Iterator[Found]:
    rows = store.read(store.oversight.grants_reviewed, {"tenant": tenant, "after": after})
    for id_, agent, agent_id, creator, purpose, scope, uses, until in rows:
        if creator not in people and agent_id not in people:
            continue
        entries = decode_scope(scope)
        snapshot = {
            "agent": agent,
            "purpose": purpose,
            "fields": sorted({name for entry in entries for name in entry.fields}),
            "operations": sorted({name for entry in entries for name in entry.operations}),
            "uses": uses,
            "until": format_time(until),
        }
        if creator in people:
            snapshot["created_by"] = people[creator].name
        yield Found(GRANT, id_, agent_id, "", snapshot, frozenset({creator}))


def may_review(person: Person, held: frozenset[str]) -> bool:
    """Whether somebody may be named a reviewer at all."""
    return person.kind != Kind.AGENT.value and "review:decide" in held
