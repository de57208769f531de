"""What a use of a grant asks for, and what the ledger decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vault.envelope.message import Message
from vault.ledger.state import Claim
from vault.policy.decision import Decision
from vault.policy.grant import Derived, Grant
from vault.schema.document import FieldRule
from vault.services.batch import Failures, ItemError
from vault.store.custody import KeyRow

Shown = str | bool | None
"""What is shown of an item: a value or a part of one, whether it passes a test, or nothing for a null."""

Told = Shown | ItemError
"""The same, or the error in its place."""

NEVER_SEEN: Final = b"\xff" * 16
"""In place of the row of a subject who has none. No row has this id, and it is not nobody's (`NIL`)."""


@dataclass(slots=True, repr=False)
class Asked:
    """A token or ciphertext as prepared: what it names, or why it cannot name anything.

    Attributes:
        given: False for a null, which is neither charged nor opened.
        subject: the row of the subject named, or `NEVER_SEEN`.
        refusal: a code; told only after the charge.
    """

    field: str
    rule: FieldRule | None
    given: bool
    subject: bytes | None = None
    refusal: str | None = None
    row: bytes | None = None  # vaulted
    surrogate: str | None = None  # of a shaped vaulted token, as registered
    text: str = ""  # the token or ciphertext as it came
    named: str | None = None  # the person, as the request names it
    candidate: str | None = None  # what a value is compared with
    attempt: bytes | None = None  # what tries of this token are counted by
    passed: bool = False  # vaultless: the value itself
    key_version: int | None = None
    message: Message | None = None  # encrypted
    record: bytes | None = None
    mask: str | None = None  # that this item alone is shown through


@dataclass(frozen=True, slots=True, repr=False)
class Asking:
    """What a body asks for besides its items.

    Attributes:
        challenge: of a request for a sealed answer, which is signed with it.
        derive: the function that is asked for.
        conversation, task: what the use is part of, as the caller names it.
    """

    verb: str
    operation: str
    mask: str | None
    delivery: str
    purpose: str
    on_error: str
    challenge: str | None = None
    conversation: str | None = None
    task: str | None = None
    derive: Derived | None = None


@dataclass(slots=True, repr=False)
class Used:
    """What the ledger decided."""

    decision: Decision
    grant: Grant
    uses_left: int
    failures: Failures
    claims: dict[int, Claim] = field(default_factory=dict)
    keys: dict[int, KeyRow] = field(default_factory=dict)  # data keys of ciphertexts
    versions: dict[int, int] = field(default_factory=dict)  # key versions of vaultless tokens
    attempts_left: int | None = None  # of the token that was verified
    people: frozenset[bytes] | None = None  # those whose values it may show; None: anybody's
