"""Reading a custom template: a pattern, whose groups are transformed, their alphabet, the tokens' format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vault.formats.catalog import CATALOG
from vault.formats.custom import LONGEST_NAME, NAMED, Custom, custom
from vault.formats.encoded import Encoded, encoded
from vault.formats.pattern import MAX_PATTERN, PatternRefused
from vault.schema.refusals import Refusals

_KNOWN: Final = ("pattern", "alphabet", "encode")

Own = Custom | Encoded
"""A template of a schema's own."""


def read_template(refusals: Refusals, place: str, name: str, value: object) -> Own | None:
    """The template of a table; None after a refusal.

    Raises:
        Misconfigured: `extra_missing`, RE2 is not installed.
    """
    table = refusals.table(place, value, _KNOWN)
    pattern = refusals.text(place, table, "pattern", limit=MAX_PATTERN)
    alphabet = _alphabet(refusals, place, table)
    encode = refusals.text(place, table, "encode", limit=MAX_PATTERN)
    if name in CATALOG:
        refusals.add(place, "is the name of a template of the catalogue")
        return None
    if len(name) > LONGEST_NAME:
        refusals.add(place, f"a template's name has at most {LONGEST_NAME} characters")
        return None
    if not pattern:
        if table.get("pattern", "") == "":
            refusals.add(f"{place}.pattern", "is missing: RE2, with what is transformed in parentheses")
        return None
    if alphabet is None:
        return None
    try:
        template = custom(name, pattern, alphabet)
    except PatternRefused as refused:
        refusals.add(f"{place}.pattern", str(refused))
        return None
    if "encode" not in table:
        return template
    try:
        return encoded(name, pattern, alphabet, encode or "")
    except PatternRefused as refused:
        refusals.add(f"{place}.encode", str(refused))
        return None


def _alphabet(refusals: Refusals, place: str, table: Mapping[str, Any]) -> str | None:
    """The characters of an alphabet by name or as written; none for those of the pattern's own."""
    if "alphabet" not in table:
        return ""
    written = table["alphabet"]
    if isinstance(written, str) and written in NAMED:
        return NAMED[written].characters
    if (
        isinstance(written, str)
        and written.isprintable()
        and 2 <= len(set(written)) == len(written) <= 65_536
    ):
        return written
    named = ", ".join(NAMED)
    refusals.add(f"{place}.alphabet", f"is not one of {named}, nor 2 to 65,536 distinct printable characters")
    return None
