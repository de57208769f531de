"""Operators on the command line: made on the host, signed in over HTTP, and out again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.operators import PASSWORD, STEP_S, Device
from tests.support.service import Service, coatcheck_here, initialise
from vault.cli.templates import PRODUCTION


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("operators") / "deployment"
    folder.mkdir()
    initialise(folder)
    password(folder)
    made = host(folder, "create", "ada", "--role", "admin", "--password-file", folder / "password")
    assert made["name"] == "operator:ada"
    served = Service(folder)
    try:
        served.start()
        yield served
    finally:
        served.kill()


def password(folder: Path, text: str = PASSWORD) -> Path:
    """A file with a password."""
    path = folder / "password"
    path.write_text(text + "\n", encoding="utf-8")
    return path


def host(folder: Path, verb: str, *arguments: str | Path) -> Any:
    """The answer of a verb on the host."""
    done = coatcheck_here(
        "operator", verb, *arguments, "--config", folder, "--region", "eu", "--json", "--yes"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path, service: Service) -> dict[str, str]:
    """The environment of somebody with a profile for the service."""
    more = {"XDG_CONFIG_HOME": str(tmp_path), "COATCHECK_PROFILE": "eu"}
    done = coatcheck_here("profile", "set", "eu", "--url", service.url, "--region", "eu", more=more)
    assert done.returncode == 0, done.stderr
    return more


def profile(home: dict[str, str]) -> Path:
    return Path(home["XDG_CONFIG_HOME"]) / "coatcheck" / "profiles.toml"


def test_in_and_out(service: Service, home: dict[str, str]) -> None:
    file = service.folder / "password"
    done = coatcheck_here("login", "--name", "ada", "--password-file", file, "--json", given="\n", more=home)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["enrol"] is True
    assert "credential" not in shown
    assert "--enrol" in done.stderr
    kept = profile(home).read_text()
    assert 'session = "cs_' in kept
    assert profile(home).stat().st_mode & 0o777 == 0o600
    session = kept.partition('session = "')[2].partition('"')[0]
    who = json.loads(coatcheck_here("whoami", "--json", more=home).stdout)
    assert (who["name"], who["key"]) == ("operator:ada", session.rpartition("_")[0])
    # What is administrative waits for a second factor.
    refused = coatcheck_here("principal", "create", "service", "a", more=home)
    assert refused.returncode == 4
    assert "insufficient_user_authentication" in refused.stderr
    device = Device(service.call("POST", "self/totp", key=session).json()["secret"])
    step = int(time.time()) // STEP_S
    service.call("POST", "self/totp/confirm", {"code": device.at(step - 1)}, key=session)
    assert coatcheck_here("principal", "create", "service", "a", more=home).returncode == 0
    stepped = coatcheck_here("login", "--step-up", "--json", given=device.at(step) + "\n", more=home)
    assert stepped.returncode == 0, stepped.stderr
    assert json.loads(stepped.stdout)["mfa"] == "totp"
    done = coatcheck_here("logout", more=home)
    assert (done.returncode, done.stdout) == (0, "")
    assert "cs_" not in profile(home).read_text()
    assert service.call("GET", "whoami", key=session).code == "credential_invalid"
    assert coatcheck_here("logout", more=home).returncode == 2
    # Without the code nobody gets in any more; the host takes the device away.
    again = ("login", "--name", "ada", "--password-file", file)
    assert coatcheck_here(*again, given="\n", more=home).returncode == 4
    in_with_code = coatcheck_here(*again, given=device.at(step + 1) + "\n", more=home)
    assert in_with_code.returncode == 0, in_with_code.stderr


def test_a_device_from_the_command_line(service: Service, home: dict[str, str]) -> None:
    """`login --enrol` shows the secret, then waits for a code of it; a wrong one changes nothing."""
    service.stop()
    host(service.folder, "create", "grace", "--password-file", service.folder / "password")
    service.start()
    done = coatcheck_here(
        "login", "--name", "grace", "--password-file", service.folder / "password", "--enrol", "--json",
        given="\nwrong\n", more={**home, "COATCHECK_URL": service.url},
    )  # fmt: skip
    assert done.returncode == 3
    assert "code_invalid" in done.stderr
    assert '"uri": "otpauth://totp/' in done.stdout
    who = coatcheck_here("whoami", "--json", more={**home, "COATCHECK_URL": service.url})
    assert "mfa" not in json.loads(who.stdout)


def test_a_session_is_kept_in_a_profile_or_nowhere(service: Service) -> None:
    done = coatcheck_here("login", "--url", service.url, "--region", "eu", "--name", "ada")
    assert done.returncode == 2
    assert "--profile" in done.stderr


def test_without_a_terminal_a_password_is_a_file(service: Service, home: dict[str, str]) -> None:
    done = coatcheck_here("login", "--name", "ada", more=home)
    assert done.returncode == 2
    assert "--password-file" in done.stderr
    done = coatcheck_here("login", "--name", "ada", "--password-file", service.folder / "absent", more=home)
    assert done.returncode == 11


def test_the_host_lists_resets_and_refuses(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    folder.mkdir()
    initialise(folder)
    host(folder, "create", "ada", "--role", "auditor", "--password-file", password(folder))
    rows = {row["name"]: row for row in host(folder, "list")}
    assert rows["operator:ada"]["roles"] == ["auditor"]
    assert rows["operator:ada"]["password"]
    assert "password" not in rows["operator:admin"]  # it has a service key
    file = password(folder, "quartz meadow thimble")
    reset = host(folder, "reset-mfa", "ada", "--password-file", file)
    assert reset == {"id": rows["operator:ada"]["id"], "name": "operator:ada", "password": True}
    short = tmp_path / "short"
    short.write_text("short", encoding="utf-8")
    for arguments, code in (
        (("create", "ada", "--password-file", file), 7),
        (("create", "eve", "--password-file", short), 3),
        (("create", "eve"), 2),
        (("reset-mfa", "eve"), 6),
    ):
        done = coatcheck_here("operator", *arguments, "--config", folder, "--region", "eu", "--yes")
        assert done.returncode == code, done.stderr
    asked = coatcheck_here("operator", "reset-mfa", "ada", "--config", folder, "--region", "eu")
    assert asked.returncode == 2  # it asks, and nobody answers
    shown = coatcheck_here("audit", "tail", "--json", "--config", folder, "--region", "eu")
    assert '"operator.reset-mfa"' in shown.stdout
    assert "host:" in shown.stdout


def test_init_makes_the_first_operator(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    folder.mkdir()
    (folder / "passphrase").write_text("walnut", encoding="utf-8")
    file = password(folder)
    command = (
        "init", folder, "--passphrase-file", "passphrase", "--operator", "ada", "--password-file", file,
    )  # fmt: skip
    for _ in range(2):  # the second time it is there, and kept
        done = coatcheck_here(*command)
        assert done.returncode == 0, done.stderr
    assert 'admin = "operators"' in PRODUCTION
    [row] = host(folder, "list")
    assert (row["name"], row["roles"]) == ("operator:ada", ["admin", "cell-admin"])
    alone = coatcheck_here("init", tmp_path / "other", "--operator", "ada", "--passphrase-file", "x")
    assert alone.returncode in (2, 11)
    assert not list((tmp_path / "other").glob("*.db"))
