"""Messages between `listen` and the workers of its machine, and their encoding.

A worker *asks* for calls of `Dispatch` and receives *answers*. It *reports* the events of its station and the state of
its streams. It receives *orders* from the user at the terminal.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from rtms_cli.fleet.dispatch import Claim, Finished, FleetReport, Happening, Held, Offered, Renewed, WorkerStatus
from rtms_cli.machine import Direction, Finish, Frame, frame_of
from rtms_cli.protocol.strict_json import whole_text
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import RecorderSnapshot
from rtms_cli.station.observing import StreamSnapshot


class Offer(Struct, frozen=True, tag=True):
    """See `Dispatch.offer`."""

    body: bytes
    via: str


class Take(Struct, frozen=True, tag=True):
    """See `Dispatch.take`."""

    status: WorkerStatus
    most: int


class Renew(Struct, frozen=True, tag=True):
    """See `Dispatch.renew`."""

    status: WorkerStatus
    held: dict[str, Held]


class Restore(Struct, frozen=True, tag=True):
    """See `Dispatch.restore`."""

    status: WorkerStatus
    claim: Claim
    held: Held


class End(Struct, frozen=True, tag=True):
    """See `Dispatch.finish`."""

    worker: str
    stream_id: str
    held: Held
    status: str


class Release(Struct, frozen=True, tag=True):
    """See `Dispatch.release`."""

    worker: str
    stream_id: str
    held: Held
    after_s: float
    why: str


class Leave(Struct, frozen=True, tag=True):
    """See `Dispatch.leave`."""

    worker: str


class Await(Struct, frozen=True, tag=True):
    """See `Dispatch.changed`."""

    worker: str
    timeout_s: float


class Report(Struct, frozen=True, tag=True):
    """See `Dispatch.report`."""


class Recall(Struct, frozen=True, tag=True):
    """See `Dispatch.history`."""

    stream_id: str


class Drain(Struct, frozen=True, tag=True):
    """See `Dispatch.drain`."""

    worker: str


Call = Offer | Take | Renew | Restore | End | Release | Leave | Await | Report | Recall | Drain


class Ask(Struct, frozen=True, tag=True):
    """A call of `Dispatch`."""

    number: int
    """Number of the worker's call."""
    call: Call


class Ready(Struct, frozen=True, tag=True):
    """A worker is ready to record."""

    worker: str
    pid: int


class Started(Struct, frozen=True, tag=True):
    """See `Observer.on_started`."""

    stream: Stream
    folder: Path | None


class Seen(Struct, frozen=True, tag=True):
    """See `Observer.on_frame`. The frame is parsed again from its bytes."""

    stream_id: str
    at_us: int
    channel: str
    direction: str
    raw: bytes
    via: str

    @classmethod
    def of(cls, stream_id: str, frame: Frame) -> "Seen":
        """Return the message for a frame."""
        return cls(stream_id, frame.at_us, frame.channel, frame.direction.value, frame.raw, str(frame.via))

    def frame(self) -> Frame:
        """The frame."""
        return frame_of(self.at_us, self.channel, Direction(self.direction), self.raw, self.via)


class Progressed(Struct, frozen=True, tag=True):
    """See `Observer.on_progress`."""

    snapshots: dict[str, RecorderSnapshot]


class Ended(Struct, frozen=True, tag=True):
    """See `Observer.on_finished`."""

    stream: Stream
    folder: Path | None
    finish: Finish
    manifest: Manifest | None


class Noticed(Struct, frozen=True, tag=True):
    """See `Observer.on_notice`."""

    text: str


class Happened(Struct, frozen=True, tag=True):
    """See `Observer.on_event`."""

    name: str
    fields: dict[str, Any]
    text: str


class Sample(Struct, frozen=True):
    """A sample of a metric; see `Family`."""

    name: str
    labels: dict[str, str]
    value: float


class Family(Struct, frozen=True):
    """A metric in Prometheus's form."""

    name: str
    what: str
    kind: str
    """`counter` or `gauge`."""
    samples: tuple[Sample, ...]


class Sums(Struct, frozen=True):
    """Totals of finished recordings; see `metrics.Totals`."""

    messages: dict[str, int] = {}
    nbytes: dict[str, int] = {}
    keep_alives_received: int = 0
    keep_alives_answered: int = 0
    written_nbytes: int = 0
    losses: int = 0


class Look(Struct, frozen=True, tag=True):
    """A periodic report of a worker's streams."""

    views: tuple[StreamSnapshot, ...] = ()
    past: Sums = Sums()
    ended: dict[str, int] = {}
    """Number of ended recordings, by status."""
    more: tuple[Family, ...] = ()
    """Metrics from outside its station."""


Said = Ready | Started | Seen | Progressed | Ended | Noticed | Happened | Look
Up = Ask | Ready | Started | Seen | Progressed | Ended | Noticed | Happened | Look
"""From a worker."""


class Task(Struct, frozen=True, tag=True):
    """The first message: a worker's task, in a form that its parent defines."""

    raw: bytes


class Answer(Struct, frozen=True, tag=True):
    """The result of an `Ask`."""

    number: int
    value: Raw
    problem: str = ""
    """The error, if it failed."""


class Watch(Struct, frozen=True, tag=True):
    """Set how often to report the streams."""

    every_s: float


class StopAll(Struct, frozen=True, tag=True):
    """Finish all recordings and exit."""

    who: str


class StopOne(Struct, frozen=True, tag=True):
    """End one stream's session."""

    stream_id: str
    who: str


class Mark(Struct, frozen=True, tag=True):
    """Mark this moment in one stream's events."""

    stream_id: str
    text: str


Order = Watch | StopAll | StopOne | Mark
Down = Task | Answer | Watch | StopAll | StopOne | Mark
"""To a worker."""


def _encode_path(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value)
    raise NotImplementedError(f"a {type(value).__name__} cannot be sent")


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, bytes):
        return Path(os.fsdecode(value))
    if kind is object:
        return value
    raise NotImplementedError(f"a {kind.__name__} cannot be sent")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_path)
_UP = msgspec.msgpack.Decoder(Up, dec_hook=_decode_path)
_DOWN = msgspec.msgpack.Decoder(Down, dec_hook=_decode_path)
OFFERED = msgspec.msgpack.Decoder(Offered)
CLAIMS = msgspec.msgpack.Decoder(list[Claim])
RENEWED = msgspec.msgpack.Decoder(Renewed)
FINISHED = msgspec.msgpack.Decoder(Finished)
YES_OR_NO = msgspec.msgpack.Decoder(bool)
NOTHING = msgspec.msgpack.Decoder(None)
REPORT = msgspec.msgpack.Decoder(FleetReport)
HISTORY = msgspec.msgpack.Decoder(list[Happening])


def write(message: object) -> bytes:
    """Encode a message. Invalid text becomes U+FFFD."""
    try:
        return _ENCODER.encode(message)
    except (UnicodeError, OverflowError):
        plain = msgspec.to_builtins(message, builtin_types=(bytes,), enc_hook=_encode_path)
        return _ENCODER.encode(whole_text(_small(plain)))


def _small(value: Any) -> Any:
    """Return a copy without integers of more than 64 bits, which a server may send."""
    match value:
        case bool():
            return value
        case int():
            return value if -(1 << 63) <= value < 1 << 64 else float(value)
        case dict():
            return {key: _small(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_small(inner) for inner in value]
        case _:
            return value


def read_up(message: bytes) -> Up:
    """Decode a worker's message.

    :raises msgspec.MsgspecError: if it is invalid.
    """
    found: Up = _UP.decode(message)
    return found


def read_down(message: bytes) -> Down:
    """Decode a message to a worker.

    :raises msgspec.MsgspecError: if it is invalid.
    """
    found: Down = _DOWN.decode(message)
    return found
