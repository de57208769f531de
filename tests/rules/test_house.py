"""The package keeps the rules of the house, and each rule fails where it ought to."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest

from tests.rules import house
from tests.rules.house import MAX_LINES, RULES, Broken, Module, modules, parse

Rule = Callable[[Module], Broken]

ERRORS = "from vault.errors import BadInput, Denied, ValueRefused, error\n"

# rule: (module, text) that must be found
PLANTED: dict[Rule, list[tuple[str, str]]] = {
    house.no_async_below_the_doors: [
        ("services.gate", "async def admit(): ..."),
        ("store.session", "import asyncio"),
        ("store.session", "import asyncio.locks as locks"),
        ("ledger.group", "from asyncio import Queue"),
        ("ledger.group", "def f():\n    import anyio"),
        ("crypto.ff1", "class A:\n    async def encrypt(self): ..."),
        ("clock", "import uvloop"),
        ("services.apiary", "async def f(): ..."),
    ],
    house.secrets_open_in_two_rooms: [
        ("services.tokenize", "f(key.expose())"),
        ("envelope.seal", "return_ = lambda s: s.expose()"),
        ("services.keys", "opener = key.expose"),
        ("services.keys", "getattr(key, 'expose')()"),
        ("crypto.aead", "raw = key.expose()"),
        ("crypto.aead", "raw: bytes = key.expose()"),
        ("crypto.aead", "self.raw = key.expose()"),
        ("crypto.aead", "a, b = one.expose(), other.expose()"),
        ("crypto.aead", "raw = bytearray(key.expose())"),
        ("crypto.aead", "raw = key.expose()[:16]"),
        ("crypto.aead", "raw = one.expose() + other.expose()"),
        ("crypto.aead", "raw = key.expose() if key else b''"),
        ("crypto.aead", "raw += key.expose()"),
        ("crypto.aead", "f(raw := key.expose())"),
        ("crypto.aead", "with key.expose() as raw: ..."),
        ("kms.local", "f(key.expose)"),
        ("kms.local", "raw = memoryview(key.expose())"),
    ],
    house.no_print_outside_the_command_line: [
        ("services.erase", "print('x')"),
        ("api.app", "def f():\n    print()"),
        ("client.http", "from pprint import pprint\npprint(1)"),
    ],
    house.log_lines_are_constant: [
        ("api.app", "log.info(f'value {value}')"),
        ("api.app", "_logger.warning('value ' + value)"),
        ("api.app", "self._log.error('value %s' % value)"),
        ("api.app", "logger.error('value {}'.format(value))"),
        ("api.app", "logging.exception(value)"),
        ("api.app", "logging.getLogger(__name__).info(value)"),
        ("api.app", "log.log(10, value)"),
        ("api.app", "log.info(msg=value)"),
    ],
    house.names_say_something: [
        ("crypto.utils", ""),
        ("helpers.ff1", ""),
        ("services.manager", ""),
        ("common", ""),
        ("store.misc", ""),
    ],
    house.codes_are_known: [
        ("api.app", ERRORS + "raise error('no_such_code')"),
        ("api.app", ERRORS + "raise BadInput('no_such_code')"),
        ("api.app", ERRORS + "raise BadInput('scope_denied')"),
        ("api.app", ERRORS + "raise Denied('value_empty')"),
        ("api.app", ERRORS + "raise ValueRefused('scope_denied')"),
        ("api.app", ERRORS + "raise error('value_empty' if a else 'no_such_code')"),
        ("api.app", ERRORS + "raise error(f'value_{kind}')"),
        ("api.app", "from vault import errors\nraise errors.Denied('value_empty')"),
        ("api.app", "from vault.errors import Denied as No\nraise No('value_empty')"),
        ("api.app", "from ..errors import Denied\nraise Denied('value_empty')"),
        ("api.app", "import vault.errors\nraise vault.errors.Denied('value_empty')"),
        ("api.app", "import vault.errors as e\nraise e.error('no_such_code')"),
        ("api.app", "from .. import errors as e\nraise e.error('no_such_code')"),
    ],
    house.files_are_small: [("store.tables", "\n" * (MAX_LINES + 1))],
    house.chance_comes_from_the_system: [
        ("tokens.index", "key = hash(value)"),
        ("tokens.vaulted", "import random"),
        ("tokens.vaulted", "def f():\n    from random import choice"),
        ("formats.mask", "hash(1)"),
    ],
    house.the_environment_is_read_in_one_place: [
        ("kms.local", "import os\nos.environ['KEY']"),
        ("kms.local", "import os\nos.getenv('KEY')"),
        ("kms.local", "from os import environ"),
        ("api.app", "from os import getenv as read"),
        ("cli.root", "import os\nos.environ.get('KEY')"),
    ],
    house.modules_say_what_they_are: [("clock", "x = 1"), ("clock", ""), ("clock", "# a comment\n''")],
}

# rule: (module, text) that must pass, because it is close to what must not
INNOCENT: dict[Rule, list[tuple[str, str]]] = {
    house.no_async_below_the_doors: [
        ("api.bridge", "import asyncio\nasync def f(): ..."),
        ("cli.serve", "import asyncio"),
        ("__main__", "import uvloop"),
        ("wiring", "import asyncio"),
        ("ledger.group", "from vault.ledger import asyncio_free"),
    ],
    house.secrets_open_in_two_rooms: [
        ("crypto.aead", "aead = AESGCM(key.expose())"),
        ("crypto.kdf", "okm = Secret(expand(key.expose()))"),
        ("crypto.aead", "self.commitment = okm.expose()[44:]"),
        ("kms.halves", "write(half.expose())"),
        ("services.keys", "exposed = key.exposed()"),
    ],
    house.no_print_outside_the_command_line: [
        ("cli.root", "print('x')"),
        ("services.erase", "self.print('x')"),
    ],
    house.log_lines_are_constant: [
        ("api.app", "log.info('request served', extra={'status': 200})"),
        ("api.app", "log.info('request served in %d ms', ms)"),
        ("api.app", "log.info('one line '\n 'in two')"),
        ("api.app", "log.log(10, 'served')"),
        ("api.app", "error(value)"),
        ("api.app", "problem.error(value)"),
    ],
    house.names_say_something: [("crypto.ff1", ""), ("policy.commons", "")],
    house.codes_are_known: [
        ("api.app", ERRORS + "raise error('value_empty', index=1)"),
        ("api.app", ERRORS + "raise BadInput('value_empty')"),
        ("api.app", ERRORS + "raise ValueRefused('value_empty')"),
        ("tokens.vaulted", ERRORS + "raise ValueRefused('token_unknown')"),
        ("api.app", ERRORS + "raise error(code)"),
        ("store.session", "from sqlalchemy.exc import IntegrityError\nraise IntegrityError('x')"),
        ("api.app", "def error(text): ...\nerror('no_such_code')"),
    ],
    house.files_are_small: [("store.tables", "\n" * MAX_LINES)],
    house.chance_comes_from_the_system: [
        ("formats.catalog", "import random"),
        ("crypto.randomness", "import os\nos.urandom(32)\nimport secrets"),
        ("secret", "class A:\n    def __hash__(self): ..."),
        ("crypto.mac", "from vault.crypto import randomness"),
    ],
    house.the_environment_is_read_in_one_place: [
        ("wiring", "import os\nos.environ"),
        ("config", "from os import environ"),
        ("kms.local", "import os\nos.urandom(32)"),
    ],
    house.modules_say_what_they_are: [("clock", "'''Time.'''")],
}


def cases(table: dict[Rule, list[tuple[str, str]]]) -> list[object]:
    return [
        pytest.param(rule, name, text, id=f"{rule.__name__}-{number}")
        for rule, planted in table.items()
        for number, (name, text) in enumerate(planted)
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_it(rule: Rule) -> None:
    broken = [
        f"vault.{module.name}, line {line}: {what}" for module in modules() for line, what in rule(module)
    ]
    assert not broken, f"{rule.__doc__}\n" + "\n".join(broken)


@pytest.mark.parametrize(("rule", "name", "text"), cases(PLANTED))
def test_a_planted_violation_is_found(rule: Rule, name: str, text: str) -> None:
    assert list(rule(parse(name, text)))


@pytest.mark.parametrize(("rule", "name", "text"), cases(INNOCENT))
def test_what_is_allowed_passes(rule: Rule, name: str, text: str) -> None:
    assert not list(rule(parse(name, dedent(text))))


def test_every_rule_is_tried_both_ways() -> None:
    assert set(PLANTED) == set(INNOCENT) == set(RULES)


def test_the_whole_package_is_looked_at() -> None:
    names = {module.name for module in modules()}
    assert {"", "errors", "secret", "crypto.ff1", "services"} <= names
    assert len(names) >= 25
