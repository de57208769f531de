"""The nine FF1 samples that NIST publishes with SP 800-38G."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from vault.crypto.ff1 import FF1
from vault.secret import Secret

FOLDER = Path(__file__).parent
SAMPLES: list[dict[str, str]] = json.loads((FOLDER / "ff1_nist.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"sample {sample['sample']}")
def test_sample(sample: dict[str, str]) -> None:
    alphabet, tweak = sample["alphabet"], bytes.fromhex(sample["tweak"])
    ff1 = FF1(Secret(bytes.fromhex(sample["key"])), len(alphabet))
    assert ff1.encrypt_str(sample["plaintext"], alphabet, tweak) == sample["ciphertext"]
    assert ff1.decrypt_str(sample["ciphertext"], alphabet, tweak) == sample["plaintext"]
    plaintext = [alphabet.index(character) for character in sample["plaintext"]]
    ciphertext = [alphabet.index(character) for character in sample["ciphertext"]]
    assert ff1.encrypt(plaintext, tweak) == ciphertext
    assert ff1.decrypt(ciphertext, tweak) == plaintext


def test_all_nine_are_here_and_as_they_were_copied() -> None:
    assert len(SAMPLES) == 9
    digest = hashlib.sha256((FOLDER / "ff1_nist.json").read_bytes()).hexdigest()
    assert digest in (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
