"""Pages of lists: newest first, with a cursor that is the last id shown."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.errors import BadInput
from vault.identifiers import parse_id
from vault.services.hidden import Hidden

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is wanted.

    Attributes:
        limit: 1 to 500 rows.
        cursor: the `next` of the page before.
    """

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


FIRST_PAGE: Final = Page()


class Listing(Hidden, frozen=True):
    """One page."""

    items: list[Any]
    next: str | None


def check_limit(page: Page) -> None:
    """Returns if a page has a length that pages may have.

    Raises:
        BadInput: `parameter_invalid`.
    """
    if not 1 <= page.limit <= MAX_LIMIT:
        raise BadInput("parameter_invalid", parameter="limit")


def check_page(page: Page, prefix: str) -> str:
    """The id that all rows of the page are below; a text above every id for the first page.

    Raises:
        BadInput: `parameter_invalid`.
    """
    check_limit(page)
    if page.cursor is None:
        return f"{prefix}_~"
    try:
        parse_id(prefix, page.cursor)
    except ValueError:
        raise BadInput("parameter_invalid", parameter="cursor") from None
    return page.cursor


def check_cursor(page: Page, prefix: str, first: bytes) -> bytes:
    """As `check_page`, for rows whose ids are bytes; `first` is above them all."""
    above = check_page(page, prefix)
    return first if page.cursor is None else parse_id(prefix, above)


def listing(items: list[Any], ids: list[str], page: Page) -> Listing:
    """The page of up to `limit` items; one more than that was asked for, to see whether it is the last."""
    if len(items) > page.limit:
        return Listing(items[: page.limit], ids[page.limit - 1])
    return Listing(items, None)
