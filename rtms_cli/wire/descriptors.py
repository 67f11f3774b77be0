"""Shares out the limited file descriptors: recordings come first, and webhooks get the rest.

A recording without a descriptor loses data, whereas Zoom retries a webhook that is rejected with 503. The limit is
therefore shared out in advance, and neither can take what the other needs.
"""

from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from rtms_cli.protocol.media import MediaRequest, media_names

MOST = 65_536
"""The highest useful limit. macOS allows most processes 10,240 and calls that unlimited."""
_MACOS_MOST = 10_240

SPARE = 20
"""Reserve for short-lived descriptors: files being written, name look-ups, a terminal, a proxy."""
FEWEST_CONNECTIONS = 8


class Shares(Struct, frozen=True):
    """What the limit allows."""

    streams: int
    connections: int
    """Connections of the webhook listener."""


def raise_limit() -> int | None:
    """Raise the soft limit to the hard limit, and return it; `None` on systems without limits."""
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
    """Return the current limit without changing it; `None` without a limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def in_use() -> int:
    """Return how many descriptors the process uses; an estimate if the system does not report it."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir()) - 1  # without the one used for this check
    return 32


def for_a_stream(request: MediaRequest) -> int:
    """Return how many descriptors a stream may need: its sockets, including those being closed, and its lock.

    If a server has no socket for all media, we open one per kind.
    """
    return 4 + len(media_names(request.types))


def share_out(limit: int | None, used: int, a_stream: int, max_streams: int, max_connections: int) -> Shares:
    """Share out the free descriptors: a quarter for the listener, the rest for streams, with a minimum for each."""
    if limit is None:
        return Shares(max_streams, max_connections)
    left = max(0, limit - used - SPARE)
    connections = min(max_connections, max(FEWEST_CONNECTIONS, left // 4))
    streams = min(max_streams, max(1, (left - connections) // a_stream))
    return Shares(streams, connections)
