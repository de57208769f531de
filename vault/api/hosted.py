"""The pages for people, by their paths: signing in, and approving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from vault.api import approval_page, sign_in_page
from vault.services.cell import Cell

_HTML: Final = b"text/html; charset=utf-8"
_SCRIPT: Final = b"text/javascript; charset=utf-8"
_Page = Callable[[], tuple[int, bytes, bytes]]


def pages(cells: Mapping[str, Cell]) -> dict[str, _Page]:
    """Every page. Where there are no passkeys, nobody needs one to register them."""
    made: dict[str, _Page] = {
        approval_page.PAGE_PATH: partial(_answer, _HTML, approval_page.page(cells)),
        approval_page.SCRIPT_PATH: partial(_answer, _SCRIPT, approval_page.SCRIPT),
    }
    regions = [region for region, cell in cells.items() if cell.sign_in.party is not None]
    if regions:
        made |= {
            sign_in_page.PAGE_PATH: partial(_answer, _HTML, sign_in_page.page(regions)),
            sign_in_page.SCRIPT_PATH: partial(_answer, _SCRIPT, sign_in_page.SCRIPT),
        }
    return made


def guards(path: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that keep a browser from doing with a page what it is not for; none of other paths."""
    guarded = path.startswith((approval_page.PAGE_PATH, sign_in_page.PAGE_PATH))
    return sign_in_page.HEADERS if guarded else ()


def _answer(media_type: bytes, body: bytes) -> tuple[int, bytes, bytes]:
    return 200, media_type, body
