"""Shaped vaulted tokens: random surrogates that look like values, registered when they are issued.

A surrogate names its row by look-up, not by decoding, so nothing in it vouches for the row. The claim
does: its record is the row's id and the surrogate, so a claim opens only for the surrogate it was sealed
for, whatever the look-up says. Spec: docs/spec/tokens.md.
"""

from __future__ import annotations

from vault.identifiers import RowId


def claim_record(row: RowId | bytes, surrogate: str | None) -> bytes:
    """The record in a claim's context: the row's 16 bytes, and the surrogate of a shaped token."""
    return bytes(row) if surrogate is None else bytes(row) + surrogate.encode()
