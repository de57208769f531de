"""Processes of the program in a few milliseconds: forked from one that has loaded it and done nothing else.

    nursery = Nursery()
    child = nursery.fork(["serve", "--config", folder], {"COATCHECK_PORT": "8700"}, folder, doom)
    child.wait(60)

A child runs the command line as `coatcheck` does, with its outputs in files of the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.service import ROOT, environment

KILLED: Final = -signal.SIGKILL


@dataclass(frozen=True)
class Planned:
    """When a child ends: the arguments of `points.Doom`; `armed` from its start, or when the flag says so."""

    point: str
    hit: int
    delay_s: float
    armed: bool


class Child:
    """A process that the nursery forked.

    Attributes:
        status: its exit code, or minus the number of the signal that ended it; None: it runs.
        late: whether it had to be killed from here.
    """

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self.status: int | None = None
        self.late = False

    def ended(self, within_s: float = 0) -> bool:
        """Whether it ended, within so many seconds."""
        if self.status is None:
            ready, _, _ = select.select([self._descriptor], [], [], within_s)
            if ready:
                self.status = self._nursery.reap(self.pid)
                os.close(self._descriptor)
        return self.status is not None

    def send(self, number: int) -> None:
        """Sends a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            if self.status is None:
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send(signal.SIGKILL)
        assert self.ended(60)

    def kill_late(self) -> None:
        """Ends it if it has not ended, and remembers."""
        if not self.ended():
            self.late = True
            self.kill()


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.harness.nursery"],
            cwd=ROOT,
            env=environment({"PYTHONPATH": str(ROOT)}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def fork(
        self,
        arguments: Sequence[str | Path],
        settings: Mapping[str, str],
        folder: Path,
        planned: Planned | None = None,
    ) -> Child:
        """A process that runs a command; `stdout` and `stderr` are in the folder."""
        plan = None if planned is None else asdict(planned)
        pid = self._ask(
            arguments=[str(argument) for argument in arguments],
            settings=dict(settings),
            folder=str(folder),
            plan=plan,
        )
        return Child(self, pid)

    def reap(self, pid: int) -> int:
        """The status of a child that ended: its exit code, or minus the number of a signal."""
        return self._ask(reap=pid)

    def _ask(self, **what: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the nursery; its children are to be ended before."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def _become(arguments: list[str], settings: dict[str, str], folder: str, plan: dict[str, Any] | None) -> None:
    """What a child does after the fork; never returns."""
    code = 70
    try:
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, f"{folder}/stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (2, f"{folder}/stderr", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ):
            descriptor = os.open(name, flags, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.environ.update(settings)
        from tests.harness.points import FLAG, Doom, install
        from vault.cli.main import run

        if plan is not None:
            armed = plan.pop("armed")
            install(Doom(**plan, flag=None if armed else Path(folder) / FLAG))
        try:
            run(arguments)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Forks and reaps as it is asked to, a line of JSON each."""
    # Everything that a process needs, loaded once; no thread may run when it forks.
    import uvicorn.loops.uvloop  # noqa: F401

    import vault.__main__
    import vault.api.app
    import vault.api.server  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        if "reap" in asked:
            _, status = os.waitpid(asked["reap"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                os.setsid()
                _become(asked["arguments"], asked["settings"], asked["folder"], asked["plan"])
        print(answer, flush=True)


def temporary(prefix: str) -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(prefix=prefix))


if __name__ == "__main__":
    main()
