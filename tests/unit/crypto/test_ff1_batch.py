"""Many values at once give what one at a time gives, by every way there is, and are refused alike."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.ff1 import FF1
from vault.crypto.ff1_batch import COLUMNS_FROM, SCALAR_BELOW, THREADS_FROM, FF1Batch
from vault.crypto.ff1_columns import CHUNK, MAX_HALF
from vault.errors import ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, DIGITS
from vault.secret import Secret

KEY = bytes(range(32))
ALPHABETS = {
    "binary": "01",
    "digits": "0123456789",
    "digits backwards": "9876543210",
    "letters": "abcdefghijklmnopqrstuvwxyz",
    "base 36": "0123456789abcdefghijklmnopqrstuvwxyz",
    "base 62": ALPHANUMERIC.characters,
    "with a line end": "\n\r\t abc",
    "accents": "àáâãäåæçèéêëìíîï",
    "255 bytes": "".join(map(chr, range(255))),
    "256 bytes": "".join(map(chr, range(256))),
    "Han": "".join(chr(0x4E00 + place) for place in range(1000)),
    "beyond the first plane": "".join(chr(0x1F300 + place) for place in range(64)),
    "all that there may be": "".join(chr(0x10000 + place) for place in range(65536)),
}
SIZES = (1, SCALAR_BELOW - 1, SCALAR_BELOW, COLUMNS_FROM - 1, COLUMNS_FROM, COLUMNS_FROM + 13)
FULL = bool(os.environ.get("COATCHECK_FULL"))


def expected(alphabet: str, values: list[str], tweaks: list[bytes]) -> list[str]:
    ff1 = FF1(KEY, len(alphabet))
    return [ff1.encrypt_str(value, alphabet, tweak) for value, tweak in zip(values, tweaks, strict=True)]


def lengths(radix: int) -> list[int]:
    """Of every way through the rounds, the shortest and the longest, and some between."""
    shortest = next(n for n in range(2, 30) if radix**n >= 1_000_000)
    bounds = {shortest, shortest + 1}
    for bound in (1 << 32, 1 << 46, MAX_HALF, 1 << 64, 1 << 96):
        at = next(n for n in range(2, 400) if radix ** (n - n // 2) >= bound)
        bounds |= {at - 2, at - 1, at, at + 1}
    return sorted(n for n in bounds if shortest <= n <= 200)


@pytest.mark.parametrize("name", ALPHABETS)
def test_every_length_size_and_tweak(name: str) -> None:
    alphabet, chosen = ALPHABETS[name], random.Random(name)
    batch = FF1Batch(KEY, alphabet)
    for n in lengths(len(alphabet)):
        for size in SIZES:
            t = chosen.choice((0, 1, 7, 8, 12, 13, 16, 29, 64, 256))
            values = ["".join(chosen.choices(alphabet, k=n)) for _ in range(size)]
            values[0], values[-1] = alphabet[0] * n, alphabet[-1] * n
            own = [chosen.randbytes(t) for _ in values]
            for tweak, tweaks in ((own[0], own[:1] * size), (own, own)):
                tokens = expected(alphabet, values, tweaks)
                assert batch.encrypt(values, tweak) == tokens, (n, size, t)
                assert batch.decrypt(tokens, tweak) == values, (n, size, t)


@pytest.mark.parametrize("size", [3, COLUMNS_FROM - 1, COLUMNS_FROM + 13])
@pytest.mark.parametrize("n", [10, 19, 29, 50])
def test_tweaks_that_begin_alike(n: int, size: int) -> None:
    """A prefix and the rest make the tweak, wherever the prefix ends within a block."""
    chosen, batch, alphabet = random.Random(n), FF1Batch(KEY, DIGITS.characters), DIGITS.characters
    values = ["".join(chosen.choices(alphabet, k=n)) for _ in range(size)]
    matrix = np.frombuffer("".join(values).encode(), np.uint8).reshape(size, n)
    for p in (0, 1, 15, 16, 17, 40, 64):
        for t in (0, 1, 9, 33):
            prefix, own = chosen.randbytes(p), [chosen.randbytes(t) for _ in values]
            for rest, tweaks in ((own, [prefix + one for one in own]), (own[0], [prefix + own[0]] * size)):
                tokens = expected(alphabet, values, tweaks)
                assert batch.encrypt(values, rest, prefix) == tokens, (p, t)
                assert batch.decrypt(tokens, rest, prefix) == values, (p, t)
                rows = np.array([list(one) for one in rest], np.uint8) if isinstance(rest, list) else rest
                made = batch.encrypt_matrix(matrix, rows, prefix)
                assert made.tobytes().decode() == "".join(tokens), (p, t)
                assert (batch.decrypt_matrix(made, rows, prefix) == matrix).all(), (p, t)


values_of_any_length = st.lists(st.text(DIGITS.characters, min_size=6, max_size=40), max_size=90)


@given(values_of_any_length, st.lists(st.binary(max_size=20), min_size=90, max_size=90))
def test_mixed_lengths_stay_in_their_places(values: list[str], tweaks: list[bytes]) -> None:
    batch, own = FF1Batch(KEY, DIGITS.characters), tweaks[: len(values)]
    assert batch.encrypt(values, tweaks[0]) == expected(DIGITS.characters, values, tweaks[:1] * len(values))
    tokens = expected(DIGITS.characters, values, own)
    assert batch.encrypt(values, own) == tokens
    assert batch.decrypt(tokens, own) == values


@pytest.mark.parametrize("n", [6, 10, 18, 19, 29, 36])
@pytest.mark.parametrize("count", [CHUNK, CHUNK + 1, THREADS_FROM, THREADS_FROM + CHUNK + 5])
def test_chunks_and_threads_meet(n: int, count: int) -> None:
    """All rows against themselves, and those around every border against one at a time."""
    chosen = np.random.default_rng(n)
    matrix = chosen.integers(48, 58, (count, n), np.uint8)
    batch, tweak = FF1Batch(KEY, DIGITS.characters), b"tweak"
    tokens = batch.encrypt_matrix(matrix, tweak)
    assert (batch.decrypt_matrix(tokens, tweak) == matrix).all()
    borders = [at + by for at in range(0, count, CHUNK) for by in (-1, 0, 1) if 0 <= at + by < count]
    ff1 = FF1(KEY, 10)
    for at in [*borders, count - 1]:
        value, token = (bytes(rows[at]).decode() for rows in (matrix, tokens))
        assert ff1.encrypt_str(value, DIGITS.characters, tweak) == token, at


@pytest.mark.parametrize("radix", [10, 36, 62])
def test_a_million_random_cases(radix: int) -> None:
    """The columns against the scalar rounds; 10^6 in all with COATCHECK_FULL=1."""
    alphabet, chosen = ALPHANUMERIC.characters[:radix], random.Random(radix)
    batch = FF1Batch(KEY, alphabet)
    cases = 333_334 if FULL else 3_000
    while cases > 0:
        n, t, size = chosen.randint(6, 40), chosen.randint(0, 40), chosen.randint(COLUMNS_FROM, 300)
        values = ["".join(chosen.choices(alphabet, k=n)) for _ in range(size)]
        own = [chosen.randbytes(t) for _ in values]
        if chosen.random() < 0.5:
            assert batch.encrypt(values, own[0]) == expected(alphabet, values, own[:1] * size)
        else:
            assert batch.encrypt(values, own) == expected(alphabet, values, own)
        cases -= size


def test_matrices_of_either_type() -> None:
    texts = [f"{number:010d}" for number in range(100)]
    batch, tokens = FF1Batch(Secret(KEY), DIGITS.characters), expected(DIGITS.characters, texts, [b""] * 100)
    for kind, encoding in ((np.uint8, "ascii"), (np.uint32, "utf-32-le")):
        matrix = np.frombuffer("".join(texts).encode(encoding), kind).reshape(100, 10)
        made = batch.encrypt_matrix(matrix)
        assert made.dtype == kind
        assert bytes(made.astype(np.uint8)).decode() == "".join(tokens)
        assert (batch.decrypt_matrix(np.asfortranarray(made)) == matrix).all()
        assert batch.encrypt_matrix(matrix[::2][::-1]).tolist() == made[::2][::-1].tolist()
    long = np.frombuffer(b"1234567890" * 500, np.uint8).reshape(100, 50)
    assert (batch.decrypt_matrix(batch.encrypt_matrix(long, b"t"), b"t") == long).all()
    tweaks = np.arange(300, dtype=np.uint8).reshape(100, 3)
    own = [bytes(row) for row in tweaks]
    wanted = expected(DIGITS.characters, ["1234567890" * 5] * 100, own)
    assert batch.encrypt_matrix(long, tweaks).tobytes().decode() == "".join(wanted)


@pytest.mark.parametrize("size", [1, SCALAR_BELOW + 1, COLUMNS_FROM + 1, 500])
@pytest.mark.parametrize(
    ("value", "code", "position"),
    [
        ("12345678x0", "value_alphabet", 8),
        ("123456789\n", "value_alphabet", 9),
        ("\n234567890", "value_alphabet", 0),
        ("12345\n7890", "value_alphabet", 5),
        ("١234567890", "value_alphabet", 0),
        ("123456789\ud800", "value_alphabet", 9),
        ("12345", "domain_too_small", None),
        ("", "value_length", None),
        ("1" * 513, "value_length", None),
    ],
)
@pytest.mark.parametrize("per_value", [False, True])
def test_what_is_refused_says_which(
    size: int, value: str, code: str, position: int | None, per_value: bool
) -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    for place in {0, size // 2, size - 1}:
        values = [f"{number:010d}" for number in range(size)]
        values[place] = value
        tweak = [b"t%d" % (number % 7) for number in range(size)] if per_value else b"t"
        for run in (batch.encrypt, batch.decrypt):
            with pytest.raises(ValueRefused) as refusal:
                run(values, tweak)
            assert refusal.value.code == code
            assert refusal.value.facts["item"] == place
            assert refusal.value.facts.get("position") == position


def test_a_matrix_is_refused_by_row_whichever_thread_it_falls_to() -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    for place in (0, CHUNK, THREADS_FROM - 1):
        matrix = np.full((THREADS_FROM, 10), 48, np.uint8)
        matrix[place, 3] = 47
        with pytest.raises(ValueRefused) as refusal:
            batch.encrypt_matrix(matrix)
        assert (refusal.value.facts["item"], refusal.value.facts["position"]) == (place, 3)


@pytest.mark.parametrize("alphabet", ["ûüýþÿ", "ÿþýüû", "\U0001f300\U0001f302", "ab\U0001f300"])
def test_no_foreign_character_of_a_wide_matrix_is_taken_for_another(alphabet: str) -> None:
    batch = FF1Batch(KEY, alphabet)
    for foreign in (0, 1, 0x100, 0x1FF, 0x1F301, 0x10FFFF, 0xFFFFFFFF):
        matrix = np.full((3, 60), ord(alphabet[0]), np.uint32)
        matrix[1, 2] = foreign
        with pytest.raises(ValueRefused) as refusal:
            batch.encrypt_matrix(matrix)
        assert refusal.value.facts == {"item": 1, "position": 2}


def test_nothing_is_no_work() -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    assert batch.encrypt([]) == batch.encrypt([], []) == []
    assert batch.encrypt_matrix(np.empty((0, 10), np.uint8)).shape == (0, 10)


@pytest.mark.parametrize(
    "call",
    [
        lambda batch: batch.encrypt(["1234567"] * 9, [b""] * 8),
        lambda batch: batch.encrypt(["1234567"], []),
        lambda batch: batch.encrypt(["1234567"] * 60, b"t" * 257),
        lambda batch: batch.encrypt_matrix(np.zeros(10, np.uint8)),
        lambda batch: batch.encrypt_matrix(np.zeros((5, 10), np.int64)),
        lambda batch: batch.encrypt_matrix(np.zeros((5, 10), np.uint8), np.zeros((4, 3), np.uint8)),
        lambda batch: FF1Batch(KEY, ALPHABETS["Han"]).encrypt_matrix(np.zeros((5, 10), np.uint8)),
        lambda batch: FF1Batch(KEY[:5], DIGITS.characters),
        lambda batch: FF1Batch(KEY, "00"),
    ],
)
def test_a_call_that_makes_no_sense(call: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        call(FF1Batch(KEY, DIGITS.characters))  # type: ignore[operator]


def test_threads_share_it() -> None:
    batch = FF1Batch(KEY, DIGITS.characters)
    values = [f"{number:010d}" for number in range(2_000)]
    tokens = batch.encrypt(values)
    ready = threading.Barrier(4)

    def use(_: int) -> bool:
        ready.wait()
        return all(batch.encrypt(values) == tokens and batch.decrypt(tokens) == values for _ in range(20))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(use, range(4)))
