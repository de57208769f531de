"""One AES-256 block: the published value, there and back, and no other length."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.block import BLOCK_BYTES, BlockCipher
from vault.secret import Secret

KEY = bytes(range(32))
blocks = st.binary(min_size=BLOCK_BYTES, max_size=BLOCK_BYTES)


def test_the_published_value() -> None:
    """FIPS 197, appendix C.3."""
    cipher = BlockCipher(Secret(KEY))
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert cipher.encrypt(plain).hex() == "8ea2b7ca516745bfeafc49904b496089"
    assert cipher.decrypt(cipher.encrypt(plain)) == plain


@given(st.binary(min_size=32, max_size=32), blocks, blocks)
def test_it_is_a_permutation(key: bytes, one: bytes, other: bytes) -> None:
    cipher = BlockCipher(Secret(key))
    assert cipher.decrypt(cipher.encrypt(one)) == one == cipher.encrypt(cipher.decrypt(one))
    assert (cipher.encrypt(one) == cipher.encrypt(other)) == (one == other)


@given(st.binary(min_size=32, max_size=32), st.lists(blocks, max_size=5))
def test_many_are_each_on_their_own(key: bytes, many: list[bytes]) -> None:
    cipher = BlockCipher(Secret(key))
    assert cipher.encrypt_many(many) == b"".join(cipher.encrypt(one) for one in many)


@pytest.mark.parametrize("sizes", [(15, 17), (32,), (16, 0), (1,)])
def test_many_are_of_one_length(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        BlockCipher(Secret(KEY)).encrypt_many([bytes(size) for size in sizes])


@pytest.mark.parametrize("size", [0, 1, 15, 17, 32, 4096])
def test_no_other_length_is_taken(size: int) -> None:
    cipher = BlockCipher(Secret(KEY))
    for use in (cipher.encrypt, cipher.decrypt):
        with pytest.raises(ValueError, match="16 bytes"):
            use(bytes(size))
    # a refused block leaves nothing behind that the next one would be mixed with
    assert cipher.encrypt(bytes(16)) == BlockCipher(Secret(KEY)).encrypt(bytes(16))


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33, 64])
def test_no_other_key_is_taken(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        BlockCipher(Secret(bytes(size)))


def test_threads_share_it() -> None:
    cipher = BlockCipher(Secret(KEY))
    plain = [number.to_bytes(16, "big") for number in range(2_000)]
    with ThreadPoolExecutor(8) as threads:
        images = list(threads.map(cipher.encrypt, plain))
        assert list(threads.map(cipher.decrypt, images)) == plain
    alone = BlockCipher(Secret(KEY))
    assert images == [alone.encrypt(block) for block in plain]


def test_threads_share_it_for_many_blocks_too() -> None:
    cipher = BlockCipher(Secret(KEY))
    plain = [number.to_bytes(16, "big") for number in range(1_000)]
    expected = b"".join(map(cipher.encrypt, plain))

    def use(_: int) -> bool:
        return cipher.encrypt_many(plain) == expected and cipher.encrypt(plain[1]) == expected[16:32]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(use, range(2_000)))
