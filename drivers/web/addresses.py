"""Which addresses are the public internet. Everything else is somebody's own network, and needs to be granted.

Addresses that carry another inside (IPv4 in IPv6 in its four forms) are what they carry. Of IPv6 only 2000::/3 is given
out for the internet; the rest is refused unknown.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_GIVEN_OUT = IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)
_SPECIAL = {
    IPv4Network("0.0.0.0/8"): "this host",
    IPv4Network("10.0.0.0/8"): "a private network",
    IPv4Network("100.64.0.0/10"): "a carrier's own network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("168.63.129.16/32"): "a cloud's metadata",
    IPv4Network("169.254.0.0/16"): "link-local, where clouds keep their metadata",
    IPv4Network("172.16.0.0/12"): "a private network",
    IPv4Network("192.0.0.0/24"): "reserved",
    IPv4Network("192.88.99.0/24"): "reserved",
    IPv4Network("192.168.0.0/16"): "a private network",
    IPv4Network("198.18.0.0/15"): "a test network",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved",
}


def why_private(address: str) -> str:
    """What keeps the address from being public, in a few words; "" for a public one."""
    found = ip_address(address.partition("%")[0])
    return _why_four(found) if isinstance(found, IPv4Address) else _why_six(found)


def _why_four(address: IPv4Address) -> str:
    for network, what in _SPECIAL.items():
        if address in network:
            return what
    return "" if address.is_global else "reserved"


def _why_six(address: IPv6Address) -> str:
    if address == IPv6Address("::1"):
        return "loopback"
    inner = _carried(address)
    if inner is not None:
        what = _why_four(inner)
        return f"{inner} in IPv6: {what}" if what else ""
    if address.is_multicast:
        return "multicast"
    if address.is_link_local:
        return "link-local"
    if address not in _GIVEN_OUT or address in _TEREDO or not address.is_global:
        return "no address of the public internet"
    return ""


def _carried(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one."""
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(number & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address((number >> 80) & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None
