"""Writes our own vectors anew: `python -m tests.vectors.make`. The same bytes every time.

A change of a byte in a vector is a change of a format. New ones are added to a `made_...` module; the
counts and hashes in SOURCES.md are written along.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import ModuleType

from tests.vectors import (
    made_audit,
    made_backups,
    made_identifiers,
    made_proofs,
    made_tokens,
    made_ve1,
)

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "SOURCES.md"
FORMATS: dict[str, ModuleType] = {
    "ve1": made_ve1,
    "tokens": made_tokens,
    "identifiers": made_identifiers,
    "audit": made_audit,
    "proofs": made_proofs,
    "backups": made_backups,
}


def content(name: str) -> str:
    """What the file of a format holds."""
    module = FORMATS[name]
    vectors = {
        "format": name,
        "page": module.PAGE,
        "valid": list(module.valid()),
        "defective": list(module.defective()),
    }
    return json.dumps(vectors, indent=1, ensure_ascii=True) + "\n"


def sources(page: str) -> str:
    """SOURCES.md with the counts and hashes of what `content` gives."""
    for name in FORMATS:
        text = content(name)
        vectors = json.loads(text)
        counts = (
            f"{len(vectors['valid'])} that are sound and {len(vectors['defective'])} with one defect each"
        )
        head, title, entry = page.partition(f"## {name}.json\n")
        entry = re.sub(r"\d+ that are sound and \d+ with one defect each", counts, entry, count=1)
        digest = hashlib.sha256(text.encode()).hexdigest()
        page = head + title + re.sub(r"SHA-256: `[0-9a-f]*`", f"SHA-256: `{digest}`", entry, count=1)
    return page


if __name__ == "__main__":
    for name in FORMATS:
        (FOLDER / f"{name}.json").write_text(content(name), encoding="utf-8")
    SOURCES.write_text(sources(SOURCES.read_text(encoding="utf-8")), encoding="utf-8")
