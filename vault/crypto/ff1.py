"""FF1 format-preserving encryption, one value at a time.

Source: NIST SP 800-38G (March 2016), Algorithms 7 and 8, section 5.1 for the bounds; Rev. 1, second
public draft (February 2025), for the smallest domain. FF3 and FF3-1 are not here and will not be.

How the rounds are arranged, none of which changes a result:

- The halves stay integers through all ten rounds. Rounds run in pairs, so `a` is always the half of u
  numerals and `b` the half of v, and steps 6.viii and 6.ix (the swap) need no doing.
- P and every whole block of Q that holds neither round number nor NUM(B) are the same in all rounds: they
  are folded into one CBC-MAC state, which with the round numbers makes ten constants. A round is then
  `constant xor NUM(B)`, one AES call and one remainder.
- For radix^v <= 2^32 (decimal: up to 18 digits) S is eight bytes of one block: the narrow rounds. All
  else takes the wide ones.

FF1 gives no integrity: any string of the right length decrypts to something. See
docs/explanation/fpe-limits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from struct import Struct
from threading import local
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from vault.crypto.numerals import MAX_RADIX, Numerals, digits, number_of, numerals_of
from vault.errors import ValueRefused
from vault.secret import Secret

MIN_DOMAIN: Final = 1_000_000  # radix^n, SP 800-38G Rev. 1 second public draft, section 5.1
MIN_NUMERALS: Final = 2  # SP 800-38G, section 5.1: 2 <= minlen
MAX_NUMERALS: Final = 512  # ours: conversions are quadratic; Wycheproof's longest valid case has 260
MAX_TWEAK: Final = 256  # bytes, ours (maxTlen)
KEY_SIZES: Final = (16, 24, 32)  # bytes, FIPS 197

_BLOCK: Final = 16  # bytes of an AES block
_ROUNDS: Final = 10
_CACHED_LAYOUTS: Final = 64  # per instance
# Per instance; tweaks vary where characters are kept. About 1 KiB each, 12 KiB for the longest values.
_CACHED_STATES: Final = 256
_NARROW: Final = 8  # d, in bytes, of the narrow rounds

_NO_RADIX: Final = "a radix is an int from 2 to 65536"
_NO_KEY: Final = "an AES key is 16, 24 or 32 bytes"
_NO_TWEAK: Final = "a tweak is at most 256 bytes"

_leading_eight: Final = Struct(">Q8x").unpack
_from_bytes: Final = int.from_bytes  # looked up once; ten look-ups a value are a tenth of its time

_Encrypt = Callable[[bytes], bytes]
_Rounds = Callable[[_Encrypt, "State", int], int]


class _Aes(local):
    """CIPH_K: one long-lived ECB encryptor for each thread that asks.

    ECB over whole blocks keeps no state, yet `cryptography` does not promise that two threads may share a
    context (from 2 KiB on it drops the GIL and then answers "Already borrowed"). A thread's own costs
    30 ns a value; a fresh one each time would cost 1.5 us.
    """

    def __init__(self, cipher: Cipher[modes.ECB]) -> None:
        self.context: CipherContext = cipher.encryptor()
        self.encrypt: _Encrypt = self.context.update


class Layout(NamedTuple):
    """What n numerals and a tweak of t bytes fix, under one key."""

    mod_u: int  # radix^u, the modulus of the even rounds
    mod_v: int  # radix^v, of the odd ones
    head: int  # CIPH(P): the CBC-MAC state behind step 5's block
    zeros: bytes  # of step 6.i, between T and [i]
    steps: tuple[tuple[int, int], ...]  # [i] in its place before NUM(B), five pairs
    width: int  # bytes of Q left to the rounds: whole blocks that end in [i] || NUM(B)
    d: int  # bytes of S, step 4


class State(NamedTuple):
    """What n numerals and one tweak fix, under one key."""

    mod_u: int
    mod_v: int
    pairs: tuple[tuple[int, int], ...]  # five pairs of round constants, `width` bytes each
    width: int
    d: int


class FF1:
    """FF1 under one key and radix. Safe to share between threads; shows nothing of its key.

    Args:
        key: 16, 24 or 32 bytes (AES-128, AES-192, AES-256).
        radix: size of the alphabet, 2 to 65,536.

    Raises:
        ValueError: not such a key or radix.
    """

    __slots__ = ("_aes", "layout", "radix", "state")

    def __init__(self, key: bytes | Secret, radix: int) -> None:
        if type(radix) is not int:
            raise ValueError(_NO_RADIX)
        if not 2 <= radix <= MAX_RADIX:
            raise ValueError(_NO_RADIX)
        if not isinstance(key, bytes | Secret):
            raise ValueError(_NO_KEY)  # noqa: TRY004
        if len(key) not in KEY_SIZES:
            raise ValueError(_NO_KEY)
        self.radix = radix
        cipher = Cipher(
            algorithms.AES(key.expose() if isinstance(key, Secret) else key),
            modes.ECB(),  # noqa: S305 - the bare block cipher that SP 800-38G builds on, never a mode for data
        )
        self._aes = _Aes(cipher)
        self.layout = lru_cache(maxsize=_CACHED_LAYOUTS)(partial(_layout, self._aes, radix))
        self.state = lru_cache(maxsize=_CACHED_STATES)(partial(_state, self._aes, self.layout))

    def encrypt(self, numerals: Sequence[int], tweak: bytes = b"") -> list[int]:
        """FF1.Encrypt(K, T, X), Algorithm 7, of a list of n numerals.

        Args:
            numerals: X, ints in [0, radix), most significant first.
            tweak: T, at most 256 bytes.

        Raises:
            ValueRefused: `value_length` (n outside 2 to 512), `domain_too_small` (radix^n < 1,000,000),
                `value_alphabet` (a numeral outside [0, radix)).
            ValueError: an argument of another type, or a tweak too long.
        """
        return self._numerals(_encrypt, numerals, tweak)

    def decrypt(self, numerals: Sequence[int], tweak: bytes = b"") -> list[int]:
        """FF1.Decrypt(K, T, X), Algorithm 8: the inverse of `encrypt`, with the same errors."""
        return self._numerals(_decrypt, numerals, tweak)

    def encrypt_str(self, text: str, alphabet: str, tweak: bytes = b"") -> str:
        """FF1.Encrypt(K, T, X) of n characters.

        Args:
            text: X, over `alphabet`.
            alphabet: `radix` distinct characters, the numeral of each being its place.
            tweak: T, at most 256 bytes.

        Raises:
            ValueRefused: as `encrypt`; `value_alphabet` for a character outside the alphabet.
            ValueError: as `encrypt`, or not an alphabet of `radix` characters.
        """
        return self._text(_encrypt, text, alphabet, tweak)

    def decrypt_str(self, text: str, alphabet: str, tweak: bytes = b"") -> str:
        """FF1.Decrypt(K, T, X) of n characters: the inverse of `encrypt_str`, with the same errors."""
        return self._text(_decrypt, text, alphabet, tweak)

    def _numerals(self, run: _Rounds, numerals: Sequence[int], tweak: bytes) -> list[int]:
        if not isinstance(numerals, Sequence):
            raise ValueError("numerals are a sequence")  # noqa: TRY004 - one family for all defects of a call
        if not isinstance(tweak, bytes):
            raise ValueError(_NO_TWEAK)  # noqa: TRY004
        n = len(numerals)
        state = self.state(n, tweak)
        number = run(self._aes.encrypt, state, number_of(numerals, self.radix))
        return digits(number, self.radix, n)

    def _text(self, run: _Rounds, text: str, alphabet: str, tweak: bytes) -> str:
        if not isinstance(text, str):
            raise ValueError("text is a str")  # noqa: TRY004
        if not isinstance(tweak, bytes):
            raise ValueError(_NO_TWEAK)  # noqa: TRY004
        n = len(text)
        state = self.state(n, tweak)
        numerals = self.numerals(alphabet)
        return numerals.string(run(self._aes.encrypt, state, numerals.number(text)), n)

    def turn_number(self, number: int, n: int, tweak: bytes, *, decrypt: bool) -> int:
        """The same for NUM(X) of n numerals.

        Raises:
            ValueRefused, ValueError: as `encrypt`.
        """
        turn = _decrypt if decrypt else _encrypt
        return turn(self._aes.encrypt, self.state(n, tweak), number)

    @property
    def encryptor(self) -> CipherContext:
        """CIPH_K, this thread's own, for whole blocks."""
        return self._aes.context

    def numerals(self, alphabet: str) -> Numerals:
        """NUM and STR over an alphabet of `radix` characters. Raises: ValueError: it has not as many."""
        if isinstance(alphabet, str):  # a list is not hashable, so the cache cannot say so
            numerals = numerals_of(alphabet)
            if numerals.radix == self.radix:
                return numerals
        raise ValueError("an alphabet is a str of as many characters as the radix")


def _layout(aes: _Aes, radix: int, n: int, t: int) -> Layout:
    """The layout for n numerals and t bytes of tweak: checks the bounds, then steps 1 and 3 to 5.

    Raises:
        ValueRefused: `value_length`, `domain_too_small`.
        ValueError: the tweak is too long.
    """
    if not MIN_NUMERALS <= n <= MAX_NUMERALS:
        raise ValueRefused("value_length", minimum=MIN_NUMERALS, maximum=MAX_NUMERALS)
    if radix**n < MIN_DOMAIN:
        raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)
    if t > MAX_TWEAK:
        raise ValueError(_NO_TWEAK)
    u = n // 2  # step 1
    v = n - u
    # step 3: ceil(ceil(v * log2(radix)) / 8) without floats, which are wrong first at radix 2, v 232
    b = ((radix**v - 1).bit_length() + 7) // 8
    d = 4 * ((b + 3) // 4) + 4  # step 4
    p = (  # step 5: [1] || [2] || [1] || [radix]3 || [10] || [u mod 256] || [n]4 || [t]4
        bytes((1, 2, 1)) + radix.to_bytes(3) + bytes((_ROUNDS, u % 256)) + n.to_bytes(4) + t.to_bytes(4)
    )
    zeros = (-t - b - 1) % _BLOCK
    return Layout(
        mod_u=radix**u,
        mod_v=radix**v,
        head=int.from_bytes(aes.encrypt(p)),
        zeros=bytes(zeros),
        steps=tuple((i << 8 * b, (i + 1) << 8 * b) for i in range(0, _ROUNDS, 2)),
        width=(t + zeros) % _BLOCK + 1 + b,
        d=d,
    )


def _state(aes: _Aes, layout_of: Callable[[int, int], Layout], n: int, tweak: bytes) -> State:
    """The state for n numerals under a tweak: step 6.i and 6.ii as far as all rounds share them.

    Raises:
        ValueRefused, ValueError: as `_layout`.
    """
    mod_u, mod_v, head, zeros, steps, width, d = layout_of(n, len(tweak))
    fixed = tweak + zeros
    folded = len(fixed) & -_BLOCK  # whole blocks; what is left begins the first block of the rounds
    chain = chain_of(aes.encrypt, head, fixed[:folded])
    rest = fixed[folded:]
    base = chain << 8 * (width - _BLOCK) ^ int.from_bytes(rest) << 8 * (width - len(rest))
    return State(mod_u, mod_v, tuple([(base ^ even, base ^ odd) for even, odd in steps]), width, d)


def chain_of(encrypt: _Encrypt, chain: int, data: bytes) -> int:
    """CBC-MAC, Algorithm 6: continues from the state `chain` over whole blocks."""
    for start in range(0, len(data), _BLOCK):
        block = chain ^ int.from_bytes(data[start : start + _BLOCK])
        chain = int.from_bytes(encrypt(block.to_bytes(_BLOCK)))
    return chain


def _encrypt(encrypt: _Encrypt, state: State, x: int) -> int:
    """Algorithm 7, steps 2, 6 and 7, on integers: NUM(X) to NUM(Y)."""
    mod_u, mod_v, pairs, width, d = state
    a, b = divmod(x, mod_v)  # step 2
    if d == _NARROW:
        for even, odd in pairs:  # steps 6.i to 6.vii, twice
            a = (a + _leading_eight(encrypt((even ^ b).to_bytes(_BLOCK)))[0]) % mod_u
            b = (b + _leading_eight(encrypt((odd ^ a).to_bytes(_BLOCK)))[0]) % mod_v
    elif width == _BLOCK and d <= _BLOCK:
        cut = 8 * (_BLOCK - d)
        for even, odd in pairs:
            a = (a + (_from_bytes(encrypt((even ^ b).to_bytes(_BLOCK))) >> cut)) % mod_u
            b = (b + (_from_bytes(encrypt((odd ^ a).to_bytes(_BLOCK))) >> cut)) % mod_v
    else:
        for even, odd in pairs:
            a = (a + _wide(encrypt, even ^ b, width, d)) % mod_u
            b = (b + _wide(encrypt, odd ^ a, width, d)) % mod_v
    return a * mod_v + b  # step 7


def _decrypt(encrypt: _Encrypt, state: State, x: int) -> int:
    """Algorithm 8, steps 2, 6 and 7, on integers: NUM(X) to NUM(Y)."""
    mod_u, mod_v, pairs, width, d = state
    a, b = divmod(x, mod_v)  # step 2
    if d == _NARROW:
        for even, odd in reversed(pairs):  # step 6, i from 9 down to 0
            b = (b - _leading_eight(encrypt((odd ^ a).to_bytes(_BLOCK)))[0]) % mod_v
            a = (a - _leading_eight(encrypt((even ^ b).to_bytes(_BLOCK)))[0]) % mod_u
    elif width == _BLOCK and d <= _BLOCK:
        cut = 8 * (_BLOCK - d)
        for even, odd in reversed(pairs):
            b = (b - (_from_bytes(encrypt((odd ^ a).to_bytes(_BLOCK))) >> cut)) % mod_v
            a = (a - (_from_bytes(encrypt((even ^ b).to_bytes(_BLOCK))) >> cut)) % mod_u
    else:
        for even, odd in reversed(pairs):
            b = (b - _wide(encrypt, odd ^ a, width, d)) % mod_v
            a = (a - _wide(encrypt, even ^ b, width, d)) % mod_u
    return a * mod_v + b  # step 7


def _wide(encrypt: _Encrypt, q: int, width: int, d: int) -> int:
    """y = NUM(S) of one round, for any width of Q and any d: steps 6.ii to 6.iv.

    Args:
        encrypt: CIPH_K.
        q: the rest of Q, `width` bytes, its first block already xored with the CBC-MAC state.
        width: a multiple of 16.
        d: bytes of S.
    """
    if width == _BLOCK:
        r = int.from_bytes(encrypt(q.to_bytes(_BLOCK)))  # step 6.ii
    else:
        r = chain_of(encrypt, 0, q.to_bytes(width))
    if d <= _BLOCK:
        return r >> 8 * (_BLOCK - d)
    # step 6.iii: S = R || CIPH(R xor [1]16) || CIPH(R xor [2]16) ..., cut to d bytes; at most 34 blocks
    more = encrypt(b"".join([(r ^ j).to_bytes(_BLOCK) for j in range(1, -(-d // _BLOCK))]))
    return int.from_bytes((r.to_bytes(_BLOCK) + more)[:d])  # step 6.iv
