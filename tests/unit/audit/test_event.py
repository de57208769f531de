"""Audit events: one spelling in bytes, a leaf that shows every change, and items that can go."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.envelope.damage import damaged
from vault.audit.event import (
    KINDS,
    MAX_ITEM_IDS,
    MAX_NUMBER,
    Event,
    Sealed,
    canonical,
    check_event,
    items_digest,
    leaf_hash,
    listed,
    seal_event,
)
from vault.clock import parse_time
from vault.errors import IntegrityError

AT = parse_time("2026-11-23T14:00:00Z")
EVENT = Event(
    "detokenize",
    "main",
    "agent:bot",
    {"charged": 2, "fields": [{"field": "customer.name", "items": 2}], "outcome": "allowed"},
    {"rows": listed(["00ff", "00fe"]), "reason": "the customer asked"},
    "dec_1",
)

facts = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_NUMBER, MAX_NUMBER) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)
tables = st.dictionaries(st.text(st.characters(codec="ascii"), max_size=8), facts, max_size=5)


def broken(sealed: Sealed, reason: str, **changes: Any) -> None:
    parts = {"body": sealed.body, "leaf": sealed.leaf, "items": sealed.items, "salt": sealed.salt, **changes}
    with pytest.raises(IntegrityError) as refusal:
        check_event(**parts)
    assert (refusal.value.code, refusal.value.facts) == ("audit_broken", {"reason": reason})


def resealed(body: bytes) -> dict[str, bytes]:
    """A body with the leaf that belongs to it, as somebody with the whole database would write it."""
    return {"body": body, "leaf": leaf_hash(body)}


# canonical bytes


@given(tables)
def test_canonical_bytes_are_json_sorted_and_without_space(value: dict[str, Any]) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(value) == expected
    assert msgspec.json.decode(canonical(value)) == value


@given(tables, st.randoms())
def test_the_order_in_which_members_were_given_does_not_matter(value: dict[str, Any], rng: Any) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            names = list(part)
            rng.shuffle(names)
            return {name: shuffled(part[name]) for name in names}
        return [shuffled(member) for member in part] if isinstance(part, list) else part

    assert canonical(shuffled(value)) == canonical(value)


def test_characters_are_written_as_rfc_8785_writes_them() -> None:
    """RFC 8785, 3.2.2.2: two-character escapes where there are any, other controls in lower-case hex."""
    text = '\x00\x08\t\n\x0b\x0c\r\x1f"\\/\x7f é\u2028\U0001f511'
    assert canonical({"t": text}) == (
        b'{"t":"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\"\\\\/\x7f ' + "é\u2028\U0001f511".encode() + b'"}'
    )


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        1.0,
        float("nan"),
        float("inf"),
        MAX_NUMBER + 1,
        -MAX_NUMBER - 1,
        2**70,
        b"x",
        {1},
        {1: 2},
        {"é": 1},
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_two_programs_might_write_differently_is_refused(value: Any) -> None:
    for place in (value, [value], ["x", value], {"a": value}, [{"a": [value]}]):
        with pytest.raises(TypeError):
            canonical({"fact": place})


def test_the_bytes_are_the_published_ones() -> None:
    event = Event("grant.revoke", "main", "operator:ana", {"grant": "gr_1", "address": ""}, decision="dec_1")
    sealed = seal_event(event, AT, "eu")
    assert sealed.body == (
        b'{"actor":"operator:ana","address":"","at":"2026-11-23T14:00:00.000000Z","decision":"dec_1",'
        b'"grant":"gr_1","kind":"grant.revoke","region":"eu","tenant":"main","v":1}'
    )
    assert sealed.leaf == hashlib.sha256(b"\0" + sealed.body).digest()
    assert (sealed.items, sealed.salt) == (None, None)


def test_an_event_has_the_same_bytes_each_time_but_for_the_digest_of_its_items() -> None:
    one, other = seal_event(EVENT, AT, "eu"), seal_event(EVENT, AT, "eu")
    assert one.items == other.items
    assert one.salt != other.salt
    assert one.leaf != other.leaf
    bodies = [json.loads(sealed.body) for sealed in (one, other)]
    for sealed, body in zip((one, other), bodies, strict=True):
        assert (
            body.pop("items_digest")
            == hashlib.sha256((sealed.salt or b"") + (sealed.items or b"")).hexdigest()
        )
    assert bodies[0] == bodies[1]


def test_everything_that_an_event_says_is_in_its_leaf() -> None:
    plain = Event("denied", "main", "service:app", {"code": "scope_denied"}, decision="dec_1")
    others = [
        Event("detokenize", "main", "service:app", {"code": "scope_denied"}, decision="dec_1"),
        Event("denied", "other", "service:app", {"code": "scope_denied"}, decision="dec_1"),
        Event("denied", "main", "service:other", {"code": "scope_denied"}, decision="dec_1"),
        Event("denied", "main", "service:app", {"code": "erased"}, decision="dec_1"),
        Event("denied", "main", "service:app", {}, decision="dec_1"),
        Event("denied", "main", "service:app", {"code": "scope_denied"}, decision="dec_2"),
        Event("denied", "main", "service:app", {"code": "scope_denied"}),
        Event("denied", "main", "service:app", {"code": "scope_denied"}, {"a": 1}, "dec_1"),
    ]
    leaves = {seal_event(event, AT, "eu").leaf for event in (plain, *others)}
    leaves |= {seal_event(plain, AT + 1, "eu").leaf, seal_event(plain, AT, "us").leaf}
    assert len(leaves) == len(others) + 3


def test_a_leaf_is_no_inner_node() -> None:
    """RFC 9162, 2.1.1: a prefix keeps a body from being passed off as two hashes."""
    left, right = bytes(32), bytes(range(32))
    assert leaf_hash(left + right) != hashlib.sha256(b"\x01" + left + right).digest()
    assert leaf_hash(b"") == hashlib.sha256(b"\0").digest()


# what an event may be


@pytest.mark.parametrize("name", ["v", "kind", "at", "region", "tenant", "actor", "decision", "items_digest"])
def test_a_fact_overwrites_no_member_that_every_event_has(name: str) -> None:
    with pytest.raises(ValueError, match="overwrite"):
        Event("denied", "main", "service:app", {name: "forged"})


@pytest.mark.parametrize("kind", ["", "Denied", "denied ", "grant", "reveal"])
def test_a_kind_is_a_word_of_the_list(kind: str) -> None:
    with pytest.raises(LookupError):
        Event(kind, "main", "service:app", {})
    assert list(KINDS) == sorted(KINDS)


@given(
    st.lists(
        st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=20), min_size=1
    )
)
def test_no_text_of_the_items_is_in_the_body(texts: list[str]) -> None:
    marked = [f"%{text}%" for text in texts]  # nothing else in a body has this mark
    items = {"reason": marked[0], "subjects": listed(marked), "nested": {"on_behalf_of": marked[-1]}}
    sealed = seal_event(Event("tokenize", "main", "service:app", {"values": len(texts)}, items), AT, "eu")
    assert b"%" not in sealed.body
    assert all(text.encode() in (sealed.items or b"") for text in marked)
    assert len(json.loads(sealed.body)["items_digest"]) == 64


def test_items_cannot_be_guessed_from_the_digest_without_the_salt() -> None:
    digests = {json.loads(seal_event(EVENT, AT, "eu").body)["items_digest"] for _ in range(50)}
    assert len(digests) == 50


# checking


def test_what_was_written_is_taken_with_and_without_its_items() -> None:
    sealed = seal_event(EVENT, AT, "eu")
    check_event(sealed.body, sealed.leaf, sealed.items, sealed.salt)
    check_event(sealed.body, sealed.leaf, None, None)  # they may go with the subject
    bare = seal_event(Event("denied", "main", "service:app", {}), AT, "eu")
    check_event(bare.body, bare.leaf, bare.items, bare.salt)


def test_every_damaged_byte_is_found() -> None:
    sealed = seal_event(EVENT, AT, "eu")
    for body in damaged(sealed.body):
        broken(sealed, "leaf", body=body)
    for leaf in damaged(sealed.leaf):
        broken(sealed, "leaf", leaf=leaf)
    assert sealed.items is not None
    assert sealed.salt is not None
    for items in damaged(sealed.items):
        broken(sealed, "items", items=items)
    for salt in damaged(sealed.salt):
        broken(sealed, "items", salt=salt)


def test_half_of_what_belongs_together_is_not_taken() -> None:
    sealed = seal_event(EVENT, AT, "eu")
    broken(sealed, "items", salt=None)
    broken(sealed, "items", items=None)
    broken(sealed, "items", items=b"", salt=b"")


def test_the_boundary_between_salt_and_items_cannot_be_moved() -> None:
    sealed = seal_event(EVENT, AT, "eu")
    together = (sealed.salt or b"") + (sealed.items or b"")
    for cut in {0, 1, 31, 33, len(together)}:
        assert items_digest(together[:cut], together[cut:]) == items_digest(together, b"")
        broken(sealed, "items", salt=together[:cut], items=together[cut:])


def test_items_of_an_event_that_had_none_are_not_taken() -> None:
    sealed, bare = seal_event(EVENT, AT, "eu"), seal_event(Event("denied", "main", "x", {}), AT, "eu")
    broken(bare, "items", items=sealed.items, salt=sealed.salt)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b'{"items_digest":null}',
        b'{"items_digest":7}',
        b'{"items_digest":""}',
        b'{"items_digest":"\xff"}',
        b"\xff\xfe",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"a":1e999}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_none_is_broken_and_nothing_else(body: bytes) -> None:
    """Also when the leaf was written to fit."""
    broken(seal_event(EVENT, AT, "eu"), "items", **resealed(body))


def test_many_ids_are_a_count_and_a_digest() -> None:
    ids = [f"{number:032x}" for number in range(MAX_ITEM_IDS + 1)]
    assert listed([]) == {"ids": []}
    assert listed(ids[:-1]) == {"ids": ids[:-1]}
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    assert listed(ids) == {"count": MAX_ITEM_IDS + 1, "digest": digest}
    assert listed(ids[::-1]) != listed(ids)
