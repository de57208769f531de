"""The page audit.md says what the code does: its example and its table are run."""

from __future__ import annotations

import hashlib
import json
import re

from tests.unit.envelope.pages import example, line, octets, text
from vault.audit.event import (
    MAX_ITEM_IDS,
    MAX_NUMBER,
    VERSION,
    Event,
    canonical,
    check_event,
    items_digest,
    leaf_hash,
    seal_event,
)
from vault.clock import parse_time

EXAMPLE = example("audit")
BODY = line(EXAMPLE["body"]).encode()


def test_the_example_checks() -> None:
    items, salt = EXAMPLE["items"].encode(), octets(EXAMPLE["salt"])
    check_event(BODY, octets(EXAMPLE["leaf"]), items, salt)
    assert leaf_hash(BODY) == hashlib.sha256(b"\0" + BODY).digest() == octets(EXAMPLE["leaf"])
    assert items_digest(salt, items) == json.loads(BODY)["items_digest"]
    assert canonical(json.loads(BODY)) == BODY
    assert canonical(json.loads(items)) == items


def test_the_code_writes_the_example() -> None:
    body = json.loads(BODY)
    facts = {name: body[name] for name in ("charged", "fields", "grant", "outcome")}
    event = Event(
        body["kind"], body["tenant"], body["actor"], facts, json.loads(EXAMPLE["items"]), body["decision"]
    )
    sealed = seal_event(event, parse_time(body["at"]), body["region"])
    assert sealed.items == EXAMPLE["items"].encode()
    digest = json.loads(sealed.body)["items_digest"]  # the salt is drawn anew
    assert sealed.body.replace(digest.encode(), body["items_digest"].encode()) == BODY


def test_the_members_of_the_page_are_those_of_every_event() -> None:
    named = re.findall(r"^\| `(\w+)` \|", text("audit"), re.MULTILINE)
    sealed = seal_event(Event("denied", "main", "service:app", {}, {"a": 1}, "dec_1"), 0, "eu")
    assert sorted(named) == sorted(json.loads(sealed.body))


def test_the_numbers_of_the_page_are_the_codes() -> None:
    page = text("audit")
    assert f"version of this page, {VERSION}" in page
    assert f"up to {MAX_ITEM_IDS:,} of them" in page
    assert "2^53 - 1" in page
    assert MAX_NUMBER == 2**53 - 1
