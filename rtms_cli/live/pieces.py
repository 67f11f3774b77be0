"""What a tap hands on, and to whom: pieces, a beginning, and the targets that take them."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from rtms_cli.protocol.messages import UserId

AUDIO, VIDEO, SHARE, TRANSCRIPT, CHAT, EVENTS, GAP = "audio", "video", "share", "transcript", "chat", "events", "gap"
"""Kinds of pieces."""


class Piece(Struct, frozen=True, gc=False):
    """One thing that is handed on."""

    kind: str
    data: bytes
    """Sound in the tap's form; a picture or an access unit as the recording keeps it; a line of the recording's JSONL
    file, with its line break; of a gap, a JSON object `{"kind", "from_ms", "to_ms", "why"}`."""
    user_id: UserId = None
    """Whose it is; `None` is everybody's."""
    user_name: str | None = None
    timestamp_ms: int = 0
    """When it began, on Zoom's clock."""
    seconds: float = 0.0
    """How long it lasts; 0 of what is not sound."""


class Gap(Struct):
    """What was dropped of one kind and user."""

    from_ms: int
    to_ms: int
    count: int = 0

    @classmethod
    def begin(cls, piece: Piece) -> "Gap":
        """A gap that begins with a piece; nothing is in it yet."""
        return cls(piece.timestamp_ms, piece.timestamp_ms)

    def add(self, piece: Piece) -> None:
        """One more piece was dropped."""
        self.to_ms = max(self.to_ms, piece.timestamp_ms + round(piece.seconds * 1000))
        self.count += 1


class SoundForm(Struct, frozen=True):
    """How the sound of a tap is coded."""

    rate_hz: int
    channels: int
    encoding: str
    """`s16le`, `f32le`, `mulaw` or `wav`."""


class Beginning(Struct, frozen=True):
    """What a target is told before the first piece."""

    product: str
    id: str
    """Of the meeting, session, webinar, engagement or call."""
    stream_id: str
    folder: str | None
    """Where it is recorded; `None` where it is not."""
    media: tuple[str, ...]
    """Kinds that may come."""
    sound: SoundForm | None = None
    """Of audio."""
    user_id: UserId = None
    """Whose alone it is; `None` is everybody's."""
    user_name: str | None = None
    participants: tuple[tuple[UserId, str | None], ...] = ()
    """Who is known by then, with their names."""


class TargetGoneError(Exception):
    """A target takes nothing any more: its process has ended, its connection is lost, it could not be reached.

    :param why: for people.
    :param exit_code: of a process.
    :param final: whether to open it again would be of no use.
    :param absent: whether it is not there yet, and may be at any moment: it is looked for often, at no cost.
    """

    def __init__(self, why: str, *, exit_code: int | None = None, final: bool = False, absent: bool = False) -> None:
        super().__init__(why)
        self.absent = absent
        self.exit_code = exit_code
        self.final = final


class Target(Protocol):
    """Takes pieces, on the event loop: opened, sent to, closed. After `TargetGoneError` it may be opened anew."""

    async def open(self, beginning: Beginning) -> None:
        """Start the process, connect, open the file.

        :raises TargetGoneError: where that cannot be done.
        """

    async def send(self, pieces: Sequence[Piece]) -> int:
        """Hand pieces on, and wait while the consumer takes none. May be cancelled.

        :returns: bytes that were handed on.
        :raises TargetGoneError: where it takes no more.
        """

    async def close(self, *, hurry: bool = False) -> int | None:
        """Say that this was all, wait for the consumer to finish (not for ever), and free everything.

        :param hurry: leave without waiting.
        :returns: the exit code, of a process.
        """
