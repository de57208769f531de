"""Lists: newest first, in pages that stay what they are while rows are added, no longer than they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, PAN, SSN, BuiltCell, any_cell, development_cell
from tests.unit.services.calls import PUBLIC
from vault.clock import DAY, SECOND, FixedClock, format_time, parse_time
from vault.errors import BadInput, Unknown
from vault.services.audit import AuditQuery, read_audit
from vault.services.client_keys import ClientBody, create_client
from vault.services.fields import list_fields
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantFilter, list_grants
from vault.services.identities import (
    list_principals,
)
from vault.services.keys import KeyFilter, list_stored_keys, read_stored_key
from vault.services.listing import Page
from vault.services.service_keys import (
    list_keys,
)
from vault.services.tenants import list_tenants

NOON = parse_time("2026-11-23T12:00:00Z")


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


Read = Callable[[BuiltCell, int, str | None], Any]
LISTS: dict[str, tuple[Read, Callable[[BuiltCell], Any]]] = {
    "principals": (
        lambda b, limit, cursor: b.run(list_principals, Page(limit, cursor), by=b.admin),
        lambda b: b.principal("agent", f"agent:n{b.next_number}"),
    ),
    "service keys": (
        lambda b, limit, cursor: b.run(list_keys, b.service_id, Page(limit, cursor), by=b.admin),
        lambda b: b.key(b.service_id),
    ),
    "grants": (
        lambda b, limit, cursor: b.run(list_grants, Page(limit, cursor), GrantFilter(), by=b.admin),
        lambda b: b.grant(SSN),
    ),
    "tenants": (
        lambda b, limit, cursor: b.run(list_tenants, Page(limit, cursor), by=b.admin),
        lambda b: b.another_tenant(f"t{b.next_number}"),
    ),
    "keys": (
        lambda b, limit, cursor: b.run(list_stored_keys, Page(limit, cursor), KeyFilter(), by=b.admin),
        lambda b: b.token(NAME, "Ada", f"person-{b.next_number}"),
    ),
    "events": (
        lambda b, limit, cursor: b.run(
            read_audit, AuditQuery(limit=limit, cursor=None if cursor is None else int(cursor)), by=b.admin
        ),
        lambda b: b.token(SSN, "123-45-6789"),
    ),
}


def key_of(row: Any) -> Any:
    return getattr(row, "id", None) or row.number


def made(key: Any) -> Any:
    """What says when a thing was made: its number, or its id without what kind of thing it is."""
    return key.partition("_")[2] if isinstance(key, str) else key


@pytest.mark.parametrize("name", LISTS)
def test_pages_cover_what_was_there_once_while_more_comes(built: BuiltCell, name: str) -> None:
    read, add = LISTS[name]
    for _ in range(5):
        add(built)
    whole = [key_of(row) for row in read(built, 500, None).items]
    assert whole == sorted(whole, key=made, reverse=True)
    found, cursor = [], None
    for _ in range(len(whole)):
        page = read(built, 2, cursor)
        assert len(page.items) <= 2
        found += [key_of(row) for row in page.items]
        cursor = page.next
        if cursor is None:
            break
        assert isinstance(cursor, str)
        add(built)
    assert found == whole


@pytest.mark.parametrize("limit", [0, -1, 501, 2**63])
@pytest.mark.parametrize("name", LISTS)
def test_a_length_that_no_page_has(built: BuiltCell, name: str, limit: int) -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        LISTS[name][0](built, limit, None)
    with pytest.raises(BadInput, match="parameter_invalid"):
        built.run(list_fields, Page(limit))


@pytest.mark.parametrize("cursor", ["", "x", "pr_x", "gr_01M84HD64DFW18BYTQYF0BJRJQX", "\0", "'"])
@pytest.mark.parametrize("name", [name for name in LISTS if name != "events"])
def test_a_cursor_that_is_none(built: BuiltCell, name: str, cursor: str) -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        LISTS[name][0](built, 2, cursor)


def test_fields_come_in_the_order_of_their_names(built: BuiltCell) -> None:
    whole = [row.name for row in built.run(list_fields).items]
    found, cursor = [], None
    while True:
        page = built.run(list_fields, Page(3, cursor))
        found += [row.name for row in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert found == whole == sorted(whole)


@pytest.mark.parametrize("cursor", ["", "customer", "no.such.field", "\0"])
def test_a_cursor_that_is_no_field(built: BuiltCell, cursor: str) -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        built.run(list_fields, Page(3, cursor))


def test_keys_by_kind(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "c1")
    built.token(NAME, "Eve")

    def kinds(**only: Any) -> list[tuple[str, str | None, str | None]]:
        page = built.run(list_stored_keys, Page(), KeyFilter(**only), by=built.admin)
        return sorted((row.kind, row.field or "", row.retention or "") for row in page.items)

    assert {row[1] for row in kinds(kind="ff1")} >= {SSN, PAN}
    assert all(row[0] == "ff1" for row in kinds(kind="ff1"))
    assert ("row-id", NAME, "") in kinds(kind="row-id")
    assert [row[2] for row in kinds(kind="data")] == [":identifier", "customer", "customer"]
    assert kinds(state="destroyed") == []
    assert kinds(state="active") == kinds()
    for only in ({"kind": "other"}, {"state": "gone"}, {"kind": ""}):
        with pytest.raises(BadInput, match="parameter_invalid"):
            kinds(**only)


def test_a_key_by_its_id(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "c1")
    for row in built.run(list_stored_keys, Page(), KeyFilter(), by=built.admin).items:
        assert built.run(read_stored_key, row.id, by=built.admin) == row
        assert not {"sealed", "key"} & msgspec.to_builtins(row).keys()
    for name in ("", "key_x", "ck_01M84HD64DFW18BYTQYF0BJRJQ", "key_01M84HD64DFW18BYTQYF0BJRJQ"):
        with pytest.raises(Unknown, match="not_found"):
            built.run(read_stored_key, name, by=built.admin)


def test_a_key_whose_period_is_over_is_not_shown_as_active(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "c1")
    periods = built.cell.store.tables.due_periods
    with built.cell.store.engine.begin() as connection:
        connection.execute(periods.update().where(periods.c["class"] == "customer").values(state="destroyed"))
    (row,) = built.run(list_stored_keys, Page(), KeyFilter(state="destroyed"), by=built.admin).items
    assert (row.kind, row.retention) == ("data", "customer")


def test_grants_by_agent_purpose_and_state(built: BuiltCell) -> None:
    one, two = built.grant(SSN), built.grant(SSN, purpose="files")
    built.run(revoke_grant, "gr_" + one.split("_")[1], ChangeBody(), by=built.admin)

    def ids(**only: Any) -> list[str]:
        page = built.run(list_grants, Page(), GrantFilter(**only), by=built.admin)
        return [row.id.removeprefix("gr_") for row in page.items]

    first, second = one.split("_")[1], two.split("_")[1]
    assert ids() == [second, first]
    assert ids(state="revoked") == [first]
    assert ids(purpose="files", state="active", agent="agent:demo") == [second]
    assert ids(agent="agent:other") == []


@pytest.fixture(params=["sqlite"])
def timed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[BuiltCell, FixedClock]]:
    clock = FixedClock(NOON)
    with any_cell(request.param, tmp_path, clock) as made:
        yield made, clock


def test_events_by_time(timed: tuple[BuiltCell, FixedClock]) -> None:
    built, clock = timed
    begun = built.next_number
    for _ in range(20):
        clock.advance(DAY // 24)
        built.token(SSN, "123-45-6789")

    def numbers(**query: Any) -> list[int]:
        page = built.run(read_audit, AuditQuery(limit=500, **query), by=built.admin)
        return sorted(row.number for row in page.items)

    def hour(count: int, more: int = 0) -> str:
        return format_time(NOON + count * (DAY // 24) + more)

    assert numbers(first=hour(1)) == list(range(begun, begun + 20))
    assert numbers(first=hour(5), end=hour(8)) == [begun + 4, begun + 5, begun + 6]
    assert numbers(first=hour(5, SECOND), end=hour(8, SECOND)) == [begun + 5, begun + 6, begun + 7]
    assert numbers(first=hour(21)) == []
    assert numbers(end=hour(0)) == []
    assert numbers(first=begun + 3, end=hour(6)) == [begun + 3, begun + 4]
    assert numbers(first="2026-11-23T13:00:00+01:00", end=hour(1)) == list(range(begun))
    for bad in ("", "yesterday", "2026-11-23", "2026-02-30T00:00:00Z"):
        with pytest.raises(BadInput, match="parameter_invalid"):
            numbers(first=bad)


def test_keys_say_what_they_are_presented_by(tmp_path: Path) -> None:
    with development_cell(tmp_path) as built:
        for body in (ClientBody(PUBLIC), ClientBody(thumbprint="A" * 43)):
            built.run(create_client, built.service_id, body, by=built.admin)
        items = built.run(list_keys, built.service_id, by=built.admin).items
    assert [one.by for one in items] == ["certificate", "jwk", "secret"]
