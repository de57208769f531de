"""A report as tables, and those as one CSV file or one page of HTML. Pure: from an answer's plain data.

As CSV (RFC 4180) all tables stand under one another, in columns that they share, and the first says of which
table a row is. The page is whole without anything from elsewhere, runs nothing, and can be printed.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from vault.services.disclosures import Disclosure, DisclosuresReport
from vault.services.due_report import DueLine, RetentionReport
from vault.services.report_parts import ClassLine, ErasedLine, HoldLine, LevelLine
from vault.services.reports import AgeLine, FieldLine, ProcessingReport, PurposeLine

JSON: Final = "json"
CSV: Final = "csv"
HTML: Final = "html"


class Kind(NamedTuple):
    """A report: its title, its answer, and the lines of each list in that."""

    title: str
    answer: type[msgspec.Struct]
    lines: Mapping[str, type[msgspec.Struct]]


_ENDS: Final[dict[str, type[msgspec.Struct]]] = {
    "classes": ClassLine,
    "holds": HoldLine,
    "erasures": ErasedLine,
    "levels": LevelLine,
}
PROCESSING: Final = "processing"
RETENTION: Final = "retention"
DISCLOSURES: Final = "disclosures"
KINDS: Final = {
    PROCESSING: Kind(
        "Record of processing",
        ProcessingReport,
        {"fields": FieldLine, "purposes": PurposeLine, "ages": AgeLine, **_ENDS},
    ),
    RETENTION: Kind("Retention", RetentionReport, {"periods": DueLine, **_ENDS}),
    DISCLOSURES: Kind(
        "Accounting of disclosures", DisclosuresReport, {"disclosures": Disclosure, "possible": Disclosure}
    ),
}
FACTS: Final = "report"
"""The table of what is no table in the answer: as of when, of which tenant, and so on."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how cells begin that spreadsheets compute


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """Rows of one kind."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def tables(kind: str, report: Mapping[str, Any]) -> list[Table]:
    """The tables of a report: first its facts, then each list, whose columns are the same whatever is in it.

    Args:
        kind: of `KINDS`.
        report: its answer as plain data.
    """
    _, answer, lines = KINDS[kind]
    names = [name for name in answer.__struct_encode_fields__ if name not in lines]
    found = [Table(FACTS, ("name", "value"), [(name, report.get(name)) for name in names])]
    for name in answer.__struct_encode_fields__:
        if name in lines:
            columns = lines[name].__struct_encode_fields__
            rows = [[row.get(column) for column in columns] for row in report[name]]
            found.append(Table(name, columns, rows))
    return found


def flat(those: Iterable[Table]) -> tuple[list[str], list[list[Any]]]:
    """Tables as one: columns, and rows whose first member says of which table they are."""
    listed = list(those)
    columns = list(dict.fromkeys(column for table in listed for column in table.columns))
    rows = []
    for table in listed:
        for row in table.rows:
            known = dict(zip(table.columns, row, strict=True))
            rows.append([table.name, *(known.get(column) for column in columns)])
    return ["table", *columns], rows


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> str:
    """A value that no spreadsheet takes for a formula."""
    text = _text(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)


_STYLE: Final = (
    "body{font:14px/1.4 sans-serif;margin:2rem}table{border-collapse:collapse;margin:0 0 1.5rem}"
    "caption{text-align:left;font-weight:bold;padding:.3rem 0}"
    "th,td{border:1px solid #999;padding:.2rem .5rem;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}thead{display:table-header-group}tr{break-inside:avoid}"
    "@media print{body{margin:0;font-size:9pt}}"
)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""CSP Level 3: nothing but the page's own style."""


def page_text(kind: str, those: Iterable[Table]) -> str:
    """Tables as a page of HTML. Everything in it is escaped."""
    title = html.escape(KINDS[kind].title)
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Coatcheck: {title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    ]
    for table in those:
        parts.append(f"<table><caption>{_markup(table.name.replace('_', ' '))}</caption>\n")
        if not table.rows:
            parts.append("<tbody><tr><td>none</td></tr></tbody></table>\n")
            continue
        parts.append(f"<thead><tr>{_cells('th', table.columns)}</tr></thead>\n<tbody>\n")
        parts += [f"<tr>{_cells('td', row)}</tr>\n" for row in table.rows]
        parts.append("</tbody></table>\n")
    parts.append("</body>\n</html>\n")
    return "".join(parts)


def _cells(tag: str, values: Iterable[Any]) -> str:
    return "".join(f"<{tag}>{_markup(value)}</{tag}>" for value in values)


def _markup(value: Any) -> str:
    return html.escape(_text(value))
