"""`pkcs11:` against SoftHSM2: keys that never leave, PINs tried once, sessions that are lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.keystores import PIN, KeyStore, new_token, secret_file, softhsm, softhsm_module
from vault.errors import CoatcheckError, Misconfigured
from vault.kms import pkcs11
from vault.kms.pkcs11_uri import read_uri
from vault.kms.provider import check_uri
from vault.secret import Secret

HALF = bytes(range(32))
MODULE = "?module-path=/usr/lib/p11.so"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with softhsm(tmp_path) as made:
        yield made
        made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[KeyStore]:
    """A token of its own, as its PIN is played with."""
    softhsm_module()
    label = f"own-{os.urandom(4).hex()}"
    new_token(label)
    with softhsm(tmp_path, label) as made:
        yield made
        made.close()


def opened(store: KeyStore) -> pkcs11.Pkcs11Provider:
    provider = store.open()
    assert isinstance(provider, pkcs11.Pkcs11Provider)
    return provider


def objects(provider: pkcs11.Pkcs11Provider, version: int = 1) -> list[Any]:
    found: list[Any] = provider._do(lambda session: provider._named(session, version))
    return found


def cause(use: object, *arguments: object) -> str:
    with pytest.raises(CoatcheckError) as refused:
        use(*arguments)  # type: ignore[operator]
    return str(refused.value.facts.get("cause", refused.value.code))


def test_the_key_cannot_leave_the_token(store: KeyStore) -> None:
    from pkcs11 import Attribute, AttributeSensitive

    provider = opened(store)
    provider.create_root(1)
    [key] = objects(provider)
    for attribute, wanted in {
        Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.NEVER_EXTRACTABLE: True,
        Attribute.ALWAYS_SENSITIVE: True, Attribute.LOCAL: True, Attribute.PRIVATE: True,
        Attribute.WRAP: False, Attribute.VALUE_LEN: 32,
    }.items():  # fmt: skip
        assert key[attribute] == wanted, attribute
    with pytest.raises(AttributeSensitive):
        key[Attribute.VALUE]


def test_a_key_that_was_outside_is_refused(store: KeyStore) -> None:
    from pkcs11 import Attribute, KeyType, ObjectClass

    provider = opened(store)
    provider._do(
        lambda session: session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
                Attribute.TOKEN: True,
                Attribute.VALUE: bytes(32), Attribute.LABEL: provider._label(1), Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False, Attribute.ENCRYPT: True, Attribute.DECRYPT: True,
            }
        )
    )  # fmt: skip
    for use in (provider.create_root, provider.probe):
        with pytest.raises(Misconfigured):
            use(1)


def test_two_objects_of_one_name_serve_nobody_until_they_are_destroyed(store: KeyStore) -> None:
    provider = opened(store)
    provider.create_root(1)
    provider._do(lambda session: provider._generate(session, 1))
    for use in (provider.create_root, provider.probe):
        with pytest.raises(Misconfigured):
            use(1)
    receipt = provider.destroy_root(1)
    assert (receipt.version, receipt.final_at) == (1, None)
    assert objects(provider) == []


# The library cannot end a search in a session that is gone, and says so from a destructor.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_session_is_made_anew_within_the_call(store: KeyStore) -> None:
    from pkcs11 import lib

    provider = opened(store)
    provider.create_root(1)
    wrapped = provider.wrap(1, Secret(HALF), b"")
    provider._session.close()
    assert provider.unwrap(1, wrapped, b"").expose() == HALF
    lib(softhsm_module()).reinitialize()
    assert provider.unwrap(1, wrapped, b"").expose() == HALF


def test_when_another_cell_of_the_process_logs_out_this_one_logs_in_again(store: KeyStore) -> None:
    first, second = opened(store), opened(store)
    first.create_root(1)
    wrapped = second.wrap(1, Secret(HALF), b"")
    first.close()
    assert second.unwrap(1, wrapped, b"").expose() == HALF
    second.close()
    third = opened(store)
    third.create_root(2)
    first.probe(2)
    third.close()
    first.destroy_root(2)  # and not: there is none that it can see
    assert objects(opened(store), 2) == []


def test_a_wrong_pin_is_tried_once(own: KeyStore) -> None:
    """Tokens lock themselves after a few. SoftHSM2 does not, so it is asked how often it was."""
    provider = opened(own)
    secret_file(own.folder, "pin", b"0000-0000")
    asked = 0
    token = provider._token()

    class Counted:
        def open(self, **arguments: Any) -> Any:
            nonlocal asked
            asked += 1
            return token.open(**arguments)

    provider._token = Counted  # type: ignore[method-assign]
    for _ in range(5):
        with pytest.raises(Misconfigured) as refused:
            provider.create_root(1)
        assert "0000" not in str(refused.value.facts)
    assert asked == 1
    secret_file(own.folder, "pin", PIN)
    provider.create_root(1)
    assert asked > 1


def test_a_token_that_is_not_there_is_unreachable(store: KeyStore, tmp_path: Path) -> None:
    module = softhsm_module()
    missing = f"pkcs11:token=nothing;object=x?module-path={module}&pin-source={tmp_path}/pin"
    assert cause(store.open(uri=missing).probe, 1) == "unreachable"
    nothing = f"pkcs11:token=coatcheck;object=x?module-path={tmp_path}/none.so&pin-source={tmp_path}/pin"
    assert cause(store.open(uri=nothing).probe, 1) == "unreachable"


def test_a_module_that_hangs_holds_nobody_longer_than_the_deadline(store: KeyStore) -> None:
    provider = opened(store)
    provider._settings = type(provider._settings)(
        "eu", store.folder, None, None, store.credentials, deadline_s=0.1
    )
    with provider._lock:  # as a call does that does not come back
        assert cause(provider.probe, 1) == "deadline"
    assert cause(provider.probe, 1) == "missing"


def test_an_object_that_is_no_token_error_is_told_from_damage(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = opened(store)
    provider.create_root(1)
    wrapped = provider.wrap(1, Secret(HALF), b"")
    assert cause(provider.unwrap, 1, wrapped, b"another") == "ciphertext_invalid"
    monkeypatch.setattr(provider, "_opens", lambda *_: None)  # a token that opens nothing at all
    assert cause(provider.unwrap, 1, wrapped, b"") == "failed"


@pytest.mark.parametrize(
    "rest",
    [
        "", "token=a", "token=a;object=b", f"object=b{MODULE}", f"token=a{MODULE}",
        f"token=;object=b{MODULE}", f"token=a;object={MODULE}", f"token=a;token=b;object=c{MODULE}",
        f"token=a;object=b;pin-value=1{MODULE}",
        f"token=a;object=b{MODULE}&pin-value=4711", f"token=a;object=b{MODULE}&pin-source=|cat",
        f"token=a;object=b{MODULE}&pin-source=https://x/pin", f"token=a;object=b{MODULE}&pin-source=",
        "token=a;object=b?module-path=relative.so", f"token=a;object=b;slot-id=1{MODULE}",
        f"token=a;object=b;type=private{MODULE}", f"token=a;object=b%ff{MODULE}",
        f"token=a;object=b%00{MODULE}",
        f"token=a;object={'x' * 121}{MODULE}", f"token=a;object=b{MODULE}&module-name=p11", "token;object=b",
    ],
)  # fmt: skip
def test_uris_that_are_refused(rest: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        read_uri(rest)
    assert refused.value.facts["setting"] == "kms"
    assert "4711" not in str(refused.value.facts)


def test_uris_that_are_taken() -> None:
    uri = read_uri(
        "token=My%20token;serial=00AB;object=eu?module-path=/usr/lib/p11.so&pin-source=file:///run/pin"
    )
    assert uri.token == {"token": "My token", "serial": "00AB"}
    assert (uri.object, uri.module_path, uri.pin_source) == ("eu", "/usr/lib/p11.so", "/run/pin")
    assert read_uri(f"token=a;object=b;type=secret-key{MODULE}&pin-source=/run/pin").pin_source == "/run/pin"
    check_uri(f"pkcs11:token=a;object=b{MODULE}&pin-source=file:/run/pin", set())
    check_uri(f"pkcs11:token=a;object=b{MODULE}", {"pin"})
    for more in (set(), {"pin", "ca"}):
        with pytest.raises(Misconfigured):
            check_uri(f"pkcs11:token=a;object=b{MODULE}", more)
    with pytest.raises(Misconfigured):
        check_uri(f"pkcs11:token=a;object=b{MODULE}&pin-source=/run/pin", {"pin"})
