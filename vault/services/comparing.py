"""Comparing a value with a candidate, or with another value: `verify`, and the function `equals`.

Whoever can guess or make tokens could find a value by comparing often enough, so that each token has only a
few tries under a grant.
"""

from __future__ import annotations

import hashlib

from vault.crypto.mac import same
from vault.errors import BadInput, ValueRefused
from vault.formats.derived import EQUALS
from vault.formats.normalize import normalize
from vault.keyring.hierarchy import Purpose
from vault.policy.grant import VERIFY, Proposal
from vault.schema.document import FieldRule, Protection
from vault.services.asked import Asked, Asking
from vault.services.cell import Cell

PAIR = 2


def compares(proposal: Proposal) -> bool:
    """Whether a grant lets values be compared, so that tries have to be counted."""
    return any(
        VERIFY in entry.operations or any(one.fn == EQUALS for one in entry.derive)
        for entry in proposal.scope
    )


def is_pair(asking: Asking) -> bool:
    """Whether two tokens are compared with each other."""
    return asking.derive is not None and asking.derive.fn == EQUALS


def count_pair(cell: Cell, grant: str, asked: list[Asked]) -> None:
    """Lets the tries of both tokens be counted.

    Raises:
        BadInput: `pair_required`: they are not two of one field.
    """
    if len(asked) != PAIR or len({one.field for one in asked}) != 1 or not all(one.given for one in asked):
        raise BadInput("pair_required")
    for one in asked:
        count_tries(cell, grant, one)
    if asked[0].attempt == asked[1].attempt:
        asked[1].attempt = None


def count_tries(cell: Cell, grant: str, one: Asked) -> None:
    """Lets the tries of a token be counted. A token that is none has no tries."""
    if one.refusal is None and cell.keyring.has_own(Purpose.ATTEMPTS):  # without the key no grant allows it
        one.attempt = cell.keyring.attempt(grant, one.field, _spelling(one))


def _spelling(one: Asked) -> bytes:
    """What all spellings of a token have in common: its row, or what FF1 and its key are given of it."""
    if one.row is not None:
        return one.row
    if one.rule is None or one.passed or one.rule.protection is not Protection.VAULTLESS:
        return one.text.encode()
    shape = one.rule.shape.parse_token(one.text)
    return shape.text.encode() + b"\x00" + shape.kept_bytes()


def matches(rule: FieldRule, value: str, candidate: str) -> bool:
    """Whether a candidate is the value, as the field compares its values; in a time that does not say where
    they differ, or whether their lengths do.
    """
    return same(_compared(rule, value), _compared(rule, candidate))


def _compared(rule: FieldRule, text: str) -> bytes:
    form = text
    if rule.template is not None:
        try:
            form = normalize(rule.template, rule.normalize, text)
        except ValueRefused:
            form = text  # no value of the field, and so equal to none
    return hashlib.sha256(form.encode("utf-8", "surrogatepass")).digest()
