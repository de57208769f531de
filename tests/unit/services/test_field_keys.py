"""Field keys turned over: versions, states, what each still opens, and what stands against destroying one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import EMAIL, NAME, PAN, SSN, BuiltCell
from tests.support.turns import turn, until, with_keys
from vault.clock import DAY, FixedClock, parse_period
from vault.errors import BadInput, Conflict, Denied, Stale, Unknown
from vault.keystate.states import TRANSITIONS, KeyState
from vault.services.batch import BatchRefused
from vault.services.cell import Working
from vault.services.coverage import CoverageAnswer, read_coverage
from vault.services.cryptoperiods import due_rotations, terms_of
from vault.services.field_keys import (
    Attestation,
    DestroyBody,
    KeyChanged,
    ReasonBody,
    compromise_key,
    destroy_key,
    rotate_key,
)
from vault.services.fields import read_field
from vault.services.keys import KeyFilter, StoredKeyAnswer, list_stored_keys
from vault.services.listing import Page
from vault.services.rekey import RekeyBody, rekey
from vault.services.rotation import rotate_due
from vault.services.tokenize import TokenizeBody, tokenize
from vault.services.worker import Worker
from vault.wiring import perform

VALUE = "123-45-6789"
SAYS = Attestation("Ada Lovelace", "All tables were rekeyed, backups of them are gone.")


def keys(built: BuiltCell, field: str | None = SSN, kind: str = "ff1") -> dict[int, StoredKeyAnswer]:
    """A field's keys of a kind, by version."""
    rows = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind=kind), by=built.admin).items
    return {row.version: row for row in rows if row.field == field}


def states(built: BuiltCell, field: str | None = SSN, kind: str = "ff1") -> dict[int, str]:
    return {version: row.state for version, row in sorted(keys(built, field, kind).items())}


def rotate(built: BuiltCell, field: str = SSN) -> KeyChanged:
    found = keys(built, field)
    return built.run(rotate_key, found[max(found)].id, ReasonBody(), by=built.admin)


def coverage(built: BuiltCell, key: str) -> CoverageAnswer:
    return built.run(read_coverage, key, by=built.admin)


def test_a_new_version_protects_and_the_old_one_opens(built: BuiltCell) -> None:
    old = built.token(SSN, VALUE)
    before = built.next_number
    changed = rotate(built)
    assert (changed.kind, changed.field, changed.version, changed.state) == ("ff1", SSN, 1, "deactivated")
    assert changed.primary_version == 2
    assert states(built) == {1: "deactivated", 2: "active"}
    made = built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]))
    assert made.key_version == 2  # type: ignore[union-attr]
    new = made.tokens[0]  # type: ignore[union-attr]
    assert new != old
    grant = built.grant(SSN)
    assert built.reveal(grant, SSN, old, key_version=1) == [VALUE]
    assert built.reveal(grant, SSN, str(new), key_version=2) == [VALUE]
    (event,) = built.events(before, "key.rotate")
    assert (event["field"], event["purpose"], event["key_version"], event["new_version"]) == (
        SSN,
        "ff1",
        1,
        2,
    )
    assert built.run(read_field, SSN).key_version == 2


def test_a_mask_key_is_rotated_too(built: BuiltCell) -> None:
    toml = built.schema + '\n[fields."customer.hashed"]\ntemplate = "ssn"\nprotection = "vaultless"\n'
    toml += 'retention = "key-lifetime"\nmasks = { hashed = "{hash:8}" }\n'
    built.apply(toml)
    (key,) = keys(built, "customer.hashed", "mask").values()
    assert built.run(rotate_key, key.id, ReasonBody(), by=built.admin).primary_version == 2
    assert states(built, "customer.hashed", "mask") == {1: "deactivated", 2: "active"}


def test_only_the_version_that_protects_is_rotated(built: BuiltCell) -> None:
    first = keys(built)[1].id
    rotate(built)
    with pytest.raises(Conflict, match="version_conflict") as refused:
        built.run(rotate_key, first, ReasonBody(), by=built.admin)
    assert refused.value.facts == {"state": "deactivated", "newest": 2}


def test_a_compromised_key_opens_and_protects_nothing_more(built: BuiltCell) -> None:
    old = built.token(SSN, VALUE)
    before = built.next_number
    changed = built.run(compromise_key, keys(built)[1].id, ReasonBody("seen in a dump"), by=built.admin)
    assert (changed.state, changed.primary_version) == ("compromised", 2)
    assert states(built) == {1: "compromised", 2: "active"}
    assert built.reveal(built.grant(SSN), SSN, old, key_version=1) == [VALUE]
    assert built.run(tokenize, TokenizeBody(field=SSN, values=[VALUE])).key_version == 2  # type: ignore[union-attr]
    (event,) = built.events(before, "key.compromise")
    assert (event["key_version"], event["new_version"]) == (1, 2)
    assert "seen in a dump" not in str(event)  # a caller's text goes into the items
    # one that protects nothing is not replaced again
    rotate(built)
    third = built.run(compromise_key, keys(built)[2].id, ReasonBody(), by=built.admin)
    assert third.primary is None
    assert states(built) == {1: "compromised", 2: "compromised", 3: "active"}


def test_a_version_that_protects_is_not_destroyed(built: BuiltCell) -> None:
    with pytest.raises(Conflict, match="key_in_use"):
        built.run(destroy_key, keys(built)[1].id, DestroyBody(SAYS), by=built.admin)
    assert states(built) == {1: "active"}


def test_destroying_takes_a_persons_word_once_tokens_were_issued(built: BuiltCell) -> None:
    first = keys(built)[1].id
    token = built.token(SSN, VALUE)
    grant = built.grant(SSN)
    built.reveal(grant, SSN, token, key_version=1)
    rotate(built)
    with pytest.raises(Conflict, match="key_in_use") as refused:
        built.run(destroy_key, first, DestroyBody(), by=built.admin)
    assert refused.value.facts["issued"] == 1
    assert refused.value.facts["rekeyed"] == 0
    assert str(refused.value.facts["last_used"]).endswith("Z")
    before = built.next_number
    assert built.run(destroy_key, first, DestroyBody(SAYS), by=built.admin).state == "destroyed"
    assert states(built) == {1: "destroyed", 2: "active"}
    with pytest.raises(BatchRefused, match="key_version_unknown"):
        built.reveal(grant, SSN, token, key_version=1)
    (event,) = built.events(before, "key.destroy")
    assert (event["attested"], event["issued"], event["rekeyed"]) == (True, 1, 0)
    assert "Lovelace" not in str(event)
    store = built.cell.store
    rows = store.read(store.custody.field_keys, {"tenant": "main", "field": SSN, "purpose": "ff1"})
    assert {row[4]: bool(row[7]) for row in rows} == {1: False, 2: True}  # nothing of it is left
    with pytest.raises(Conflict, match="version_conflict"):
        built.run(destroy_key, first, DestroyBody(SAYS), by=built.admin)


def test_a_version_without_tokens_is_destroyed_without_a_word(built: BuiltCell) -> None:
    first = keys(built)[1].id
    rotate(built)
    assert built.run(destroy_key, first, DestroyBody(), by=built.admin).state == "destroyed"


def test_coverage_counts_and_never_subtracts(built: BuiltCell) -> None:
    first = keys(built)[1].id
    shown = coverage(built, first)
    assert (shown.held_by, shown.issued, shown.rekeyed) == ("callers", 0, 0)
    assert (shown.last_issued, shown.last_used) == (None, None)
    tokens = built.tokens(SSN, "123-45-6789", "078-05-1120", "219-09-9999")
    second = rotate(built).primary
    assert second is not None
    built.run(rekey, RekeyBody(SSN, tokens[:2], 1))
    built.run(rekey, RekeyBody(SSN, tokens[:1], 1))
    old, new = coverage(built, first), coverage(built, second)
    assert (old.issued, old.rekeyed) == (3, 3)  # one of them twice: copies exist
    assert (new.issued, new.rekeyed) == (3, 0)
    assert old.last_used is not None
    assert new.last_used is None


def test_coverage_of_what_has_rows_is_exact(built: BuiltCell) -> None:
    built.tokens(NAME, "Ada", "Bob", "Eve", subjects=["p1", "p1", "p2"])
    (row_id,) = keys(built, NAME, "row-id").values()
    assert coverage(built, row_id.id).live == 3
    data = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind="data"), by=built.admin).items
    counts = sorted(coverage(built, key.id).live or 0 for key in data)
    assert counts[-2:] == [1, 2]
    assert {coverage(built, key.id).held_by for key in data} == {"rows"}


def test_the_last_use_is_noted_to_the_minute(ticking: BuiltCell, clock: FixedClock) -> None:
    key = keys(ticking)[1].id
    token, grant = ticking.token(SSN, VALUE), ticking.grant(SSN, uses=20)
    assert coverage(ticking, key).last_used is None
    seen = []
    for _ in range(4):
        ticking.reveal(grant, SSN, token, key_version=1)
        seen.append(coverage(ticking, key).last_used)
        clock.advance(40_000_000)
    assert seen[0] == seen[1] < seen[2] == seen[3]  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["row-id", "data"])
def test_kinds_that_last_as_long_as_what_they_made(built: BuiltCell, kind: str) -> None:
    built.tokens(EMAIL, "ada@example.org", subjects=["p1"])
    rows = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind=kind), by=built.admin).items
    with pytest.raises(Conflict, match="key_lasts") as lasts:
        built.run(rotate_key, rows[0].id, ReasonBody(), by=built.admin)
    assert lasts.value.facts == {"kind": kind}
    for verb, more in (
        (compromise_key, (ReasonBody(),)),
        (destroy_key, (DestroyBody(),)),
    ):
        with pytest.raises(BadInput, match="operation_unsupported") as refused:
            built.run(verb, rows[0].id, *more, by=built.admin)
        assert refused.value.facts == {"kind": kind}


@pytest.mark.parametrize(
    "key", ["", "key_", "ck_01M84HD64DFW18BYTQYF0BJRJQ", "key_01M84HD64DFW18BYTQYF0BJRJQ"]
)
def test_unknown_keys(built: BuiltCell, key: str) -> None:
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (rotate_key, (ReasonBody(),)), (compromise_key, (ReasonBody(),)), (destroy_key, (DestroyBody(),)),
        (read_coverage, ()),
    ]  # fmt: skip
    for verb, more in calls:
        with pytest.raises(Unknown, match="not_found"):
            built.run(verb, key, *more, by=built.admin)


def test_another_tenants_keys_are_not_there(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    theirs = keys(other)[1].id
    for verb, more in (
        (rotate_key, (ReasonBody(),)),
        (destroy_key, (DestroyBody(SAYS),)),
        (read_coverage, ()),
    ):
        with pytest.raises(Unknown, match="not_found"):
            built.run(verb, theirs, *more, by=built.admin)
    rotate(built)
    assert states(other) == {1: "active"}


def test_who_reads_data_does_not_turn_keys(built: BuiltCell) -> None:
    key = keys(built)[1].id
    for verb, more in (
        (rotate_key, (ReasonBody(),)),
        (compromise_key, (ReasonBody(),)),
        (destroy_key, (DestroyBody(),)),
    ):
        with pytest.raises(Denied, match="permission_denied"):
            built.run(verb, key, *more)
    with pytest.raises(Denied, match="permission_denied"):
        built.run(rekey, RekeyBody(SSN, [VALUE], 1), by=built.admin)


@pytest.mark.parametrize(
    "said",
    [
        Attestation("", "words"),
        Attestation("Ada", ""),
        Attestation("Ada\n", "x"),
        Attestation("A" * 501, "x"),
    ],
)
def test_a_word_has_a_name_and_is_readable(built: BuiltCell, said: Attestation) -> None:
    first = keys(built)[1].id
    rotate(built)
    with pytest.raises(BadInput):
        built.run(destroy_key, first, DestroyBody(said), by=built.admin)
    assert states(built)[1] == "deactivated"


def test_every_transition_that_is_not_legal_is_refused(built: BuiltCell) -> None:
    """SP 800-57 part 1, 7: from whichever state the row is in, at the verbs that change it."""
    first = keys(built)[1].id
    rotate(built)
    tried = 0
    for state in KeyState:
        for verb, more, to in (
            (compromise_key, ReasonBody(), KeyState.COMPROMISED),
            (destroy_key, DestroyBody(SAYS), KeyState.DESTROYED),
        ):
            _set_state(built, first, state)
            if to in TRANSITIONS[state]:
                assert built.run(verb, first, more, by=built.admin).state == to.value
            else:
                with pytest.raises(Conflict, match="version_conflict"):
                    built.run(verb, first, more, by=built.admin)
                assert states(built)[1] == state.value
                tried += 1
    assert tried >= 3


@pytest.mark.parametrize(("field", "kind"), [(EMAIL, "blind-index"), (None, "subject-reference")])
def test_every_transition_of_an_index_key_that_is_not_legal_is_refused(
    built: BuiltCell, field: str | None, kind: str
) -> None:
    """The same table, for the version before as for the one that is looked up by."""
    built.tokens(EMAIL, "ada@example.org", subjects=["p1"])
    first = keys(built, field, kind)[1].id
    job = built.run(rotate_key, first, ReasonBody(), by=built.admin).job
    assert until(built, job or "").state == "done"
    tried = 0
    for state in KeyState:
        for verb, more, to in (
            (compromise_key, ReasonBody(), KeyState.COMPROMISED),
            (destroy_key, DestroyBody(), KeyState.DESTROYED),
        ):
            _set_state(built, first, state, field or "", kind)
            if to in TRANSITIONS[state]:
                assert built.run(verb, first, more, by=built.admin).state == to.value
            else:
                with pytest.raises(Conflict, match="version_conflict"):
                    built.run(verb, first, more, by=built.admin)
                assert states(built, field, kind)[1] == state.value
                tried += 1
        with pytest.raises(Conflict, match="version_conflict"):
            built.run(rotate_key, first, ReasonBody(), by=built.admin)  # it is not the newest
    assert tried >= 3
    second = keys(built, field, kind)[2].id
    for state in KeyState:
        if state is KeyState.ACTIVE:
            continue
        _set_state(built, second, state, field or "", kind, version=2)
        with pytest.raises(Conflict, match="version_conflict"):
            built.run(rotate_key, second, ReasonBody(), by=built.admin)


def test_an_index_key_that_is_looked_up_by_is_not_destroyed(built: BuiltCell) -> None:
    with pytest.raises(Conflict, match="key_in_use"):
        built.run(destroy_key, keys(built, EMAIL, "blind-index")[1].id, DestroyBody(SAYS), by=built.admin)


def test_index_keys_are_rotated_when_they_are_due(ticking: BuiltCell, clock: FixedClock) -> None:
    ticking.apply(
        ticking.schema.replace('[fields."customer.email"]', '[fields."customer.email"]\nrotation = "P30D"')
    )
    token = ticking.tokens(EMAIL, "ada@example.org", subjects=["p1"])
    cell = with_keys(ticking).cell
    cell.working = Working(references=parse_period("P40D"))
    Worker(cell).run_due()
    assert states(ticking, EMAIL, "blind-index") == {1: "active"}
    clock.advance(31 * DAY)
    assert due(ticking) == [("main", EMAIL)]
    Worker(cell).run_due()
    assert states(ticking, EMAIL, "blind-index") == {1: "deactivated", 2: "active"}
    assert states(ticking, None, "subject-reference") == {1: "active"}
    clock.advance(10 * DAY)
    Worker(cell).run_due()
    assert states(ticking, None, "subject-reference") == {1: "deactivated", 2: "active"}
    assert states(ticking, EMAIL, "blind-index") == {1: "deactivated", 2: "active"}
    assert due(ticking) == []
    assert ticking.tokens(EMAIL, "ada@example.org", subjects=["p1"]) == token
    actors = {event["actor"] for event in ticking.events(kind="key.reindex")}
    assert actors == {"schedule"}


def test_a_rotation_that_has_not_ended_is_not_begun_again(ticking: BuiltCell, clock: FixedClock) -> None:
    ticking.apply(
        ticking.schema.replace('[fields."customer.email"]', '[fields."customer.email"]\nrotation = "P30D"')
    )
    cell = with_keys(ticking).cell
    clock.advance(31 * DAY)
    assert perform(cell, lambda: rotate_due(cell)) == 1
    clock.advance(31 * DAY)
    assert due(ticking) == [("main", EMAIL)]
    assert perform(cell, lambda: rotate_due(cell)) == 0
    assert states(ticking, EMAIL, "blind-index") == {1: "active", 2: "active"}


def _set_state(
    built: BuiltCell, key: str, state: KeyState, field: str = SSN, kind: str = "ff1", version: int = 1
) -> None:
    table = built.cell.store.tables.field_keys
    of = (table.c.field == field, table.c.purpose == kind, table.c.version == version)
    with built.cell.store.engine.begin() as connection:
        done = connection.execute(table.update().where(*of).values(state=state.value))
        assert done.rowcount == 1, key
    built.cell.forget()


def test_what_was_prepared_under_the_old_version_is_made_again(built: BuiltCell) -> None:
    """A command that was made before the rotation comes back stale: no token of the old version is issued."""
    verb = tokenize(built.cell, built.request(built.service), TokenizeBody(field=SSN, values=[VALUE]))
    command = next(verb)
    rotate(built)
    with pytest.raises(Stale):
        built.cell.committer.execute(command)


def due(built: BuiltCell) -> list[tuple[str, str]]:
    cell = built.cell
    terms = terms_of(cell.store, cell.working)
    return [(one.tenant, one.field) for one in due_rotations(cell.store, terms, cell.clock.now())]


def test_a_field_is_rotated_when_it_is_due(ticking: BuiltCell, clock: FixedClock) -> None:
    ticking.apply(
        ticking.schema.replace('[fields."customer.ssn"]', '[fields."customer.ssn"]\nrotation = "P1Y"')
    )
    old = ticking.token(SSN, VALUE)
    worker = Worker(with_keys(ticking).cell)
    worker.run_due()
    assert states(ticking) == {1: "active"}
    before = ticking.next_number
    clock.advance(367 * 86_400 * 1_000_000)
    assert due(ticking) == [("main", SSN)]
    Worker(ticking.cell).run_due()
    assert states(ticking) == {1: "deactivated", 2: "active"}
    assert states(ticking, PAN) == {1: "active"}
    (event,) = ticking.events(before, "key.rotate")
    assert (event["actor"], event["new_version"]) == ("schedule", 2)
    assert due(ticking) == []
    _, key = ticking.principal("service", "late", permissions=[f"rekey:{SSN}"])
    assert ticking.run(rekey, RekeyBody(SSN, [old], 1), by=key).key_version == 2


def test_a_turn_takes_all_versions_along_and_leaves_the_destroyed(built: BuiltCell) -> None:
    first = keys(built)[1].id
    rotate(built)
    second = built.token(SSN, VALUE)
    rotate(built)
    built.run(destroy_key, first, DestroyBody(), by=built.admin)
    assert turn(with_keys(built)).state == "done"
    assert states(built) == {1: "destroyed", 2: "deactivated", 3: "active"}
    assert {row.version: row.epoch for row in keys(built).values()} == {1: 0, 2: 2, 3: 2}
    assert built.reveal(built.grant(SSN), SSN, second, key_version=2) == [VALUE]
