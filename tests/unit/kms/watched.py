"""Watches what is made durable, linked, replaced and unlinked, in order, and can die at any step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


class Watched:
    """The calls so far; `kill_after(n)` lets n more happen, then the process is as good as dead.

    Args:
        patch: undoes the watching.
        root: a folder with everything that is watched.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.calls: list[str] = []
        self._root = root
        self._left: int | None = None
        fsync, link, unlink, replace = os.fsync, os.link, Path.unlink, Path.replace

        def watched_fsync(descriptor: int) -> None:
            self._note("sync", self._name(descriptor))
            fsync(descriptor)

        def watched_link(source: Any, target: Any) -> None:
            self._note("link", str(target))
            link(source, target)

        def watched_unlink(path: Path, missing_ok: bool = False) -> None:
            self._note("unlink", str(path))
            unlink(path, missing_ok)

        def watched_replace(path: Path, target: Any) -> Any:
            self._note("replace", str(target))
            return replace(path, target)

        patch.setattr(Path, "replace", watched_replace)
        patch.setattr(os, "fsync", watched_fsync)
        patch.setattr(os, "link", watched_link)
        patch.setattr(Path, "unlink", watched_unlink)

    def _note(self, what: str, path: str) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt  # which nothing on the way may catch
        self.calls.append(f"{what} {path}")

    def _name(self, descriptor: int) -> str:
        number = os.fstat(descriptor).st_ino
        places = (self._root, *sorted(self._root.rglob("*")))
        return str(next(place for place in places if place.stat().st_ino == number))

    def kill_after(self, steps: int) -> None:
        """Lets so many steps happen."""
        self._left = steps

    def let_live(self) -> None:
        """Starts anew."""
        self._left = None
