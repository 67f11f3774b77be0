"""What the webhooks in a capture mean while the stream runs: news of it, or of its past (PROTOCOL §2)."""

from rtms_cli.machine import SIGNALING
from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop, is_older
from rtms_cli.protocol.zoom_clock import ZoomClock


class Announcements:
    """Follows a stream's starts and its signaling connections, as a session does."""

    def __init__(self) -> None:
        self.newest: Stream | None = None
        """The start by which the stream runs."""
        self._clock = ZoomClock()
        self._was_up = False
        self._rebuilt_us: int | None = None

    def accept(self, at_us: int) -> None:
        """A signaling connection stands."""
        self._rebuilt_us = at_us if self._was_up else None
        self._was_up = True

    def close(self, channel: str) -> None:
        """A connection is closed."""
        if channel == SIGNALING:
            self._rebuilt_us = None

    def hear(self, timestamp: object, at_us: int) -> None:
        """Zoom's clock came with a message."""
        self._clock.hear(timestamp, at_us)

    def take(self, webhook: StreamStart | StreamStop | StreamInterrupted, at_us: int) -> str | None:
        """Take a webhook, or say in words why it is out of date."""
        start_ts = None if self.newest is None else self.newest.event_ts
        match webhook:
            case StreamStart(stream) if is_older(stream.event_ts, start_ts):
                return "a started webhook that is older than the newest one"
            case StreamStart(stream):
                if self.newest is None or not stream.is_retry_of(self.newest):
                    self._clock.announce(stream.event_ts, at_us)
                    self.newest = stream
            case StreamStop(event_ts=event_ts) if is_older(event_ts, start_ts):
                return "a stopped webhook that is older than the stream's start"
            case StreamInterrupted(event_ts=event_ts) if is_older(event_ts, start_ts):
                return "an interrupted webhook that is older than the stream's start"
            case StreamInterrupted(event_ts=event_ts) if self._rebuilt_us is not None:
                if is_older(event_ts, self._clock.ms(self._rebuilt_us)):
                    return "an interrupted webhook about the connection before this one"
            case _:
                pass
        return None
