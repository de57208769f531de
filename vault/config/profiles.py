"""Profiles: where services are and the credential for each, in one private file of a user.

[profile.NAME] has url, region, key, ca, timeout and a session. Flags and the environment go before it.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from vault.clock import Micros, parse_time
from vault.config.checking import Reader
from vault.errors import Misconfigured

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_DELETE: Final = "\x7f"  # the one control character that TOML wants escaped and JSON does not


class Profile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """One service, as somebody uses it.

    Attributes:
        session: an operator's, which goes before the key until it ends.
    """

    url: str | None = None
    region: str | None = None
    key: str | None = None
    ca: str | None = None
    timeout: float | None = None
    session: str | None = None
    session_expires: str | None = None

    def credential(self, now: Micros) -> str | None:
        """The session, if it has not ended, or the key."""
        try:
            lasts = self.session_expires is None or parse_time(self.session_expires) > now
        except ValueError:
            lasts = False
        return self.session if self.session is not None and lasts else self.key

    def __repr__(self) -> str:
        return "<Profile>"


class _File(msgspec.Struct, frozen=True):
    profile: dict[str, Profile] = {}


def profiles_path() -> Path:
    """The file of profiles: below XDG_CONFIG_HOME, or ~/.config."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(folder) if folder.startswith("/") else Path.home() / ".config") / "coatcheck/profiles.toml"


def read_profiles(path: Path) -> dict[str, Profile]:
    """All profiles by name; none without a file.

    Raises:
        Misconfigured: `host_permissions`: others may read it, or this user may not; `config_invalid`.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_IMODE(found.st_mode) & _OTHERS or found.st_uid not in (os.geteuid(), 0):
                raise Misconfigured("host_permissions", path=str(path), needs="0600")
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    except (ValueError, RecursionError):
        # The reader's own words may repeat a part of the file, and that may be a credential.
        raise Misconfigured("config_invalid", path=str(path), reason="is not TOML") from None
    reader = Reader()
    taken = reader.struct(_File, document, "", "")
    if taken is None or reader.problems:
        first = reader.problems[0]
        raise Misconfigured("config_invalid", path=str(path), setting=first.setting, reason=first.reason)
    return taken.profile


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        Misconfigured: `config_invalid`: there is none.
    """
    found = read_profiles(profiles_path()).get(name)
    if found is None:
        raise Misconfigured("config_invalid", setting="--profile", reason="there is no such profile")
    return found


def write_profiles(path: Path, profiles: Mapping[str, Profile]) -> None:
    """Writes the file, whole or not at all, for this user alone.

    Raises:
        Misconfigured: `host_permissions`.
    """
    lines = ["# Written by `coatcheck profile`. Holds credentials: for this user alone.\n"]
    for name, profile in sorted(profiles.items()):
        lines.append(f"\n[profile.{_text(name)}]\n")
        lines += [f"{key} = {_text(value)}\n" for key, value in msgspec.to_builtins(profile).items()]
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, _FILE_MODE), "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def _text(value: object) -> str:
    """A value of TOML: its basic strings are JSON's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace(_DELETE, "\\u007f")
