"""The bytes that a sealed request is bound to. The page is docs/spec/sealed-intake.md."""

from __future__ import annotations

from typing import Final

from vault.crypto.delivery import joined

LABEL: Final = b"coatcheck/intake/v1"
"""The first part of HPKE's `info`; a delivery's begins with the suite's name."""


def info(cell: str, path: str, principal: str) -> bytes:
    """HPKE's `info` for a request's body: label | cell | path | principal.

    Args:
        cell: the region whose cell it is for.
        path: what is asked, below the region: `tokenize`, `encrypt`.
        principal: who asks, `pr_...`: nobody else can send the body as his own.
    """
    return joined(LABEL, cell.encode(), path.encode(), principal.encode())
