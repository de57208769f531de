"""Named points at which a process ends itself (SIGKILL), put in from outside before it serves.

The statements are found in the tables there are, so that a new table is a new point. What runs is the
program as it is; only calls that it makes are wrapped.
"""

from __future__ import annotations

import itertools
import mmap
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tests.harness.faults import watching
from vault.store.tables import Tables

FLAG: Final = "armed"  # a file in the deployment's folder: its one byte says whether points kill
TABLES: Final = tuple(table.name for table in Tables("sqlite").metadata.sorted_tables)
_STATEMENT: Final = re.compile(r"(INSERT|UPDATE|DELETE)\b.*?\b((?:cu|re|va)_\w+)", re.DOTALL)
_SETTLED: Final = {  # no client writes these; tests.harness.turns kills whoever does
    "cu_epochs", "re_tenants", "re_schemas", "re_principals", "cu_key_pages", "re_jobs", "re_processes",
    "re_turns", "re_erasures", "re_holds", "cu_suppressions", "cu_subject_events",
}  # fmt: skip

SERVING: Final = (
    "any statement",
    "before begin", "after begin", "after select", "before commit", "after commit", "during commit",
    "during checkpoint",
    *(f"{when} writing {table}" for table in TABLES if table not in _SETTLED for when in ("before", "after")),
    "before handing over", "before delivering", "before waking", "before the answer", "after the answer",
)  # fmt: skip
OPENING: Final = ("opening: any statement", "opening: locked", "opening: checked", "opening: keys read")
CLOSING: Final = ("closing: any statement", "closing: begun", "closing: finished", "closing: unlocked")
MAKING: Final = ("making: any statement", "making: before a file call", "making: after a file call")
CONTROL: Final = "control: commits are lost"  # a program that acknowledges what it has not kept
POINTS: Final = (*SERVING, *OPENING, *CLOSING, *MAKING)
TIMED: Final = {"during commit", "during checkpoint"}
_FOR_LIFE: Final = ExitStack()  # until this process ends: nobody leaves what is entered here
FILE_CALLS: Final = (
    "open", "fsync", "link", "rename", "unlink", "mkdir", "close", "write", "ftruncate", "pwrite",
)  # fmt: skip


class Doom:
    """When this process ends.

    Args:
        point: the name of the point.
        hit: the number of times it is reached.
        delay_s: for points that last, how long after they begin.
        flag: a file whose first byte says whether reaching a point counts; None: from the start.
    """

    def __init__(self, point: str, hit: int, delay_s: float, flag: Path | None) -> None:
        self.point, self._hit, self._delay_s = point, hit, delay_s
        self._seen = 0
        self._lock = threading.Lock()
        self._flag: Any = b"\1"
        if flag is not None:
            with flag.open("r+b") as file:
                self._flag = mmap.mmap(file.fileno(), 1)

    @property
    def armed(self) -> bool:
        """Whether reaching a point counts."""
        return bool(self._flag[0])

    def reach(self, point: str) -> None:
        """Ends the process if this is its point."""
        if point == self.point and self._flag[0]:
            with self._lock:
                self._seen += 1
                due = self._seen == self._hit
            if due and point in TIMED:
                threading.Thread(target=self._later, daemon=True).start()
            elif due:
                end()

    def _later(self) -> None:
        time.sleep(self._delay_s)
        end()


def end() -> None:
    """As a power cut would, but for what the kernel has already taken."""
    os.kill(os.getpid(), signal.SIGKILL)


def install(doom: Doom) -> None:
    """Wraps what this process will call; for the rest of its life."""
    kind = doom.point.partition(":")[0]
    _statements(doom, kind if ":" in doom.point else "")
    if kind == "making":
        _files(doom)
    elif kind == "opening":
        _opening(doom)
    elif kind == "closing":
        _closing(doom)
    elif doom.point == CONTROL:
        _lose(doom)
    else:
        _doors(doom)


def _statements(doom: Doom, prefix: str) -> None:
    watch = _FOR_LIFE.enter_context(watching())
    watch.start()
    reach = doom.reach
    any_statement = f"{prefix}: any statement" if prefix else "any statement"

    def before(text: str) -> None:
        watch.statements.clear()
        name = _name(text)
        reach(f"before {name}")
        if name == "commit":
            reach("during commit")
            reach("during checkpoint")

    def after(text: str) -> None:
        reach(f"after {_name(text)}")
        reach(any_statement)

    watch.before, watch.after = before, after
    if doom.point == "during checkpoint":
        import vault.store.session as session

        session.WAL_AUTOCHECKPOINT_PAGES = 2  # type: ignore[misc]  # each commit is followed by one


def _name(text: str) -> str:
    if text.startswith("BEGIN IMMEDIATE"):
        return "begin"
    if text.startswith("SELECT"):
        return "select"
    found = _STATEMENT.match(text)
    return f"writing {found[2]}" if found else text.lower()


def _wrap(owner: Any, name: str, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
    """Wraps a function that exists."""
    original = vars(owner)[name]
    plain = original.__func__ if isinstance(original, staticmethod) else original

    def wrapped(*given: Any, **more: Any) -> Any:
        if before is not None:
            before()
        result = plain(*given, **more)
        if after is not None:
            after()
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(original, staticmethod) else wrapped)


def _doors(doom: Doom) -> None:
    from vault.api.bridge import Bridge
    from vault.api.exchange import Exchange

    _wrap(Bridge, "_hand_over", lambda: doom.reach("before handing over"), None)
    _wrap(Bridge, "_deliver", lambda: doom.reach("before delivering"), None)
    _wrap(Bridge, "_wake", lambda: doom.reach("before waking"), None)
    answer = Exchange.answer

    async def answered(exchange: Exchange, *given: Any) -> None:
        doom.reach("before the answer")
        await answer(exchange, *given)
        doom.reach("after the answer")

    Exchange.answer = answered  # type: ignore[method-assign,assignment]


def _opening(doom: Doom) -> None:
    import vault.wiring as wiring
    from vault.store import migrations
    from vault.store.lock import CellLock

    _wrap(CellLock, "acquire", None, lambda: doom.reach("opening: locked"))
    _wrap(migrations, "check", None, lambda: doom.reach("opening: checked"))
    _wrap(wiring, "open_epochs", None, lambda: doom.reach("opening: keys read"))


def _closing(doom: Doom) -> None:
    from vault.ledger.committer import Committer
    from vault.store.lock import CellLock

    _wrap(
        Committer,
        "close",
        lambda: doom.reach("closing: begun"),
        lambda: doom.reach("closing: finished"),
    )
    _wrap(CellLock, "release", None, lambda: doom.reach("closing: unlocked"))


def _lose(doom: Doom) -> None:
    """Once armed, every third commit is undone and said to have taken place, until the process ends.

    Not each: a token whose data key was undone with it is stale, and never acknowledged.
    """
    from vault.store.session import Session

    original = Session.commit
    commits = itertools.count()

    def commit(session: Session) -> None:
        if doom.armed and next(commits) % 3 == 0:
            session.rollback()
            doom.reach(CONTROL)
        else:
            original(session)

    Session.commit = commit  # type: ignore[method-assign,assignment]


def _files(doom: Doom) -> None:
    """Every call that makes, fills, syncs, names or removes a file, whoever makes it."""
    for name in FILE_CALLS:
        _wrap(
            os,
            name,
            lambda: doom.reach("making: before a file call"),
            lambda: doom.reach("making: after a file call"),
        )
