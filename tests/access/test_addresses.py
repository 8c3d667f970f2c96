"""Where a request comes from: nobody makes himself another by what he writes into a header."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import knobs
from app.access import addresses
from app.access.addresses import Addresses, parsed
from tests.support.app import law

LOCAL = Addresses(knobs.networks("127.0.0.1 ::1"))
PROXIES = Addresses(knobs.networks("127.0.0.1 ::1 10.0.0.0/8 2001:db8:ffff::/48"))


def came(peer, told=None, known=LOCAL):
    environ = {} if peer is None else {"REMOTE_ADDR": peer}
    return known.of(environ if told is None else environ | {"HTTP_X_FORWARDED_FOR": told})


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        # Nobody in front.
        ("203.0.113.7", None, "203.0.113.7"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        # What somebody writes who is no proxy of ours is nothing.
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("203.0.113.7", "127.0.0.1", "203.0.113.7"),
        # One proxy, which has added the last entry; all before it is the client's own fiction.
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "127.0.0.1, 10.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "garbage, 198.51.100.1", "198.51.100.1"),
        ("::1", "198.51.100.1", "198.51.100.1"),
        # Two proxies, of which the outer has added the client and the inner the outer.
        ("127.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4,198.51.100.1,10.0.0.2", "198.51.100.1"),
        ("10.0.0.3", "198.51.100.1,2001:db8:ffff::2,10.0.0.2", "198.51.100.1"),
        # Nobody but proxies: the first of them.
        ("127.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        # Forms.
        ("127.0.0.1", " 198.51.100.1:5678 ", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::/64"),
        ("127.0.0.1", "[2001:db8::1]", "2001:db8::/64"),
        ("127.0.0.1", "2001:db8::1", "2001:db8::/64"),
        ("127.0.0.1", "fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", "198.51.100.1, ,", "198.51.100.1"),
        # IPv6 counts by network, and IPv4 that is mapped into it as what it is.
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", None, "2001:db8:1:3::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("::ffff:203.0.113.7", None, "203.0.113.7"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        # Who says nothing that can be understood answers for it.
        ("127.0.0.1", "198.51.100.1, unknown", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("127.0.0.1", "198.51.100.1, 1.2.3.4.5", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1:x", "127.0.0.1"),
        ("127.0.0.1", "[198.51.100.1", "127.0.0.1"),
        ("127.0.0.1", "[]", "127.0.0.1"),
        ("127.0.0.1", "[2001:db8::1]443", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.1:", "127.0.0.1"),
        ("127.0.0.1", "١٩٨.51.100.1", "127.0.0.1"),
        ("127.0.0.1", '"198.51.100.1"', "127.0.0.1"),
        # A unix socket: who opened it may speak for others.
        ("", None, "unix"),
        (None, None, "unix"),
        ("", "198.51.100.1", "198.51.100.1"),
        ("", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("", "garbage", "unix"),
    ],
)
def test_a_request_comes_from_the_last_who_is_no_proxy_of_ours(peer, told, client):
    assert came(peer, told, PROXIES) == client


def test_without_trusted_proxies_only_the_connection_tells():
    nobody = Addresses(())
    assert came("127.0.0.1", "198.51.100.1", nobody) == "127.0.0.1"
    assert came("::1", "198.51.100.1", nobody) == "::/64"


def test_forwarded_is_not_read():
    assert LOCAL.of({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=198.51.100.1"}) == "127.0.0.1"


@law
@given(st.text("0123456789abcdef.:[]%, x\t", max_size=80), st.ip_addresses(v=4))
def test_whatever_a_client_writes_before_what_the_proxy_adds_changes_nothing(fiction, address):
    if any(address in network for network in knobs.networks("127.0.0.1 10.0.0.0/8")):
        address = ipaddress.ip_address("198.51.100.1")
    assert came("127.0.0.1", f"{fiction},{address}", PROXIES) == str(address)


@law
@given(st.text(st.characters(max_codepoint=255), max_size=50))  # as header fields are
def test_whatever_is_told_never_fails(text):
    assert came("127.0.0.1", text)
    assert came("", text)
    assert came(text, text)


@law
@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_address_is_read_in_all_its_forms(address, port):
    plain = getattr(address, "ipv4_mapped", None) or address
    forms = [f"[{address}]:{port}", f"[{address}]", str(address)]
    if address.version == 4:
        forms.append(f"{address}:{port}")
    assert {parsed(form) for form in forms} == {plain}


def test_a_chain_of_thousands_is_not_read_to_its_end():
    told = ",".join(["198.51.100.1", *["10.0.0.1"] * 4000])
    assert came("127.0.0.1", told, PROXIES) == "10.0.0.1"
    few = ",".join(["198.51.100.1", *["10.0.0.1"] * (addresses.MOST_HOPS - 1)])
    assert came("127.0.0.1", few, PROXIES) == "198.51.100.1"


def test_what_was_found_is_remembered_for_so_many_clients_and_only_where_it_is_short():
    known = Addresses(knobs.networks("127.0.0.1"))
    for number in range(addresses.KNOWN * 2):
        came("127.0.0.1", f"10.{number >> 8}.{number & 255}.1", known)
    came("127.0.0.1", "198.51.100.1" + " " * addresses.KNOWN_CHARACTERS, known)
    info = known._remembered.cache_info()
    assert info.currsize == info.maxsize == addresses.KNOWN
    assert info.misses == addresses.KNOWN * 2
