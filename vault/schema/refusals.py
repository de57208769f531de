"""Reading a document a person wrote, and collecting every reason why it cannot be taken.

A reason names the place by the document's own keys. Keys are shown only when they look like names;
values are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from vault.clock import Period, parse_period
from vault.errors import BadInput

_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def is_label(text: object) -> bool:
    """Whether a text may name a field, a purpose, a class or a mask: `[a-z0-9][a-z0-9_.-]{0,63}`."""
    return isinstance(text, str) and _LABEL.fullmatch(text) is not None


def shown(key: object) -> str:
    """A key as a reason may show it."""
    return str(key) if is_label(key) else "(unnamed)"


class Refusals:
    """The reasons so far. Readers return a default after a refusal, so that all are found at once."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def add(self, place: str, reason: str) -> None:
        """Notes a reason."""
        self.reasons.append(f"{place}: {reason}")

    def settle(self) -> None:
        """Returns if there is no reason.

        Raises:
            BadInput: `schema_refused` with all reasons.
        """
        if self.reasons:
            raise BadInput("schema_refused", refusals=self.reasons[:100])

    def table(
        self, place: str, value: object, known: Collection[str], not_built: Collection[str] = ()
    ) -> Mapping[str, Any]:
        """A table whose keys are all known; unknown ones and ones not built yet are refused by name."""
        if not isinstance(value, Mapping):
            self.add(place, "is not a table")
            return {}
        for key in value:
            if key in not_built:
                self.add(f"{place}.{key}", "is not built yet in this version; leave it out")
            elif key not in known:
                self.add(f"{place}.{shown(key)}", "is unknown")
        return value

    def text(
        self, place: str, table: Mapping[str, Any], key: str, default: str = "", limit: int = 200
    ) -> str:
        """A text of at most `limit` characters."""
        value = table.get(key, default)
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            self.add(f"{place}.{key}", f"is not a text of at most {limit} printable characters")
            return default
        return value

    def choice(
        self,
        place: str,
        table: Mapping[str, Any],
        key: str,
        choices: Collection[str],
        default: str | None = None,
        not_built: Collection[str] = (),
    ) -> str:
        """One of a few words."""
        value = table.get(key, default)
        if isinstance(value, str) and value in choices:
            return value
        if isinstance(value, str) and value in not_built:
            self.add(f"{place}.{key}", f"{value} is not built yet in this version")
        elif value is None:
            self.add(f"{place}.{key}", f"is missing: one of {', '.join(choices)}")
        else:
            self.add(f"{place}.{key}", f"is not one of {', '.join(choices)}")
        return next(iter(choices))

    def number(
        self, place: str, table: Mapping[str, Any], key: str, default: int, low: int, high: int
    ) -> int:
        """A whole number within bounds."""
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.add(f"{place}.{key}", f"is not a whole number from {low} to {high}")
            return default
        return value

    def period(self, place: str, table: Mapping[str, Any], key: str, default: str) -> Period:
        """An ISO 8601 duration."""
        value = table.get(key, default)
        try:
            return parse_period(value)
        except (ValueError, TypeError):
            self.add(f"{place}.{key}", "is not an ISO 8601 duration such as P2Y or PT15M")
            return parse_period(default)
