"""Batches: order and length are kept, and every bad item is named by its place and code.

`on_error` says what a bad item means: with `fail` the whole call is refused and nothing was made or
shown; with `report` the item's place holds its error, and the others are served.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

from vault.errors import BadInput, CoatcheckError, Fact
from vault.services.hidden import Hidden

FAIL: Final = "fail"
REPORT: Final = "report"

Failures = dict[int, CoatcheckError | str]
"""What is wrong with items, by their place: an error, or its code."""


class ItemCode(Hidden, frozen=True):
    """Why an item could not be served: a code of the table."""

    code: str


class ItemError(Hidden, frozen=True):
    """In the place of an item that could not be served, with `on_error` = `report`."""

    error: ItemCode

    @classmethod
    def of(cls, failure: CoatcheckError | str) -> ItemError:
        """The entry of a failure."""
        return cls(ItemCode(failure if isinstance(failure, str) else failure.code))


class BatchRefused(BadInput):
    """A batch with bad items: nothing was made and nothing is shown.

    Its code is the first bad item's; `errors` lists all of them as `{"index", "code"}`.
    """

    def __init__(self, failures: Failures, /, **facts: Fact) -> None:
        listed: list[dict[str, Fact]] = []
        for index in sorted(failures):
            failure = failures[index]
            listed.append({"index": index, "code": failure if isinstance(failure, str) else failure.code})
        self.first = str(listed[0]["code"])
        super().__init__(self.first, errors=listed, **facts)


def reports(on_error: str) -> bool:
    """Whether bad items are reported in their places.

    Raises:
        BadInput: `operation_unsupported`: neither `fail` nor `report`.
    """
    if on_error not in (FAIL, REPORT):
        raise BadInput("operation_unsupported", member="on_error")
    return on_error == REPORT


def check_size(items: Sized, most: int, member: str = "items") -> None:
    """Returns if a batch has items, and not more than the deployment takes.

    Args:
        member: where the body holds them.

    Raises:
        BadInput: `member_missing`, `batch_too_large`.
    """
    if not items:
        raise BadInput("member_missing", member=member)
    if len(items) > most:
        raise BadInput("batch_too_large", most=most)
