"""The fields of every message that PROTOCOL.md knows, those that it tolerates included."""

from collections.abc import Iterator, Mapping

from rtms_cli.protocol.numbers import MessageType, Product, whole

_HEAD = frozenset(("protocol_version", "sequence"))
_IDS = frozenset(("meeting_uuid", "call_id", "engagement_id", "rtms_stream_id", "signature", "rtms_client_agent"))
_WHO = frozenset(("user_id", "user_name", "timestamp"))
_MEDIA = _WHO | {"data", "length"}
_RESULT = frozenset(("status_code", "reason", "timestamp"))

TOP: dict[int, frozenset[str]] = {
    1: _HEAD | _IDS | {"buffer_data", "media_type"},
    2: _HEAD | {"status_code", "reason", "media_server", "srtp_keys"},
    3: _HEAD | _IDS | {"media_type", "payload_encryption", "media_params"},
    4: _HEAD | {"status_code", "reason", "payload_encrypted", "media_params"},
    5: frozenset(("events",)),
    6: frozenset(("event",)),
    7: frozenset(("rtms_stream_id",)),
    8: frozenset(("state", "reason", "timestamp")),
    9: frozenset(("rtms_session_id", "state", "stop_reason", "reason", "timestamp")),
    10: frozenset(("rtms_session_id",)),
    11: frozenset(("rtms_session_id", "state", "timestamp")),
    12: frozenset(("timestamp", "sequence")),
    13: frozenset(("timestamp", "sequence")),
    14: _WHO | {"content"},
    15: _WHO | {"content"},
    16: _WHO | {"content"},
    17: _WHO | {"content"},
    18: _WHO | {"content"},
    19: frozenset(("rtms_stream_id",)),
    20: frozenset(("rtms_stream_id", "state", "timestamp")),
    21: frozenset(("rtms_stream_id",)),
    22: _RESULT | {"rtms_stream_id"},
    28: frozenset(("user_id", "subscribe", "timestamp")),
    29: _RESULT | {"user_id"},
}
"""Fields beside `msg_type`; of 23–27 none is documented, so none is unknown."""

CONTENT: dict[int, frozenset[str]] = {
    14: _MEDIA | {"channel_id"},
    15: _MEDIA,
    16: _MEDIA,
    17: _WHO | {"data", "text", "start_time", "end_time", "language", "channel_id", "attribute"},
}
"""Fields of `content`; chat may carry whatever it likes."""

SERVERS = frozenset(("audio", "video", "share", "deskshare", "transcript", "chat", "all"))
PARAMS: dict[str, frozenset[str]] = {
    "audio": frozenset(("content_type", "sample_rate", "channel", "codec", "data_opt", "send_rate")),
    "video": frozenset(("content_type", "codec", "resolution", "data_opt", "fps")),
    "deskshare": frozenset(("content_type", "codec", "resolution", "fps")),
    "transcript": frozenset(("content_type", "src_language", "language", "enable_lid")),
    "chat": frozenset(("content_type",)),
}
EVENT_NUMBERS = range(1, 10)
_EVENT = frozenset(("event_type", "event_code", "timestamp", "user_id", "user_name", "participants"))
_PERSON = frozenset(("user_id", "user_name"))


def unknown_fields(body: Mapping[str, object], product: str) -> Iterator[str]:
    """The paths of the fields (`content.level`) that are not in PROTOCOL.md, of a message of a known type."""
    kind = MessageType.find(body.get("msg_type")) or 0
    if kind not in TOP:
        return
    flat = CONTENT.get(kind, frozenset()) if isinstance(body.get("content"), str) else frozenset()
    yield from _beyond(body, TOP[kind] | flat | {"msg_type"}, "")
    match kind:
        case 2:
            yield from _beyond(body.get("media_server"), frozenset(("server_urls",)), "media_server.")
            server = body.get("media_server")
            urls = server.get("server_urls") if isinstance(server, Mapping) else None
            yield from _beyond(urls, SERVERS, "media_server.server_urls.")
        case 3 | 4:
            params = body.get("media_params")
            yield from _beyond(params, frozenset((*PARAMS, "share")), "media_params.")
            for name, known in PARAMS.items():
                inner = params.get(name) if isinstance(params, Mapping) else None
                yield from _beyond(inner, known, f"media_params.{name}.")
        case 5:
            for event in _listed(body.get("events")):
                yield from _beyond(event, frozenset(("event_type", "subscribe")), "events[].")
        case 6:
            yield from _of_event(body.get("event"), product)
        case _ if kind in CONTENT:
            yield from _beyond(body.get("content"), CONTENT[kind], "content.")


def _of_event(event: object, product: str) -> Iterator[str]:
    number = whole(event.get("event_type", event.get("event_code"))) if isinstance(event, Mapping) else None
    own_numbers = product == Product.CONTACT_CENTER and (number or 0) >= 8
    if isinstance(event, Mapping) and number in EVENT_NUMBERS and not own_numbers:
        yield from _beyond(event, _EVENT, "event.")
        for person in _listed(event.get("participants")):
            yield from _beyond(person, _PERSON, "event.participants[].")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _beyond(value: object, known: frozenset[str], path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name in value:
            if name not in known:
                yield path + str(name)
