"""Every message of PROTOCOL §4: one class each, with one definition of what it reads, what it writes and what is known.

`read()` is total: whatever the bytes, it returns a message and never raises. What it does not know is `Unknown`, what
it cannot read is `Unreadable`, with the reason. `encode()` writes the documented form: `read(encode(m))` returns `m`.

Media packets are the hot path. They are parsed once, by a typed decoder; the base64 in `data` is decoded by
`Media.payload()`, on the thread that writes files.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec
import pybase64
from msgspec import Meta, Raw, Struct

from rtms_cli.protocol.chat import CONTENT
from rtms_cli.protocol.fields import (
    FLAG,
    ID,
    NUMBER,
    NUMBER_AS_IS,
    NUMBER_OR_NAME,
    PERSON,
    TEXT,
    TIME,
    USER,
    USER_ID,
    WHO,
    WORDS,
    Constant,
    Field,
    Key,
    Kind,
    Nested,
    Shape,
    Texts,
    one_of,
)
from rtms_cli.protocol.fields import UserId as UserId
from rtms_cli.protocol.fields import text_or_none as text_or_none
from rtms_cli.protocol.fields import user_id as user_id
from rtms_cli.protocol.media import MEDIA_PARAMS, MediaParams
from rtms_cli.protocol.numbers import (
    Attribute,
    ContactCenterEvent,
    MediaType,
    MeetingEvent,
    MessageType,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
    as_int,
)
from rtms_cli.protocol.signatures import Signature as Signature
from rtms_cli.protocol.strict_json import MAX_DEPTH as MAX_DEPTH
from rtms_cli.protocol.strict_json import MAX_MEMBERS as MAX_MEMBERS
from rtms_cli.protocol.strict_json import MAX_TEXT as MAX_TEXT
from rtms_cli.protocol.strict_json import dumps as dumps
from rtms_cli.protocol.strict_json import is_utf8
from rtms_cli.protocol.strict_json import loads as loads
from rtms_cli.protocol.times import FIRST_MS, LAST_MS, milliseconds
from rtms_cli.protocol.urls import every_url


class Route(StrEnum):
    """The sender of a message, and its sockets."""

    TO_SIGNALING = "C→S signaling"
    TO_MEDIA = "C→S media"
    TO_BOTH = "C→S both"
    FROM_SIGNALING = "S→C signaling"
    FROM_MEDIA = "S→C media"
    FROM_BOTH = "S→C both"

    @property
    def socket(self) -> str:
        """`signaling`, `media` or `both`."""
        return self.partition(" ")[2]


class Definition(Struct, frozen=True):
    """What is known of a type of message."""

    route: Route
    shape: Shape
    """The fields beside `msg_type`."""
    make: "Callable[..., Message] | None" = None
    """Its class; `None` if no field is documented."""


class Message(Struct, frozen=True):
    """What a frame says. Every subclass has its `msg_type`."""

    msg_type: ClassVar[int]

    def body(self) -> dict[str, object]:
        """The fields beside `msg_type`, as they are sent."""
        if self.msg_type not in DEFINITIONS:
            raise NotImplementedError(f"{type(self).__name__} is never sent")
        return DEFINITIONS[self.msg_type].shape.write(self)


DEFINITIONS = dict.fromkeys(range(23, 28), Definition(Route.FROM_MEDIA, Shape(is_open=True)))
"""What is known of every type, by number. No field of the metadata messages, 23 to 27, is documented."""
_M = TypeVar("_M", bound=Message)


def _defined(number: MessageType, route: Route, *keys: Key) -> Callable[[type[_M]], type[_M]]:
    """Give a class its type number, its route and its keys, in the order in which they are written."""

    def define(kind: type[_M]) -> type[_M]:
        kind.msg_type = number
        DEFINITIONS[number] = Definition(route, Shape(*keys), kind)
        return kind

    return define


def _signature(value: object) -> Signature | None:
    return Signature(value) if isinstance(value, str) else None


def _read_urls(given: object) -> dict[str, str] | None:
    if isinstance(given, str | list):
        given = {"all": given}
    if not isinstance(given, Mapping):
        return None
    texts = {key.lower(): url if isinstance(url, str) else ",".join(every_url(url)) for key, url in given.items()}
    return {"share" if key == "deskshare" else key: url for key, url in texts.items() if url}


def _read_event_type(given: object) -> int | str | None:
    number = as_int(given)
    if number is not None or not isinstance(given, str):
        return number
    name = given.strip().upper()
    if name not in MeetingEvent.__members__:
        return name if name in ContactCenterEvent.__members__ else given
    event = MeetingEvent[name]  # above 7, the number is another event in Contact Center
    return int(event) if event < ContactCenterEvent.CONSUMER_ANSWERED else name


def _write_urls(urls: dict[str, str]) -> dict[str, str] | None:
    return {"deskshare" if key == "share" else key: url for key, url in urls.items()} or None


def _write_params(params: MediaParams) -> dict[str, object] | None:
    return params.to_json() or None


def _read_events(given: object) -> tuple[tuple[int | None, bool], ...]:
    listed = given if isinstance(given, list) else ()
    found = [_SUBSCRIPTION.read(event) for event in listed if isinstance(event, Mapping)]
    return tuple((event["event_type"], event["subscribe"]) for event in found)


def _write_events(events: tuple[tuple[int | None, bool], ...]) -> list[dict[str, object]]:
    return [{"event_type": event, "subscribe": wanted} for event, wanted in events]


def _letters(data: str | bytes | Raw) -> bytes:
    if type(data) is Raw:
        letters = bytes(memoryview(data)[1:-1])
        if b"\\" not in letters:
            return letters
        data = msgspec.json.decode(data, type=str)
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)


def _read_data(value: object) -> str | None:
    """The letters of the base64, also where the bytes came as numbers: in a list, Node's `Buffer` or `Uint8Array`."""
    numbers = value
    if isinstance(value, Mapping):
        is_array = list(value) == [str(place) for place in range(len(value))]
        numbers = list(value.values()) if is_array else value.get("data")
    if isinstance(numbers, list) and all(type(number) is int and -128 <= number < 256 for number in numbers):
        return pybase64.b64encode_as_string(bytes(number & 0xFF for number in numbers))
    return text_or_none(numbers) if not isinstance(numbers, list) else dumps(numbers).decode()


def _write_data(data: str | bytes | Raw) -> str:
    return data if isinstance(data, str) else _letters(data).decode("ascii", "replace")


_STREAM_ID = Field("rtms_stream_id", ID, "stream_id")
_TIMESTAMP = Field("timestamp", TIME)
_REQUEST = (
    Field("protocol_version", NUMBER),
    Field("sequence", NUMBER),
    Field("meeting_uuid", ID, "id", ("webinar_uuid", "session_id", "session_key", "engagement_id", "call_id")),
    Texts("webinar_uuid", ID, "product_ids", also=("session_id", "session_key", "engagement_id", "call_id")),
    _STREAM_ID,
    Field("signature", Kind(_signature, str)),
    Key("rtms_client_agent", TEXT),
)
"""What `1` and `3` begin with."""
_RESULT = (Field("status_code", one_of(StatusCode), odd=("status",)), Field("reason", TEXT, empty=str))
_RESPONSE = (Constant("protocol_version", NUMBER, value=1), Field("sequence", NUMBER), *_RESULT)
"""What `2` and `4` begin with."""
_URLS = Shape(*map(Key, ("audio", "video", "share", "deskshare", "transcript", "chat", "all")))
_ENDPOINT = (Key("datacenter_region", TEXT), Key("srt_passphrase", TEXT), Key("srt_pbkey_length", NUMBER))
_SERVER = Shape(Field("server_urls", Kind(_read_urls, _write_urls), empty=dict, inside=_URLS), *_ENDPOINT)
_PARAMS = Field("media_params", Kind(MediaParams.read, _write_params), "params", empty=MediaParams, inside=MEDIA_PARAMS)
_SUBSCRIBE = Field("subscribe", FLAG, empty=lambda: True)
_SUBSCRIPTION = Shape(Field("event_type", NUMBER), _SUBSCRIBE)
_EVENT = Shape(
    Field("event_type", Kind(_read_event_type, is_number=True), odd=("event",)),
    Key("event_code"),
    Field("timestamp", TIME, also=("event_ts",)),
    *PERSON,
    Key("participants", inside=Shape(*PERSON)),
    Key("participant_info", odd=("paticipant_info",)),
    rest="fields",
)
_SESSION_ID = Field("rtms_session_id", ID, "session_id")
_REASON = Kind(StopReason.find_or_name, is_number=True)
_SESSION_STATE = Field("state", one_of(SessionState))
_STREAM_STATE = Field("state", one_of(StreamState))
_KEEP_ALIVE = (Field("sequence", NUMBER_AS_IS), Field("timestamp", NUMBER_AS_IS))
_CHANNEL_ID = Field("channel_id", WHO)
# A content that is not an object is its data.
_DATA = Field("data", Kind(_read_data, _write_data), odd=("content",), empty=str)
_PACKET = Nested("content", inside=Shape(*USER, _CHANNEL_ID, _DATA, Field("length", NUMBER), _TIMESTAMP))
_LINE = Shape(
    *USER,
    _CHANNEL_ID,
    WORDS,
    Field("start_time", TIME),
    Field("end_time", TIME),
    _TIMESTAMP,
    Field("language", NUMBER_OR_NAME),
    Field("attribute", one_of(Attribute)),
    rest="extra",
    dropped=("length", "media_type"),
)


@_defined(
    MessageType.SIGNALING_HAND_SHAKE_REQ,
    Route.TO_SIGNALING,
    *_REQUEST,
    Field("buffer_data", FLAG),
    Key("media_type", NUMBER),
)
class SignalingHandshakeRequest(Message, frozen=True):
    """`1`. `product_ids` holds the product's own id field beside `meeting_uuid`, where one is due."""

    id: str | None
    stream_id: str | None
    signature: Signature | None
    sequence: int | None = None
    buffer_data: bool | None = None
    protocol_version: int | None = 1
    product_ids: dict[str, str] = {}


@_defined(
    MessageType.SIGNALING_HAND_SHAKE_RESP,
    Route.FROM_SIGNALING,
    *_RESPONSE,
    Nested("media_server", inside=_SERVER, required=False),
    Key("srtp_keys"),
    *_ENDPOINT,
)
class SignalingHandshakeResponse(Message, frozen=True):
    """`2`. A `status_code` that is missing is not 0: the handshake was refused."""

    status_code: int | None
    reason: str = ""
    server_urls: dict[str, str] = {}
    """Media URLs by Zoom's keys (`audio`, `all`, …); `deskshare` is read as `share`. Each may be several, separated by
    commas (`urls.first_url`)."""
    sequence: int | None = None


@_defined(
    MessageType.DATA_HAND_SHAKE_REQ,
    Route.TO_MEDIA,
    *_REQUEST,
    Field("media_type", Kind(as_int, int, is_number=True)),
    Constant("payload_encryption", FLAG, value=False),
    _PARAMS,
)
class MediaHandshakeRequest(Message, frozen=True):
    """`3`."""

    id: str | None
    stream_id: str | None
    signature: Signature | None
    media_type: int | None
    params: MediaParams = MediaParams()
    sequence: int | None = None
    protocol_version: int | None = 1
    product_ids: dict[str, str] = {}


@_defined(
    MessageType.DATA_HAND_SHAKE_RESP,
    Route.FROM_MEDIA,
    *_RESPONSE,
    Constant("payload_encrypted", FLAG, value=False),
    _PARAMS,
)
class MediaHandshakeResponse(Message, frozen=True):
    """`4`; `params` are those granted, which decide the files."""

    status_code: int | None
    reason: str = ""
    params: MediaParams = MediaParams()
    sequence: int | None = None


@_defined(
    MessageType.EVENT_SUBSCRIPTION,
    Route.TO_SIGNALING,
    Field("events", Kind(_read_events, _write_events), empty=tuple, inside=_SUBSCRIPTION),
    Field("status_code", one_of(StatusCode), odd=("status",)),
    Field("reason", TEXT),
)
class EventSubscription(Message, frozen=True):
    """`5`: event types by number, with whether they are wanted. From a server it is a refusal, with a status."""

    events: tuple[tuple[int | None, bool], ...]
    status_code: int | None = None
    reason: str | None = None


@_defined(MessageType.EVENT_UPDATE, Route.FROM_SIGNALING, Nested("event", inside=_EVENT))
class EventUpdate(Message, frozen=True):
    """`6`. `fields` are the event's own, without type and timestamp.

    Contact Center sends `event_ts` for `timestamp`. `event_code` may stand beside `event_type` or alone (PROTOCOL §10);
    its numbers aren't public, so it is one of the `fields`, and none of the types.
    """

    event_type: int | str | None
    timestamp: int | None = None
    fields: dict[str, object] = {}


@_defined(MessageType.CLIENT_READY_ACK, Route.TO_SIGNALING, _STREAM_ID)
class ClientReadyAck(Message, frozen=True):
    """`7`, on the signaling socket once all media sockets are up."""

    stream_id: str | None


@_defined(
    MessageType.STREAM_STATE_UPDATE,
    Route.FROM_SIGNALING,
    _STREAM_STATE,
    Field("reason", _REASON, odd=("stop_reason",)),
    _TIMESTAMP,
)
class StreamStateUpdate(Message, frozen=True):
    """`8`. A reason of a name that is not known is that name."""

    state: int | None
    reason: int | str | None = None
    timestamp: int | None = None


@_defined(
    MessageType.SESSION_STATE_UPDATE,
    Route.FROM_SIGNALING,
    _SESSION_ID,
    _SESSION_STATE,
    Field("stop_reason", _REASON, also=("reason",)),
    _TIMESTAMP,
)
class SessionStateUpdate(Message, frozen=True):
    """`9`. A reason of a name that is not known is that name."""

    session_id: str | None
    state: int | None
    stop_reason: int | str | None = None
    timestamp: int | None = None


@_defined(MessageType.SESSION_STATE_REQ, Route.TO_SIGNALING, _SESSION_ID)
class SessionStateRequest(Message, frozen=True):
    """`10`."""

    session_id: str | None


@_defined(MessageType.SESSION_STATE_RESP, Route.FROM_SIGNALING, _SESSION_ID, _SESSION_STATE, _TIMESTAMP)
class SessionStateResponse(Message, frozen=True):
    """`11`."""

    session_id: str | None
    state: int | None
    timestamp: int | None = None


@_defined(MessageType.KEEP_ALIVE_REQ, Route.FROM_BOTH, *_KEEP_ALIVE)
class KeepAliveRequest(Message, frozen=True):
    """`12`. Timestamp and sequence go back as they came, whatever their type."""

    timestamp: object = None
    sequence: object = None


@_defined(MessageType.KEEP_ALIVE_RESP, Route.TO_BOTH, *_KEEP_ALIVE)
class KeepAliveResponse(Message, frozen=True):
    """`13`: the same timestamp and sequence."""

    timestamp: object = None
    sequence: object = None


class Media(Message, frozen=True, gc=False):
    """`14` to `16`: one packet or picture."""

    media_type: ClassVar[MediaType]
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    """Milliseconds on Zoom's clock, whatever the unit was; `None` if it was missing or not a number."""
    data: str | bytes | Raw
    """The payload as it came: the letters of the base64; of a packet that was read, where they lie in its frame, in
    the quotes of JSON: so that hundreds of waiting packets are not in memory twice."""
    length: int | None = None
    """What the server says that the payload's length is."""
    channel_id: UserId = None

    def payload(self) -> bytes | None:
        """The decoded payload; `None` if it is not base64 in any tolerated spelling."""
        data = self.data
        try:
            # By position: keywords cost as much as the decoding.
            return pybase64.b64decode(memoryview(data)[1:-1] if type(data) is Raw else data, None, True)
        except ValueError:  # binascii's own error is one
            return _decode_sloppy_base64(self.letters(), self.length)

    def inner_payload(self, payload: bytes) -> bytes | None:
        """The payload of a message whose length is only right where it was encoded twice, or in hexadecimal."""
        decoders: tuple[Callable[[bytes], bytes], ...] = (_from_hexadecimal, pybase64.b64decode)
        for text in (self.letters(), payload):
            for decode in decoders:
                try:
                    inner = decode(text)
                except ValueError:  # binascii's own error is one
                    continue
                if len(inner) == self.length:
                    return inner
        return None

    def letters(self) -> bytes:
        """The letters of the base64."""
        return _letters(self.data)


@_defined(MessageType.MEDIA_DATA_AUDIO, Route.FROM_MEDIA, _PACKET)
class Audio(Media, frozen=True, gc=False):
    """`14`."""

    media_type: ClassVar[MediaType] = MediaType.AUDIO


@_defined(MessageType.MEDIA_DATA_VIDEO, Route.FROM_MEDIA, _PACKET)
class Video(Media, frozen=True, gc=False):
    """`15`."""

    media_type: ClassVar[MediaType] = MediaType.VIDEO


@_defined(MessageType.MEDIA_DATA_SHARE, Route.FROM_MEDIA, _PACKET)
class Share(Media, frozen=True, gc=False):
    """`16`."""

    media_type: ClassVar[MediaType] = MediaType.SHARE


@_defined(MessageType.MEDIA_DATA_TRANSCRIPT, Route.FROM_MEDIA, Nested("content", inside=_LINE))
class Transcript(Message, frozen=True):
    """`17`. Times are milliseconds on Zoom's clock."""

    media_type: ClassVar[MediaType] = MediaType.TRANSCRIPT
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    text: str | None
    """`None` if there was no text at all; empty for an interim result."""
    start_time: int | None = None
    end_time: int | None = None
    language: int | str | None = None
    attribute: int | None = None
    channel_id: UserId = None
    extra: dict[str, object] = {}


@_defined(MessageType.MEDIA_DATA_CHAT, Route.FROM_MEDIA, CONTENT)
class Chat(Message, frozen=True):
    """`18`: a message, or an operation on one; `extra` is whatever else the content carried."""

    media_type: ClassVar[MediaType] = MediaType.CHAT
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    text: str | None
    extra: dict[str, object] = {}
    operation: int | str | None = None
    """A `ChatOperation`, or what came in its place; `None` in the shape of before July 2026."""
    message_id: str | None = None
    parent_message_id: str | None = None
    chat_session: object = None
    receiver: object = None
    files: object = None
    deleted_files: object = None


@_defined(MessageType.STREAM_STATE_REQ, Route.TO_SIGNALING, _STREAM_ID)
class StreamStateRequest(Message, frozen=True):
    """`19`."""

    stream_id: str | None


@_defined(MessageType.STREAM_STATE_RESP, Route.FROM_SIGNALING, _STREAM_ID, _STREAM_STATE, _TIMESTAMP)
class StreamStateResponse(Message, frozen=True):
    """`20`."""

    stream_id: str | None
    state: int | None
    timestamp: int | None = None


@_defined(MessageType.STREAM_CLOSE_REQ, Route.TO_SIGNALING, _STREAM_ID)
class StreamCloseRequest(Message, frozen=True):
    """`21`: asks for a clean end."""

    stream_id: str | None


@_defined(MessageType.STREAM_CLOSE_RESP, Route.FROM_SIGNALING, _STREAM_ID, *_RESULT, _TIMESTAMP)
class StreamCloseResponse(Message, frozen=True):
    """`22`."""

    stream_id: str | None
    status_code: int | None
    reason: str = ""
    timestamp: int | None = None


@_defined(
    MessageType.VIDEO_SUBSCRIPTION_REQ,
    Route.TO_SIGNALING,
    USER_ID,
    _SUBSCRIBE,
    _TIMESTAMP,
)
class VideoSubscriptionRequest(Message, frozen=True):
    """`28`: wants, or no longer wants, one participant's camera."""

    user_id: UserId
    subscribe: bool
    timestamp: int | None = None


@_defined(MessageType.VIDEO_SUBSCRIPTION_RESP, Route.FROM_SIGNALING, USER_ID, *_RESULT, _TIMESTAMP)
class VideoSubscriptionResponse(Message, frozen=True):
    """`29`."""

    user_id: UserId
    status_code: int | None
    reason: str = ""
    timestamp: int | None = None


class Unknown(Message, frozen=True):
    """A message of a type that this protocol version does not have, or has without a meaning (`23`–`27`)."""

    msg_type: ClassVar[int] = -1
    type: int | str | None
    """Its `msg_type` as it came."""
    fields: dict[str, object] = {}


class Unreadable(Message, frozen=True):
    """A frame that is not a message; its bytes are in the capture."""

    msg_type: ClassVar[int] = -2
    problem: str


def encode(message: Message) -> bytes:
    """Write a message in its documented form, as compact JSON."""
    return dumps({"msg_type": int(message.msg_type)} | message.body())


def read(raw: bytes) -> Message:
    """Read one frame, in any shape that PROTOCOL §4 tolerates.

    Total: any bytes give a message, and nothing is raised. The caller keeps `raw`.
    """
    try:
        packet = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _read_slowly(raw)
    kind = MEDIA_KINDS.get(packet.msg_type)
    content = packet.content
    if (
        kind is None
        or content is None
        or content.timestamp is None
        or type(content.user_id) is str
        or type(content.channel_id) is str
        or memoryview(content.data)[0] != _QUOTE
        # The decoder does not look into fields that it skips.
        or not (raw.isascii() or is_utf8(raw))
        or (len(raw) - len(content.data) > _SHALLOW and raw.count(b"{") + raw.count(b"[") > MAX_DEPTH)
    ):
        return _read_slowly(raw)
    timestamp: int | None = content.timestamp
    if not FIRST_MS <= content.timestamp < LAST_MS:
        timestamp = milliseconds(timestamp)
    return kind(content.user_id, content.user_name, timestamp, content.data, content.length, content.channel_id)


class _Content(Struct, gc=False):
    """The common shape of a media packet, for the fast path."""

    data: Raw
    user_id: int | str | None = None
    user_name: str | None = None
    timestamp: int | None = None
    length: int | None = None
    channel_id: int | str | None = None


class _Packet(Struct, gc=False):
    msg_type: int
    content: _Content | None = None


_DECODER = msgspec.json.Decoder(_Packet)


class PacketContent(Struct, gc=False):
    """What a media packet holds in the documented form; see `Media`."""

    data: str
    """The letters of the base64."""
    timestamp: Annotated[int, Meta(ge=FIRST_MS, lt=LAST_MS)]
    user_id: int | None = None
    user_name: str | None = None
    length: int | None = None
    channel_id: int | None = None

    def message(self, kind: type[Media]) -> Media:
        """The same as a message of a kind."""
        return kind(self.user_id, self.user_name, self.timestamp, self.data, self.length, self.channel_id)


class Packet(Struct, gc=False):
    """A media packet in the documented form, as a typed decoder reads it."""

    msg_type: Literal[14, 15, 16]
    content: PacketContent


class _DocumentedContent(PacketContent, gc=False, forbid_unknown_fields=True):
    """The same with no other fields."""


class DocumentedPacket(Packet, gc=False, forbid_unknown_fields=True):
    """A media packet in the documented form that has no other fields."""

    content: _DocumentedContent


def read_packets(raws: Sequence[bytes], *, whole: bool = False) -> Sequence[Packet] | None:
    """Read media packets, all in one go; `None` if `read` must look at each of them.

    Otherwise each is what `read` makes of it: `Media` with the same fields.

    :param whole: check every letter of large data too. Otherwise, large data may not be valid JSON text, which shows
        when the base64 is decoded. If no packet has an undocumented field, each is a `DocumentedPacket`.
    """
    documented = _read_documented(raws) if whole else None
    if documented is not None:
        return documented  # no field is skipped, and none is nested deeper
    decode = _PACKETS.decode
    try:
        packets = [decode(raw) if whole or len(raw) < _LARGE else _read_large_packet(raw) for raw in raws]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not all(map(bytes.isascii, raws)) and not all(map(is_utf8, raws)):
        return None  # the decoder does not look into fields that it skips
    for raw, packet in zip(raws, packets, strict=True):
        if len(raw) - len(packet.content.data) > _SHALLOW and raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
            return None
    return packets


def _read_documented(raws: Sequence[bytes]) -> list[DocumentedPacket] | None:
    try:
        return list(map(_DOCUMENTED_PACKETS.decode, raws))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _read_large_packet(raw: bytes) -> Packet:
    """Read a packet with much data: the decoder would look at each letter, so the data are cut out before.

    In their place stands a letter that is nowhere else. Where the decoder finds it, the data were.

    :raises ValueError: if that cannot be done so; msgspec's own errors are such.
    """
    key = raw.find(b'"data":')
    start = raw.find(b'"', key + 7) + 1
    end = raw.find(b'"', start)
    before, behind = raw[:start], raw[end:]
    if key < 0 or start - key > 9 or end < 0 or _BACKSLASH in raw or _HOLE in before or _HOLE in behind:
        return _PACKETS.decode(raw)
    packet = _PACKETS.decode(b"%b%b%b" % (before, _HOLE, behind))
    if packet.content.data != _HOLE.decode():
        return _PACKETS.decode(raw)
    packet.content.data = str(memoryview(raw)[start:end], "ascii")
    return packet


_HOLE = b"~"
_BACKSLASH = 0x5C
_LARGE = 2048
"""Bytes of a message from which on it is cheaper to cut the data out."""


_PACKETS = msgspec.json.Decoder(Packet)
_DOCUMENTED_PACKETS = msgspec.json.Decoder(DocumentedPacket)
_SHALLOW = 2 * MAX_DEPTH + 44
"""Bytes around a payload that cannot hold too many pairs of brackets beside the least that a packet has: to count them
costs a microsecond."""
_QUOTE = ord('"')
MEDIA_KINDS: dict[int, type[Media]] = {14: Audio, 15: Video, 16: Share}
"""The classes of media packets by their numbers."""


MEDIA_HEADS = tuple(b'{"msg_type":%b%d,' % (blank, number) for number in MEDIA_KINDS for blank in (b"", b" "))
"""How a media packet begins, as Zoom and nearly everyone writes it: what begins otherwise may be one as well."""


def _read_slowly(raw: bytes) -> Message:
    """Read whatever is not a media packet in the documented form."""
    try:
        body = loads(raw)
    except ValueError as error:
        return Unreadable(str(error))
    if len(raw) > MAX_TEXT and not (isinstance(body, dict) and MessageType.find(body.get("msg_type")) in MEDIA_KINDS):
        return Unreadable(f"{len(raw)} bytes, and not a media packet")
    if not isinstance(body, dict):
        return Unreadable(f"JSON, but not an object: {type(body).__name__}")
    if "msg_type" not in body:
        return Unreadable("a JSON object without msg_type")
    number = MessageType.find(body["msg_type"])
    if number is None:
        return Unknown(text_or_none(body["msg_type"]), body)
    known = DEFINITIONS.get(number)
    return known.make(**known.shape.read(body)) if known and known.make else Unknown(int(number), body)


def payload_nbytes(letters: bytes) -> int:
    """How many bytes the letters of base64 stand for."""
    return len(letters.rstrip(b"=")) * 3 // 4


def _from_hexadecimal(text: bytes) -> bytes:
    return binascii.unhexlify(text.removeprefix(b"0x"))


_BLANKS = b" \t\r\n\f\v"
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_URL_ESCAPES = tuple(
    (f"%{code}".encode(), bytes.fromhex(code))
    for code in ("2B", "2b", "2F", "2f", "3D", "3d", "0A", "0a", "0D", "0d", "20")
)
"""What a URL has instead of letters of base64, and of blanks."""
_LONGEST_PREFIX = 256
_MOST_PIECES = 64


def _decode_sloppy_base64(data: bytes, length: int | None) -> bytes | None:
    """Decode base64 that is whole but not as documented, in a few passes, whatever it holds.

    With blanks or line breaks in it, without padding, with padding in the middle (pieces that were encoded one by one),
    in the URL alphabet, with JSON's escaped solidus, escaped as in a URL, or behind `data:image/jpeg;base64,`; in
    quotation marks, as Python prints bytes, behind a byte order mark, before a NUL; with blanks in place of each `+`,
    where the length is then right.
    """
    if length is not None and b" " in data:
        with suppress(binascii.Error):
            whole = pybase64.b64decode(data.replace(b" ", b"+"), validate=True)
            if len(whole) == length:
                return whole
    data = data.removeprefix(b"\xef\xbb\xbf").strip(_BLANKS + b"\0")
    quoted = data.removeprefix(b"b")
    if len(quoted) > 1 and quoted[:1] == quoted[-1:] and quoted[:1] in (b"'", b'"'):
        data = quoted[1:-1]
    start = data[:_LONGEST_PREFIX].lstrip(_BLANKS)
    if start.lower().startswith((b"data:", b"base64,")) and b"," in start:
        data = data[data.index(b",") + 1 :]
    if b"%" in data:
        for escape, letter in _URL_ESCAPES:
            data = data.replace(escape, letter)
    letters = data.translate(_URL_ALPHABET, _BLANKS + b"\\")
    pieces = letters.rstrip(b"=").split(b"=", _MOST_PIECES)
    try:
        return b"".join(
            pybase64.b64decode(piece + b"=" * (-len(piece) % 4), validate=True) for piece in pieces if piece
        )
    except binascii.Error:
        return None
