"""What every key store must do, and what `local:` does besides.

A new provider adds a row to PROVIDERS in tests/support/keystores.py: how to open it as a fresh process would,
again and again, on the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.keystores import (
    PROVIDERS,
    KeyStore,
    local_with_key_file,
    local_with_passphrase,
)
from tests.unit.envelope.damage import damaged
from vault.clock import SystemClock
from vault.crypto.passwords import Argon2Parameters
from vault.errors import CoatcheckError, IntegrityError, Misconfigured, Unavailable
from vault.kms import local
from vault.kms.guard import Guard, GuardLimits
from vault.kms.provider import ProviderSettings
from vault.kms.registry import open_provider
from vault.secret import Secret

HALF = bytes(range(32))
CONTEXT = b"region and epoch"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest cost that is taken; test_passwords has the real one."""
    monkeypatch.setattr(local, "RFC9106_LOW_MEMORY", Argon2Parameters(1, 8192, 1))


@pytest.fixture(params=PROVIDERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    with PROVIDERS[request.param](tmp_path) as made:
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(params=["local, passphrase", "local, key file"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyStore]:
    with PROVIDERS[request.param](tmp_path) as made:
        yield made


def refused(
    error: type[CoatcheckError], code: str, use: Callable[..., object], *arguments: object
) -> CoatcheckError:
    with pytest.raises(error) as refusal:
        use(*arguments)
    assert refusal.value.code == code
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
    return refusal.value


def wrap(store: KeyStore, version: int = 1) -> bytes:
    provider = store.open()
    provider.create_root(version)
    return provider.wrap(version, Secret(HALF), CONTEXT)


# what every provider does


def test_a_half_comes_back(store: KeyStore) -> None:
    wrapped = wrap(store)
    assert HALF not in wrapped
    for provider in (store.open(), store.open()):
        for _ in range(2):
            assert provider.unwrap(1, wrapped, CONTEXT).expose() == HALF


def test_wrapping_twice_gives_two_texts(store: KeyStore) -> None:
    one, other = wrap(store), wrap(store)
    assert one != other
    assert store.open().unwrap(1, one, CONTEXT).matches(store.open().unwrap(1, other, CONTEXT))


@pytest.mark.parametrize("context", [b"", b"another", CONTEXT + b"\0", CONTEXT[:-1], CONTEXT * 2])
def test_the_context_is_bound(store: KeyStore, context: bytes) -> None:
    wrapped = wrap(store)
    refused(IntegrityError, "ciphertext_invalid", store.open().unwrap, 1, wrapped, context)


def test_every_flipped_bit_and_every_truncation_is_refused(store: KeyStore) -> None:
    wrapped = wrap(store)
    provider = store.open()
    for broken in damaged(wrapped):
        refused(IntegrityError, "ciphertext_invalid", provider.unwrap, 1, broken, CONTEXT)
    assert provider.unwrap(1, wrapped, CONTEXT).expose() == HALF


def test_another_version_opens_nothing(store: KeyStore) -> None:
    one = wrap(store, 1)
    two = wrap(store, 2)
    provider = store.open()
    assert provider.unwrap(2, two, CONTEXT).expose() == HALF
    refused(IntegrityError, "ciphertext_invalid", provider.unwrap, 2, one, CONTEXT)
    refused(IntegrityError, "ciphertext_invalid", provider.unwrap, 1, two, CONTEXT)


def test_a_root_is_made_once(store: KeyStore) -> None:
    wrapped = wrap(store)
    for provider in (store.open(), store.open()):
        provider.create_root(1)
        provider.create_root(1)
        assert provider.unwrap(1, wrapped, CONTEXT).expose() == HALF


def test_a_root_that_was_never_made_does_not_serve(store: KeyStore) -> None:
    wrapped = wrap(store)
    provider = store.open()
    refused(Unavailable, "key_unavailable", provider.wrap, 2, Secret(HALF), CONTEXT)
    refused(Unavailable, "key_unavailable", provider.unwrap, 2, wrapped, CONTEXT)


def test_what_lay_under_a_destroyed_root_does_not_open(store: KeyStore) -> None:
    one, two = wrap(store, 1), wrap(store, 2)
    provider = store.open()
    assert provider.unwrap(1, one, CONTEXT).expose() == HALF
    provider.destroy_root(1)
    for after in (provider, store.open()):
        refused(Unavailable, "key_unavailable", after.unwrap, 1, one, CONTEXT)
        refused(Unavailable, "key_unavailable", after.wrap, 1, Secret(HALF), CONTEXT)
        assert after.unwrap(2, two, CONTEXT).expose() == HALF
    provider.destroy_root(1)


def test_a_root_made_again_is_another(store: KeyStore) -> None:
    wrapped = wrap(store)
    provider = store.open()
    provider.destroy_root(1)
    provider.create_root(1)
    refused(IntegrityError, "ciphertext_invalid", provider.unwrap, 1, wrapped, CONTEXT)


def test_destroying_gives_a_receipt_and_again_the_same(store: KeyStore) -> None:
    wrap(store)
    receipt = store.open().destroy_root(1)
    assert receipt.version == 1
    assert len(receipt.what) > 5
    assert receipt.final_at is None or receipt.final_at > SystemClock().now()
    assert store.open().destroy_root(1) == receipt


def test_a_probe_says_whether_a_root_serves_and_changes_nothing(store: KeyStore) -> None:
    provider = store.open()
    refused(Unavailable, "key_unavailable", provider.probe, 1)
    refused(Unavailable, "key_unavailable", provider.wrap, 1, Secret(HALF), CONTEXT)  # none was made by it
    provider.create_root(1)
    provider.probe(1)
    provider.destroy_root(1)
    refused(Unavailable, "key_unavailable", provider.probe, 1)


def test_what_is_away_says_why(store: KeyStore) -> None:
    problem = refused(Unavailable, "key_unavailable", store.open().probe, 1)
    assert problem.facts == {"cause": "missing", "root": 1}


def test_a_provider_that_was_closed_begins_anew(store: KeyStore) -> None:
    wrapped = wrap(store)
    provider = store.open()
    for _ in range(2):
        assert provider.unwrap(1, wrapped, CONTEXT).expose() == HALF
        provider.close()
        provider.close()


def test_guarded_it_does_the_same(store: KeyStore) -> None:
    guard = Guard(store.open(), GuardLimits(deadline_s=30))
    guard.create_root(1)
    wrapped = guard.wrap(1, Secret(HALF), CONTEXT)
    assert guard.unwrap(1, wrapped, CONTEXT).expose() == HALF
    refused(IntegrityError, "ciphertext_invalid", guard.unwrap, 1, wrapped, b"another")
    guard.probe(1)
    assert guard.destroy_root(1).version == 1
    assert (
        refused(Unavailable, "key_unavailable", guard.unwrap, 1, wrapped, CONTEXT).facts["retry_after"] == 1
    )


def test_many_threads_use_it_at_once(store: KeyStore) -> None:
    wrapped = wrap(store)
    provider = store.open()
    with ThreadPoolExecutor(8) as threads:
        halves = threads.map(lambda _: provider.unwrap(1, wrapped, CONTEXT), range(24))
        assert all(half.expose() == HALF for half in halves)


def test_it_says_what_destroying_means(store: KeyStore) -> None:
    assert len(store.open().destroy_means) > 20


def test_another_region_opens_nothing(store: KeyStore) -> None:
    wrapped = wrap(store)
    with pytest.raises(CoatcheckError) as refusal:
        store.open("us").unwrap(1, wrapped, CONTEXT)
    assert refusal.value.code in {"ciphertext_invalid", "config_invalid", "key_unavailable"}


# what `local:` does besides


def root(folder: Path, version: int = 1) -> Path:
    return folder / "keys" / "eu" / f"root-{version:06d}"


def test_local_files_are_private(files: KeyStore, tmp_path: Path) -> None:
    store = files
    wrapped = wrap(store)
    assert root(tmp_path).stat().st_mode & 0o777 == 0o600
    for folder in (root(tmp_path).parent, root(tmp_path).parent.parent):
        assert folder.stat().st_mode & 0o777 == 0o700
    for wide in (0o640, 0o604, 0o644, 0o666):
        root(tmp_path).chmod(wide)
        error = refused(Misconfigured, "host_permissions", store.open().unwrap, 1, wrapped, CONTEXT)
        assert error.facts == {"path": str(root(tmp_path)), "needs": "0600"}
    root(tmp_path).chmod(0o600)
    root(tmp_path).parent.chmod(0o750)
    refused(Misconfigured, "host_permissions", store.open().create_root, 2)


def test_a_wrong_passphrase_is_said_to_be_one(tmp_path: Path) -> None:
    wrapped = wrap(local_with_passphrase(tmp_path))
    for wrong in (b"Passphrase", b"passphrase ", b"passphras", b"\0"):
        provider = local_with_passphrase(tmp_path, wrong).open()
        error = refused(Misconfigured, "config_invalid", provider.unwrap, 1, wrapped, CONTEXT)
        assert error.facts["setting"] == "passphrase_file"
        assert wrong.decode() not in str(error.facts["reason"]).split()


@pytest.mark.parametrize("passphrase", [None, b""])
def test_without_a_passphrase_nothing_is_made_or_opened(tmp_path: Path, passphrase: bytes | None) -> None:
    wrapped = wrap(local_with_passphrase(tmp_path))
    secret = None if passphrase is None else Secret(passphrase)
    bare = open_provider("local:keys/eu", ProviderSettings("eu", tmp_path, secret, None))
    for use, arguments in ((bare.create_root, (2,)), (bare.unwrap, (1, wrapped, CONTEXT))):
        error = refused(Misconfigured, "config_invalid", use, *arguments)
        assert error.facts == {"setting": "passphrase_file"}
    assert not root(tmp_path, 2).exists()


def test_a_key_file_must_be_the_one_whole_and_private(tmp_path: Path) -> None:
    store = local_with_key_file(tmp_path)
    key_file = tmp_path / "elsewhere" / "key"
    wrapped = wrap(store)
    content = key_file.read_bytes()
    local.make_key_file(key_file)  # a second time changes nothing
    assert key_file.read_bytes() == content
    for wrong in (content[::-1], content[:-1], content + b"\0", b""):
        key_file.write_bytes(wrong)
        error = refused(Misconfigured, "config_invalid", store.open().unwrap, 1, wrapped, CONTEXT)
        assert error.facts["setting"] == "key_file"
    key_file.write_bytes(content)
    key_file.chmod(0o644)
    refused(Misconfigured, "host_permissions", store.open().unwrap, 1, wrapped, CONTEXT)
    key_file.unlink()
    refused(Misconfigured, "host_permissions", store.open().unwrap, 1, wrapped, CONTEXT)


def test_a_store_under_a_passphrase_is_not_opened_with_a_key_file_nor_the_other_way(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    wrapped = {
        folder: wrap(make(folder))
        for folder, make in ((one, local_with_passphrase), (other, local_with_key_file))
    }
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    swapped = {
        one: ProviderSettings("eu", one, None, tmp_path / "key"),
        other: ProviderSettings("eu", other, Secret(b"passphrase"), None),
    }
    for folder, settings in swapped.items():
        provider = open_provider("local:keys/eu", settings)
        refused(Misconfigured, "config_invalid", provider.unwrap, 1, wrapped[folder], CONTEXT)


def test_a_file_that_asks_for_more_memory_than_allowed_is_refused_before_it_is_allocated(
    tmp_path: Path,
) -> None:
    store = local_with_passphrase(tmp_path)
    wrapped = wrap(store)
    raw = root(tmp_path).read_bytes()
    for cost in ((2**32 - 1, 8192, 1), (1, 2**32 - 1, 1), (1, 8192, 2**32 - 1), (0, 0, 0)):
        root(tmp_path).write_bytes(raw[:9] + b"".join(part.to_bytes(4, "big") for part in cost) + raw[21:])
        refused(Misconfigured, "config_invalid", store.open().unwrap, 1, wrapped, CONTEXT)


def test_the_path_is_relative_to_the_configuration_unless_it_is_not(tmp_path: Path) -> None:
    settings = ProviderSettings("eu", tmp_path / "base", Secret(b"p"), None)
    open_provider("local:keys/eu", settings).create_root(1)
    open_provider(f"local:{tmp_path}/absolute", settings).create_root(1)
    assert root(tmp_path / "base").exists()
    assert (tmp_path / "absolute" / "root-000001").exists()
