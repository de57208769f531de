"""The cell's keys for messages: what signs sealed answers, and what opens sealed requests.

Both are rotated by the schedule (`delivery_rotation`). Whoever opens answers has pinned the key that signs
them, so that its successor is announced first: for a week grants name both, and the older one signs. A
request may be sealed to a key that was asked for earlier, so that the key before the newest opens too.
"""

from __future__ import annotations

from typing import Final

from vault.clock import DAY, Micros
from vault.crypto.base64url import encode
from vault.crypto.jws import Jwk
from vault.crypto.signing import Signer
from vault.errors import Unavailable
from vault.keyring.hierarchy import Purpose
from vault.policy.terms import Terms
from vault.secret import Secret
from vault.services.cell import Cell

NOTICE: Final[Micros] = 7 * DAY
"""How long a key is announced before it signs."""


def delivery_signers(cell: Cell) -> tuple[Signer, Signer | None]:
    """What signs sealed answers, and what will, if that is another.

    Raises:
        Unavailable: `key_unavailable`: there is none.
    """
    keys = [signer for _, signer in cell.keyring.signers(Purpose.DELIVERY)]
    if not keys:
        raise Unavailable("key_unavailable")
    if len(keys) == 1 or cell.keyring.made_at(Purpose.DELIVERY) + NOTICE <= cell.clock.now():
        return keys[0], None
    return keys[1], keys[0]


def delivery_keys(cell: Cell, terms: Terms) -> dict[str, Jwk | None]:
    """What is shown of them with a grant; nothing where nothing is sealed for it."""
    if terms.seal_to is None:
        return {}
    now, later = delivery_signers(cell)
    return {"delivery_key": _jwk(now), "next_delivery_key": None if later is None else _jwk(later)}


def _jwk(signer: Signer) -> Jwk:
    return Jwk("OKP", "Ed25519", encode(signer.public))


def intake_keys(cell: Cell) -> tuple[Secret, ...]:
    """What opens sealed requests: the key that is told to whoever asks, then the one before it.

    Raises:
        Unavailable: `key_unavailable`: there is none.
    """
    keys = cell.keyring.intakes()
    if not keys:
        raise Unavailable("key_unavailable")
    return keys[:2]
