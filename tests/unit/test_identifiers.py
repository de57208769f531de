"""An id has one spelling, an id made later sorts later, and nothing that only looks like one is taken."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault import identifiers
from vault.identifiers import (
    NIL,
    PREFIXES,
    format_id,
    is_name,
    new_id,
    parse_id,
    split_credential,
    uuid7,
    uuid7s,
)

raw_ids = st.binary(min_size=16, max_size=16)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BODY = "01JD8Q4M00000000000000000Z"
SECRET = "aB3" * 14 + "x"

MANGLED: dict[str, Callable[[str], str]] = {
    "nothing": lambda body: "",
    "lower case": str.lower,
    "one lower-case character": lambda body: body[:-1] + "z",
    "I for 1": lambda body: body[:1] + "I" + body[2:],
    "L for 1": lambda body: body[:1] + "L" + body[2:],
    "O for 0": lambda body: body[:1] + "O" + body[2:],
    "U": lambda body: body[:-1] + "U",
    "a first character beyond 128 bits": lambda body: "8" + body[1:],
    "the last character of the alphabet first": lambda body: "Z" + body[1:],
    "a full-width digit": lambda body: body[:5] + "４" + body[6:],
    "an Arabic-Indic digit": lambda body: body[:5] + "٤" + body[6:],
    "one short": lambda body: body[:-1],
    "one long": lambda body: body + "0",
    "a leading zero more": lambda body: "0" + body,
    "a line feed behind": lambda body: body + "\n",
    "a blank in front": lambda body: " " + body,
    "a hyphen inside": lambda body: body[:4] + "-" + body[5:],
    "an underscore inside": lambda body: body[:4] + "_" + body[5:],
    "a NUL inside": lambda body: body[:4] + "\0" + body[5:],
    "a lone surrogate": lambda body: body[:4] + "\ud800" + body[5:],
    "a zero-width space": lambda body: body[:4] + "\u200b" + body[4:],
}


@given(raw_ids, st.sampled_from(sorted(PREFIXES)))
def test_an_id_leads_back_to_its_bytes(raw: bytes, prefix: str) -> None:
    text = format_id(prefix, raw)
    assert parse_id(prefix, text) == raw
    assert text.startswith(prefix + "_")
    assert len(text) == len(prefix) + 27


@given(st.text(st.sampled_from(ALPHABET + "ILOUabcz8"), min_size=26, max_size=26))
def test_what_parses_has_one_spelling(body: str) -> None:
    try:
        raw = parse_id("gr", "gr_" + body)
    except ValueError:
        return
    assert format_id("gr", raw) == "gr_" + body


@given(raw_ids, raw_ids)
def test_texts_sort_as_bytes_do(one: bytes, other: bytes) -> None:
    assert (format_id("gr", one) < format_id("gr", other)) == (one < other)


@pytest.mark.parametrize("how", MANGLED)
def test_other_spellings_are_refused(how: str) -> None:
    assert parse_id("gr", "gr_" + BODY)
    with pytest.raises(ValueError, match="not such an id") as refusal:
        parse_id("gr", "gr_" + MANGLED[how](BODY))
    assert BODY[6:12] not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "_", "gr", "gr_", BODY, "_" + BODY, "GR_" + BODY, "cg_" + BODY, "gr__" + BODY]
)
def test_another_prefix_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not such an id"):
        parse_id("gr", text)


@pytest.mark.parametrize("raw", [b"", bytes(15), bytes(17), bytes(32)])
def test_only_sixteen_bytes_are_written(raw: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        format_id("gr", raw)


def test_the_ends_of_the_range() -> None:
    assert format_id("sub", NIL) == "sub_" + "0" * 26
    assert format_id("sub", b"\xff" * 16) == "sub_7" + "Z" * 25
    assert parse_id("sub", "sub_7" + "Z" * 25) == b"\xff" * 16


def test_uuid7_has_the_bits_of_rfc_9562() -> None:
    for _ in range(2_000):
        made = uuid.UUID(bytes=uuid7())
        assert made.version == 7
        assert made.variant == uuid.RFC_4122


def test_uuid7_carries_the_time_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = int.from_bytes(uuid7()[:6], "big")
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_uuid7_sorts_by_time_and_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_790_000_000_000_000_000
    made = []
    for _ in range(500):
        monkeypatch.setattr("vault.identifiers.time.time_ns", lambda at=now: at)
        made.append(uuid7())
        now += 1_000_000
    assert made == sorted(made)
    assert len({uuid7() for _ in range(5_000)}) == 5_000


def test_uuid7_draws_every_free_bit() -> None:
    ones = zeros = 0
    for _ in range(400):
        number = int.from_bytes(uuid7()[8:], "big")
        ones |= number
        zeros |= ~number & (1 << 64) - 1
    variant = 0xC000_0000_0000_0000
    assert ones | variant == (1 << 64) - 1
    assert zeros | variant == (1 << 64) - 1
    assert ones & zeros & variant == 0


def test_uuid7_lays_its_bytes_out_as_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.identifiers.time.time_ns", lambda: 0x0192_3456_789A * 1_000_000 + 999_999)
    monkeypatch.setattr("vault.identifiers._sequence", identifiers._Sequence())
    monkeypatch.setattr(
        "vault.identifiers.os.urandom", lambda count: bytes.fromhex("ff02030405060708fbcd")[:count]
    )
    assert uuid.UUID(bytes=uuid7()) == uuid.UUID("01923456-789a-73cd-bf02-030405060708")
    assert uuid.UUID(bytes=uuid7()) == uuid.UUID("01923456-789a-73ce-bf02-030405060708")


def test_uuid7_ascends_inside_a_millisecond_and_when_the_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_790_000_000_000_000_000
    monkeypatch.setattr("vault.identifiers._sequence", identifiers._Sequence())
    made = []
    for turn in range(10_000):  # more than the count holds, so milliseconds are borrowed
        monkeypatch.setattr("vault.identifiers.time.time_ns", lambda at=now - turn * 1000: at)
        made.append(uuid7())
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {uuid.UUID(bytes=one).version for one in made} == {7}


def test_uuid7_repeats_nothing_between_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [one for each in pool.map(lambda _: [uuid7() for _ in range(2_000)], range(4)) for one in each]
    assert len({one[:8] for one in made}) == len(made)


def test_new_ids_parse() -> None:
    for prefix in PREFIXES:
        assert uuid.UUID(bytes=parse_id(prefix, new_id(prefix))).version == 7


def test_no_prefix_can_be_mistaken_for_part_of_an_id() -> None:
    for prefix in PREFIXES:
        assert prefix.isascii()
        assert prefix.isalpha()
        assert prefix.islower()


def test_a_credential_falls_into_its_parts() -> None:
    assert split_credential(f"ck_{BODY}_{SECRET}") == ("ck", BODY, SECRET)
    assert split_credential(f"cg_{BODY}_{SECRET}") == ("cg", BODY, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ck",
        f"ck_{BODY}",
        f"ck_{BODY}_",
        f"gr_{BODY}_{SECRET}",
        f"CK_{BODY}_{SECRET}",
        f"ck_{BODY}_{SECRET[:-1]}",
        f"ck_{BODY}_{SECRET}a",
        f"ck_{BODY}_{SECRET}\n",
        f"ck_{BODY}_{SECRET[:-1]}-",
        f"ck_{BODY}_{SECRET[:-1]}_",
        f"ck_{BODY}_{SECRET[:-1]}４",
        f"ck_{BODY.lower()}_{SECRET}",
        f"ck_8{BODY[1:]}_{SECRET}",
        f"ck__{SECRET}",
        f" ck_{BODY}_{SECRET}",
    ],
)
def test_what_only_looks_like_a_credential_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a credential") as refusal:
        split_credential(text)
    assert SECRET[:10] not in str(refusal.value)


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (lambda: parse_id("gr", text), lambda: split_credential(text)):
        with pytest.raises(ValueError, match="not"):
            parse()
    assert isinstance(is_name(text), bool)


@pytest.mark.parametrize("text", ["a", "eu", "eu-west.1", "0", "a" * 63, "a_b"])
def test_names(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", "-a", ".a", "..", "_a", "A", "a b", "a/b", "a" * 64, "é", "４", "a\n", "a\0"]
)
def test_no_names(text: str) -> None:
    assert not is_name(text)


FORK = """
import os
from vault.identifiers import uuid7
uuid7()  # so that chance for the next ones is there
reading, writing = os.pipe()
child = os.fork()
made = {uuid7()[8:] for _ in range(8)}
if child == 0:
    os.write(writing, b"".join(made))
    os._exit(0)
os.waitpid(child, 0)
theirs = os.read(reading, 64)
assert len(theirs) == 64
assert not made & {theirs[at : at + 8] for at in range(0, 64, 8)}
"""


def test_a_fork_draws_its_own_chance() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
    careless = f"import os\nos.register_at_fork = lambda **_: None\n{FORK}"
    assert subprocess.run([sys.executable, "-c", careless], capture_output=True, check=False).returncode


def test_no_chance_is_used_twice() -> None:
    made = [uuid7()[8:] for _ in range(1_000)]
    assert len(set(made)) == 1_000


def test_several_at_once_ascend_among_the_others() -> None:
    before = uuid7()
    several = uuid7s(5_000)
    made = [before, *several, uuid7()]
    assert made == sorted(set(made))
    assert {len(one) for one in several} == {16}
    assert {one[6] >> 4 for one in several} == {7}
    assert {one[8] >> 6 for one in several} == {0b10}
    assert len({one[8:] for one in several}) == 5_000
    assert uuid7s(0) == []
