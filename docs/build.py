"""Writes docs/reference/ from the code: `python docs/build.py` writes, `... --check` says what is stale.

The same code gives the same bytes. A setting without a description, or a description without its
setting, is an error here, so the pages are complete. Exit codes: 0 current, 1 stale, 2 usage.
"""

from __future__ import annotations

import random
import re
import sys
import typing
import unittest.mock
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import msgspec

import vault.__main__  # noqa: F401 - adds `serve` to the command line
from vault import config
from vault.api import openapi
from vault.api.app import ROUTES
from vault.api.oauth import FACE
from vault.api.problems import TYPE_PREFIX
from vault.api.route import Route
from vault.api.streams import STREAMS, Stream
from vault.audit.event import KINDS, Event, seal_event
from vault.cli.main import cli
from vault.clock import parse_time
from vault.codes import CODES, Exit
from vault.config import checking
from vault.config.settings import NOT_BUILT
from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import CoatcheckError
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.custom import NAMED
from vault.formats.mask import Mask
from vault.formats.normalize import Normalization
from vault.formats.spelling import Entry, Parameter
from vault.formats.surrogate import SURROGATES, Surrogate, parse_surrogate
from vault.formats.template import Template
from vault.policy.permissions import ADMINISTRATIVE, PERMISSIONS, ROLES, kind_of
from vault.policy.principal import Ceiling
from vault.schema import document as schema_document
from vault.schema.refusals import Refusals

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "docs" / "reference"
WRITTEN: Final = "<!-- Written by docs/build.py from the code; change the code, then run it. -->"
SAMPLES: Final = 3  # of each template
MANY: Final = 10  # choices that are no longer shown one by one


# Markdown


def page(title: str, *parts: str) -> str:
    """A page from its parts; empty ones are left out."""
    return "\n\n".join((f"# {title}", WRITTEN, *(part.strip("\n") for part in parts if part))) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing without rows."""
    lines = [_row(columns), "|" + "---|" * len(columns), *map(_row, rows)]
    return "\n".join(lines) if len(lines) > 2 else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def code(text: object) -> str:
    """A text as code."""
    return f"`{text}`"


def codes(names: Iterable[object]) -> str:
    """Texts as code, with commas."""
    return ", ".join(map(code, names))


def sentence(text: str) -> str:
    """A text that ends with a full stop."""
    return text if not text or text.endswith((".", ":")) else text + "."


def anchor(heading: str) -> str:
    """A heading's anchor, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def agree(what: str, there: Iterable[str], described: Iterable[str]) -> None:
    """Returns if exactly what is there is described."""
    if differ := sorted(set(there) ^ set(described)):
        raise SystemExit(f"docs/build.py: {what}: described or there, but not both: {', '.join(differ)}")


# cli.md

_CLI: Final = """
Values and tokens go in on standard input or from a file, never as arguments. Data comes out on standard
output, everything else on standard error.
"""
_SHARING: Final = """
Commands that work over HTTP take the first six; those that open a cell on this host take `--config`. On the
command line `--config` goes before `COATCHECK_URL`.
"""
_EXITS: Final = {
    Exit.OK: "done",
    Exit.USAGE: "the command was not understood",
    Exit.BAD_INPUT: "what was sent cannot be taken",
    Exit.NOT_AUTHENTICATED: "no credential, or one that is not valid",
    Exit.DENIED: "known, and not allowed",
    Exit.UNKNOWN: "not here, or not for this caller",
    Exit.CONFLICT: "true a moment ago, or held by another",
    Exit.PARTIAL: "part of the work was done, the rest is listed (no command gives this yet)",
    Exit.UNAVAILABLE: "not now; nothing was done",
    Exit.INTEGRITY: "bytes are not what was written",
    Exit.CONFIG: "the host's files or settings cannot be used",
    Exit.INTERNAL: "a defect of the program",
}
_SHARED: Final = (
    *("url", "profile", "key", "key_file", "ca", "timeout"),
    *("config", "region", "yes", "json", "quiet", "no_color"),
)


def commands(group: click.Group, *above: str) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, alphabetically."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, item in sorted(group.commands.items()):
        words = (*above, name)
        found += commands(item, *words) if isinstance(item, click.Group) else [(words, item)]
    return found


def options_of(command: click.Command) -> dict[str, click.Option]:
    """The options of a command by their Python name, in the order of its help."""
    return {str(item.name): item for item in command.params if isinstance(item, click.Option)}


def _reach(options: Mapping[str, click.Option]) -> str:
    if "url" in options and "config" in options:
        return "Over HTTP with `--url`, otherwise on this host."
    if "url" in options:
        return "Over HTTP."
    return "On this host." if "config" in options else ""


def _option(option: click.Option) -> tuple[str, str]:
    names = codes(option.opts)
    if not option.is_flag:
        names += f" {option.metavar or _kind(option.type)}"
    notes = [sentence(option.help or "")]
    if option.required:
        notes.append("Required.")
    if option.multiple:
        notes.append("Can be repeated.")
    if option.show_default and option.default is not None:
        notes.append(f"Default: {code(option.default)}.")
    if option.envvar:
        notes.append(f"Environment: {code(option.envvar)}.")
    return names, " ".join(notes)


def _kind(kind: click.ParamType[Any]) -> str:
    return "|".join(kind.choices) if isinstance(kind, click.Choice) else kind.name.upper().split()[0]


def _command(words: tuple[str, ...], command: click.Command) -> str:
    options = options_of(command)
    arguments = [_argument(item) for item in command.params if isinstance(item, click.Argument)]
    usage = " ".join(("coatcheck", *words, "[OPTIONS]", *arguments))
    own = [_option(option) for name, option in options.items() if name not in _SHARED]
    about = " ".join(f"{command.help or ''} {_reach(options)}".split())
    parts = (f"## {' '.join(words)}", about, f"```text\n{usage}\n```", table(("option", "what it does"), own))
    return "\n\n".join(part for part in parts if part)


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or str(argument.name).upper()
    return name if argument.required else f"[{name}]"


def cli_page() -> str:
    """Every command with its options; what all share once."""
    every = commands(cli)
    shared: dict[str, click.Option] = {}
    for _, command in every:
        shared |= {name: option for name, option in options_of(command).items() if name in _SHARED}
    listed = (
        (f"[{' '.join(words)}](#{'-'.join(words)})", item.get_short_help_str(200)) for words, item in every
    )
    return page(
        "The command line",
        _CLI,
        table(("command", "what it does"), listed),
        "## Options that commands share",
        _SHARING,
        table(("option", "what it does"), (_option(shared[name]) for name in _SHARED)),
        "## Exit codes",
        "Each code of [codes](codes.md) belongs to one of these classes.",
        table(("exit", "meaning"), ((str(int(exit_)), text) for exit_, text in _EXITS.items())),
        *(_command(words, command) for words, command in every),
    )


# http.md

_HTTP: Final = """
Everything stands under `/v1/{region}`. The region comes first: a service that does not host it answers 421
(`misdirected_region`) from the path alone, with the `url` of the service that does if its configuration
names one. `GET /openapi.json` describes the same as this page for programs.

- **Who.** `Authorization: Bearer ck_...` is a service key, `Authorization: Bearer cg_...` a grant's
  credential, `Authorization: Bearer cs_...` an operator's session, taken wherever a service key is. A body is
  read only after its sender is known, but for those that sign in. The tenant is the credential's.
- **Second factors.** What is administrative ([permissions](permissions.md)) asks a session for a fresh one,
  else it is 401 `insufficient_user_authentication`, with `max_age` in `WWW-Authenticate` (RFC 9470).
- **Bodies** are JSON in UTF-8 with `Content-Type: application/json`. Unknown members, members named twice and
  deep nesting are refused. A `null` value gives a `null` token, and the other way round; it is not charged.
- **Answers** carry `X-Request-Id` and `Cache-Control: no-store`. Where a decision is on the record, the
  answer carries `decision`, the id of its audit event.
- **Refusals** are problem documents (RFC 9457): `type`, `code`, `title`, `status`, `retry`, `request`,
  sometimes `hint`, and facts of the code. [Codes](codes.md) lists them. No refusal repeats what was sent.
- **Batches** are done as a whole or not at all. With bad items the answer is 422, its `code` is the first bad
  item's, and `errors` lists all of them as `{"index", "code"}`. Under a grant the charge stands.
- **Lists** answer `{"items", "next"}`; `next` is the `cursor` of the following page, or `null`.
- **Repeating** a request does it again, unless it carries an `Idempotency-Key` (1 to 128 printable ASCII
  characters, best random ones): then the same request under the same key is done once, and answered again
  for a day, with `"replayed": true`. A credential is not shown again. The key is the caller's own on each
  route; another request under it is a conflict. Routes that take none refuse it. A value of a `vaulted`
  field that is tokenized twice has two tokens; one that nobody kept is harmless.
"""
_OUTSIDE: Final = (
    ("GET /livez", "the process answers"),
    (
        "GET /readyz",
        "every cell's database answers, and the service is not shutting down; else 503. There with each cell",
    ),
    ("GET /openapi.json", "the OpenAPI 3.1 document"),
    (
        "GET /metrics",
        "counters and times for Prometheus; in development, and on the administrators' listener",
    ),
    ("GET /docs", "the routes as a page; there too"),
)
_CREDENTIALS: Final = {
    "key": "a service key", "session": "an operator's session", "grant": "a grant's credential"
}  # fmt: skip


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _common() -> set[str]:
    return set.intersection(*(set(openapi.codes_of(route)) for route in ROUTES))


def _route(route: Route) -> str:
    lines = [sentence(route.summary), ""]
    credentials = " or ".join(_CREDENTIALS[name] for name in openapi.credentials_of(route)) or "none"
    lines.append(f"- Credential: {credentials}.")
    if route.permission:
        lines.append(f"- Permission: {code(route.permission)}.")
    lines += [f"- Query: {code(name)}, {sentence(text)}" for name, text in route.query.items()]
    if route.body is not None:
        bound = "`limits.batch_mib`" if route.batch else "`limits.body_kib`"
        optional = " An empty body stands for `{}`." if route.body_optional else ""
        lines.append(f"- Body: {_link(route.body.__name__)}, at most {bound}.{optional}")
    answers = route.answer if isinstance(route.answer, tuple) else (route.answer,)
    lines.append(f"- Answer: {route.status}, {' or '.join(_link(item.__name__) for item in answers)}.")
    own = [name for name in openapi.codes_of(route) if name not in _common()]
    lines.append(f"- Codes: {codes(own)}.")
    return f"### {route.method} {route.path}\n\n" + "\n".join(lines)


def _described(text: str) -> tuple[str, dict[str, str]]:
    """A docstring's description, and what its `Attributes:` say of each member."""
    about, _, rest = text.partition("Attributes:")
    members: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        found = re.fullmatch(r" *(\w+): (.+)", line)
        if found:
            name = found[1]
            members[name] = found[2]
        elif name and line.strip():
            members[name] += " " + line.strip()
    return re.sub(r" \([A-Z]+\.md\)", "", " ".join(about.split())), members


def _json_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _link(str(schema["$ref"]).rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_json_type(part) for part in schema["anyOf"])
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_json_type(schema.get('items', {}))}"
    return {"string": "text", "boolean": "flag"}.get(kind, kind)


def _member(name: str, schema: Mapping[str, Any], *, required: bool) -> tuple[str, str, str]:
    default = schema.get("default")
    shown = "required" if required else "" if default is None else code(msgspec.json.encode(default).decode())
    return code(name), _json_type(schema), shown


def _type(name: str, schema: Mapping[str, Any]) -> str:
    about, members = _described(str(schema.get("description", "")))
    required = schema.get("required", ())
    rows = [
        _member(member, of, required=member in required)
        for member, of in schema.get("properties", {}).items()
    ]
    notes = "\n".join(f"- {code(member)}: {sentence(text)}" for member, text in members.items())
    parts = (f"### {name}", sentence(about), table(("member", "type", "default"), rows), notes)
    return "\n\n".join(part for part in parts if part)


def http_page() -> str:
    """The routes, and the types of their bodies and answers."""
    schemas = openapi.document(ROUTES)["components"]["schemas"]
    rows = (
        (
            f"[{route.method} {route.path}](#{anchor(f'{route.method} {route.path}')})",
            ", ".join(openapi.credentials_of(route)),
            code(route.permission) if route.permission else "",
            sentence(route.summary),
        )
        for route in ROUTES
    )
    return page(
        "The HTTP interface",
        _HTTP,
        "## Routes",
        table(("route", "credential", "permission", "what it does"), rows),
        f"Every route can answer {codes(sorted(_common()))}; they are not repeated below.",
        *map(_route, ROUTES),
        "## OAuth",
        _OAUTH,
        table(
            ("endpoint", "what it does", "refusals"),
            ((code(f"{r.method} {r.path}"), sentence(r.summary), codes(sorted(r.codes))) for r in FACE),
        ),
        "## Streams",
        _STREAMS,
        *map(_stream, STREAMS),
        "## Outside `/v1`",
        table(("route", "what it says"), ((code(name), text) for name, text in _OUTSIDE)),
        "## Types",
        *(_type(name, schemas[name]) for name in sorted(schemas) if name != "Problem"),
    )


_OAUTH = """
These endpoints are as OAuth has them, and are described by their metadata, not by the OpenAPI document.
That is at `/.well-known/oauth-authorization-server/v1/REGION` (RFC 8414) and, of the resource, at
`/.well-known/oauth-protected-resource/v1/REGION` (RFC 9728); a process with one cell has both without
the path behind them, too. Bodies are forms, and refusals have `error` and `error_description` (RFC 6749,
5.2) beside our own `code`. How to use them: [Use OAuth](../how-to/use-oauth.md).
"""

_STREAMS: Final = """
A stream is a POST of `application/x-ndjson`: a JSON text a line, UTF-8, both ways. The first line of the body
is a header, an object with the members below. Each line after it is a text, `null`, or an object with its
data subject. The answer's first line is an object that says what holds for all lines; then there is a line
for each of yours, in order: a text, `null`, or, with `on_error` = `report`, an object with `error`. The last
line is the trailer `{"done": true, "count": ..., "failed": ...}`. An answer without a trailer is broken off:
its last line may be an object with `error`, a problem document whose `index` counts lines behind the header
from 0. What was answered before that is done and stays done.

What comes together is taken together, as one batch of the route without `/stream`, with its event, its charge
and its codes, and is on disk before it is answered. The credential is looked at again each time, so a
revocation ends a stream. Nothing is read while you do not read: read while you write, in another thread or
with a client that does. A line may be as long as the body of a small request (`limits.body_kib`); a stream
may be of any length. It takes no Idempotency-Key: go on behind the last line that was answered. Streams are
not in `openapi.json`, which has no words for lines.
"""


def _stream(stream: Stream) -> str:
    _, components = msgspec.json.schema_components([stream.header, stream.line])
    parts = [
        f"### POST {stream.path}",
        sentence(stream.summary),
        f"Credential: {', '.join(stream.who)}."
        + (f" Permission: {code(stream.permission)}." if stream.permission else ""),
    ]
    for title, type_ in (("header", stream.header), ("line", stream.line)):
        schema = components[type_.__name__]
        required = schema.get("required", ())
        rows = [
            _member(member, of, required=member in required) for member, of in schema["properties"].items()
        ]
        parts.append(table((f"member of the {title}", "type", "default"), rows))
    return "\n\n".join(parts)


# codes.md

_CODES: Final = f"""
A code is the same in an HTTP answer, in the audit log and on the command line. Codes are never renamed. In a
problem document `type` is `{TYPE_PREFIX}` and the code. The status is that of HTTP; a code without one never
leaves the host. `retry` says whether the same request can succeed later: never, after some seconds, with a
new grant, or elsewhere. *Reserved*: nothing in this version answers with the code yet.
"""


def _given() -> set[str]:
    """The codes that the program's text names outside their table."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "vault").rglob("*.py"))]
    own = (ROOT / "vault" / "errors.py").read_text(encoding="utf-8")
    return {name for name in CODES if any(f'"{name}"' in text for text in texts if text != own)}


def codes_page() -> str:
    """The table of codes, by exit class."""
    given = _given()
    parts = []
    for exit_, meaning in _EXITS.items():
        rows = [
            (
                code(name),
                str(row.status or ""),
                row.retry.replace("_", " "),
                " ".join(filter(None, (row.sentence, row.hint, "" if name in given else "*Reserved.*"))),
            )
            for name, row in CODES.items()
            if row.exit is exit_
        ]
        if rows:
            parts += [f"## Exit {int(exit_)}: {meaning}", table(("code", "status", "retry", "meaning"), rows)]
    return page("Codes", _CODES, *parts)


# permissions.md

_PERMISSIONS: Final = """
A principal holds permissions singly or through roles. In `tokenize:*` the star stands for a name, as in
`tokenize:customer.ssn`. There is no wildcard. Agents hold no permissions and no service keys; they are handed
grants. A grant's credential needs no permission: the grant is the permission. What a principal holds is fixed
when it is created.
"""
_ASKS: Final = """
*A fresh second factor* is asked of operators' sessions: one that was proved no longer ago than
`identities.mfa_max_age`. *An operator* is asked for where `identities.admin` is `operators`: service keys
have then no use of the permission. A session in which no second factor was proved yet is good for getting
one, and for nothing else.
"""
_CEILINGS: Final = """
Who creates grants needs `grant:create:PURPOSE` and a ceiling: the most that it may give away. What a ceiling
does not name is nothing, except where the table says otherwise. A principal without a ceiling may grant
nothing.
"""
_CEILING: Final = {
    "fields": "the fields its grants may name",
    "operations": "`reveal`, `mask`, `derive`, `verify`",
    "deliveries": "`plain`, `sealed`",
    "purposes": "the purposes its grants may be for",
    "agents": "the agents it may grant to",
    "subjects": "the data subjects its grants may be for; absent: any",
    "uses": "the most uses of one grant",
    "uses_per_day": "uses given away in one UTC day, over all its grants; absent: no such limit",
    "ttl": "the longest validity of a grant, ISO 8601",
}


def _default(item: Any) -> str:
    if item.default_factory is not msgspec.NODEFAULT:
        made = item.default_factory()
        return code(made) if made else "empty"
    if item.default is msgspec.NODEFAULT:
        return "required"
    return "none" if item.default is None else code(item.default)


def _needing(permission: str) -> list[str]:
    """The routes that need a permission; those behind a colon and a star by its first words."""
    head, _, tail = permission.rpartition(":")
    return [
        f"{route.method} {route.path}"
        for route in ROUTES
        if (route.permission.rpartition(":")[0] == head if tail == "*" else route.permission == permission)
    ]


def _asked_of(permission: str) -> str:
    """What a permission asks for besides being held."""
    of_operators = ADMINISTRATIVE.get(kind_of(permission))
    if of_operators is None:
        return ""
    return "a fresh second factor, an operator" if of_operators else "a fresh second factor"


def permissions_page() -> str:
    """Permissions, roles, and the ceiling."""
    members = {item.name: item for item in msgspec.structs.fields(Ceiling)}
    agree("Ceiling", members, _CEILING)
    rows = (
        (
            code(name),
            text,
            codes(_needing(name)),
            codes(role for role, held in ROLES.items() if name in held),
            _asked_of(name),
        )
        for name, text in PERMISSIONS.items()
    )
    return page(
        "Permissions",
        _PERMISSIONS,
        table(("permission", "allows to", "routes", "roles", "asks for"), rows),
        _ASKS,
        "Whoever created a grant may see and revoke it without a permission of its own.",
        "## Roles",
        table(("role", "permissions"), ((code(role), codes(sorted(held))) for role, held in ROLES.items())),
        "## Ceilings",
        _CEILINGS,
        table(
            ("member", "meaning", "default"),
            ((code(name), _CEILING[name], _default(item)) for name, item in members.items()),
        ),
    )


# events.md

_EVENTS: Final = """
Every event has a number, without gaps, a body and a leaf hash. The body is JSON with sorted members and
without white space. It never holds a value, a token or a credential's secret.
"""
_ITEMS: Final = """
*Items* are our own row, key and subject ids and the callers' texts (`reason`, `on_behalf_of`). They are kept
apart from the body, with their salt, so that they can be removed one day without changing the log.

A body, and its leaf SHA-256(0x00 || body):
"""
_MEMBERS: Final = (
    ("v", "version of the format"),
    ("kind", "one of the above"),
    ("at", "the ledger's time, RFC 3339, UTC"),
    ("region", "the cell"),
    ("tenant", "whose event it is; empty for the cell's own"),
    ("actor", "a principal's name, `host:UID`, or `nobody`"),
    ("decision", "the id that the answer carried, where there is one"),
    ("items_digest", "SHA-256 over a salt and the items, where there are items"),
)


def events_page() -> str:
    """The kinds of events, and one event byte for byte."""
    facts = {"fields": [{"field": "customer.ssn", "items": 1, "key_version": 1}], "charged": 1}
    event = Event("detokenize", "main", "agent:demo", {**facts, "outcome": "allowed"}, {}, "dec_01EXAMPLE")
    sealed = seal_event(event, parse_time("2026-11-23T12:00:00Z"), "eu")
    return page(
        "Audit events",
        _EVENTS,
        table(("kind", "what happened"), ((code(kind), text) for kind, text in KINDS.items())),
        "Every body has these members, the last two where they apply; the others depend on the kind.",
        table(("member", "meaning"), ((code(name), text) for name, text in _MEMBERS)),
        _ITEMS,
        f"```text\n{sealed.body.decode()}\n{sealed.leaf.hex()}\n```",
    )


# templates.md

_TEMPLATES: Final = f"""
A template says what values of a field look like: which characters are transformed, which are kept, and what
is refused. It is named with its parameters, `card(keep_last=4, luhn='break')`; what is left out has its
default. The *domain* is the number of values that look alike; format-preserving encryption needs
{MIN_DOMAIN:,} (see [what it promises](../explanation/fpe-limits.md)). Samples are made up. Any mask may have
`{{first:N}}` and `{{last:N}}`, N from 1 to 8, and `{{hash:N}}`, N from 4 to 16; the places that a template
adds stand with it.
"""
_MASKS: Final = """
A mask says what may be shown of a value. Letters and digits are counted, separators are not. Asterisks, as
many for every value, stand where a value lacks a part, where a place would show all of its part, and in all
places where these together would show every letter and digit. A domain or two initials can still say who it
is: a mask shows less, it does not make anonymous. A mask without places is a fixed text.

Some places show what is computed from the value:

- `{age:N}`, of a date: the age in bands of 5, 10 or 20 years, `30-39`, on the day in UTC; `90+` from 90 on.
  Nothing is shown of a day to come. Whoever asks every day learns the birthday when the band changes.
- `{hash:N}`: the first N hexadecimal digits of a hash under a key of the field. Equal values of the field, in
  the template's normal form, have equal hashes: they can be joined and counted, as tokens can. A few digits
  are shared by several values. When no mask of the field has a hash any more, its key ends, and a later one
  gives other hashes.
- `{zip3}`, of five or nine digits of a US ZIP code: the first three, or `000` for areas of 20,000 people or
  fewer (45 CFR 164.514(b)(2)(i)(B), census of 2000). Of other postal codes `{first:N}` shows a prefix.
"""
_NORMALIZE: Final = """
Deterministic tokens compare values by a normal form: the template's own (an IBAN, a card or telephone number
without separators, an address with its domain in lower case), then what the field's `normalize` says. What
was given comes back as it was given. Values of one form share a token, so take the strictest form that
serves; a value of which nothing is left (a text without digits, as `digits`) is refused with `value_format`.
"""
_FORMS: Final = {
    "none": "the template's form and no more",
    "nfc": "composed characters: `é` typed as one character or as two",
    "lowercase": "`nfc`, in lower case",
    "casefold": "`nfc`, with full case folding: `Straße` is `STRASSE`",
    "words": "`casefold`, one space between words and none around",
    "alphanumeric": "`casefold`, letters, marks and digits only: `AB-12` is `ab 12`",
    "digits": "decimal digits only",
}
_SURROGATES: Final = """
A `vaulted` field with a `surrogate` gets tokens of that look. They are drawn at random and say nothing of the
value, whose template may be any. The *space* is how many there are; whoever invents one hits an issued one
with the chance rows / space. They come in one spelling; separators are taken off what is presented. One that
passes all checks may be a stranger's number: never dial, charge or mail a surrogate, or take those that are
nobody's (`luhn='break'`, `check='break'`, `range='never'`, `dialable=false`, a domain of yours).
"""
_EXAMPLES: Final = {
    "digits": ("digits(length=12)",),
    "alphanumeric": ("alphanumeric(length=10, case='upper')",),
    "ssn": ("ssn", "ssn(range='never')"),
    "card": ("card", "card(prefix=999999, luhn='break')"),
    "e164": ("e164(country=1)", "e164(country=1, dialable=false)", "e164(country=49)"),
    "iban": ("iban(country='de')", "iban(country='no', check='break')"),
    "email": ("email", "email(domain='mail.example', length=16)"),
}


def templates_page() -> str:
    """The catalogue of templates, normal forms and surrogates."""
    agree("normal forms", {how.value: "" for how in Normalization}, _FORMS)
    agree("surrogates", SURROGATES, _EXAMPLES)
    forms = table(("`normalize`", "compares"), ((code(name), text) for name, text in _FORMS.items()))
    return page(
        "Templates",
        _TEMPLATES,
        *map(_template, CATALOG.values()),
        "## Masks",
        _MASKS,
        "## Normal forms",
        _NORMALIZE,
        forms,
        "## Surrogates",
        _SURROGATES,
        *map(_surrogate, SURROGATES.values()),
    )


def _template(entry: Entry[Template]) -> str:
    template = parse_template(entry.name)
    rng = random.Random(entry.name)
    facts = [f"- For `vaultless` fields: {'yes' if template.reversible_by_ff1 else 'no'}."]
    if template.reversible_by_ff1:
        typical, smallest = template.domain(), template.smallest()
        too_small = ": such values are refused with `domain_too_small`" if smallest.size < MIN_DOMAIN else ""
        facts += [
            f"- Domain: {typical.size:,} ({typical.note}).",
            f"- Smallest domain: {smallest.size:,} ({smallest.note}){too_small}.",
        ]
    if entry.examples:
        facts.insert(0, f"- Also: {codes(entry.examples)}.")
    samples = [template.sample(rng) for _ in range(SAMPLES)] if entry.name != "text" else [_TEXT_SAMPLE]
    facts.append(f"- Samples: {codes(samples)}.")
    if template.parts:
        parts = codes(f"{{{_COUNTED.get(part, part)}}}" for part in sorted(template.parts))
        facts.append(f"- Parts that masks may show: {parts}.")
    masks = [(pattern, Mask.parse(pattern).apply(samples[0])) for pattern in entry.masks]
    shown = ", ".join(f"{code(pattern)} shows {code(text)}" for pattern, text in masks)
    facts.append(f"- Usual masks: {shown}.")
    return _entry(f"## {entry.name}", entry, facts)


_TEXT_SAMPLE: Final = "Anna Maria Example"
_COUNTED: Final = {"local": "local:N", "age": "age:N"}


def _surrogate(entry: Entry[Surrogate]) -> str:
    facts = []
    for spec in _EXAMPLES[entry.name]:
        made = parse_surrogate(spec)
        drawn = made.draw(random.Random(spec).randrange)
        facts.append(f"- {code(spec)}: space {made.space:,}, such as {code(drawn)}.")
    return _entry(f"### {entry.name} surrogates", entry, facts)


def _entry(heading: str, entry: Entry[Any], facts: list[str]) -> str:
    rows = []
    for item in entry.parameters:
        default = "" if item.required else code(_written(item.default))
        rows.append((code(item.name), _bounds(item), default, item.description))
    parameters = table(("parameter", "values", "default", "meaning"), rows)
    parts = (heading, entry.description, parameters, "\n".join(facts))
    return "\n\n".join(part for part in parts if part)


def _bounds(item: Parameter) -> str:
    if isinstance(item.default, bool):
        return "`true`, `false`"
    if isinstance(item.default, str):
        if len(item.choices) > MANY:
            return f"one of {code(' '.join(item.choices))}, in quotes"
        return codes(map(_written, item.choices)) or "a word in quotes"
    return f"{item.lowest} to {item.highest}"


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


# configuration.md

_CONFIGURATION: Final = """
`coatcheck.toml` says where a deployment's cells are. `coatcheck init` writes it. Relative paths are relative
to its folder. A flag goes before the environment, the environment before the file, the file before the
default. Unknown settings are errors. Secrets are never values here, only names of files or of environment
variables. `coatcheck doctor` says what is wrong or risky.
"""
_OVERLAY: Final = """
`COATCHECK_SECTION__KEY` stands above the file: `COATCHECK_LIMITS__ITEMS=500`,
`COATCHECK_CELL__EU__PASSPHRASE_FILE=/run/secrets/keystore`. Other variables:
"""
_ENVIRONMENT: Final = {
    "CONFIG": "the configuration file or its folder, as `--config`",
    "PORT": "the port of `listen.address`",
    "URL": "the service's address, as `--url`",
    "KEY": "the credential, as `--key`",
    "REGION": "the region, as `--region`",
    "CA": "the file with the authority of the service's certificate, as `--ca`",
    "PROFILE": "the profile, as `--profile`",
    "PURPOSE": "the purpose, as `--purpose`",
    "PASSPHRASE": "nothing by itself; a name for `cell.REGION.passphrase` that is not taken for a setting",
}
_TESTS_READ: Final = {"VECTORS", "FULL", "OPERATION"}


def _settings(struct: type[msgspec.Struct], place: str) -> dict[str, tuple[str, str, str]]:
    """What each setting below a struct takes, what it means, and its default, by its name."""
    found: dict[str, tuple[str, str, str]] = {}
    for item in msgspec.structs.fields(struct):
        parts = (item.type, *typing.get_args(item.type))
        inner = [part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)]
        if inner:
            region = ".REGION." if getattr(item.type, "__origin__", None) is dict else "."
            found |= _settings(inner[0], f"{place}{item.name}{region}")
        elif place or item.name != "base":  # the file's own folder is not a setting
            takes = checking.expected(item.type).partition(":")[0].removeprefix("a ")
            found[place + item.name] = (takes, checking.meaning(item.type), _default(item))
    return found


SETTINGS: Final = _settings(config.Config, "")


def configuration_page() -> str:
    """Every setting of coatcheck.toml, and the environment."""
    agree("variables", config.NOT_SETTINGS - _TESTS_READ, _ENVIRONMENT)
    later = [f"{table}.{name}" for table, names in NOT_BUILT.items() for name in names]
    return page(
        "Configuration",
        _CONFIGURATION,
        table(
            ("setting", "meaning", "takes", "default"),
            ((code(name), text, takes, default) for name, (takes, text, default) in SETTINGS.items()),
        ),
        "Without a `[tls]` section the listener speaks plain HTTP.",
        "## The environment",
        _OVERLAY,
        table(("variable", "meaning"), ((code(f"COATCHECK_{n}"), text) for n, text in _ENVIRONMENT.items())),
        "Any other name that begins with `COATCHECK_` is an error, except a few that only tests read.",
        *(("## Not built yet", f"These settings are refused, not ignored: {codes(later)}.") if later else ()),
    )


# schema.md

_SCHEMA: Final = """
`schema.toml` says what is protected, and how. It belongs to a cell and a tenant. `coatcheck schema plan`
shows what a change does; `coatcheck schema apply` applies it, without a restart, and makes the keys that new
fields need. Everything that is wrong is reported at once. Names are made of `a-z`, `0-9`, `_`, `.` and `-`,
at most 64 characters; a name with a dot is quoted in TOML: `[fields."customer.ssn"]`.
"""
_CHANGES: Final = """
Adding is free. What something lives under stays as it is, and the plan's refusal says how much lives:

- a *field* with values (`vaulted`), or with tokens or ciphertexts that callers keep (`vaultless`,
  `encrypted`), is not removed, not renamed, and changes no setting but `classification`, `subject`,
  `rotation`, `tokenize_budget` and `transfer_to`; `max_rows` and `max_bytes` may be raised, masks added.
  `small` and `small_retention` change while no value lives that they decided about: a row that opens, or a
  value that was ever passed. A field that a grant names which may still be used is not removed and keeps its
  protection.
- a *mask* that a grant which may still be used may show is neither removed nor changed.
- a *purpose* with grants that may still be used is not removed; with such grants over `vaultless` fields it
  does not become `non_tpo`, because disclosures that must be accounted for are accounted for by person.
- a *template* of the schema's own changes with its definition, and with it every field that names it.
- a *retention class* with data keys that still open something is neither removed nor changed.

Without anything that lives, all of these may change. It is decided again, under the ledger's lock, when the
schema is applied. The keys of a field that is gone are deactivated; a field that comes back, or gets another
template, has the next key version. Settings are compared by what they mean: writing a default down changes
nothing. Every version is kept: `coatcheck schema history`.
"""
_TABLES: Final = {
    "purposes.NAME": {
        "description": "for people",
        "legal_basis": "GDPR, article 6(1); stands in the event of every use",
        "activity": "the entry in the record of processing activities",
        "disclosure_class": "HIPAA, 45 CFR 164.528: internal; treatment, payment or operations; other",
        "bearer": "caps on grants whose credential is a bearer's",
        "keyed": "what grants bound to a holder's key may do; their other caps are their creators' ceilings",
    },
    "purposes.NAME.bearer": {
        "delivery": '`["plain"]`; empty: values are delivered sealed only',
        "max_uses": "the most uses of one grant",
        "max_ttl": "the longest validity of a grant, and the one it gets if it names no end",
    },
    "purposes.NAME.keyed": {
        "delivery": '`["plain"]`; empty: values are delivered sealed only',
    },
    "retention.NAME": {
        "keep": 'how long, in days, months or years; or `"key"`: as long as the field key',
        "from": "when the time begins; making a value counts as its first use",
        "max": "how long a value is kept if its event never comes, and a value without a person in any case",
        "period": "values that fall due in one such period share a data key for each person",
    },
    "templates.NAME": {
        "pattern": "what whole values look like; what stands in groups is transformed, all else is kept",
        "alphabet": "the characters that groups may have; without it, those that the pattern takes",
        "encode": "how tokens are written, each group once: `$1-$2`; without it, in the layouts of values",
    },
    "fields.NAME": {
        "template": "what values look like",
        "protection": "`vaultless`: FF1, nothing stored; `vaulted`: a token, the value in a row; "
        "`encrypted`: a ciphertext that the caller keeps",
        "retention": 'which class; `vaultless` takes only `keep = "key"`, the others only a period',
        "classification": "a label for people",
        "subject": "whether a value must name its data subject; vaultless fields never take one",
        "masks": "names and [patterns](templates.md#masks) of what may be shown",
        "deterministic": "whether equal values of a vaulted field get equal tokens: one person's, or all "
        'people\'s, which implies `subject = "required"`',
        "normalize": "what is done to a deterministic value before it is compared; it comes back as it was",
        "surrogate": "vaulted: what tokens look like, drawn and not computed; without it they are opaque",
        "max_rows": "how many tokens there may be; a hundredth of what the surrogate has at most",
        "max_bytes": "encrypted: how long a value may be, in UTF-8",
        "tokenize_budget": "how many values may be handed over, repeats counted; not with encrypted fields",
        "rotation": "vaultless and deterministic: after how long the FF1 or index key is due for a new "
        "version, a day to ten years",
        "small": "vaultless: what happens to values of which fewer than 1,000,000 look alike: they are "
        "refused, get an opaque token and a row, or are handed back as they are, **without protection**",
        "small_retention": '`small = "vaulted"`: the class of those rows, one with a period',
        "transfer_to": "vaulted: regions into which a person's values may be transferred; none: they stay",
    },
    "fields.NAME.tokenize_budget": {"per_day": "values a UTC day, of each principal"},
}
# Settings that are read without a reader of `Refusals`.
_VALUES: Final = {
    "delivery": "list",
    "from": "`creation`, `last_use`, `event:NAME`, by default `creation`",
    "template": "one of [templates](templates.md), or the name of one of the schema's own",
    "alphabet": f"{codes(NAMED)}, or 2 to 65,536 distinct characters",
    "retention": "a class's name",
    "small_retention": "a class's name",
    "transfer_to": "list",
    "masks": '`{ last4 = "***-**-{last:4}" }`',
    "bearer": "table",
    "surrogate": "one of [templates](templates.md)",
    "tokenize_budget": "table",
}


class Recorder(Refusals):
    """Notes what the schema's reader asks for, with its choices and bounds."""

    seen: Final[dict[str, dict[str, str]]] = {}
    later: Final[dict[str, tuple[str, ...]]] = {}

    def table(self, place: str, value: object, known: Any, not_built: Any = ()) -> Mapping[str, Any]:
        """Notes the keys of a table."""
        if place != "schema":
            seen = self.seen.setdefault(_place(place), {})
            seen.update((key, _VALUES.get(key, "")) for key in known if key not in seen)
        self.later[_place(place)] = tuple(not_built)
        return super().table(place, value, known, not_built)

    def text(
        self, place: str, table: Mapping[str, Any], key: str, default: str = "", limit: int = 200
    ) -> str:
        """Notes a text."""
        self.seen[_place(place)][key] = f"at most {limit} characters"
        return super().text(place, table, key, default, limit)

    def choice(
        self,
        place: str,
        table: Mapping[str, Any],
        key: str,
        choices: Any,
        default: str | None = None,
        not_built: Any = (),
    ) -> str:
        """Notes the choices."""
        usual = f", by default {code(default)}" if default and len(choices) > 1 else ""
        later = f"; planned: {codes(not_built)}" if not_built else ""
        self.seen[_place(place)][key] = codes(choices) + usual + later
        return super().choice(place, table, key, choices, default, not_built)

    def number(
        self, place: str, table: Mapping[str, Any], key: str, default: int, low: int, high: int
    ) -> int:
        """Notes the bounds."""
        usual = "" if key in ("max_rows", "per_day") else f", by default {default:,}"
        self.seen[_place(place)][key] = f"{low} to {high:,}{usual}"
        return super().number(place, table, key, default, low, high)

    def period(self, place: str, table: Mapping[str, Any], key: str, default: str) -> Any:
        """Notes a duration."""
        usual = f", by default {code(default)}" if key == "max_ttl" else ""
        self.seen[_place(place)][key] = "an ISO 8601 duration" + usual
        return super().period(place, table, key, default)


def _place(place: str) -> str:
    return re.sub(r"^(\w+)\.\w+", r"\1.NAME", place)


def schema_page() -> str:
    """Every setting of schema.toml, as its reader asks for it."""
    sample = {
        "purposes": {"name": {"legal_basis": "contract"}},
        "retention": {"name": {"keep": "P1Y", "from": "last_use", "max": "P2Y"}, "key": {"keep": "key"}},
        "templates": {"employee": {"pattern": r"EMP-(\d{8})", "alphabet": "digits", "encode": "$1"}},
        "fields": {
            "one": {
                "template": "ssn",
                "protection": "vaultless",
                "retention": "key",
                "rotation": "P1Y",
                "tokenize_budget": {"per_day": 1},
            },
            "other": {
                "template": "ssn",
                "protection": "vaulted",
                "retention": "name",
                "surrogate": "digits(length=9)",
                "max_rows": 1,
            },
        },
    }
    with unittest.mock.patch.object(schema_document, "Refusals", Recorder):
        try:
            schema_document.parse_document(sample)
        except CoatcheckError as problem:
            raise SystemExit(f"docs/build.py: the schema's reader refuses {problem.facts}") from None
    agree("tables of the schema", Recorder.seen, _TABLES)
    parts = []
    for place, described in _TABLES.items():
        found, later = Recorder.seen[place], Recorder.later[place]
        agree(f"settings of {place}", found, described)
        rows = ((code(key), text, found[key]) for key, text in described.items())
        parts += [
            f"## [{place}]",
            table(("setting", "meaning", "values"), rows),
            f"Not built yet, and refused: {codes(later)}." if later else "",
        ]
    return page("The schema", _SCHEMA, *parts, "## Changes", _CHANGES)


PAGES: Final[dict[str, Callable[[], str]]] = {
    "cli.md": cli_page,
    "codes.md": codes_page,
    "configuration.md": configuration_page,
    "events.md": events_page,
    "http.md": http_page,
    "permissions.md": permissions_page,
    "schema.md": schema_page,
    "templates.md": templates_page,
}


def pages() -> dict[str, str]:
    """Every page of the reference, by file name."""
    return {name: make() for name, make in PAGES.items()}


def stale(folder: Path = FOLDER) -> list[str]:
    """The pages of a folder that are missing, old, or not ours."""
    made = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*") if path.is_file()}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """The command line."""
    if arguments == ["--check"]:
        if changed := stale():
            print(f"docs: stale: {', '.join(changed)}; run `python docs/build.py`", file=sys.stderr)
            return 1
        print(f"docs: {len(PAGES)} reference pages are current")
        return 0
    if arguments:
        print("usage: python docs/build.py [--check]", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"docs: wrote {len(PAGES)} reference pages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
