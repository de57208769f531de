"""Settings of key stores: what is taken, what is refused and named, and that secrets stay where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vault import extras
from vault.cli.config import source_of
from vault.config import assemble
from vault.config.keystores import credentials_of, files, given, guard_limits
from vault.config.settings import Config
from vault.errors import Misconfigured
from vault.kms.guard import LOCAL_DEADLINE_S
from vault.kms.provider import DEADLINE_S, ProviderSettings
from vault.kms.registry import open_provider

TRANSIT = "transit://hv.internal:8200/transit/coatcheck-eu?auth=approle"
APPROLE = {"role_id": "r", "secret_id_file": "secret-id"}
PIN = "pkcs11:token=a;object=b?module-path=/usr/lib/p11.so"


def read(kms: str, auth: dict[str, Any] | None = None, **cell: Any) -> tuple[Config | None, dict[str, str]]:
    """The settings of a cell with that key store, and what is wrong with them, by setting."""
    table = {"database": "sqlite:///eu.db", "kms": kms, "half_stores": ["halves"], **cell}
    if auth is not None:
        table["kms_auth"] = auth
    found = assemble({"cell": {"eu": table}}, {}, Path("base"))
    return found.config, {
        problem.setting.removeprefix("cell.eu."): problem.reason for problem in found.problems
    }


@pytest.mark.parametrize(
    ("kms", "auth"),
    [
        (TRANSIT, APPROLE),
        (TRANSIT, {"role_id": "r", "secret_id": "env:SECRET_ID", "mount": "roles", "ca": "ca.pem"}),
        ("transit://hv.internal/transit/eu", {"token_file": "token"}),
        ("transit://hv.internal/transit/eu?auth=kubernetes", {"role": "coatcheck"}),
        ("awskms:///eu-central-1/coatcheck-eu?deletion_days=14", None),
        ("awskms:///eu-central-1/coatcheck-eu", {"profile": "p", "credentials_file": "aws"}),
        (f"{PIN}&pin-source=file:/run/pin", None),
        (PIN, {"pin_file": "pin"}),
        ("local:keys/eu", None),
    ],
)
def test_what_is_taken(kms: str, auth: dict[str, Any] | None) -> None:
    assert read(kms, auth)[1] == {}


@pytest.mark.parametrize(
    ("kms", "auth", "setting", "reason"),
    [
        ("gcpkms://x", None, "kms", "has no scheme of these: awskms, local, pkcs11, transit"),
        ("transit://u:p@h/transit/k", {"token_file": "t"}, "kms", "secrets stand in files"),
        ("transit://h/transit/k", {"token": "hvs.CAESI"}, "kms_auth.token", "never the token itself"),
        (
            TRANSIT,
            {**APPROLE, "token_file": "x"},
            "kms_auth.token",
            "is not used by transit with auth=approle",
        ),
        (TRANSIT, {**APPROLE, "secret_id": "env:X"}, "kms_auth.secret_id", "goes with no secret_id_file"),
        (TRANSIT, {**APPROLE, "pin_file": "x"}, "kms_auth.pin", "is not used by transit with auth=approle"),
        (TRANSIT, {**APPROLE, "secretid": "x"}, "kms_auth.secretid", "is unknown; near: secret_id"),
        ("local:keys/eu", {"token_file": "x"}, "kms_auth", "takes none of them"),
        (f"{PIN}&pin-value=4711", None, "kms", "has a PIN in it"),
        (PIN, None, "kms", "goes with one of pin-source and kms_auth.pin"),
        ("awskms:///eu-central-1/x?deletion_days=3", None, "kms", "from 7 to 30"),
    ],
)
def test_what_is_refused(kms: str, auth: dict[str, Any] | None, setting: str, reason: str) -> None:
    problems = read(kms, auth)[1]
    assert reason in problems[setting]
    for secret in ("hvs.CAESI", "4711", "u:p"):
        assert secret not in str(problems)


@pytest.mark.parametrize(
    ("name", "value"),
    [("deadline_ms", -1), ("attempts", 0), ("failures", 0), ("open_ms", 99), ("probe_s", 0), ("hold_s", -1)],
)
def test_bounds_have_bounds(name: str, value: int) -> None:
    assert set(read("local:keys/eu", kms_limits={name: value})[1]) == {f"kms_limits.{name}"}


def test_without_settings_the_bounds_are_those_of_the_reference() -> None:
    config, _ = read("local:keys/eu")
    assert config is not None
    limits = config.cell["eu"].kms_limits
    assert guard_limits(limits, local=False).deadline_s == DEADLINE_S
    assert guard_limits(limits, local=True).deadline_s == LOCAL_DEADLINE_S
    config, _ = read("local:keys/eu", kms_limits={"deadline_ms": 250, "open_ms": 500, "attempts": 2})
    assert config is not None
    for local in (False, True):
        found = guard_limits(config.cell["eu"].kms_limits, local=local)
        assert (found.deadline_s, found.open_s, found.attempts) == (0.25, 0.5, 2)


def test_files_are_read_when_they_are_needed_and_variables_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = read(TRANSIT, {**APPROLE, "ca": "ca.pem"})
    assert config is not None
    auth = config.cell["eu"].kms_auth
    found = credentials_of(auth, "eu", tmp_path, TRANSIT)
    assert (found.name("role_id"), found.path("ca")) == ("r", str(tmp_path / "ca.pem"))
    assert found.given == given(auth) == {"role_id", "secret_id", "ca"}
    assert files(auth) == ["secret-id"]
    with pytest.raises(Misconfigured, match="host_permissions"):
        found.secret("secret_id")
    for content in (b"one\n", b"two\r\n"):
        (tmp_path / "secret-id").write_bytes(content)
        assert found.secret("secret_id").expose() == content.strip()
    for content in (b"", b"\n", b"x" * 70_000):
        (tmp_path / "secret-id").write_bytes(content)
        with pytest.raises(Misconfigured, match="config_invalid"):
            found.secret("secret_id")
    with pytest.raises(Misconfigured, match="config_invalid"):
        found.secret("pin")
    config, _ = read(TRANSIT, {"role_id": "r", "secret_id": "env:SOME_ID"})
    assert config is not None
    with pytest.raises(Misconfigured, match="config_invalid"):
        credentials_of(config.cell["eu"].kms_auth, "eu", tmp_path, TRANSIT)
    monkeypatch.setenv("SOME_ID", "three")
    found = credentials_of(config.cell["eu"].kms_auth, "eu", tmp_path, TRANSIT)
    assert found.secret("secret_id").expose() == b"three"
    assert "three" not in repr(found)


def test_it_is_shown_where_each_comes_from() -> None:
    table = {"database": "sqlite:///eu.db", "kms": TRANSIT, "half_stores": ["halves"], "kms_auth": APPROLE}
    found = assemble({"cell": {"eu.west": table}}, {"COATCHECK_CELL__US__KMS_LIMITS__ATTEMPTS": "2"}, Path())
    assert source_of("cell.eu.west.kms_auth.role_id", found) == "file"
    assert source_of("cell.eu.west.kms_auth.role", found) == "default"
    assert source_of("cell.eu.west.kms", found) == "file"
    assert source_of("cell.eu.west.kms_limits.attempts", found) == "default"
    assert source_of("cell.us.kms_limits.attempts", found) == "COATCHECK_CELL__US__KMS_LIMITS__ATTEMPTS"


def test_a_pod_has_its_token_where_kubernetes_puts_it(tmp_path: Path) -> None:
    uri = "transit://h/transit/k?auth=kubernetes"
    assert "jwt" in credentials_of(None, "eu", tmp_path, uri).secrets
    assert credentials_of(None, "eu", tmp_path, "awskms:///eu-central-1/x").given == frozenset()


@pytest.mark.parametrize(
    ("uri", "extra"),
    [("awskms:///eu-central-1/x", "aws"), (f"{PIN}&pin-source=/run/pin", "hsm")],
)
def test_what_is_not_installed_is_named(uri: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name=name)

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(Misconfigured) as refused:
        open_provider(uri, ProviderSettings("eu", Path(), None, None))
    assert (refused.value.code, refused.value.facts) == ("extra_missing", {"extra": extra})
