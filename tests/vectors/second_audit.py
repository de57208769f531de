"""A second reader of audit events, written from docs/spec/audit.md alone.

It shares no code with the package, and no JSON parser: what is not canonical is refused where it stands.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

LARGEST = 2**53 - 1
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)")
WORDS = {"true": True, "false": False, "null": None}
SHORT = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class NotCanonical(Exception):
    """The bytes are not the one body of any content."""

    failure = "not_canonical"


class BrokenLeaf(Exception):
    """The leaf is not the body's."""

    failure = "audit_broken leaf"


class BrokenItems(Exception):
    """Items, salt and the digest in the body do not belong together."""

    failure = "audit_broken items"


def read_body(body: bytes) -> dict[str, Any]:
    """The content of canonical bytes."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotCanonical from None
    value, end = read_value(text, 0)
    if end != len(text):
        raise NotCanonical
    if not isinstance(value, dict):
        raise NotCanonical
    return value


def read_value(text: str, at: int) -> tuple[Any, int]:
    """One value, and where it ends."""
    first = text[at : at + 1]
    if first == "{":
        return read_object(text, at)
    if first == "[":
        return read_list(text, at)
    if first == '"':
        return read_string(text, at)
    for word, value in WORDS.items():
        if text.startswith(word, at):
            return value, at + len(word)
    found = NUMBER.match(text, at)
    if found is None or found[0] == "-0":
        raise NotCanonical
    if abs(int(found[0])) > LARGEST:
        raise NotCanonical
    return int(found[0]), found.end()


def read_list(text: str, at: int) -> tuple[list[Any], int]:
    """A list, and where it ends."""
    members: list[Any] = []
    if text[at + 1 : at + 2] == "]":
        return members, at + 2
    while True:
        value, at = read_value(text, at + 1)
        members.append(value)
        if text[at : at + 1] == "]":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise NotCanonical


def read_object(text: str, at: int) -> tuple[dict[str, Any], int]:
    """An object, and where it ends: names ascend, so none comes twice."""
    members: dict[str, Any] = {}
    last = None
    if text[at + 1 : at + 2] == "}":
        return members, at + 2
    while True:
        name, at = read_string(text, at + 1)
        if not name.isascii():
            raise NotCanonical
        if last is not None and name <= last:
            raise NotCanonical
        if text[at : at + 1] != ":":
            raise NotCanonical
        members[name], at = read_value(text, at + 1)
        last = name
        if text[at : at + 1] == "}":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise NotCanonical


def read_string(text: str, at: int) -> tuple[str, int]:
    """A string, and where it ends."""
    if text[at : at + 1] != '"':
        raise NotCanonical
    out, at = "", at + 1
    while text[at : at + 1] != '"':
        character = text[at : at + 1]
        if character < " ":  # a control character, or the end
            raise NotCanonical
        at += 1
        if character == "\\":
            character, at = read_escape(text, at)
        out += character
    return out, at + 1


def read_escape(text: str, at: int) -> tuple[str, int]:
    """The character of what follows a backslash, and where that ends."""
    if text[at : at + 1] in SHORT:
        return SHORT[text[at]], at + 1
    found = re.compile("u00([01][0-9a-f])").match(text, at)
    if found is None:
        raise NotCanonical
    character = chr(int(found[1], 16))
    if character in SHORT.values():  # those have the short form
        raise NotCanonical
    return character, found.end()


def check_event(body: bytes, leaf: bytes, items: bytes | None, salt: bytes | None) -> None:
    """Returns if leaf, items and salt belong to the body."""
    if hashlib.sha256(b"\x00" + body).digest() != leaf:
        raise BrokenLeaf
    if items is None and salt is None:
        return
    if items is None or salt is None:
        raise BrokenItems
    if len(salt) != 32:
        raise BrokenItems
    if read_body(body).get("items_digest") != hashlib.sha256(salt + items).hexdigest():
        raise BrokenItems
