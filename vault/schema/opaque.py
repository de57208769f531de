"""Whether tokens of a template could be taken for opaque ones, `tok_` and 26 characters."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Final

from vault.errors import CoatcheckError
from vault.formats.template import Template

_DRAWN: Final = 32


def takes_opaque_tokens(template: Template) -> bool:
    """Whether a template takes a text in the form of an opaque token, as a value or as a token.

    Tries texts of letters, of digits, and mixed ones: a template with a rule that only others meet is not
    found. Its tokens would be read as opaque, name no row, and be refused: never another value.
    """
    return any(_takes(template, text) for text in _texts())


def _texts() -> Iterator[str]:
    """Texts in the form of opaque tokens, the same each time."""
    for pattern in ("a", "z", "2", "7", "a2", "2a"):
        yield f"tok_{pattern * 26}"[:30]
    for number in range(_DRAWN):
        digest = hashlib.sha256(number.to_bytes(4, "big")).digest()[:16]
        yield f"tok_{base64.b32encode(digest).decode().lower().rstrip('=')}"


def _takes(template: Template, text: str) -> bool:
    for parse in (template.parse, template.parse_token):
        try:
            parse(text)
        except CoatcheckError:
            continue
        return True
    return False
