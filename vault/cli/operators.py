"""operator create | list | reset-mfa, on this host; login, logout, whoami, over HTTP."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Final

import click
import msgspec

from vault.cli.doors import Door, command, profile_named
from vault.cli.identities import confirm
from vault.config.profiles import Profile, profiles_path, read_profiles, write_profiles
from vault.errors import BadInput, CoatcheckError, Misconfigured
from vault.services import operators
from vault.services.listing import Page
from vault.services.operators import OperatorBody
from vault.services.second_factors import CodeBody
from vault.services.sessions import LoginBody, StepUpBody

_MAX_FILE: Final = 4_096  # bytes
_top: Final = click.Group()


@click.group("operator")
def group() -> None:
    """Let operators sign in: give them passwords, list them, take second factors away. On this host."""


def register(cli: click.Group) -> None:
    """Adds the commands."""
    cli.add_command(group)
    for name in ("login", "logout", "whoami"):
        cli.add_command(_top.commands[name])


@command(group, "create", "host", "tenant")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="admin, auditor, key-custodian, cell-admin; repeat.")
@click.option("--permission", "permissions", multiple=True, help="e.g. audit:read; repeat.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Its first line; else it asks.")
def create(
    door: Door, name: str, roles: tuple[str, ...], permissions: tuple[str, ...], password_file: Path | None
) -> None:
    """Create an operator with a password; one that has none yet gets it.

    It signs in by `coatcheck login`, and is then asked to get a second factor.
    """
    body = OperatorBody(
        name, password_of(password_file, "Password", twice=True), list(roles), list(permissions)
    )
    door.output.record(door.verb(operators.create_operator, body))


@command(group, "list", "host", "tenant")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List operators, newest first, and what they prove themselves by."""
    answer = door.verb(operators.list_operators, Page(limit, cursor))
    door.page(answer, ("id", "name", "roles", "password", "totp", "passkeys"))


@command(group, "reset-mfa", "host", "tenant")
@click.argument("name")
@click.option("--new-password", is_flag=True, help="Ask for another password, too.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Another password: its first line.")
def reset_mfa(door: Door, name: str, new_password: bool, password_file: Path | None) -> None:
    """Take away an operator's TOTP device, passkeys, recovery codes and sessions.

    For who has lost them all. On the record under this host's user.
    """
    confirm(door, "Take the operator's second factors and sessions away?")
    password = None
    if new_password or password_file is not None:
        password = password_of(password_file, "New password", twice=True)
    door.output.record(door.verb(operators.reset_mfa, name, password))


@command(_top, "login", "remote")
@click.option("--name", help="The operator, like ada or ada@TENANT; else it is asked for.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Its first line; else it asks.")
@click.option("--code-file", type=click.Path(path_type=Path), help="The code, likewise; -: standard input.")
@click.option("--enrol", is_flag=True, help="Get a TOTP device and recovery codes, too.")
@click.option("--step-up", is_flag=True, help="Prove the second factor once more, in the session there is.")
def login(
    door: Door,
    name: str | None,
    password_file: Path | None,
    code_file: Path | None,
    enrol: bool,
    step_up: bool,
) -> None:
    """Sign in; the session is kept in the --profile until it ends or `coatcheck logout`.

    With an empty code one signs in who has no second factor yet, and can then get one.
    """
    profile = profile_named(door)
    if step_up:
        code = _line(code_file, "Code: ")
        answer = door.call("POST", "sessions/step-up", StepUpBody(code=code))
    else:
        who = name or _line(None, "Name: ")
        password = password_of(password_file, "Password")
        code = _line(code_file, "Code (empty: no second factor yet): ")
        body = LoginBody(who, password, code or None)
        answer = door.call("POST", "sessions", body, anonymous=True)
        credential = answer.pop("credential")
        _keep(profile, credential, answer["expires"])
        door.use(credential)
    door.output.record(answer)
    if enrol:
        _enrol(door)
    elif answer.get("enrol"):
        door.output.note("There is no second factor yet: coatcheck login --enrol, or a passkey at /sign-in.")


def _enrol(door: Door) -> None:
    """Gets a TOTP device, and codes for when it is lost."""
    door.output.record(door.call("POST", "self/totp"))
    code = _line(None, "Code that the device shows: ")
    door.call("POST", "self/totp/confirm", CodeBody(code))
    codes = door.call("POST", "self/recovery-codes")
    door.output.record(codes)
    door.output.note("Keep the codes where the device is not: each is good once in its place.")


@command(_top, "logout", "remote")
def logout(door: Door) -> None:
    """End the session that the --profile keeps, and forget it."""
    profile = profile_named(door)
    if read_profiles(profiles_path())[profile].session is None:
        raise BadInput("usage", reason="the profile keeps no session")
    try:
        door.call("DELETE", "sessions/current")
    except CoatcheckError as problem:
        if problem.code != "credential_invalid":
            raise
    _keep(profile, None, None)
    door.output.note("The session is over.")


@command(_top, "whoami", "remote")
def whoami(door: Door) -> None:
    """Show who the credential or the session is, and until when."""
    door.output.record(door.call("GET", "whoami"))


def _keep(name: str, session: str | None, expires: str | None) -> None:
    """Keeps a session in a profile, or none."""
    path = profiles_path()
    profiles = read_profiles(path)
    changed = {"session": session, "session_expires": expires}
    profiles[name] = msgspec.structs.replace(profiles.get(name, Profile()), **changed)
    write_profiles(path, profiles)


def password_of(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """A password: of a file, or typed without being shown.

    Raises:
        BadInput: `usage`: there is no terminal to ask on, or what was typed twice is not the same.
        Misconfigured: `host_permissions`.
    """
    if file is not None:
        return _line(file, "")
    if not sys.stdin.isatty():
        raise BadInput("usage", reason="there is no terminal to ask on; say --password-file")
    typed = getpass.getpass(f"{prompt}: ")
    if twice and getpass.getpass("The same again: ") != typed:
        raise BadInput("usage", reason="the two are not the same")
    return typed


def _line(file: Path | None, prompt: str) -> str:
    """The first line of a file, of standard input, or what is typed."""
    if file is None and sys.stdin.isatty():
        return str(click.prompt(prompt.rstrip(": "), default="", show_default=False, err=True)).strip()
    try:
        if file is None or str(file) == "-":
            return sys.stdin.readline(_MAX_FILE).strip("\r\n")
        with file.open(encoding="utf-8") as opened:
            return opened.readline(_MAX_FILE).strip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured("host_permissions", path=str(file)) from None


def first_operator(name: str | None, password_file: Path | None) -> OperatorBody | None:
    """The first operator of a cell, as told or typed; None: nobody says who."""
    if name is None and not sys.stdin.isatty():
        return None
    who = name if name is not None else _line(None, "Name of the first operator (empty: none)")
    if not who:
        return None
    password = password_of(password_file, f"Password of {who}", twice=True)
    return OperatorBody(who, password, list(FIRST_ROLES))


FIRST_ROLES: Final = ("admin", "cell-admin")
"""Whoever is first makes the others; keys and the record are for somebody else."""
