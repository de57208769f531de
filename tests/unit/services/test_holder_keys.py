"""Keys that agents hold: registered, replaced, revoked; and what grants may be bound to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, BuiltCell, any_cell
from tests.support.holders import Holding, a_holder, bound, new_holder, new_signer, registering
from vault.clock import SECOND, FixedClock, format_time, parse_time
from vault.crypto.base64url import encode
from vault.crypto.signing import Signer, thumbprint
from vault.errors import CoatcheckError
from vault.services.grant_body import Validity
from vault.services.grants import create_grant
from vault.services.holder_keys import (
    HolderKeyBody,
    list_holder_keys,
    register_holder_key,
    revoke_holder_key,
)
from vault.services.tenants import TenantBody, create_tenant

NOW = parse_time("2026-11-23T12:00:00Z")
MINUTE = 60 * SECOND


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(NOW)


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def ticking(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    with any_cell("sqlite", tmp_path, clock=clock) as made:
        yield made


def register(built: BuiltCell, signer: Signer, agent: str | None = None, **more: Any) -> Any:
    body = msgspec.convert(registering(signer, **more), HolderKeyBody)
    return built.run(register_holder_key, agent or built.agent_id, body, by=built.admin)


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(CoatcheckError) as caught:
        call()
    return caught.value.code


def keyed(built: BuiltCell, signer: Signer, **more: Any) -> Any:
    return built.run(create_grant, built.grant_body(NAME, bind=bound(signer), **more))


def test_an_agent_with_keys_is_given_grants_for_these_alone(built: BuiltCell) -> None:
    one, two = new_signer(), new_signer()
    free = keyed(built, two)  # nothing is registered yet
    made = register(built, one, label="worker-1")
    assert made.jkt == thumbprint(one.public)
    keyed(built, one)
    assert code_of(partial(keyed, built, two)) == "holder_unknown"
    assert built.grant(NAME)  # a bearer grant is bound to no key
    token = built.token(NAME, "Ada")
    assert built.reveal(Holding(free.id, two), NAME, token) == ["Ada"]  # what was given stays given
    [shown] = built.run(list_holder_keys, built.agent_id, by=built.admin).items
    assert (shown.jkt, shown.label, shown.revoked, shown.expires) == (made.jkt, "worker-1", False, None)


def test_to_revoke_a_key_ends_its_grants_at_once_and_no_others(built: BuiltCell) -> None:
    one, two = new_signer(), new_signer()
    for signer in (one, two):
        register(built, signer)
    token = built.token(NAME, "Ada")
    first, second = (Holding(keyed(built, signer, uses=9).id, signer) for signer in (one, two))
    assert built.reveal(first, NAME, token) == ["Ada"]
    first_number = built.next_number
    revoke = partial(built.run, revoke_holder_key, built.agent_id, thumbprint(one.public), by=built.admin)
    assert revoke().revoked is True
    [event] = built.events(first_number)
    assert (event["kind"], event["holder"]) == ("agent-key.revoke", thumbprint(one.public))
    assert code_of(lambda: built.reveal(first, NAME, token)) == "grant_invalid"
    assert built.reveal(second, NAME, token) == ["Ada"]
    assert code_of(partial(keyed, built, one)) == "holder_unknown"
    assert revoke().revoked is True  # twice is once
    assert [e["kind"] for e in built.events(first_number)].count("agent-key.revoke") == 1
    # It is not registered again, and with all keys revoked no other is taken either.
    assert code_of(partial(register, built, one)) == "name_taken"
    built.run(revoke_holder_key, built.agent_id, thumbprint(two.public), by=built.admin)
    assert code_of(partial(keyed, built, new_signer())) == "holder_unknown"


def test_a_grant_ends_no_later_than_its_key(ticking: BuiltCell, clock: FixedClock) -> None:
    built, signer = ticking, new_signer()
    end = NOW + 5 * MINUTE
    register(built, signer, expires=format_time(end))
    assert keyed(built, signer).valid_until == format_time(end)  # else a quarter of an hour
    later = Validity(until=format_time(end + SECOND))
    with pytest.raises(CoatcheckError) as caught:
        keyed(built, signer, valid=later)
    assert caught.value.code == "validity_invalid"
    assert caught.value.facts == {"member": "until", "latest": format_time(end)}
    exact = Validity(until=format_time(end))
    assert keyed(built, signer, valid=exact).valid_until == format_time(end)
    clock.advance(5 * MINUTE)
    assert code_of(partial(keyed, built, signer)) == "holder_unknown"


def test_a_key_is_replaced_with_an_overlap(ticking: BuiltCell, clock: FixedClock) -> None:
    built, old, new = ticking, new_signer(), new_signer()
    register(built, old)
    register(built, new, replaces=thumbprint(old.public), overlap="PT10M")
    assert keyed(built, old).valid_until == format_time(NOW + 10 * MINUTE)
    assert keyed(built, new).valid_until == format_time(NOW + 15 * MINUTE)
    clock.advance(10 * MINUTE)
    assert code_of(partial(keyed, built, old)) == "holder_unknown"
    keyed(built, new)
    third = partial(register, built, new_signer(), replaces=thumbprint(old.public))
    assert code_of(third) == "not_found"  # it is over
    # To be replaced never makes it last longer.
    short, next_ = new_signer(), new_signer()
    register(built, short, expires=format_time(clock.now() + MINUTE))
    register(built, next_, replaces=thumbprint(short.public), overlap="PT10M")
    shown = {
        key.jkt: key.expires for key in built.run(list_holder_keys, built.agent_id, by=built.admin).items
    }
    assert shown[thumbprint(short.public)] == format_time(clock.now() + MINUTE)
    assert code_of(partial(register, built, new_signer(), overlap="PT10M")) == "member_missing"


SMALL_ORDER = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"  # the neutral element


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "OKP", "crv": "Ed25519", "x": SMALL_ORDER},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 42},
        {"kty": "OKP", "crv": "Ed25519", "x": encode(b"\xff" * 32)},
        {"kty": "OKP", "crv": "Ed25519", "x": encode(b"\x02" * 31)},
        {"kty": "OKP", "crv": "X25519", "x": encode(new_signer().public)},
        {"kty": "EC", "crv": "P-256", "x": encode(new_signer().public)},
    ],
)
def test_what_is_no_ed25519_key_is_not_registered(ticking: BuiltCell, key: dict[str, str]) -> None:
    body = msgspec.convert({"key": key}, HolderKeyBody)
    register_ = partial(ticking.run, register_holder_key, ticking.agent_id, body, by=ticking.admin)
    assert code_of(register_) == "limit_invalid"


def test_only_agents_of_the_tenant_have_keys(built: BuiltCell) -> None:
    signer = new_signer()
    assert code_of(partial(register, built, signer, built.service_id)) == "operation_unsupported"
    assert code_of(partial(register, built, signer, "pr_01M84HD64DFW18BYTQYF0BJRJQ")) == "not_found"
    assert code_of(partial(register, built, signer, "no id")) == "not_found"
    other = built.run(create_tenant, TenantBody("acme"), by=built.admin).credential
    jkt = a_holder(built)
    body = msgspec.convert(new_holder(), HolderKeyBody)
    for call in (
        partial(built.run, register_holder_key, built.agent_id, body, by=other),
        partial(built.run, revoke_holder_key, built.agent_id, jkt, by=other),
        partial(built.run, revoke_holder_key, built.agent_id, "A" * 43, by=built.admin),
        partial(built.run, revoke_holder_key, built.agent_id, "not a thumbprint", by=built.admin),
    ):
        assert code_of(call) == "not_found"
    assert built.run(list_holder_keys, built.agent_id, by=other).items == []


def test_an_agent_has_so_many_keys_and_no_more(ticking: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.services.holder_keys.MAX_KEYS", 2)
    a_holder(ticking)
    a_holder(ticking)
    assert code_of(partial(a_holder, ticking)) == "limit_invalid"


@dataclass
class Tries:
    """What was served before and after a key was revoked."""

    late: int = 0
    served: int = 0


def test_no_use_is_served_that_began_after_the_key_was_revoked(built: BuiltCell) -> None:
    """P8, for keys: grants are made and used all the while."""
    signer, token, tries = new_signer(), built.token(NAME, "Ada"), Tries()
    register(built, signer)
    gone, began = threading.Event(), threading.Semaphore(0)

    def use() -> None:
        while True:
            after = gone.is_set()
            try:
                holding = Holding(keyed(built, signer, uses=3).id, signer)
                built.reveal(holding, NAME, token)
            except CoatcheckError as refusal:
                assert refusal.code in ("grant_invalid", "holder_unknown")  # noqa: PT017
                if after:
                    return
            else:
                tries.served += 1
                tries.late += after
            began.release()

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use) for _ in range(4)]
        for _ in range(12):
            began.acquire()
        built.run(revoke_holder_key, built.agent_id, thumbprint(signer.public), by=built.admin)
        gone.set()
        for user in users:
            user.result()
    assert tries.late == 0
    assert tries.served >= 12


def test_two_keys_take_the_place_of_one_only_as_long_as_it_is_valid(built: BuiltCell) -> None:
    """Registrations at once: each either finds the key that it replaces, or says that it is over."""
    old = new_signer()
    register(built, old)
    with ThreadPoolExecutor(4) as pool:
        made = [
            pool.submit(register, built, new_signer(), replaces=thumbprint(old.public), overlap="PT5M")
            for _ in range(4)
        ]
    assert [future.exception() for future in made] == [None] * 4
    listed = built.run(list_holder_keys, built.agent_id, by=built.admin).items
    assert len(listed) == 5
    assert sum(key.expires is not None for key in listed) == 1
