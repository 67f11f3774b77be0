"""Where we may connect to. A webhook names hosts, and who forges one would have us connect to what we can reach."""

import ipaddress
import re
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from msgspec import Struct

from rtms_cli.protocol.secrets import redact_url

ZOOM = ("zoom.us", "*.zoom.us", "zoomgov.com", "*.zoomgov.com")
"""Zoom's hosts; zoomgov.com is Zoom for Government."""


class HostPolicy(Struct, frozen=True):
    """What a URL from outside may point to. Pure: after a name is resolved, its address is checked as well.

    `allowed` are host names, or patterns such as `*.example.org`, that the user vouches for; their addresses are not
    checked. `given` are the hosts of URLs that the user gave, exactly as they are.
    """

    allowed: tuple[str, ...] = ()
    loopback: bool = True
    given: tuple[str, ...] = ()

    def check_name(self, url: str) -> str | None:
        """Why this URL must not be connected to, in a line for people, or `None`."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("ws", "wss"):
            return f"{redact_url(url)[:200]!r} is not a ws:// or wss:// URL"
        if parts.username is not None or parts.password is not None:
            return f"the URL of {host!r} has credentials in it"
        if self._vouched_for(host) or _matches(host, ZOOM):
            return None
        if self.loopback and is_loopback(host):
            return None
        return f"{host!r} is not one of Zoom's hosts; --allow-host {host} allows it"

    def check_address(self, host: str, address: str) -> str | None:
        """Why the address that a host resolved to must not be connected to, or `None`."""
        if self._vouched_for(host):
            return None
        try:
            found = _without_tunnel(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return f"{host!r} resolved to {address!r}, which is not an address"
        if found is not None and found.is_loopback:
            return None if self.loopback and is_loopback(host) else f"{host!r} points to this machine ({address})"
        if found is None or not found.is_global or found.is_multicast or _is_special(found):
            return f"{host!r} points to the internal address {address}; --allow-host {host} allows it"
        return None

    def _vouched_for(self, host: str) -> bool:
        return host in self.given or _matches(host, self.allowed)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::ffff:0:0:0/96")))
"""Prefixes before an IPv4 address: mapped, NAT64 (which networks without IPv4 need), SIIT."""

_PUBLIC = ipaddress.IPv6Network("2000::/3")
"""All that is given out to the public. What is translated or tunnelled locally (64:ff9b:1::/48) is elsewhere."""

_TUNNELS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/23", "2001:db8::/32", "3fff::/20")))
"""6to4, Teredo and others for special purposes, documentation: no server of Zoom's is there, and some lead inside."""

_ISATAP = 0x5EFE
"""Before the IPv4 address in the last 64 bits of an ISATAP address, but for one bit."""

_SPECIAL = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))
"""Azure's own on every machine there, Oracle's and other protocols', 6to4's relays: public only as it seems."""


def _is_special(found: "_Address") -> bool:
    return isinstance(found, ipaddress.IPv4Address) and any(found in network for network in _SPECIAL)


def _without_tunnel(found: _Address) -> _Address | None:
    """Where packets to an address end up: the IPv4 address in it, or itself; `None` if no public server can be."""
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
"""A name or an address without a zone: in `[::ffff:10.0.0.1%.zoom.us]` and `evil.example\\.zoom.us` a pattern sees a
name of Zoom's, and who resolves it, such as a proxy, may see something else."""


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    host = host.lower().rstrip(".")
    known = [pattern.lower().rstrip(".") for pattern in patterns]
    return host in known or (bool(_PLAIN.fullmatch(host)) and any(fnmatchcase(host, pattern) for pattern in known))


def is_zooms(host: str) -> bool:
    """Whether a host's name is one of Zoom's."""
    return _matches(host, ZOOM)


def in_url(host: str) -> str:
    """A host as URLs name it: an IPv6 address has brackets there."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether a host's name or address says that it is this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
