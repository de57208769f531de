"""`transit:` against the fake: logins and their lives, keys that would not do, and what a URI may say."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.transit import JWT, ROOT, SECRET_ID, FakeTransit, Key, Token
from tests.support.certificates import authority
from tests.support.keystores import KeyStore, fake_transit, secret_file, with_auth
from vault.errors import CoatcheckError, IntegrityError, Misconfigured, Unavailable
from vault.kms.credentials import Credentials
from vault.kms.provider import ProviderSettings, check_uri
from vault.kms.registry import open_provider
from vault.kms.transit import TransitProvider
from vault.secret import Secret

HALF = bytes(range(32))
KEY = "coatcheck-eu-000001"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with fake_transit(tmp_path, "approle") as made:
        yield made
        made.close()


@pytest.fixture
def fake(store: KeyStore) -> FakeTransit:
    found: FakeTransit = store.control
    return found


def cause(use: object, *arguments: object) -> str:
    with pytest.raises(CoatcheckError) as refused:
        use(*arguments)  # type: ignore[operator]
    assert HALF.hex() not in repr(refused.value.facts)
    return str(refused.value.facts.get("cause", refused.value.code))


def test_the_key_is_derived_and_never_leaves(store: KeyStore, fake: FakeTransit) -> None:
    store.open().create_root(1)
    assert list(fake.keys) == [KEY]
    key = fake.keys[KEY]
    assert (key.type, key.derived, key.exportable, key.allow_plaintext_backup) == (
        "aes256-gcm96", True, False, False,
    )  # fmt: skip


def test_the_context_goes_to_the_server_which_opens_nothing_under_another(
    store: KeyStore, fake: FakeTransit
) -> None:
    """Control: under a key that is not derived, the server would open it under any context."""
    provider = store.open()
    provider.create_root(1)
    wrapped = provider.wrap(1, Secret(HALF), b"context")
    assert cause(provider.unwrap, 1, wrapped, b"another") == "ciphertext_invalid"
    fake.keys[KEY].derived = False
    fake.keys[KEY].versions[1] = bytes(32)
    assert cause(provider.wrap, 1, Secret(HALF), b"context") == "config_invalid"


@pytest.mark.parametrize(
    "wrong",
    [
        {"derived": False},
        {"exportable": True},
        {"allow_plaintext_backup": True},
        {"type": "chacha20-poly1305"},
        {"type": "rsa-2048"},
        {"convergent_encryption": True},
    ],
)
def test_a_key_that_somebody_made_otherwise_is_refused(
    store: KeyStore, fake: FakeTransit, wrong: dict[str, object]
) -> None:
    fake.keys[KEY] = Key(**{"derived": True, **wrong}, versions={1: bytes(32)})  # type: ignore[arg-type]
    provider = store.open()
    with pytest.raises(Misconfigured):
        provider.probe(1)
    with pytest.raises(Misconfigured):
        provider.wrap(1, Secret(HALF), b"")


def test_encrypting_makes_no_key(store: KeyStore, fake: FakeTransit) -> None:
    """Control: the server makes one for a token that may create, when it is told to encrypt."""
    provider = store.open()
    assert cause(provider.wrap, 1, Secret(HALF), b"") == "missing"
    assert fake.keys == {}
    assert isinstance(provider, TransitProvider)
    provider._login.ask(lambda client: client.secrets.transit.encrypt_data("k", plaintext="", context="AA=="))
    assert list(fake.keys) == ["k"]


def test_a_key_that_was_rotated_by_hand_still_opens_what_it_closed(
    store: KeyStore, fake: FakeTransit
) -> None:
    provider = store.open()
    provider.create_root(1)
    old = provider.wrap(1, Secret(HALF), b"")
    transit = provider._login._ready()[0].secrets.transit  # type: ignore[attr-defined]
    transit.rotate_key(KEY)
    new = provider.wrap(1, Secret(HALF), b"")
    assert provider.unwrap(1, old, b"").matches(provider.unwrap(1, new, b""))
    transit.update_key_configuration(KEY, min_decryption_version=2)
    assert cause(provider.unwrap, 1, old, b"") == "disabled"
    assert provider.unwrap(1, new, b"").expose() == HALF
    transit.update_key_configuration(KEY, min_encryption_version=2)
    transit.trim_key(KEY, min_version=2)
    assert cause(provider.unwrap, 1, old, b"") == "disabled"
    assert provider.unwrap(1, new, b"").expose() == HALF


def test_destroying_deletes_the_key_and_needs_it_allowed_first(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    receipt = provider.destroy_root(1)
    assert (receipt.version, receipt.what, receipt.final_at) == (1, f"transit/keys/{KEY}", None)
    assert fake.keys == {}
    assert provider.destroy_root(1) == receipt
    transit = "POST /v1/transit/keys"
    assert [call for call in fake.calls if call.startswith((transit, "DELETE"))] == [
        f"{transit}/{KEY}", f"{transit}/{KEY}/config", f"DELETE /v1/transit/keys/{KEY}",
    ]  # fmt: skip


def test_a_destruction_that_was_cut_off_is_finished(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    fake.keys[KEY].deletion_allowed = True  # as far as it came
    provider.destroy_root(1)
    assert fake.keys == {}


# logins


def test_one_login_serves_until_its_token_ends(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    for _ in range(5):
        provider.probe(1)
    assert (fake.logins, fake.renewals) == (1, 0)


def test_a_token_is_renewed_before_it_ends(store: KeyStore, fake: FakeTransit) -> None:
    fake.ttl = 3
    provider = store.open()
    provider.create_root(1)
    time.sleep(2.2)
    provider.probe(1)
    assert (fake.logins, fake.renewals) == (1, 1)


def test_near_its_longest_life_there_is_a_new_login(store: KeyStore, fake: FakeTransit) -> None:
    fake.ttl, fake.longest = 3, 3
    provider = store.open()
    provider.create_root(1)
    time.sleep(2.2)
    provider.probe(1)
    assert fake.logins == 2


def test_after_a_403_there_is_a_new_login(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    fake.expire_tokens()
    provider.probe(1)
    assert fake.logins == 2
    fake.secret_ids.clear()
    fake.expire_tokens()
    assert cause(provider.probe, 1) == "denied"
    secret_file(store.folder, "secret_id", b"next")
    fake.secret_ids.add("next")
    provider.probe(1)


def test_what_is_refused_to_a_good_token_is_not_tried_for_ever(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    calls = len(fake.calls)
    fake.status = 403
    assert cause(provider.probe, 1) == "denied"
    assert len(fake.calls) - calls <= 3


def test_a_token_of_a_file_is_renewed_and_replaced(tmp_path: Path) -> None:
    with fake_transit(tmp_path) as store:
        fake: FakeTransit = store.control
        fake.tokens["hvs.short"] = Token(3, time.monotonic() + 3)
        secret_file(tmp_path, "token", b"hvs.short")
        provider = store.open()
        provider.create_root(1)
        time.sleep(2.2)
        provider.probe(1)
        assert fake.renewals == 1
        fake.tokens.pop("hvs.short")
        assert cause(provider.probe, 1) == "denied"
        secret_file(tmp_path, "token", ROOT.encode())
        provider.probe(1)
        store.close()


def test_a_token_that_cannot_be_renewed_is_used_to_its_end(tmp_path: Path) -> None:
    with fake_transit(tmp_path) as store:
        fake: FakeTransit = store.control
        fake.tokens["hvs.batch"] = Token(2, time.monotonic() + 2, renewable=False)
        secret_file(tmp_path, "token", b"hvs.batch")
        provider = store.open()
        provider.create_root(1)
        time.sleep(1.5)
        provider.probe(1)
        assert fake.renewals == 0
        time.sleep(0.7)
        assert cause(provider.probe, 1) == "denied"
        store.close()


def test_a_namespace_is_named_in_every_request(tmp_path: Path) -> None:
    fake = FakeTransit(namespace="team")
    secret_file(tmp_path, "token", ROOT.encode())
    uri = f"transit://127.0.0.1:{fake.port}/transit/coatcheck-eu?tls=off"
    bare = with_auth(KeyStore(uri, tmp_path), {"token": ROOT.encode()})
    assert cause(bare.open().probe, 1) in ("missing", "denied")
    provider = bare.open(uri=f"{uri}&namespace=team")
    provider.create_root(1)
    provider.probe(1)
    bare.close()
    fake.close()


def test_a_server_that_asks_for_a_certificate_gets_ours(tmp_path: Path) -> None:
    ours = authority(tmp_path / "tls")
    ours.issue()
    ours.issue("client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls" / "tls.crt", tmp_path / "tls" / "tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(ours.path)
    fake = FakeTransit(context)
    secrets = {"token": secret_file(tmp_path, "token", ROOT.encode())}
    paths = {"ca": ours.path}
    pair = {"client_certificate": ours.folder / "client.crt", "client_key": ours.folder / "client.key"}
    uri = f"transit://127.0.0.1:{fake.port}/transit/coatcheck-eu"

    def opened(paths: dict[str, Path]) -> TransitProvider:
        provider = open_provider(
            uri, ProviderSettings("eu", tmp_path, None, None, Credentials({}, paths, secrets))
        )
        assert isinstance(provider, TransitProvider)
        return provider

    provider = opened(paths | pair)
    provider.create_root(1)
    provider.probe(1)
    provider.close()
    assert cause(opened(paths).probe, 1) in ("tls", "unreachable")
    assert cause(opened(pair).probe, 1) == "tls"  # an authority that nobody here knows
    assert cause(opened(paths | {"client_key": pair["client_key"]}).probe, 1) == "config_invalid"
    fake.close()


def test_no_variable_or_file_of_the_library_is_read(
    store: KeyStore, fake: FakeTransit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".vault-token").write_text(ROOT)
    for name, value in {
        "HOME": str(tmp_path), "VAULT_TOKEN": ROOT, "VAULT_ADDR": "http://192.0.2.1:1",
        "HTTP_PROXY": "http://192.0.2.1:1", "http_proxy": "http://192.0.2.1:1", "ALL_PROXY": "http://192.0.2.1:1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    store.open().create_root(1)
    assert fake.logins == 1
    fake.secret_ids.clear()
    assert cause(store.open().probe, 1) == "denied"


def test_secrets_show_in_no_error_and_no_repr(store: KeyStore, fake: FakeTransit) -> None:
    provider = store.open()
    provider.create_root(1)
    fake.status = 403
    with pytest.raises(Unavailable) as refused:
        provider.probe(1)
    text = f"{refused.value!r} {refused.value} {refused.value.facts} {provider!r} {vars(provider)}"
    assert SECRET_ID not in text
    assert all(token not in text for token in fake.tokens)
    assert refused.value.__cause__ is None
    assert JWT not in text


@pytest.mark.parametrize("size", [0, 1, 12, 71, 73])
def test_wrapped_bytes_of_another_size_are_refused_without_asking(
    store: KeyStore, fake: FakeTransit, size: int
) -> None:
    calls = len(fake.calls)
    with pytest.raises(IntegrityError):
        store.open().unwrap(1, bytes(size), b"")
    assert len(fake.calls) == calls


@pytest.mark.parametrize(
    "uri",
    [
        "transit:", "transit:x", "transit://", "transit://h", "transit://h/transit", "transit:///transit/k",
        "transit://h:port/transit/k", "transit://h:99999/transit/k", "transit://h/transit/", "transit://h//k",
        "transit://h/transit/../k", "transit://h/transit/k#x", "transit://u:p@h/transit/k", "transit://u@h/transit/k",
        "transit://h/transit/k?auth=ldap", "transit://h/transit/k?auth=token&auth=token",
        "transit://h/transit/k?token=hvs.x", "transit://h/transit/k?tls=off", "transit://192.0.2.1/transit/k?tls=off",
        "transit://h/transit/k?tls=no", "transit://h/transit/k?x", "transit://h/tr%61nsit/k", "transit://h_/t/k",
    ],
)  # fmt: skip
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        check_uri(uri, {"token"})
    assert refused.value.facts["setting"] == "kms"
    assert "hvs" not in str(refused.value.facts)


@pytest.mark.parametrize(
    ("uri", "given"),
    [
        ("transit://hv.internal:8200/transit/coatcheck-eu?auth=approle", {"role_id", "secret_id"}),
        ("transit://hv.internal/teams/a/transit/eu?auth=kubernetes&namespace=x", {"role", "jwt", "mount"}),
        ("transit://[::1]:8200/transit/eu?tls=off", {"token"}),
        ("transit://localhost/transit/eu?tls=off", {"token", "ca", "client_certificate", "client_key"}),
    ],
)
def test_uris_that_are_taken(uri: str, given: set[str]) -> None:
    check_uri(uri, given)
    for more in ("pin", "profile", "role" if "kubernetes" not in uri else "secret_id"):
        with pytest.raises(Misconfigured) as refused:
            check_uri(uri, {*given, more})
        assert refused.value.facts["setting"] == f"kms_auth.{more}"
