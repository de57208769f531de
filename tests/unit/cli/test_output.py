"""Data on standard output, everything else on standard error."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest

from vault.cli.doors import guard, read_lines, segment
from vault.cli.output import Output, use_color
from vault.errors import BadInput, CoatcheckError, Conflict, Fact, Unavailable, error

Capture = pytest.CaptureFixture[str]


def test_a_record(capsys: Capture) -> None:
    Output().record(
        {"id": "gr_1", "subjects": ["a", "b"], "empty": [], "none": None, "yes": True, "map": {"a": 1}}
    )
    assert capsys.readouterr().out.splitlines() == [
        "id        gr_1", "subjects  a, b", "empty     -", "yes       yes", "map       a=1",
    ]  # fmt: skip


def test_a_table(capsys: Capture) -> None:
    Output().table([{"id": "a", "n": 1}, {"id": "bb"}], ("id", "n"))
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["ID  N", "a   1", "bb  -"]
    assert shown.err == "2 rows\n"
    Output().table([], ("id",))
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "0 rows\n")


@pytest.mark.parametrize("value", [{"a": [1, None]}, [], "é", 1])
def test_json_is_one_document(capsys: Capture, value: Any) -> None:
    Output(json=True).data(value)
    assert json.loads(capsys.readouterr().out) == value


def test_quiet_keeps_data_and_errors(capsys: Capture) -> None:
    output = Output(quiet=True)
    output.note("beside")
    output.lines(["a", None], {})
    output.failure(Conflict("cell_locked", pid=7))
    shown = capsys.readouterr()
    assert shown.out == "a\n\n"
    assert shown.err == "coatcheck: cell_locked: Another process holds the cell.\n  pid: 7\n"


def test_a_failure_with_its_hint_and_its_items(capsys: Capture) -> None:
    errors: list[dict[str, Fact]] = [{"index": 1, "code": "value_empty"}]
    problem = error("value_alphabet", errors=errors, uses_left=3)
    Output().failure(problem)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  errors: index=1 code=value_empty",
        "  uses_left: 3",
    ]
    Output().failure(error("not_initialised"))
    assert capsys.readouterr().err.splitlines()[-1] == "hint: Run `coatcheck init` first."
    Output(color=True).failure(error("not_initialised"))
    assert capsys.readouterr().err.startswith("\x1b[31mcoatcheck\x1b[0m: not_initialised: ")


def test_a_failure_as_json(capsys: Capture) -> None:
    Output(json=True, color=True).failure(Unavailable("too_busy", retry_after=1))
    assert json.loads(capsys.readouterr().err) == {
        "code": "too_busy",
        "title": "Too much is going on.",
        "retry": "after_seconds",
        "retry_after": 1,
    }


def test_no_colour_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert use_color(no_color=True) is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert use_color(no_color=False) is False


def raiser(problem: BaseException) -> Any:
    def work() -> None:
        raise problem

    return work


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (BadInput("usage"), 2),
        (CoatcheckError("value_empty"), 3),
        (error("credential_missing"), 4),
        (error("scope_denied"), 5),
        (error("not_found"), 6),
        (error("cell_locked"), 7),
        (error("service_unreachable"), 9),
        (error("audit_broken"), 10),
        (error("config_invalid"), 11),
        (ValueError("a value: 123-45-6789"), 70),
        (RecursionError(), 70),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (SystemExit(11), 11),
    ],
)
def test_every_end_has_an_exit_class(capsys: Capture, problem: BaseException, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        guard(Output(), raiser(problem))
    assert caught.value.code == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "123-45-6789" not in shown.err
    if code == 70:
        assert f"  kind: {type(problem).__name__}\n" in shown.err


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\nb\r\n", ["a", "", "b"]),
        ("a\u2028b\x0bc\x0c\x1c\u0085d\n".encode(), ["a\u2028b\x0bc\x0c\x1c\u0085d"]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\n", ["\ufeffa"]),
    ],
)
def test_lines(tmp_path: Any, raw: bytes, lines: list[str]) -> None:
    path = tmp_path / "values"
    path.write_bytes(raw)
    assert read_lines(str(path)) == lines


@pytest.mark.parametrize("text", ["", "a/b", "..", "a?b", "a b", "é", "%2e", "a#b", "a\n"])
def test_what_cannot_be_an_id_is_no_path(text: str) -> None:
    assert segment(text) == "gr_0"
    assert segment("gr_01M84HD64DFW18BYTQYF0BJRJQ") == "gr_01M84HD64DFW18BYTQYF0BJRJQ"
