"""What all files of a recording that grow have in common: a name, counters, and a life of open, close and reopen."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from rtms_cli.protocol.messages import UserId
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import TrackEntry
from rtms_cli.recording.timeline import is_sane

if TYPE_CHECKING:
    from rtms_cli.recording.hearing import Listener


class ClosedTrackError(RuntimeError):
    """Something was added to a track that is closed, or a track was reopened that cannot be: a defect of ours."""


class Track(ABC):
    """One file. It is open from the start; what is added waits in memory until `flush`.

    `close` completes what the format needs at its end, and `reopen` lets a file go on that can be appended to. `add`
    raises `ClosedTrackError` on a closed track; each track checks that itself, because a call per packet costs too
    much.

    :param path: the file's name in the recording's folder.
    """

    kind: str
    can_reopen: ClassVar[bool] = True
    """Whether the file can be appended to once it was closed."""
    listener: "Listener | None" = None
    """The listener that gets what the file gets."""
    level = 0.0
    """About the peak of the last audio that was written, 0 to 1."""
    written_us: int | None = None
    """When anything was last written, by the capture's clock."""

    def __init__(self, path: str, user_id: UserId = None, user_name: str | None = None) -> None:
        self.path = path
        self.user_id = user_id
        self.user_name = user_name
        self.channel_id: UserId = None
        """The channel, where that tells whose it is."""
        self.packets = 0
        self.nbytes = 0
        self.first_timestamp: int | None = None
        self.last_timestamp: int | None = None
        self.dirty = False
        """Whether `flush` has something to do."""
        self.is_open = True

    @property
    def seconds(self) -> float:
        """The track's length: by default, from its first timestamp to its last."""
        if self.first_timestamp is None or self.last_timestamp is None:
            return 0.0
        return (self.last_timestamp - self.first_timestamp) / 1000

    @property
    def has_content(self) -> bool:
        """Whether there is anything to write; a track with nothing gets no file."""
        return self.packets > 0

    @property
    def gaps(self) -> tuple[int, float]:
        """How many stretches were not sent, and their seconds in all."""
        return 0, 0.0

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Bytes that wait for the next flush."""

    @abstractmethod
    def add(self, timestamp: int | None, content: Any) -> tuple[str, int] | None:
        """Take one packet, picture or line.

        :returns: why a part of it could not be kept, and how many bytes; `None` if all was kept.
        :raises ClosedTrackError: if the track is closed.
        """

    @abstractmethod
    def flush(self, files: Files) -> None:
        """Write what has come since the last flush.

        :raises OSError: what was to be written is lost; the next flush goes on behind it.
        """

    @abstractmethod
    def entry(self, origin_ms: int | None, most_gaps: int) -> TrackEntry:
        """The track's part of the manifest."""

    def catch_up(self) -> None:  # noqa: B027 - most files do not depend on the zero
        """Take note of a zero that has moved."""

    def close(self) -> None:
        """Complete the file; what that adds is for `flush`. A second call does nothing."""
        if self.is_open:
            self.is_open = False
            self._complete()

    def reopen(self) -> None:
        """Go on with the same file.

        :raises ClosedTrackError: if it cannot be appended to.
        """
        if not self.can_reopen:
            raise ClosedTrackError(f"{self.path} was closed and cannot be appended to")
        self.is_open = True

    def _complete(self) -> None:  # noqa: B027 - most formats need nothing
        """Add what the format needs at its end."""

    def _note(self, timestamp: int | None) -> None:
        """Take note of when something was, where that can be a time."""
        if timestamp is not None and is_sane(timestamp):
            self.first_timestamp = min(timestamp, self.first_timestamp or timestamp)
            self.last_timestamp = max(timestamp, self.last_timestamp or timestamp)
