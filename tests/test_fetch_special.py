"""Addresses that only look public, names without any, and times that servers ask for."""

import ipaddress
import socket
import time

import pytest

from daskksvd.embedding import fetch
from daskksvd.embedding.connection import is_public
from daskksvd.embedding.errors import FetchError

SPECIAL = [
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.23",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.0.10",
    "192.0.0.170",
    "192.0.0.171",
    "192.88.99.2",
    "198.18.0.1",
    "198.19.255.255",
    "100.64.0.1",
    "192.0.2.9",
    "198.51.100.9",
    "203.0.113.9",
    "233.252.0.1",
    "0.0.0.1",
    "255.255.255.255",
]
SPECIAL6 = [
    "fd00:ec2::254",
    "fec0::1",
    "feff::1",
    "fe80::a9fe:a9fe",
    "64:ff9b:1::1",
    "5f00::1",
    "3fff::1",
    "3fff:fff:ffff::1",
    "100::1",
    "100:0:0:1::1",
    "2001:db8::1",
    "2001::1",
    "2001:1::1",
    "2001:1::2",
    "2001:2::1",
    "2001:3::1",
    "2001:4:112::1",
    "2001:10::1",
    "2001:20::1",
    "2001:30::1",
    "::ffff:0:8.8.8.8",
    "::8.8.8.8",
    "200::1",
    "4000::1",
    "ff0e::1",
    "2001:0:a83f:8110:0:0:0:0",
]
PUBLIC = [
    "8.8.8.8",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.1.1",
    "192.0.1.1",
    "198.17.1.1",
    "198.20.1.1",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2620:fe::fe",
    "2a00::1",
    "3ffe::1",
]


def packed(address):
    """Addresses of IPv6 that stand for one of IPv4."""
    number = int(ipaddress.ip_address(address))
    yield f"::ffff:{address}"
    yield str(ipaddress.IPv6Address((0x0064FF9B << 96) + number))
    yield str(ipaddress.IPv6Address((0x2002 << 112) + (number << 80) + 1))


@pytest.mark.parametrize("address", [*SPECIAL, *SPECIAL6])
def test_special_addresses(address):
    assert not is_public(address)


def test_special_addresses_in_others():
    for address in SPECIAL:
        assert not any(map(is_public, packed(address)))
    for address in PUBLIC:
        assert is_public(address)
        if ":" not in address:
            assert all(map(is_public, packed(address)))


@pytest.mark.parametrize("host", ["168.63.129.16", "[::ffff:168.63.129.16]", "[64:ff9b::a83f:8110]"])
def test_metadata_of_a_cloud_is_not_asked(monkeypatch, host):
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(FetchError, match="no public address"):
        fetch.fetch(f"http://{host}/metadata", attempts=1)


@pytest.mark.parametrize("found", [[], [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ())]])
def test_a_name_without_an_address(monkeypatch, found):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    for allow_private in (False, True):
        with pytest.raises(FetchError, match=r"the host a\.test has no address"):
            fetch.fetch("http://a.test/x.png", attempts=1, allow_private=allow_private)


def test_an_address_of_another_family(monkeypatch):
    found = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/x.sock", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    with pytest.raises(FetchError, match="no public address"):
        fetch.fetch("http://a.test/x.png", attempts=1)


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Tokyo"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


DATE = time.gmtime(2_000_000_000)
FORMS = (
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a, %d %b %Y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S -0000",
    "%a %b %d %H:%M:%S %Y",
)


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_in_gmt(zone, monkeypatch, form):
    monkeypatch.setattr(fetch, "time", lambda: 2_000_000_000 - 7.0)
    assert fetch._wait(time.strftime(form, DATE)) == 7
    monkeypatch.setattr(fetch, "time", lambda: 2_000_000_000 + 7.0)
    assert fetch._wait(time.strftime(form, DATE)) == 0


@pytest.mark.parametrize("value, expected", [
    (None, None), ("7", 7), (" 7 ", 7), ("1.5", 1.5), ("0", 0), ("-5", None), ("", None), ("soon", None),
    ("nan", None), ("inf", None), ("1e9", None), ("\u00b2", None), ("\u0667", None), ("7s", None),
    ("9" * 400, float("inf")),
    ("Wed, 99 Foo 2099 99:99:99 GMT", None), ("Fri, 31 Dec 99999 23:59:59 GMT", None), ("Mon, 01 Jan", None),
])  # fmt: skip
def test_odd_times_to_wait(value, expected):
    assert fetch._wait(value) == expected
