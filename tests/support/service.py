"""The service as its users meet it: `coatcheck serve` as a process on a development deployment, and HTTP.

with running(tmp_path / "deployment") as service:
    answer = service.call("POST", "tokenize", {"field": "customer.ssn", "values": ["123-45-6789"]})
    assert answer.status == 200
"""

from __future__ import annotations

import atexit
import http.client
import io
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import vault.__main__  # noqa: F401 - adds `serve` to the command line
from tests.support.nursery import ROOT as ROOT
from tests.support.nursery import RUN, Child, Streams, nursery
from vault.cli.main import run

COATCHECK: Final = (sys.executable, "-m", "vault")
HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 60.0  # nothing here is waited for longer; no test is about how long it takes
ADDRESS_IN_USE: Final = 9


class Answer(NamedTuple):
    """An HTTP answer: its status, its headers as they came (names in lower case), its body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The one header of that name; None without it.

        Raises:
            AssertionError: it came more than once.
        """
        found = [value for other, value in self.headers if other == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.json()["code"])


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of Coatcheck, and with some more."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COATCHECK_")}
    return plain | dict(more or {})


def coatcheck(
    *arguments: str | Path,
    given: str | bytes | None = None,
    more: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Runs `coatcheck` to its end; without input, standard input is empty and no terminal.

    Args:
        cwd: the folder with the program; another one than this is started there, not forked.
    """
    words = [str(argument) for argument in arguments]
    variables = environment({"PYTHONPATH": str(cwd)} | dict(more or {}))
    if cwd == ROOT:
        return run_forked(RUN, [words], variables, given)
    return subprocess.run(
        [*COATCHECK, *words],
        cwd=cwd,
        env=variables,
        input=given.decode() if isinstance(given, bytes) else given or "",
        text=True,
        capture_output=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def begun(folder: Path, *arguments: str | Path, more: Mapping[str, str] | None = None) -> Child:
    """`coatcheck`, not waited for; its outputs are in the files `stdout` and `stderr` of a folder."""
    words = [str(argument) for argument in arguments]
    return nursery().fork(RUN, [words], environment(more), ROOT, Streams.into(folder))


def run_forked(
    function: str, arguments: Sequence[Any], variables: Mapping[str, str], given: str | bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Calls a function in a process of its own and waits for its end; arguments as for `Nursery.fork`."""
    with tempfile.TemporaryDirectory(prefix="run-") as name:
        streams = Streams(*(Path(name) / part for part in ("given", "out", "err")))
        streams.given.write_bytes(given.encode() if isinstance(given, str) else given or b"")
        child = nursery().fork(function, arguments, variables, ROOT, streams)
        try:
            code = child.wait(2 * PATIENCE_S)
        finally:
            child.kill_late()
        out, err = (path.read_text(encoding="utf-8") for path in streams[1:])
        return subprocess.CompletedProcess(list(arguments), code, out, err)


def coatcheck_here(
    *arguments: str | Path, given: str | bytes = "", more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `coatcheck` to its end inside this process, which is quicker by the time that importing takes."""
    raw = given.encode() if isinstance(given, str) else given
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"),
        "stdout": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True),
        "stderr": io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True),
    }
    words = [str(argument) for argument in arguments]
    code: Any = 0
    with ExitStack() as patches:
        patches.enter_context(mock.patch.dict(os.environ, environment(more), clear=True))
        for name, stream in streams.items():
            patches.enter_context(mock.patch.object(sys, name, stream))
        try:
            run(words)
        except SystemExit as end:
            code = end.code
    out, err = (streams[name].buffer.getvalue().decode() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, code or 0, out, err)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """The next answer on a connection.

    Raises:
        http.client.HTTPException, OSError: the connection ended before it was whole.
    """
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    headers = [(name.lower(), value) for name, value in response.getheaders()]
    return Answer(response.status, headers, body)


@dataclass
class Service:
    """A deployment and, while it runs, the process that serves it.

    Attributes:
        folder: holds coatcheck.toml, databases, keys, dev-credentials.json, `stdout` and `stderr`.
        settings: environment variables of the process, such as `COATCHECK_LOG__LEVEL`.
        ca: the authority that its certificate is of; None: it speaks plain HTTP.
        program: the folder with the program, another one than this perhaps.
        anew: the program is started as an operator does it, which takes seconds; else it is forked.
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | Child | None = None
    ca: Path | None = None
    program: Path = ROOT
    anew: bool = False

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http{'' if self.ca is None else 's'}://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def credential(self, name: str = "service_key", region: str = "eu") -> str:
        """A credential of dev-credentials.json: `service_key` or `admin_key`."""
        document = json.loads((self.folder / "dev-credentials.json").read_bytes())
        return str(document["regions"][region][name])

    def spawn(self) -> subprocess.Popen[bytes] | Child:
        """Starts the process, without waiting for it."""
        self.port = free_port()
        words = ["serve", "--config", str(self.folder)]
        variables = environment(
            {"COATCHECK_PORT": str(self.port), "PYTHONPATH": str(self.program)} | self.settings
        )
        if self.program == ROOT and not self.anew:
            streams = Streams.into(self.folder)
            self.process = nursery().fork(RUN, [words], variables, ROOT, streams)
            return self.process
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            self.process = subprocess.Popen(
                [*COATCHECK, *words],
                cwd=self.program,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        return self.process

    def start(self) -> None:
        """Starts the process and waits until it answers; takes another port when one is taken."""
        for _ in range(5):
            process = self.spawn()
            if self._answers(process):
                return
            assert process.returncode == ADDRESS_IN_USE, self.log()[-2000:]
        raise AssertionError("no port was free")

    def _answers(self, process: subprocess.Popen[bytes] | Child) -> bool:
        """Waits for the first answer; False when the process ended instead."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if process.poll() is not None:
                return False
            try:
                self.get("/livez")
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
            else:
                return True
        raise AssertionError("the service does not answer")

    def kill(self) -> None:
        """Ends the process at once (SIGKILL)."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_S)

    def children(self) -> list[int]:
        """The processes that serve, where there are several; not those that have ended."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        found = path.read_text(encoding="ascii").split()
        living = []
        for text in found:
            with suppress(OSError):
                state = Path(f"/proc/{text}/stat").read_text(encoding="ascii").rpartition(")")[2]
                if not state.startswith(" Z"):
                    living.append(int(text))
        return living

    def stop(self) -> int:
        """Ends the process as an operator does (SIGTERM); its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        """All that the process wrote so far, on both of its outputs."""
        parts = [self.folder / "stdout", self.folder / "stderr"]
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in parts)

    def connect(self) -> socket.socket:
        """A connection to the service; what TLS there is, is not begun."""
        return socket.create_connection((HOST, self.port), timeout=PATIENCE_S)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """GET of any path."""
        return self.request("GET", path, None, headers or {})

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Any request that http.client is willing to send."""
        client = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_S)
        if self.ca is not None:
            context = ssl.create_default_context(cafile=self.ca)
            client = http.client.HTTPSConnection(HOST, self.port, timeout=PATIENCE_S, context=context)
        try:
            client.request(method, path, body, dict(headers))
            response = client.getresponse()
            shown = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, shown, response.read())
        finally:
            client.close()

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, region: str = "eu"
    ) -> Answer:
        """A request below `/v1/REGION`, as the service principal unless another credential is given.

        Args:
            body: sent as JSON; bytes are sent as they are.
        """
        headers = {"authorization": f"Bearer {key or self.credential(region=region)}"}
        raw: bytes | None = None
        if body is not None:
            headers["content-type"] = "application/json"
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(method, f"/v1/{region}/{path}", raw, headers)

    def raw(self, data: bytes, *, then_close: bool = False) -> Answer | None:
        """The answer to bytes as they stand; None when the service ended the connection without one.

        Args:
            then_close: end our side after sending, as a client does that has no more to say.
        """
        with self.connect() as connection:
            try:
                connection.sendall(data)
                if then_close:
                    connection.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent: the answer may be there already
            try:
                return read_answer(connection, data.partition(b" ")[0].decode("latin-1"))
            except (http.client.BadStatusLine, ConnectionResetError):
                return None

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes of resident memory: `VmRSS` now, `VmHWM` the most since `forget_peak`."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {what}")

    def forget_peak(self) -> None:
        """Sets the peak of resident memory to what is resident now (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")


@cache
def _template() -> Path:
    """A fresh development deployment to copy, made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="coatcheck-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _init(folder / "deployment")
    return folder / "deployment"


def _init(folder: Path) -> None:
    made = coatcheck("init", "--dev", folder)
    assert made.returncode == 0, made.stderr


def initialise(folder: Path) -> None:
    """Makes a development deployment; with settings or a schema that are there already, of those."""
    if folder.exists():
        _init(folder)
    else:
        shutil.copytree(_template(), folder)


@contextmanager
def running(
    folder: Path, settings: Mapping[str, str] | None = None, ca: Path | None = None
) -> Iterator[Service]:
    """A new development deployment, being served."""
    initialise(folder)
    service = Service(folder, dict(settings or {}), ca=ca)
    try:
        service.start()
        yield service
    finally:
        service.kill()
