from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput
from vault.formats.catalog import parse_template
from vault.formats.ipv6 import Ipv6, spelled
from vault.formats.mask import Mask
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

PREFIX = Ipv6()
# Zeros in many places, for the choice of the run that is left out
GAPPY = st.lists(st.sampled_from((0, 0, 0, 1, 0x10, 0xFFFF)), min_size=8, max_size=8).map(
    lambda groups: int("".join(f"{group:04x}" for group in groups), 16)
)


@pytest.mark.parametrize(
    "value",
    [
        "::",
        "::1",
        "1::",
        "2001:db8::1",
        "2001:db8:0:1:1:1:1:1",
        "2001:0:0:1::1",
        "2001:db8::1:0:0:1",
        "::ffff:c000:201",
        "1:2:3:4:5:6:7:8",
        "0:1:2:3:4:5:6:7",
        "fe80::ffff:ffff:ffff:ffff",
    ],
)
def test_addresses(value: str) -> None:
    shape = PREFIX.parse(value)
    assert PREFIX.render_value(shape, shape.text) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        (":", "value_length"),
        ("2001:db8::1%eth0", "value_alphabet"),
        ("::ffff:192.0.2.1", "value_alphabet"),
        ("[2001:db8::1]", "value_alphabet"),
        ("2001:db8::1/64", "value_alphabet"),
        ("2001:db8::1\n", "value_alphabet"),
        ("2001:DB8::1", "value_format"),
        ("2001:0db8::1", "value_format"),
        ("2001:db8:0:0:0:0:0:1", "value_format"),
        ("2001:db8::0:1", "value_format"),
        ("2001:db8::1:1:1:1:1", "value_format"),
        ("2001::1:0:0:0:1", "value_format"),
        ("2001::1:0:0:1:1:1", "value_format"),
        ("1:2:3:4:5:6:7", "value_format"),
        ("1:2:3:4:5:6:7:8:9", "value_format"),
        ("1:2:3:4::5:6:7:8", "value_format"),
        ("1::2::3", "value_format"),
        (":::", "value_format"),
        ("::1:", "value_format"),
        (":1::", "value_format"),
        ("12345::", "value_format"),
        ("1" * 39, "value_format"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(PREFIX.parse, value) == code


@given(st.one_of(GAPPY, st.integers(0, 2**128 - 1)), st.integers(0, 108))
def test_every_address_has_a_token_under_its_prefix(bits: int, keep: int) -> None:
    value = spelled(bits)
    assert int(ipaddress.IPv6Address(value)) == bits
    if bits >> 32 not in (0, 0xFFFF):  # others write these with an IPv4 address inside
        assert value == socket.inet_ntop(socket.AF_INET6, bits.to_bytes(16, "big"))
    template = parse_template(f"ipv6(keep={keep})")
    tokens = Vaultless(Secret(bytes(32)), "main", "f", template)
    token = tokens.tokenize(value)
    assert ipaddress.ip_address(token) in ipaddress.ip_network(f"{value}/{keep}", strict=False)
    assert tokens.detokenize(token) == value


@given(st.text(alphabet="0123af:", max_size=12))
def test_only_one_spelling_is_taken(text: str) -> None:
    address = None
    with contextlib.suppress(ValueError):  # its message, which has the text, would be the context of ours
        address = int(ipaddress.IPv6Address(text))
    if address is None:
        refused(PREFIX.parse, text)
    elif text == spelled(address):
        PREFIX.parse(text)
    else:
        assert refused(PREFIX.parse, text) == "value_format"


def test_parameters() -> None:
    assert PREFIX.spec == "ipv6(keep=64)"
    assert Ipv6(108).domain().size == 1_048_576
    with pytest.raises(BadInput):
        parse_template("ipv6(keep=109)")


def test_masks_show_the_network() -> None:
    mask = Mask.parse("{network}:***")
    assert mask.apply("2001:db8:1:2::7") == "2001:db8:1:***"
    assert mask.apply("2001:db8::7") == "2001:db8:***"
    for value in ("::7", "2001:db8::", "2001:DB8::7", "10:20:30"):
        assert mask.apply(value) == "***:***"
