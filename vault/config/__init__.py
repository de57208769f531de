"""The deployment's settings: `coatcheck.toml`, the environment above it, flags above that.

Unknown keys are errors, and so are keys that this version does not build yet: nothing is ignored.
Secrets are never values here, only paths of files or `env:NAME`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vault.config.checking import Problem, read
from vault.config.settings import DEFAULT_PORT, DIRECTORY, CellSettings, Config, StoreSettings
from vault.errors import Fact, Misconfigured

FILE_NAME: Final = "coatcheck.toml"
_PREFIX: Final = "COATCHECK_"
# Environment variables that are not settings of the file.
NOT_SETTINGS: Final = frozenset(
    {"CONFIG", "PORT", "URL", "KEY", "REGION", "CA", "PROFILE", "VECTORS", "FULL", "PURPOSE", "OPERATION",
     "PASSPHRASE"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """A file with the environment above it, whether it can be used or not.

    Attributes:
        config: the settings; where one is wrong, its default. None if one without a default is.
        problems: everything that is wrong.
        sources: the variable that a setting comes from, by the setting's name.
        document: the tables of the file and the environment together.
    """

    config: Config | None
    problems: list[Problem]
    sources: dict[str, str]
    document: dict[str, Any]


def no_color_wanted() -> bool:
    """Whether the environment asks for no colours (NO_COLOR)."""
    return bool(os.environ.get("NO_COLOR"))


def find_file(flag: str | None) -> Path:
    """The configuration file: the flag's, `COATCHECK_CONFIG`'s, or ./coatcheck.toml."""
    path = Path(flag or os.environ.get("COATCHECK_CONFIG") or FILE_NAME)
    return path / FILE_NAME if path.is_dir() else path


def load(path: Path) -> Config:
    """The settings of a file with the environment above it.

    Raises:
        Misconfigured: `config_invalid` with the setting's name; `not_initialised` if there is no file.
    """
    return _usable(load_all(path))


def load_all(path: Path) -> Settings:
    """The same with everything that is wrong, and where each setting comes from.

    Raises:
        Misconfigured: the file cannot be read, or is not TOML.
    """
    try:
        document = _toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured("not_initialised", path=str(path)) from None
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    except ValueError as problem:
        raise Misconfigured("config_invalid", path=str(path), reason=str(problem)[:200]) from None
    return assemble(document, os.environ, path.parent)


def build(document: dict[str, Any], environment: Mapping[str, str], base: Path) -> Config:
    """The settings of a decoded file with an environment above it.

    Raises:
        Misconfigured: `config_invalid` with the setting's name.
    """
    return _usable(assemble(document, environment, base))


def assemble(document: dict[str, Any], environment: Mapping[str, str], base: Path) -> Settings:
    """The settings of a decoded file with an environment above it, and all that is wrong with them."""
    sources, problems = _overlay(document, environment)
    config, wrong = read(document, base)
    return Settings(config, problems + wrong, sources, document)


def _usable(settings: Settings) -> Config:
    if settings.problems or settings.config is None:
        first, *others = settings.problems
        more: dict[str, Fact] = {"more": len(others), "all": "coatcheck config check"} if others else {}
        raise Misconfigured("config_invalid", setting=first.setting, reason=first.reason, **more)
    return settings.config


def _toml(text: str) -> dict[str, Any]:
    """The table that a TOML text holds.

    Raises:
        ValueError: it is not TOML, or more than this reader takes: nested too deep, numbers too long.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _overlay(
    document: dict[str, Any], environment: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    """Puts `COATCHECK_SECTION__KEY` over the file, and `COATCHECK_PORT` over the listener's port.

    Returns:
        The variable that each setting now comes from, and the variables that cannot be taken.
    """
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    for name in sorted(environment):
        if not name.startswith(_PREFIX) or name[len(_PREFIX) :] in NOT_SETTINGS:
            continue
        parts = name[len(_PREFIX) :].lower().split("__")
        if len(parts) < 2 and parts[0] != "mode":
            problems.append(Problem(name, "is not COATCHECK_SECTION__KEY"))
            continue
        table: Any = document
        for part in parts[:-1]:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            problems.append(Problem(name, "lies in a setting that is no table"))
            continue
        table[parts[-1]] = _value(environment[name])
        sources[".".join(parts)] = name
    port = environment.get("COATCHECK_PORT")
    if port:
        listen = document.setdefault("listen", {})
        if isinstance(listen, dict):  # otherwise it is refused for that
            host = str(listen.get("address", f"127.0.0.1:{DEFAULT_PORT}")).rpartition(":")[0]
            listen["address"] = f"{host}:{port}"
            sources["listen.address"] = "COATCHECK_PORT"
    return sources, problems


def _value(text: str) -> Any:
    """A TOML value if it reads as a number, a flag or a list; else the text itself."""
    try:
        table = _toml(f"value = {text}")
    except ValueError:
        return text
    value = table["value"] if len(table) == 1 else text
    return value if isinstance(value, int | bool | list) else text


__all__ = [
    "CellSettings", "Config", "DIRECTORY", "FILE_NAME", "NOT_SETTINGS", "Problem", "Settings",
    "StoreSettings", "assemble", "build", "find_file", "load", "load_all", "no_color_wanted",
]  # fmt: skip
