"""Whose request it is: proxies that are trusted are believed, and nobody else is."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from vault.api.forwarded import MAX_HOPS, UNKNOWN, client_address, is_trusted

PROXIES = tuple(map(ip_network, ("10.0.0.0/8", "2001:db8:1::/48")))
PEER = "10.0.0.1"


def xff(*values: str) -> str:
    return client_address(PEER, [(b"x-forwarded-for", value.encode("latin-1")) for value in values], PROXIES)


def forwarded(*values: str) -> str:
    return client_address(PEER, [(b"forwarded", value.encode("latin-1")) for value in values], PROXIES)


def test_without_a_header_it_is_the_peer() -> None:
    assert client_address(PEER, [(b"host", b"x"), (b"x-real-ip", b"192.0.2.1")], PROXIES) == PEER


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 10.1.2.3, 10.9.9.9"], "203.0.113.9"),
        (["203.0.113.9, 2001:db8:1::5"], "203.0.113.9"),
        (["10.0.0.7"], "10.0.0.7"),
        (["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db8:2::9]:4711"], "2001:db8:2::9"),
        (["2001:DB8:2:0::9"], "2001:db8:2::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, ::ffff:10.0.0.9"], "203.0.113.9"),
        (["nonsense, 203.0.113.9"], "203.0.113.9"),
        (["\xff\x00, 203.0.113.9"], "203.0.113.9"),
        ([" 203.0.113.9\t"], "203.0.113.9"),
    ],
)
def test_the_last_that_is_no_proxy(values: list[str], address: str) -> None:
    assert xff(*values) == address


UNREADABLE = [
    "", " ", ",", "unknown", "_hidden", "203.0.113.9,", "203.0.113.9 10.0.0.1", "203.0.113.999",
    "fe80::1%eth0", "2130706433", "0x7f.1", "203.0.113.9:99999999", "[203.0.113.9", "２０３.0.113.9",
    "203.0.113.9;x", '"203.0.113.9"',
]  # fmt: skip


@pytest.mark.parametrize("value", UNREADABLE)
def test_what_is_no_address_is_nowhere(value: str) -> None:
    """Not the peer's: the proxy's own address may be one that a key is bound to."""
    assert client_address(PEER, [(b"x-forwarded-for", value.encode())], PROXIES) == UNKNOWN
    assert client_address(PEER, [(b"x-forwarded-for", value.encode() + b", 10.0.0.5")], PROXIES) == UNKNOWN


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["for=203.0.113.9"], "203.0.113.9"),
        (["For=203.0.113.9;proto=https;by=10.0.0.1"], "203.0.113.9"),
        (['for="[2001:db8:2::9]:4711"'], "2001:db8:2::9"),
        (['for="203.0.113.9:80"'], "203.0.113.9"),
        (["for=198.51.100.1, for=203.0.113.9, for=10.0.0.3"], "203.0.113.9"),
        (["for=198.51.100.1", "for=203.0.113.9"], "203.0.113.9"),
        (['for="unclosed, for=203.0.113.9'], "203.0.113.9"),
        (["for=unknown"], UNKNOWN),
        (["for=_hidden"], UNKNOWN),
        (["proto=https"], UNKNOWN),
        (["for=203.0.113.9;for=198.51.100.1"], UNKNOWN),
        (["203.0.113.9"], UNKNOWN),
        ([""], UNKNOWN),
        (['for="203.0.113.9, 198.51.100.1"'], UNKNOWN),
    ],
)
def test_the_header_of_rfc_7239(values: list[str], address: str) -> None:
    assert forwarded(*values) == address


def test_two_headers_that_differ_are_believed_neither() -> None:
    """A proxy sets one of them; the other is the client's."""
    for one, other, address in (
        ("203.0.113.9", "for=203.0.113.9", "203.0.113.9"),
        ("203.0.113.9", "for=192.168.0.1", UNKNOWN),
        ("192.168.0.1", "for=203.0.113.9", UNKNOWN),
    ):
        headers = [(b"x-forwarded-for", one.encode()), (b"forwarded", other.encode())]
        assert client_address(PEER, headers, PROXIES) == address


def test_a_list_without_end_is_not_read() -> None:
    assert xff(", ".join(["10.0.0.2"] * MAX_HOPS)) == "10.0.0.2"
    assert xff("203.0.113.9, " + ", ".join(["10.0.0.2"] * MAX_HOPS)) == UNKNOWN
    assert xff("1" * 60_000) == UNKNOWN
    assert xff("x," * 30_000 + "203.0.113.9") == "203.0.113.9"
    assert xff("8" * 5_000 + ".0.0.1") == UNKNOWN


def test_who_is_trusted() -> None:
    assert is_trusted("10.255.255.255", PROXIES)
    assert is_trusted("::ffff:10.0.0.1", PROXIES)
    assert is_trusted("2001:db8:1:2::", PROXIES)
    for other in ("11.0.0.0", "2001:db8:2::", "", "proxy", "127.0.0.1"):
        assert not is_trusted(other, PROXIES)
    assert not is_trusted("10.0.0.1", ())
