"""Profiles: kept privately, below flags and the environment, and never on an argument list."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service, coatcheck_here, running
from vault.config.profiles import Profile, read_profiles, write_profiles

KEY = "ck_01EXAMPLE_canary7f3a91"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("profiles") / "deployment") as service:
        yield service


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}


def file_of(home: dict[str, str]) -> Path:
    return Path(home["HOME"]) / ".config" / "coatcheck" / "profiles.toml"


def test_a_service_by_its_name(service: Service, home: dict[str, str]) -> None:
    done = coatcheck_here(
        "profile",
        "set",
        "here",
        "--url",
        service.url,
        "--region",
        "eu",
        given=service.credential() + "\n",
        more=home,
    )
    assert done.returncode == 0, done.stderr
    assert service.credential() not in done.stdout + done.stderr
    assert file_of(home).stat().st_mode & 0o777 == 0o600
    assert file_of(home).parent.stat().st_mode & 0o777 == 0o700
    for more, arguments in ((home, ["--profile", "here"]), (home | {"COATCHECK_PROFILE": "here"}, [])):
        done = coatcheck_here("tokenize", "customer.ssn", *arguments, given="123-45-6789\n", more=more)
        assert done.returncode == 0, done.stderr
    [row] = json.loads(coatcheck_here("profile", "list", "--json", more=home).stdout)
    assert row == {"name": "here", "url": service.url, "region": "eu", "key": True, "session": False}


def test_flags_then_the_environment_then_the_profile(service: Service, home: dict[str, str]) -> None:
    coatcheck_here("profile", "set", "x", "--url", service.url, "--region", "us", given=KEY, more=home)
    right = service.credential(region="eu")
    (Path(home["HOME"]) / "key").write_text(right, encoding="utf-8")
    ask = ("tokenize", "customer.ssn", "--profile", "x")

    def code(*arguments: str, **more: str) -> str:
        done = coatcheck_here(*ask, *arguments, "--json", given="123-45-6789\n", more=home | more)
        return "done" if done.returncode == 0 else str(json.loads(done.stderr.splitlines()[0])["code"])

    assert code() == "credential_invalid"
    assert code(COATCHECK_KEY=right, COATCHECK_REGION="eu") == "done"
    assert code("--region", "eu", COATCHECK_KEY=right, COATCHECK_REGION="mars") == "done"
    assert code("--key", right, "--region", "eu", COATCHECK_KEY="ck_wrong") == "done"
    key_file = str(Path(home["HOME"]) / "key")
    assert code("--key-file", key_file, "--region", "eu", COATCHECK_KEY="ck_wrong") == "done"
    assert code("--url", "http://127.0.0.1:1") == "service_unreachable"
    assert code(COATCHECK_URL="http://127.0.0.1:1") == "service_unreachable"


def test_a_host_that_is_named_goes_before_a_profile_that_is_not(
    service: Service, home: dict[str, str], tmp_path: Path
) -> None:
    coatcheck_here("profile", "set", "x", "--url", service.url, given=KEY, more=home)
    more = home | {"COATCHECK_PROFILE": "x"}
    done = coatcheck_here("audit", "tail", "--config", service.folder, "--region", "eu", more=more)
    assert done.returncode == 0, done.stderr
    done = coatcheck_here("audit", "tail", "--config", service.folder, "--profile", "x", more=home)
    assert "missing: --region" in done.stderr


def test_settings_change_one_by_one(home: dict[str, str]) -> None:
    steps: list[tuple[list[str], str]] = [
        (["--url", "https://a.example"], KEY),
        (["--region", "eu", "--timeout", "2.5"], ""),
        (["--ca", "ca.pem"], "\n"),
    ]
    for arguments, given in steps:
        assert coatcheck_here("profile", "set", "x", *arguments, given=given, more=home).returncode == 0
    assert read_profiles(file_of(home)) == {
        "x": Profile("https://a.example", "eu", KEY, str(Path("ca.pem").absolute()), 2.5)
    }
    coatcheck_here("profile", "set", "x", given="ck_other", more=home | {"COATCHECK_REGION": "us"})
    assert read_profiles(file_of(home))["x"].key == "ck_other"
    assert read_profiles(file_of(home))["x"].region == "eu"  # the environment is not meant to be kept
    assert coatcheck_here("profile", "remove", "x", more=home).returncode == 0
    assert read_profiles(file_of(home)) == {}
    assert coatcheck_here("profile", "remove", "x", more=home).returncode == 6


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o777])
def test_a_file_that_others_may_read_is_refused(home: dict[str, str], mode: int) -> None:
    coatcheck_here("profile", "set", "x", "--url", "https://a.example", given=KEY, more=home)
    file_of(home).chmod(mode)
    for arguments in (["profile", "list"], ["profile", "set", "y"], ["grant", "list", "--profile", "x"]):
        done = coatcheck_here(*arguments, more=home)
        assert done.returncode == 11
        assert "host_permissions" in done.stderr
        assert "needs: 0600" in done.stderr
        assert "canary" not in done.stdout + done.stderr


HOSTILE = [
    b"nonsense canary7f3a91",
    b'[profile.x]\nkey = "canary7f3a91',
    b'[profile.x]\ncanary7f3a91 = "x"',
    b'[profile]\nx = "canary7f3a91"',
    b'profile = "canary7f3a91"',
    b'[profile.x]\nkey = ["canary7f3a91"]',
    b'[profile.x]\ntimeout = "canary7f3a91"',
    b"\xff\xfe",
    b"x = " + b"[" * 20_000,
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_file_that_is_none(home: dict[str, str], content: bytes) -> None:
    path = file_of(home)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.chmod(0o600)
    done = coatcheck_here("grant", "list", "--profile", "x", more=home)
    assert done.returncode == 11
    assert "config_invalid" in done.stderr
    assert "canary7f3a91" not in done.stderr.replace("setting: profile.x.canary7f3a91", "")


@pytest.mark.parametrize("name", ["", "A B", "../x", "x" * 200, "é", "x\n"])
def test_a_name_that_is_none(home: dict[str, str], name: str) -> None:
    assert coatcheck_here("profile", "set", name, given=KEY, more=home).returncode == 2
    assert not file_of(home).exists()


def test_a_profile_that_is_not_there(home: dict[str, str]) -> None:
    done = coatcheck_here("grant", "list", "--profile", "x", more=home)
    assert done.returncode == 11
    assert "there is no such profile" in done.stderr


def test_there_is_no_option_for_the_credential(home: dict[str, str]) -> None:
    done = coatcheck_here("profile", "set", "x", "--key", KEY, more=home)
    assert done.returncode == 2
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    "text", ['a"b', "a\\b", "a\nb", "a\x7fb", "é\u202e", "\x00", "'''", "a\tb", "\U0001f600"]
)
def test_what_is_written_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "folder" / "profiles.toml"
    profiles = {"x": Profile(text, text, text, text, 1.0), "y.z": Profile()}
    write_profiles(path, profiles)
    assert read_profiles(path) == profiles
    assert text not in repr(profiles)
    assert not path.with_name("profiles.toml.new").exists()


def test_a_folder_of_ones_own(home: dict[str, str], tmp_path: Path) -> None:
    more = home | {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    coatcheck_here("profile", "set", "x", "--url", "https://a.example", given="", more=more)
    assert (tmp_path / "xdg" / "coatcheck" / "profiles.toml").exists()
    assert os.listdir(tmp_path) == ["xdg"]
