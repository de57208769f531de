"""What the command line prints: data on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from vault.config import no_color_wanted
from vault.errors import CoatcheckError


@dataclass(slots=True)
class Output:
    """How to print: as JSON, quietly, with colour."""

    json: bool = False
    quiet: bool = False
    color: bool = False

    def data(self, value: Any) -> None:
        """Prints an answer as JSON."""
        text = msgspec.json.format(msgspec.json.encode(value), indent=2 if sys.stdout.isatty() else 0)
        print(text.decode())

    def record(self, value: dict[str, Any]) -> None:
        """Prints one thing: as JSON, or as `name  value` lines."""
        if self.json:
            self.data(value)
            return
        shown = {name: _cell(item) for name, item in value.items() if item is not None}
        width = max(map(len, shown), default=0)
        for name, item in shown.items():
            print(f"{name.ljust(width)}  {item}")

    def table(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        """Prints a list: as JSON, or as a table."""
        if self.json:
            self.data(list(rows))
            return
        cells = [[_cell(row.get(column)) for column in columns] for row in rows]
        widths = [max(len(column), *(len(line[i]) for line in cells), 0) for i, column in enumerate(columns)]
        if rows:
            for line in ([column.upper() for column in columns], *cells):
                print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        self.note(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")

    def lines(self, lines: Sequence[str | None], value: Any) -> None:
        """Prints one line an item (an empty one for null), or the whole answer as JSON."""
        if self.json:
            self.data(value)
            return
        for line in lines:
            print(line or "")

    def note(self, text: str) -> None:
        """Says something beside the data."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def failure(self, problem: CoatcheckError) -> None:
        """Says why it did not work: code, sentence, facts, hint."""
        row = problem.row
        if self.json:
            document = {"code": problem.code, "title": row.sentence, "retry": row.retry, **problem.facts}
            print(msgspec.json.encode(document).decode(), file=sys.stderr)
            return
        name = "coatcheck"
        if self.color:
            name = f"\x1b[31m{name}\x1b[0m"
        print(f"{name}: {problem.code}: {row.sentence}", file=sys.stderr)
        for key, value in problem.facts.items():
            for line in value if isinstance(value, list) else [value]:
                print(f"  {key}: {_cell(line)}", file=sys.stderr)
        if row.hint:
            print(f"hint: {row.hint}", file=sys.stderr)


def use_color(no_color: bool) -> bool:
    """Whether errors are coloured: on a terminal, unless `--no-color` or NO_COLOR says otherwise."""
    return sys.stderr.isatty() and not no_color and not no_color_wanted()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value) or "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={_cell(item)}" for name, item in value.items())
    return str(value)
