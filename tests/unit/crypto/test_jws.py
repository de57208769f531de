"""Statements: what is made is read, and nothing of what is refused shows. The vectors have the defects."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.echo import shown
from tests.vectors.made_statements import KEYS, compact, header_of, sign, x_of
from vault.crypto import jws
from vault.crypto.base64url import decode
from vault.crypto.jws import NOT_SUCH, Statement
from vault.crypto.signing import Signer, thumbprint
from vault.secret import Secret

SIGNER = Signer(Secret(b"\1" * 32))


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Claims of no use."""

    text: str
    count: int
    more: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


SAID = Statement("said+jwt", Said, 1_000)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(text=TEXTS, count=st.integers(0, 2**63), more=st.none() | st.lists(TEXTS, max_size=4))
def test_what_is_made_is_read(text: str, count: int, more: list[str] | None) -> None:
    """Also texts that look like structure: colons, braces, quotes, backslashes."""
    said = Said(text, count) if more is None else Said(text, count, tuple(more))
    written = SAID.make(SIGNER, said)
    key, jkt, claims, signing_input = SAID.parse(written)
    assert (key, jkt, claims) == (SIGNER.public, thumbprint(SIGNER.public), said)
    assert written.startswith(signing_input.decode() + ".")
    assert repr(SAID.parse(written)) == "<Signed>"


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', ":", '":', '","count":1,"', "{}", "\\\\", '\\\\"', "\u2028"]
)
def test_a_text_is_no_structure(text: str) -> None:
    said = Said(text, 1, (text, text))
    assert SAID.parse(SAID.make(SIGNER, said)).claims == said


@pytest.mark.parametrize(
    "payload",
    [
        b'{"text":"","count":1,"count":1}',
        b'{"text":"","text":"","count":1}',
        b'{"text":"\\"","count" :1,"cou\\u006et"\n:1}',
        b'{"text":":","text":"::","count":1}',
        b'{"count":1,"text":"\\\\","text":"\\\\"}',
        b'{"text":"","count":1,"more":[],"more":["a"]}',
        b'{"text":"","count":-0}',
        b'{"text":"","count":1.0}',
        b'{"text":"","count":10e-1}',
        b'{"text":"","count":true}',
        b'{"text":"","count":1,"more":null}',
    ],
)
def test_a_member_stands_once_and_is_exact(payload: bytes) -> None:
    written = sign(compact(header_of("said+jwt", x_of(KEYS[0]))), payload, KEYS[0])
    with pytest.raises(ValueError, match=rf"\A{NOT_SUCH}\Z") as refusal:
        SAID.parse(written)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_msgspec_alone_takes_the_last_of_equal_members() -> None:
    """Control: what counting is for."""
    assert msgspec.json.decode(b'{"text":"","count":1,"count":2}', type=Said).count == 2
    assert msgspec.json.decode(b'{"text":"","count":-0}', type=Said).count == 0


def test_one_as_large_as_may_be_is_taken_and_no_larger() -> None:
    most = max(size for size in range(1_000) if len(compact({"text": "a" * size, "count": 1})) * 4 // 3 < 700)
    while True:
        try:
            written = SAID.make(SIGNER, Said("a" * most, 1))
        except ValueError:
            break
        SAID.parse(written)
        assert len(written) <= 1_000
        most += 1
    small = Statement("said+jwt", Said, len(written) - 1)
    with pytest.raises(ValueError, match=NOT_SUCH):
        small.parse(written)


def test_several_are_read_or_none_is() -> None:
    good = [SAID.make(SIGNER, Said("", number)) for number in range(3)]
    assert [signed.claims.count for signed in SAID.parse_all(good)] == [0, 1, 2]
    assert SAID.parse_all([]) == []
    for place in range(3):
        bad = [*good[:place], good[place][:-4] + "AAAA", *good[place + 1 :]]
        with pytest.raises(ValueError, match=NOT_SUCH):
            SAID.parse_all(bad)


def test_a_header_that_is_known_is_still_one_of_its_kind() -> None:
    """What is remembered of a header does not say for which kind of statement it was."""
    other = Statement("other+jwt", Said, 1_000)
    written = SAID.make(SIGNER, Said("", 1))
    for _ in range(2):
        SAID.parse(written)
        with pytest.raises(ValueError, match=NOT_SUCH):
            other.parse(written)


def test_headers_are_remembered_within_bounds() -> None:
    """Of no more holders than so many, and none that is longer than holders write it."""
    assert jws._known.cache_info().maxsize == 1_024
    head = compact(header_of("said+jwt", x_of(KEYS[0]))) + b" " * 100
    before = jws._known.cache_info().misses
    SAID.parse(sign(head, b'{"text":"","count":1}', KEYS[0]))
    assert jws._known.cache_info().misses == before
    SAID.parse(SAID.make(SIGNER, Said("", 1)))
    assert jws._known.cache_info().currsize > 0


def test_what_no_reader_takes_is_not_made() -> None:
    for said in (Said("\ud800", 1), Said("", "1")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=NOT_SUCH):
            SAID.make(SIGNER, said)


def test_a_refusal_says_nothing_of_what_was_sent() -> None:
    written = sign(
        compact(header_of("said+jwt", x_of(KEYS[0]))), b'{"text":"canary","count":"canary"}', KEYS[0]
    )
    with pytest.raises(ValueError, match=NOT_SUCH) as refusal:
        SAID.parse(written)
    assert refusal.value.__suppress_context__
    assert "canary" not in str(refusal.value)
    assert "canary" not in shown(refusal.value)


def test_the_published_signature() -> None:
    """RFC 8037, appendix A.4: the algorithm and the signing input are those of JWS."""
    seed = decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    text = (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    signing_input, _, signature = text.rpartition(".")
    assert Signer(Secret(seed)).sign(signing_input.encode()) == decode(signature)
