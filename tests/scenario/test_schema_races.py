"""A field goes while others hand values over: either it stays with its values, or it goes without any."""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cells import HOST, NAME, BuiltCell, any_cell, cell_on, put_together
from tests.support.databases import give_back, postgresql
from vault.clock import SystemClock
from vault.errors import CoatcheckError
from vault.ledger import reading
from vault.ledger.command import State, Writes
from vault.services.applying import ApplySchema
from vault.services.audit import verify
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.schema import SchemaBody, apply_schema, plan_schema
from vault.services.tokenize import TokenizeBody, tokenize
from vault.store.cell import Store
from vault.wiring import Wiring

ROUNDS: Final = 24
PATIENCE_S: Final = 30


@contextmanager
def beside(built: BuiltCell, url: str) -> Iterator[BuiltCell]:
    """The same cell as a second process has it: its own committer, keys and memory of the schema."""
    wiring, clock = Wiring(built.config), SystemClock()
    store = Store(url, clock)
    cell = put_together(wiring, store, clock)
    try:
        yield replace(built, cell=cell, close=cell.close)
    finally:
        cell.close()


@contextmanager
def two(kind: str, folder: Path) -> Iterator[tuple[BuiltCell, BuiltCell]]:
    """Who hands values over, and who applies: threads of a process on SQLite, two processes elsewhere."""
    with ExitStack() as stack:
        if kind == "sqlite":
            built = stack.enter_context(any_cell(kind, folder))
            yield built, built
            return
        url = postgresql()
        stack.callback(give_back, url)
        built = stack.enter_context(cell_on(url, folder))
        yield built, stack.enter_context(beside(built, url))


def outcome(work: Callable[[], Any]) -> str:
    """What came of it: `done`, or the code of the refusal."""
    try:
        work()
    except CoatcheckError as refusal:
        return refusal.code
    return "done"


def at_once(*works: Callable[[], Any]) -> list[str]:
    """The outcomes of what is begun at the same moment."""
    start, outcomes = threading.Barrier(len(works)), [""] * len(works)

    def run(index: int) -> None:
        start.wait(PATIENCE_S)
        outcomes[index] = outcome(works[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return outcomes


def living(built: BuiltCell, field: str) -> int:
    custody = built.cell.store.custody
    return int(built.cell.store.read(custody.living_tokens, {"tenant": built.tenant, "field": field})[0][0])


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("protection", ["vaulted", "vaultless", "encrypted"])
def test_a_field_stays_with_its_values_or_goes_without_any(
    kind: str, protection: str, tmp_path: Path
) -> None:
    rule = {
        "vaulted": {"template": "text", "protection": "vaulted", "retention": "customer"},
        "vaultless": {"template": "ssn", "protection": "vaultless", "retention": "key-lifetime"},
        "encrypted": {"protection": "encrypted", "retention": "customer"},
    }[protection]
    with two(kind, tmp_path) as (one, other):
        document = tomllib.loads(one.schema)
        names = [f"race.{number}" for number in range(ROUNDS)]
        document["fields"] |= dict.fromkeys(names, rule)
        _apply(other, document)
        for name in names:
            less = {**document, "fields": {n: r for n, r in document["fields"].items() if n != name}}
            handed, gone = at_once(partial(_hand_over, one, name, protection), partial(_apply, other, less))
            assert (handed, gone) in {("done", "schema_refused"), ("field_unknown", "done")}
            if gone == "done":
                document = less
            if protection == "vaulted":
                assert living(one, name) == (1 if handed == "done" else 0)
        verify(one.cell.store)
        for name in document["fields"].keys() & set(names):  # what stayed is still in force, and works
            _hand_over(other, name, protection)


def _hand_over(built: BuiltCell, name: str, protection: str) -> None:
    if protection == "encrypted":
        built.run(encrypt, EncryptBody([EncryptItem(name, "Ada")]), by=HOST)
    else:
        built.run(tokenize, TokenizeBody(field=name, values=["123-45-6789"]), by=HOST)


def _apply(built: BuiltCell, document: dict[str, Any]) -> None:
    digest = built.run(plan_schema, SchemaBody(document=document), by=HOST).digest
    built.run(apply_schema, SchemaBody(document=document, digest=digest), by=HOST)


@pytest.mark.parametrize("locked", [True, False])
def test_the_lock_on_the_head_is_what_keeps_values_out(
    locked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value handed over by another process while the change is being decided. Without the lock (the
    control) both succeed, and the value's field is gone."""
    handed: list[str] = []
    with two("postgresql", tmp_path) as (one, other):
        document = tomllib.loads(one.schema)
        del document["fields"][NAME]
        decide = ApplySchema.decide

        def slowly(self: ApplySchema, state: State, writes: Writes) -> int:
            work = threading.Thread(
                target=lambda: handed.append(
                    outcome(lambda: one.run(tokenize, TokenizeBody(field=NAME, values=["Ada"]), by=HOST))
                )
            )
            work.start()
            work.join(0.5)
            assert work.is_alive() == locked
            waiting.append(work)
            return decide(self, state, writes)

        waiting: list[threading.Thread] = []
        one.run(
            tokenize, TokenizeBody(field="customer.note", values=["Ada"]), by=HOST
        )  # its data key is there
        monkeypatch.setattr(ApplySchema, "decide", slowly)
        if not locked:
            monkeypatch.setattr(reading, "_settle", lambda *_: None)
        assert outcome(lambda: _apply(other, document)) == "done"
        for work in waiting:
            work.join(PATIENCE_S)
        assert handed == (["field_unknown"] if locked else ["done"])
        assert living(one, NAME) == (0 if locked else 1)
