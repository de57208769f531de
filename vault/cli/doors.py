"""Options that commands share, and the two ways a command reaches a cell: over HTTP, or on this host."""

from __future__ import annotations

import functools
import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import click
import msgspec
from click.core import ParameterSource

from vault.cli.output import Output, use_color
from vault.client.http import DEFAULT_TIMEOUT_S, Client
from vault.clock import SystemClock
from vault.config import Config, find_file, load
from vault.config.profiles import find_profile
from vault.errors import BadInput, CoatcheckError, Internal, Misconfigured, Unavailable
from vault.identifiers import new_id
from vault.secret import Secret
from vault.services.cell import Cell, Origin
from vault.services.gate import Request
from vault.services.initialise import MAIN_TENANT
from vault.services.tenants import check_tenant
from vault.wiring import Wiring, as_host, perform

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count
F = TypeVar("F", bound=Callable[..., Any])


class Door:
    """How a command reaches what it works on; made from the shared options."""

    def __init__(self, output: Output, options: dict[str, Any]) -> None:
        self.output = output
        self.yes: bool = options.get("yes", False)
        self._options = _with_profile(options)

    @property
    def remote(self) -> bool:
        """Whether a service's address was given."""
        return bool(self._options.get("url"))

    @property
    def named_region(self) -> str | None:
        """The region that was named, if one was."""
        named = self._options.get("region")
        return None if named is None else str(named)

    @property
    def config(self) -> Config:
        """The deployment on this host."""
        return load(self.config_path)

    @property
    def config_path(self) -> Path:
        """The file of its settings."""
        return find_file(self._options.get("config"))

    @property
    def config_source(self) -> str:
        """What named that file: `--config`, `COATCHECK_CONFIG`, or the folder that the shell is in."""
        if given("config"):
            return "--config"
        return "COATCHECK_CONFIG" if self._options.get("config") else "the current folder"

    def region(self, config: Config) -> str:
        """The region meant: the one named, or the only one there is.

        Raises:
            Misconfigured: `config_invalid`: none, several, or one that is not configured.
            Unavailable: `misdirected_region`: another service hosts it.
        """
        named = self._options.get("region")
        if named in config.region and named not in config.cell:
            raise Unavailable("misdirected_region", region=str(named), url=config.region[str(named)].url)
        if named is None and len(config.cell) == 1:
            return next(iter(config.cell))
        if named is None or named not in config.cell:
            raise Misconfigured(
                "config_invalid", setting="--region", known=", ".join(sorted(config.cell)) or "none"
            )
        return str(named)

    @property
    def credential(self) -> str | None:
        """The credential that was given.

        Raises:
            Misconfigured: `host_permissions`: the file that is to hold it cannot be read.
        """
        key, key_file = (self._options.get(name) for name in ("key", "key_file"))
        if key is None and key_file:
            try:
                return Path(key_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                raise Misconfigured("host_permissions", path=str(key_file)) from None
        return None if key is None else str(key)

    def client(self, *, anonymous: bool = False) -> Client:
        """A client of the service.

        Args:
            anonymous: whether it has no credential, and is to get one.

        Raises:
            BadInput: `usage`: address, region or credential is missing.
        """
        url, region = (self._options.get(name) for name in ("url", "region"))
        key = None if anonymous else self.credential
        for option, value in (("--url", url), ("--region", region), ("--key", key)):
            if not value and not (anonymous and option == "--key"):
                variable = "COATCHECK_" + option.removeprefix("--").upper()
                raise BadInput("usage", missing=f"{option}, or {variable}")
        timeout = float(self._options.get("timeout") or DEFAULT_TIMEOUT_S)
        credential = None if key is None else str(key)
        return Client(str(url), str(region), credential, timeout, self._options.get("ca"))

    def use(self, credential: str) -> None:
        """Goes on with another credential."""
        self._options = {**self._options, "key": credential}

    @property
    def names_tenant(self) -> bool:
        """Whether a tenant was named."""
        return self._options.get("tenant") is not None

    @property
    def tenant(self) -> str:
        """The tenant that a command on this host means.

        Raises:
            BadInput: `usage`: one was named, and a service's address too: there it is the credential's.
        """
        named = self._options.get("tenant")
        if named is not None and self.remote:
            raise BadInput("usage", option="--tenant", reason="over HTTP the tenant is the credential's")
        return MAIN_TENANT if named is None else str(named)

    @property
    def profile(self) -> str | None:
        """The profile that was named, if one was."""
        named = self._options.get("profile")
        return None if not named else str(named)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: dict[str, Any] | None = None,
        *,
        anonymous: bool = False,
    ) -> Any:
        """A request to the service; `anonymous`, without a credential."""
        _ = self.tenant
        client = self.client(anonymous=anonymous)
        try:
            given = {name: value for name, value in (query or {}).items() if value is not None}
            return client.request(method, path, body, given, self._options.get("idempotency_key"))
        finally:
            client.close()

    @contextmanager
    def cell(self) -> Iterator[Cell]:
        """The cell on this host, opened under its lock."""
        config = self.config
        opened = Wiring(config, ask_passphrase).open(self.region(config))
        try:
            if opened.lock is None:
                opened.attend("host")  # others are at work on the cell
            yield opened.cell
        finally:
            opened.close()

    def verb(self, verb: Callable[..., Any], *arguments: Any) -> Any:
        """A verb on this host's cell, as the host, and its answer as plain data."""
        if self._options.get("idempotency_key") is not None:
            raise BadInput("usage", option="--idempotency-key", reason="goes with --url")
        with self.cell() as cell:
            request = host_request(self.tenant)
            check_tenant(cell.store, self.tenant)
            return msgspec.to_builtins(perform(cell, lambda: verb(cell, request, *arguments)))

    def show_once(self, answer: Any) -> None:
        """Prints an answer with a credential; one that is given again has none."""
        self.output.record(answer)
        if answer.get("credential"):
            self.output.note("The credential is shown only here.")

    def page(self, answer: Any, columns: Sequence[str]) -> None:
        """Prints a page of a list, and how to get the next one."""
        self.output.table(answer["items"], columns)
        if answer["next"]:
            self.output.note(f"more: --cursor {answer['next']}")


def profile_named(door: Door) -> str:
    """The profile that a session is kept in.

    Raises:
        BadInput: `usage`: none was named.
    """
    if door.profile is None:
        reason = "a session is kept in a profile; name one that `coatcheck profile set` made"
        raise BadInput("usage", missing="--profile, or COATCHECK_PROFILE", reason=reason)
    return door.profile


def host_request(tenant: str = MAIN_TENANT) -> Request:
    """A request of this host's user."""
    caller = as_host(tenant)
    return Request(None, Origin(caller.actor, new_id("req")), caller)


def ask_passphrase(region: str) -> Secret:
    """Asks for a key store's passphrase on the terminal.

    Raises:
        Misconfigured: `config_invalid`: there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise Misconfigured(
            "config_invalid",
            setting=f"cell.{region}.passphrase_file",
            reason="is missing, and there is no terminal to ask on",
        )
    return Secret(getpass.getpass(f"Passphrase of the key store of {region}: ").encode())


def command(group: click.Group, name: str, *kinds: str) -> Callable[[F], F]:
    """Registers a command with the options its kinds share.

    Args:
        kinds: `remote`, `host`, or both; `tenant` if on the host another one can be meant, `once` if it
            takes an Idempotency-Key. The function gets a `Door` first.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            shared: dict[str, Any] = {key: options.pop(key) for key in _SHARED if key in options}
            if given("config") and not given("url") and not given("profile"):
                # A flag goes before the environment: this host is meant.
                shared |= {"url": None, "profile": None}
            if shared.get("key_file") and not given("key"):
                shared["key"] = None  # and so does this one
            output = Output(shared["json"], shared["quiet"], use_color(shared["no_color"]))
            guard(output, lambda: function(Door(output, shared), **options))

        wrapped: Any = run
        for option in _options(kinds):
            wrapped = option(wrapped)
        group.command(name)(wrapped)
        return function

    return decorate


def given(option: str) -> bool:
    """Whether an option stands on the command line, rather than in the environment."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def _with_profile(options: dict[str, Any]) -> dict[str, Any]:
    """The options with those of the named profile below them."""
    name = options.get("profile")
    if not name:
        return options
    profile = find_profile(str(name))
    below = {key: getattr(profile, key) for key in ("url", "region", "ca", "timeout")}
    if options.get("key_file") is None:
        below["key"] = profile.credential(SystemClock().now())
    return options | {key: value for key, value in below.items() if options.get(key) is None}


def guard(output: Output, work: Callable[[], Any]) -> None:
    """Runs a command's work; an error becomes its message and its exit class."""
    try:
        work()
        sys.stdout.flush()  # while a reader that has gone can still be told from a fault
    except CoatcheckError as problem:
        output.failure(problem)
        sys.exit(int(problem.row.exit))
    except BrokenPipeError:
        _drop(sys.stdout)  # whoever read it has seen enough
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort):
        output.note("Nothing was done.")
        sys.exit(INTERRUPTED)
    except (click.ClickException, click.exceptions.Exit, SystemExit):
        raise
    except Exception as problem:  # noqa: BLE001 - a defect is reported by its kind, never by its text
        output.failure(Internal("internal", kind=type(problem).__name__))
        sys.exit(70)


def _drop(stream: TextIO) -> None:
    """Lets what is still buffered go nowhere, so that the interpreter does not complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


_SHARED: Final = (
    *("json", "quiet", "no_color", "yes", "region", "config", "tenant", "idempotency_key"),
    *("url", "profile", "key", "key_file", "ca", "timeout"),
)


def _options(kinds: tuple[str, ...]) -> list[Callable[[Any], Any]]:
    region_help = "The region meant."
    options = [
        click.option("--region", envvar="COATCHECK_REGION", help=region_help),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--no-color", is_flag=True, help="No colours."),
        click.option("--quiet", is_flag=True, help="Only data and errors."),
        click.option("--json", is_flag=True, help="Print JSON, problems too."),
    ]
    if "host" in kinds:
        options.append(
            click.option("--config", envvar="COATCHECK_CONFIG", help="coatcheck.toml, or its folder.")
        )
    if "tenant" in kinds:
        options.append(click.option("--tenant", help="The tenant meant on this host; default: main."))
    if "once" in kinds:
        text = "Do it once, however often it is said with this key (over HTTP)."
        options.append(click.option("--idempotency-key", help=text))
    if "remote" in kinds:
        options += [
            click.option("--timeout", type=click.FloatRange(min=0.1), help="Seconds for one request."),
            click.option(
                "--ca",
                type=click.Path(),
                envvar="COATCHECK_CA",
                help="A PEM file of the authorities to trust over https; else those of this host.",
            ),
            click.option(
                "--profile",
                envvar="COATCHECK_PROFILE",
                help="What `coatcheck profile set` keeps under this name, where nothing else is said.",
            ),
            click.option("--key-file", type=click.Path(), help="A file that holds the credential."),
            click.option("--key", envvar="COATCHECK_KEY", help="The credential (better: COATCHECK_KEY)."),
            click.option(
                "--url", envvar="COATCHECK_URL", help="The service's address; without it: this host."
            ),
        ]
    return options


def segment(text: str) -> str:
    """An id as one segment of a path; what cannot be an id becomes one that nothing has."""
    return text if text.isascii() and text.replace("_", "").isalnum() else "gr_0"


def read_lines(source: str | None) -> list[str]:
    """The lines of a file, or of standard input; a terminal is told what to do.

    Only line feeds end a line, with or without a carriage return before them: a value may hold any other
    character that some call a line break (U+0085, U+2028).

    Raises:
        Misconfigured: `host_permissions`.
        BadInput: `body_malformed`: not UTF-8.
    """
    try:
        if source in (None, "-"):
            if sys.stdin.isatty():
                click.echo("One value a line; end with Ctrl-D.", err=True)
            raw = sys.stdin.buffer.read()
        else:
            raw = Path(str(source)).read_bytes()
        lines = raw.decode("utf-8").split("\n")
    except OSError:
        raise Misconfigured("host_permissions", path=str(source)) from None
    except UnicodeDecodeError:
        raise BadInput("body_malformed") from None
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
