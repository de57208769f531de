"""The schema: purposes, retention classes, templates of its own and fields, as `schema.toml` states them.

What cannot be kept is refused here, with every reason at once; what is not built is refused by name.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vault.errors import BadInput
from vault.schema.classes import read_class
from vault.schema.fields import read_field
from vault.schema.purposes import read_purpose
from vault.schema.refusals import Refusals, is_label, shown
from vault.schema.rules import Determinism, FieldRule, Protection, Purpose, RetentionRule, Small
from vault.schema.templates import Own, read_template

MAX_NAMES: Final = 1000
MAX_TOML: Final = 256 * 1024  # characters
MAX_DOTS: Final = 32  # in a line; the parser's memory grows with the square of a dotted key's parts


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of a tenant's schema.

    Attributes:
        templates: its own ones; fields name them as they name those of the catalogue.
        digest: SHA-256 (hex) of the document in canonical JSON; documents that say the same agree.
        body: the canonical JSON, as stored.
    """

    purposes: Mapping[str, Purpose]
    retention: Mapping[str, RetentionRule]
    fields: Mapping[str, FieldRule]
    digest: str
    body: str = field(repr=False)
    templates: Mapping[str, Own] = field(default_factory=dict)


EMPTY: Final = Schema({}, {}, {}, hashlib.sha256(b"{}").hexdigest(), "{}")


def parse_toml(text: str) -> Schema:
    """The schema of a TOML document.

    Raises:
        BadInput: `schema_refused` with `refusals`, one line a reason.
        Misconfigured: as `parse_document`.
    """
    if len(text) > MAX_TOML or any(map(_is_deep, text.split("\n"))):
        raise BadInput("schema_refused", refusals=["the document is too large, or a line has too many dots"])
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        raise BadInput("schema_refused", refusals=["the document is not TOML"]) from None
    return parse_document(document)


def _is_deep(line: str) -> bool:
    """Whether a line of TOML might hold a key of very many parts; comments may have as many dots as any."""
    return line.count(".") > MAX_DOTS and not line.lstrip(" \t").startswith("#")


def parse_document(document: Mapping[str, Any]) -> Schema:
    """The schema of a decoded document (from TOML or JSON).

    Raises:
        BadInput: `schema_refused` with `refusals`, one line a reason.
        Misconfigured: `extra_missing`: it has templates of its own, and RE2 is not installed.
    """
    refusals = Refusals()
    top = refusals.table("schema", document, ("purposes", "retention", "templates", "fields"))
    purposes = {n: read_purpose(refusals, p, n, t) for n, p, t in _entries(refusals, top, "purposes")}
    retention = {n: read_class(refusals, p, n, t) for n, p, t in _entries(refusals, top, "retention")}
    read = {n: read_template(refusals, p, n, t) for n, p, t in _entries(refusals, top, "templates")}
    templates = {name: template for name, template in read.items() if template is not None}
    fields = {
        n: read_field(refusals, p, n, t, retention, templates, frozenset(read))
        for n, p, t in _entries(refusals, top, "fields")
    }
    refusals.settle()
    try:
        body = msgspec.json.encode(document, order="deterministic")
    except (TypeError, ValueError, RecursionError):
        raise BadInput("schema_refused", refusals=["the document holds more than JSON can say"]) from None
    return Schema(
        purposes=purposes,
        retention=retention,
        fields={name: rule for name, rule in fields.items() if rule is not None},
        digest=hashlib.sha256(body).hexdigest(),
        body=body.decode(),
        templates=templates,
    )


def _entries(refusals: Refusals, top: Mapping[str, Any], kind: str) -> list[tuple[str, str, Any]]:
    """(name, place, table) of each entry of a top-level table, names checked."""
    tables = top.get(kind, {})
    if not isinstance(tables, Mapping):
        refusals.add(kind, "is not a table")
        return []
    if len(tables) > MAX_NAMES:
        refusals.add(kind, f"has more than {MAX_NAMES} entries")
        return []
    entries = []
    for name, table in tables.items():
        place = f"{kind}.{shown(name)}"
        if not is_label(name):
            refusals.add(place, "a name is a-z, 0-9, '_', '.', '-', at most 64 characters")
        elif not isinstance(table, Mapping):
            refusals.add(place, "is not a table")
        else:
            entries.append((name, place, table))
    return entries


__all__ = [
    "EMPTY",
    "Determinism",
    "FieldRule",
    "Protection",
    "Purpose",
    "RetentionRule",
    "Schema",
    "Small",
    "parse_document",
    "parse_toml",
]
