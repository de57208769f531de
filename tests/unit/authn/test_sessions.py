"""Where sessions come from, and when they were used."""

from __future__ import annotations

import pytest

from vault.authn import seen as seen_module
from vault.authn.seen import Seen
from vault.authn.sessions import MINUTE, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2ff::7", "2001:db8:1:200::/56"),
        ("127.0.0.1", "127.0.0.0/24"),
        ("", ""),
        ("host:0", ""),
        ("192.0.2.7/24", ""),
    ],
)
def test_a_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_uses_are_noted_to_the_minute_and_once() -> None:
    seen = Seen(MINUTE)
    for at in (MINUTE, MINUTE + 1, 2 * MINUTE - 1):
        seen.note("cs_1", at)
    assert (seen.last("cs_1"), seen.last("cs_2")) == (MINUTE, 0)
    assert seen.take() == {"cs_1": MINUTE}
    assert seen.take() == {}
    seen.note("cs_1", 2 * MINUTE)
    seen.note("cs_2", 2 * MINUTE)
    taken = seen.take()
    seen.note("cs_1", 3 * MINUTE)
    seen.give_back(taken)
    assert seen.take() == {"cs_1": 3 * MINUTE, "cs_2": 2 * MINUTE}  # never to an earlier one


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "MAX_SEEN", 10)
    seen = Seen(MINUTE)
    for number in range(100):
        seen.note(f"cs_{number}", MINUTE)
    assert len(seen._seen) == 10
    assert seen.last("cs_99") == MINUTE
