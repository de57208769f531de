"""Service keys replaced in time: two are valid for a while, ends are bounded, and somebody is warned once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import HOST, SSN, BuiltCell
from tests.support.turns import with_keys
from vault.clock import DAY, SECOND, FixedClock, format_time, parse_period
from vault.errors import BadInput, Conflict, Unauthenticated, Unknown
from vault.keystate.states import TRANSITIONS, KeyState
from vault.services.identities import whoami
from vault.services.key_terms import KeyTerms
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.replacement import (
    ReplaceBody,
    SuccessorAnswer,
    ending_keys,
    flush_uses,
    replace_key,
    warn_of_ends,
)
from vault.services.service_keys import KeyBody, create_key, list_keys, revoke_key
from vault.services.worker import Worker
from vault.wiring import perform


def id_of(credential: str) -> str:
    return credential.rpartition("_")[0]


def replaced(built: BuiltCell, key: str, **body: Any) -> SuccessorAnswer:
    return built.run(replace_key, key, ReplaceBody(**body), by=built.admin)


def shown(built: BuiltCell) -> dict[str, Any]:
    return {row.id: row for row in built.run(list_keys, built.service_id, Page(), by=built.admin).items}


def test_both_are_valid_until_the_overlap_ends(ticking: BuiltCell, clock: FixedClock) -> None:
    old = ticking.service
    before = ticking.next_number
    made = replaced(ticking, id_of(old), overlap="PT2H")
    assert made.overlap_until == format_time(clock.now() + 7_200 * SECOND)
    assert made.replaces == id_of(old)
    new = made.credential or ""
    assert shown(ticking)[id_of(old)].successor == made.id
    for key in (old, new):
        assert ticking.run(whoami, by=key).name == "service:demo"
    ticking.token(SSN, "123-45-6789")
    (event,) = ticking.events(before, "apikey.replace")
    assert (event["key"], event["successor"], event["until"]) == (id_of(old), made.id, made.overlap_until)
    assert new.rpartition("_")[2] not in str(event)
    clock.advance(7_201 * SECOND)
    assert ticking.run(whoami, by=new).key == made.id
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            ticking.run(whoami, by=old)
        with pytest.raises(Unauthenticated, match="credential_invalid"):
            ticking.token(SSN, "123-45-6789")


def test_a_successor_may_be_used_from_where_its_key_may(built: BuiltCell) -> None:
    key = id_of(built.key(built.service_id, KeyBody(networks=["192.0.2.0/24"])))
    assert replaced(built, key).networks == ["192.0.2.0/24"]
    other = id_of(built.key(built.service_id, KeyBody(networks=["192.0.2.0/24"])))
    assert replaced(built, other, networks=["198.51.100.0/24"]).networks == ["198.51.100.0/24"]


def test_an_overlap_never_lengthens_a_life(ticking: BuiltCell, clock: FixedClock) -> None:
    ends = format_time(clock.now() + 3_600 * SECOND)
    key = id_of(ticking.key(ticking.service_id, KeyBody(expires=ends)))
    assert replaced(ticking, key, overlap="P1D").overlap_until == ends


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("validity_invalid", {"overlap": "P32D"}),
        ("validity_invalid", {"overlap": "P2M"}),
        ("validity_invalid", {"overlap": "PT0S"}),
        ("validity_invalid", {"overlap": ""}),
        ("validity_invalid", {"overlap": "tomorrow"}),
        ("validity_invalid", {"overlap": "P9999Y"}),
        ("validity_invalid", {"expires": "2020-01-01T00:00:00Z"}),
        ("validity_invalid", {"expires": "soon"}),
        ("limit_invalid", {"networks": ["nowhere"]}),
    ],
)
def test_what_is_not_taken(built: BuiltCell, code: str, body: dict[str, Any]) -> None:
    before = built.next_number
    with pytest.raises(BadInput, match=code):
        replaced(built, id_of(built.service), **body)
    assert built.next_number == before


@pytest.mark.parametrize(
    "key", ["", "ck_", "key_01M84HD64DFW18BYTQYF0BJRJQ", "ck_01M84HD64DFW18BYTQYF0BJRJQ"]
)
def test_unknown_keys(built: BuiltCell, key: str) -> None:
    with pytest.raises(Unknown, match="not_found"):
        replaced(built, key)


def test_another_tenants_key_is_not_there(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    with pytest.raises(Unknown, match="not_found"):
        replaced(built, id_of(other.service))


def test_a_key_has_one_successor(built: BuiltCell) -> None:
    first = replaced(built, id_of(built.service))
    with pytest.raises(Conflict, match="version_conflict") as refused:
        replaced(built, id_of(built.service))
    assert refused.value.facts == {"successor": first.id}
    assert replaced(built, first.id).replaces == first.id  # but a successor may have one too


def test_of_two_at_once_one_is_replaced(built: BuiltCell) -> None:
    """Both were prepared before either was committed."""
    key = id_of(built.service)
    verbs = [replace_key(built.cell, built.request(built.admin), key, ReplaceBody()) for _ in range(2)]
    commands = [next(verb) for verb in verbs]
    built.cell.committer.execute(commands[0])
    with pytest.raises(Conflict, match="version_conflict"):
        built.cell.committer.execute(commands[1])


def test_every_transition_that_is_not_legal_is_refused(ticking: BuiltCell, clock: FixedClock) -> None:
    """SP 800-57 part 1, 7, for service keys: active, deactivated (expired), destroyed (revoked)."""

    def in_state(state: KeyState) -> str:
        ends = format_time(clock.now() + 60 * SECOND)
        key = id_of(ticking.key(ticking.service_id, KeyBody(expires=ends)))
        if state is KeyState.DEACTIVATED:
            clock.advance(61 * SECOND)
        if state is KeyState.DESTROYED:
            ticking.run(revoke_key, key, by=HOST)
        return key

    for state in (KeyState.ACTIVE, KeyState.DEACTIVATED, KeyState.DESTROYED):
        key = in_state(state)
        if KeyState.DEACTIVATED in TRANSITIONS[state]:
            replaced(ticking, key)
        else:
            with pytest.raises(Conflict, match="version_conflict") as refused:
                replaced(ticking, key)
            assert refused.value.facts == {"state": state.value}
        key = in_state(state)
        before = ticking.next_number
        assert ticking.run(revoke_key, key, by=HOST).revoked
        assert len(ticking.events(before, "apikey.revoke")) == (KeyState.DESTROYED in TRANSITIONS[state])


def test_keys_end_as_the_settings_say(ticking: BuiltCell, clock: FixedClock) -> None:
    ticking.cell.terms = KeyTerms(longest=parse_period("P90D"))
    latest = format_time(clock.now() + 90 * DAY)
    made = ticking.run(create_key, ticking.service_id, KeyBody(), by=HOST)
    assert made.expires == latest
    later = KeyBody(expires=format_time(clock.now() + 91 * DAY))
    with pytest.raises(BadInput, match="validity_invalid") as refused:
        ticking.run(create_key, ticking.service_id, later, by=HOST)
    assert refused.value.facts == {"member": "expires", "latest": latest}
    with pytest.raises(BadInput, match="validity_invalid"):
        replaced(ticking, made.id, expires=later.expires)
    sooner = format_time(clock.now() + DAY)
    assert replaced(ticking, made.id, expires=sooner).expires == sooner


def test_an_end_is_warned_of_once(ticking: BuiltCell, clock: FixedClock) -> None:
    cell = ticking.cell
    key = ticking.key(ticking.service_id, KeyBody(expires=format_time(clock.now() + 30 * DAY)))
    assert not ticking.run(whoami, by=key).ends_soon
    assert perform(cell, lambda: warn_of_ends(cell)) == 0
    clock.advance(17 * DAY)
    assert ticking.run(whoami, by=key).ends_soon
    assert not ticking.run(whoami, by=ticking.service).ends_soon
    assert {id_: row.ends_soon for id_, row in shown(ticking).items()} == {
        id_of(key): True,
        id_of(ticking.service): False,
    }
    before = ticking.next_number
    for _ in range(2):
        Worker(with_keys(ticking).cell).run_due()
    (event,) = ticking.events(before, "alert")
    assert (event["code"], event["key"], event["actor"]) == ("api_key_ends", id_of(key), "schedule")
    assert [one.id for one in ending_keys(cell.store, cell.terms, clock.now())] == [id_of(key)]


def test_a_key_with_a_successor_is_not_warned_of(ticking: BuiltCell, clock: FixedClock) -> None:
    cell = ticking.cell
    replaced(ticking, id_of(ticking.service), overlap="P1D")
    gone = id_of(ticking.key(ticking.service_id, KeyBody(expires=format_time(clock.now() + DAY))))
    ticking.run(revoke_key, gone, by=HOST)
    assert perform(cell, lambda: warn_of_ends(cell)) == 0


def test_the_last_use_is_known_to_the_hour(ticking: BuiltCell, clock: FixedClock) -> None:
    cell = ticking.cell
    hour = 3_600 * SECOND
    began = clock.now() - clock.now() % hour
    clock.advance(began + hour - clock.now())  # the beginning of an hour
    cell.seen.take()
    assert shown(ticking)[id_of(ticking.service)].used is None
    perform(cell, lambda: flush_uses(cell))
    before = ticking.next_number
    ticking.token(SSN, "123-45-6789")
    assert perform(cell, lambda: flush_uses(cell)) == 1
    noted = shown(ticking)[id_of(ticking.service)].used
    assert noted == format_time(clock.now())
    clock.advance(hour // 2)
    ticking.token(SSN, "123-45-6789")
    assert perform(cell, lambda: flush_uses(cell)) == 0  # no write a request, and none a minute
    clock.advance(hour // 2)
    ticking.token(SSN, "123-45-6789")
    assert perform(cell, lambda: flush_uses(cell)) == 1
    assert shown(ticking)[id_of(ticking.service)].used == format_time(clock.now())
    assert {event["kind"] for event in ticking.events(before)} == {"tokenize"}


def test_a_use_that_could_not_be_written_is_written_later(built: BuiltCell) -> None:
    seen = built.cell.seen
    seen.take()
    built.token(SSN, "123-45-6789")
    hours = seen.take()
    assert list(hours) == [id_of(built.service)]
    seen.give_back(hours)
    assert seen.take() == hours


def test_one_list_has_the_cryptoperiods_of_all_kinds(ticking: BuiltCell, clock: FixedClock) -> None:
    ticking.apply(
        ticking.schema.replace(
            '[fields."customer.ssn"]', '[fields."customer.ssn"]\nrotation = "P1Y"'
        ).replace('[fields."customer.email"]', '[fields."customer.email"]\nrotation = "P30D"')
    )
    cell = ticking.cell
    cell.working = type(cell.working)(rotation=parse_period("P90D"), references=parse_period("P2Y"))
    ends = format_time(clock.now() + 5 * DAY)
    ticking.key(ticking.service_id, KeyBody(expires=ends))
    ticking.tokens("customer.email", "a@example.org", subjects=["p"])
    rows = ticking.run(list_stored_keys, Page(limit=500), KeyFilter(), by=ticking.admin).items
    with_end = {(row.kind, row.field) for row in rows if row.period_end}
    assert with_end == {
        ("api", None), ("data", None), ("ff1", SSN), ("blind-index", "customer.email"),
        ("index-layer", None), ("subject-reference", None),
    }  # fmt: skip
    assert [row.period_end for row in rows if row.kind == "api" and row.period_end] == [ends]
    ids = [row.id.partition("_")[2] for row in rows]
    assert ids == sorted(ids, reverse=True)
