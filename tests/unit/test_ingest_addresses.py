"""Which URLs and addresses may be fetched."""

import pytest

from ingest_worker.addresses import AllowedNetwork, check_addresses, parse_url
from sluice.errors import UnreadableDocumentError

LOOPBACK = AllowedNetwork.parse("127.0.0.0/8:8080")


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://example.com", "example.com", 80, "/"),
        ("https://Example.COM./a/b?q=1&r=%20#part", "example.com", 443, "/a/b?q=1&r=%20"),
        ("https://example.com:443/", "example.com", 443, "/"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "/"),
        ("http://93.184.216.34/x", "93.184.216.34", 80, "/x"),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
        ("HTTP://example.com/", "example.com", 80, "/"),
        ("http://1e100.net/", "1e100.net", 80, "/"),
    ],
)
def test_an_ordinary_url_is_taken_apart(url: str, host: str, port: int, path: str) -> None:
    target = parse_url(url)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "//example.com/",
        "example.com",
        "",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://:@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:8080/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com/a b",
        "http://example.com/\r\nHost: x",
        "http://exa\tmple.com/",
        "http://example.com/\0",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://exa mple.com/",
        "http://example..com/",
        "http://" + "a" * 64 + ".com/",
        "http://example.com/" + "a" * 3000,
    ],
)
def test_another_shape_of_url_is_refused(url: str) -> None:
    """case 27: other schemes and ports, credentials, and what two parsers may read differently."""
    with pytest.raises(UnreadableDocumentError, match="may not be fetched"):
        parse_url(url)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "0",
        "300.1.1.1",
        "127.0.0.1.0x",
        "１２７.１",
    ],
)
def test_other_forms_of_an_ipv4_address_are_refused(host: str) -> None:
    """case 26: decimal, hex, octal, short and full-width forms, before any resolver sees them."""
    with pytest.raises(UnreadableDocumentError):
        parse_url(f"http://{host}/")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
        "",
    ],
)
def test_an_address_off_the_open_internet_is_refused_alone_and_among_others(address: str) -> None:
    """case 26: private, loopback, link-local, shared, mapped, NAT64, 6to4, multicast, reserved, metadata."""
    for addresses in ([address], ["93.184.216.34", address]):
        with pytest.raises(UnreadableDocumentError, match="private, local or reserved"):
            check_addresses(addresses, 80)


def test_a_host_without_addresses_is_refused() -> None:
    with pytest.raises(UnreadableDocumentError):
        check_addresses([], 80)


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111"])
def test_an_address_on_the_open_internet_is_taken(address: str) -> None:
    check_addresses([address], 443)


def test_an_opened_network_is_open_at_its_port_alone() -> None:
    check_addresses(["127.0.0.1"], 8080, [LOOPBACK])
    assert parse_url("http://127.0.0.1:8080/x", [LOOPBACK]).port == 8080
    for addresses, port in ((["127.0.0.1"], 80), (["10.0.0.1"], 8080), (["93.184.216.34"], 8080)):
        with pytest.raises(UnreadableDocumentError):
            check_addresses(addresses, port, [LOOPBACK])
    with pytest.raises(UnreadableDocumentError):
        parse_url("http://127.0.0.1:8081/", [LOOPBACK])


@pytest.mark.parametrize("text", ["127.0.0.0/8", "127.0.0.0/8:", "127.0.0.0/8:x", "nonsense:80", "127.0.0.1/8:80"])
def test_an_opened_network_needs_a_network_and_a_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"not NETWORK:PORT|not appear|host bits"):
        AllowedNetwork.parse(text)
