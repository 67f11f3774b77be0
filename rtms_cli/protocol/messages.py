"""Every message of PROTOCOL §4: one class each, one liberal reader, one strict builder.

`read()` is total: whatever the bytes, it gives a message and never raises. What it does not know is `Unknown`, what
it cannot read is `Unreadable`, with the reason. `encode()` writes the documented form, so `read(encode(m))` gives `m`
back.

Media packets are the hot path. They are parsed once, by a typed decoder; the base64 in `data` is decoded by
`Media.payload()`, on the thread that writes files.
"""

import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import msgspec
import pybase64
from msgspec import Raw, Struct

from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.numbers import (
    MediaType,
    MessageType,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
    whole,
)

MAX_DEPTH = 64
"""JSON nested deeper than this is not read (it is kept verbatim): no documented message goes past 5."""

MAX_MEMBERS = 100_000
"""JSON with more commas or brackets than this is not read either, for a hostile frame of 16 MiB must not hold up the
event loop: in a picture's base64 there are none, and no documented message has a thousand."""

UserId = int | str | None
"""A participant: a number, or whatever else a server used; `None` where there was none."""


class Signature(str):
    """A handshake signature, which must not appear in a log by way of `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[redacted]'"


class Message(Struct, frozen=True):
    """What a frame says. Every subclass has its `msg_type`."""

    msg_type: ClassVar[int]

    def body(self) -> dict[str, object]:
        """The fields beside `msg_type`, as they are sent."""
        raise NotImplementedError(f"{type(self).__name__} is never sent")


class SignalingHandshakeRequest(Message, frozen=True):
    """`1`, client → server. `product_ids` holds the product's own id field beside `meeting_uuid`, where one is due."""

    msg_type: ClassVar[int] = MessageType.SIGNALING_HAND_SHAKE_REQ
    id: str | None
    stream_id: str | None
    signature: Signature | None
    sequence: int | None = None
    buffer_data: bool | None = None
    protocol_version: int | None = 1
    product_ids: dict[str, str] = {}

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            protocol_version=self.protocol_version,
            sequence=self.sequence,
            meeting_uuid=self.id,
            **self.product_ids,
            rtms_stream_id=self.stream_id,
            signature=self.signature and str(self.signature),
            buffer_data=self.buffer_data,
        )


class SignalingHandshakeResponse(Message, frozen=True):
    """`2`, server → client. A `status_code` that is missing is not 0: the handshake was refused."""

    msg_type: ClassVar[int] = MessageType.SIGNALING_HAND_SHAKE_RESP
    status_code: int | None
    reason: str = ""
    server_urls: dict[str, str] = {}
    """Media URLs by Zoom's keys (`audio`, `all`, …); `deskshare` is read as `share`."""
    sequence: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        urls = {"deskshare" if key == "share" else key: url for key, url in self.server_urls.items()}
        return _drop_none(
            protocol_version=1,
            sequence=self.sequence,
            status_code=self.status_code,
            reason=self.reason,
            media_server={"server_urls": urls} if urls else None,
        )


class MediaHandshakeRequest(Message, frozen=True):
    """`3`, client → server."""

    msg_type: ClassVar[int] = MessageType.DATA_HAND_SHAKE_REQ
    id: str | None
    stream_id: str | None
    signature: Signature | None
    media_type: int | None
    params: MediaParams = MediaParams()
    sequence: int | None = None
    protocol_version: int | None = 1
    product_ids: dict[str, str] = {}

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            protocol_version=self.protocol_version,
            sequence=self.sequence,
            meeting_uuid=self.id,
            **self.product_ids,
            rtms_stream_id=self.stream_id,
            signature=self.signature and str(self.signature),
            media_type=None if self.media_type is None else int(self.media_type),
            payload_encryption=False,
            media_params=self.params.to_json() or None,
        )


class MediaHandshakeResponse(Message, frozen=True):
    """`4`, server → client; `params` are those granted, which decide the files."""

    msg_type: ClassVar[int] = MessageType.DATA_HAND_SHAKE_RESP
    status_code: int | None
    reason: str = ""
    params: MediaParams = MediaParams()
    sequence: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            protocol_version=1,
            sequence=self.sequence,
            status_code=self.status_code,
            reason=self.reason,
            payload_encrypted=False,
            media_params=self.params.to_json() or None,
        )


class EventSubscription(Message, frozen=True):
    """`5`, client → server: event types by number, with whether they are wanted."""

    msg_type: ClassVar[int] = MessageType.EVENT_SUBSCRIPTION
    events: tuple[tuple[int | None, bool], ...]

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return {"events": [{"event_type": event, "subscribe": wanted} for event, wanted in self.events]}


class EventUpdate(Message, frozen=True):
    """`6`, server → client. `fields` are the event's own, without type and timestamp."""

    msg_type: ClassVar[int] = MessageType.EVENT_UPDATE
    event_type: int | str | None
    timestamp: int | None = None
    fields: dict[str, object] = {}

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return {"event": _drop_none(event_type=self.event_type, timestamp=self.timestamp, **self.fields)}

    def participants(self) -> list[tuple[UserId, str | None]]:
        """The user ids that the event speaks of, with names where it gives them."""
        listed = self.fields.get("participants")
        people = listed if isinstance(listed, list) else [self.fields]
        return [
            (user_id(person.get("user_id")), text_or_none(person.get("user_name")))
            for person in people
            if isinstance(person, Mapping) and person.get("user_id") is not None
        ]


class ClientReadyAck(Message, frozen=True):
    """`7`, client → server, on the signaling socket once all media sockets are up."""

    msg_type: ClassVar[int] = MessageType.CLIENT_READY_ACK
    stream_id: str | None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_stream_id=self.stream_id)


class StreamStateUpdate(Message, frozen=True):
    """`8`, server → client."""

    msg_type: ClassVar[int] = MessageType.STREAM_STATE_UPDATE
    state: int | None
    reason: int | None = None
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(state=self.state, reason=self.reason, timestamp=self.timestamp)


class SessionStateUpdate(Message, frozen=True):
    """`9`, server → client."""

    msg_type: ClassVar[int] = MessageType.SESSION_STATE_UPDATE
    session_id: str | None
    state: int | None
    stop_reason: int | None = None
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            rtms_session_id=self.session_id, state=self.state, stop_reason=self.stop_reason, timestamp=self.timestamp
        )


class SessionStateRequest(Message, frozen=True):
    """`10`, client → server."""

    msg_type: ClassVar[int] = MessageType.SESSION_STATE_REQ
    session_id: str | None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_session_id=self.session_id)


class SessionStateResponse(Message, frozen=True):
    """`11`, server → client."""

    msg_type: ClassVar[int] = MessageType.SESSION_STATE_RESP
    session_id: str | None
    state: int | None
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_session_id=self.session_id, state=self.state, timestamp=self.timestamp)


class KeepAliveRequest(Message, frozen=True):
    """`12`, server → client. Timestamp and sequence go back as they came, whatever their type."""

    msg_type: ClassVar[int] = MessageType.KEEP_ALIVE_REQ
    timestamp: object = None
    sequence: object = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(sequence=self.sequence, timestamp=self.timestamp)


class KeepAliveResponse(Message, frozen=True):
    """`13`, client → server: the same timestamp and sequence."""

    msg_type: ClassVar[int] = MessageType.KEEP_ALIVE_RESP
    timestamp: object = None
    sequence: object = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(sequence=self.sequence, timestamp=self.timestamp)


class Media(Message, frozen=True, gc=False):
    """`14`–`16`, server → client: one packet or picture."""

    media_type: ClassVar[MediaType]
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    """Milliseconds on Zoom's clock; `None` where it was missing or no number."""
    data: str | bytes | Raw
    """The payload as it came: the letters of the base64; of a packet that was read, where they lie in its frame, in
    the quotes of JSON: so that hundreds of waiting packets are not in memory twice."""
    length: int | None = None
    """What the server says that the payload's length is."""
    channel_id: UserId = None

    def payload(self) -> bytes | None:
        """The decoded payload; `None` where it is not base64 in any tolerated spelling."""
        data = self.data
        try:
            # By position: keywords cost as much as the decoding.
            return pybase64.b64decode(memoryview(data)[1:-1] if type(data) is Raw else data, None, True)
        except ValueError:  # binascii's own error is one
            return _decode_sloppy_base64(self.letters())

    def letters(self) -> bytes:
        """The letters of the base64."""
        data = self.data
        if type(data) is Raw:
            letters = bytes(memoryview(data)[1:-1])
            if b"\\" not in letters:
                return letters
            data = msgspec.json.decode(data, type=str)
        return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return {
            "content": _drop_none(
                user_id=self.user_id,
                user_name=self.user_name,
                channel_id=self.channel_id,
                data=self.data if isinstance(self.data, str) else self.letters().decode("ascii", "replace"),
                length=self.length,
                timestamp=self.timestamp,
            )
        }


class Audio(Media, frozen=True, gc=False):
    """`14`."""

    msg_type: ClassVar[int] = MessageType.MEDIA_DATA_AUDIO
    media_type: ClassVar[MediaType] = MediaType.AUDIO


class Video(Media, frozen=True, gc=False):
    """`15`."""

    msg_type: ClassVar[int] = MessageType.MEDIA_DATA_VIDEO
    media_type: ClassVar[MediaType] = MediaType.VIDEO


class Share(Media, frozen=True, gc=False):
    """`16`."""

    msg_type: ClassVar[int] = MessageType.MEDIA_DATA_SHARE
    media_type: ClassVar[MediaType] = MediaType.SHARE


class Transcript(Message, frozen=True):
    """`17`, server → client. Times are milliseconds on Zoom's clock."""

    msg_type: ClassVar[int] = MessageType.MEDIA_DATA_TRANSCRIPT
    media_type: ClassVar[MediaType] = MediaType.TRANSCRIPT
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    text: str | None
    """`None` where there was no text at all; empty for an interim result."""
    start_time: int | None = None
    end_time: int | None = None
    language: int | str | None = None
    attribute: int | None = None
    channel_id: UserId = None
    extra: dict[str, object] = {}

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return {
            "content": _drop_none(
                user_id=self.user_id,
                user_name=self.user_name,
                channel_id=self.channel_id,
                data=self.text,
                start_time=self.start_time,
                end_time=self.end_time,
                timestamp=self.timestamp,
                language=self.language,
                attribute=self.attribute,
                **self.extra,
            )
        }


class Chat(Message, frozen=True):
    """`18`, server → client; `extra` is whatever else the content carried."""

    msg_type: ClassVar[int] = MessageType.MEDIA_DATA_CHAT
    media_type: ClassVar[MediaType] = MediaType.CHAT
    user_id: UserId
    user_name: str | None
    timestamp: int | None
    text: str | None
    extra: dict[str, object] = {}

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return {
            "content": _drop_none(
                user_id=self.user_id,
                user_name=self.user_name,
                data=self.text,
                timestamp=self.timestamp,
                **self.extra,
            )
        }


class StreamStateRequest(Message, frozen=True):
    """`19`, client → server."""

    msg_type: ClassVar[int] = MessageType.STREAM_STATE_REQ
    stream_id: str | None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_stream_id=self.stream_id)


class StreamStateResponse(Message, frozen=True):
    """`20`, server → client."""

    msg_type: ClassVar[int] = MessageType.STREAM_STATE_RESP
    stream_id: str | None
    state: int | None
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_stream_id=self.stream_id, state=self.state, timestamp=self.timestamp)


class StreamCloseRequest(Message, frozen=True):
    """`21`, client → server: asks for a clean end."""

    msg_type: ClassVar[int] = MessageType.STREAM_CLOSE_REQ
    stream_id: str | None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(rtms_stream_id=self.stream_id)


class StreamCloseResponse(Message, frozen=True):
    """`22`, server → client."""

    msg_type: ClassVar[int] = MessageType.STREAM_CLOSE_RESP
    stream_id: str | None
    status_code: int | None
    reason: str = ""
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            rtms_stream_id=self.stream_id, status_code=self.status_code, reason=self.reason, timestamp=self.timestamp
        )


class VideoSubscriptionRequest(Message, frozen=True):
    """`28`, client → server: wants, or no longer wants, one participant's camera."""

    msg_type: ClassVar[int] = MessageType.VIDEO_SUBSCRIPTION_REQ
    user_id: UserId
    subscribe: bool
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(user_id=self.user_id, subscribe=self.subscribe, timestamp=self.timestamp)


class VideoSubscriptionResponse(Message, frozen=True):
    """`29`, server → client."""

    msg_type: ClassVar[int] = MessageType.VIDEO_SUBSCRIPTION_RESP
    user_id: UserId
    status_code: int | None
    reason: str = ""
    timestamp: int | None = None

    def body(self) -> dict[str, object]:
        """See `Message.body`."""
        return _drop_none(
            user_id=self.user_id, status_code=self.status_code, reason=self.reason, timestamp=self.timestamp
        )


class Unknown(Message, frozen=True):
    """A message of a type that this protocol version does not have, or has without a meaning (`23`–`27`)."""

    msg_type: ClassVar[int] = -1
    type: int | str | None
    """Its `msg_type` as it came."""
    fields: dict[str, object] = {}


class Unreadable(Message, frozen=True):
    """A frame that is no message; its bytes are in the capture."""

    msg_type: ClassVar[int] = -2
    problem: str


def encode(message: Message) -> bytes:
    """Write a message in its documented form, as compact JSON."""
    return dumps({"msg_type": int(message.msg_type)} | message.body())


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8; what UTF-8 cannot hold (lone surrogates) stays an escape."""
    try:
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, UnicodeError, OverflowError):
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def read(raw: bytes) -> Message:
    """Read one frame, in any shape that PROTOCOL §4 tolerates.

    Total: any bytes give a message, and nothing is raised. The caller keeps `raw`.
    """
    try:
        packet = _PACKET.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _read_slowly(raw)
    kind = _MEDIA.get(packet.msg_type)
    content = packet.content
    if (
        kind is None
        or content is None
        or content.timestamp is None
        or type(content.user_id) is str
        or type(content.channel_id) is str
        or memoryview(content.data)[0] != _QUOTE
        # The decoder does not look into fields that it skips.
        or not (raw.isascii() or _is_utf8(raw))
        or (len(raw) - len(content.data) > _SHALLOW and raw.count(b"{") + raw.count(b"[") > MAX_DEPTH)
    ):
        return _read_slowly(raw)
    return kind(content.user_id, content.user_name, content.timestamp, content.data, content.length, content.channel_id)


def loads(raw: bytes) -> object:
    """Parse JSON from a hostile source, strictly: no NaN, no invalid UTF-8, no deep nesting, no more than it can mean.

    Accepts what `json` does where the faster parser is too strict (lone surrogates in escapes).

    :raises ValueError: with a reason for people.
    """
    brackets = raw.count(b"[") + raw.count(b"{")
    if max(raw.count(b","), brackets) > MAX_MEMBERS:
        raise ValueError(f"JSON of more than {MAX_MEMBERS} members")
    if brackets > MAX_DEPTH and _deeper_than(raw, MAX_DEPTH):
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start})") from None
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        pass  # the standard library says what is wrong in better words, or reads it after all
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None


def user_id(value: object) -> UserId:
    """A user id: numbers may come as strings; other text stays as it is."""
    number = whole(value)
    if number is not None:
        return number
    return value if isinstance(value, str) else None


def text_or_none(value: object) -> str | None:
    """A text, or `None` where it is none."""
    return value if isinstance(value, str) else None


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


_PACKET = msgspec.json.Decoder(_Packet)
_SHALLOW = 2 * MAX_DEPTH + 44
"""Bytes around a payload that cannot hold too many pairs of brackets beside the least that a packet has: to count them
costs a microsecond."""
_QUOTE = ord('"')
_MEDIA: dict[int, type[Media]] = {14: Audio, 15: Video, 16: Share}


def _read_slowly(raw: bytes) -> Message:
    """Read whatever is not a media packet in the documented form."""
    try:
        body = loads(raw)
    except ValueError as error:
        return Unreadable(str(error))
    if not isinstance(body, dict):
        return Unreadable(f"JSON, but no object: {type(body).__name__}")
    if "msg_type" not in body:
        return Unreadable("a JSON object without msg_type")
    number = MessageType.find(body["msg_type"])
    if number is None:
        return Unknown(text_or_none(body["msg_type"]), body)
    reader = _READERS.get(number)
    return reader(body) if reader else Unknown(int(number), body)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


def _deeper_than(raw: bytes, limit: int) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NO_BRACKET):
        depth += 1 if byte in b"[{" else -1
        if depth > limit:
            return True
    return False


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def payload_nbytes(letters: bytes) -> int:
    """How many bytes the letters of base64 stand for."""
    return len(letters.rstrip(b"=")) * 3 // 4


def _decode_sloppy_base64(data: bytes) -> bytes | None:
    """Decode base64 with line breaks, without padding, in the URL alphabet or with JSON's escaped solidus."""
    data = data.replace(b"\\/", b"/")
    cleaned = (
        bytes(byte for byte in data if byte not in b" \t\r\n").rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    )
    try:
        return pybase64.b64decode(cleaned + b"=" * (-len(cleaned) % 4), validate=True)
    except binascii.Error:
        return None


def _drop_none(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


_Body = dict[str, object]
_KNOWN_CONTENT = frozenset(
    ("user_id", "user_name", "data", "text", "content", "timestamp", "length", "msg_type", "media_type")
)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _signature(value: object) -> Signature | None:
    return Signature(value) if isinstance(value, str) else None


def _id(body: _Body) -> str | None:
    for name in ("meeting_uuid", "session_id", "session_key", "engagement_id", "call_id", "webinar_uuid"):
        if isinstance(value := body.get(name), str):
            return value
    return None


def _product_ids(body: _Body) -> dict[str, str]:
    return {name: value for name in ("engagement_id", "call_id") if isinstance(value := body.get(name), str)}


def _signaling_request(body: _Body) -> Message:
    return SignalingHandshakeRequest(
        _id(body),
        text_or_none(body.get("rtms_stream_id")),
        _signature(body.get("signature")),
        whole(body.get("sequence")),
        _flag(body.get("buffer_data")),
        whole(body.get("protocol_version")),
        _product_ids(body),
    )


def _signaling_response(body: _Body) -> Message:
    server = body.get("media_server")
    given = server.get("server_urls") if isinstance(server, dict) else body.get("server_urls")
    if isinstance(given, str):
        given = {"all": given}
    urls = {
        "share" if key == "deskshare" else key: url
        for key, url in (given.items() if isinstance(given, dict) else ())
        if isinstance(url, str) and url
    }
    return SignalingHandshakeResponse(_status(body), _reason(body), urls, whole(body.get("sequence")))


def _media_request(body: _Body) -> Message:
    return MediaHandshakeRequest(
        _id(body),
        text_or_none(body.get("rtms_stream_id")),
        _signature(body.get("signature")),
        whole(body.get("media_type")),
        MediaParams.read(body.get("media_params")),
        whole(body.get("sequence")),
        whole(body.get("protocol_version")),
        _product_ids(body),
    )


def _media_response(body: _Body) -> Message:
    params = MediaParams.read(body.get("media_params"))
    return MediaHandshakeResponse(_status(body), _reason(body), params, whole(body.get("sequence")))


def _subscription(body: _Body) -> Message:
    events = body.get("events")
    return EventSubscription(
        tuple(
            (whole(event.get("event_type")), event.get("subscribe") is not False)
            for event in (events if isinstance(events, list) else ())
            if isinstance(event, dict)
        )
    )


def _event(body: _Body) -> Message:
    given = body.get("event")
    event = given if isinstance(given, dict) else {key: value for key, value in body.items() if key != "msg_type"}
    kind = event.get("event_type", event.get("event_code", given if isinstance(given, str) else None))
    number = whole(kind)
    fields = {key: value for key, value in event.items() if key not in ("event_type", "event_code", "timestamp")}
    return EventUpdate(text_or_none(kind) if number is None else number, whole(event.get("timestamp")), fields)


def _stream_state(body: _Body) -> Message:
    reason = body.get("reason", body.get("stop_reason"))
    return StreamStateUpdate(StreamState.find(body.get("state")), StopReason.find(reason), whole(body.get("timestamp")))


def _session_state(body: _Body) -> Message:
    reason = body.get("stop_reason", body.get("reason"))
    return SessionStateUpdate(
        text_or_none(body.get("rtms_session_id")),
        SessionState.find(body.get("state")),
        StopReason.find(reason),
        whole(body.get("timestamp")),
    )


def _content(body: _Body) -> _Body:
    """Bring the shapes of media content to one: nested, or a plain value with its fields beside it."""
    given = body.get("content")
    if isinstance(given, dict):
        return given
    beside = {key: value for key, value in body.items() if key not in ("msg_type", "content")}
    return beside if given is None else beside | {"data": given}


def _media(body: _Body) -> Message:
    content = _content(body)
    data = content.get("data")
    return _MEDIA[MessageType.find(body["msg_type"]) or 0](
        user_id(content.get("user_id")),
        text_or_none(content.get("user_name")),
        whole(content.get("timestamp")),
        data if isinstance(data, str) else "",
        whole(content.get("length")),
        user_id(content.get("channel_id")),
    )


_TRANSCRIPT_FIELDS = frozenset(("start_time", "end_time", "language", "attribute", "channel_id"))


def _transcript(body: _Body) -> Message:
    content = _content(body)
    language = content.get("language")
    return Transcript(
        user_id(content.get("user_id")),
        text_or_none(content.get("user_name")),
        whole(content.get("timestamp")),
        text_or_none(content.get("data", content.get("text"))),
        whole(content.get("start_time")),
        whole(content.get("end_time")),
        text_or_none(language) if whole(language) is None else whole(language),
        whole(content.get("attribute")),
        user_id(content.get("channel_id")),
        {key: value for key, value in content.items() if key not in _KNOWN_CONTENT | _TRANSCRIPT_FIELDS},
    )


def _chat(body: _Body) -> Message:
    content = _content(body)
    return Chat(
        user_id(content.get("user_id")),
        text_or_none(content.get("user_name")),
        whole(content.get("timestamp")),
        text_or_none(content.get("data", content.get("text"))),
        {key: value for key, value in content.items() if key not in _KNOWN_CONTENT},
    )


def _status(body: _Body) -> int | None:
    return StatusCode.find(body.get("status_code"))


def _reason(body: _Body) -> str:
    return text_or_none(body.get("reason")) or ""


def _stream_id(body: _Body) -> str | None:
    return text_or_none(body.get("rtms_stream_id"))


_READERS: dict[int, Callable[[_Body], Message]] = {
    MessageType.SIGNALING_HAND_SHAKE_REQ: _signaling_request,
    MessageType.SIGNALING_HAND_SHAKE_RESP: _signaling_response,
    MessageType.DATA_HAND_SHAKE_REQ: _media_request,
    MessageType.DATA_HAND_SHAKE_RESP: _media_response,
    MessageType.EVENT_SUBSCRIPTION: _subscription,
    MessageType.EVENT_UPDATE: _event,
    MessageType.CLIENT_READY_ACK: lambda body: ClientReadyAck(_stream_id(body)),
    MessageType.STREAM_STATE_UPDATE: _stream_state,
    MessageType.SESSION_STATE_UPDATE: _session_state,
    MessageType.SESSION_STATE_REQ: lambda body: SessionStateRequest(text_or_none(body.get("rtms_session_id"))),
    MessageType.SESSION_STATE_RESP: lambda body: SessionStateResponse(
        text_or_none(body.get("rtms_session_id")), SessionState.find(body.get("state")), whole(body.get("timestamp"))
    ),
    MessageType.KEEP_ALIVE_REQ: lambda body: KeepAliveRequest(body.get("timestamp"), body.get("sequence")),
    MessageType.KEEP_ALIVE_RESP: lambda body: KeepAliveResponse(body.get("timestamp"), body.get("sequence")),
    MessageType.MEDIA_DATA_AUDIO: _media,
    MessageType.MEDIA_DATA_VIDEO: _media,
    MessageType.MEDIA_DATA_SHARE: _media,
    MessageType.MEDIA_DATA_TRANSCRIPT: _transcript,
    MessageType.MEDIA_DATA_CHAT: _chat,
    MessageType.STREAM_STATE_REQ: lambda body: StreamStateRequest(_stream_id(body)),
    MessageType.STREAM_STATE_RESP: lambda body: StreamStateResponse(
        _stream_id(body), StreamState.find(body.get("state")), whole(body.get("timestamp"))
    ),
    MessageType.STREAM_CLOSE_REQ: lambda body: StreamCloseRequest(_stream_id(body)),
    MessageType.STREAM_CLOSE_RESP: lambda body: StreamCloseResponse(
        _stream_id(body), _status(body), _reason(body), whole(body.get("timestamp"))
    ),
    MessageType.VIDEO_SUBSCRIPTION_REQ: lambda body: VideoSubscriptionRequest(
        user_id(body.get("user_id")), body.get("subscribe") is not False, whole(body.get("timestamp"))
    ),
    MessageType.VIDEO_SUBSCRIPTION_RESP: lambda body: VideoSubscriptionResponse(
        user_id(body.get("user_id")), _status(body), _reason(body), whole(body.get("timestamp"))
    ),
}
"""One reader for each documented type; 23–27 carry nothing that is documented and stay `Unknown`."""
