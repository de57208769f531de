"""Bodies that no client means well with.

Each holds a mark that is found nowhere else, so that an echo of it is an echo of the body.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

from msgspec import inspect

MARK: Final = "uqzilu7"  # with letters that no id has (Crockford base32)
DEEP: Final = 100_000
_numbers: Final = count(1)

Body = tuple[str, bytes]
"""What it is, and its bytes."""


def mark() -> str:
    """A mark of its own: letters and digits, so that it survives every encoding."""
    return f"{MARK}{next(_numbers):06}x"


def found(text: str) -> bool:
    """Whether any mark is in a text."""
    return MARK in text.lower()


def example(type_: Any) -> Any:
    """A document of a body's type with every member in it; its texts make no sense."""
    return _example(inspect.type_info(type_))


def _example(info: inspect.Type) -> Any:
    match info:
        case inspect.StructType():
            return {field.encode_name: _example(field.type) for field in info.fields}
        case inspect.ListType():
            return [_example(info.item_type)]
        case inspect.DictType():
            return {"a": 1}
        case inspect.UnionType():
            return _example(next(t for t in info.types if not isinstance(t, inspect.NoneType)))
        case inspect.IntType():
            return 1
        case inspect.BoolType():
            return True
    return "a"


def places(document: Any) -> Iterator[Callable[[Any], Any]]:
    """For each place in a document a function that puts something else there, in a copy."""
    yield lambda new: new
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for key, child in children:
        inner = list(places(child)) if isinstance(child, dict | list) else [lambda new: new]
        for place in inner:
            yield lambda new, key=key, place=place: _with(document, key, place(new))  # type: ignore[misc]


def _with(document: Any, key: Any, value: Any) -> Any:
    copy = document.copy()
    copy[key] = value
    return copy


class Raw(str):
    """JSON text to be put in as it stands, which json.dumps would never write."""


def write(document: Any) -> bytes:
    """JSON with raw parts."""
    if isinstance(document, Raw):
        return document.encode("utf-8", "surrogateescape")
    if isinstance(document, dict):
        return b"{" + b",".join(write(k) + b":" + write(v) for k, v in document.items()) + b"}"
    if isinstance(document, list):
        return b"[" + b",".join(map(write, document)) + b"]"
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def bodies(document: Any) -> Iterator[Body]:
    """Hostile bodies of ordinary size, made from one that a route takes or nearly takes."""
    yield from _whole(document)
    for index, put in enumerate(places(document)):
        for name, value in values():
            yield f"{name} at place {index}", write(put(value))
    yield from _members(document)


def _whole(document: Any) -> Iterator[Body]:
    good, m = write(document), mark().encode()
    yield from {
        "empty": b"",
        "white space": b" \n\t",
        "not JSON": m,
        "half": good[: len(good) // 2],
        "single quotes": b"{'" + m + b"': 1}",
        "trailing comma": good[:-1] + b",}",
        "comment": good + b" // " + m,
        "trailing garbage": good + m,
        "trailing NUL": good + b"\0",
        "two documents": good + good,
        "byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "UTF-32": good.decode().encode("utf-32-le"),
        "Latin-1": b'{"' + m + b'\xe9": 1}',
        "form": b"field=" + m + b"&values=" + m,
        "XML": b'<?xml version="1.0"?><a>' + m + b"</a>",
        "half a name": b'{"' + m,
        "half an escape": b'{"' + m + b"\\u00",
        "only a closing bracket": b"]" + m,
        "a line separator": good + "\u2028".encode(),
    }.items()


def _texts() -> Iterator[tuple[str, str]]:
    """Texts as they stand in JSON, quotes included."""
    m = mark()
    yield from {
        "empty text": '""',
        "long text": f'"{m * 4000}"',
        "NUL": f'"{m}\0"',
        "escaped NUL": f'"{m}\\u0000"',
        "line break": f'"{m}\n"',
        "lone high surrogate, escaped": f'"{m}\\ud83d"',
        "lone low surrogate, escaped": f'"\\udc00{m}"',
        "surrogates in the wrong order": f'"{m}\\udc00\\ud83d"',
        "full-width digits": f'"{m}１２３４５６７８９"',
        "bidi": f'"{m}\u202e123\u2066"',
        "zero width": f'"{m}\u200b\u200d\ufeff"',
        "not in NFC": f'"{m}e\u0301"',
        "noncharacter": f'"{m}\uffff"',
        "escaped noncharacter": f'"{m}\\ufffe"',
        "not UTF-8": f'"{m}\udcff"',
        "overlong": f'"{m}\udcc0\udcaf"',
        "raw surrogate": f'"{m}\udced\udca0\udc80"',
        "cut off": f'"{m}\udce2\udc82"',
        "beyond Unicode": f'"{m}\udcf4\udc90\udc80\udc80"',
        "bad escape": f'"{m}\\x41"',
        "quotes": f'"{m}\\"\\\\\'"',
        "markup": f'"<script>{m}</script>"',
        "template": f'"{{{{{m}}}}}%s%n${{jndi:{m}}}"',
        "SQL": f'"{m}\'; DROP TABLE cu_tokens; --"',
    }.items()


def values() -> Iterator[tuple[str, Any]]:
    """Hostile values, by what they are."""
    m = mark()
    for name, text in _texts():
        yield name, Raw(text)
    yield from {
        "null": None,
        "true": True,
        "zero": 0,
        "minus one": -1,
        "fraction": 1.5,
        "2**63": 2**63,
        "text": m,
        "list": [m],
        "empty list": [],
        "object": {m: 1},
        "empty object": {},
        "1e999": Raw("1e999"),
        "-1e999": Raw("-1e999"),
        "1e-999": Raw("1e-999"),
        "10**5 digits": Raw("1" * 100_000),
        "NaN": Raw("NaN"),
        "Infinity": Raw("-Infinity"),
        "leading zero": Raw("01"),
        "plus": Raw("+1"),
        "hexadecimal": Raw("0x10"),
        "undefined": Raw("undefined"),
        "deep list": Raw("[" * DEEP),
        "deep list, closed": Raw("[" * DEEP + "]" * DEEP),
        "deep object": Raw('{"a":' * DEEP + "1" + "}" * DEEP),
        "deep mixture": Raw('[{"a":' * DEEP),
        "deep object in a small body": Raw('{"a":' * 40_000),
        "just too deep": Raw("[" * 1200 + "]" * 1200),
    }.items()


def _members(document: Any) -> Iterator[Body]:
    for index, put in enumerate(places(document)):
        inner = at(document, index)
        if not isinstance(inner, dict):
            continue
        m = mark()
        yield f"unknown member at place {index}", write(put({**inner, m: m}))
        text = write(inner)[1:-1]
        for name in inner:
            one = write(name) + b":" + write(inner[name])
            escaped = b'"\\u%04x' % ord(name[0]) + name[1:].encode() + b'":' + write(inner[name])
            for what, twice in {
                "twice": text + b"," + one,
                "twice, escaped": text + b"," + escaped,
                "escaped first": escaped + b"," + text,
                "with a NUL": text + b',"' + name.encode() + b'\\u0000":1',
                "in capitals": text + b',"' + name.upper().encode() + b'":"' + m.encode() + b'"',
                "not UTF-8": text + b',"' + name.encode() + b'\xff":1',
                "with a surrogate": text + b',"' + name.encode() + b'\\ud800":1',
                "twice in what is unknown": text + b',"a":{"' + m.encode() + b'":1,"' + m.encode() + b'":2}',
            }.items():
                yield (
                    f"{name} {what} at place {index}",
                    write(put(Raw("@"))).replace(b"@", b"{" + twice + b"}", 1),
                )


def at(document: Any, index: int) -> Any:
    """What stands at a place, by the order of `places`."""
    flat: list[Any] = []

    def walk(node: Any) -> None:
        flat.append(node)
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(child)

    walk(document)
    return flat[index]


def large(document: Any, size: int, *, turns: bool = False) -> Iterator[Body]:
    """Hostile bodies of just under `size` bytes, made from one that a route takes or nearly takes.

    Args:
        turns: at each place inside the document is one kind of body, by turns; else all kinds are.
    """
    yield "a text", _filled(b'"', b"a", b'"', size)
    yield "a text of escapes", _filled(b'"', b"\\u0041", b'"', size)
    yield "open brackets", b"[" * size
    yield "open braces", _filled(b"", b'{"a":', b"", size)
    yield "commas", b"," * size
    yield "quotes", b'"' * size
    yield "digits", b"1" * size
    yield "white space", b" " * size
    yield "members", _numbered(size)
    yield "a name", _filled(b'{"', b"a", b'":1}', size)
    parts = {"empty texts": b'"",', "empty objects": b"{},", "lists of brackets": b"[[[[[[],"}
    more = {"texts": b'"ab",', "numbers": b"1,", "nulls": b"null,", "empty lists": b"[],"}
    lists = {name: (b"[", part, b"0]") for name, part in parts.items()}
    others = {"a text": (b'"', b"a", b'"'), "brackets": (b"", b"[", b"")}
    for index, put in enumerate(places(document)):
        before, _, after = write(put(Raw("@"))).partition(b"@")
        kinds = [*(lists | others).items()]
        if not index:
            kinds += [(name, (b"[", part, b"0]")) for name, part in more.items()]
        elif turns:
            kinds = [kinds[index % len(kinds)]]
        for name, (begin, part, end) in kinds:
            yield f"{name} at place {index}", _filled(before + begin, part, end + after, size)


def _filled(before: bytes, part: bytes, after: bytes, size: int) -> bytes:
    return before + part * ((size - len(before) - len(after)) // len(part)) + after


def _numbered(size: int) -> bytes:
    members = b",".join(b'"%06d":1' % number for number in range(size // 11))
    return b"{" + members + b"}"
