"""`awskms:` against a fake of KMS's key states, with moto where it is strict enough.

moto 5 encrypts under a disabled key and decrypts while a deletion is pending. So it shows that our requests
are those of the API; what states do is shown by tests/fakes/awskms.py, written from the documentation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.awskms import DAY_S, FakeKms, Key
from tests.support.keystores import KeyStore, fake_kms, moto
from vault.clock import SECOND
from vault.errors import CoatcheckError, Misconfigured
from vault.kms import awskms
from vault.kms.provider import check_uri
from vault.secret import Secret

HALF = bytes(range(32))
ALIAS = "coatcheck-eu-000001"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with fake_kms(tmp_path) as made:
        yield made
        made.close()


@pytest.fixture
def fake(store: KeyStore) -> FakeKms:
    found: FakeKms = store.control
    return found


def cause(use: object, *arguments: object) -> str:
    with pytest.raises(CoatcheckError) as refused:
        use(*arguments)  # type: ignore[operator]
    return str(refused.value.facts.get("cause", refused.value.code))


def test_a_key_is_made_once_with_alias_and_tag(store: KeyStore, fake: FakeKms) -> None:
    for _ in range(2):
        store.open().create_root(1)
    assert list(fake.aliases) == [f"alias/{ALIAS}"]
    assert [key.tags for key in fake.keys.values()] == [{"coatcheck:root": "eu/coatcheck-eu/1"}]


@pytest.mark.parametrize("operation", ["CreateKey", "CreateAlias"])
def test_killed_behind_any_step_the_next_attempt_ends_with_one_key(
    store: KeyStore, fake: FakeKms, operation: str
) -> None:
    """Among keys of other teams: some with an alias, some without, one that says nothing to us."""
    for number in range(5):
        fake.keys[f"other-{number}"] = Key(
            f"other-{number}", {"team": "x", "coatcheck:root": f"us/x/{number}"}
        )
        fake.aliases[f"alias/other-{number}"] = f"other-{number % 3}"
    fake.die_after = operation
    assert cause(store.open().create_root, 1) == "failed"
    store.open().create_root(1)
    assert len(fake.keys) == 6
    store.open().probe(1)


def test_a_key_just_made_serves_before_its_alias_is_in_force(store: KeyStore, fake: FakeKms) -> None:
    """Aliases of KMS take a few seconds to be known everywhere."""
    provider = store.open()
    provider.create_root(1)
    aliases, fake.aliases = fake.aliases, {}
    wrapped = provider.wrap(1, Secret(HALF), b"")
    assert cause(store.open().probe, 1) == "missing"
    fake.aliases = aliases
    assert store.open().unwrap(1, wrapped, b"").expose() == HALF


def test_an_orphan_of_another_cell_is_left_alone(store: KeyStore, fake: FakeKms) -> None:
    fake.keys["orphan"] = Key("orphan", {"coatcheck:root": "us/coatcheck-eu/1"})
    fake.keys["older"] = Key("older", {"coatcheck:root": "eu/coatcheck-eu/2"})
    store.open().create_root(1)
    assert fake.of(ALIAS).id not in ("orphan", "older")


def test_who_comes_second_to_the_alias_takes_the_first_ones_key(store: KeyStore, fake: FakeKms) -> None:
    provider = store.open()
    assert isinstance(provider, awskms.AwsKmsProvider)
    known, provider._known = provider._known, lambda version: None  # type: ignore[method-assign]
    store.open().create_root(1)
    first = fake.of(ALIAS)
    provider._orphan = lambda version: None  # type: ignore[method-assign]
    ask = provider._ask

    def restored(operation: str, **arguments: object) -> dict[str, object]:
        provider._known = known  # type: ignore[method-assign]
        return ask(operation, **arguments)

    provider._ask = restored  # type: ignore[method-assign]
    provider.create_root(1)
    assert fake.of(ALIAS) is first
    assert sorted(key.state for key in fake.keys.values()) == ["Enabled", "PendingDeletion"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("Disabled", "disabled"),
        ("PendingDeletion", "pending_deletion"),
        ("PendingReplicaDeletion", "pending_deletion"),
        ("PendingImport", "disabled"),
        ("Unavailable", "disabled"),
        ("Creating", "disabled"),
    ],
)
def test_a_key_that_is_not_enabled_does_not_serve(
    store: KeyStore, fake: FakeKms, state: str, said: str
) -> None:
    provider = store.open()
    provider.create_root(1)
    wrapped = provider.wrap(1, Secret(HALF), b"")
    fake.of(ALIAS).state = state
    assert cause(provider.unwrap, 1, wrapped, b"") == said
    assert cause(provider.wrap, 1, Secret(HALF), b"") == said
    assert cause(provider.probe, 1) == said
    fake.of(ALIAS).state = "Enabled"
    assert provider.unwrap(1, wrapped, b"").expose() == HALF


def test_the_fake_itself_opens_nothing_in_those_states(store: KeyStore, fake: FakeKms) -> None:
    """Behind the provider's own look, as a key may change between that and the call."""
    provider = store.open()
    assert isinstance(provider, awskms.AwsKmsProvider)
    provider.create_root(1)
    wrapped = provider.wrap(1, Secret(HALF), b"")
    provider._checked = lambda version, known: None  # type: ignore[method-assign]
    for state in ("Disabled", "PendingDeletion"):
        fake.of(ALIAS).state = state
        assert cause(provider.unwrap, 1, wrapped, b"") == "disabled"
        assert cause(provider.wrap, 1, Secret(HALF), b"") == "disabled"


@pytest.mark.parametrize("days", [7, 30])
def test_the_receipt_says_when_the_deletion_is_final(store: KeyStore, fake: FakeKms, days: int) -> None:
    provider = store.open(uri=f"{store.uri}&deletion_days={days}")
    provider.create_root(1)
    key = fake.of(ALIAS)
    receipt = provider.destroy_root(1)
    assert receipt.what == f"eu-central-1 {key.id}"
    assert receipt.final_at is not None
    assert abs(receipt.final_at / SECOND - time.time() - days * DAY_S) < 60
    assert provider.destroy_root(1) == receipt
    assert f"{days} days" in provider.destroy_means
    assert key.state == "PendingDeletion"
    key.deletion = time.time() - 1
    assert provider.destroy_root(1).final_at is None  # it is gone, and its alias with it
    assert fake.keys == {}


def test_a_key_that_is_not_ours_is_not_deleted(store: KeyStore, fake: FakeKms) -> None:
    fake.keys["theirs"] = Key("theirs", {"team": "payments"})
    fake.aliases[f"alias/{ALIAS}"] = "theirs"
    with pytest.raises(Misconfigured):
        store.open().destroy_root(1)
    assert fake.keys["theirs"].state == "Enabled"


@pytest.mark.parametrize(
    "wrong", [{"multi_region": True}, {"origin": "EXTERNAL"}, {"origin": "AWS_CLOUDHSM"}]
)
def test_keys_of_other_kinds_are_refused(store: KeyStore, fake: FakeKms, wrong: dict[str, object]) -> None:
    fake.keys["k"] = Key("k", {"coatcheck:root": "eu/coatcheck-eu/1"}, **wrong)  # type: ignore[arg-type]
    fake.aliases[f"alias/{ALIAS}"] = "k"
    for use in (store.open().probe, store.open().create_root):
        with pytest.raises(Misconfigured):
            use(1)


def test_a_root_made_again_while_its_deletion_is_pending_is_another(store: KeyStore, fake: FakeKms) -> None:
    provider = store.open()
    provider.create_root(1)
    first = fake.of(ALIAS)
    provider.destroy_root(1)
    provider.create_root(1)
    assert fake.of(ALIAS).id != first.id
    assert first.state == "PendingDeletion"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("ThrottlingException", 400, "throttled"),
        ("AccessDeniedException", 400, "denied"),
        ("ExpiredTokenException", 400, "denied"),
        ("KMSInternalException", 500, "failed"),
        ("SomethingNew", 500, "failed"),
        ("SomethingNew", 429, "throttled"),
        ("SomethingNew", 403, "denied"),
        ("DependencyTimeoutException", 503, "failed"),
    ],
)
def test_errors_have_causes(store: KeyStore, fake: FakeKms, code: str, status: int, said: str) -> None:
    provider = store.open()
    fake.error = (code, status)
    assert cause(provider.probe, 1) == said
    assert len(fake.calls) == 1  # the library tries nothing again by itself


def test_without_credentials_it_is_denied(
    store: KeyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "credentials").write_text("[default]\n")
    assert cause(store.open().probe, 1) == "denied"


def test_no_variable_names_another_endpoint(
    store: KeyStore, fake: FakeKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://192.0.2.1:1")
    store.open().create_root(1)
    assert "CreateKey" in fake.calls


def test_moto_is_too_lax_about_states_which_is_why_there_is_a_fake(tmp_path: Path) -> None:
    """If this fails, moto has become strict, and the fake has less to do."""
    with moto(tmp_path) as store:
        provider = store.open()
        assert isinstance(provider, awskms.AwsKmsProvider)
        provider.create_root(1)
        wrapped = provider.wrap(1, Secret(HALF), b"")
        provider.destroy_root(1)
        assert cause(provider.unwrap, 1, wrapped, b"") == "pending_deletion"  # by our own look at the state
        provider._checked = lambda version, known: None  # type: ignore[method-assign]
        assert provider.unwrap(1, wrapped, b"").expose() == HALF
        store.close()


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:", "awskms:eu/x", "awskms://eu-central-1/x", "awskms:///eu-central-1", "awskms:///eu/x/y",
        "awskms:///eu-central-1/x?deletion_days=6", "awskms:///eu-central-1/x?deletion_days=31",
        "awskms:///eu-central-1/x?deletion_days=0x7", "awskms:///eu-central-1/x?tls=off",
        "awskms://kms.example/eu-central-1/x?tls=off", "awskms://AKIA:secret@h/eu-central-1/x",
        "awskms:///eu-central-1/alias/x", "awskms:///eu-central-1/x?key=1",
    ],
)  # fmt: skip
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        check_uri(uri, set())
    assert refused.value.facts["setting"] == "kms"
    assert "AKIA" not in str(refused.value.facts)


def test_uris_that_are_taken() -> None:
    check_uri("awskms:///eu-central-1/coatcheck-eu?deletion_days=30", {"profile", "credentials", "ca"})
    check_uri("awskms://vpce-1.kms.eu-central-1.vpce.amazonaws.com/eu-central-1/coatcheck-eu", set())
    with pytest.raises(Misconfigured):
        check_uri("awskms:///eu-central-1/coatcheck-eu", {"pin"})
