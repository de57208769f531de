"""`pkcs11:token=LABEL;object=NAME?module-path=...&pin-source=...`: a hardware security module (extra `hsm`).

A root key is an AES-256 object of its own, `NAME-000001` and so on, that never was outside the token:
private, sensitive, not extractable. A half is encrypted in the token with AES-GCM, and what it is bound to is
associated data, so the token itself opens nothing under another context; why not AES-KW: docs/adr/0022.
Wrapped: `"CKPKCS11" | IV 12 | ciphertext and tag`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, TypeVar

from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError, IntegrityError, Misconfigured
from vault.extras import load
from vault.kms.credentials import only, secret_from
from vault.kms.pkcs11_uri import TokenUri, read_uri
from vault.kms.provider import Destruction, ProviderSettings, away, bound, refused, register
from vault.secret import Secret

SETTINGS: Final = ("pin",)
_MAGIC: Final = b"CKPKCS11"
_IV_BYTES: Final = (
    12  # SP 800-38D, 5.2.1.1; one message a key, besides those of `doctor`: chance suffices (8.2.2)
)
_TAG_BITS: Final = 128
_PROBE: Final = b"probe"

T = TypeVar("T")


class Pkcs11Provider:
    """Root keys in a token.

    One session, which is used by one thread at a time: a login is the process's, so that a second session
    would gain nothing, and its end would end both.
    """

    destroy_means: str = (
        "the root key's object is destroyed in the token at once; it never could leave it, and copies exist "
        "only where the module's own backup or its cluster keeps them"
    )
    remote = True

    def __init__(self, uri: TokenUri, settings: ProviderSettings) -> None:
        self._uri = uri
        self._settings = settings
        self._lock = threading.Lock()
        self._session: Any = None
        self._refused: Secret | None = None  # a PIN that was wrong is not tried again: tokens lock themselves

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist."""

        def make(session: Any) -> None:
            if self._find(session, version) is None:
                self._generate(session, version)
            key = self._one(session, version)
            if self._opens(key, *self._closes(key, new_key(), _PROBE), _PROBE) is None:
                raise refused("names a token that does not open what it closed with AES-GCM")

        self._do(make)

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""
        aad = bound(self._settings.region, version, context)

        def close(session: Any) -> bytes:
            iv, ciphertext = self._closes(self._one(session, version), half, aad)
            return _MAGIC + iv + ciphertext

        return self._do(close)

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""
        aad = bound(self._settings.region, version, context)
        head = len(_MAGIC) + _IV_BYTES
        iv, ciphertext = wrapped[len(_MAGIC) : head], wrapped[head:]

        def open_(session: Any) -> Secret:
            key = self._one(session, version)
            if wrapped[: len(_MAGIC)] != _MAGIC or len(ciphertext) <= _TAG_BITS // 8:
                raise IntegrityError("ciphertext_invalid")
            half = self._opens(key, iv, ciphertext, aad)
            if half is not None:
                return half
            # Tokens say "general error" of a tag that is wrong, and of themselves. This tells which it was.
            if self._opens(key, *self._closes(key, new_key(), _PROBE), _PROBE) is None:
                raise away("failed", version)
            raise IntegrityError("ciphertext_invalid")

        return self._do(open_)

    def destroy_root(self, version: int) -> Destruction:
        """Destroys a root version's object, and any other of its name."""

        def remove(session: Any) -> None:
            for key in self._named(session, version):
                key.destroy()

        self._do(remove)
        return Destruction(version, self._label(version))

    def probe(self, version: int) -> None:
        """Returns if a root version could be used now."""
        self._do(lambda session: self._one(session, version))

    def close(self) -> None:
        """Closes the session."""
        with self._locked():
            self._drop()

    def _label(self, version: int) -> str:
        return f"{self._uri.object}-{version:06d}"

    def _generate(self, session: Any, version: int) -> None:
        p11 = load("pkcs11", "hsm")
        a = p11.Attribute
        session.generate_key(
            p11.KeyType.AES,
            256,
            id=os.urandom(16),
            label=self._label(version),
            store=True,
            template={
                a.PRIVATE: True,
                a.SENSITIVE: True,
                a.EXTRACTABLE: False,
                a.MODIFIABLE: False,
                a.ENCRYPT: True,
                a.DECRYPT: True,
                a.WRAP: False,
                a.UNWRAP: False,
                a.SIGN: False,
                a.VERIFY: False,
                a.DERIVE: False,
            },
        )

    def _named(self, session: Any, version: int) -> list[Any]:
        p11 = load("pkcs11", "hsm")
        wanted = {p11.Attribute.CLASS: p11.ObjectClass.SECRET_KEY, p11.Attribute.LABEL: self._label(version)}
        found = list(session.get_objects(wanted))
        if not found:
            # Whoever is logged out sees no private object, and is not told so: for that, nothing may be made,
            # or said to be gone. The end of another session logs out the whole process.
            self._assure_login()
            found = list(session.get_objects(wanted))
        return found

    def _find(self, session: Any, version: int) -> Any:
        found = self._named(session, version)
        if len(found) > 1:
            raise refused("names a token with two objects of one root; remove the one that opens nothing")
        return found[0] if found else None

    def _one(self, session: Any, version: int) -> Any:
        """The object of a root version.

        Raises:
            Unavailable: `key_unavailable`: there is none.
            Misconfigured: `config_invalid`: it is not one that we would have made.
        """
        key = self._find(session, version)
        if key is None:
            raise away("missing", version)
        a = load("pkcs11", "hsm").Attribute
        if not key[a.SENSITIVE] or key[a.EXTRACTABLE] or not key[a.NEVER_EXTRACTABLE] or not key[a.LOCAL]:
            raise refused("names a key that was, or could get, outside the token")
        return key

    def _closes(self, key: Any, half: Secret, aad: bytes) -> tuple[bytes, bytes]:
        p11 = load("pkcs11", "hsm")
        iv = os.urandom(_IV_BYTES)
        gcm = p11.mechanisms.GCMParams(iv, aad, _TAG_BITS)
        return iv, key.encrypt(half.expose(), mechanism=p11.Mechanism.AES_GCM, mechanism_param=gcm)

    def _opens(self, key: Any, iv: bytes, ciphertext: bytes, aad: bytes) -> Secret | None:
        """What a ciphertext holds; None if the token does not open it, for whatever reason."""
        p11 = load("pkcs11", "hsm")
        gcm = p11.mechanisms.GCMParams(iv, aad, _TAG_BITS)
        try:
            return Secret(key.decrypt(ciphertext, mechanism=p11.Mechanism.AES_GCM, mechanism_param=gcm))
        except _lost(p11):
            raise
        except p11.PKCS11Error:
            return None

    def _do(self, use: Callable[[Any], T]) -> T:
        """What `use` gives, with a session that is logged in; once more, with another, if it was lost."""
        p11 = load("pkcs11", "hsm")
        with self._locked():
            for last in (False, True):
                try:
                    if self._session is None:
                        self._session = self._log_in()
                    return use(self._session)
                except CoatcheckError:
                    raise
                except _lost(p11):
                    self._drop()
                    if last:
                        raise away("session") from None
                except (p11.PKCS11Error, RuntimeError, OSError):
                    self._drop()
                    raise away("failed") from None
        raise away("session")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._settings.deadline_s):
            raise away("deadline")
        try:
            yield
        finally:
            self._lock.release()

    def _log_in(self) -> Any:
        p11 = load("pkcs11", "hsm")
        token = self._token()
        try:
            return self._enter(token)
        except p11.UserAlreadyLoggedIn:  # by another cell of this process: a login is the process's
            return token.open(rw=True)

    def _assure_login(self) -> None:
        """Returns if this process is logged in.

        Raises:
            UserNotLoggedIn: it was not; the session is lost.
        """
        p11 = load("pkcs11", "hsm")
        try:
            session = self._enter(self._token())
        except p11.UserAlreadyLoggedIn:
            return
        session.close()
        raise p11.UserNotLoggedIn

    def _enter(self, token: Any) -> Any:
        """A session that is logged in with the PIN; one that was wrong is not tried again."""
        p11 = load("pkcs11", "hsm")
        pin = self._pin()
        if self._refused is not None and pin.matches(self._refused):
            raise _wrong_pin()
        try:
            return token.open(rw=True, user_pin=pin.expose().decode("utf-8", "replace"))
        except (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange):
            self._refused = pin
            raise _wrong_pin() from None
        except p11.PinLocked:
            raise refused("names a token whose PIN is locked; its security officer sets a new one") from None

    def _token(self) -> Any:
        p11 = load("pkcs11", "hsm")
        try:
            library = p11.lib(self._uri.module_path)
        except (p11.PKCS11Error, RuntimeError, OSError):
            raise away("unreachable") from None
        tokens = self._fitting(library)
        if not tokens:
            # Modules list their slots once; a token that came later, or came back, needs a new start of them.
            library.reinitialize()
            tokens = self._fitting(library)
        if not tokens:
            raise away("unreachable")
        if len(tokens) > 1:
            raise refused("names more than one token; add serial=")
        return tokens[0]

    def _fitting(self, library: Any) -> list[Any]:
        return [token for token in library.get_tokens() if self._uri.fits(token)]

    def _pin(self) -> Secret:
        if self._uri.pin_source is not None:
            return secret_from(self._settings.base / self._uri.pin_source, "kms")
        return self._settings.credentials.secret("pin")

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            p11 = load("pkcs11", "hsm")
            with contextlib.suppress(p11.PKCS11Error, RuntimeError):
                session.close()


def _wrong_pin() -> Misconfigured:
    return refused("needs another PIN; this one is not tried again, as tokens lock themselves")


def _lost(p11: Any) -> tuple[type[Exception], ...]:
    """The errors that say that a session is over, and that another may not be."""
    return (
        p11.SessionHandleInvalid,
        p11.SessionClosed,
        p11.UserNotLoggedIn,
        p11.DeviceRemoved,
        p11.TokenNotPresent,
        p11.DeviceError,
        p11.ObjectHandleInvalid,
        p11.KeyHandleInvalid,
    )


def _uri(rest: str, given: Collection[str]) -> TokenUri:
    uri = read_uri(rest)
    only(given, SETTINGS, "pkcs11")
    if (uri.pin_source is None) == ("pin" not in given):
        raise refused("goes with one of pin-source and kms_auth.pin")
    return uri


def _check(rest: str, given: Collection[str]) -> None:
    _uri(rest, given)


def _open(rest: str, settings: ProviderSettings) -> Pkcs11Provider:
    load("pkcs11", "hsm")
    return Pkcs11Provider(_uri(rest, settings.credentials.given), settings)


register("pkcs11", _open, _check)
