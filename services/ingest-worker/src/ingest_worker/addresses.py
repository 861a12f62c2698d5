"""Which URLs and addresses may be fetched, by explicit lists: `is_private` and `is_global` miss most of them."""

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, urlsplit

from sluice.errors import UnreadableDocumentError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PORTS = {"http": 80, "https": 443}
_MAX_URL = 2048
_LOOKS_LIKE_IPV4 = re.compile(r"(\d+|0x[0-9a-f]*)", re.I)
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.I)
_FORBIDDEN_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's metadata and DNS
        "169.254.0.0/16",  # link-local; metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_ALLOWED_V6 = ipaddress.IPv6Network("2000::/3")  # global unicast: excludes mapped, NAT64, local and multicast addresses
_FORBIDDEN_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


@dataclass(frozen=True)
class AllowedNetwork:
    """A network, at one port, that the operator opens in spite of the lists: for tests, or an intranet's server."""

    network: Network
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `127.0.0.0/8:8080` or `[::1/128]:8080`. Raises ValueError."""
        network, _, port = text.strip().rpartition(":")
        if not network or not port.isdecimal():
            raise ValueError(f"{text!r} is not NETWORK:PORT, such as 127.0.0.0/8:8080")
        return cls(ipaddress.ip_network(network.strip("[]")), int(port))

    def holds(self, address: Address, port: int) -> bool:
        return port == self.port and address in self.network


@dataclass(frozen=True)
class Target:
    """Where a URL leads: the host in its ASCII form, to be resolved."""

    scheme: str
    host: str
    port: int
    path: str


def parse_url(url: str, allowed: Collection[AllowedNetwork] = ()) -> Target:
    """The target of a URL that may be fetched if its addresses may.

    Raises:
        UnreadableDocumentError: another scheme or port, credentials, an odd form of an IPv4 address.
    """
    if len(url) > _MAX_URL or not url.isprintable() or "\\" in url or " " in url:
        raise _refused(
            f"it is longer than {_MAX_URL} characters or has blanks, control characters or backslashes in it"
        )
    try:
        parts = urlsplit(url)
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError as error:
        raise _refused("it is not well formed") from error
    if parts.scheme not in _PORTS:
        raise _refused("only http and https are")
    if parts.username is not None or parts.password is not None:
        raise _refused("it has a user name or a password in it")
    if port not in _PORTS.values() and port not in {entry.port for entry in allowed}:
        raise _refused("only the ports 80 and 443 are")
    return Target(parts.scheme, _host(parts), port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def check_addresses(addresses: Sequence[str], port: int, allowed: Collection[AllowedNetwork] = ()) -> None:
    """Every address that a host has must be one on the open internet, at port 80 or 443, or be allowed with its port.

    Raises:
        UnreadableDocumentError: one is not, or there is none.
    """
    if not addresses or not all(_may_connect(address, port, allowed) for address in addresses):
        raise _refused("it leads into a private, local or reserved network")


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    if ":" in host:
        address = _parse_address(host)
        if address is None:
            raise _refused("its address is not well formed")
        return str(address)
    try:
        host = host.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise _refused("its host name is not well formed") from error
    if not _HOST.fullmatch(host):
        raise _refused("its host name is not well formed")
    if _LOOKS_LIKE_IPV4.fullmatch(host.rpartition(".")[2]):
        _check_dotted_quad(host)
    return host


def _check_dotted_quad(host: str) -> None:
    """Resolvers take 2130706433, 0x7f.1 and 0177.1 for 127.0.0.1; nobody writes them so without a reason."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError as error:
        raise _refused("an IPv4 address has four decimal numbers") from error


def _may_connect(text: str, port: int, allowed: Collection[AllowedNetwork]) -> bool:
    address = _parse_address(text)
    if address is None:
        return False
    if any(entry.holds(address, port) for entry in allowed):
        return True
    if port not in _PORTS.values():
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    return address in _ALLOWED_V6 and not any(address in network for network in _FORBIDDEN_V6)


def _parse_address(text: str) -> Address | None:
    """None for what is none, and for an IPv6 address with a zone: that names a network of this machine."""
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None


def _refused(reason: str) -> UnreadableDocumentError:
    return UnreadableDocumentError(f"this address may not be fetched: {reason}")
