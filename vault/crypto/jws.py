"""Statements signed with Ed25519: JWS in compact form (RFC 7515, section 7.1), as strict as it can be read.

One algorithm, `Ed25519` (RFC 9864), one kind of key, which the header holds, and for each kind of statement a
`typ` and a set of claims of its own: nothing in a statement says how it is to be checked. Strict means that
three parts stand in the one spelling of base64url, that header and claims have exactly the members that are
defined, each once, in any order, with texts in UTF-8 and integers as integers, and that the whole is bounded.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from vault.crypto.base64url import decode, encode
from vault.crypto.signing import PUBLIC_BYTES, Signer, verify
from vault.errors import IntegrityError

Claims = TypeVar("Claims", bound=msgspec.Struct)

NOT_SUCH: Final = "not such a statement"  # of every refusal: nothing says which step it was

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
        claims: what it says.
        signing_input: header and claims as they were signed (RFC 7515, section 2).
    """

    key: bytes
    claims: Claims
    signing_input: bytes


_header: Final = msgspec.json.Decoder(Header).decode


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
        if len(text) > self.most or text.count(".") != 2:
            raise ValueError(NOT_SUCH)
        first, second, third = text.split(".")
        try:
            header, claims = _read(decode(first), _header), _read(decode(second), self._claims)
            key, signature = decode(header.jwk.x), decode(third)
            if header.typ != self.typ or len(key) != PUBLIC_BYTES:
                raise ValueError(NOT_SUCH)
            signing_input = text[: -len(third) - 1].encode()
            verify(key, signing_input, signature)
        except (ValueError, msgspec.MsgspecError, RecursionError, IntegrityError):
            raise ValueError(NOT_SUCH) from None
        return Signed(key, claims, signing_input)

    def make(self, signer: Signer, claims: Claims) -> str:
        """The statement that a key makes.

        Raises:
            ValueError: it would be larger than one may be, or its claims are none that `parse` takes.
        """
        header = Header(self.typ, "Ed25519", Jwk("OKP", "Ed25519", encode(signer.public)))
        try:
            payload = msgspec.json.encode(claims)
            self._claims(payload)  # a struct does not look at what it is made of
        except (ValueError, msgspec.MsgspecError):
            raise ValueError(NOT_SUCH) from None
        signing_input = f"{encode(msgspec.json.encode(header))}.{encode(payload)}"
        text = f"{signing_input}.{encode(signer.sign(signing_input.encode()))}"
        if len(text) > self.most:
            raise ValueError(NOT_SUCH)
        return text


def _read(raw: bytes, decoder: Any) -> Any:
    """What some JSON says, each member said once.

    A decoder that refuses unknown members and takes the last of equal ones gives back fewer names than it
    was given where a name stands twice, so counting them is exact. A colon outside of strings is a name.
    """
    value = decoder(raw)
    structure = _STRING.sub(b"", raw)
    if structure.translate(None, _STRUCTURE):
        raise ValueError(NOT_SUCH)  # -0, which is read as an integer
    if structure.count(b":") != _STRING.sub(b"", msgspec.json.encode(value)).count(b":"):
        raise ValueError(NOT_SUCH)
    return value
