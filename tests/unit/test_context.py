"""The canonical encoding: no two inputs share one, absent is not empty, and boundaries do not shift."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault import context
from vault.context import EncryptionContext, Use, canonical

parts = st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=6)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
contexts = st.builds(
    EncryptionContext,
    use=st.sampled_from(Use),
    tenant=names,
    region=names,
    field=st.none() | names,
    record=st.none() | st.binary(max_size=12),
)


def encode(present: dict[int, bytes]) -> bytes:
    return canonical(sorted(present.items()))


def decode(encoded: bytes) -> dict[int, bytes]:
    """The inverse, written from the format: that there is one shows that encodings are never shared."""
    assert encoded[0] == context.VERSION
    present, at = {}, 1
    while at < len(encoded):
        tag, length = encoded[at], int.from_bytes(encoded[at + 1 : at + 5], "big")
        present[tag] = encoded[at + 5 : at + 5 + length]
        assert len(present[tag]) == length
        at += 5 + length
    return present


@given(parts)
def test_an_encoding_leads_back_to_its_input(present: dict[int, bytes]) -> None:
    assert decode(encode(present)) == present


@given(parts, parts)
def test_distinct_inputs_have_distinct_encodings(one: dict[int, bytes], other: dict[int, bytes]) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(contexts, contexts)
def test_distinct_contexts_have_distinct_encodings(one: EncryptionContext, other: EncryptionContext) -> None:
    assert (one.encode() == other.encode()) == (one == other)


@given(st.binary(max_size=24), st.integers(1, 254))
def test_a_boundary_cannot_be_shifted(joined: bytes, tag: int) -> None:
    cuts = {canonical([(tag, joined[:cut]), (tag + 1, joined[cut:])]): cut for cut in range(len(joined) + 1)}
    assert len(cuts) == len(joined) + 1


@given(parts, st.integers(1, 255))
def test_absent_differs_from_empty(present: dict[int, bytes], tag: int) -> None:
    present.pop(tag, None)
    absent = canonical(sorted((*present.items(), (tag, None))))
    empty = canonical(sorted((*present.items(), (tag, b""))))
    assert absent == encode(present)
    assert empty != absent


def test_every_combination_of_absent_empty_and_given_differs() -> None:
    seen = {
        EncryptionContext(use, "main", "eu", field, record).encode()
        for use, field, record in itertools.product(Use, (None, "", "a"), (None, b"", b"a"))
    }
    assert len(seen) == len(Use) * 9


def test_a_part_that_looks_like_an_encoding_is_only_bytes() -> None:
    inner = canonical([(2, b"b")])
    assert canonical([(1, inner)]) != canonical([(1, b""), (2, b"b")])
    assert canonical([(1, b"a" + inner[1:])]) != canonical([(1, b"a"), (2, b"b")])


@pytest.mark.parametrize(
    "tags", [(0,), (-1,), (256,), (1, 1), (2, 1), (1, 3, 2), (5, 5)], ids=lambda tags: str(tags)
)
def test_tags_ascend_and_fit_a_byte(tags: tuple[int, ...]) -> None:
    for value in (b"", None):
        with pytest.raises(ValueError, match="ascend"):
            canonical((tag, value) for tag in tags)


@pytest.mark.parametrize(("length", "taken"), [(2**32 - 1, True), (2**32, False), (2**40, False)])
def test_a_part_of_four_gibibytes_is_refused(length: int, taken: bool) -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return length

    if taken:
        assert canonical([(1, Long())]) == b"\x01\x01\xff\xff\xff\xff"
    else:
        with pytest.raises(ValueError, match="too long"):
            canonical([(1, Long())])


def test_the_bytes_are_the_published_ones() -> None:
    assert canonical([]) == b"\x01"
    assert canonical([(1, b"ab"), (2, None), (3, b"")]).hex() == "01010000000261620300000000"
    assert EncryptionContext(Use.CLAIM, "main", "eu", "customer.ssn", b"\x00\xff").encode() == (
        b"\x01"
        b"\x01\x00\x00\x00\x05claim"
        b"\x02\x00\x00\x00\x04main"
        b"\x03\x00\x00\x00\x02eu"
        b"\x04\x00\x00\x00\x0ccustomer.ssn"
        b"\x05\x00\x00\x00\x02\x00\xff"
    )


def test_tags_keep_their_numbers() -> None:
    tags = {name: value for name, value in vars(context).items() if name.startswith("TAG_")}
    assert len(set(tags.values())) == len(tags)
    assert (
        tags.items()
        >= {
            "TAG_USE": 1,
            "TAG_TENANT": 2,
            "TAG_REGION": 3,
            "TAG_FIELD": 4,
            "TAG_RECORD": 5,
            "TAG_TEMPLATE": 6,
            "TAG_KEPT": 7,
            "TAG_SUBJECT": 8,
            "TAG_CLASS": 9,
            "TAG_DUE": 10,
            "TAG_EPOCH": 11,
            "TAG_PURPOSE": 12,
            "TAG_VERSION": 13,
        }.items()
    )


def test_labels_are_given_once_and_none_is_part_of_another_encoding() -> None:
    labels = [use.value for use in Use]
    assert len(set(labels)) == len(labels)
    assert all(label.isascii() and label == label.lower().strip() for label in labels)
