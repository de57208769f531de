"""What is wrong with settings, all of it at once, and what of them is risky. Values are never repeated."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import msgspec
from msgspec import inspect

from vault.authn.sessions import OPERATORS
from vault.clock import parse_period
from vault.config.addresses import is_service_url, split_address
from vault.config.database import SQLITE, is_file, place_of, risky_database, wrong_database
from vault.config.identities import wrong_identities
from vault.config.keystores import wrong_key_store
from vault.config.notices import wrong_notices
from vault.config.oauth import wrong_oauth
from vault.config.settings import (
    ENV,
    NOT_BUILT,
    NOT_BUILT_REASON,
    CellSettings,
    Config,
    KeySettings,
    RegionSettings,
    StoreSettings,
)
from vault.crypto.base64url import decode
from vault.crypto.hpke import check_public
from vault.identifiers import is_name

TLS_MINIMUM: Final = "1.3"
MODES: Final = ("production", "development")
ROTATIONS: Final = {
    "rotation": (3_600, "P90D", "an hour: each turn opens and seals every key"),
    "reference_rotation": (86_400, "P1Y", "a day: each time every identifier is opened once"),
    "delivery_rotation": (1_209_600, "P1Y", "two weeks: a key is announced for a week before it signs"),
}
"""Cryptoperiods in a cell's settings: the shortest in seconds, a common one, and why none is shorter."""
SHORTEST_TERM_S: Final = 60
LONGEST_OVERLAP_S: Final = 31 * 86_400
MAX_PROBLEMS: Final = 100
WHERE: Final = "is https://HOST or http://HOST, without a user: whoever asks the wrong service is told it"
_BROAD_BITS: Final = {4: 16, 6: 48}  # a network of more addresses than this prefix has is not "the proxies"
S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting, and what is wrong or risky about it."""

    setting: str
    reason: str


class Reader:
    """Reads tables into structs and notes what cannot be taken, instead of stopping at it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def note(self, setting: str, reason: str) -> None:
        """Notes a problem; after the first hundred nobody reads on."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(setting, reason))

    def struct(self, kind: type[S], table: object, place: str, general: str) -> S | None:
        """A table as a struct; settings that are wrong have their defaults. None if a required one is wrong.

        Args:
            place: where the table stands, with a dot behind it; empty for the whole.
            general: the same with REGION for a region's name.
        """
        if not isinstance(table, dict):
            self.note(place.rstrip("."), "is a table")
            return None
        fields = {item.name: item for item in msgspec.structs.fields(kind)}
        for key in table:
            if key not in fields:
                self._unknown(str(key), place, general, [*fields])
        taken: dict[str, Any] = {}
        whole = True
        for name, item in fields.items():
            if name in table:
                value = self._value(item.type, table[name], place + name, general + name)
                if value is not None:
                    taken[name] = value
                    continue
            elif item.required:
                self.note(place + name, "is missing")
            whole = whole and not item.required
        return kind(**taken) if whole else None

    def _value(self, kind: Any, value: object, place: str, general: str) -> Any:
        """A value of a field's type; None if it is no such value, which is noted."""
        structs = [part for part in (kind, *get_args(kind)) if _is_struct(part)]
        if structs and getattr(kind, "__origin__", None) is dict:
            if not isinstance(value, dict):
                return self.note(place, "is a table")
            rows = {
                name: self.struct(structs[0], table, f"{place}.{name}.", f"{general}.REGION.")
                for name, table in value.items()
            }
            return {name: row for name, row in rows.items() if row is not None}
        if structs:
            return self.struct(structs[0], value, f"{place}.", f"{general}.")
        try:
            return msgspec.convert(value, kind)
        except (msgspec.ValidationError, RecursionError):
            return self.note(place, f"is {expected(kind)}")

    def _unknown(self, key: str, place: str, general: str, known: list[str]) -> None:
        if key in NOT_BUILT.get(general.rstrip("."), ()):
            return self.note(place + key, NOT_BUILT_REASON)
        near = difflib.get_close_matches(key[:100], known, 1)
        return self.note(place + key[:100], f"is unknown; near: {near[0]}" if near else "is unknown")


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def expected(kind: Any) -> str:
    """What a setting's type takes, in words; where it takes one value, why."""
    found = inspect.type_info(kind)
    match found.type if isinstance(found, inspect.Metadata) else found:
        case inspect.IntType(ge=low, le=high) if low == high:
            return f"{low}: {meaning(kind)}"
        case inspect.IntType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType():
            return "a list of texts"
        case _:
            return "a text"


def meaning(kind: Any) -> str:
    """What the reference says of a setting of this type."""
    [found] = [part.description for part in kind.__metadata__ if isinstance(part, msgspec.Meta)]
    return str(found)


def read(document: Mapping[str, Any], base: Path) -> tuple[Config | None, list[Problem]]:
    """The settings of a decoded document, and everything that is wrong with them.

    Settings that are wrong have their defaults, so that the others can be checked too.
    """
    reader = Reader()
    if "base" in document:
        reader.note("base", "is unknown")
    config = reader.struct(Config, {**document, "base": str(base)}, "", "")
    if config is not None:
        mode_is_known = not any(problem.setting == "mode" for problem in reader.problems)
        for problem in _wrong(config, mode_is_known=mode_is_known):
            reader.note(problem.setting, problem.reason)
    return config, reader.problems


def _wrong(config: Config, *, mode_is_known: bool) -> Iterator[Problem]:
    if config.mode not in MODES:
        yield Problem("mode", "is production or development")
    strict = mode_is_known and config.mode in MODES and not config.development
    if config.log.format not in ("json", "text"):
        yield Problem("log.format", "is json or text")
    if config.log.level not in ("debug", "info", "warning", "error"):
        yield Problem("log.level", "is debug, info, warning or error")
    databases: dict[object, str] = {}
    key_stores: dict[object, str] = {}
    for region, cell in config.cell.items():
        if not is_name(region):
            yield Problem("cell", "a region's name is a-z, 0-9, - . _")
        yield from _wrong_cell(config, f"cell.{region}", cell)
    for place, store in config.stores().items():
        yield from _wrong_store(config, place, store, strict=strict)
        other = databases.setdefault(_which(config, store), place)
        if other != place:
            yield Problem(f"{place}.database", f"is the database of {other} too")
        other = key_stores.setdefault(store.kms, place)
        if other != place:
            yield Problem(
                f"{place}.kms", f"is the key store of {other} too: an end of the one's keys ends both"
            )
    for region, elsewhere in config.region.items():
        if not is_name(region):
            yield Problem("region", "a region's name is a-z, 0-9, - . _")
        if not is_service_url(elsewhere.url):
            yield Problem(f"region.{region}.url", WHERE)
        yield from _wrong_region(f"region.{region}", elsewhere, strict=strict)
    yield from _wrong_keys(config.keys)
    for name, reason in wrong_identities(config.identities, strict=strict):
        yield Problem(f"identities.{name}", reason)
    for name, reason in wrong_notices(config.notices):
        yield Problem(f"notices.{name}", reason)
    for name, reason in wrong_oauth(config.oauth):
        yield Problem(f"oauth.{name}", reason)
    if config.listen.client_cert_header and not config.listen.trusted_proxies:
        yield Problem("listen.client_cert_header", "needs listen.trusted_proxies: nobody else is believed")
    if config.tls is not None and config.tls.minimum != TLS_MINIMUM:
        yield Problem("tls.minimum", f"is {TLS_MINIMUM}; nothing older is spoken")
    files = [region for region, cell in config.cell.items() if is_file(cell.database)]
    if config.listen.workers > 1 and files:
        yield Problem("listen.workers", f"is 1: a SQLite file is held by one process (cell.{files[0]})")
    yield from _wrong_listeners(config)


def _which(config: Config, cell: StoreSettings) -> object:
    """A database, however its setting is spelt."""
    try:
        place = None if is_file(cell.database) else place_of(cell.database)
    except ValueError:
        return object()  # wrong anyway
    if place is None:
        return config.path(cell.database.removeprefix(SQLITE))
    return place.hosts, place.ports, place.name


def _wrong_region(place: str, region: RegionSettings, *, strict: bool) -> Iterator[Problem]:
    if region.key is not None and not region.key.startswith(ENV):
        yield Problem(f"{place}.key", "is env:NAME, never the key itself")
    if region.key is not None and region.key_file is not None:
        yield Problem(f"{place}.key_file", "stands beside key: one of them")
    if region.keyed and strict and not region.url.lower().startswith("https://"):
        yield Problem(f"{place}.url", "is https where a key goes there")
    if region.intake_key is not None:
        try:
            check_public(decode(region.intake_key))
        except ValueError:
            yield Problem(f"{place}.intake_key", "is the member x of an intake key")


def _wrong_cell(config: Config, place: str, cell: CellSettings) -> Iterator[Problem]:
    if cell.url is not None and not is_service_url(cell.url):
        yield Problem(f"{place}.url", WHERE)
    others = {region for region in config.cell if f"cell.{region}" != place}
    others |= {region for region, elsewhere in config.region.items() if elsewhere.keyed}
    if not others.issuperset(cell.transfer_to):
        yield Problem(f"{place}.transfer_to", "names other regions that have a [cell] here, or a key")
    for name, (shortest_s, like, reason) in ROTATIONS.items():
        period = getattr(cell, name)
        try:
            if period is not None and parse_period(period).shortest_seconds < shortest_s:
                yield Problem(f"{place}.{name}", f"is at least {reason}")
        except ValueError:
            yield Problem(f"{place}.{name}", f"is a duration like {like}")
    for name, like in (("custody_backup_keep", "P7D"), ("suppression_keep", "P10Y")):
        try:
            parse_period(getattr(cell, name))
        except ValueError:
            yield Problem(f"{place}.{name}", f"is a duration like {like}")


def _wrong_store(config: Config, place: str, store: StoreSettings, *, strict: bool) -> Iterator[Problem]:
    """What is wrong with a database and a key store, of a cell or of the directory."""
    if store.key_file is not None and strict:
        reason = "a key file beside the data is for development only; use passphrase_file"
        yield Problem(f"{place}.key_file", reason)
    if not store.half_stores:
        yield Problem(f"{place}.half_stores", "is empty")
    if len({config.path(folder) for folder in store.half_stores}) < len(store.half_stores):
        yield Problem(f"{place}.half_stores", "names a folder twice")
    for setting, reason in wrong_key_store(store.kms, store.kms_auth):
        yield Problem(f"{place}.{setting}", reason)
    if store.passphrase is not None and not store.passphrase.startswith(ENV):
        yield Problem(f"{place}.passphrase", "is env:NAME, never the passphrase itself")
    if sum(setting is not None for setting in (store.passphrase, store.passphrase_file, store.key_file)) > 1:
        yield Problem(place, "goes with one of passphrase_file, passphrase and key_file")
    for name, reason in wrong_database(store, strict=strict):
        yield Problem(f"{place}.{name}", reason)


def _wrong_keys(keys: KeySettings) -> Iterator[Problem]:
    """What is wrong with the terms of service keys."""
    for name, longest_s in (("longest", None), ("overlap", LONGEST_OVERLAP_S), ("warning", None)):
        text = getattr(keys, name)
        if text is None:
            continue
        try:
            seconds = parse_period(text).shortest_seconds
        except ValueError:
            yield Problem(f"keys.{name}", "is a duration like P90D")
            continue
        if seconds < SHORTEST_TERM_S:
            yield Problem(f"keys.{name}", "is at least a minute")
        elif longest_s is not None and seconds > longest_s:
            yield Problem(f"keys.{name}", "is a month at most: a key that was replaced is no key to keep")


def _wrong_listeners(config: Config) -> Iterator[Problem]:
    for text in config.listen.trusted_proxies:
        try:
            ip_network(text)
        except ValueError:
            yield Problem("listen.trusted_proxies", "is a list of networks, like 10.0.0.0/8 or 192.0.2.7")
            break
    try:
        main = split_address(config.listen.address)
    except ValueError as problem:
        yield Problem("listen.address", str(problem))
        main = None
    if main and not main.loopback and config.tls is None and not config.listen.trusted_proxies:
        reason = "plain HTTP is served on loopback only; configure tls, or listen.trusted_proxies"
        yield Problem("listen.address", reason)
    if config.listen.admin_address is not None:
        try:
            admin = split_address(config.listen.admin_address)
        except ValueError as problem:
            yield Problem("listen.admin_address", str(problem))
            return
        if not admin.loopback:
            yield Problem("listen.admin_address", "is a loopback address: nobody is asked who they are there")
        elif main and admin.port and admin.port == main.port:
            yield Problem("listen.admin_address", "has the port of listen.address")


def risks(config: Config) -> Iterator[Problem]:
    """What is allowed, and yet to be thought about. Nothing outside the settings is looked at."""
    if config.development:
        yield Problem("mode", "is development: key files, and /metrics and /docs for whoever can connect")
    if not config.cell:
        yield Problem("cell", "no [cell.REGION] is configured, so nothing is served")
    if config.proxies_only:
        yield Problem("listen.address", "values travel unencrypted between the proxies and this host")
    for network in config.trusted_proxies():
        if network.prefixlen < _BROAD_BITS[network.version]:
            yield Problem("listen.trusted_proxies", f"{network} is broad: all in it can name any address")
    if config.log.level == "debug":
        yield Problem("log.level", "is debug: libraries log what they please")
    if not config.development and config.identities.admin != OPERATORS:
        reason = "is any: whoever has a service key with the permission administers, without a second factor"
        yield Problem("identities.admin", reason)
    for place, store in config.stores().items():
        yield from _risky_store(place, store)


def _risky_store(place: str, store: StoreSettings) -> Iterator[Problem]:
    yield from (Problem(f"{place}.{name}", reason) for name, reason in risky_database(store))
    if len(store.half_stores) < 2:
        yield Problem(f"{place}.half_stores", "only one; put a second on another disk")
    if store.key_file is not None:
        yield Problem(f"{place}.key_file", "a key file beside the data")
    if store.passphrase is not None:
        yield Problem(f"{place}.passphrase", "other processes of this user can read an environment variable")
    covered = not store.passphrase is store.passphrase_file is store.key_file is None
    if not store.kms.startswith("local:"):
        if covered:
            yield Problem(f"{place}.passphrase_file", "is for local: only, and not read here")
    elif not covered and place == "directory":
        yield Problem(f"{place}.passphrase_file", "is missing; a service asks nobody, so nobody is looked up")
    elif not covered:
        yield Problem(f"{place}.passphrase_file", "is missing, so a start asks on the terminal")
