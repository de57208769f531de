from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput
from vault.formats.catalog import parse_template
from vault.formats.ipv4 import Ipv4
from vault.formats.mask import Mask
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("1.2.3", "value_length"),
        ("1.2.3.4/24", "value_alphabet"),
        ("1.2.3.4:80", "value_alphabet"),
        ("0x7f.0.0.1", "value_alphabet"),
        ("1.2.3.4\n", "value_alphabet"),
        ("1.2.3.４", "value_alphabet"),
        ("2130706433", "value_format"),
        ("127.0.001", "value_format"),
        ("010.0.0.1", "value_format"),
        ("1.2.3.00", "value_format"),
        ("1.2.3.256", "value_format"),
        ("1.2.3.4.5", "value_format"),
        ("1.2..3.4", "value_format"),
        (".1.2.3.4", "value_format"),
        ("255.255.255.2555", "value_length"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(Ipv4().parse, value) == code


@given(st.ip_addresses(v=4), st.integers(0, 12))
def test_every_address_has_a_token_in_its_network(address: ipaddress.IPv4Address, keep: int) -> None:
    template = parse_template(f"ipv4(keep={keep})")
    tokens = Vaultless(Secret(bytes(32)), "main", "f", template)
    token = tokens.tokenize(str(address))
    assert ipaddress.ip_address(token) in ipaddress.ip_network(f"{address}/{keep}", strict=False)
    assert str(ipaddress.ip_address(token)) == token
    assert tokens.detokenize(token) == str(address)


def test_networks_have_tokens_of_their_own() -> None:
    tokens = Vaultless(Secret(bytes(32)), "main", "f", Ipv4(8))
    made = [tokens.tokenize(f"{first}.1.2.3").partition(".")[2] for first in (10, 11)]
    assert made[0] != made[1]


def test_parameters() -> None:
    assert Ipv4().spec == "ipv4"
    assert Ipv4(8).domain().size == 2**24
    assert Ipv4(12).domain().size == 1_048_576
    with pytest.raises(BadInput):
        parse_template("ipv4(keep=13)")


def test_masks_show_the_network() -> None:
    mask = Mask.parse("{network}.***")
    assert mask.apply("192.168.10.7") == "192.168.10.***"
    for value in ("1.2.3", "192.168.10.007", "1.2.3.4.5"):
        assert mask.apply(value) == "***.***"
