"""`transit://HOST:PORT/MOUNT/KEY?auth=METHOD`: the transit engine of HashiCorp Vault or OpenBao.

A root key is a transit key of its own, `KEY-000001` and so on, of type aes256-gcm96 and *derived*: what a
half is bound to goes in as the derivation's context, so the server itself opens nothing under another one.
Why a key an epoch, and not a version: docs/adr/0021. Wrapped: `"CKTRANS1" | key version 4 | ciphertext`.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, Final

from vault.errors import CoatcheckError, IntegrityError, Unavailable
from vault.kms.addresses import Address, read_address
from vault.kms.credentials import only
from vault.kms.provider import Destruction, ProviderSettings, away, bound, refused, register
from vault.kms.transit_login import METHODS, TLS_SETTINGS, Login
from vault.secret import Secret

FORM: Final = "transit://HOST:PORT/MOUNT/KEY?auth=token, approle or kubernetes"
_PORT: Final = 8200
_HEAD: Final = struct.Struct(">8sI")
_MAGIC: Final = b"CKTRANS1"
_OVERHEAD: Final = 12 + 32 + 16  # IV, half, tag
_TYPE: Final = "aes256-gcm96"


class TransitProvider:
    """Root keys in a transit engine."""

    destroy_means: str = (
        "the root key's transit key is deleted, all versions of it, at once and for good in the running "
        "server; snapshots and backups of that server still hold it, sealed, until they are gone too"
    )
    remote = True

    def __init__(self, address: Address, settings: ProviderSettings) -> None:
        self._region = settings.region
        *mount, self._key = address.path
        self._mount = "/".join(mount)
        self._login = Login(address.url(_PORT), address.query, settings.credentials, settings.deadline_s)

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist. The server makes a key of one name once."""
        if self._read(version) is None:
            self._ask(
                lambda transit: transit.create_key(
                    self._name(version),
                    derived=True,
                    exportable=False,
                    allow_plaintext_backup=False,
                    key_type=_TYPE,
                    mount_point=self._mount,
                )
            )
            self.probe(version)

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version.

        The key is looked at first: whoever may create keys creates one here by encrypting under no key.
        """
        self.probe(version)
        answer = self._ask(
            lambda transit: transit.encrypt_data(
                self._name(version),
                plaintext=b64encode(half.expose()).decode(),
                context=self._context(version, context),
                mount_point=self._mount,
            )
        )
        return _packed(_member(answer, "ciphertext"))

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""
        ciphertext, number = _unpacked(wrapped)
        try:
            answer = self._ask(
                lambda transit: transit.decrypt_data(
                    self._name(version),
                    ciphertext=ciphertext,
                    context=self._context(version, context),
                    mount_point=self._mount,
                )
            )
        except _NotTaken:
            answer = None
        if answer is None:  # the key's doing, or the ciphertext's: the server says which in prose only
            key = self._usable(version)
            if number < _number(key, "min_decryption_version"):
                raise away("disabled", version)
            raise IntegrityError("ciphertext_invalid")
        try:
            return Secret(b64decode(_member(answer, "plaintext"), validate=True))
        except NotBase64:
            raise away("malformed", version) from None

    def destroy_root(self, version: int) -> Destruction:
        """Destroys a root version; afterwards nothing wrapped under it opens."""
        name = self._name(version)
        if self._read(version) is not None:
            self._ask(
                lambda transit: transit.update_key_configuration(
                    name, deletion_allowed=True, mount_point=self._mount
                )
            )
            self._ask(lambda transit: transit.delete_key(name, mount_point=self._mount))
            if self._read(version) is not None:
                raise away("failed", version)
        return Destruction(version, f"{self._mount}/keys/{name}")

    def probe(self, version: int) -> None:
        """Returns if a root version could be used now; renews the token where that is due."""
        self._usable(version)

    def close(self) -> None:
        """Closes connections. The token is left to expire."""
        self._login.close()

    def _name(self, version: int) -> str:
        return f"{self._key}-{version:06d}"

    def _context(self, version: int, context: bytes) -> str:
        return b64encode(bound(self._region, version, context)).decode()

    def _read(self, version: int) -> dict[str, Any] | None:
        """What the server says of a key; None if there is none."""
        try:
            answer = self._ask(lambda transit: transit.read_key(self._name(version), mount_point=self._mount))
        except CoatcheckError as problem:
            if problem.facts.get("cause") == "missing":
                return None
            raise
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), dict):
            raise away("malformed", version)
        return dict(answer["data"])

    def _usable(self, version: int) -> dict[str, Any]:
        """The same, if the key is one that we would have made.

        Raises:
            Unavailable: `key_unavailable`: there is none, or it may not be used.
            Misconfigured: `config_invalid`: it can leave the server, or binds no context.
        """
        key = self._read(version)
        if key is None:
            raise away("missing", version)
        if key.get("soft_deleted"):
            raise away("disabled", version)
        if key.get("type") != _TYPE or key.get("derived") is not True or key.get("convergent_encryption"):
            raise refused(f"names a key that is not a derived one of {_TYPE}")
        if key.get("exportable") is not False or key.get("allow_plaintext_backup") is not False:
            raise refused("names a key that can be exported or backed up in plain")
        return key

    def _ask(self, use: Callable[[Any], Any]) -> Any:
        try:
            return self._login.ask(lambda client: use(client.secrets.transit))
        except CoatcheckError as problem:
            if problem.facts.get("cause") == "refused":
                raise _NotTaken("key_unavailable", cause="failed") from None
            raise


class _NotTaken(Unavailable):
    """The server refused the request itself (400)."""


def _packed(text: str) -> bytes:
    """`vault:v1:BASE64` as bytes, each of which counts: base64 has spellings that decode alike."""
    prefix, _, rest = text.partition(":v")
    number, colon, body = rest.partition(":")
    try:
        raw = b64decode(body, validate=True)
        if prefix != "vault" or not colon or not number.isdecimal() or len(raw) != _OVERHEAD:
            raise ValueError("no ciphertext of transit")
        return _HEAD.pack(_MAGIC, int(number)) + raw
    except (ValueError, struct.error):
        raise away("malformed") from None


def _unpacked(wrapped: bytes) -> tuple[str, int]:
    """The server's text of wrapped bytes, and the key's version in it."""
    if len(wrapped) != _HEAD.size + _OVERHEAD:
        raise IntegrityError("ciphertext_invalid")
    magic, number = _HEAD.unpack_from(wrapped)
    if magic != _MAGIC or number == 0:  # which the server takes for 1
        raise IntegrityError("ciphertext_invalid")
    return f"vault:v{number}:{b64encode(wrapped[_HEAD.size :]).decode()}", int(number)


def _member(answer: Any, name: str) -> str:
    """A text of an answer's data."""
    data = answer.get("data") if isinstance(answer, dict) else None
    value = data.get(name) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise away("malformed")
    return value


def _number(key: dict[str, Any], name: str) -> int:
    value = key.get(name, 0)
    return value if isinstance(value, int) else 0


def _address(rest: str, given: Collection[str]) -> Address:
    """The address, if it goes with these credentials."""
    address = read_address(rest, ("auth", "namespace", "tls"), FORM)
    method = address.query.get("auth", "token")
    if not address.host or len(address.path) < 2 or method not in METHODS:
        raise refused(f"is not {FORM}")
    only(given, (*METHODS[method], *TLS_SETTINGS), f"transit with auth={method}")
    return address


def _check(rest: str, given: Collection[str]) -> None:
    _address(rest, given)


def _open(rest: str, settings: ProviderSettings) -> TransitProvider:
    import_module("hvac")  # takes long the first time, so not within a call's deadline
    return TransitProvider(_address(rest, settings.credentials.given), settings)


register("transit", _open, _check)
