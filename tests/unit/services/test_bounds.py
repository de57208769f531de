"""What one request may cost the others: a body, a batch on a grant that is over, a filtered list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import CEILING, NAME, SSN, BuiltCell, development_cell
from vault.api.body import BodyDecoder
from vault.clock import SECOND, FixedClock, parse_time
from vault.errors import BadInput, CoatcheckError
from vault.ledger.command import Needs
from vault.services import audit, grant_views
from vault.services.audit import AuditQuery, read_audit
from vault.services.datakeys import MakeDataKeys
from vault.services.deciding import UseGrant
from vault.services.detokenize import DetokenizeBody, detokenize
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantFilter, list_grants, read_grant
from vault.services.grants import create_grant
from vault.services.identities import (
    PrincipalBody,
    create_principal,
)
from vault.services.issue import Issue
from vault.services.listing import Page
from vault.services.schema import SchemaBody, apply_schema, plan_schema
from vault.services.service_keys import (
    list_keys,
    revoke_key,
)
from vault.services.subjects import EnterSubjects
from vault.services.tokenize import TokenizeBody, tokenize


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b'{"', b'":', b'" '])
def test_a_body_is_read_in_one_go(unit: bytes) -> None:
    """A quadratic reader would take hours over these four million bytes, and the suite would time out."""
    decoder = BodyDecoder(TokenizeBody, 10_000)
    body = b'{"' + unit * (4_000_000 // len(unit)) + b"," * 10_001
    with pytest.raises(BadInput):
        decoder(body)


def needs_of(built: BuiltCell, credential: str, body: DetokenizeBody) -> Needs:
    verb = detokenize(built.cell, built.request(credential), body)
    command = next(verb)
    verb.close()
    assert isinstance(command, UseGrant)
    needs = Needs()
    command.needs(needs)
    return needs


def test_a_grant_that_is_over_reads_no_rows_of_a_large_batch(built: BuiltCell) -> None:
    tokens = built.tokens(NAME, *[f"name {number}" for number in range(200)])
    body = DetokenizeBody(purpose="support", field=NAME, tokens=tokens)
    enough = built.grant(NAME, uses=400, purpose="files")
    assert not needs_of(built, enough, body).tokens  # another purpose: refused, and charged, by the ledger
    body = DetokenizeBody(purpose="files", field=NAME, tokens=tokens)
    assert len(needs_of(built, enough, body).tokens) == 200
    assert not needs_of(built, built.grant(NAME, uses=100, purpose="files"), body).tokens
    grant = "gr_" + enough.split("_")[1]
    built.run(revoke_grant, grant, ChangeBody())
    assert not needs_of(built, enough, body).tokens
    with pytest.raises(CoatcheckError) as refusal:
        built.run(detokenize, body, by=enough)
    assert refusal.value.code == "grant_invalid"
    assert built.events(kind="detokenize")[-1]["code"] == "grant_invalid"


def test_a_large_batch_still_opens_and_is_charged(built: BuiltCell) -> None:
    names: list[str | None] = [f"name {number}" for number in range(200)]
    credential = built.grant(NAME, uses=400, purpose="files")
    tokens = built.tokens(NAME, *names)
    for _ in range(2):
        assert built.reveal(credential, NAME, *tokens, purpose="files") == names
    with pytest.raises(CoatcheckError) as refusal:
        built.reveal(credential, NAME, *tokens, purpose="files")
    assert refusal.value.code == "budget_exhausted"


def test_a_clock_that_was_set_back_refuses_no_large_batch(tmp_path: Path) -> None:
    clock = FixedClock(parse_time("2026-11-23T12:00:00Z"))
    with development_cell(tmp_path, clock) as built:
        names: list[str | None] = [f"name {number}" for number in range(200)]
        tokens, credential = built.tokens(NAME, *names), built.grant(NAME, uses=200, purpose="files")
        clock.advance(-SECOND)
        assert built.reveal(credential, NAME, *tokens, purpose="files") == names


def test_a_command_of_many_rows_weighs_as_much(built: BuiltCell) -> None:
    """Else two hundred of them would be one transaction, and everybody would wait for it."""
    people = [f"person {number}" for number in range(320)]
    body = TokenizeBody(field=NAME, values=["Ada"] * 320, subjects=list(people))
    verb = tokenize(built.cell, built.request(built.service), body)
    commands = [next(verb)]
    for _ in range(2):
        commands.append(verb.send(built.cell.committer.execute(commands[-1])))
    assert [type(command) for command in commands] == [EnterSubjects, MakeDataKeys, Issue]
    assert [command.weight for command in commands] == [11] * 3
    grant = built.grant_body(NAME, subjects=people)
    creating = create_grant(built.cell, built.request(built.service), grant)
    assert next(creating).weight == 11


def test_a_rare_match_is_found_over_several_pages(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SCAN_ROWS", 3)
    monkeypatch.setattr(audit, "MAX_SCANS", 2)
    monkeypatch.setattr(grant_views, "SCAN_ROWS", 3)
    monkeypatch.setattr(grant_views, "MAX_SCANS", 2)
    rare = "gr_" + built.grant(SSN, purpose="files").split("_")[1]
    for _ in range(20):
        built.grant(SSN)
    found: list[object] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = built.run(
            list_grants, Page(limit=2, cursor=cursor), GrantFilter(purpose="files"), by=built.admin
        )
        found += [row.id for row in page.items]
        cursor, pages = page.next, pages + 1
        assert pages < 20
    assert found == [rare]
    assert pages > 1
    numbers: list[int] = []
    query = AuditQuery(kind="cell.init", limit=1)
    for _ in range(40):
        listing = built.run(read_audit, query, by=built.admin)
        numbers += [row.number for row in listing.items]
        if listing.next is None:
            break
        query = AuditQuery(kind="cell.init", limit=1, cursor=int(listing.next))
    assert numbers == [0]


def test_a_revoked_key_prepares_nothing(built: BuiltCell) -> None:
    """Also where a verb ends before the ledger could bind the key's row."""
    operator, key = built.principal("operator", "second", roles=["admin"])
    built.run(list_grants, Page(), GrantFilter(), by=key)  # remembered
    toml = built.schema
    plan = built.run(plan_schema, SchemaBody(toml=toml), by=key)
    id_ = built.run(list_keys, operator, by=built.admin).items[0].id
    built.run(revoke_key, id_, by=built.admin)
    for verb, arguments in (
        (apply_schema, (SchemaBody(toml=toml, digest=plan.digest),)),
        (tokenize, (TokenizeBody(field=SSN, values=["not one"]),)),
        (revoke_key, (id_,)),
        (read_grant, ("gr_00000000000000000000000000",)),
    ):
        before = built.next_number
        with pytest.raises(CoatcheckError) as refusal:
            built.run(verb, *arguments, by=key)
        assert refusal.value.code == "credential_invalid"
        assert built.next_number == before


@pytest.mark.parametrize(
    ("member", "names", "code"),
    [
        ("fields", ["John Doe 123-45-6789"], "name_invalid"),
        ("purposes", ["because of Ada"], "name_invalid"),
        ("agents", ["agent:Ada Lovelace"], "name_invalid"),
        ("agents", ["x" * 200_000], "name_invalid"),
        ("agents", ["service:demo"], "name_invalid"),
        ("operations", ["revael"], "operation_unsupported"),
        ("deliveries", ["pigeon"], "operation_unsupported"),
        ("fields", ["a"] * 1_001, "limit_invalid"),
    ],
)
def test_a_ceiling_names_things_and_says_nothing_else(
    built: BuiltCell, member: str, names: list[str], code: str
) -> None:
    """It stands in the log for ever."""
    told = {name: getattr(CEILING, name) for name in CEILING.__struct_fields__}
    ceiling = type(CEILING)(**{**told, member: names})
    before = built.next_number
    with pytest.raises(BadInput) as refusal:
        built.run(create_principal, PrincipalBody("service", "third", ceiling=ceiling), by=built.admin)
    assert refusal.value.code == code
    assert built.next_number == before
