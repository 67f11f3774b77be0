"""How the parts talk: frames in, commands out.

A *machine* is a state machine without sockets, clock or files. Whoever runs it feeds it every frame of its channels
in order, executes the commands that come back, and calls `tick` when `deadline_us` has passed. The client's machine is
`session.Session`, the server's `simulator.Zoom`; `wire.Driver` runs either.

What influences a machine is a frame, also if it is not one of Zoom's: a socket that opened, closed or was refused,
someone who asked for the end. So a capture has the whole story, and a replay needs nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import Struct

from rtms_cli.protocol.event_socket import read_event_message
from rtms_cli.protocol.messages import Message, Packet, Unreadable, dumps, encode, loads, read
from rtms_cli.protocol.webhooks import Webhook, read_webhook

WEBHOOK = "webhook"
EVENTS = "events"
"""Channel of Zoom's event WebSocket. What it delivers is a webhook, and in a capture stands as one."""
GIVEN_UP = "given up: "
"""How the warning begins that a channel will not come up any more."""
SIGNALING = "signaling"
MEDIA = "media"
"""Channel of the unified media socket; a split one is `media.audio`, `media.video`, …"""
BROKEN = 1006
"""The close code of a connection that broke; no close frame can have it (RFC 6455, 7.4.1)."""


class Direction(StrEnum):
    """`dir` of a capture line."""

    IN = "in"
    OUT = "out"
    STATE = "state"


class Via(StrEnum):
    """By which way a webhook came: `via` of a capture line."""

    HTTP = "http"
    EVENTS = "events"
    """Zoom's event WebSocket."""
    PAYLOAD = "payload"
    """Someone saved or pasted it."""

    @property
    def in_words(self) -> str:
        """The same for people, behind *by*."""
        return {Via.HTTP: "HTTP", Via.EVENTS: "the event WebSocket", Via.PAYLOAD: "a payload"}[self]


class State(StrEnum):
    """What can happen to a channel beside frames."""

    OPENING = "opening"
    """We started to connect; `url` says where to."""
    OPEN = "open"
    REFUSED = "refused"
    """The connection never came up; `reason` says why."""
    CLOSED = "closed"
    """It was up and is gone; `code` and `reason` are WebSocket's. `ours` is set where the machine had it closed."""
    STOPPING = "stopping"
    """Someone on this side asked for the end; `reason` says who."""
    LEAVING = "leaving"
    """This side leaves the stream to another one, without asking the server for an end; `reason` says why."""
    MARK = "mark"
    """Someone on this side marked the moment; `reason` is what they said of it."""
    DROPPED = "dropped"
    """`count` media frames were read and not kept, because the disk did not keep up."""
    WARNING = "warning"
    """Something a person should know; `reason` is the line."""
    EPOCH = "epoch"
    """Here the capture of one owner of the stream ends and the next one's begins: `code` is its epoch, `reason` the
    program that recorded it. Nobody writes this while recording; readers put it between captures that they join."""
    FINISHED = "finished"
    """The machine's last word: `status` of the recording, stop reason in `code`, who said so in `reason`."""


class ChannelState(Struct, frozen=True, omit_defaults=True):
    """The message of a frame whose direction is STATE."""

    state: State
    code: int | None = None
    reason: str = ""
    url: str = ""
    status: str = ""
    count: int = 0
    """Of `CLOSED`, messages that were still to be sent, and were not."""
    ours: bool = False
    final: bool = False
    """Of a refusal: another try would end the same way."""


Reading = Message | Webhook | ChannelState
"""What a frame can mean: a message on a socket, a webhook, or a change of a channel."""


class Frame(Struct, frozen=True, gc=False):  # many wait to be written, and none is part of a cycle
    """One thing that crossed a channel, or one change of a channel's state."""

    at_us: int
    """Microseconds since the capture began: the only clock that anything beyond the driver sees."""
    channel: str
    direction: Direction
    raw: bytes
    message: Reading
    via: str = ""
    """By which way a webhook came, where that is known; see `Via`."""


class Packets(Struct, frozen=True, gc=False):
    """Media packets that came in on one channel, one after the other. Most of them have not been read yet.

    Their first bytes say that they are media (`messages.MEDIA_HEADS`). `frames` reads each of them.
    """

    channel: str
    at_us: list[int]
    """When each came, on the clock of `Frame.at_us`."""
    raws: list[bytes]
    nbytes: int
    """The sum of their lengths."""
    lines: bytes = b""
    """The lines of the capture that they were read from, exactly as `packet_lines` writes them; else empty."""
    read: Sequence[Packet] | None = None
    """What they say, where someone has read them."""

    def frames(self) -> Iterator[Frame]:
        """The same as frames, each read on its own."""
        for at_us, raw in zip(self.at_us, self.raws, strict=True):
            yield Frame(at_us, self.channel, Direction.IN, raw, read(raw))


Item = Frame | Packets
"""What is kept: a frame, or a run of media packets that stand for many."""


def frames_of(item: Item) -> Iterable[Frame]:
    """The frames that something stands for."""
    return (item,) if isinstance(item, Frame) else item.frames()


def in_batches(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """The items, as many at once as stand for this many frames, or for one run of packets more."""
    batch: list[Item] = []
    nframes = 0
    for item in items:
        batch.append(item)
        nframes += 1 if isinstance(item, Frame) else len(item.raws)
        if nframes >= most:
            yield batch
            batch, nframes = [], 0
    if batch:
        yield batch


def reader_of(channel: str) -> Callable[[bytes], Message]:
    """What reads the messages that come in on a socket."""
    return read_event_message if channel == EVENTS else read


def frame_of(at_us: int, channel: str, direction: Direction, raw: bytes, via: str = "") -> Frame:
    """Make a frame of bytes, read once, by the reader that its channel and direction call for.

    :param via: by which way a webhook came.
    """
    if direction is Direction.STATE:
        return Frame(at_us, channel, direction, raw, _read_state(raw))
    return Frame(at_us, channel, direction, raw, read_webhook(raw) if channel == WEBHOOK else read(raw), via)


def sent_frame(at_us: int, channel: str, message: Message, raw: bytes | None = None) -> Frame:
    """The frame of a message that we send; its `raw` is what goes over the wire."""
    return Frame(at_us, channel, Direction.OUT, encode(message) if raw is None else raw, message)


def state_frame(at_us: int, channel: str, state: ChannelState) -> Frame:
    """The frame of a channel's change."""
    try:
        raw = msgspec.json.encode(state)
    except UnicodeEncodeError:  # a path in it is not text, or what someone typed
        return frame_of(at_us, channel, Direction.STATE, dumps(state))
    return Frame(at_us, channel, Direction.STATE, raw, state)


msgspec.json.Decoder(ChannelState)  # or two threads would make what msgspec knows of it, and crash


def _read_state(raw: bytes) -> ChannelState | Unreadable:
    try:
        return msgspec.convert(loads(raw), ChannelState)
    except ValueError as error:  # msgspec's own error is one
        return Unreadable(f"no channel state: {error}")


class Open(Struct, frozen=True):
    """Connect this channel."""

    channel: str
    url: str


class Send(Struct, frozen=True):
    """Send this on the channel."""

    channel: str
    message: Message
    binary: bool = False
    """In a binary WebSocket frame; text where the peer does not care."""
    raw: bytes | None = None
    """What goes over the wire instead of the documented form: a simulated server's faults."""


class Close(Struct, frozen=True):
    """Close the channel's socket, or stop connecting it."""

    channel: str
    code: int = 1000
    """`BROKEN` breaks the connection instead, behind what was sent."""
    reason: str = ""


class Warn(Struct, frozen=True):
    """Tell a person, and the manifest."""

    channel: str
    text: str


class Announce(Struct, frozen=True):
    """Post a webhook: `started`, `interrupted` or `stopped`; a simulated server's affair."""

    what: str
    reason: int | None = None
    age_ms: int = 0
    """How long before the start it happened, where it comes late; 0 is a webhook of now."""


class Deliver(Struct, frozen=True):
    """Pass on a webhook that came on a channel."""

    body: bytes


class Tell(Struct, frozen=True):
    """Tell a person, and scripts, how a connection fares that belongs to no stream."""

    what: str
    """What happened: one of a few words."""
    fields: Mapping[str, object]
    text: str


class Finish(Struct, frozen=True):
    """The machine is done: the driver closes what is open and returns."""

    status: str
    """`complete`, `interrupted`, `failed` or `revoked` (RECORDING.md)."""
    stop_reason: int | None
    said_by: str


Outward = Announce | Deliver | Tell
"""What concerns others than the machine's own channels."""
Command = Open | Send | Close | Warn | Outward | Finish


class Machine(Protocol):
    """What a driver can run."""

    def receive(self, frame: Frame) -> Sequence[Command]:
        """Take one frame, of direction IN or STATE."""

    def hear(self, packets: Packets) -> bool:
        """Take note that media came, where that is all the machine has to know of them.

        :returns: whether it is; else nothing was taken note of, and the machine wants each packet read, as a frame.
        """

    def tick(self, at_us: int) -> Sequence[Command]:
        """Take note of the time; the first tick starts the machine."""

    @property
    def deadline_us(self) -> int | None:
        """When the next tick is due, or `None` when only frames matter."""


class FrameSink(Protocol):
    """Where frames go to be kept."""

    def put(self, item: Item) -> None:
        """Keep a frame, or packets. Never blocks, never raises."""

    @property
    def full(self) -> bool:
        """Whether more waits to be written than the buffer should hold."""

    async def room(self) -> None:
        """Wait until the sink can take more; readers of media wait here, so that TCP slows the sender down."""
