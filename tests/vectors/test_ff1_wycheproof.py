"""FF1 against the Wycheproof files and a subset of NIST's ACVP cases, which lie outside the repository.

Every valid case is exact both ways, save those with a domain under 1,000,000, which are refused; every
invalid case is refused. Origin and hashes: SOURCES.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vault.crypto.ff1 import FF1
from vault.crypto.ff1_batch import COLUMNS_FROM, SCALAR_BELOW, FF1Batch
from vault.errors import ValueRefused

FULL = os.environ.get("COATCHECK_FULL") == "1"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("COATCHECK_VECTORS") or ROOT.parent / "shared" / "vectors")
FILES = {  # name: cases
    "aes_ff1_base10_test.json": 3845,
    "aes_ff1_base36_test.json": 2854,
    "aes_ff1_base62_test.json": 2474,
    "aes_ff1_radix10_test.json": 3845,
    "aes_ff1_radix256_test.json": 2021,
}
REFUSED_AS = {
    "InvalidMessageSize": {"value_length", "domain_too_small"},
    "InvalidPlaintext": {"value_alphabet"},
    "InvalidKeySize": {"ValueError"},
    "SmallMessageSize": {"domain_too_small"},
}

Case = dict[str, Any]


def read(name: str) -> dict[str, Any]:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(
            f"NOT TESTED against {path.name}: no such vectors in ../shared/vectors or in COATCHECK_VECTORS"
        )
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def cases(name: str) -> Iterator[tuple[int, str | None, Case]]:
    """Radix, alphabet (None: the case is a list of numerals) and case."""
    for group in read(f"wycheproof/{name}")["testGroups"]:
        for case in group["tests"]:
            yield group["radix"], group.get("alphabet"), case


def run(radix: int, alphabet: str | None, case: Case, way: str, what: str) -> Any:
    """The result of one way of a case, or the code it is refused with."""
    tweak = bytes.fromhex(case["tweak"])
    try:
        ff1 = FF1(bytes.fromhex(case["key"]), radix)
        if alphabet is None:
            return getattr(ff1, way)(case[what], tweak)
        return getattr(ff1, f"{way}_str")(case[what], alphabet, tweak)
    except ValueRefused as refused:
        return refused.code
    except ValueError:
        return "ValueError"


def run_batch(radix: int, alphabet: str | None, case: Case, way: str, what: str, copies: int) -> Any:
    """The same by the batch face: a case as often as its size takes to go one way or another."""
    text = case[what]
    if alphabet is None:  # numerals: characters that stand for them
        alphabet = "".join(map(chr, range(0x4E00, 0x4E00 + radix)))
        if any(not 0 <= numeral < radix for numeral in text):
            return "value_alphabet" if radix ** len(text) >= 1_000_000 else "domain_too_small"
        text = "".join(alphabet[numeral] for numeral in text)
    try:
        batch = FF1Batch(bytes.fromhex(case["key"]), alphabet)
        made = getattr(batch, way)([text] * copies, bytes.fromhex(case["tweak"]))
    except ValueRefused as refused:
        return refused.code if refused.facts.get("item") == 0 else "another item"
    except ValueError:
        return "ValueError"
    assert set(made) == {made[0]}
    assert len(made) == copies
    return [ord(character) - 0x4E00 for character in made[0]] if isinstance(case[what], list) else made[0]


@pytest.mark.parametrize("copies", [1, SCALAR_BELOW, COLUMNS_FROM])
@pytest.mark.parametrize("name", FILES)
def test_wycheproof_by_the_batch_face(name: str, copies: int) -> None:
    """Each case gives, or is refused with, what one value alone is; in full, all cases in each size."""
    count = 0
    for radix, alphabet, case in cases(name):
        count += 1
        if not FULL and (count + copies) % 3:  # one in three, others for each size
            continue
        alone = run(radix, alphabet, case, "encrypt", "msg")
        assert run_batch(radix, alphabet, case, "encrypt", "msg", copies) == alone, case["tcId"]
        if case["result"] == "valid":
            alone = run(radix, alphabet, case, "decrypt", "ct")
            assert run_batch(radix, alphabet, case, "decrypt", "ct", copies) == alone, case["tcId"]
    assert count == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_wycheproof(name: str) -> None:
    outcomes: Counter[str] = Counter()
    for radix, alphabet, case in cases(name):
        (flag,) = case["flags"]
        token = run(radix, alphabet, case, "encrypt", "msg")
        if case["result"] == "valid" and flag != "SmallMessageSize":
            assert token == case["ct"], case["tcId"]
            assert run(radix, alphabet, case, "decrypt", "ct") == case["msg"], case["tcId"]
            outcomes["exact"] += 1
            continue
        allowed = REFUSED_AS[flag]
        if flag == "InvalidPlaintext" and radix ** len(case["msg"]) < 1_000_000:
            allowed = {"domain_too_small"}
        assert token in allowed, case["tcId"]
        if case["result"] == "valid":
            assert run(radix, alphabet, case, "decrypt", "ct") in allowed, case["tcId"]
        outcomes[str(token)] += 1
    assert sum(outcomes.values()) == FILES[name]
    assert {"value_alphabet", "value_length", "domain_too_small", "ValueError"} <= outcomes.keys()


def test_acvp_subset() -> None:
    tests: list[dict[str, str]] = read("nist/acvp_ff1_subset.json")["tests"]
    for case in tests:
        alphabet, tweak = case["alphabet"], bytes.fromhex(case["tweak"])
        ff1 = FF1(bytes.fromhex(case["key"]), len(alphabet))
        assert ff1.encrypt_str(case["pt"], alphabet, tweak) == case["ct"], case["tcId"]
        assert ff1.decrypt_str(case["ct"], alphabet, tweak) == case["pt"], case["tcId"]
    assert len(tests) == 31
