"""Who saw a person: from the log, folded, without what was not shown, and nothing after an erasure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import AGENT, CEILING, EMAIL, HOST, NAME, TEXT, BuiltCell, any_cell, reveal
from tests.support.regions import BASIS, two_regions
from tests.support.turns import with_keys
from tests.unit.services.test_approvals import decide, holding, officer, wanted
from vault.audit import event as events
from vault.errors import CoatcheckError, Denied, IntegrityError
from vault.policy.grant import ScopeEntry
from vault.services import disclosures, use_grant
from vault.services.approvals import approve
from vault.services.batch import BatchRefused
from vault.services.detokenize import detokenize
from vault.services.disclosures import Disclosure, DisclosuresBody, DisclosuresReport, disclosures_report
from vault.services.erasures import ErasureBody, request_erasure
from vault.services.grant_body import GrantBody, GrantLimits
from vault.services.grants import create_grant
from vault.services.verify import VerifyBody, verify
from vault.services.worker import Worker

ADA, BOB = "cust-ada", "cust-bob"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def report(built: BuiltCell, subject: str = ADA, **more: Any) -> DisclosuresReport:
    return built.run(disclosures_report, DisclosuresBody(subject, **more), by=HOST)


def seen(built: BuiltCell, subject: str = ADA, **more: Any) -> list[Disclosure]:
    return report(built, subject, **more).disclosures


def test_a_series_of_equal_disclosures_is_one_line(built: BuiltCell) -> None:
    token, other = built.token(NAME, "Ada", ADA), built.token(EMAIL, "ada@example.org", ADA)
    for _ in range(2):
        grant = built.grant(NAME, EMAIL)  # of whichever grant: to whom and what for is what counts
        built.reveal(grant, NAME, token)
        built.reveal(grant, NAME, token)
        built.reveal(grant, EMAIL, other)
    first, second = seen(built)
    used = built.events(kind="detokenize")
    assert (first.fields, first.count, first.first, first.last) == ((NAME,), 4, used[0]["at"], used[4]["at"])
    assert (second.fields, second.count, second.first, second.last) == (
        (EMAIL,), 2, used[2]["at"], used[5]["at"],
    )  # fmt: skip
    assert (first.recipient, first.operation, first.delivery) == ("agent:demo", "reveal", "plain")
    assert (first.purpose, first.description) == ("support", "Answer a customer's question")
    assert (first.legal_basis, first.disclosure_class) == ("contract", "internal")
    assert (first.decision, first.with_others) == (used[0]["decision"], False)
    assert report(built).possible == []


def test_what_differs_is_told_apart(built: BuiltCell) -> None:
    token, bob = built.token(NAME, "Ada", ADA), built.token(NAME, "Bob", BOB)
    text = built.ciphertext(TEXT, "hello", subject=ADA)
    grant = built.grant(NAME, TEXT)
    made = built.run(create_grant, built.grant_body(NAME, purpose="files", on_behalf_of="eve"))
    built.reveal(grant, NAME, token)
    built.reveal(grant, NAME, token, operation="mask", mask="initial")
    built.reveal(grant, NAME, token, bob)
    built.decrypt(grant, TEXT, text)
    built.reveal(made.credential or "", NAME, token, purpose="files")
    told = [
        (one.operation, one.shown_as, one.fields, one.purpose, one.on_behalf_of, one.with_others)
        for one in seen(built)
    ]
    assert told == [
        ("reveal", None, (NAME,), "support", None, False),
        ("mask", "initial", (NAME,), "support", None, False),
        ("reveal", None, (NAME,), "support", None, True),
        ("reveal", None, (TEXT,), "support", None, False),
        ("reveal", None, (NAME,), "files", "eve", False),
    ]
    assert [(one.fields, one.with_others) for one in seen(built, BOB)] == [((NAME,), True)]


def test_what_was_not_shown_is_not_told(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    token = built.token(NAME, "Ada", ADA)
    grant = built.grant(NAME)
    with pytest.raises(BatchRefused):
        built.reveal(grant, NAME, token, "tok_nobody")
    with pytest.raises(Denied):
        built.reveal(built.grant(EMAIL), NAME, token)
    assert (report(built).known, seen(built)) == (True, [])
    # Item by item, what opens is shown.
    built.run(detokenize, reveal(NAME, [token, "tok_nobody"], on_error="report"), by=grant)
    told = [event["told"] for event in built.events(kind="detokenize") if "told" in event]
    assert (told, [one.count for one in seen(built)]) == ([0, 1], [1])

    def fails(*_: Any) -> None:
        raise IntegrityError("integrity_failed")

    with monkeypatch.context() as patched:
        patched.setattr(use_grant, "open_values", fails)
        with pytest.raises(IntegrityError):
            built.reveal(grant, NAME, token)
    assert [one.count for one in seen(built)] == [1]  # the log takes back what it said
    # Also where the time asked for ends between the two.
    last = built.events(kind="detokenize")[-1]
    assert last["after_commit"] == 1
    assert [one.count for one in seen(built, until=last["at"])] == [1]
    built.reveal(grant, NAME, token)
    assert [one.count for one in seen(built)] == [2]


def test_comparisons_are_told(built: BuiltCell) -> None:
    ceiling = msgspec.structs.replace(CEILING, operations=["verify"])
    _, key = built.principal("service", "teller", permissions=["grant:create:support"], ceiling=ceiling)
    token = built.token(NAME, "Ada", ADA)
    body = GrantBody(AGENT, "support", [ScopeEntry([NAME], ["verify"], [])], limits=GrantLimits(5))
    grant = built.run(create_grant, body, by=key).credential
    for candidate in ("Ada", "Eve"):  # a miss tells something too
        built.run(verify, VerifyBody("support", NAME, token, candidate), by=grant)
    [line] = seen(built)
    assert (line.operation, line.fields, line.count, line.recipient) == ("verify", (NAME,), 2, AGENT)


def test_what_somebody_saw_who_was_to_approve_is_told(built: BuiltCell) -> None:
    session, token = officer(built), built.token(NAME, "Ada Lovelace", ADA)
    held = holding(built)
    need = wanted(built, held, token)
    assert seen(built) == []  # it waits, and nobody has looked
    decide(built, approve, need["id"], session)
    [line] = seen(built)
    assert (line.recipient, line.operation, line.shown_as) == ("operator:olga", "mask", "initial")
    assert (line.purpose, line.legal_basis, line.fields) == ("files", "contract", (NAME,))
    built.reveal(held, NAME, token, purpose="files")
    assert [line.operation for line in seen(built)] == ["mask", "reveal"]


def test_a_transfer_is_told(tmp_path: Path) -> None:
    with two_regions(tmp_path) as pair:
        pair.eu.token(NAME, "Ada", ADA)
        pair.work()
        pair.transfer(ADA, NAME)
        pair.work()
        [line] = seen(pair.eu)
        assert (line.recipient, line.operation, line.fields) == ("region:us", "transfer", (NAME,))
        assert line.legal_basis == BASIS
        assert report(pair.us).known


def test_every_kind_that_is_told_is_one() -> None:
    assert events.KINDS.keys() >= disclosures.TELLING


def test_a_time_bounds_it(built: BuiltCell) -> None:
    token, grant = built.token(NAME, "Ada", ADA), built.grant(NAME)
    for _ in range(3):
        built.reveal(grant, NAME, token)
    one, two, three = (event["at"] for event in built.events(kind="detokenize"))
    for bounds, first, last, count in (
        ({"from_": two}, two, three, 2),
        ({"until": two}, one, one, 1),
        ({"from_": two, "until": three}, two, two, 1),
    ):
        [line] = seen(built, **bounds)
        assert (line.first, line.last, line.count) == (first, last, count)
    assert seen(built, from_=two, until=two) == []
    assert seen(built, from_="2099-01-01T00:00:00Z") == []


def test_a_long_log_is_looked_through_in_parts(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    token, grant = built.token(NAME, "Ada", ADA), built.grant(NAME, uses=30)
    for _ in range(7):
        built.reveal(grant, NAME, token)
    for step, most, found in ((3, 1_000, 1_000), (2, 5, 1_000), (1_000, 1_000, 2)):
        monkeypatch.setattr(disclosures, "STEP", step)
        monkeypatch.setattr(disclosures, "MAX_EVENTS", most)
        monkeypatch.setattr(disclosures, "MAX_FOUND", found)
        count, parts, cursor = 0, 0, None
        while parts == 0 or cursor is not None:
            part = report(built, cursor=cursor)
            count += sum(line.count for line in part.disclosures)
            parts, cursor = parts + 1, part.next
        assert (count, parts > 1) == (7, (most, found) != (1_000, 1_000))


def test_of_very_many_people_the_log_says_how_many(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [built.token(NAME, subject, subject) for subject in (ADA, BOB, "cat")]
    monkeypatch.setattr(events, "MAX_ITEM_IDS", 2)
    built.reveal(built.grant(NAME), NAME, *tokens)
    built.reveal(built.grant(NAME), NAME, tokens[0])
    told = report(built)
    assert [(one.count, one.with_others) for one in told.disclosures] == [(1, False)]
    assert [(one.count, one.with_others, one.fields) for one in told.possible] == [(1, True, (NAME,))]


def test_of_somebody_who_was_erased_nothing_is_known(built: BuiltCell) -> None:
    token, grant = built.token(NAME, "Ada", ADA), built.grant(NAME)
    built.reveal(grant, NAME, token)
    assert len(seen(built)) == 1
    built.run(request_erasure, ErasureBody(ADA, "objection"), by=HOST)
    for _ in range(2):  # asked for, and done
        told = report(built)
        assert (told.known, told.person, told.disclosures, told.possible) == (False, None, [], [])
        Worker(built.cell).run_due()
    stranger = report(built, "nobody")
    assert stranger.known is False


def test_a_tenant_is_told_of_its_own(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    token, grant = built.token(NAME, "Ada", ADA), built.grant(NAME)
    built.reveal(grant, NAME, token)
    other = built.another_tenant("acme")
    assert report(other).known is False
    other.token(NAME, "Ada", ADA)
    assert (report(other).known, seen(other)) == (True, [])
    assert len(seen(built)) == 1
    monkeypatch.setattr(events, "MAX_ITEM_IDS", 1)
    built.reveal(grant, NAME, token, built.token(NAME, "Bob", BOB))
    assert (len(report(built).possible), report(other).possible) == (1, [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subject": ""}, "subject_invalid"),
        ({"subject": "a\0"}, "subject_invalid"),
        ({"from_": "yesterday"}, "validity_invalid"),
        ({"until": "2026-13-01T00:00:00Z"}, "validity_invalid"),
        ({"from_": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "validity_invalid"),
        ({"cursor": "-1"}, "parameter_invalid"),
        ({"cursor": "\uff11"}, "parameter_invalid"),
        ({"cursor": "9" * 19}, "parameter_invalid"),
    ],
)
def test_what_cannot_be_asked(built: BuiltCell, body: dict[str, str], code: str) -> None:
    with pytest.raises(CoatcheckError, match=code):
        report(built, **body)


def test_it_needs_the_permission(built: BuiltCell) -> None:
    for role in ("privacy-officer", "auditor"):
        _, key = built.principal("operator", role, roles=[role])
        assert built.run(disclosures_report, DisclosuresBody(ADA), by=key).known is False
    with pytest.raises(Denied, match="permission_denied"):
        built.run(disclosures_report, DisclosuresBody(ADA), by=built.service)
