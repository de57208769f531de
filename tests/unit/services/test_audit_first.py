"""P1: no plaintext and no state change without a committed audit event; no audit, no service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cells import SSN, BuiltCell
from tests.unit.services.calls import BY_GRANT, BY_KEY, CALLS, READERS, VALUE, WRITERS, Call, rows, verbs
from vault.errors import CoatcheckError, Unavailable
from vault.ledger import committer
from vault.ledger.command import Committed, committed
from vault.ledger.group import run_group
from vault.services import opening
from vault.services import use_grant as using
from vault.services.asked import Asking, Shown
from vault.services.audit import verify

Fault = Callable[[BuiltCell, int], str]


def abort(built: BuiltCell, number: int) -> str:
    """The log refuses every event from a number on."""
    return (
        f"CREATE TRIGGER fault BEFORE INSERT ON re_audit WHEN NEW.number >= {number} "
        "BEGIN SELECT RAISE(ABORT, 'fault'); END"
    )


def roll_back(built: BuiltCell, number: int) -> str:
    """The database says that it fails while it writes an event."""
    return abort(built, number).replace("RAISE(ABORT", "RAISE(ROLLBACK")


def items(built: BuiltCell, number: int) -> str:
    """The items of an event cannot be written."""
    return abort(built, number).replace("re_audit", "cu_audit_items")


ASKING = Asking("detokenize", "reveal", None, "plain", "support", "fail")
USED: Any = object()


def inject(built: BuiltCell, statement: str) -> None:
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql(statement)


def changed(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Notes every value that is opened."""
    seen: list[object] = []
    original = opening.open_values

    def watched(*arguments: Any) -> list[Shown]:
        seen.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(using, "open_values", watched)
    return seen


def test_every_verb_there_is_is_tried() -> None:
    assert verbs() == {call.verb for call in CALLS.values()}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_verb_changes_has_an_event_in_the_same_transaction(
    built: BuiltCell, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction is looked at from outside, before and after."""
    call = CALLS[name]
    by, arguments = call.prepare(built)
    transactions: list[tuple[set[str], int]] = []

    def watched(*given: Any) -> Any:
        before = rows(built)
        outcomes = run_group(*given)
        after = rows(built)
        written = len(after["re_audit"]) - len(before["re_audit"])
        transactions.append((changed(before, after), written))
        return outcomes

    monkeypatch.setattr(committer, "run_group", watched)
    before = rows(built)
    built.run(call.verb, *arguments, by=by)
    assert len(transactions) == call.commits
    assert all("re_audit" in tables and written == 1 for tables, written in transactions)
    if not call.commits:
        assert rows(built) == before
    verify(built.cell.store)


def fails_at(built: BuiltCell, call: Call, commit: int, fault: Fault) -> tuple[set[str], CoatcheckError]:
    """Runs a verb with a log that fails from its commit number `commit` on."""
    by, arguments = call.prepare(built)
    inject(built, fault(built, built.next_number + commit))
    before = rows(built)
    with pytest.raises(CoatcheckError) as failure:
        built.run(call.verb, *arguments, by=by)
    after = rows(built)
    inject(built, "DROP TRIGGER fault")
    assert len(after["re_audit"]) - len(before["re_audit"]) == commit
    verify(built.cell.store)
    return changed(before, after), failure.value


@pytest.mark.parametrize("fault", [abort, roll_back])
@pytest.mark.parametrize("name", WRITERS)
def test_without_its_event_nothing_is_changed_and_nothing_is_opened(
    built: BuiltCell, name: str, fault: Fault, opened: list[object]
) -> None:
    tables, failure = fails_at(built, CALLS[name], 0, fault)
    assert tables == set()
    assert isinstance(failure, Unavailable)
    assert failure.code == "audit_unavailable"
    assert opened == []


LATER = [(name, commit) for name in WRITERS for commit in range(1, CALLS[name].commits)]


@pytest.mark.parametrize(("name", "commit"), LATER)
def test_a_later_commit_of_a_verb_is_no_exception(built: BuiltCell, name: str, commit: int) -> None:
    """What the commits before it did stands, with their events; the verb's own result does not."""
    tables, failure = fails_at(built, CALLS[name], commit, abort)
    assert failure.code == "audit_unavailable"
    assert not tables & {"cu_tokens", "va_claims", "re_grants", "re_grant_subjects", "re_counters"}


def test_without_its_items_an_event_is_not_written_either(built: BuiltCell, opened: list[object]) -> None:
    tables, failure = fails_at(built, CALLS["detokenize vaulted"], 0, items)
    assert tables == set()
    assert failure.code == "audit_unavailable"
    assert opened == []


@pytest.mark.parametrize("name", [*WRITERS, *READERS])
def test_without_a_log_at_all(built: BuiltCell, name: str, opened: list[object]) -> None:
    call = CALLS[name]
    by, arguments = call.prepare(built)
    inject(built, "ALTER TABLE re_audit RENAME TO gone")
    with built.cell.store.engine.connect() as connection:
        others = [t for t in built.cell.store.tables.metadata.sorted_tables if t.name != "re_audit"]
        before = [connection.execute(table.select()).fetchall() for table in others]
    if call.commits or name in ("read_audit", "read_usage", "read_certificate", "explain_decision"):
        with pytest.raises(Unavailable):
            built.run(call.verb, *arguments, by=by)
    else:
        built.run(call.verb, *arguments, by=by)
    with built.cell.store.engine.connect() as connection:
        assert before == [connection.execute(table.select()).fetchall() for table in others]
    assert opened == []


@pytest.mark.parametrize("name", BY_GRANT)
def test_the_control_opens(built: BuiltCell, name: str, opened: list[object]) -> None:
    """The same calls with the log whole give plaintext, so the tests above could have failed."""
    by, arguments = CALLS[name].prepare(built)
    built.run(CALLS[name].verb, *arguments, by=by)
    assert len(opened) == 1


@pytest.mark.parametrize("name", [name for name in BY_KEY if CALLS[name].needs])
def test_a_refusal_that_cannot_be_recorded_is_not_given(built: BuiltCell, name: str) -> None:
    _, arguments = CALLS[name].prepare(built)
    _, powerless = built.principal("service", "powerless")
    inject(built, abort(built, 0))
    before = rows(built)
    with pytest.raises(Unavailable, match="audit_unavailable"):
        built.run(CALLS[name].verb, *arguments, by=powerless)
    assert rows(built) == before


def test_a_failed_opening_is_on_the_record_with_its_decision(built: BuiltCell) -> None:
    """Charge and decision stand; what failed after the commit has an event of its own."""
    by, arguments = CALLS["detokenize vaulted"].prepare(built)
    inject(built, "UPDATE va_claims SET sealed = zeroblob(length(sealed))")
    first = built.next_number
    with pytest.raises(CoatcheckError, match="integrity_failed"):
        built.run(CALLS["detokenize vaulted"].verb, *arguments, by=by)
    decided, failed = built.events(first)
    assert (decided["outcome"], decided["charged"]) == ("allowed", 1)
    assert (failed["outcome"], failed["code"], failed["after_commit"]) == ("failed", "integrity_failed", 1)
    assert failed["decision"] == decided["decision"]


def test_opening_takes_the_proof_of_a_commit(built: BuiltCell) -> None:
    with pytest.raises(TypeError):
        opening.open_values(built.cell, object(), "main", [], USED, ASKING)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        opening.open_values(built.cell, committed(None, 0), "main", [], USED, ASKING)
    with pytest.raises(TypeError):
        Committed(None, 0, None)


def test_a_group_with_a_broken_log_gives_no_plaintext_to_anybody(
    built: BuiltCell, opened: list[object]
) -> None:
    token, credential = built.token(SSN, VALUE), built.grant(SSN)
    inject(built, abort(built, built.next_number + 3))
    answers: list[object] = []
    for _ in range(6):
        try:
            answers.append(built.reveal(credential, SSN, token))
        except Unavailable as failure:
            answers.append(failure.code)
    assert answers == [[VALUE]] * 3 + ["audit_unavailable"] * 3
    inject(built, "DROP TRIGGER fault")
    grant = rows(built)["re_grants"][0]
    assert 3 in grant
    verify(built.cell.store)
