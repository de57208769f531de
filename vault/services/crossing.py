"""A batch of a transfer on the wire: what is sealed to the target, and what is sealed back.

The page is docs/spec/sealed-batch.md.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from vault.services.hidden import Hidden

ENTER: Final = "enter"  # values, to be entered once
TOKENS: Final = "tokens"  # what became of some, by pages
FORGET: Final = "forget"  # their pairs are not asked for any more
MAX_NUMBER: Final = 2**53 - 1  # what JSON's numbers hold exactly, RFC 8259, 6
MAX_VALUES: Final = 1_000  # of a batch, and of a page

Number = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class BatchBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A batch as it is sent.

    Attributes:
        source: the region that it leaves.
        transfer: the transfer's id there.
        number: of the batch; 0 for what enters nothing.
        enc_ct: HPKE's encapsulated key and ciphertext, base64url.
    """

    source: str
    transfer: str
    number: Number
    enc_ct: str


class BatchAnswer(Hidden, frozen=True):
    """The answer, sealed to a key that only whoever opened the batch knows."""

    enc_ct: str


class SentValue(Hidden, forbid_unknown_fields=True, frozen=True):
    """A value on its way.

    Attributes:
        source: the row of the token that it had, in hexadecimal.
        ends: when it was to be gone at the source, in microseconds; None: that is not known.
    """

    source: str
    field: str
    value: str
    ends: int | None = None


class Batch(Hidden, forbid_unknown_fields=True, frozen=True):
    """What is sealed.

    Attributes:
        tenant: whose; the same name in both cells.
        reply: the X25519 key that the answer is sealed to, base64url; of this request alone.
        above: of a page: the row before it, in hexadecimal.
    """

    step: str
    tenant: str
    reply: str
    legal_basis: str = ""
    person: str = ""
    values: Annotated[list[SentValue], msgspec.Meta(max_length=MAX_VALUES)] = msgspec.field(
        default_factory=list
    )
    above: str = ""
    most: Annotated[int, msgspec.Meta(ge=0, le=MAX_VALUES)] = 0


class Outcome(Hidden, forbid_unknown_fields=True, frozen=True):
    """What became of a value: why it has no token, or, where a page was asked for, the token."""

    source: str
    field: str = ""
    code: str = ""
    token: str = ""


class Reply(Hidden, forbid_unknown_fields=True, frozen=True):
    """What is sealed back."""

    values: list[Outcome]
