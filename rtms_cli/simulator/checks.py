"""What a server checks in handshakes, and what it grants (PROTOCOL §3–5, §8)."""

import hmac

from msgspec import structs

from rtms_cli.machine import SIGNALING
from rtms_cli.protocol.media import DEFAULT_PARAMS, MEDIA_NAMES, NO_SCOPE, MediaParams, params_fault, spelled_out
from rtms_cli.protocol.messages import (
    EventSubscription,
    MediaHandshakeRequest,
    SignalingHandshakeRequest,
    Signature,
)
from rtms_cli.protocol.numbers import (
    CHAT_GROUP_EVENTS,
    IVR_EVENTS,
    ContentType,
    MediaType,
    MeetingEvent,
    Product,
    StatusCode,
)
from rtms_cli.simulator.client import Client

BY_THEMSELVES = (MeetingEvent.FIRST_PACKET_TIMESTAMP, MeetingEvent.MEDIA_CONNECTION_INTERRUPTED)
"""Events that the server sends without a subscription."""


def check_identity(
    asked: SignalingHandshakeRequest | MediaHandshakeRequest, identity: str, stream_id: str, signature: Signature
) -> tuple[StatusCode, str]:
    """Check a handshake's ids and signature against the correct ones.

    :returns: the status code and a readable reason.
    """
    if asked.protocol_version not in (None, 1):
        return StatusCode.STATUS_INVALID_PAYLOAD, f"protocol_version {asked.protocol_version} is not 1"
    if asked.id is None or asked.stream_id is None or asked.signature is None:
        return StatusCode.STATUS_INVALID_PAYLOAD, "meeting_uuid, rtms_stream_id or signature is missing"
    if asked.stream_id != stream_id or asked.id != identity:
        return StatusCode.STATUS_INVALID_RTMS_STREAM_ID, "no such stream: meeting_uuid or rtms_stream_id is wrong"
    if not hmac.compare_digest(asked.signature.encode(), signature.encode()):
        return StatusCode.STATUS_INVALID_SIGNATURE, "the signature is wrong"
    return StatusCode.STATUS_OK, ""


def note_missing(asked: SignalingHandshakeRequest | MediaHandshakeRequest, channel: str, client: Client) -> None:
    """Note missing fields that a handshake should have but that real servers do not require."""
    missing = [name for name in ("protocol_version", "sequence") if getattr(asked, name) is None]
    if missing:
        text = f"{asked.msg_type:d} without {' and '.join(missing)}; accepted anyway"
        client.find(channel, text, is_wrong=False)


def check_media(asked: MediaHandshakeRequest, scopes: MediaType, client: Client) -> tuple[StatusCode, str, MediaType]:
    """Check what a media handshake asks for.

    :param scopes: the media that the app may receive, as a bit mask.
    :returns: the status code, a readable reason, and the kinds of media that the socket receives.
    """
    none = MediaType(0)
    if client.signaling is None:
        return StatusCode.STATUS_INVALID_MESSAGE_TYPE, "no signaling connection is open", none
    if asked.media_type is None:
        return StatusCode.STATUS_INVALID_MEDIA_TYPE, "media_type is missing", none
    if not 0 < asked.media_type <= MediaType.ALL:
        return StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE, f"media_type {asked.media_type} is not a bit mask", none
    if asked.media_type.bit_count() > 1 and client.refuses_sums:
        return StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE, f"media_type {asked.media_type} combines media types", none
    kinds = spelled_out(MediaType(asked.media_type))
    if asked.media_type == MediaType.ALL:
        kinds &= scopes
    for kind, status in NO_SCOPE.items():
        if kind in kinds and kind not in scopes:
            return status, f"the app has no scope for {MEDIA_NAMES[kind]}", none
    taken = client.kinds
    if taken and kinds & taken == kinds and taken == scopes:
        return StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST, "connections for all media types already exist", none
    if kinds & taken:
        return StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION, "this media type already has a connection", none
    fault = params_fault(asked.params, kinds)
    if fault is not None:
        return fault.status, fault.text, none
    return StatusCode.STATUS_OK, "", kinds


def check_events(message: EventSubscription, product: str, client: Client) -> tuple[StatusCode, str]:
    """Check the events that a client subscribes to. Minor findings are only noted.

    :returns: the status code and a readable reason.
    """
    new_events = IVR_EVENTS if product == Product.CONTACT_CENTER else CHAT_GROUP_EVENTS
    for event, _ in message.events:
        if event is None or not 0 < event < IVR_EVENTS.stop:
            client.find(SIGNALING, f"5 EVENT_SUBSCRIPTION for {event}, which is not an event type")
        elif event in BY_THEMSELVES:
            client.find(SIGNALING, f"5 EVENT_SUBSCRIPTION for {event}, which is sent without a subscription")
        elif client.has_old_events and event >= new_events.start:
            return StatusCode.STATUS_INVALID_EVENT_TYPE, f"event {event} does not exist"
    return StatusCode.STATUS_OK, ""


def is_mistake(status: StatusCode, asked: MediaHandshakeRequest) -> bool:
    """Return whether a refusal is the client's mistake, and not due to a missing scope or this server's limits."""
    is_sum = status is StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE and 0 < (asked.media_type or 0) < MediaType.ALL
    return status not in NO_SCOPE.values() and not is_sum


def granted(asked: MediaParams, kinds: MediaType) -> MediaParams:
    """Return the parameters granted to a valid request: as requested, with defaults, and always raw pictures."""
    full = asked.only(kinds).or_else(DEFAULT_PARAMS).only(kinds)
    video, share = full.video, full.share
    return structs.replace(
        full,
        video=video and structs.replace(video, content_type=ContentType.RAW_VIDEO),
        share=share and structs.replace(share, content_type=ContentType.RAW_VIDEO),
    )
