"""P15: killed at any moment, nothing acknowledged is lost and nothing is half done; SIGTERM drains.

COATCHECK_FULL=1 runs 50 kills; `python -m tests.harness.crash --kills N --seed S` any number.
"""

from __future__ import annotations

import os
import random
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import checks
from tests.harness.crash import Crash, run
from tests.harness.journal import Held, Journal, Once
from tests.harness.load import Api

KILLS = 50 if os.environ.get("COATCHECK_FULL") else 6


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    report = run(KILLS, 15, tmp_path / "deployment")
    assert report.findings == []
    assert report.kills == KILLS
    assert report.acknowledged > 50 * KILLS


class After:
    """A cell after one kill, being served again, and what was acknowledged before."""

    def __init__(self, crash: Crash, folder: Path) -> None:
        self.crash = crash
        self.folder = folder
        self.api = Api(crash.service.port, crash.client_key)

    def copy(self, statement: str, name: str) -> tuple[Path, Journal]:
        """A copy of the database in which something was changed, and a copy of the journal."""
        path = self.folder / f"{name}.db"
        with (
            closing(sqlite3.connect(self.folder / "eu.db")) as source,
            closing(sqlite3.connect(path)) as copy,
        ):
            source.backup(copy)
            copy.execute(statement)
            copy.commit()
        journal = self.crash.journal
        return path, Journal(list(journal.tokens), dict(journal.grants), set(journal.decisions))


def enough(journal: Journal) -> bool:
    """Whether there is one of everything that is changed below."""
    fields = {held.field for held in journal.tokens}
    grants = journal.grants.values()
    return (
        any(grant.plaintexts for grant in grants)
        and any(not grant.revoked for grant in grants)
        and fields >= {"customer.email", "other.handle", "customer.name", "customer.ssn"}
        and min(len(journal.sealed), len(journal.once)) >= 3
    )


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[After]:
    folder = tmp_path_factory.mktemp("crash") / "deployment"
    crash = Crash(folder, 7, lambda _: None)
    try:
        for kills in range(1, 21):
            assert crash.run(kills).findings == []
            if enough(crash.journal):
                break
        crash.service.start()
        made = After(crash, folder)
        yield made
        made.api.close()
    finally:
        crash.service.kill()


def test_the_harness_finds_a_lost_token(after: After) -> None:
    tokens = after.crash.journal.tokens
    assert checks.lost_tokens(after.api, tokens[:3]) == []
    other = tokens[0]._replace(value=tokens[0].value + "x")
    never = Held("customer.name", "tok_" + "a" * 26, "Ada", None, None, 1)
    theirs = Held("customer.name", tokens[0].token, tokens[0].value, "nobody", None, 1)
    for held in (other, never, theirs):
        assert checks.lost_tokens(after.api, [*tokens[:3], held]) != []


def test_the_harness_finds_a_lost_ciphertext(after: After) -> None:
    sealed = after.crash.journal.sealed[:3]
    assert len(sealed) == 3
    assert checks.lost_ciphertexts(after.api, sealed) == []
    first = sealed[0]
    for other in (
        first._replace(value=first.value + "x"),
        first._replace(record=first.record + "x"),
        first._replace(ciphertext=sealed[1].ciphertext),
    ):
        assert checks.lost_ciphertexts(after.api, [*sealed, other]) != []


def test_the_harness_finds_what_was_done_twice(after: After) -> None:
    database, journal = after.copy("SELECT 1", "twice")
    once = after.crash.journal.once[:3]
    assert len(once) == 3
    assert checks.answered_twice(after.api, once) == []
    assert checks.done_twice(after.folder / "eu.db", once) == []
    assert checks.answered_twice(after.api, [replace(once[0], id="gr_0")]) != []
    assert checks.done_twice(database, [Once("never", once[0].body)]) == ["done 0 times"]
    assert journal.wrong == []


def test_the_harness_finds_a_second_token(after: After) -> None:
    journal = Journal()
    (field, value), token = next(iter(after.crash.journal.shared.items()))
    journal.note_shared(field, value, token)
    journal.note_shared(field, value, token)
    assert journal.wrong == []
    journal.note_shared(field, value, "tok_another")
    assert journal.wrong == [f"{field}: a second token of one value"]


def test_the_harness_finds_lost_access(after: After) -> None:
    # A revocation that took place may not have been acknowledged: the journal does not know of it.
    grant = next(
        grant
        for grant in after.crash.journal.grants.values()
        if after.api.call("GET", f"grants/{grant.id}", by=grant.credential)[1].get("state") == "active"
    )
    assert not grant.revoked
    rng = random.Random(1)
    assert checks.lost_access(after.api, Journal(grants={grant.id: grant}), 1, rng) == []
    revoked = replace(grant, revoked=True)
    unknown = replace(grant, id="gr_0", credential="cg_0_0")
    for lost in (
        Journal(grants={grant.id: revoked}),
        Journal(grants={grant.id: unknown}),
        Journal(keys=[("ck_0", "ck_0_0")]),
    ):
        assert checks.lost_access(after.api, lost, 1, rng) != []


def test_the_harness_finds_a_wrong_charge(after: After) -> None:
    for index, (change, wrong) in enumerate(
        (
            ("uses = uses", False),
            ("uses = uses - 1", True),
            ("max_uses = max_uses + 1, uses = uses + 1", True),
        )
    ):
        statement = f"UPDATE re_grants SET {change} WHERE uses > 0"
        database, journal = after.copy(statement, f"charge{index}")
        found = checks.overcharged(database, journal, checks.events(database))
        assert (found != []) is wrong


def test_the_harness_finds_a_value_that_was_never_charged(after: After) -> None:
    database, journal = after.copy("SELECT 1", "uncharged")
    used = next(grant for grant in journal.grants.values() if grant.plaintexts)
    journal.grants[used.id] = replace(used, plaintexts=used.uses + 1)
    assert checks.overcharged(database, journal, checks.events(database)) != []


@pytest.mark.parametrize(
    "number", ["(SELECT max(number) FROM re_audit)", "(SELECT max(number) / 2 FROM re_audit)", "0"]
)
def test_the_harness_finds_a_gap(after: After, number: str) -> None:
    database, journal = after.copy(f"DELETE FROM re_audit WHERE number = {number}", f"gap{len(number)}")
    assert checks.gaps(database, journal, checks.events(database)) != []


def test_the_harness_finds_a_decision_without_an_event(after: After) -> None:
    database, journal = after.copy("SELECT 1", "decision")
    assert checks.gaps(database, journal, checks.events(database)) == []
    journal.decisions.add("dec_0")
    assert checks.gaps(database, journal, checks.events(database)) == ["dec_0 is not in the log"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM va_claims WHERE token = (SELECT min(token) FROM va_claims)",
        "DELETE FROM cu_tokens WHERE id = (SELECT min(id) FROM cu_tokens)",
        "DELETE FROM cu_subject_refs WHERE ref = (SELECT min(ref) FROM cu_subject_refs)",
        "DELETE FROM cu_tokens WHERE id = (SELECT min(token) FROM cu_blind_index)",
        "DELETE FROM cu_surrogates WHERE token = (SELECT min(token) FROM cu_surrogates)",
        "DELETE FROM cu_tokens WHERE id = (SELECT min(token) FROM cu_surrogates)",
        "UPDATE cu_issued SET issued = issued + 1 WHERE field = 'customer.email'",
        "DELETE FROM cu_due_periods",
        "DELETE FROM cu_data_keys",
        "DELETE FROM re_grant_subjects",
        "DELETE FROM re_audit WHERE number = (SELECT max(number) FROM cu_audit_items)",
        "DELETE FROM cu_audit_items WHERE number = (SELECT max(number) FROM cu_audit_items)",
        "DELETE FROM re_grants WHERE id = (SELECT min(id) FROM re_grants)",
        "DELETE FROM re_api_keys WHERE id = (SELECT min(id) FROM re_api_keys)",
    ],
)
def test_the_harness_finds_half_a_change(after: After, statement: str) -> None:
    database, journal = after.copy(statement, f"half{zlib.crc32(statement.encode())}")
    log = checks.events(after.folder / "eu.db")
    assert checks.halves(database, log) != [] or checks.vanished(database, journal) != []


def test_the_harness_finds_a_revocation_undone(after: After) -> None:
    database, journal = after.copy("UPDATE re_grants SET state = 'active'", "revived")
    grant = next(iter(journal.grants.values()))
    journal.grants[grant.id] = replace(grant, revoked=True)
    assert f"{grant.id} is active again" in checks.vanished(database, journal)
    journal.grants["gr_0"] = replace(grant, id="gr_0")
    assert "gr_0 is gone" in checks.vanished(database, journal)


def test_a_whole_cell_has_no_halves(after: After) -> None:
    database, journal = after.copy("SELECT 1", "whole")
    assert checks.halves(database, checks.events(database)) == []
    assert checks.vanished(database, journal) == []
