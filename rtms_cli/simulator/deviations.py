"""Old or odd servers' ways of speaking (PROTOCOL §9)."""

import json
from enum import StrEnum

from rtms_cli.machine import Send
from rtms_cli.protocol.messages import (
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
    NO_SUM = "no-sum"
    """A `media_type` that is a sum of bits is refused with 14: one bit a socket, or 32."""


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


def _names_of(message: Message) -> tuple[tuple[str, type], ...]:
    if isinstance(message, StreamStateUpdate):
        return ("state", StreamState), ("reason", StopReason)
    if isinstance(message, SessionStateUpdate):
        return ("state", SessionState), ("stop_reason", StopReason)
    return ()


def _as_strings(value: object) -> object:
    if isinstance(value, dict):
        return {key: _as_strings(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
