"""A process of the program that ends itself at a point: what the nursery's child runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.harness.points import FLAG, Doom, install

DOOMED: Final = "tests.harness.doomed:doomed"


@dataclass(frozen=True)
class Planned:
    """When it ends: the arguments of `points.Doom`; `armed` from its start, or when the flag says so."""

    point: str
    hit: int
    delay_s: float
    armed: bool

    def arguments(self, words: list[str], folder: Path) -> list[Any]:
        """The arguments of `doomed`."""
        return [words, str(folder), asdict(self)]


def doomed(words: list[str], folder: str, plan: dict[str, Any]) -> None:
    """Runs the command line in this process, which ends at a point."""
    from vault.cli.main import run

    armed = plan.pop("armed")
    install(Doom(**plan, flag=None if armed else Path(folder) / FLAG))
    run(words)
