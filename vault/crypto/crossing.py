"""The bytes that a batch of a transfer is bound to. The page is docs/spec/sealed-batch.md."""

from __future__ import annotations

import hashlib
from typing import Final

from vault.crypto.delivery import joined

LABEL: Final = b"coatcheck/transfer/v1"
ANSWER_LABEL: Final = b"coatcheck/transfer-answer/v1"
ARRIVALS_LABEL: Final = b"coatcheck/transfer-arrivals/v1"
NUMBER_BYTES: Final = 8  # big-endian


def info(source: str, target: str, transfer: str, number: int) -> bytes:
    """HPKE's `info` for a batch: label | source | target | transfer | number.

    Args:
        source: the region that it leaves; target: the one that it is for.
        transfer: its id, `xfer_...`.
        number: of the batch; 0 for what enters nothing.
    """
    return _bound(LABEL, source, target, transfer, number)


def answer_info(source: str, target: str, transfer: str, number: int) -> bytes:
    """HPKE's `info` for the answer to a batch; source and target are those of the batch."""
    return _bound(ANSWER_LABEL, source, target, transfer, number)


def kept_as(tenant: str, source: str, transfer: str) -> str:
    """What arrivals of another process are kept under: nobody else's id of a transfer gives the same.

    An id comes from outside, so by itself it would lead one tenant to what arrived for another.
    """
    named = joined(ARRIVALS_LABEL, tenant.encode(), source.encode(), transfer.encode())
    return "rx_" + hashlib.sha256(named).hexdigest()[:28]  # the column takes 32 characters


def _bound(label: bytes, source: str, target: str, transfer: str, number: int) -> bytes:
    texts = (source, target, transfer)
    return joined(label, *(text.encode() for text in texts), number.to_bytes(NUMBER_BYTES, "big"))
