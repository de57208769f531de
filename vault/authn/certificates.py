"""Certificates of clients: what is known of them, and how a proxy passes them on (RFC 8705, RFC 9440)."""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from vault.clock import SECOND, Micros
from vault.crypto.base64url import digest

MAX_CERTIFICATE: Final = 16_384  # bytes
MAX_NAME: Final = 253  # RFC 1035, 2.3.4; of a URI, SPIFFE takes 2,048 and no more is needed here
_BYTES: Final = re.compile(rb":([A-Za-z0-9+/]*={0,2}):")  # a byte sequence: RFC 8941, 3.3.5


def thumbprint_of(certificate: bytes) -> str:
    """`x5t#S256`: SHA-256 of the DER, in base64url (RFC 8705, 3.1)."""
    return digest(certificate)


def from_header(lines: Sequence[bytes]) -> bytes | None:
    """The certificate of a `Client-Cert` header (RFC 9440, 2.2); None where there is not exactly one.

    Args:
        lines: every header of that name.
    """
    if len(lines) != 1 or len(lines[0]) > 2 * MAX_CERTIFICATE:
        return None
    found = _BYTES.fullmatch(lines[0].strip())
    if found is None:
        return None
    try:
        return a2b_base64(found[1], strict_mode=True) or None
    except Error:
        return None


def from_pem(text: str) -> bytes:
    """The DER of one certificate.

    Raises:
        ValueError: there is not exactly one.
    """
    if len(text) > 2 * MAX_CERTIFICATE:
        raise ValueError("not a certificate")
    try:
        [found] = x509.load_pem_x509_certificates(text.encode("ascii"))
    except (ValueError, TypeError):
        raise ValueError("not a certificate") from None
    return found.public_bytes(Encoding.DER)


def check_time(certificate: bytes, now: Micros) -> None:
    """Returns if a certificate is valid now.

    Raises:
        ValueError: it is not, or it is none.
    """
    found = x509.load_der_x509_certificate(certificate)
    at = datetime.fromtimestamp(now / SECOND, UTC)
    if not found.not_valid_before_utc <= at <= found.not_valid_after_utc:
        raise ValueError("not valid now")


class Authorities:
    """The authorities of clients' certificates.

    Args:
        pem: their certificates; None: there are none.
    """

    def __init__(self, pem: bytes | None = None) -> None:
        self._store = None if pem is None else Store(x509.load_pem_x509_certificates(pem))

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return self._store is not None

    def names(self, certificate: bytes, now: Micros) -> frozenset[str]:
        """The names that a certificate of one of them has: `dns:NAME` and `uri:NAME` (RFC 8705, 2.1.2).

        That whoever shows it has its key is for whoever did the handshake.

        Raises:
            ValueError: it is of none of them, not valid now, or not for clients.
        """
        if self._store is None:
            raise ValueError("no authority")
        try:
            leaf = x509.load_der_x509_certificate(certificate)
            verifier = (
                PolicyBuilder()
                .store(self._store)
                .time(datetime.fromtimestamp(now / SECOND, UTC))
                .build_client_verifier()
            )
            found = verifier.verify(leaf, []).subjects or []
        except VerificationError:
            raise ValueError("not of these authorities") from None
        names = [f"dns:{name.value.lower()}" for name in found if isinstance(name, x509.DNSName)]
        names += [f"uri:{name.value}" for name in found if isinstance(name, x509.UniformResourceIdentifier)]
        return frozenset(names)
