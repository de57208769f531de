"""An authority, and certificates of it: made anew, for a day, in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


@dataclass
class Authority:
    """Signs certificates; its own is `ca.crt` of the folder."""

    folder: Path
    key: Key
    name: x509.Name

    @property
    def path(self) -> Path:
        """What clients trust."""
        return self.folder / "ca.crt"

    def issue(
        self,
        name: str = "tls",
        host: str = "127.0.0.1",
        *,
        days: tuple[float, float] = (-1, 1),
        passphrase: bytes | None = None,
        named: bool = True,
        dns: str | None = None,
        uri: str | None = None,
    ) -> int:
        """Writes NAME.crt and NAME.key; the certificate's serial number.

        Args:
            days: from when to when it is valid, from now.
            passphrase: what covers the key.
            named: whether it names the host.
            dns, uri: names of a client, in place of the host.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        serial = x509.random_serial_number()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now + days[0] * DAY)
            .not_valid_after(now + days[1] * DAY)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if named:
            said: list[x509.GeneralName] = [] if dns is None else [x509.DNSName(dns)]
            said += [] if uri is None else [x509.UniformResourceIdentifier(uri)]
            names = x509.SubjectAlternativeName(said or [x509.IPAddress(ip_address(host))])
            builder = builder.add_extension(names, critical=False)
        _write(self.folder / f"{name}.crt", _pem(builder.sign(self.key, hashes.SHA256())))
        cover: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            cover = serialization.BestAvailableEncryption(passphrase)
        text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cover)
        _write(self.folder / f"{name}.key", text)
        return serial


def authority(folder: Path, name: str = "Test") -> Authority:
    """A new authority."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    own = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    made = Authority(folder, key, subject)
    _write(made.path, _pem(own))
    return made


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes) -> None:
    """Writes a file anew, mode 0600, at once: whoever reads it meanwhile sees the old or the new."""
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.rename(path)
