"""manifest.json, schema 1 (RECORDING): what a recording is, what is in it, how it ended.

The structs are what is written, and what readers decode it with. Seconds are on the capture's clock (`at`) unless
they stand in a track, where they are on the recording's (since `origin_ms`).
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct, field

from rtms_cli.protocol.messages import UserId, dumps
from rtms_cli.protocol.parties import BY_CHANNEL, party
from rtms_cli.untrusted import open_inside, read_bounded

MANIFEST = "manifest.json"
CAPTURE = "capture.jsonl"
HOOKS_LOG = "hooks.log"
"""What hooks said; not a part of the recording, but deleted with it."""
SCHEMA = 1
"""Goes up only when an old reader would misread a new manifest."""
MOST_NBYTES, MOST_OBJECTS, MOST_VALUES = 256 << 20, 200_000, 4_000_000
"""What a manifest that is read may be: it may come from someone else."""
MOST_GAPS = 10_000
"""Gaps that a track lists; `gap_count` has the whole number."""


class TrackEntry(Struct):
    """One media file."""

    kind: str
    """`audio`, `video`, `share`, `transcript`, `chat` or `events`."""
    path: str
    user_id: UserId = None
    """Whose it is; 0 is everyone's, where `channel_id` does not say otherwise."""
    user_name: str | None = None
    """The first name, which is the file's as well; `participants` has the others."""
    channel_id: UserId = None
    """The channel, where that tells whose it is: it is the `user_id` too, then."""
    codec: str | None = None
    rate: int | None = None
    channels: int | None = None
    packets: int = 0
    """Packets, pictures or lines."""
    bytes: int = 0
    """Payload bytes as they came, decoded from base64."""
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    duration: float | None = None
    offset: float | None = None
    """Where the file's zero lies, in seconds from `origin_ms`."""
    gaps: list[tuple[float, float]] = []
    gap_count: int = 0
    duplicates: int = 0
    overlap: float = 0.0
    """Seconds that had no place between packets that had come before."""
    lost: int | None = None
    """RTP packets that are missing by their sequence numbers; `null` if there are none."""
    concealed: float = 0.0
    """Seconds of lost audio that the codec guessed; they are among the gaps anyway."""
    assumed: str | None = None
    """What was assumed of the packets, because they are not as granted."""
    sizes: list[tuple[int | None, int, int]] = []
    """Pictures' resolutions as they changed: the first one's timestamp, width, height."""


class MessageCount(Struct):
    """How often a message of one type came or went."""

    msg_type: int | str | None
    count: int
    bytes: int


class KeepAlive(Struct):
    """Keep-alive requests of one channel."""

    received: int = 0
    answered: int = 0
    slowest_ms: float | None = None


class Connection(Struct):
    """One socket, from when to when, and why it ended."""

    channel: str
    url: str = ""
    opened: float | None = None
    closed: float | None = None
    code: int | None = None
    reason: str = ""
    ours: bool = False
    """Whether we closed it."""


class Named(Struct):
    """What someone was called from some moment on."""

    name: str
    at: float


class Participant(Struct):
    """Someone who was there; times of coming and going as far as events told."""

    user_id: UserId
    """The participant's id, which is the `channel_id` in Contact Center and Phone."""
    user_name: str | None = None
    """The newest name."""
    joined: float | None = None
    left: float | None = None
    names: list[Named] = []
    """Every name, from when on."""
    user_ids: list[UserId] = []
    """In Contact Center and Phone, the user ids that came with the channel, and with no other."""


class Stop(Struct):
    """Why the stream ended, and who said so."""

    reason: int | None
    name: str
    said_by: str


class Warned(Struct):
    """Something a person should know; how often, and when first."""

    text: str
    count: int
    first_at: float


class Loss(Struct):
    """What could not be kept, where, why and when."""

    what: str
    where: str
    """A file of the recording, or a channel."""
    count: int = 0
    bytes: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    first_error: str = ""
    last_error: str = ""


class Epoch(Struct):
    """What one owner of the stream recorded; times in seconds on the capture's clock."""

    epoch: int
    generator: str
    started: float | None = None
    ended: float | None = None
    """When it was last heard from."""
    why: str = ""
    """How its session ended (`complete`, `interrupted`, …), or that its process did."""


class TapEntry(Struct):
    """A tap of the stream, or what it ran for one participant: how much it got, and what it did not."""

    what: str
    """`audio`, `video`, `share`, `transcript`, `chat`, `events` or `all`."""
    target: str
    """Where it went; without what may be secret in a URL."""
    user_id: UserId = None
    """Whose alone it was; `null` is everyone's."""
    user_name: str | None = None
    bytes: int = 0
    """Handed on."""
    drops: int = 0
    """Pieces that were thrown away because the target was too slow, or not there."""
    dropped_seconds: float = 0.0
    late_seconds: float = 0.0
    """Audio that came too late to be passed on; it is in the WAV."""
    silence_seconds: float = 0.0
    """Silence that stands for what nobody sent."""
    restarts: int = 0
    exit_code: int | None = None
    """Of the last process; `null` if there was none. A signal's number is negative."""
    error: str = ""
    """Why it last failed."""


class Manifest(Struct):
    """The whole file."""

    schema: int
    status: str
    product: str
    id: str
    rtms_stream_id: str
    generator: str
    process: str | None
    """The process that records, while it does: `<process id>@<host>`."""
    started_at: str
    ended_at: str | None
    origin_ms: int | None
    buffered_ms: int | None
    media: dict[str, dict[str, object]]
    """`asked` and `granted`: parameters by kind, under Zoom's keys."""
    tracks: list[TrackEntry]
    messages: dict[str, dict[str, MessageCount]]
    """`received` and `sent`: counts by the type's name."""
    keep_alive: dict[str, KeepAlive]
    connections: list[Connection]
    connection_count: int
    participants: list[Participant]
    stop: Stop | None
    announced_by: str | None = None
    """By which way the stream's started webhook came: `http`, `events` (Zoom's event WebSocket) or `payload` (one that
    was saved or pasted); `null` where the capture does not say."""
    warnings: list[Warned] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    taps: list[TapEntry] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    """The owners of the stream one after the other, where it had several; empty if the first one kept it."""
    title: str | None = None
    """What a person has called the recording (`rtms name`)."""

    def party(self, track: TrackEntry) -> UserId:
        """Whose a track is; `None` for everyone's."""
        is_mixed = track.path.rpartition("/")[2].startswith("mixed")
        if track.channel_id is not None:
            return track.channel_id
        if self.product in BY_CHANNEL and not is_mixed:
            return track.user_id  # recordings from before there was a `channel_id`
        return party(self.product, track.user_id)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """A recording's manifest.

        :raises OSError: if there is none.
        :raises ValueError: if it is not a manifest of ours, or one that a newer version wrote.
        """
        return cls.decode(read_bounded(open_inside(folder, MANIFEST), MOST_NBYTES))

    @classmethod
    def decode(cls, content: bytes) -> "Manifest":
        """A manifest by the file's bytes.

        :raises ValueError: if it is not a manifest of ours, or one that a newer version wrote.
        """
        if content.count(b"{") > MOST_OBJECTS:
            raise ValueError(f"it has more than {MOST_OBJECTS:,} tracks, participants and the like")
        if content.count(b",") > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values")
        try:
            manifest = _MANIFEST.decode(content)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"it is not UTF-8 (byte {error.start})") from None
        if manifest.schema != SCHEMA:
            raise ValueError(f"it has schema {manifest.schema}, and this rtms reads schema {SCHEMA}")
        return manifest

    def encode(self) -> bytes:
        """The file's bytes: indented, for people read it too."""
        return msgspec.json.format(dumps(self), indent=2) + b"\n"


_MANIFEST = msgspec.json.Decoder(Manifest)
"""Made here, and not when it is first needed: two threads that make what msgspec knows of a type at once crash it."""


MOST_TAPS = 1_000
"""Entries of taps that a manifest lists."""


def joined_taps(before: Sequence[TapEntry], now: Sequence[TapEntry]) -> list[TapEntry]:
    """The taps of sessions that are over, and of the one that goes on: one entry where the same was opened again."""
    left, found = list(before), list[TapEntry]()
    for entry in now:
        key = entry.what, entry.target, entry.user_id
        same = next((one for one in left if (one.what, one.target, one.user_id) == key), None)
        if same is None:
            found.append(entry)
            continue
        left.remove(same)
        found.append(
            TapEntry(
                *key,
                entry.user_name or same.user_name,
                same.bytes + entry.bytes,
                same.drops + entry.drops,
                same.dropped_seconds + entry.dropped_seconds,
                same.late_seconds + entry.late_seconds,
                same.silence_seconds + entry.silence_seconds,
                same.restarts + entry.restarts,
                same.exit_code if entry.exit_code is None else entry.exit_code,
                entry.error or same.error,
            )
        )
    return (left + found)[:MOST_TAPS]
