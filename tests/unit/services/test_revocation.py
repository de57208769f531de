"""Grants end on time, and revoking binds at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cells import AGENT, SSN, BuiltCell, any_cell, development_cell, reveal
from tests.unit.services.asking import SSNS, left
from tests.unit.services.calls import grant_id, rows
from vault.clock import SECOND, FixedClock, format_time
from vault.errors import BadInput, Denied, Stale, Unauthenticated
from vault.services.detokenize import detokenize
from vault.services.grant_body import Validity
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grants import create_grant
from vault.services.identities import (
    remove_principal,
)

START = 1_795_000_000 * SECOND


def test_expiry_is_the_moment_itself(tmp_path: Path) -> None:
    clock = FixedClock(START)
    with development_cell(tmp_path, clock) as built:
        token = built.token(SSN, SSNS[0])
        until = Validity(None, format_time(START + 60 * SECOND))
        credential = built.grant(SSN, valid=until)
        clock.at = START + 60 * SECOND - 1
        assert built.reveal(credential, SSN, token) == [SSNS[0]]
        clock.at += 1
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(credential, SSN, token)
        clock.at = START  # a clock that goes back does not bring it back to life
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(credential, SSN, token)
        assert left(built, credential) == 9


def test_a_grant_of_later_is_not_one_of_now(tmp_path: Path) -> None:
    clock = FixedClock(START)
    with development_cell(tmp_path, clock) as built:
        token = built.token(SSN, SSNS[0])
        begins = START + 60 * SECOND
        credential = built.grant(SSN, valid=Validity(format_time(begins)))
        clock.at = begins - 1
        with pytest.raises(Denied, match="outside_window"):
            built.reveal(credential, SSN, token)
        clock.at = begins
        assert built.reveal(credential, SSN, token) == [SSNS[0]]


def test_on_postgresql_the_database_s_clock_decides(tmp_path: Path) -> None:
    with any_cell("postgresql", tmp_path, FixedClock(START)) as built:  # the host's stands still
        columns = built.cell.store.tables.grants
        credential, token = built.grant(SSN), built.token(SSN, SSNS[0])
        assert built.reveal(credential, SSN, token) == [SSNS[0]]
        with built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE {columns.fullname} SET valid_until = "
                "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
            )
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(credential, SSN, token)


def test_binds_at_once(built: BuiltCell) -> None:
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN)
    built.reveal(credential, SSN, token)
    answer = built.run(revoke_grant, grant_id(credential), ChangeBody("no longer needed"))
    assert (answer.state, answer.version) == ("revoked", 2)
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.reveal(credential, SSN, token)
    assert left(built, credential) == 9


def test_binds_a_request_that_is_already_prepared(built: BuiltCell) -> None:
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN)
    verb = detokenize(built.cell, built.request(credential), reveal(SSN, [token]))
    command = next(verb)
    built.run(revoke_grant, grant_id(credential), ChangeBody())
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        verb.send(built.cell.committer.execute(command))


def test_twice_is_once(built: BuiltCell) -> None:
    name = grant_id(built.grant(SSN))
    built.run(revoke_grant, name, ChangeBody())
    before = rows(built)
    assert built.run(revoke_grant, name, ChangeBody()).state == "revoked"
    assert rows(built) == before


def test_bumps_the_fence(built: BuiltCell) -> None:
    head = built.cell.store.read(built.cell.store.record.head)[0]
    built.run(revoke_grant, grant_id(built.grant(SSN)), ChangeBody())
    assert built.cell.store.read(built.cell.store.record.head)[0][4] == head[4] + 1


def test_by_the_removal_of_its_creator(built: BuiltCell) -> None:
    token, credentials = built.token(SSN, SSNS[0]), [built.grant(SSN) for _ in range(3)]
    built.run(revoke_grant, grant_id(credentials[0]), ChangeBody())
    removed = built.run(remove_principal, built.service_id, by=built.admin)
    assert (removed.keys_revoked, removed.grants_revoked) == (1, 2)
    for credential in credentials:
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(credential, SSN, token)


def test_by_the_removal_of_its_agent(built: BuiltCell) -> None:
    token, credential = built.token(SSN, SSNS[0]), built.grant(SSN)
    removed = built.run(remove_principal, built.agent_id, by=built.admin)
    assert (removed.keys_revoked, removed.grants_revoked) == (0, 1)
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.reveal(credential, SSN, token)
    built.principal("agent", AGENT)  # the name is free again; the old grant stays revoked
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.reveal(credential, SSN, token)
    assert built.reveal(built.grant(SSN), SSN, token) == [SSNS[0]]


def test_what_hangs_on_a_principal_is_counted_where_it_is_removed(built: BuiltCell) -> None:
    """A grant made between preparing and deciding is revoked and counted."""
    verb = remove_principal(built.cell, built.request(built.admin), built.service_id)
    command = next(verb)
    built.grant(SSN)
    with pytest.raises(StopIteration) as end:
        verb.send(built.cell.committer.execute(command))
    assert end.value.value.grants_revoked == 1
    (event,) = built.events(kind="principal.remove")
    assert (event["keys"], event["grants"]) == (1, 1)


def test_a_creator_removed_while_a_grant_is_prepared_makes_none(built: BuiltCell) -> None:
    verb = create_grant(built.cell, built.request(built.service), built.grant_body(SSN))
    command = next(verb)
    built.run(remove_principal, built.service_id, by=built.admin)
    with pytest.raises(Stale):
        built.cell.committer.execute(command)
    assert rows(built)["re_grants"] == []


def test_an_agent_removed_while_a_grant_is_prepared_gets_none(built: BuiltCell) -> None:
    verb = create_grant(built.cell, built.request(built.service), built.grant_body(SSN))
    command = next(verb)
    built.run(remove_principal, built.agent_id, by=built.admin)
    with pytest.raises(BadInput, match="agent_unknown"):
        built.cell.committer.execute(command)
