"""Dialects of old or unusual servers (PROTOCOL §9)."""

import json
from enum import StrEnum
from typing import Any

from rtms_cli.machine import Send
from rtms_cli.protocol.messages import (
    Chat,
    EventUpdate,
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
from rtms_cli.protocol.numbers import (
    MeetingEvent,
    MessageType,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)


class Deviation(StrEnum):
    """A permanent deviation of a server. All of these occur in practice."""

    FLAT = "flat"
    """`content` is a plain string, and its fields are next to it."""
    NAMES = "names"
    """Types, states and reasons are names. Stop reasons have their older names."""
    STRINGS = "strings"
    """Numbers are strings."""
    BINARY = "binary"
    """Messages are sent in binary frames."""
    NO_MEDIA_ANSWER = "no-media-answer"
    """`3` is never answered. Media start without a `4`."""
    EARLY_KEEP_ALIVE = "early-keep-alive"
    """A `12` is sent before the `2`."""
    BARE_KEEP_ALIVE = "bare-keep-alive"
    """`12` has no timestamp and no sequence."""
    SIGNALING_KEEP_ALIVE_ONLY = "signaling-keep-alive-only"
    SILENT_REFUSAL = "silent-refusal"
    """The answer to a refused `1` has no status code, and the socket stays open."""
    END_ON_MEDIA = "end-on-media"
    """`8` state 4 is sent on the media socket."""
    ALL_ONLY = "all-only"
    """`2` has no URL but `all`."""
    NO_SUM = "no-sum"
    """A `media_type` with several bits is refused with 14. Only one bit per socket, or 32, is accepted."""
    OLD_EVENTS = "old-events"
    """A `5` with an event that was added in 2026 is refused as a whole, with 6."""
    STATUS = "status"
    """Answers have `status` in place of `status_code`."""
    SEVERAL_URLS = "several-urls"
    """Each URL of webhooks and of `2` follows an `srt://` URL and a comma, and `2` has a `srt_passphrase`."""
    NESTED = "nested"
    """The fields of webhooks are in `payload.object`."""
    NUMERIC_IDS = "numeric-ids"
    """The ids in webhooks are numbers."""
    WEBINAR_UUID = "webinar-uuid"
    """A webinar's webhooks have `webinar_uuid`, and no `meeting_uuid`."""
    PEOPLE = "people"
    """`participants` is an object or a list of ids, and `participant_info` is misspelt."""
    EVENT_CODE = "event-code"
    """Events have an `event_code` in addition to `event_type`; sharing events have only `event_code`. The numbers are
    made up."""
    MICROSECONDS = "microseconds"
    """Timestamps of media are in µs."""
    SECONDS = "seconds"
    """Timestamps of media are in seconds, with decimals."""
    DATA_URL = "data-url"
    """Payloads have the prefix `data:…;base64,`."""
    CHAT_AS_JSON = "chat-as-json"
    """The `data` of a chat message is a JSON string that holds its fields."""
    TWIN_TIMES = "twin-times"
    """Two consecutive audio packets share a timestamp."""
    OTHER_CHANNELS = "other-channels"
    """L16 is stereo if mono was granted, and mono if stereo was."""
    NAL_UNITS = "nal-units"
    """Each H.264 NAL unit is sent in a separate message."""
    OTHER_CODEC = "other-codec"
    """Halfway through the session, pictures change from images to H.264, or from H.264 to JPG."""


MISFITS = frozenset({Deviation.TWIN_TIMES, Deviation.OTHER_CHANNELS, Deviation.NAL_UNITS, Deviation.OTHER_CODEC})
"""Deviations that change what is sent, not only how it is encoded."""


def spoken(channel: str, message: Message, deviations: frozenset[Deviation]) -> Send | None:
    """Encode a message as a server with these deviations does, or return `None` if it does not send it."""
    if not deviations:
        return Send(channel, message)
    if isinstance(message, MediaHandshakeResponse) and Deviation.NO_MEDIA_ANSWER in deviations:
        if message.status_code == StatusCode.STATUS_OK:
            return None
    body = json.loads(encode(message))
    if isinstance(message, EventUpdate):
        _change_event(body["event"], deviations)
    if isinstance(message, Media | Transcript | Chat):
        _change_content(body["content"], message, deviations)
    if Deviation.CHAT_AS_JSON in deviations and isinstance(message, Chat):
        body["content"] = {"data": json.dumps(body["content"], ensure_ascii=False)}
    if Deviation.FLAT in deviations and isinstance(message, Media | Transcript | Chat):
        content = body.pop("content")
        body |= content | {"content": content["data"]}
        del body["data"]
    if isinstance(message, KeepAliveRequest) and Deviation.BARE_KEEP_ALIVE in deviations:
        body = {"msg_type": body["msg_type"]}
    if isinstance(message, SignalingHandshakeResponse):
        _greet(body, message, deviations)
    if Deviation.STATUS in deviations and "status_code" in body:
        body["status"] = body.pop("status_code")
    if Deviation.NAMES in deviations:
        body["msg_type"] = MessageType(message.msg_type).name  # type: ignore[call-arg]
        for key, numbers in _names_of(message):
            if body.get(key) is not None:
                name = numbers(body[key]).name
                body[key] = _OLD_NAMES.get(name, name)
    if Deviation.STRINGS in deviations:
        body = {key: _as_strings(value) if key != "media_params" else value for key, value in body.items()}
    return Send(channel, message, Deviation.BINARY in deviations, json.dumps(body, ensure_ascii=False).encode())


def _change_content(content: dict[str, Any], message: Message, deviations: frozenset[Deviation]) -> None:
    """Apply the deviations to the content of a media message, in place."""
    if content.get("timestamp") is not None:
        if Deviation.MICROSECONDS in deviations:
            content["timestamp"] *= 1000
        elif Deviation.SECONDS in deviations:
            content["timestamp"] /= 1000
    if Deviation.DATA_URL in deviations and isinstance(message, Media):
        content["data"] = "data:application/octet-stream;base64," + content["data"]


def _change_event(event: dict[str, Any], deviations: frozenset[Deviation]) -> None:
    """Apply the deviations to an event, in place."""
    if Deviation.EVENT_CODE in deviations:
        event["event_code"] = 900_000 + event["event_type"]
        if event["event_type"] in (MeetingEvent.SHARING_START, MeetingEvent.SHARING_STOP):
            del event["event_type"]  # nothing depends on these
    if Deviation.PEOPLE not in deviations:
        return
    if "participant_info" in event:
        event["paticipant_info"] = event.pop("participant_info")
    people = event.get("participants")
    if not people:
        return
    if len(people) == 1:
        event["participants"] = people[0]
    elif all("user_name" in person for person in people):
        event["participants"] = {str(person["user_id"]): person["user_name"] for person in people}
    else:
        event["participants"] = [person["user_id"] for person in people]


def posted(payload: dict[str, object], product: Product, deviations: frozenset[Deviation]) -> dict[str, object]:
    """Return a webhook's payload with the deviations applied."""
    if Deviation.NUMERIC_IDS in deviations:
        payload |= {name: int(str(payload[name])) for name in (product.id_field, "rtms_stream_id")}
    if Deviation.WEBINAR_UUID in deviations and product is Product.WEBINAR:
        payload["webinar_uuid"] = payload.pop("meeting_uuid")
    if Deviation.SEVERAL_URLS in deviations and "server_urls" in payload:
        payload["server_urls"] = f"{_SRT}?passphrase=hush-hush,{payload['server_urls']}"
    return {"object": payload} if Deviation.NESTED in deviations else payload


def _greet(body: dict[str, Any], message: SignalingHandshakeResponse, deviations: frozenset[Deviation]) -> None:
    """Apply the deviations to a `2`, in place."""
    if message.status_code != StatusCode.STATUS_OK:
        if Deviation.SILENT_REFUSAL in deviations:
            del body["status_code"]
        return
    urls = body["media_server"]["server_urls"]
    if Deviation.ALL_ONLY in deviations:
        urls = {"all": urls["all"]}
    if Deviation.SEVERAL_URLS in deviations:
        urls = {key: f"{_SRT}/{key}?passphrase=hush-hush,{url}" for key, url in urls.items()}
        body |= {"datacenter_region": "nowhere", "srt_passphrase": "hush-hush", "srt_pbkey_length": 16}
    body["media_server"]["server_urls"] = urls


_SRT = "srt://simulated.invalid:9000"
_OLD_NAMES = {
    StopReason.STOP_BC_HOST_DISABLED_APP.name: "STOP_BC_APP_DISABLED_BY_HOST",
    StopReason.STOP_BC_INSTANCE_CONNECTION_INTERRUPTED.name: "STOP_BC_MEETING_CONNECTION_INTERRUPTED",
}
"""Older names of two stop reasons."""


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
