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
"""Events that come without a subscription."""


def check_identity(
    asked: SignalingHandshakeRequest | MediaHandshakeRequest, identity: str, stream_id: str, signature: Signature
) -> tuple[StatusCode, str]:
    """What is wrong with a handshake's ids and signature, beside the ones that are right.

    :returns: the status code, and the reason in words.
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
    """Note what a handshake should have, and real servers do without."""
    missing = [name for name in ("protocol_version", "sequence") if getattr(asked, name) is None]
    if missing:
        text = f"{asked.msg_type:d} without {' and '.join(missing)}; it is accepted all the same"
        client.find(channel, text, is_wrong=False)


def check_media(asked: MediaHandshakeRequest, scopes: MediaType, client: Client) -> tuple[StatusCode, str, MediaType]:
    """What is wrong with what a media handshake asks for.

    :param scopes: the media that the app may have, bit by bit.
    :returns: the status code, the reason in words, and the kinds that the socket gets.
    """
    none = MediaType(0)
    if client.signaling is None:
        return StatusCode.STATUS_INVALID_MESSAGE_TYPE, "there is no signaling connection", none
    if asked.media_type is None:
        return StatusCode.STATUS_INVALID_MEDIA_TYPE, "media_type is missing", none
    if not 0 < asked.media_type <= MediaType.ALL:
        return StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE, f"media_type {asked.media_type} is no sum of bits", none
    if asked.media_type.bit_count() > 1 and client.refuses_sums:
        return StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE, f"media_type {asked.media_type} is a sum of bits", none
    kinds = spelled_out(MediaType(asked.media_type))
    if asked.media_type == MediaType.ALL:
        kinds &= scopes
    for kind, status in NO_SCOPE.items():
        if kind in kinds and kind not in scopes:
            return status, f"the app has no scope for {MEDIA_NAMES[kind]}", none
    taken = client.kinds
    if taken and kinds & taken == kinds and taken == scopes:
        return StatusCode.STATUS_MEDIA_DATA_ALL_CONNECTION_EXIST, "all media connections exist", none
    if kinds & taken:
        return StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION, "this media type has a connection", none
    fault = params_fault(asked.params, kinds)
    if fault is not None:
        return fault.status, fault.text, none
    return StatusCode.STATUS_OK, "", kinds


def check_events(message: EventSubscription, product: str, client: Client) -> tuple[StatusCode, str]:
    """What is wrong with the events that a client subscribes to, beside what is only noted.

    :returns: the status code, and the reason in words.
    """
    new_events = IVR_EVENTS if product == Product.CONTACT_CENTER else CHAT_GROUP_EVENTS
    for event, _ in message.events:
        if event is None or not 0 < event < IVR_EVENTS.stop:
            client.find(SIGNALING, f"5 EVENT_SUBSCRIPTION for {event}, which is no event type")
        elif event in BY_THEMSELVES:
            client.find(SIGNALING, f"5 EVENT_SUBSCRIPTION for {event}, which comes by itself")
        elif client.has_old_events and event >= new_events.start:
            return StatusCode.STATUS_INVALID_EVENT_TYPE, f"there is no event {event}"
    return StatusCode.STATUS_OK, ""


def is_mistake(status: StatusCode, asked: MediaHandshakeRequest) -> bool:
    """Whether a refusal is for a mistake of the client: not where a scope is missing, or this server takes no sum."""
    is_sum = status is StatusCode.STATUS_MEDIA_TYPE_INVALID_VALUE and 0 < (asked.media_type or 0) < MediaType.ALL
    return status not in NO_SCOPE.values() and not is_sum


def granted(asked: MediaParams, kinds: MediaType) -> MediaParams:
    """What valid parameters get: what they ask for, with the defaults, but pictures are raw in any case."""
    full = asked.only(kinds).or_else(DEFAULT_PARAMS).only(kinds)
    video, share = full.video, full.share
    return structs.replace(
        full,
        video=video and structs.replace(video, content_type=ContentType.RAW_VIDEO),
        share=share and structs.replace(share, content_type=ContentType.RAW_VIDEO),
    )
