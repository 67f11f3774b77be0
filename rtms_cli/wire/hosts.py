"""Where we may connect to. A webhook names hosts, and who forges one would have us connect to what we can reach."""

import ipaddress
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from msgspec import Struct

ZOOM = ("zoom.us", "*.zoom.us", "zoomgov.com", "*.zoomgov.com")
"""Zoom's hosts; zoomgov.com is Zoom for Government."""


class HostPolicy(Struct, frozen=True):
    """What a URL from outside may lead to. Pure: who resolves names asks again for the address.

    `allowed` are host names, or patterns such as `*.example.org`, that the user vouches for; their addresses are not
    checked. `anything` is for URLs that the user gave.
    """

    allowed: tuple[str, ...] = ()
    loopback: bool = True
    anything: bool = False

    def check_name(self, url: str) -> str | None:
        """Why this URL must not be connected to, in a line for people, or `None`."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("ws", "wss"):
            return f"{url[:200]!r} is no ws:// or wss:// URL"
        if parts.username is not None or parts.password is not None:
            return f"the URL of {host!r} has credentials in it"
        if self.anything or self._vouched_for(host) or _matches(host, ZOOM):
            return None
        if self.loopback and is_loopback(host):
            return None
        return f"{host!r} is no host of Zoom's; --allow-host {host} allows it"

    def check_address(self, host: str, address: str) -> str | None:
        """Why the address that a host resolved to must not be connected to, or `None`."""
        if self.anything or self._vouched_for(host):
            return None
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return f"{host!r} resolved to {address!r}, which is no address"
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        if found.is_loopback:
            return None if self.loopback and is_loopback(host) else f"{host!r} leads to this machine ({address})"
        if not found.is_global or found.is_multicast:
            return f"{host!r} leads to the internal address {address}; --allow-host {host} allows it"
        return None

    def _vouched_for(self, host: str) -> bool:
        return _matches(host, self.allowed)


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    host = host.lower().rstrip(".")
    return any(fnmatchcase(host, pattern.lower().rstrip(".")) for pattern in patterns)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address says that it is this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
