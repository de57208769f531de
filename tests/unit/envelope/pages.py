"""The worked examples of docs/spec/: a page's TOML blocks under `example`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "spec"
_BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(page: str) -> str:
    """The whole page."""
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def example(page: str) -> dict[str, Any]:
    """The examples of a page, those of all its blocks together."""
    found: dict[str, Any] = {}
    for block in _BLOCK.findall(text(page)):
        found |= tomllib.loads(block)["example"]
    return found


def octets(written: str) -> bytes:
    """Bytes written in hex, with spaces and line breaks where they please the eye."""
    return bytes.fromhex("".join(written.split()))


def line(written: str) -> str:
    """A text that is one line and was broken to fit the page."""
    return written.replace("\n", "")
