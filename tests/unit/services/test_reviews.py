"""Reviews of access: who decides, what goes, what nobody confirmed in time, and who is never removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cells import HOST, NAME, REGION, SSN, BuiltCell, any_cell, development_cell
from tests.support.operators import operator
from tests.unit.services.calls import grant_id
from vault.clock import DAY, SECOND, FixedClock, format_time, parse_time
from vault.errors import CoatcheckError
from vault.services.audit import verify
from vault.services.grant_body import Validity
from vault.services.grant_views import read_grant
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    remove_principal,
    whoami,
)
from vault.services.listing import Page
from vault.services.review_ends import end_reviews, unreviewed
from vault.services.reviews import (
    ItemBody,
    ReviewAnswer,
    ReviewBody,
    ReviewItem,
    ReviewScope,
    decide_item,
    list_reviews,
    read_review,
    start_review,
)
from vault.wiring import Wiring, perform

START: Final = "2026-11-23T12:00:00Z"


def refused(act: Callable[[], Any], code: str) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as refusal:
        act()
    assert refusal.value.code == code
    return refusal.value


class Review:
    """A review under way, with its two reviewers."""

    def __init__(self, built: BuiltCell, scope: ReviewScope | None = None, days: int = 10) -> None:
        self.built = built
        self.keys = {
            f"operator:{name}": built.principal("operator", name, roles=["reviewer"])[1]
            for name in ("eve", "joe")
        }
        due = format_time(built.cell.clock.now() + days * DAY)
        body = ReviewBody(due, "operator:eve", scope or ReviewScope(), "operator:joe")
        self.id = built.run(start_review, body, by=built.admin).id

    def read(self) -> ReviewAnswer:
        return self.built.run(read_review, self.id, by=HOST)

    def items(self, **wanted: str) -> list[ReviewItem]:
        return [
            item
            for item in self.read().items or []
            if all(getattr(item, name) == value for name, value in wanted.items())
        ]

    def decide(self, item: ReviewItem, decision: str, by: str | None = None) -> ReviewItem:
        credential = by or self.keys[item.reviewer]
        body = ItemBody(decision, "ticket 7")
        return self.built.run(decide_item, self.id, str(item.number), body, by=credential)

    def end(self) -> int:
        return perform(self.built.cell, lambda: end_reviews(self.built.cell))


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with any_cell(request.param, tmp_path, FixedClock(parse_time(START))) as built:
        yield built
        verify(built.cell.store)


def moved(built: BuiltCell, days: float) -> None:
    """Lets time go by, as the review sees it."""
    clock = built.cell.store.clock if built.cell.store.is_file else None
    if isinstance(clock, FixedClock):
        clock.advance(round(days * DAY))
        return
    statement = built.cell.store.tables.reviews.update()
    earlier = built.cell.store.tables.reviews.c.due_at - round(days * DAY)
    with built.cell.store.engine.begin() as connection:
        connection.execute(statement.values(due_at=earlier))


def test_a_review_from_beginning_to_end(either: BuiltCell) -> None:
    """What is confirmed stays, what is removed goes, and so does what nobody confirmed, once."""
    built = either
    until = Validity(until=format_time(built.cell.clock.now() + 20 * DAY))
    long = grant_id(built.grant(NAME, purpose="files", valid=until))
    built.grant(NAME)  # ends by itself before the review does
    review = Review(built, ReviewScope(principals=["service:demo"]))
    first = review.read()
    assert (first.state, first.warning, first.counts) == ("open", False, {"open": first.total})
    kinds = [item.kind for item in first.items or []]
    assert (kinds.count("ceiling"), kinds.count("key"), kinds.count("grant")) == (1, 1, 1)
    assert len(kinds) == 3 + len(built.run(whoami).permissions)
    [ssn] = review.items(what=f"tokenize:{SSN}")
    [name] = review.items(what=f"tokenize:{NAME}")
    [key] = review.items(kind="key")
    for kept in (name, key):
        assert review.decide(kept, "confirm").state == "confirmed"
    assert review.decide(ssn, "remove").state == "removed"
    assert review.decide(ssn, "remove").state == "removed"  # said again
    refused(lambda: review.decide(ssn, "confirm"), "review_over")
    held = built.run(whoami).permissions
    assert f"tokenize:{SSN}" not in held
    refused(lambda: built.token(SSN, "123-45-6789"), "permission_denied")
    assert review.end() == 0  # not yet
    moved(built, 9)
    assert review.read().warning
    store = built.cell.store
    assert unreviewed(store, built.cell.clock.now()) == first.total - 3
    moved(built, 2)
    assert review.read().state == "due"
    refused(lambda: review.decide(review.items(state="open")[0], "confirm"), "review_over")
    before = built.next_number
    assert review.end() == first.total - 3
    assert review.end() == 0
    last = review.read()
    assert (last.state, last.warning) == ("closed", False)
    assert last.counts == {"confirmed": 2, "removed": 1, "expired": first.total - 3}
    assert built.run(whoami).permissions == [f"tokenize:{NAME}"]
    assert built.run(whoami).ceiling is None
    assert built.run(read_grant, long).state == "revoked"
    assert unreviewed(store, built.cell.clock.now()) == 0
    events = built.events(before)
    assert [event["kind"] for event in events[-1:]] == ["review.close"]
    assert sorted(event["item"] for event in events[:-1]) == [
        item.number for item in review.items(state="expired")
    ]
    assert {event["kind"] for event in events[:-1]} == {"review.expire"}
    assert {event["actor"] for event in events} == {"schedule"}
    assert built.token(NAME, "Ada")


def test_nobody_decides_on_what_it_has_or_gave(built: BuiltCell) -> None:
    review = Review(built)
    names = {"operator:eve": "eve", "operator:joe": "joe"}
    for item in review.items():
        assert item.had.get("principal") != item.reviewer
    [own] = [item for item in review.items(kind="role") if item.had["principal"] == "operator:eve"]
    assert own.reviewer == "operator:joe"
    refusal = refused(lambda: review.decide(own, "confirm", review.keys["operator:eve"]), "review_denied")
    [event] = built.events(kind="denied")
    assert (event["code"], event["decision"]) == ("review_denied", refusal.facts["decision"])
    for by, code in ((built.admin, "permission_denied"), (built.service, "permission_denied")):
        refused(lambda by=by: review.decide(own, "confirm", by), code)  # type: ignore[misc]
    assert set(review.keys) == names.keys()


def test_who_cannot_be_a_reviewer(built: BuiltCell) -> None:
    def begin(reviewer: str, deputy: str | None = None, **scope: Any) -> Any:
        due = format_time(built.cell.clock.now() + DAY)
        body = ReviewBody(due, reviewer, ReviewScope(**scope), deputy)
        return built.run(start_review, body, by=built.admin)

    both = ["admin", "reviewer"]
    made, giver = built.principal("operator", "giver", roles=both)
    given = built.run(
        create_principal, PrincipalBody("service", "theirs", permissions=["audit:read"]), by=giver
    )
    for who in ("operator:nobody", "operator:admin", "agent:demo", "eve", ""):
        refused(lambda who=who: begin(who), "reviewer_unfit")  # type: ignore[misc]
    assert (
        refused(lambda: begin("operator:giver", principals=["service:theirs"]), "review_involved").facts[
            "items"
        ]
        == 1
    )
    refused(lambda: begin("operator:giver", principals=["operator:giver"]), "review_involved")
    built.principal("operator", "eve", roles=["reviewer"])
    review = begin("operator:giver", "operator:eve", principals=["service:theirs", "service:demo"])
    items = built.run(read_review, review.id, by=giver).items or []
    assert {item.had["principal"]: item.reviewer for item in items} == {
        "service:theirs": "operator:eve",
        "service:demo": "operator:giver",
    }
    assert given.id != made


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"due": "x"}, "validity_invalid"),
        ({"due": "2020-01-01T00:00:00Z"}, "validity_invalid"),
        ({"due": "2090-01-01T00:00:00Z"}, "validity_invalid"),
        ({"scope": ReviewScope(kinds=["x"])}, "operation_unsupported"),
        ({"scope": ReviewScope(kinds=[])}, "operation_unsupported"),
        ({"scope": ReviewScope(principals=["operator:none"])}, "name_invalid"),
        ({"scope": ReviewScope(principals=[])}, "limit_invalid"),
        ({"scope": ReviewScope(kinds=["ceiling"], principals=["operator:eve"])}, "limit_invalid"),
    ],
)
def test_what_is_no_review(built: BuiltCell, change: dict[str, Any], code: str) -> None:
    built.principal("operator", "eve", roles=["reviewer"])
    asked = {"due": format_time(built.cell.clock.now() + DAY), "reviewer": "operator:eve", **change}
    before = built.next_number
    refused(lambda: built.run(start_review, ReviewBody(**asked), by=built.admin), code)
    assert built.next_number == before


def test_decisions_that_are_none(built: BuiltCell) -> None:
    review = Review(built, ReviewScope(kinds=["ceiling"]))
    eve = review.keys["operator:eve"]
    for decision, reason, code in (
        ("keep", "x", "operation_unsupported"),
        ("confirm", "", "limit_invalid"),
        ("confirm", " ", "limit_invalid"),
        ("confirm", "x" * 501, "limit_invalid"),
        ("confirm", "\0", "limit_invalid"),
    ):
        body = ItemBody(decision, reason)
        refused(partial(built.run, decide_item, review.id, "1", body, by=eve), code)
    for id_, number in (
        (review.id, "2"),
        (review.id, "0"),
        (review.id, "x"),
        ("rev_x", "1"),
        (built.admin, "1"),
    ):
        refused(partial(built.run, decide_item, id_, number, ItemBody("confirm", "x"), by=eve), "not_found")


def test_reviews_are_seen_by_who_decides_and_by_who_may(built: BuiltCell) -> None:
    review = Review(built)
    _, auditor = built.principal("operator", "auditor", roles=["auditor"])
    for who in (*review.keys.values(), auditor, built.admin):
        assert built.run(read_review, review.id, by=who).total
    refused(lambda: built.run(read_review, review.id), "permission_denied")
    [listed] = built.run(list_reviews, Page(), by=auditor).items
    assert (listed.id, listed.items, listed.counts) == (review.id, None, {"open": listed.total})
    other = built.another_tenant("acme")
    refused(lambda: other.run(read_review, review.id, by=other.admin), "not_found")
    assert other.run(list_reviews, Page(), by=other.admin).items == []


def test_an_export_says_nothing_of_people_and_nothing_of_secrets(built: BuiltCell) -> None:
    until = Validity(until=format_time(built.cell.clock.now() + 20 * DAY))
    more = {"subjects": ["cust-4711"], "on_behalf_of": "user:8812", "reason": "a secret reason"}
    built.grant(NAME, purpose="files", valid=until, **more)
    review = Review(built)
    text = repr([item.had for item in review.items()])
    assert "files" in text
    for hidden in ("cust-4711", "user:8812", "a secret reason", built.service.split("_")[2]):
        assert hidden not in text


def test_the_last_who_can_give_access_stays(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    review = Review(built, ReviewScope(principals=["operator:admin"]))
    [role] = review.items(kind="role", what="admin")
    [key] = review.items(kind="key")
    for item in (role, key):
        refused(partial(review.decide, item, "remove"), "last_admin")
    clock.advance(11 * DAY)
    review.end()
    assert {item.number for item in review.items(state="kept")} == {role.number, key.number}
    assert review.read().state == "closed"
    assert [event["code"] for event in built.events(kind="alert") if event.get("of") == "review.expire"] == [
        "last_admin",
        "last_admin",
    ]
    assert built.run(whoami, by=built.admin).roles == ["admin"]
    assert built.run(list_principals, Page(), by=built.admin).items


def test_one_of_two_who_can_give_access_may_go_but_not_both(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    _, second = built.principal("operator", "second", roles=["admin"])
    review = Review(built, ReviewScope(kinds=["role"], principals=["operator:admin", "operator:second"]))
    [first] = [item for item in review.items(what="admin") if item.had["principal"] == "operator:admin"]
    assert review.decide(first, "remove").state == "removed"
    assert "admin" not in built.run(whoami, by=built.admin).roles
    clock.advance(11 * DAY)
    review.end()
    assert [item.had["principal"] for item in review.items(state="kept")] == ["operator:second"]
    assert built.run(list_principals, Page(), by=second).items


def test_who_signs_in_with_a_password_counts_and_who_has_neither_does_not(built: BuiltCell) -> None:
    review = Review(built, ReviewScope(kinds=["role"], principals=["operator:admin"]))
    built.run(create_principal, PrincipalBody("operator", "keyless", roles=["admin"]), by=HOST)
    [role] = review.items(what="admin")
    refused(lambda: review.decide(role, "remove"), "last_admin")
    session, _ = operator(built, roles=["admin"])
    assert review.decide(role, "remove").state == "removed"
    assert built.run(list_principals, Page(), by=session).items


def test_access_that_is_gone_by_then_is_settled_too(ticking: BuiltCell, clock: FixedClock) -> None:
    review = Review(ticking, ReviewScope(principals=["service:demo"]))
    ticking.run(remove_principal, ticking.service_id, by=HOST)
    [key] = review.items(kind="key")
    assert review.decide(key, "remove").state == "removed"
    clock.advance(11 * DAY)
    review.end()
    assert review.read().counts.get("open") is None


def test_nobody_holds_two_duties_that_are_kept_apart(built: BuiltCell) -> None:
    """Whoever has keys made does not decide who sees data; by role, by permission, or by both."""
    for roles, permissions in (
        (["key-custodian"], ["grant:create:support"]),
        (["admin", "cell-custodian"], ["grant:create:support"]),
        ([], ["key:rotate", "grant:create:support"]),
        ([], ["key:destroy", "grant:create:files"]),
    ):
        body = PrincipalBody("operator", "two", roles=roles, permissions=permissions)
        refused(partial(built.run, create_principal, body, by=built.admin), "duties_conflict")
    for roles, permissions in (
        (["key-custodian", "auditor"], []),
        (["admin"], ["grant:create:support"]),
    ):
        name = f"one-{roles[0]}"
        body = PrincipalBody("operator", name, roles=roles, permissions=permissions)
        assert built.run(create_principal, body, by=built.admin).id


KILLER = """
import os, signal, sys
from pathlib import Path
from tests.support.cells import REGION, settings
from vault.clock import FixedClock
from vault.services.review_ends import end_reviews
from vault.wiring import Wiring, perform
folder, at, most, early = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "early"
opened = Wiring(settings(folder), clock=FixedClock(at)).open(REGION)
def dying():
    verb, sent, done = end_reviews(opened.cell), None, 0
    while True:
        command = verb.send(sent)
        if early and done == most:
            decide = command.decide
            def last(state, writes):
                decide(state, writes)
                os.kill(os.getpid(), signal.SIGKILL)
            command.decide = last
        sent = yield command
        done += 1
        if not early and done == most:
            os.kill(os.getpid(), signal.SIGKILL)
perform(opened.cell, dying)
"""


@pytest.mark.parametrize("how", ["early", "late"])
def test_a_kill_in_the_middle_leaves_every_item_decided_once(tmp_path: Path, how: str) -> None:
    """Inside a transaction, and behind one: what was taken away stays so, and the rest goes the next time."""
    clock = FixedClock(parse_time(START))
    with development_cell(tmp_path, clock) as built:
        review = Review(built, ReviewScope(kinds=["permission"], principals=["service:demo"]))
        total = review.read().total
    clock.advance(11 * DAY)
    for kills, most in enumerate((3, 2), 1):
        command = [sys.executable, "-c", KILLER, str(tmp_path), str(clock.at), str(most), how]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        clock.advance(SECOND)
        opened = Wiring(built.config, clock=clock).open(REGION)
        built.cell = opened.cell
        left = len(review.items(state="open"))
        assert left == total - (3 if kills == 1 else 5)
        opened.close()
    opened = Wiring(built.config, clock=clock).open(REGION)
    built.cell = opened.cell
    try:
        assert review.end() == total - 5
        assert review.read().state == "closed"
        expired = [event["item"] for event in built.events(kind="review.expire")]
        assert sorted(expired) == list(range(1, total + 1))
        assert len(built.events(kind="review.close")) == 1
        verify(opened.cell.store)
    finally:
        opened.close()
