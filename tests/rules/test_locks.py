"""What is installed is pinned by hash, says nothing of where it was fetched, and is one set of versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-recipes.lock", "requirements-dev.lock")
PIN = re.compile(r"([a-z0-9][a-z0-9-]*)==([^\s;]+)(?: ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
COMMENT = re.compile(r" *#[^\n]*\n")


def pins(text: str) -> dict[str, str]:
    """The versions of a lock, by name.

    Raises:
        ValueError: a line that is neither a comment nor a version with its hashes.
    """
    found = {}
    rest = COMMENT.sub("", text)
    while rest:
        pin = PIN.match(rest)
        if pin is None:
            raise ValueError(f"not a version with its hashes: {rest.partition(chr(10))[0]}")
        if pin[1] in found:
            raise ValueError(f"twice: {pin[1]}")
        found[pin[1]] = pin[2]
        rest = rest[pin.end() :]
    return found


def places(text: str) -> list[str]:
    """What in a lock names a host, a path or an index."""
    return re.findall(
        r"(?i)(?:--(?!hash=)[a-z-]+|[a-z]+://|file:| @ |(?<!\w)/[a-z]+/|\.(?:com|org|net|io)\b)", text
    )


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def wanted(*groups: str) -> list[Requirement]:
    """The direct dependencies that pyproject.toml names: those of the package, then of the groups."""
    project = tomllib.loads(read("pyproject.toml"))
    named = list(project["project"]["dependencies"])
    for group in groups:
        named += project["dependency-groups"][group]
    return [Requirement(text) for text in named]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_version_has_hashes(lock: str) -> None:
    assert len(pins(read(lock))) > 5


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_says_where_things_were_fetched(lock: str) -> None:
    assert places(read(lock)) == []


@pytest.mark.parametrize(
    ("lock", "requirement"),
    [
        *(("requirements.lock", requirement) for requirement in wanted()),
        *(("requirements-dev.lock", requirement) for requirement in wanted("dev")),
        *(("requirements-recipes.lock", requirement) for requirement in wanted("recipes")),
    ],
    ids=str,
)
def test_a_direct_dependency_is_locked_within_its_bounds(lock: str, requirement: Requirement) -> None:
    locked = pins(read(lock))
    assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_the_build_is_locked() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    locked = pins(read("requirements-build.lock"))
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
    assert "editables" in locked


def test_the_locks_agree() -> None:
    everything = pins(read("requirements-dev.lock"))
    for lock in LOCKS[:-1]:
        for name, version in pins(read(lock)).items():
            apart = lock == "requirements-recipes.lock"  # the frameworks are nowhere else
            pinned = everything.get(name, version if apart else None)
            assert pinned == version, f"{lock} and requirements-dev.lock differ on {name}"


HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "click==8.1.0\n",
        "click>=8.1.0 \\\n    " + HASH + "\n",
        "click==8.1.0 \\\n    --hash=md5:" + "0" * 32 + "\n",
        "click==8.1.0 \\\n    " + HASH[:-1] + "\n",
        "-e .\n",
        "click==8.1.0 \\\n    " + HASH + "\nanyio==4.0\n",
        2 * ("click==8.1.0 \\\n    " + HASH + "\n"),
    ],
)
def test_a_version_without_hashes_is_found(text: str) -> None:
    assert pins(f"click==8.1.0 ; sys_platform == 'win32' \\\n    {HASH} \\\n    {HASH}\n    # via x\n")
    with pytest.raises(ValueError, match=r"not a version|twice"):
        pins(text)


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://packages.example/simple\n",
        "--extra-index-url x\n",
        "--find-links wheels\n",
        "click @ file:wheels/click.whl\n",
        "# from packages.example.com\n",
        "click @ git+ssh://git@example/click\n",
        "# via /opt/wheels/click\n",
    ],
)
def test_a_place_is_found(text: str) -> None:
    assert places(text)
