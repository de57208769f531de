"""The service's certificate: the TLS context made of it, and what `doctor` says about it."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from vault.config.settings import Config, TlsSettings
from vault.errors import Misconfigured

_ALLOWED: Final = 0o640  # the owner writes, the service's group may read, nobody else does anything
_MISMATCH: Final = "KEY_VALUES_MISMATCH"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def server_context(config: Config) -> ssl.SSLContext | None:
    """The context of the listener: TLS 1.3 and nothing older (RFC 8446). None without `[tls]`.

    Raises:
        Misconfigured: `config_invalid` with the setting, `host_permissions`.
    """
    if config.tls is None:
        return None
    read_certificate(config, config.tls)
    key = config.path(config.tls.key)
    check_key_mode(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if config.tls.client_ca is not None:
        # Whoever shows none is served too; one that does not fit ends the handshake.
        context.verify_mode = ssl.CERT_OPTIONAL
        _trust(context, config.path(config.tls.client_ca))
    try:
        # Without a password OpenSSL would ask on the terminal for that of a key that has one.
        context.load_cert_chain(config.path(config.tls.certificate), key, password=lambda: b"")
    except ssl.SSLError as problem:
        mismatch = problem.reason == _MISMATCH
        reason = "is not the key of the certificate" if mismatch else "is no PEM key without a passphrase"
        raise Misconfigured("config_invalid", setting="tls.key", reason=reason) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(key)) from None
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        reason = "is no PEM file of certificates"
        raise Misconfigured("config_invalid", setting="tls.client_ca", reason=reason) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def read_certificate(config: Config, tls: TlsSettings) -> Certificate:
    """The first certificate of the file, which is the service's.

    Raises:
        Misconfigured: `config_invalid`: it is no PEM file; `host_permissions`.
    """
    path = config.path(tls.certificate)
    try:
        [own, *_] = x509.load_pem_x509_certificates(path.read_bytes())
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown = (str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))
        return Certificate(own.not_valid_before_utc, own.not_valid_after_utc, tuple(shown))
    except x509.ExtensionNotFound:
        reason = "names no host in its subjectAltName, so no client accepts it"
        raise Misconfigured("config_invalid", setting="tls.certificate", reason=reason) from None
    except ValueError:
        raise Misconfigured(
            "config_invalid", setting="tls.certificate", reason="is no PEM file of certificates"
        ) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def check_key_mode(path: Path) -> None:
    """Returns if only the owner, and at most its group, may read a private key.

    Raises:
        Misconfigured: `host_permissions`.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    if mode & ~_ALLOWED:
        raise Misconfigured("host_permissions", path=str(path), needs="0600 or 0640")
