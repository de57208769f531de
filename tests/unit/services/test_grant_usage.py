"""What a grant was used for, counted from the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, SSN, BuiltCell, any_cell, reveal
from vault.clock import SECOND, FixedClock, parse_time
from vault.errors import CoatcheckError
from vault.services import grant_usage
from vault.services.detokenize import detokenize
from vault.services.grant_usage import read_usage
from vault.services.tenants import TenantBody, create_tenant

NOW = parse_time("2026-11-23T23:59:00Z")


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def ticking(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    """On SQLite: a server has a clock of its own."""
    with any_cell("sqlite", tmp_path, clock=clock) as made:
        yield made


def id_of(credential: str) -> str:
    return "gr_" + credential.split("_")[1]


def use(built: BuiltCell, credential: str, *asked: Any, **more: Any) -> None:
    with suppress(CoatcheckError):
        built.run(detokenize, reveal(*asked, **more), by=credential)


def test_uses_are_counted_by_day_and_field(ticking: BuiltCell, clock: FixedClock) -> None:
    built = ticking
    name = built.token(NAME, "Ada", "ada")
    other, ssn = built.token(NAME, "Bob", "bob"), built.token(SSN, "123-45-6789")
    credential, another = built.grant(NAME, SSN, uses=9), built.grant(NAME, uses=9)
    use(built, credential, NAME, [name, other])
    use(built, credential, NAME, [name, "tok_nonsense"], on_error="report")
    use(built, credential, SSN, [ssn], purpose="files")
    use(built, another, NAME, [name])
    clock.advance(120 * SECOND)
    use(built, credential, NAME, [name])
    use(built, credential, SSN, [ssn] * 5)
    shown = built.run(read_usage, id_of(credential))
    lines = {(line.day, line.field): line for line in shown.fields}
    first, later = lines["2026-11-23", NAME], lines["2026-11-24", NAME]
    assert (first.requests, first.items, first.failed) == (2, 4, {"token_unknown": 1})
    assert (later.requests, later.items, later.failed) == (1, 1, None)
    assert (lines["2026-11-24", SSN].items, lines["2026-11-24", SSN].denied) == (0, 5)
    assert (lines["2026-11-23", SSN].items, lines["2026-11-23", SSN].denied) == (0, 1)
    assert shown.refused == {"budget_exhausted": 1, "purpose_mismatch": 1}
    assert (shown.people, shown.complete) == (2, True)
    # What was refused for its purpose was decided, and charged; what could not be paid was not.
    assert (shown.uses, shown.uses_left) == (6, 3)
    assert sum(line.items for line in shown.fields) == shown.uses - 1


def test_a_long_log_is_looked_through_only_so_far(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_usage, "MAX_EVENTS", 4)
    monkeypatch.setattr(grant_usage, "SCAN_ROWS", 2)
    credential = built.grant(NAME, uses=20)
    token = built.token(NAME, "Ada")
    for _ in range(8):
        use(built, credential, NAME, [token])
    shown = built.run(read_usage, id_of(credential))
    assert (shown.complete, shown.uses) == (False, 8)
    assert sum(line.items for line in shown.fields) == 4


def test_only_whoever_may_see_the_grant_sees_it(built: BuiltCell) -> None:
    grant = id_of(built.grant(NAME))
    other = built.run(create_tenant, TenantBody("acme"), by=built.admin).credential
    assert built.run(read_usage, grant, by=built.admin).fields == []
    _, stranger = built.principal("service", "stranger")
    for by in (other, stranger):
        with pytest.raises(CoatcheckError) as caught:
            built.run(read_usage, grant, by=by)
        assert caught.value.code == "not_found"
