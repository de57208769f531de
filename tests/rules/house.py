"""The rules of the house: each takes one module of `vault` and says where it is broken.

A rule is a generator over (line, sentence). Nothing is imported, only parsed, so a rule sees every branch.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault import errors
from vault.codes import CODES
from vault.errors import FAMILIES, CoatcheckError, ValueRefused

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_LINES: Final = 450

Broken = Iterator[tuple[int, str]]

DOORS: Final = ("api", "cli", "mcp", "console", "client", "wiring", "__main__")
ASYNC_LIBRARIES: Final = {"asyncio", "anyio", "trio", "uvloop", "sniffio"}
ROOMS_OF_SECRETS: Final = ("crypto", "kms")
COPIERS: Final = {"bytes", "bytearray", "memoryview"}
VAGUE_NAMES: Final = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "managers",
    "manager",
    "misc",
}
LOG_METHODS: Final = {
    "debug",
    "info",
    "warning",
    "error",
    "exception",
    "critical",
    "log",
}
# What one item of a batch may be refused with; `ValueRefused` carries these, whatever their exit class.
CODES_OF_ITEMS: Final = {code for code in CODES if code.startswith(("value_", "key_version_"))} | {
    "domain_too_small",
    "token_space_exhausted",
    "token_unknown",
    "ciphertext_invalid",
    "erased",
}
ENVIRONMENT: Final = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}


@dataclass(frozen=True)
class Module:
    """One module of the package: its dotted name below `vault`, its text and its tree."""

    name: str
    text: str
    tree: ast.Module

    def inside(self, *rooms: str) -> bool:
        """Whether it is one of these rooms or lies in one."""
        return self.name.partition(".")[0] in rooms

    def calls(self) -> Iterator[ast.Call]:
        """Every call in it."""
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def parse(name: str, text: str) -> Module:
    """A module from its text."""
    return Module(name, text, ast.parse(text))


def modules(folder: Path = ROOT / "vault") -> list[Module]:
    """All modules of the package."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts if parts[-1] != "__init__" else parts[:-1])
        found.append(parse(name, path.read_text(encoding="utf-8")))
    return found


def imported(node: ast.AST) -> list[str]:
    """The dotted names that an import statement names, relative ones without their dots."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module or ''}.{alias.name}" for alias in node.names)]
    return []


def no_async_below_the_doors(module: Module) -> Broken:
    """Verbs, rules and I/O are plain code; only the doors and the wiring know of an event loop."""
    if module.inside(*DOORS):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, "is async, below the doors"
        elif isinstance(node, ast.comprehension) and node.is_async:
            yield node.target.lineno, "is async, below the doors"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name in imported(node):
                if name.partition(".")[0] in ASYNC_LIBRARIES:
                    yield node.lineno, f"imports {name}, below the doors"


def secrets_open_in_two_rooms(module: Module) -> Broken:
    """`expose` is called in crypto and kms only, and what it gives is used where it stands."""
    opened = {id(call.func) for call in module.calls()}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "expose":
            if not module.inside(*ROOMS_OF_SECRETS) and module.name != "secret":
                yield node.lineno, "uses expose() outside crypto and kms"
            elif id(node) not in opened and module.name != "secret":
                yield node.lineno, "hands expose on without calling it"
        elif isinstance(node, ast.Constant) and node.value == "expose":
            yield node.lineno, "names expose in a string"
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _bound(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            yield from _bound(node.target, node.value)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield from _bound(node.optional_vars, node.context_expr)


def _bound(target: ast.expr, value: ast.expr) -> Broken:
    whole = isinstance(value, ast.Call) and _is_expose(value)
    if whole or (not isinstance(target, ast.Attribute) and _gives_exposed(value)):
        yield value.lineno, "binds the bytes of a Secret to a name"


def _is_expose(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "expose"


def _gives_exposed(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Name(id=name), args=args) if name in COPIERS:
            return any(map(_gives_exposed, args))
        case ast.Call():
            return _is_expose(value)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.BoolOp(values=parts):
            return any(map(_gives_exposed, parts))
        case ast.BinOp(left=one, right=other) | ast.IfExp(body=one, orelse=other):
            return _gives_exposed(one) or _gives_exposed(other)
        case ast.Subscript(value=inner) | ast.Starred(value=inner) | ast.NamedExpr(value=inner):
            return _gives_exposed(inner)
    return False


def no_print_outside_the_command_line(module: Module) -> Broken:
    """Only the command line writes to the terminal."""
    if module.inside("cli"):
        return
    for call in module.calls():
        if isinstance(call.func, ast.Name) and call.func.id in {"print", "pprint"}:
            yield call.lineno, "prints"


def log_lines_are_constant(module: Module) -> Broken:
    """A log call takes a fixed text; what varies goes in as arguments, which formatters can hold back."""
    for call in module.calls():
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in LOG_METHODS:
            continue
        if not _is_logger(call.func.value):
            continue
        texts = call.args[1:2] if call.func.attr == "log" else call.args[:1]
        if not texts or not (isinstance(texts[0], ast.Constant) and isinstance(texts[0].value, str)):
            yield call.lineno, "logs a text that is not constant"


def _is_logger(value: ast.expr) -> bool:
    match value:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").lower() in {"log", "logger", "logging"}
        case ast.Call(func=ast.Attribute(attr="getLogger") | ast.Name(id="getLogger")):
            return True
    return False


def names_say_something(module: Module) -> Broken:
    """No module is named for not having been thought about."""
    for part in module.name.split("."):
        if part in VAGUE_NAMES:
            yield 1, f"is called {part}"


def codes_are_known(module: Module) -> Broken:
    """A code given to an error is in the table, and the class raised is the family of its exit class."""
    known = dict(_errors_known_in(module.tree))
    for call in module.calls():
        name = ast.unparse(call.func)
        if name not in known or not call.args:
            continue
        family = known[name]
        for code in _texts(call.args[0]):
            if code not in CODES:
                yield call.lineno, f"gives the code {code}, which is not in CODES"
            elif family is ValueRefused and code in CODES_OF_ITEMS:
                continue
            elif family is not None and not issubclass(family, FAMILIES[CODES[code].exit]):
                yield call.lineno, f"raises {code} as {family.__name__}"


def _errors_known_in(tree: ast.Module) -> Iterator[tuple[str, type[CoatcheckError] | None]]:
    """What a module calls `error` (None) and the classes of the tree."""
    makers: dict[str, type[CoatcheckError] | None] = {"error": None}
    for name, thing in vars(errors).items():
        if isinstance(thing, type) and issubclass(thing, CoatcheckError) and thing is not CoatcheckError:
            makers[name] = thing
    makers["CoatcheckError"] = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if isinstance(node, ast.Import):
                if alias.name == "vault.errors":
                    local = alias.asname or alias.name
                    yield from ((f"{local}.{name}", family) for name, family in makers.items())
                continue
            local = alias.asname or alias.name
            if (node.module or "").rpartition(".")[2] == "errors" and alias.name in makers:
                yield local, makers[alias.name]
            elif alias.name == "errors" and node.module in {"vault", None}:
                yield from ((f"{local}.{name}", family) for name, family in makers.items())


def _texts(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _texts(one)
            yield from _texts(other)
        case ast.JoinedStr():
            yield ast.unparse(value)  # put together at run time, so nobody can look it up


def files_are_small(module: Module) -> Broken:
    """A file can be read in one sitting."""
    lines = module.text.count("\n")
    if lines > MAX_LINES:
        yield lines, f"has {lines} lines, more than {MAX_LINES}"


def chance_comes_from_the_system(module: Module) -> Broken:
    """Random numbers come from the operating system and digests from hashlib, never `random` or `hash`."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(func=ast.Name(id="hash")):
                yield node.lineno, "calls hash()"
            case ast.Import() | ast.ImportFrom(level=0) if not module.inside("formats"):
                if "random" in imported(node):  # formats may: it draws samples of a template
                    yield node.lineno, "imports random"


def the_environment_is_read_in_one_place(module: Module) -> Broken:
    """Settings reach the code as arguments; wiring and config alone read the environment."""
    if module.inside("wiring", "config"):
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in ENVIRONMENT:
                yield node.lineno, f"reads os.{name}"
            case ast.ImportFrom(module="os", names=aliases):
                for alias in aliases:
                    if alias.name in ENVIRONMENT:
                        yield node.lineno, f"imports os.{alias.name}"


def modules_say_what_they_are(module: Module) -> Broken:
    """Every module begins with a docstring."""
    if not ast.get_docstring(module.tree):
        yield 1, "has no docstring"


RULES: Final[tuple[Callable[[Module], Broken], ...]] = (
    no_async_below_the_doors,
    secrets_open_in_two_rooms,
    no_print_outside_the_command_line,
    log_lines_are_constant,
    names_say_something,
    codes_are_known,
    files_are_small,
    chance_comes_from_the_system,
    the_environment_is_read_in_one_place,
    modules_say_what_they_are,
)
