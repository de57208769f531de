"""A whole cell on PostgreSQL, put together by hand: what the wiring of this version opens on SQLite only."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import (
    CITY,
    EMAIL,
    HOST,
    NAME,
    PAN,
    PHONE,
    REGION,
    SSN,
    BuiltCell,
    postgresql_cell,
    reveal,
)
from tests.unit.services.calls import grant_id, rows
from vault.authn.identities import Identities
from vault.errors import CoatcheckError, IntegrityError, Unauthenticated, Unavailable
from vault.keyring.epoch import open_epochs
from vault.keyring.ring import Keyring
from vault.ledger import group, writing
from vault.ledger.command import State, Writes
from vault.ledger.committer import Committer
from vault.services.audit import verify
from vault.services.batch import BatchRefused
from vault.services.cell import Cell, Limits, Schemas
from vault.services.datakeys import MakeDataKeys
from vault.services.detokenize import detokenize
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.field_keys import Attestation, DestroyBody, ReasonBody, destroy_key, rotate_key
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import read_grant
from vault.services.identities import (
    remove_principal,
)
from vault.services.keys import KeyFilter, list_stored_keys
from vault.services.listing import Page
from vault.services.rehearse import CheckAnswer, CheckBody, rehearse
from vault.services.schema import SchemaBody, plan_schema
from vault.services.tokenize import ColumnAnswer, TokenizeBody, tokenize
from vault.store.cell import Store
from vault.wiring import Wiring

VALUE = "123-45-6789"
BEARER = 'bearer = { delivery = ["plain"], max_uses = 5, max_ttl = "PT15M" }'
EXTRA = """
[fields."customer.extra"]
template = "text(max=9)"
protection = "vaulted"
retention = "customer"
[fields."chat.extra"]
protection = "encrypted"
retention = "customer"
max_bytes = 9
"""


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with postgresql_cell(tmp_path) as made:
        yield made


@pytest.fixture
def second(built: BuiltCell) -> Iterator[BuiltCell]:
    """The same cell as another process has it: its own connections, keys, caches and committer."""
    url = built.cell.store.engine.url.render_as_string(hide_password=False)
    store = Store(url, built.cell.clock)
    wiring = Wiring(built.config)
    keyring = Keyring(
        REGION, open_epochs(REGION, store, wiring.provider(REGION), wiring.halves(REGION)), store
    )
    cell = Cell(
        region=REGION,
        store=store,
        committer=Committer(store),
        keyring=keyring,
        identities=Identities(store, built.cell.clock),
        schemas=Schemas(store, keyring),
        clock=built.cell.clock,
        limits=Limits(),
    )
    made = BuiltCell(cell, built.config, cell.close, built.admin, built.service, built.service_id)
    yield made
    cell.close()


def test_from_a_value_to_a_revoked_grant(built: BuiltCell) -> None:
    social, card = built.token(SSN, VALUE), built.token(PAN, "4111111111111111")
    ada, nobody = built.tokens(NAME, "Ada", "Eve", subjects=["c1", None])
    credential = built.grant(SSN, PAN, NAME, uses=20)
    narrow = built.grant(NAME, subjects=["c1"])
    assert built.reveal(credential, SSN, social, None) == [VALUE, None]
    assert built.reveal(credential, PAN, card) == ["4111111111111111"]
    assert built.reveal(credential, NAME, ada, nobody) == ["Ada", "Eve"]
    assert built.reveal(credential, SSN, social, operation="mask", mask="last4") == ["***-**-6789"]
    assert built.reveal(narrow, NAME, ada) == ["Ada"]
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(narrow, NAME, nobody)
    assert built.run(read_grant, grant_id(credential)).uses == 5
    built.run(revoke_grant, grant_id(credential), ChangeBody("done"))
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.reveal(credential, SSN, social)
    built.run(remove_principal, built.service_id, by=built.admin)
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        built.reveal(narrow, NAME, ada)
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        built.token(SSN, VALUE)
    found = verify(built.cell.store)
    assert found.events == built.next_number == len(built.events())
    assert found.with_items > 0


def test_a_log_that_was_changed_is_found(built: BuiltCell) -> None:
    built.token(SSN, VALUE)
    with built.cell.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE record.audit SET body = body || ' ' WHERE number = 3")
    with pytest.raises(IntegrityError) as broken:
        verify(built.cell.store)
    assert broken.value.facts == {"number": 3, "reason": "leaf"}


def test_no_plaintext_lies_in_the_database(built: BuiltCell) -> None:
    built.token(NAME, "canary-7f3a91", "person-7f3a91")
    credential = built.grant(NAME, subjects=["person-7f3a91"])
    everything = str(rows(built)).encode().decode("unicode_escape", errors="replace")
    assert "7f3a91" not in everything
    assert credential.split("_")[2] not in everything


class TestTwoProcesses:
    """Many processes share a PostgreSQL cell: all exactness comes from the database."""

    def test_share_tokens_people_and_keys(self, built: BuiltCell, second: BuiltCell) -> None:
        token = built.token(NAME, "Ada", "c1")
        other = second.token(NAME, "Ada L.", "c1")
        assert len(rows(built)["subjects"]) == 1
        credential = second.grant(NAME, subjects=["c1"])
        assert built.reveal(credential, NAME, token, other) == ["Ada", "Ada L."]
        assert second.reveal(credential, NAME, token) == ["Ada"]

    def test_revoking_in_one_binds_the_other_at_once(self, built: BuiltCell, second: BuiltCell) -> None:
        token, credential = built.token(SSN, VALUE), built.grant(SSN)
        assert second.reveal(credential, SSN, token) == [VALUE]
        built.run(revoke_grant, grant_id(credential), ChangeBody())
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            second.reveal(credential, SSN, token)

    def test_a_key_removed_in_one_is_no_key_in_the_other(self, built: BuiltCell, second: BuiltCell) -> None:
        second.token(SSN, VALUE)  # now it is remembered there
        built.run(remove_principal, built.service_id, by=built.admin)
        for act in (lambda: second.token(SSN, VALUE), lambda: second.run(read_grant, "gr_x")):
            with pytest.raises(Unauthenticated, match="credential_invalid"):
                act()

    def test_a_key_rotated_or_destroyed_in_one_is_so_in_the_other(
        self, built: BuiltCell, second: BuiltCell
    ) -> None:
        old, credential = built.token(SSN, VALUE), built.grant(SSN)
        assert second.token(SSN, VALUE) == old
        assert second.reveal(credential, SSN, old) == [VALUE]
        keys = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind="ff1"), by=built.admin).items
        first = next(key.id for key in keys if key.field == SSN)
        built.run(rotate_key, first, ReasonBody(), by=built.admin)
        made = second.run(tokenize, TokenizeBody(field=SSN, values=[VALUE]))
        assert isinstance(made, ColumnAnswer)
        assert made.key_version == 2
        assert second.reveal(credential, SSN, old) == [VALUE]
        word = DestroyBody(Attestation("Ada Lovelace", "none is left"))
        built.run(destroy_key, first, word, by=built.admin)
        with pytest.raises(BatchRefused, match="key_version_unknown"):
            second.reveal(credential, SSN, old)

    def test_a_schema_applied_in_one_is_the_other_s(self, built: BuiltCell, second: BuiltCell) -> None:
        second.token(SSN, VALUE)
        built.apply(built.schema.replace("max_uses = 50", "max_uses = 60"))
        assert second.token(SSN, VALUE) == built.token(SSN, VALUE)
        assert second.grant(SSN, uses=60)

    def test_what_a_new_schema_allows_is_allowed_in_the_other(
        self, built: BuiltCell, second: BuiltCell
    ) -> None:
        """A refusal leaves no command that could be found stale: it is looked at again before it is told."""
        more = (
            built.schema.replace('template = "text(max=80)"', 'template = "text(max=90)"')
            .replace("max_uses = 50", "max_uses = 60")
            .replace("[purposes.sealed]", f"{EXTRA}[purposes.sealed]\n{BEARER}")
        )
        second.token(SSN, VALUE)  # the schema is remembered there
        host: list[Callable[[], Any]] = [
            lambda: second.run(tokenize, TokenizeBody(field="customer.extra", values=["x"]), by=HOST),
            lambda: second.run(tokenize, TokenizeBody(field=CITY, values=["x" * 85]), by=HOST),
            lambda: second.run(encrypt, EncryptBody([EncryptItem("chat.extra", "x")]), by=HOST),
            lambda: second.run(rehearse, CheckBody("customer.extra", ["x"]), by=HOST),
            lambda: self.allowed(second.run(rehearse, CheckBody(CITY, ["x" * 85]), by=HOST)),
        ]
        for act in host:
            with pytest.raises(CoatcheckError):
                act()
        schemas = second.cell.schemas
        old = dict(schemas._known), schemas._head
        built.apply(more)
        for act in host:
            schemas._known, schemas._head, schemas._sure = dict(old[0]), old[1], True
            act()
        for more_allowed in ({"uses": 60}, {"uses": 5, "purpose": "sealed"}):
            schemas._known, schemas._head, schemas._sure = dict(old[0]), old[1], True
            assert second.grant(SSN, **more_allowed)

    @staticmethod
    def allowed(answer: CheckAnswer) -> None:
        if answer.refused:
            raise CoatcheckError(answer.refused[0].code)

    def test_contend_for_k_uses(self, built: BuiltCell, second: BuiltCell) -> None:
        limit, each = 40, 30
        token = built.token(SSN, VALUE)
        credential = built.grant(SSN, uses=limit)
        given: list[str] = []

        def ask(cell: BuiltCell) -> None:
            for _ in range(each):
                try:
                    cell.reveal(credential, SSN, token)
                except CoatcheckError as refusal:
                    given.append(refusal.code)
                else:
                    given.append("value")

        threads = [threading.Thread(target=ask, args=(cell,)) for cell in (built, second) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert given.count("value") == limit
        assert given.count("budget_exhausted") == len(threads) * each - limit
        assert built.run(read_grant, grant_id(credential)).uses == limit
        verify(built.cell.store)
        times = [event["at"] for event in built.events()]
        assert times == sorted(times)

    def test_one_request_raced_in_both_is_done_once(self, built: BuiltCell, second: BuiltCell) -> None:
        """One Idempotency-Key at the same moment in two processes: one row, one charge, all answered."""
        token, credential = built.token(SSN, VALUE), built.grant(SSN, uses=9)
        answers: list[Any] = []

        for round_ in range(6):
            start = threading.Barrier(6)

            def ask(cell: BuiltCell, start: threading.Barrier = start, key: str = f"k{round_}") -> None:
                start.wait()
                answers.append(cell.run(detokenize, reveal(SSN, [token]), by=credential, once=key))

            threads = [
                threading.Thread(target=ask, args=(cell,)) for cell in (built, second) for _ in range(3)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(answers) == 36
        assert sum(answer.values == [VALUE] for answer in answers) == 6
        assert sum(answer.replayed for answer in answers) == 30
        assert len({answer.decision for answer in answers}) == 6
        assert built.run(read_grant, grant_id(credential)).uses == 6
        verify(built.cell.store)

    def test_meet_new_people_and_keys_together(self, built: BuiltCell, second: BuiltCell) -> None:
        """Both enter the same people at the same moment: each is entered once."""
        people = [f"c{number}" for number in range(12)]
        start = threading.Barrier(6)
        failures: list[BaseException] = []

        def enter(cell: BuiltCell) -> None:
            start.wait()
            try:
                for person in people:
                    cell.token(NAME, f"name of {person}", person)
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=enter, args=(cell,)) for cell in (built, second) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        found = rows(built)
        assert len(found["subjects"]) == len(found["subject_refs"]) == len(people)
        slots = [row[1:5] for row in found["data_keys"]]
        assert len(slots) == len(set(slots)) == 2 * len(people)
        assert len(found["tokens"]) == len(threads) * len(people)
        for kind in ("key.create", "subject.create"):  # the log names no key and no person twice
            assert sum(event["count"] for event in built.events(kind=kind)) == len(people)
        verify(built.cell.store)


def test_a_key_that_another_process_made_first_is_not_said_to_be_made(
    built: BuiltCell, second: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is quicker between what this one has read and what it writes."""
    decide, once = MakeDataKeys.decide, [True]

    def overtaken(command: MakeDataKeys, state: State, writes: Writes) -> Any:
        if once:
            once.clear()
            second.token(NAME, "Ada")
        return decide(command, state, writes)

    _, second.service = built.principal("service", "quick", permissions=[f"tokenize:{NAME}"])
    monkeypatch.setattr(MakeDataKeys, "decide", overtaken)
    token = built.token(NAME, "Eve")
    assert once == []
    (made,) = built.events(kind="key.create")
    assert (made["actor"], made["count"]) == ("service:quick", 1)
    assert len([row for row in rows(built)["data_keys"] if row[3] == "customer"]) == 1
    assert built.reveal(built.grant(NAME), NAME, token) == ["Eve"]
    verify(built.cell.store)


def test_a_server_that_went_away_costs_an_answer_and_no_restart(built: BuiltCell) -> None:
    token, credential = built.token(SSN, VALUE), built.grant(SSN)
    engine = built.cell.store.engine
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with contextlib.suppress(Unavailable):
        built.reveal(credential, SSN, token)
    assert built.reveal(credential, SSN, token) == [VALUE]
    verify(built.cell.store)


@pytest.fixture
def neck_and_neck(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next two groups both read before either of them writes."""
    together, left = threading.Barrier(2, timeout=10), [True, True]
    write = writing.write

    def wait(*arguments: Any) -> None:
        if left:
            left.pop()
            together.wait()
        write(*arguments)

    monkeypatch.setattr(group, "write", wait)


def race(*verbs: Callable[[], Any]) -> list[Any]:
    """What they return or raise."""
    with ThreadPoolExecutor(len(verbs)) as pool:
        running = [pool.submit(verb) for verb in verbs]
        return [one.exception() or one.result() for one in running]


def test_two_processes_keep_the_bound_of_a_field(
    built: BuiltCell, second: BuiltCell, request: pytest.FixtureRequest
) -> None:
    _, second.service = built.principal("service", "second", permissions=[f"tokenize:{PHONE}"])
    built.tokens(PHONE, *map(str, range(18)))
    second.token(PHONE, "18")
    request.getfixturevalue("neck_and_neck")
    outcomes = race(lambda: built.token(PHONE, "a"), lambda: second.token(PHONE, "b"))
    refusals = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert [refusal.code for refusal in refusals] == ["token_space_exhausted"]
    assert [row[3] for row in rows(built)["issued"]] == [20]


def test_two_processes_that_make_the_same_rows_do_not_wait_for_each_other(
    built: BuiltCell, second: BuiltCell, request: pytest.FixtureRequest
) -> None:
    _, second.service = built.principal("service", "second", permissions=[f"tokenize:{EMAIL}"])
    for cell in (built, second):
        cell.token(EMAIL, "known@example.com", "c1")
    values = [f"{number}@example.com" for number in range(400)]
    request.getfixturevalue("neck_and_neck")
    one, other = race(
        lambda: built.tokens(EMAIL, *values, subjects=["c1"] * 400),
        lambda: second.tokens(EMAIL, *reversed(values), subjects=["c1"] * 400),
    )
    assert one == other[::-1]


def test_another_process_forgets_the_keys_of_another_schema(built: BuiltCell, second: BuiltCell) -> None:
    """Else a value would have an index entry under a key that has ended, and a second token by another."""
    second.token(SSN, VALUE)
    second.cell.keyring.blind_index("main", CITY)
    compared = built.schema.replace(
        'deterministic = "subject"\n', 'deterministic = "subject"\nnormalize = "lowercase"\n'
    )
    built.apply(compared)
    second.run(plan_schema, SchemaBody(toml=compared), by=HOST)  # sees the schema, and no command is stale
    assert second.token(CITY, "Paris", "p1") == built.token(CITY, "paris", "p1")
