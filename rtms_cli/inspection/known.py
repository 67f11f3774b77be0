"""The fields of a message that its definition does not have."""

from collections.abc import Iterator, Mapping

from rtms_cli.protocol.messages import DEFINITIONS
from rtms_cli.protocol.numbers import MeetingEvent, MessageType, Product, as_int

_OF_ALL = range(MeetingEvent.FIRST_PACKET_TIMESTAMP, MeetingEvent.PARTICIPANT_VIDEO_ON)
"""Events whose fields are documented, and which Contact Center numbers in the same way."""
_OF_MEETINGS = range(MeetingEvent.FIRST_PACKET_TIMESTAMP, MeetingEvent.CHAT_GROUP_CREATE)


def unknown_fields(body: Mapping[str, object], product: str) -> Iterator[str]:
    """The paths of the fields (`content.level`) that are not documented, of a message of a known type."""
    kind = MessageType.find(body.get("msg_type")) or 0
    if kind not in DEFINITIONS:
        return
    is_open = kind == MessageType.EVENT_UPDATE and not _is_documented(body.get("event"), product)
    for place in DEFINITIONS[kind].shape.walk(body):
        if place.key is None and place.name != "msg_type" and not (is_open and place.path.startswith("event.")):
            yield place.path


def _is_documented(event: object, product: str) -> bool:
    """Whether the fields of an event are documented."""
    number = as_int(event.get("event_type")) if isinstance(event, Mapping) else None
    known = _OF_ALL if product == Product.CONTACT_CENTER else _OF_MEETINGS
    return number in known
