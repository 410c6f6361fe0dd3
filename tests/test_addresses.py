"""Which addresses and ports may be called for somebody else, range by range."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from app import addresses
from app.addresses import ForbiddenAddress

# The first and the last of each range; what is public beside it stands further below.
NOT_PUBLIC = {
    "this network": "0.0.0.0 0.255.255.255 ::ffff:0.0.0.0",
    "private": "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255",
    "shared by a carrier": "100.64.0.0 100.127.255.255",
    "loopback": "127.0.0.0 127.255.255.255 ::1 ::1%lo",
    "link-local": "169.254.0.0 169.254.255.255 fe80:: febf:ffff::1 fe80::1%eth0",
    "cloud metadata": "169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.192 168.63.129.16 "
    "fd00:ec2::254 fd20:ce::254 fe80::a9fe:a9fe ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe",
    "protocol assignments": "192.0.0.0 192.0.0.255 2001:1:: 2001:1ff:ffff::1",
    "documentation": "192.0.2.0 192.0.2.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 "
    "2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1",
    "6to4 relay": "192.88.99.0 192.88.99.255",
    "benchmarking": "198.18.0.0 198.19.255.255 2001:2:: 2001:2:0:ffff::1",
    "multicast": "224.0.0.0 239.255.255.255 ff00:: ff0e::1 ffff:ffff::1",
    "reserved": "240.0.0.0 255.255.255.254 200:: 1fff:ffff::1 4000:: 8000:: fbff:ffff::1",
    "broadcast": "255.255.255.255",
    "unspecified": "::",
    "IPv4-compatible": "::8.8.8.8 ::ffff",
    "IPv4-translated": "::ffff:0:8.8.8.8",
    "local NAT64": "64:ff9b:1::8.8.8.8 64:ff9b:1:ffff::1",
    "discard": "100:: 100::ffff:ffff:ffff:ffff",
    "dummy": "100:0:0:1::",
    "Teredo": "2001:: 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:ffff::1",
    "ORCHID": "2001:10:: 2001:1f:ffff::1 2001:20:: 2001:2f:ffff::1",
    "6to4": "2002:: 2002:808:808::1 2002:ffff:ffff::1",
    "segment routing": "5f00:: 5f00:ffff::1",
    "unique local": "fc00:: fdff:ffff::1",
    "site-local": "fec0:: feff:ffff::1",
}
PUBLIC = (
    "1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 "
    "169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.88.98.255 192.88.100.0 "
    "192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 "
    "203.0.114.0 223.255.255.255 2000:: 2001:200:: 2001:db7:ffff::1 2001:db9:: 2003:: 2606:4700::1 "
    "3ffe:ffff::1 3fff:1000:: ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2606:4700::5efe:8.8.8.8"
)


def refusal(host: str, *allowed: str) -> str | None:
    try:
        addresses.check(host, [ip_network(network) for network in allowed])
    except ForbiddenAddress as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_by_its_kind(kind: str) -> None:
    for host in NOT_PUBLIC[kind].split():
        assert f"not public ({kind});" in (refusal(host) or ""), host


def test_what_lies_beside_the_ranges_is_public() -> None:
    assert {host: refusal(host) for host in PUBLIC.split()} == dict.fromkeys(PUBLIC.split())


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2606:4700::5efe:10.0.0.1", "private"),
        ("2606:4700::200:5efe:127.0.0.1", "loopback"),
    ],
)
def test_an_address_within_another_is_judged(host: str, kind: str) -> None:
    assert f"({kind})" in (refusal(host) or "")


@pytest.mark.parametrize(
    ("host", "networks", "passes"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.2.0.0/16", False),
        ("::1", "::1/128", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("::ffff:10.1.2.3", "::/0", False),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8", True),
        ("64:ff9b::10.1.2.3", "64:ff9b::/96", False),
        ("64:ff9b:1::8.8.8.8", "64:ff9b:1::/48", True),
        ("64:ff9b:1::10.1.2.3", "64:ff9b:1::/48", False),
        ("64:ff9b:1:808:8:800::", "64:ff9b:1::/48", True),
        ("64:ff9b:1:a01:2:300::", "64:ff9b:1::/48", False),
        ("64:ff9b:1:a01:2:300:808:808", "64:ff9b:1::/48", False),
        ("64:ff9b:1:808:8:800:a01:203", "64:ff9b:1::/48", False),
        ("2002:808:808::1", "2002::/16", True),
        ("2002:7f00:1::1", "2002::/16", False),
        ("2002:7f00:1::1", "2002::/16 127.0.0.0/8", True),
        ("2001:0:4136:e378:0:0:80ff:fffe", "2001::/32", False),
        ("::127.0.0.1", "::/96", False),
    ],
)
def test_a_network_opens_what_is_in_it_and_not_what_it_leads_to(
    host: str, networks: str, passes: bool
) -> None:
    assert (refusal(host, *networks.split()) is None) is passes


def test_metadata_is_opened_by_its_own_address_only() -> None:
    for host, network in (("169.254.169.254", "169.254.0.0/16"), ("100.100.100.200", "100.64.0.0/10")):
        assert "cloud metadata" in (refusal(host, network, "0.0.0.0/0") or "")
        assert refusal(host, f"{host}/32") is None


@pytest.mark.parametrize("port", [0, 22, 25, 110, 587, 6000, 6379, 6667, 10080, 11211])
def test_a_port_of_another_protocol_is_refused(port: int) -> None:
    with pytest.raises(ForbiddenAddress, match=f"port {port} belongs"):
        addresses.check_port(port)


@pytest.mark.parametrize("port", [None, 80, 443, 3000, 5000, 8000, 8080, 8443, 9000, 9200, 49152])
def test_a_port_of_http_is_not(port: int | None) -> None:
    addresses.check_port(port)
