"""What a cell says of its key store beyond the URI: credentials, and the bounds of calls to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from vault.errors import Misconfigured
from vault.kms.guard import LOCAL_DEADLINE_S
from vault.kms.provider import DEADLINE_S
from vault.kms.registry import Credentials, GuardLimits, check_uri
from vault.secret import Secret

_ENV: Final = "env:"
_SECRETS: Final = ("token", "secret_id", "pin", "jwt")
_PATHS: Final = ("ca", "client_certificate", "client_key", "credentials_file")
_NAMES: Final = ("role_id", "role", "mount", "profile")
_JWT_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def _means(description: str, lowest: int | None = None, highest: int | None = None) -> Meta:
    """What the reference says of a setting, and its bounds."""
    return Meta(description=description, ge=lowest, le=highest)


class KmsAuth(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What the key store asks for. Secrets are files or `env:NAME`; files are read when needed."""

    token_file: Annotated[str | None, _means("`transit`, `auth=token`: the file with the token")] = None
    token: Annotated[str | None, _means("the same as `env:NAME`")] = None
    role_id: Annotated[str | None, _means("`transit`, `auth=approle`: the role's id, which is no secret")] = (
        None
    )
    secret_id_file: Annotated[
        str | None, _means("`transit`, `auth=approle`: the file with the secret id")
    ] = None
    secret_id: Annotated[str | None, _means("the same as `env:NAME`")] = None
    role: Annotated[str | None, _means("`transit`, `auth=kubernetes`: the role")] = None
    jwt_file: Annotated[
        str | None,
        _means(f"`transit`, `auth=kubernetes`: the service account's token; without it, `{_JWT_FILE}`"),
    ] = None
    mount: Annotated[str | None, _means("`transit`: where the method is mounted, if not at its name")] = None
    ca: Annotated[str | None, _means("`transit`, `awskms`: PEM file of the authorities to trust")] = None
    client_certificate: Annotated[
        str | None, _means("`transit`, `awskms`: PEM file of this service's certificate (mTLS)")
    ] = None
    client_key: Annotated[str | None, _means("`transit`, `awskms`: PEM file of its private key")] = None
    profile: Annotated[str | None, _means("`awskms`: the profile of the credentials")] = None
    credentials_file: Annotated[
        str | None,
        _means("`awskms`: the file of credentials; without it, AWS's own order: variables, roles, hosts"),
    ] = None
    pin_file: Annotated[str | None, _means("`pkcs11`: the file with the PIN, without a `pin-source`")] = None
    pin: Annotated[str | None, _means("the same as `env:NAME`")] = None


class KmsLimits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds of calls to the key store. They are few: when a cell is made or opened, and when keys change."""

    deadline_ms: Annotated[
        int,
        _means("for a call with all its attempts; 0: 2000, or 30000 for `local:`, which computes", 0, 60_000),
    ] = 0
    attempts: Annotated[int, _means("most attempts of a call, where what went wrong may pass", 1, 10)] = 3
    failures: Annotated[int, _means("failures in a row after which it is not asked for a while", 1, 1000)] = 5
    open_ms: Annotated[int, _means("for how long it is not asked then", 100, 60_000)] = 1000
    probe_s: Annotated[int, _means("seconds between looks at a key store that serves", 1, 3600)] = 15
    hold_s: Annotated[
        int,
        _means(
            "for so long a cell serves on with the keys it holds while its key store does not serve; 0: for "
            "as long as the process runs",
            0,
            86_400,
        ),
    ] = 0


def given(auth: KmsAuth | None) -> set[str]:
    """The names of the credentials that are configured; a secret's by its own name, wherever it lies."""
    if auth is None:
        return set()
    names = {name for name in auth.__struct_fields__ if getattr(auth, name) is not None}
    return {name.removesuffix("_file") for name in names}


def wrong_key_store(uri: str, auth: KmsAuth | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a URI and its credentials: settings below the cell's, and why. Contacts nobody."""
    for secret in _SECRETS:
        value = getattr(auth, secret, None)
        if value is not None and not value.startswith(_ENV):
            yield f"kms_auth.{secret}", f"is env:NAME, never the {secret} itself"
        if value is not None and getattr(auth, f"{secret}_file") is not None:
            yield f"kms_auth.{secret}", f"goes with no {secret}_file"
    try:
        check_uri(uri, given(auth))
    except Misconfigured as problem:
        known = problem.facts.get("known")
        reason = problem.facts.get("reason") or f"has no scheme of these: {known}"
        yield str(problem.facts["setting"]), str(reason)


def files(auth: KmsAuth | None) -> list[str]:
    """The files of secrets that are configured, as they are written."""
    if auth is None:
        return []
    named = (auth.token_file, auth.secret_id_file, auth.pin_file, auth.client_key, auth.credentials_file)
    return [path for path in named if path is not None]


def credentials_of(auth: KmsAuth | None, region: str, base: Path, uri: str) -> Credentials:
    """The credentials of a cell's key store.

    Raises:
        Misconfigured: `config_invalid`: a variable is named that is not set.
    """
    auth = auth or KmsAuth()
    secrets: dict[str, Path | Secret] = {}
    for name in _SECRETS:
        path, variable = getattr(auth, f"{name}_file"), getattr(auth, name, None)
        if path is not None:
            secrets[name] = base / path
        elif variable is not None:
            value = os.environ.get(variable.removeprefix(_ENV))
            if not value:
                setting, reason = f"cell.{region}.kms_auth.{name}", "is env:NAME of a set variable"
                raise Misconfigured("config_invalid", setting=setting, reason=reason)
            secrets[name] = Secret(value.encode())
    if "auth=kubernetes" in uri and "jwt" not in secrets:
        secrets["jwt"] = Path(_JWT_FILE)
    return Credentials(
        {name: value for name in _NAMES if (value := getattr(auth, name)) is not None},
        {
            name.removesuffix("_file"): base / value
            for name in _PATHS
            if (value := getattr(auth, name)) is not None
        },
        secrets,
    )


def guard_limits(limits: KmsLimits, *, local: bool) -> GuardLimits:
    """The bounds of a key store.

    Args:
        local: whether it is `local:`, which is never away but computes.
    """
    unset = LOCAL_DEADLINE_S if local else DEADLINE_S
    deadline_s = limits.deadline_ms / 1000 or unset
    return GuardLimits(
        deadline_s, limits.attempts, limits.failures, limits.open_ms / 1000, float(limits.probe_s)
    )


__all__ = ["KmsAuth", "KmsLimits", "credentials_of", "files", "given", "guard_limits", "wrong_key_store"]
