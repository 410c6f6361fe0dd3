"""Which addresses and ports may be called for somebody else: those of the public Internet. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

METADATA = "cloud metadata"
"""What a machine in a cloud learns its own credentials from; only allowed by its very address."""

# The special-purpose registries of IANA, without what lies within another row, and what they leave to
# operators. `ipaddress.is_global` knows less, and differs between patch versions of Python.
# https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry
_KINDS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("169.254.169.254/32", METADATA),  # AWS, Azure, Google, DigitalOcean, Hetzner, OpenStack
        ("169.254.170.2/32", METADATA),  # AWS ECS
        ("169.254.170.23/32", METADATA),  # AWS EKS
        ("169.254.0.23/32", METADATA),  # Tencent
        ("168.63.129.16/32", METADATA),  # Azure; a public address by its form
        ("192.0.0.192/32", METADATA),  # Oracle
        ("100.100.100.200/32", METADATA),  # Alibaba
        ("fd00:ec2::254/128", METADATA),  # AWS
        ("fd00:ec2::23/128", METADATA),  # AWS EKS
        ("fd20:ce::254/128", METADATA),  # Google
        ("fe80::a9fe:a9fe/128", METADATA),  # OpenStack
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::/96", "IPv4-compatible"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("100:0:0:1::/64", "dummy"),
        ("2001::/32", "Teredo"),
        ("2001:2::/48", "benchmarking"),
        ("2001:10::/28", "ORCHID"),
        ("2001:20::/28", "ORCHID"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "unique local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("::/3", "reserved"),  # all that is assigned lies in 2000::/3
        ("4000::/2", "reserved"),
        ("8000::/1", "reserved"),
    )
)

_TRANSLATED = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv4-mapped and NAT64: ways of writing an IPv4 address, and all that is asked of them is that."""

_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_ENDING_IN_IPV4 = (
    *_TRANSLATED,
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("::/96"),
)
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # before the IPv4 address that ends such an address

# https://fetch.spec.whatwg.org/#port-blocking, and what takes lines of a POST for commands: Redis, memcached.
_BAD_PORTS = frozenset(
    {
        *(0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95),
        *(101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179),
        *(389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601),
        *(636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566),
        *(6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080),
        *(6379, 11211),
    }
)


class ForbiddenAddress(OSError):
    """An address or a port that is not called for somebody else."""


def check(host: str, allowed: Sequence[Network]) -> None:
    """Raises ForbiddenAddress for an address that is neither public nor in an allowed network. It says what
    kind of address it is, not which: whoever may name a host need not learn where it leads inside."""
    for address in _judged(_parsed(host)):
        kind = _kind(address)
        if kind is not None and not any(_opens(network, address, kind) for network in allowed):
            raise ForbiddenAddress(
                f"its address is not public ({kind}); GATEWAY_CALLBACK_ALLOWED_NETWORKS can allow its network"
            )


def check_port(port: int | None) -> None:
    """Raises ForbiddenAddress for a port of another protocol than HTTP. None is the usual one."""
    if port in _BAD_PORTS:
        raise ForbiddenAddress(f"port {port} belongs to another protocol than HTTP")


def _parsed(host: str) -> Address:
    """The address without its zone: `fe80::1%eth0` is as local as `fe80::1`."""
    return ip_address(host.partition("%")[0])


def _judged(address: Address) -> Iterator[Address]:
    """The addresses that must all be allowed: of one that leads through a translator or a tunnel, the IPv4
    address in it too."""
    if isinstance(address, IPv4Address) or not _is_in(address, _TRANSLATED):
        yield address
    if isinstance(address, IPv6Address):
        yield from _inside(address)


def _inside(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    if address in _LOCAL_NAT64:
        yield from _behind_local_nat64(number)
    if number < 2:  # `::` and `::1` have none
        return
    if _is_in(address, _ENDING_IN_IPV4) or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()


def _behind_local_nat64(number: int) -> Iterator[IPv4Address]:
    """Where the translator looks for an IPv4 address depends on its prefix (RFC 6052, section 2.2): at the
    end, or in 16 bits before and 16 behind eight that are zero. The place that is empty says nothing."""
    places = {number & 0xFFFFFFFF, (number >> 48) & 0xFFFF0000 | (number >> 40) & 0xFFFF}
    yield from map(IPv4Address, places - {0} or {0})


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _kind(address: Address) -> str | None:
    """What an address is instead of public."""
    return next((kind for network, kind in _KINDS if address in network), None)


def _opens(network: Network, address: Address, kind: str) -> bool:
    if kind == METADATA and network.num_addresses > 1:
        return False
    return address in network
