"""Trying a key store: every kind goes through it and keeps nothing; what does not hold is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.keystores import PROVIDERS, KeyStore
from vault.crypto.passwords import Argon2Parameters
from vault.errors import IntegrityError, Unavailable
from vault.kms import local
from vault.kms.provider import Destruction, Provider, away
from vault.secret import Secret
from vault.trial import look, trial

STEPS = ["make a root key", "wrap and open", "bind the context", "destroy it", "open no more"]


@pytest.fixture(params=PROVIDERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    with PROVIDERS[request.param](tmp_path) as made:
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "RFC9106_LOW_MEMORY", Argon2Parameters(1, 8192, 1))


def test_every_key_store_goes_through_a_trial(store: KeyStore) -> None:
    provider = store.open()
    assert [step.check for step in trial(provider)] == STEPS
    assert [step.check for step in trial(provider)] == STEPS  # it may be done again


def test_a_look_needs_a_root_only_under_a_cell(store: KeyStore) -> None:
    provider = store.open()
    first = next(look(provider, 1, needed=False))
    assert first.detail == "there is no root key yet"
    with pytest.raises(Unavailable) as refusal:
        list(look(provider, 1, needed=True))
    assert refusal.value.facts["cause"] == "missing"
    provider.create_root(1)
    assert next(look(provider, 1, needed=True)).detail == "root version 1 can be used"


class Faulty:
    """A fake key store with one fault; it keeps what it wraps in memory."""

    destroy_means = "nothing"
    remote = False

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.roots: set[int] = set()

    def create_root(self, version: int) -> None:
        self.roots.add(version)

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        if self.fault == "wrap":
            raise away("denied", version)
        return half.expose() + context

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        if version not in self.roots and self.fault != "destroy":
            raise away("missing", version)
        if wrapped[32:] != context and self.fault != "context":
            raise IntegrityError("ciphertext_invalid")
        return Secret(bytes(32) if self.fault == "unwrap" else wrapped[:32])

    def destroy_root(self, version: int) -> Destruction:
        if self.fault == "away" and version not in self.roots:
            raise away("unreachable", version)
        self.roots.discard(version)
        return Destruction(version, "it")

    def probe(self, version: int) -> None:
        raise away("denied", version)

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    ("fault", "code", "steps"),
    [
        ("wrap", "key_unavailable", 1),
        ("unwrap", "integrity_failed", 1),
        ("context", "integrity_failed", 2),
        ("destroy", "integrity_failed", 4),
    ],
)
def test_what_does_not_hold_is_found_and_the_root_is_gone(fault: str, code: str, steps: int) -> None:
    faulty = Faulty(fault)
    provider: Provider = faulty
    seen: list[str] = []
    with pytest.raises((Unavailable, IntegrityError)) as refusal:
        seen.extend(step.check for step in trial(provider))
    assert (refusal.value.code, seen) == (code, STEPS[:steps])
    assert faulty.roots == set()


def test_a_key_store_that_denies_is_not_taken_for_one_without_a_root() -> None:
    with pytest.raises(Unavailable) as refusal:
        list(look(Faulty(""), 1, needed=False))
    assert refusal.value.facts["cause"] == "denied"
