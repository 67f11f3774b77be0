"""File descriptors, which a process has few of: recordings come first, and webhooks get what is left.

A recording without a descriptor loses what cannot be written or connected; a webhook that is turned away with 503 is
sent again. So the limit is shared out in advance, and neither can take what the other needs.
"""

from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from rtms_cli.protocol.media import MediaRequest, media_names

MOST = 65_536
"""More are of no use; macOS gives 10,240 to most processes and calls that unlimited."""
_MACOS_MOST = 10_240

SPARE = 20
"""For what comes and goes: files that are written, names that are looked up, a terminal, a proxy."""
FEWEST_CONNECTIONS = 8


class Shares(Struct, frozen=True):
    """What the limit allows."""

    streams: int
    connections: int
    """Of the webhook listener."""


def raise_limit() -> int | None:
    """Raise the soft limit as far as the hard one allows; `None` if there are no such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY:
        return MOST
    for wanted in (most, min(most, _MACOS_MOST)):
        if wanted > soft:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                return wanted
    return soft


def soft_limit() -> int | None:
    """The limit as it is, for who may not change it; `None` if there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def in_use() -> int:
    """How many descriptors the process has now; a guess where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir()) - 1  # less the one that looks
    return 32


def for_a_stream(request: MediaRequest) -> int:
    """What one stream may need: its sockets, those that are being closed while others are made, and its lock.

    A server that has no socket for all media makes us ask for one of each kind.
    """
    return 4 + len(media_names(request.types))


def share_out(limit: int | None, used: int, a_stream: int, max_streams: int, max_connections: int) -> Shares:
    """Share out what a limit leaves: a quarter of it for the listener, the rest for streams; each has its minimum."""
    if limit is None:
        return Shares(max_streams, max_connections)
    left = max(0, limit - used - SPARE)
    connections = min(max_connections, max(FEWEST_CONNECTIONS, left // 4))
    streams = min(max_streams, max(1, (left - connections) // a_stream))
    return Shares(streams, connections)
