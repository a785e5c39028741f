"""Addresses of hosts, as programs read them."""

from __future__ import annotations

import re

# 127.0.0.0/8, also as IPv6 (ipaddress writes ::ffff:7f00:1 before Python 3.13, ::ffff:127.0.0.1 since); the names are
# those of RFC 6761 and of the /etc/hosts of Debian (ip6-) and Fedora (localhost4, localhost6).
_LOOPBACK = re.compile(
    r"127\..*|::1|::ffff:(127\..*|7f[0-9a-f]{2}:.*)|(.*\.)?localhost|localhost[46]?\.localdomain[46]?|localhost[46]"
    r"|ip6-(localhost|loopback)",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?=.)|\Z)){4}")


def is_loopback(address: str) -> bool:
    """Whether an address or name means, on every host, the host itself."""
    return _LOOPBACK.fullmatch(address.removesuffix(".")) is not None


def socket_address(address: str, port: int) -> str:
    """`address:port`, with the brackets that an IPv6 address wants."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_ipv4(address: str) -> bool:
    """Whether the text is four numbers with dots, which every parser of IPv4 addresses reads alike."""
    return _IPV4.fullmatch(address) is not None
