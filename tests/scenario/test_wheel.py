"""The wheel is complete: installed alone, away from the checkout, it sets up a cell and serves it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from vault import __version__

ROOT = Path(__file__).resolve().parents[2]
START_S = 30
STOP_S = 15
FIELD = "customer.ssn"
VALUE = "512-64-3917"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment's bin folder: coatcheck from the wheel, its dependencies from this environment.

    The dependencies are a line in a .pth file. Paths that come in so are not searched for .pth files of
    their own, so the editable install of the checkout stays behind.
    """
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    borrowed = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that has nothing to do with the checkout."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def environment(folder: Path, port: int = 0) -> dict[str, str]:
    """An environment with nothing of ours in it but the port."""
    return {"PATH": os.defpath, "HOME": str(folder), "LANG": "C.UTF-8", "COATCHECK_PORT": str(port)}


def run(installed: Path, folder: Path, *arguments: str, port: int = 0) -> str:
    """Standard output of a command of the fresh environment, which must end with 0."""
    done = subprocess.run(
        [installed / arguments[0], *arguments[1:]],
        cwd=folder,
        env=environment(folder, port),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_the_wheel_holds_what_it_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (
            archive.read(name).decode() for name in names if name.endswith("/entry_points.txt")
        )
        (license_,) = (archive.read(name) for name in names if name.endswith("/licenses/LICENSE"))
    assert "vault/py.typed" in names
    assert "vault/migrations/env.py" in names
    assert [name for name in names if name.startswith("vault/migrations/versions/") and name.endswith(".py")]
    assert {name.partition("/")[0] for name in names} == {"vault", f"coatcheck-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))]
    assert "coatcheck = vault.__main__:main" in entry_points
    assert license_ == (ROOT / "LICENSE").read_bytes()


def test_the_package_comes_from_the_wheel(installed: Path, elsewhere: Path) -> None:
    where = run(installed, elsewhere, "python", "-c", "import vault; print(vault.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)


def test_it_tells_its_version(installed: Path, elsewhere: Path) -> None:
    assert __version__ in run(installed, elsewhere, "coatcheck", "version")


@pytest.fixture
def service(installed: Path, elsewhere: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A development cell that is being served, and its folder."""
    port, cell = free_port(), elsewhere / "cell"
    run(installed, elsewhere, "coatcheck", "init", "--dev", str(cell), port=port)
    with subprocess.Popen(
        [installed / "coatcheck", "serve", "--config", str(cell / "coatcheck.toml")],
        cwd=elsewhere,
        env=environment(elsewhere, port),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until = time.monotonic() + START_S
            while True:
                try:
                    assert httpx.get(f"http://127.0.0.1:{port}/livez").is_success
                    break
                except httpx.TransportError:
                    assert process.poll() is None, process.communicate()[0]
                    assert time.monotonic() < until, "the service did not answer in time"
                    time.sleep(0.1)
            yield process, cell
        finally:
            process.kill()


def test_it_serves_a_cell_and_stops_when_told_to(service: tuple[subprocess.Popen[str], Path]) -> None:
    process, cell = service
    known = json.loads((cell / "dev-credentials.json").read_text(encoding="utf-8"))

    def post(route: str, credential: str, body: dict[str, object]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {credential}"}
        answer = httpx.post(f"{known['url']}/v1/eu/{route}", headers=headers, json=body)
        assert answer.is_success, answer.text
        result: dict[str, Any] = answer.json()
        return result

    key = known["regions"]["eu"]["service_key"]
    made = post("tokenize", key, {"field": FIELD, "values": [VALUE]})
    (token,) = made["tokens"]
    assert token != VALUE
    assert len(token) == len(VALUE)

    scope = [{"fields": [FIELD], "operations": ["reveal"], "delivery": ["plain"]}]
    asked = {"agent": known["agent"], "purpose": known["purpose"], "limits": {"uses": 1}, "scope": scope}
    grant = post("grants", key, asked)
    item = {"field": FIELD, "token": token, "key_version": made["key_version"]}
    shown = post("detokenize", grant["credential"], {"purpose": known["purpose"], "items": [item]})
    assert shown["items"] == [{"value": VALUE}]
    assert shown["grant"]["uses_left"] == 0

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=STOP_S)
    assert process.returncode in (0, -signal.SIGTERM), output
    assert "Traceback" not in output
    assert VALUE not in output
    assert token not in output
    assert grant["credential"] not in output
