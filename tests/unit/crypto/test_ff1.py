from __future__ import annotations

import copy
import pickle
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from tests.unit.echo import shown
from vault.crypto.ff1 import FF1, KEY_SIZES, MAX_NUMERALS, MAX_TWEAK, MIN_DOMAIN
from vault.errors import ValueRefused
from vault.secret import Secret

KEY = bytes(range(32))
DIGITS = "0123456789"
BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
BASE_62 = BASE_36 + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def refusal(call: Callable[[], object]) -> ValueRefused:
    with pytest.raises(ValueRefused) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("size", KEY_SIZES)
def test_both_ways_under_every_key_size(size: int) -> None:
    ff1 = FF1(KEY[:size], 10)
    token = ff1.encrypt_str("0123456789", DIGITS, b"tweak")
    assert len(token) == 10
    assert ff1.decrypt_str(token, DIGITS, b"tweak") == "0123456789"


def test_a_secret_and_its_bytes_are_the_same_key() -> None:
    assert FF1(Secret(KEY), 10).encrypt([1] * 8) == FF1(KEY, 10).encrypt([1] * 8)


@pytest.mark.parametrize(
    "alphabet", [DIGITS, DIGITS[::-1], BASE_36, BASE_36.upper(), BASE_36[::-1], BASE_62, "ab"]
)
@pytest.mark.parametrize("length", [20, 57, 58, 256])
def test_text_is_numerals_by_another_name(alphabet: str, length: int) -> None:
    chosen = random.Random(length)
    ff1 = FF1(KEY, len(alphabet))
    numerals = chosen.choices(range(len(alphabet)), k=length)
    text = "".join(alphabet[numeral] for numeral in numerals)
    token = ff1.encrypt(numerals, b"t")
    assert ff1.encrypt_str(text, alphabet, b"t") == "".join(alphabet[numeral] for numeral in token)
    assert ff1.decrypt(token, b"t") == numerals
    assert ff1.decrypt_str(ff1.encrypt_str(text, alphabet, b"t"), alphabet, b"t") == text


def test_leading_zeros_are_kept() -> None:
    ff1 = FF1(KEY, 10)
    value = "0000000000"
    assert ff1.decrypt_str(ff1.encrypt_str(value, DIGITS), DIGITS) == value
    # the value whose token is all zeros
    assert ff1.encrypt_str(ff1.decrypt_str(value, DIGITS), DIGITS) == value


def test_key_radix_length_and_tweak_all_matter() -> None:
    value = "0101010101010101010101"
    tokens = {
        FF1(KEY, 10).encrypt_str(value, DIGITS),
        FF1(KEY, 10).encrypt_str(value, DIGITS, b"\0"),
        FF1(KEY, 10).encrypt_str(value, DIGITS, b"\0\0"),
        FF1(KEY[:16], 10).encrypt_str(value, DIGITS),
        FF1(KEY, 36).encrypt_str(value, BASE_36),
        FF1(KEY, 10).encrypt_str(value[:-1], DIGITS),
    }
    assert len(tokens) == 6


@pytest.mark.parametrize(
    ("radix", "shortest"),
    [(2, 20), (3, 13), (10, 6), (26, 5), (36, 4), (62, 4), (100, 3), (999, 3), (1000, 2), (65536, 2)],
)
def test_the_smallest_domain(radix: int, shortest: int) -> None:
    assert radix**shortest >= MIN_DOMAIN > radix ** (shortest - 1)
    ff1 = FF1(KEY, radix)
    assert ff1.decrypt(ff1.encrypt([1] * shortest)) == [1] * shortest
    code = "domain_too_small" if shortest > 2 else "value_length"
    for call in (ff1.encrypt, ff1.decrypt):
        assert refusal(lambda call=call: call([1] * (shortest - 1))).code == code  # type: ignore[misc]


@pytest.mark.parametrize("length", [0, 1, MAX_NUMERALS + 1, 10**6])
def test_lengths_outside_the_bounds(length: int) -> None:
    ff1 = FF1(KEY, 65536)
    for call in (ff1.encrypt, ff1.decrypt):
        assert refusal(lambda call=call: call([0] * length)).code == "value_length"  # type: ignore[misc]
    assert refusal(lambda: FF1(KEY, 10).encrypt_str("7" * length, DIGITS)).code == "value_length"


def test_the_longest_value_and_the_longest_tweak() -> None:
    ff1 = FF1(KEY, 65536)
    numerals = random.Random(1).choices(range(65536), k=MAX_NUMERALS)
    tweak = bytes(MAX_TWEAK)
    assert ff1.decrypt(ff1.encrypt(numerals, tweak), tweak) == numerals
    with pytest.raises(ValueError, match="a tweak is at most 256 bytes"):
        ff1.encrypt(numerals, bytes(MAX_TWEAK + 1))


@pytest.mark.parametrize(("numeral", "radix"), [(10, 10), (-1, 10), (2, 2), (65536, 65536), (10**40, 10)])
def test_numerals_outside_the_radix(numeral: int, radix: int) -> None:
    ff1 = FF1(KEY, radix)
    for call in (ff1.encrypt, ff1.decrypt):
        error = refusal(lambda call=call: call([1] * 19 + [numeral]))  # type: ignore[misc]
        assert (error.code, error.facts) == ("value_alphabet", {"position": 19})


@pytest.mark.parametrize(
    "text",
    [
        "12345x",
        " 123456",
        "123456 ",
        "+123456",
        "-123456",
        "1_234_567",
        "１２３４５６",
        "12345²",
        "12345\0",
        "12345\ud800",
        "12345\n",
        "12345\u202e",
        "12345\u200b",
        "0x123456",
    ],
)
def test_what_int_would_take_is_refused(text: str) -> None:
    ff1 = FF1(KEY, 10)
    for call in (ff1.encrypt_str, ff1.decrypt_str):
        error = refusal(lambda call=call: call(text, DIGITS))  # type: ignore[misc]
        assert error.code == "value_alphabet"
        assert error.facts == {"position": next(i for i, char in enumerate(text) if char not in DIGITS)}


@pytest.mark.parametrize(
    ("alphabet", "text"), [(BASE_36, "ABCDEF"), (BASE_36.upper(), "abcdef"), (BASE_62, "abcé")]
)
def test_case_is_not_folded(alphabet: str, text: str) -> None:
    assert refusal(lambda: FF1(KEY, len(alphabet)).encrypt_str(text, alphabet)).code == "value_alphabet"


@pytest.mark.parametrize(
    "key", [b"", bytes(15), bytes(17), bytes(33), Secret(bytes(8)), "k" * 16, bytearray(16), None]
)
def test_keys_that_are_none(key: Any) -> None:
    with pytest.raises(ValueError, match="an AES key is 16, 24 or 32 bytes"):
        FF1(key, 10)


@pytest.mark.parametrize("radix", [-1, 0, 1, 65537, True, 10.0, "10", None])
def test_radices_that_are_none(radix: Any) -> None:
    with pytest.raises(ValueError, match="a radix is an int from 2 to 65536"):
        FF1(KEY, radix)


@pytest.mark.parametrize(
    "alphabet", ["", "0", "012345678", "01234567890", "0123456788", list(DIGITS), None, 10]
)
def test_alphabets_that_are_none(alphabet: Any) -> None:
    ff1 = FF1(KEY, 10)
    for call in (ff1.encrypt_str, ff1.decrypt_str):
        with pytest.raises(ValueError, match="alphabet") as caught:
            call("0123456789", alphabet)
        assert DIGITS[:8] not in shown(caught.value)


@pytest.mark.parametrize("tweak", ["tweak", bytearray(4), memoryview(b"1234"), None, 7, ["t"]])
def test_tweaks_that_are_none(tweak: Any) -> None:
    with pytest.raises(ValueError, match="a tweak is at most 256 bytes"):
        FF1(KEY, 10).encrypt_str("0123456789", DIGITS, tweak)
    with pytest.raises(ValueError, match="a tweak is at most 256 bytes"):
        FF1(KEY, 10).encrypt([0] * 10, tweak)


@pytest.mark.parametrize("numerals", ["0123456789", [True] * 10, [1.0] * 10, [None] * 10, {1, 2}, 5, None])
def test_numerals_of_another_type(numerals: Any) -> None:
    with pytest.raises(ValueError, match="numerals are"):
        FF1(KEY, 10).encrypt(numerals)


@pytest.mark.parametrize("text", [b"0123456789", list(DIGITS), 123456789, None])
def test_text_of_another_type(text: Any) -> None:
    with pytest.raises(ValueError, match="text is a str"):
        FF1(KEY, 10).encrypt_str(text, DIGITS)


def test_errors_echo_nothing() -> None:
    ff1 = FF1(Secret(KEY), 10)
    canary = "4929a1338"
    calls: list[Callable[[], object]] = [
        lambda: ff1.encrypt_str(canary, DIGITS),
        lambda: ff1.decrypt_str(canary * 100, DIGITS),
        lambda: ff1.encrypt_str(canary, canary + "bb"),
        lambda: ff1.encrypt_str("123456", DIGITS, canary),  # type: ignore[arg-type]
        lambda: ff1.encrypt_str("123456", DIGITS, canary.encode() * 50),
        lambda: ff1.encrypt([canary] * 6),  # type: ignore[list-item]
        lambda: ff1.encrypt([4929133] * 6),
        lambda: FF1(canary.encode(), 10),
        lambda: FF1(KEY, canary),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises((ValueRefused, ValueError)) as caught:
            call()
        text = shown(caught.value)
        assert canary not in text
        assert "4929" not in text
        assert "'a'" not in text


def test_nothing_shows_the_key() -> None:
    ff1 = FF1(KEY, 10)
    ff1.encrypt([1] * 8)
    texts = [repr(ff1), str(ff1), *(repr(getattr(ff1, name)) for name in FF1.__slots__)]
    for text in texts:
        assert KEY.hex() not in text
        assert repr(KEY)[2:-1] not in text
    assert not any(isinstance(getattr(ff1, name), bytes | bytearray | Secret) for name in FF1.__slots__)
    with pytest.raises(TypeError):
        pickle.dumps(ff1)
    with pytest.raises(TypeError):
        copy.deepcopy(ff1)


def test_state_stays_bounded_when_tweaks_vary() -> None:
    ff1 = FF1(KEY, 10)
    for number in range(2000):
        ff1.encrypt_str("0123456789", DIGITS, number.to_bytes(2, "big"))
        ff1.encrypt_str("7" * (6 + number % 400), DIGITS, bytes(number % 200))
    info = ff1.state.cache_info()
    assert info.maxsize == 256
    assert info.currsize <= 256
    assert ff1.decrypt_str(ff1.encrypt_str("0123456789", DIGITS, b"\0\0"), DIGITS, b"\0\0") == "0123456789"


@pytest.mark.parametrize(("alphabet", "length"), [(DIGITS, 10), (BASE_62, 16), (BASE_62, 256)])
def test_threads_may_share_an_instance(alphabet: str, length: int) -> None:
    shared, rounds = FF1(KEY, len(alphabet)), 60_000 // length
    barrier = Barrier(2)

    def hammer(seed: int) -> int:
        alone, chosen, wrong = FF1(KEY, len(alphabet)), random.Random(seed), 0
        barrier.wait()
        for number in range(rounds):
            text, tweak = "".join(chosen.choices(alphabet, k=length)), bytes(number % 40)
            token = shared.encrypt_str(text, alphabet, tweak)
            wrong += token != alone.encrypt_str(text, alphabet, tweak)
            wrong += shared.decrypt_str(token, alphabet, tweak) != text
        return wrong

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(2) as pool:
            assert sum(pool.map(hammer, (1, 2))) == 0
    finally:
        sys.setswitchinterval(interval)
