"""The table of codes reads well, in every language that a code appears in: JSON, a shell and a sentence."""

from __future__ import annotations

import re

import pytest

from vault.codes import CODES, Code, Exit

CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SENTENCE = re.compile(r"[A-Z`][^\n]*[^\s.]\.")
MAX_SENTENCE = 110  # one line of a terminal, behind the code


def faults(code: str, row: Code) -> list[str]:
    """What is wrong with one row."""
    found = []
    if not CODE.fullmatch(code) or len(code) > 40:
        found.append("the code is not lower snake case")
    if not SENTENCE.fullmatch(row.sentence):
        found.append("the sentence is not a full one")
    if len(row.sentence) > MAX_SENTENCE:
        found.append("the sentence is too long")
    if "|" in row.sentence or "{" in row.sentence or "%" in row.sentence:
        found.append("the sentence holds a mark of formatting")
    if row.hint and (not row.hint.endswith(".") or row.hint != row.hint.strip()):
        found.append("the hint does not end as a sentence does")
    return found


@pytest.mark.parametrize("code", CODES)
def test_a_row_reads_well(code: str) -> None:
    assert faults(code, CODES[code]) == []


@pytest.mark.parametrize(
    ("code", "sentence", "hint"),
    [
        ("Value_empty", "The value is empty.", ""),
        ("value-empty", "The value is empty.", ""),
        ("value__empty", "The value is empty.", ""),
        ("_value", "The value is empty.", ""),
        ("4_value", "The value is empty.", ""),
        ("välue", "The value is empty.", ""),
        ("value_empty", "The value is empty", ""),
        ("value_empty", "the value is empty.", ""),
        ("value_empty", "The value is empty..", ""),
        ("value_empty", "The value is empty .", ""),
        ("value_empty", "", ""),
        ("value_empty", "The value {value} is empty.", ""),
        ("value_empty", "The value is " + "very " * 30 + "empty.", ""),
        ("value_empty", "The value is empty.| Send one.", ""),
        ("value_empty", "The value is empty.", "Send one"),
        ("value_empty", "The value is empty.", " Send one."),
    ],
)
def test_a_bad_row_is_found(code: str, sentence: str, hint: str) -> None:
    assert faults(code, Code(422, Exit.BAD_INPUT, sentence, hint=hint))
