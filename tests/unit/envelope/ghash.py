"""GCM from the inside: arithmetic in GF(2^128), and ciphertexts that are valid under two keys.

The tag of GCM is E_K(J0) plus a polynomial in H = E_K(0) whose coefficients are the blocks of associated
data and ciphertext. That is linear in every block. So whoever knows two keys solves one equation for one
free block, and the tag is the same under both. Source: NIST SP 800-38D, 6.3 to 6.5; the attack is the
"invisible salamander" of Dodis, Grubbs, Ristenpart and Woodage, CRYPTO 2018.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_R: Final = 0xE1 << 120  # x^128 + x^7 + x^2 + x + 1, bits reflected (SP 800-38D, 6.3)
_ONE: Final = 1 << 127


class Role(NamedTuple):
    """One way to read the ciphertext: key, 12-byte IV, associated data."""

    key: bytes
    iv: bytes
    associated: bytes


def multiply(x: int, y: int) -> int:
    """The product in GF(2^128) (SP 800-38D, Algorithm 1)."""
    z, v = 0, y
    for position in range(127, -1, -1):
        if x >> position & 1:
            z ^= v
        v = v >> 1 ^ (_R if v & 1 else 0)
    return z


def power(x: int, exponent: int) -> int:
    """x multiplied with itself."""
    result = _ONE
    while exponent:
        if exponent & 1:
            result = multiply(result, x)
        x = multiply(x, x)
        exponent >>= 1
    return result


def inverse(x: int) -> int:
    """1/x, by Fermat: x^(2^128 - 2)."""
    return power(x, 2**128 - 2)


def encrypt_block(key: bytes, block: bytes) -> int:
    """AES of one block, as a field element."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block), "big")


def blocks(associated: bytes, ciphertext: bytes) -> list[int]:
    """What GHASH runs over: both parts padded with zeros, then their lengths in bits."""
    padded = b"".join(part + bytes(-len(part) % 16) for part in (associated, ciphertext))
    padded += (8 * len(associated)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    return [int.from_bytes(padded[at : at + 16], "big") for at in range(0, len(padded), 16)]


def raw_tag(role: Role, ciphertext: bytes) -> int:
    """The tag that GCM gives a ciphertext in a role."""
    subkey, total = encrypt_block(role.key, bytes(16)), 0
    for block in blocks(role.associated, ciphertext):
        total = multiply(total ^ block, subkey)
    return total ^ encrypt_block(role.key, role.iv + b"\0\0\0\1")


def collide(one: Role, other: Role, ciphertext: bytes, at: int = 0) -> bytes:
    """Ciphertext and tag that raw GCM accepts in both roles.

    Args:
        one: a role.
        other: a role with another key.
        ciphertext: whole blocks; the block number `at` is replaced.
    """
    head, tail = ciphertext[: 16 * at], ciphertext[16 * at + 16 :]
    behind = len(blocks(b"", tail))  # blocks from the free one to the end, lengths included
    factor = 0
    for role in (one, other):
        factor ^= power(encrypt_block(role.key, bytes(16)), behind + 1)
    blank = head + bytes(16) + tail
    free = multiply(raw_tag(one, blank) ^ raw_tag(other, blank), inverse(factor))
    solved = head + free.to_bytes(16, "big") + tail
    return solved + raw_tag(one, solved).to_bytes(16, "big")
