"""Legal holds: in force at once, confirmed and ended by two people, and waking what they kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import HOST, NAME, BuiltCell, any_cell
from tests.support.hosted import keys_of
from tests.support.operators import operator
from tests.support.turns import with_keys
from vault.errors import BadInput, Conflict, Denied, Unauthenticated, Unknown
from vault.services.erasures import (
    ErasureAnswer,
    ErasureBody,
    SubjectBody,
    read_erasure,
    read_status,
    request_erasure,
)
from vault.services.holds import (
    HoldAnswer,
    HoldBody,
    HoldReasonBody,
    approve_release,
    ask_release,
    confirm_hold,
    create_hold,
    keep_hold,
    list_holds,
    read_hold,
)
from vault.services.listing import Page
from vault.services.worker import Worker

ADA, BOB = "cust-ada", "cust-bob"
OVER = HoldReasonBody("the case is closed")


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def officer(built: BuiltCell, name: str = "pia") -> str:
    return operator(built, name, roles=["privacy-officer"])[0]


def hold(built: BuiltCell, by: Any = HOST, **what: Any) -> HoldAnswer:
    return built.run(create_hold, HoldBody(reason="a case", **what), by=by)


def erase(built: BuiltCell, subject: str) -> ErasureAnswer:
    made = built.run(request_erasure, ErasureBody(subject, "objection"), by=HOST)
    Worker(built.cell).run_due()
    return built.run(read_erasure, str(made.id), by=HOST)


def read(built: BuiltCell, made: ErasureAnswer) -> ErasureAnswer:
    return built.run(read_erasure, str(made.id), by=HOST)


@pytest.mark.parametrize(
    "what", [{"subject": ADA}, {"field": NAME}, {"class_": "customer"}, {"everything": True}]
)
def test_a_hold_keeps_and_its_end_goes_on_at_once(built: BuiltCell, what: dict[str, Any]) -> None:
    built.token(NAME, "Ada", ADA)
    built.token(NAME, "Bob", BOB)
    made = hold(built, **what)
    held = erase(built, ADA)
    assert (held.level, held.held_by) == ("requested", [made.id])
    assert erase(built, BOB).level == ("keys_removed" if "subject" in what else "requested")
    one, other = officer(built), officer(built, "quinn")
    asked = built.run(ask_release, made.id, OVER, by=one)
    assert (asked.state, asked.release_asked_by, asked.release_reason) == (
        "releasing", "operator:pia", "the case is closed",
    )  # fmt: skip
    Worker(built.cell).run_due()
    assert read(built, held).held_by == [made.id]
    with pytest.raises(Denied, match="self_approval"):
        built.run(approve_release, made.id, OVER, by=one)
    ended = built.run(approve_release, made.id, OVER, by=other)
    assert (ended.state, ended.released_by) == ("released", "operator:quinn")
    Worker(built.cell).run_due()  # the job does not wait for its next look
    assert (read(built, held).level, keys_of(built, ADA)) == ("keys_removed", [])


def test_holds_overlap(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    first, second = hold(built, subject=ADA), hold(built, class_="customer")
    held = erase(built, ADA)
    assert held.held_by == [first.id, second.id]
    end(built, first)
    Worker(built.cell).run_due()
    assert (read(built, held).level, read(built, held).held_by) == ("requested", [second.id])
    end(built, second)
    Worker(built.cell).run_due()
    assert read(built, held).level == "keys_removed"


def end(built: BuiltCell, made: HoldAnswer) -> None:
    built.run(ask_release, made.id, OVER, by=HOST)
    built.run(approve_release, made.id, OVER, by=officer(built, f"officer{made.id[-6:].lower()}"))


def test_a_hold_comes_in_time_for_somebody_who_is_being_erased(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    asked = built.run(request_erasure, ErasureBody(ADA, "objection"), by=HOST)
    made = hold(built, subject=ADA)
    Worker(built.cell).run_due()
    assert read(built, asked).held_by == [made.id]
    assert built.run(read_status, SubjectBody(ADA), by=HOST).held_by == []  # no name leads there any more
    end(built, made)
    Worker(built.cell).run_due()
    assert read(built, asked).level == "keys_removed"
    with pytest.raises(Conflict, match="subject_erased"):
        hold(built, subject=ADA)


def test_a_second_person_confirms(built: BuiltCell) -> None:
    one, other = officer(built), officer(built, "quinn")
    made = hold(built, by=one, everything=True)
    assert made.confirmed_by is None
    with pytest.raises(Denied, match="self_approval"):
        built.run(confirm_hold, made.id, OVER, by=one)
    assert built.run(confirm_hold, made.id, OVER, by=other).confirmed_by == "operator:quinn"
    with pytest.raises(Conflict, match="version_conflict"):
        built.run(confirm_hold, made.id, OVER, by=other)
    with pytest.raises(Unauthenticated):  # no key of a service, whatever it may do
        built.run(confirm_hold, made.id, OVER, by=built.admin)


def test_an_end_can_be_refused_and_asked_for_again(built: BuiltCell) -> None:
    made = hold(built, everything=True)
    with pytest.raises(Conflict, match="version_conflict"):
        built.run(keep_hold, made.id, OVER, by=HOST)
    with pytest.raises(Conflict, match="version_conflict"):
        built.run(approve_release, made.id, OVER, by=officer(built))
    for _ in range(2):
        built.run(ask_release, made.id, OVER, by=HOST)
        with pytest.raises(Conflict, match="version_conflict"):
            built.run(ask_release, made.id, OVER, by=HOST)
        kept = built.run(keep_hold, made.id, HoldReasonBody("not yet"), by=HOST)
        assert (kept.state, kept.release_asked_by) == ("active", None)
    kinds = [event["kind"] for event in built.events() if event["kind"].startswith("hold.")]
    assert kinds == ["hold.create", *["hold.release_asked", "hold.keep"] * 2]


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        (HoldBody(reason="a"), BadInput, "member_missing"),
        (HoldBody(reason="a", subject=ADA, everything=True), BadInput, "member_missing"),
        (HoldBody(reason=" ", everything=True), BadInput, "member_missing"),
        (HoldBody(reason="a\n", everything=True), BadInput, "limit_invalid"),
        (HoldBody(reason="a", field="customer.nothing"), BadInput, "field_unknown"),
        (HoldBody(reason="a", class_="nothing"), Unknown, "not_found"),
        (HoldBody(reason="a", subject="nobody"), Unknown, "not_found"),
        (HoldBody(reason="a", subject=""), BadInput, "subject_invalid"),
    ],
)
def test_what_cannot_be_held(built: BuiltCell, body: HoldBody, error: type[Exception], code: str) -> None:
    with pytest.raises(error, match=code):
        built.run(create_hold, body, by=HOST)
    assert built.run(list_holds, Page(), by=HOST).items == []


def test_a_hold_is_of_its_tenant(built: BuiltCell) -> None:
    made = hold(built, everything=True)
    assert [one.id for one in built.run(list_holds, Page(), by=HOST).items] == [made.id]
    assert built.run(read_hold, made.id, by=HOST) == plain(made)
    for id_ in ("hold_01M84HD64DFW18BYTQYF0BJRJQ", "hold", "er_01M84HD64DFW18BYTQYF0BJRJQ"):
        with pytest.raises(Unknown, match="not_found"):
            built.run(read_hold, id_, by=HOST)


def plain(made: HoldAnswer) -> HoldAnswer:

    return msgspec.structs.replace(made, decision=None)
