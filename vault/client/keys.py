"""The two keys of an agent: the one that it holds grants by, and the one that answers are sealed to.

holder = Holder.new()
holder.save("holder.pem")  # 0600, PKCS #8; `openssl genpkey -algorithm ed25519` makes such files too
body = {"bind": {"cnf": {"jkt": holder.thumbprint}}, ...}
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import ClassVar, Final, NoReturn, Self

from vault.crypto import hpke
from vault.crypto.base64url import encode
from vault.crypto.pem import Curve, from_pem, to_pem
from vault.crypto.randomness import new_key
from vault.crypto.signing import Signer, thumbprint
from vault.errors import BadInput, Misconfigured
from vault.secret import Secret

KEY_BYTES: Final = 32  # RFC 8032, 5.1.5; RFC 7748, 5
_FILE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES: Final = 4_096  # of a PEM file; one of these keys takes 119


class _OwnKey:
    """A private key that shows no more of itself than its public half."""

    crv: ClassVar[Curve]
    __slots__ = ("_private", "public")

    def __init__(self, private: Secret, public: bytes) -> None:
        self._private = private
        self.public = public

    @classmethod
    def _of(cls, private: Secret) -> Self:
        raise NotImplementedError

    @classmethod
    def new(cls) -> Self:
        """A fresh key."""
        return cls._of(new_key())

    @classmethod
    def from_bytes(cls, private: bytes) -> Self:
        """The key of 32 private bytes, such as a secret store hands out.

        Raises:
            BadInput: `parameter_invalid`: not 32 bytes.
        """
        if len(private) != KEY_BYTES:
            raise BadInput("parameter_invalid", parameter="private")
        return cls._of(Secret(private))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The key of a PEM file that nobody but its owner may read.

        Raises:
            Misconfigured: `host_permissions`: missing, unreadable, or open to others; `config_invalid`.
        """
        try:
            with Path(path).open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
                    raise Misconfigured("host_permissions", path=str(path), needs="0600")
                return cls._of(from_pem(file.read(_MOST_BYTES), cls.crv))
        except OSError:
            raise Misconfigured("host_permissions", path=str(path)) from None
        except ValueError:
            reason = f"is no PEM file of an {cls.crv} key"
            raise Misconfigured("config_invalid", path=str(path), reason=reason) from None

    def save(self, path: str | Path) -> None:
        """Writes the key to a new file for this user alone; never over another.

        Raises:
            Misconfigured: `host_permissions`: it is there already, or cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(path, flags, _FILE_MODE), "wb") as file:
                file.write(to_pem(self._private, self.crv))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            raise Misconfigured("host_permissions", path=str(path)) from None

    @property
    def thumbprint(self) -> str:
        """The JWK thumbprint of the public key (RFC 7638): 43 characters."""
        return thumbprint(self.public, self.crv)

    @property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 8037, section 2)."""
        return {"kty": "OKP", "crv": self.crv, "x": encode(self.public)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled and not copied")


class Holder(_OwnKey):
    """The Ed25519 key that a grant is bound to, or that it was handed on to.

    A grant's body names it: `"bind": {"cnf": {"jkt": holder.thumbprint}}`.
    """

    crv = "Ed25519"
    __slots__ = ("signer",)

    @classmethod
    def _of(cls, private: Secret) -> Self:
        signer = Signer(private)
        made = cls(private, signer.public)
        made.signer = signer
        return made

    signer: Signer


class Worker(_OwnKey):
    """The X25519 key that answers are sealed to, of whoever may see values.

    A grant's body names it: `"seal_to": worker.jwk`. Make a new one often: who has it can open every answer
    that was ever recorded.
    """

    crv = "X25519"
    __slots__ = ()

    @classmethod
    def _of(cls, private: Secret) -> Self:
        return cls(private, hpke.public_of(private))

    @property
    def private(self) -> Secret:
        """The private key, for `vault.client.sealed.open_delivery`."""
        return self._private
