"""Statements signed with Ed25519: JWS in compact form (RFC 7515, section 7.1), as strict as it can be read.

One algorithm, `Ed25519` (RFC 9864), one kind of key, which the header holds, and for each kind of statement a
`typ` and a set of claims of its own: nothing in a statement says how it is to be checked. Strict means that
three parts stand in the one spelling of base64url, that header and claims have exactly the members that are
defined, each once, in any order, with texts in UTF-8 and integers as integers, and that the whole is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from vault.crypto.base64url import decode, encode
from vault.crypto.signing import Signer, thumbprint, verify
from vault.errors import IntegrityError

Claims = TypeVar("Claims", bound=msgspec.Struct)

NOT_SUCH: Final = "not such a statement"  # of every refusal: nothing says which step it was

_KNOWN_CHARACTERS: Final = 256  # of headers that are remembered; as we write them they have 163

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_STRUCTURE: Final = b"{}[],:0123456789 \t\r\n"  # what may stand outside of strings: no signs, no fractions


class Jwk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key in a header (RFC 8037, section 2), with nothing beside what its thumbprint is made of."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, msgspec.Meta(min_length=43, max_length=43)]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a statement."""

    typ: str
    alg: Literal["Ed25519"]
    jwk: Jwk


class Signed(NamedTuple, Generic[Claims]):
    """A statement whose signature is right.

    Attributes:
        key: the 32-byte public key that signed it, as its header has it.
        jkt: its thumbprint.
        claims: what it says.
        signing_input: header and claims as they were signed (RFC 7515, section 2).
    """

    key: bytes
    jkt: str
    claims: Claims
    signing_input: bytes

    def __repr__(self) -> str:
        return "<Signed>"


_header: Final = msgspec.json.Decoder(Header).decode
_encode: Final = msgspec.json.Encoder().encode


class Statement(Generic[Claims]):
    """One kind of statement.

    Args:
        typ: its media type without `application/` (RFC 7515, section 4.1.9).
        claims: a struct that forbids unknown members, whose optional members are unset where absent.
        most: bytes that a statement may have.
    """

    def __init__(self, typ: str, claims: type[Claims], most: int) -> None:
        self.typ = typ
        self.most = most
        self._claims = msgspec.json.Decoder(claims).decode

    def parse(self, text: str) -> Signed[Claims]:
        """What a text says, and whose it is.

        Raises:
            ValueError: not a statement of this kind, or not signed by the key in it.
        """
        return self.parse_all((text,))[0]

    def parse_all(self, texts: Iterable[str]) -> list[Signed[Claims]]:
        """The same of several. All are read before the first signature is looked at, which costs most.

        Raises:
            ValueError: as `parse`, whichever it is.
        """
        try:
            found = [self._read(text) for text in texts]
            for signed, signature in found:
                verify(signed.key, signed.signing_input, signature)
        except (ValueError, msgspec.MsgspecError, RecursionError, IntegrityError):
            raise ValueError(NOT_SUCH) from None
        return [signed for signed, _ in found]

    def _read(self, text: str) -> tuple[Signed[Claims], bytes]:
        """A statement and its signature, which nobody has looked at yet."""
        if len(text) > self.most or text.count(".") != 2:
            raise ValueError(NOT_SUCH)
        first, second, third = text.split(".")
        typ, key, jkt = _known(first) if len(first) <= _KNOWN_CHARACTERS else _signer(first)
        if typ != self.typ:
            raise ValueError(NOT_SUCH)
        claims = _decoded(decode(second), self._claims)
        return Signed(key, jkt, claims, text[: -len(third) - 1].encode()), decode(third)

    def make(self, signer: Signer, claims: Claims) -> str:
        """The statement that a key makes.

        Raises:
            ValueError: it would be larger than one may be, or its claims are none that `parse` takes.
        """
        header = Header(self.typ, "Ed25519", Jwk("OKP", "Ed25519", encode(signer.public)))
        try:
            payload = _encode(claims)
            self._claims(payload)  # a struct does not look at what it is made of
        except (ValueError, msgspec.MsgspecError):
            raise ValueError(NOT_SUCH) from None
        signing_input = f"{encode(_encode(header))}.{encode(payload)}"
        text = f"{signing_input}.{encode(signer.sign(signing_input.encode()))}"
        if len(text) > self.most:
            raise ValueError(NOT_SUCH)
        return text


def _signer(text: str) -> tuple[str, bytes, str]:
    """What a header says: typ, key, thumbprint."""
    header: Header = _decoded(decode(text), _header)
    key = decode(header.jwk.x)
    return header.typ, key, thumbprint(key)


# A holder's header is the same in all its statements. What is kept follows from its bytes alone.
_known: Final = lru_cache(maxsize=1_024)(_signer)


def _decoded(raw: bytes, decoder: Any) -> Any:
    """What some JSON says, each member said once.

    A decoder that refuses unknown members and takes the last of equal ones gives back fewer names than it
    was given where a name stands twice, so counting them is exact. A colon outside of strings is a name.
    """
    value = decoder(raw)
    canonical = _encode(value)
    if canonical == raw:  # as we write it: nothing stands twice
        return value
    structure = _STRING.sub(b"", raw)
    if structure.translate(None, _STRUCTURE):
        raise ValueError(NOT_SUCH)  # -0, which is read as an integer
    if structure.count(b":") != _STRING.sub(b"", canonical).count(b":"):
        raise ValueError(NOT_SUCH)
    return value
