"""The hosts that we may connect to. Webhooks name hosts, and a forged one could make us connect to internal servers."""

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from msgspec import Struct

from rtms_cli.protocol.secrets import redact_url

ZOOM = ("zoom.us", "*.zoom.us", "zoomgov.com", "*.zoomgov.com")
"""Zoom's hosts; zoomgov.com is Zoom for Government."""


class HostPolicy(Struct, frozen=True):
    """Decides where an external URL may lead. Pure: after resolving a name, check the address, too.

    `allowed` are host names or patterns such as `*.example.org` that the user trusts. Their addresses are not checked.
    `given` are the exact hosts of URLs that the user gave.
    """

    allowed: tuple[str, ...] = ()
    loopback: bool = True
    given: tuple[str, ...] = ()

    def check_name(self, url: str) -> str | None:
        """Return why this URL must not be connected to, in a readable line, or `None`."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("ws", "wss"):
            return f"{redact_url(url)[:200]!r} is not a ws:// or wss:// URL"
        if parts.username is not None or parts.password is not None:
            return f"the URL of {host!r} contains credentials"
        if self._vouched_for(host) or _matches(host, ZOOM):
            return None
        if self.loopback and is_loopback(host):
            return None
        return f"{host!r} is not one of Zoom's hosts; --allow-host {host} allows it"

    def check_address(self, host: str, address: str) -> str | None:
        """Return why a host's resolved address must not be connected to, or `None`."""
        if self._vouched_for(host):
            return None
        try:
            found = _without_tunnel(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{host!r} resolved to {address!r}, which is not an address"
        if found is not None and found.is_loopback:
            return None if self.loopback and is_loopback(host) else f"{host!r} resolves to this machine ({address})"
        if found is None or not found.is_global or found.is_multicast or _is_special(found):
            return f"{host!r} resolves to the internal address {address}; --allow-host {host} allows it"
        return None

    def _vouched_for(self, host: str) -> bool:
        return host in self.given or _matches(host, self.allowed)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::ffff:0:0:0/96")))
"""Prefixes before an IPv4 address: mapped, NAT64 (which networks without IPv4 need), SIIT."""

_PUBLIC = ipaddress.IPv6Network("2000::/3")
"""All public addresses. Locally translated ones (64:ff9b:1::/48) are listed elsewhere."""

_TUNNELS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/23", "2001:db8::/32", "3fff::/20")))
"""6to4, Teredo, documentation and other special ranges: no Zoom servers are there, and some lead to internal hosts."""

_ISATAP = 0x5EFE
"""The prefix of the IPv4 address in the last 64 bits of an ISATAP address, except for one bit."""

_SPECIAL = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))
"""Addresses that only look public: Azure's and Oracle's internal services, other protocols, 6to4 relays."""


def _is_special(found: "_Address") -> bool:
    return isinstance(found, ipaddress.IPv4Address) and any(found in network for network in _SPECIAL)


def _without_tunnel(found: _Address) -> _Address | None:
    """Return the address that packets reach: the embedded IPv4 address or itself; `None` if it cannot be public."""
    if isinstance(found, ipaddress.IPv4Address) or found == ipaddress.IPv6Address("::1"):
        return found
    inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    if any(found in prefix for prefix in _TRANSLATED):
        return inner
    if found not in _PUBLIC or any(found in tunnel for tunnel in _TUNNELS):
        return None
    is_isatap = int(found) >> 32 & 0xFDFFFFFF == _ISATAP
    return inner if is_isatap and not inner.is_global else found


_PLAIN = re.compile(r"[\w.:\-\u0080-\U0010ffff]+")
"""A name, or an address without a zone. In `[::ffff:10.0.0.1%.zoom.us]` and `evil.example\\.zoom.us`, a pattern
would see a Zoom name, but a resolver such as a proxy may see something else."""


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    host = host.lower().rstrip(".")
    known = [pattern.lower().rstrip(".") for pattern in patterns]
    return host in known or (bool(_PLAIN.fullmatch(host)) and any(fnmatchcase(host, pattern) for pattern in known))


def is_zooms(host: str) -> bool:
    """Return whether a host name belongs to Zoom."""
    return _matches(host, ZOOM)


def in_url(host: str) -> str:
    """Return a host as in URLs, with brackets around an IPv6 address."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
