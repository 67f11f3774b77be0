"""What a tap forwards and where to: pieces, a beginning, and targets."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from rtms_cli.protocol.messages import UserId

AUDIO, VIDEO, SHARE, TRANSCRIPT, CHAT, EVENTS, GAP = "audio", "video", "share", "transcript", "chat", "events", "gap"
"""Kinds of pieces."""


class Piece(Struct, frozen=True, gc=False):
    """One unit of forwarded data."""

    kind: str
    data: bytes
    """Audio in the tap's format; a picture or access unit as in the recording; a line of a JSONL file with its line
    break; for a gap, a JSON object `{"kind", "from_ms", "to_ms", "why"}`."""
    user_id: UserId = None
    """The user that it belongs to; `None` for mixed data."""
    user_name: str | None = None
    timestamp_ms: int = 0
    """When it began, on Zoom's clock."""
    seconds: float = 0.0
    """Duration of audio; 0 for everything else."""


class Gap(Struct):
    """Data of one kind and user that was dropped."""

    from_ms: int
    to_ms: int
    count: int = 0

    @classmethod
    def begin(cls, piece: Piece) -> "Gap":
        """Return an empty gap that begins at a piece."""
        return cls(piece.timestamp_ms, piece.timestamp_ms)

    def add(self, piece: Piece) -> None:
        """Add a dropped piece."""
        self.to_ms = max(self.to_ms, piece.timestamp_ms + round(piece.seconds * 1000))
        self.count += 1


class SoundForm(Struct, frozen=True):
    """The audio format of a tap."""

    rate_hz: int
    channels: int
    encoding: str
    """`s16le`, `f32le`, `mulaw` or `wav`."""


class Beginning(Struct, frozen=True):
    """What a target learns before the first piece."""

    product: str
    id: str
    """Id of the meeting, session, webinar, engagement or call."""
    stream_id: str
    folder: str | None
    """The recording's folder, or `None` if it is not recorded."""
    media: tuple[str, ...]
    """Kinds that may come."""
    sound: SoundForm | None = None
    """Of audio."""
    user_id: UserId = None
    """The only user of the target; `None` for all users."""
    user_name: str | None = None
    participants: tuple[tuple[UserId, str | None], ...] = ()
    """Users known so far, with their names."""


class TargetGoneError(Exception):
    """A target accepts no more data: its process has ended, its connection is lost, or it could not be reached.

    :param why: a readable reason.
    :param exit_code: exit code of a process.
    :param final: whether reopening it is pointless.
    :param absent: whether it does not exist yet, but may appear at any moment. Checking often is cheap.
    """

    def __init__(self, why: str, *, exit_code: int | None = None, final: bool = False, absent: bool = False) -> None:
        super().__init__(why)
        self.absent = absent
        self.exit_code = exit_code
        self.final = final


class Target(Protocol):
    """A consumer of pieces, on the event loop. After `TargetGoneError` it may be opened again."""

    async def open(self, beginning: Beginning) -> None:
        """Start the process, connect, open the file.

        :raises TargetGoneError: if that fails.
        """

    async def send(self, pieces: Sequence[Piece]) -> int:
        """Send pieces, and wait while the consumer accepts none. May be cancelled.

        :returns: number of bytes sent.
        :raises TargetGoneError: if it accepts no more.
        """

    async def close(self, *, hurry: bool = False) -> int | None:
        """Signal the end, wait a limited time for the consumer to finish, and free all resources.

        :param hurry: leave without waiting.
        :returns: the exit code of a process.
        """
