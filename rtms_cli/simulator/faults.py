"""What goes wrong on purpose: faults that strike at a time, and old or odd servers' ways of speaking (PROTOCOL §9)."""

import base64
import json
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import Send
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    KeepAliveRequest,
    Media,
    MediaHandshakeResponse,
    Message,
    SessionStateUpdate,
    SignalingHandshakeResponse,
    StreamStateUpdate,
    Transcript,
    encode,
)
from rtms_cli.protocol.numbers import MessageType, SessionState, StatusCode, StopReason, StreamState


class Fault(StrEnum):
    """Something that happens once."""

    DROP_SIGNALING = "drop-signaling"
    """The signaling socket breaks, and takes the media with it."""
    DROP_MEDIA = "drop-media"
    """The media sockets break."""
    CLOSE_MEDIA = "close-media"
    """The media sockets are closed with the code in `number`."""
    FAILOVER = "failover"
    """The server dies; another one takes over, and a new started webhook tells where: at the same port, or at another
    one where `number` is 1."""
    SPLIT_BRAIN = "split-brain"
    """Another server takes over, at another port, but the old one does not notice: it goes on until the new one is
    spoken to."""
    SAY_INTERRUPTED = "say-interrupted"
    """`8` state 2 with the reason in `number`; the sockets that it is about stay open and dead."""
    EVENT_7 = "event-7"
    """MEDIA_CONNECTION_INTERRUPTED; the media sockets stay open and dead."""
    WEBHOOK_INTERRUPTED = "webhook-interrupted"
    """An interrupted webhook; the signaling socket stays open and dead."""
    RETRY_WEBHOOK = "retry-webhook"
    """The started webhook comes again, byte for byte."""
    STOP = "stop"
    """The stream ends for the stop reason in `number`."""
    STOP_WEBHOOK_ONLY = "stop-webhook-only"
    """The stream ends for the stop reason in `number`; only a webhook tells, and the sockets break."""
    SILENCE = "silence"
    """The connections die without a word: they stay open, and nothing comes any more."""
    REFUSE_SIGNALING = "refuse-signaling"
    """The next signaling handshake is refused with the status code in `number`."""
    REFUSE_MEDIA = "refuse-media"
    """The next media handshake is refused with the status code in `number`."""
    HANG_UP = "hang-up"
    """The next signaling handshake is answered with a close, code 1000."""
    DUPLICATE = "duplicate"
    """The next audio packet comes twice."""
    SWAP = "swap"
    """The next two audio packets come in the wrong order."""
    BAD_BASE64 = "bad-base64"
    """The next audio packet's payload is no base64."""
    BAD_JSON = "bad-json"
    """A frame that is no JSON."""
    BAD_UTF8 = "bad-utf8"
    """A binary frame that is no UTF-8."""
    UNKNOWN_TYPE = "unknown-type"
    """A message type that nobody knows."""
    ODD_AUDIO = "odd-audio"
    """The next audio packet has one byte more."""
    SKIP_KEEP_ALIVES = "skip-keep-alives"
    """No keep-alive is asked for `number` milliseconds."""
    DELAY = "delay"
    """The media of the next `number` milliseconds come at their end, in a burst."""


class Strike(Struct, frozen=True):
    """A fault, and when it strikes; before the session begins where `at_ms` is negative."""

    at_ms: int
    fault: Fault
    number: int = 0
    times: int = 1
    """How often, for refusals and for what happens to packets."""


class Deviation(StrEnum):
    """Something that a server does all the time; all of it was seen in the wild."""

    FLAT = "flat"
    """Content is a plain string, with its fields beside it."""
    NAMES = "names"
    """Types, states and reasons are names."""
    STRINGS = "strings"
    """Numbers are strings."""
    BINARY = "binary"
    """Messages come in binary frames."""
    NO_MEDIA_ANSWER = "no-media-answer"
    """`3` is never answered; media just begins."""
    EARLY_KEEP_ALIVE = "early-keep-alive"
    """A `12` comes before the `2`."""
    BARE_KEEP_ALIVE = "bare-keep-alive"
    """`12` has no timestamp and no sequence."""
    SIGNALING_KEEP_ALIVE_ONLY = "signaling-keep-alive-only"
    SILENT_REFUSAL = "silent-refusal"
    """A refused `1` is answered without a status code, and the socket stays open."""
    END_ON_MEDIA = "end-on-media"
    """`8` state 4 comes on the media socket."""
    ALL_ONLY = "all-only"
    """`2` has no URL but `all`."""


def spoken(channel: str, message: Message, deviations: frozenset[Deviation]) -> Send | None:
    """How a server with these deviations says a message; `None` where it does not."""
    if not deviations:
        return Send(channel, message)
    if isinstance(message, MediaHandshakeResponse) and Deviation.NO_MEDIA_ANSWER in deviations:
        if message.status_code == StatusCode.STATUS_OK:
            return None
    body = json.loads(encode(message))
    if Deviation.FLAT in deviations and isinstance(message, Media | Transcript | Chat):
        content = body.pop("content")
        body |= content | {"content": content["data"]}
        del body["data"]
    if isinstance(message, KeepAliveRequest) and Deviation.BARE_KEEP_ALIVE in deviations:
        body = {"msg_type": body["msg_type"]}
    if isinstance(message, SignalingHandshakeResponse):
        if message.status_code != StatusCode.STATUS_OK and Deviation.SILENT_REFUSAL in deviations:
            del body["status_code"]
        if Deviation.ALL_ONLY in deviations and "media_server" in body:
            urls = body["media_server"]["server_urls"]
            body["media_server"]["server_urls"] = {"all": urls["all"]}
    if Deviation.NAMES in deviations:
        body["msg_type"] = MessageType(message.msg_type).name  # type: ignore[call-arg]
        for key, numbers in _names_of(message):
            if body.get(key) is not None:
                body[key] = numbers(body[key]).name
    if Deviation.STRINGS in deviations:
        body = {key: _as_strings(value) if key != "media_params" else value for key, value in body.items()}
    return Send(channel, message, Deviation.BINARY in deviations, json.dumps(body, ensure_ascii=False).encode())


def spoilt(channel: str, message: Audio, fault: Fault) -> Send:
    """An audio packet, spoilt by `BAD_BASE64` or `ODD_AUDIO`."""
    payload = message.payload() or b""
    text = base64.b64encode(payload + b"\1").decode() if fault is Fault.ODD_AUDIO else "!" + "*" * 40
    body = message.body()
    body["content"] = {**_content(body), "data": text, "length": len(payload)}
    return Send(channel, message, raw=json.dumps({"msg_type": int(message.msg_type), **body}).encode())


STRAY = {
    Fault.BAD_JSON: (b'{"msg_type": 14, "content": {', False),
    Fault.BAD_UTF8: (b'{"msg_type": 17, "content": {"data": "\xff\xfe"}}', True),
    Fault.UNKNOWN_TYPE: (b'{"msg_type": 99, "news": "from the future"}', False),
}
"""Frames that are no message that anybody knows, and whether they are binary."""


def _names_of(message: Message) -> tuple[tuple[str, type], ...]:
    if isinstance(message, StreamStateUpdate):
        return ("state", StreamState), ("reason", StopReason)
    if isinstance(message, SessionStateUpdate):
        return ("state", SessionState), ("stop_reason", StopReason)
    return ()


def _content(body: dict[str, object]) -> dict[str, object]:
    content = body["content"]
    assert isinstance(content, dict)
    return content


def _as_strings(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_strings(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
