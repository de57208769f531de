"""What the service acknowledged to its clients: kept outside of it, so that killing it loses none."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Sealed(NamedTuple):
    """A ciphertext that a client was given, and what it stands for."""

    field: str
    ciphertext: str
    value: str
    subject: str | None
    record: str


@dataclass
class Once:
    """A request with an Idempotency-Key, answered or not: to be made again until it is.

    Attributes:
        id: of what it made, as far as it was answered.
    """

    key: str
    body: dict[str, Any]
    id: str | None = None


class Held(NamedTuple):
    """A token that a client was given, and the value it stands for."""

    field: str
    token: str
    value: str
    subject: str | None
    key_version: int | None
    round: int


@dataclass
class Given:
    """A grant that a client was given.

    Attributes:
        plaintexts: how many values were acknowledged under it.
        revoked: whether its revocation was acknowledged.
    """

    id: str
    credential: str = field(repr=False)
    uses: int
    subject: str | None
    round: int
    plaintexts: int = 0
    revoked: bool = False


@dataclass
class Journal:
    """Everything acknowledged so far; safe between threads.

    Attributes:
        wrong: sentences about answers that ought not to have been, without values.
        shared: the one token of each value of a deterministic field.
        late: plaintexts that began to be asked for after the revocation was acknowledged.
    """

    tokens: list[Held] = field(default_factory=list)
    grants: dict[str, Given] = field(default_factory=dict)
    decisions: set[str] = field(default_factory=set)
    keys: list[tuple[str, str]] = field(default_factory=list, repr=False)  # (id, credential)
    answers: int = 0
    sealed: list[Sealed] = field(default_factory=list, repr=False)
    shared: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)  # (field, value): token
    once: list[Once] = field(default_factory=list, repr=False)
    wrong: list[str] = field(default_factory=list)
    late: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, decision: str | None = None, tokens: list[Held] | None = None) -> None:
        """One acknowledged answer, with what it acknowledged."""
        with self.lock:
            self.answers += 1
            self.tokens += tokens or []
            if decision:
                self.decisions.add(decision)

    def note_shared(self, field_: str, value: str, token: str) -> None:
        """The token of a value that has one token: the same as every time before."""
        with self.lock:
            if self.shared.setdefault((field_, value), token) != token:
                self.wrong.append(f"{field_}: a second token of one value")

    def note_sealed(self, sealed: Sealed) -> None:
        """An acknowledged ciphertext."""
        with self.lock:
            self.sealed.append(sealed)

    def note_grant(self, grant: Given, decision: str) -> None:
        """An acknowledged grant."""
        self.note(decision)
        with self.lock:
            self.grants[grant.id] = grant

    def note_key(self, key: str, credential: str) -> None:
        """An acknowledged service key."""
        self.note()
        with self.lock:
            self.keys.append((key, credential))

    def note_values(self, grant: Given, count: int, *, was_revoked: bool) -> None:
        """Acknowledged plaintexts under a grant."""
        with self.lock:
            grant.plaintexts += count
            if was_revoked:
                self.late += count

    def note_revocation(self, grant: Given) -> None:
        """An acknowledged revocation."""
        self.note()
        with self.lock:
            grant.revoked = True

    def complain(self, sentence: str) -> None:
        """An answer that ought not to have been."""
        with self.lock:
            self.wrong.append(sentence)
