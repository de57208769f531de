"""What a key store asks for beyond its URI: names, paths, and secrets that are read when they are needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vault.errors import Misconfigured
from vault.secret import Secret

MAX_SECRET_BYTES = 64 * 1024  # tokens, pass phrases, service account tokens: none is near it


@dataclass(frozen=True, slots=True)
class Credentials:
    """The table `[cell.REGION.kms_auth]`.

    Attributes:
        names: what is no secret, by setting.
        paths: files that a library reads itself, by setting.
        secrets: where each secret lies, or the secret itself where it came from the environment.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)
    secrets: Mapping[str, Path | Secret] = field(default_factory=dict)

    @property
    def given(self) -> frozenset[str]:
        """The settings that are there; a secret's by its own name, wherever it lies."""
        return frozenset((*self.names, *self.paths, *self.secrets))

    def name(self, setting: str, default: str = "") -> str:
        """A name; the default without one."""
        return self.names.get(setting, default)

    def path(self, setting: str) -> str | None:
        """A file's path; None without one."""
        found = self.paths.get(setting)
        return None if found is None else str(found)

    def secret(self, setting: str) -> Secret:
        """A secret, read anew: files are replaced while a service runs.

        Raises:
            Misconfigured: `config_invalid`: not configured, or empty; `host_permissions`.
        """
        found = self.secrets.get(setting)
        if found is None:
            reason = f"is missing: {setting}_file, or {setting} as env:NAME"
            raise Misconfigured("config_invalid", setting="kms_auth", reason=reason)
        if isinstance(found, Secret):
            return found
        return secret_from(found, f"kms_auth.{setting}_file")


def secret_from(path: Path, setting: str) -> Secret:
    """The secret that a file holds, without the line's end.

    Raises:
        Misconfigured: `host_permissions`: it cannot be read; `config_invalid`: empty or too large.
    """
    try:
        with path.open("rb") as file:
            secret = Secret(file.read(MAX_SECRET_BYTES + 1).strip(b" \t\r\n"))
    except OSError:
        raise Misconfigured("host_permissions", setting=setting) from None
    if not 0 < len(secret) <= MAX_SECRET_BYTES:
        raise Misconfigured("config_invalid", setting=setting, reason="is empty or no secret")
    return secret


def only(given: Collection[str], allowed: Collection[str], what: str) -> None:
    """Returns if no setting is given that nobody would read.

    Raises:
        Misconfigured: `config_invalid`, naming one.
    """
    for setting in sorted(given):
        if setting not in allowed:
            raise Misconfigured(
                "config_invalid", setting=f"kms_auth.{setting}", reason=f"is not used by {what}"
            )
