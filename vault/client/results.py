"""What uses of a grant give. None of it shows its values: a result may be printed, logged or traced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

Value = TypeVar("Value")


class Result(msgspec.Struct, frozen=True):
    """A struct whose repr is its name alone."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Shown(Result, Generic[Value], frozen=True):
    """What was shown of some tokens.

    Attributes:
        decision: the id of the decision, `dec_...`, as the audit log has it.
        values: in the order of the tokens; None for a null token, and in the place of one that was refused.
        uses_left: of the grant.
        refused: the code of each token that could not be shown, by its place; empty unless `report` was asked
            for, since the whole request is refused otherwise.
        sealed: whether they came sealed, so that nobody on the way could read them.
    """

    decision: str
    values: tuple[Value, ...]
    uses_left: int
    refused: Mapping[int, str]
    sealed: bool


class Verified(Result, frozen=True):
    """Whether a candidate is a token's value.

    Attributes:
        attempts_left: how often this token can be tried again; None where the service does not say.
    """

    decision: str
    match: bool
    uses_left: int
    attempts_left: int | None
