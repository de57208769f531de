"""Reports as CSV and as a page: whole, escaped, and with the same columns whatever is in them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from vault.services.report_sheets import KINDS, POLICY, csv_text, flat, page_text, tables

NASTY = "<script>alert('1')</script>&\"\n=1+1"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]


def a_report(kind: str, text: str = "a", rows: int = 1) -> dict[str, Any]:
    """A report whose every member is a text."""
    _, answer, lines = KINDS[kind]
    return {
        name: [dict.fromkeys(lines[name].__struct_encode_fields__, text) for _ in range(rows)]
        if name in lines
        else text
        for name in answer.__struct_encode_fields__
    }


class Cells(HTMLParser):
    """Reads the texts of a page's cells, and the elements that there are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.cells: list[str] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self._open = tag in ("td", "th")
        if self._open:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1] += data


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_escaped_and_needs_nothing(kind: str) -> None:
    report = a_report(kind, NASTY)
    page = page_text(kind, tables(kind, report))
    read = Cells(page)
    assert read.tags == {
        *("html", "head", "meta", "title", "style", "body", "h1"),
        *("table", "caption", "thead", "tbody", "tr", "th", "td"),
    }
    assert {name for name, _ in read.attributes} == {"lang", "charset"}
    expected = sum(len(table.columns) for table in tables(kind, report) if table.name != "report")
    expected += sum(not isinstance(value, list) for value in report.values())
    assert read.cells.count(NASTY) == expected
    [style] = re.findall("<style>(.*)</style>", page)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in POLICY  # or a browser would not apply it
    assert POLICY.startswith("default-src 'none';")


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_has_every_value_in_its_column(kind: str) -> None:
    report = a_report(kind, NASTY, rows=2)
    read = list(csv.DictReader(io.StringIO(csv_text(*flat(tables(kind, report))), newline="")))
    for name, value in report.items():
        rows = [row for row in read if row["table"] == name]
        if isinstance(value, list):
            assert [{column: row[column] for column in value[0]} for row in rows] == value
        else:
            assert {"table": "report", "name": name, "value": value}.items() <= next(
                row for row in read if row["name"] == name and row["table"] == "report"
            ).items()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_do_not_hang_on_what_is_there(kind: str) -> None:
    full, empty = a_report(kind), a_report(kind, rows=0)
    assert flat(tables(kind, full))[0] == flat(tables(kind, empty))[0]
    page = page_text(kind, tables(kind, empty))
    assert Cells(page).cells.count("none") == sum(isinstance(value, list) for value in empty.values())


@pytest.mark.parametrize("text", FORMULAS)
def test_no_spreadsheet_computes_a_cell(text: str) -> None:
    [[_, cell]] = list(csv.reader(io.StringIO(csv_text(["a", "b"], [["x", text]]), newline="")))[1:]
    assert cell == f"'{text}"


def test_values_are_told_in_words() -> None:
    assert csv_text(["a"], [[None], [True], [False], [0], [["a", "b"]]]) == (
        'a\r\n""\r\nyes\r\nno\r\n0\r\n"a, b"\r\n'
    )
