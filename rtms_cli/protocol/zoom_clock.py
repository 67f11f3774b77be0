"""What Zoom's clock says, as far as it is known: it shows whether a webhook is older or newer than what happened
here."""

from rtms_cli.protocol.webhooks import event_ms

MOST_LATE_MS = 60_000
"""How late a start can be: then its URLs are of no use."""


class ZoomClock:
    """Counts from the start webhook's `event_ts`, by our clock's *length*, never by what our clock says.

    Someone has to be compared with us, because no message tells when Zoom took a connection for made. What is compared
    are two spans since the same event, the start: ours and Zoom's. A start that was under way for a while makes this
    clock slow by as much, so that a webhook is rather taken for news than for history: what is ignored is surely old.
    Keep-alives carry Zoom's clock, and take that delay away; one that is further off than a start can be late (its URLs
    are of no use after a minute) is another clock, and is not believed.
    """

    def __init__(self) -> None:
        self._ahead_ms: int | None = None
        """What has to be added to our clock."""
        self._most_ms = 0

    def announce(self, event_ts: int | None, at_us: int) -> None:
        """A start came: the first, or a failover, which may have been under way for longer."""
        if event_ts is None:
            return
        ahead_ms = event_ts - at_us // 1000
        if self._ahead_ms is None or ahead_ms > self._ahead_ms:
            self._ahead_ms, self._most_ms = ahead_ms, ahead_ms + MOST_LATE_MS

    def hear(self, timestamp: object, at_us: int) -> None:
        """Zoom's clock came with a message."""
        said_ms = event_ms(timestamp)
        if said_ms is not None and self._ahead_ms is not None:
            ahead_ms = said_ms - at_us // 1000
            if ahead_ms <= self._most_ms:
                self._ahead_ms = max(self._ahead_ms, ahead_ms)

    def ms(self, at_us: int) -> int | None:
        """What it says at a moment of ours; `None` if the start had no time."""
        return None if self._ahead_ms is None else self._ahead_ms + at_us // 1000
