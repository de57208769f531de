"""`make run` in a fresh checkout prints requests; pasted as they stand, they do what they say.

The checkout is a copy of the tracked files with this environment's interpreter, so that nothing is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.service import PATIENCE_S, ROOT, environment, free_port

TOOLS = ("bash", "sh", "make", "env", "tee", "sed", "uname", "cat")
SSN = "123-45-6789"

pytestmark = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("git") and (ROOT / ".git").exists()),
    reason="needs make, git and a checkout",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, beside this environment."""
    folder = tmp_path_factory.mktemp("make") / "coatcheck"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if not (ROOT / name).is_file():
            continue  # removed, and that is not committed yet
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
        os.utime(folder / name, (0, 0))  # older than the environment, which make would otherwise fill again
    environment_ = Path(sys.prefix)
    if not (environment_ / ".installed-run").exists():
        pytest.skip("needs the environment that `make test` makes")
    (folder / ".venv").symlink_to(environment_)
    return folder


@pytest.fixture(scope="module")
def without_curl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs for PATH, without curl."""
    folder = tmp_path_factory.mktemp("bin")
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    (folder / "python3").symlink_to(sys.executable)
    return folder


@contextmanager
def made_run(checkout: Path, path: str) -> Iterator[str]:
    """`make run`, until it has printed what to paste; gives what it printed."""
    variables = environment({"COATCHECK_PORT": str(free_port()), "PYTHONPATH": str(checkout), "PATH": path})
    printed = checkout / "printed"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=checkout,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while "# 3. " not in printed.read_text(encoding="utf-8"):
            assert process.poll() is None, printed.read_text(encoding="utf-8")
            assert time.monotonic() < end, printed.read_text(encoding="utf-8")
            time.sleep(0.05)
        yield printed.read_text(encoding="utf-8")
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        process.wait(PATIENCE_S)
        assert "Traceback" not in printed.read_text(encoding="utf-8")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def paste(checkout: Path, path: str, commands: str) -> tuple[str, str]:
    """What a shell in the checkout prints: on standard output and on standard error."""
    done = subprocess.run(
        ["bash"],
        input=commands,
        cwd=checkout,
        env=environment({"PATH": path, "PYTHONPATH": str(checkout)}),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def commands_of(printed: str) -> str:
    """What is to be pasted."""
    return printed.partition("Paste into another terminal, in this folder:\n")[2]


def for_region(commands: str, region: str) -> str:
    """The same for another region."""
    return commands.replace("/v1/eu/", f"/v1/{region}/").replace("['eu']", f"['{region}']").replace(
        "COATCHECK_REGION=eu", f"COATCHECK_REGION={region}"
    )  # fmt: skip


def test_with_curl(checkout: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    path = os.environ["PATH"]
    with made_run(checkout, path) as printed:
        assert "(regions: eu, us; credentials: var/dev-credentials.json)" in printed
        commands = commands_of(printed)
        last = commands[commands.index("curl -s", commands.index("# 3.")) :]
        for region in ("eu", "us"):
            out, err = paste(checkout, path, for_region(commands + last, region))
            shown, refused = [json.loads(line) for line in out.splitlines() if line]
            made, grant = [json.loads(line) for line in re.sub(r"}{", "}\n{", err).splitlines() if line]
            assert re.fullmatch(r"\d{3}-\d{2}-\d{4}", made["tokens"][0])
            assert made["tokens"] != [SSN]
            assert grant["uses_left"] == 1
            assert shown["items"] == [{"value": SSN}]
            assert shown["grant"] == {"id": grant["id"], "uses_left": 0}
            assert refused["code"] == "budget_exhausted"


def test_without_curl(checkout: Path, without_curl: Path) -> None:
    path = str(without_curl)
    with made_run(checkout, path) as printed:
        commands = commands_of(printed)
        assert "curl" not in printed
        assert ".venv/bin/coatcheck tokenize customer.ssn" in commands
        last = commands[commands.index("echo $TOKEN", commands.index("# 3.")) :]
        for region in ("eu", "us"):
            out, err = paste(checkout, path, for_region(commands + last, region))
            token, credential, value = out.splitlines()
            assert re.fullmatch(r"\d{3}-\d{2}-\d{4}", token)
            assert credential.startswith("cg_")
            assert value == SSN
            assert token != SSN
            assert "uses left 0" in err
            assert "coatcheck: budget_exhausted: " in err
