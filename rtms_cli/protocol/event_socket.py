"""What crosses Zoom's event WebSocket, which delivers webhooks to an app that opens it (PROTOCOL §11)."""

from typing import ClassVar

from rtms_cli.protocol.fields import words_or_none
from rtms_cli.protocol.messages import Message, Unreadable
from rtms_cli.protocol.strict_json import dumps, loads

HEARTBEAT_S = 30.0
"""How often the client sends a heartbeat."""
SILENCE_S = 45.0
"""How long a connection may be silent before it is dead."""
HEARTBEAT = b'{"module":"heartbeat"}'
"""What the client sends, and all that it sends."""


class EventMessage(Message, frozen=True):
    """A message of the event WebSocket; it has a `module` in place of a number."""

    msg_type: ClassVar[int] = -3


class Heartbeat(EventMessage, frozen=True):
    """`heartbeat`: all that the client says."""


class ConnectionBuilt(EventMessage, frozen=True):
    """`build_connection`: the server's first word."""

    is_success: bool
    says: str = ""
    """The message's `content`, where it has one."""


class HeartbeatAnswer(EventMessage, frozen=True):
    """`heartbeat`: the answer to ours."""

    is_success: bool
    says: str = ""


class EventDelivery(EventMessage, frozen=True):
    """`message`: an event."""

    webhook: bytes
    """What a webhook's body would be."""


class OtherModule(EventMessage, frozen=True):
    """A message of another kind: shown, and ignored."""

    module: str
    says: str = ""


_MOST_SHOWN = 200


def read_event_message(raw: bytes) -> EventMessage | Unreadable:
    """Read a message of Zoom's event WebSocket. Total: any bytes give a value, and nothing is raised."""
    try:
        told = loads(raw)
    except ValueError as error:
        return Unreadable(str(error))
    if not isinstance(told, dict) or not isinstance(module := told.get("module"), str):
        return Unreadable("not a message of the event WebSocket: a JSON object with a 'module' is expected")
    content = told.get("content")
    says = (words_or_none(content) or "")[:_MOST_SHOWN]
    # Whether it worked is said with a truth value, or with a text; where nothing is said, it did.
    success = told.get("success")
    is_success = success.lower() != "false" if isinstance(success, str) else success not in (False, 0)
    match module.lower():
        case "build_connection":
            return ConnectionBuilt(is_success, says)
        case "heartbeat":
            return HeartbeatAnswer(is_success, says)
        case "message":
            if isinstance(content, str) and content:
                return EventDelivery(_unquoted(content).encode())
            if isinstance(content, dict):
                return EventDelivery(dumps(content))
            return Unreadable("a 'message' of the event WebSocket without content")
    return OtherModule(module[:_MOST_SHOWN], says)


def _unquoted(content: str) -> str:
    """An event's text, also where someone on the way has quoted it once more, or put a byte order mark in front."""
    content = content.removeprefix("\ufeff")
    if not content.lstrip().startswith('"'):
        return content
    try:
        inner = loads(content.encode())
    except ValueError:
        return content
    return inner if isinstance(inner, str) else content


def built(*, is_success: bool = True, says: str = "") -> bytes:
    """The server's first word."""
    return dumps({"module": "build_connection", "success": is_success, "content": says, "header": {}})


def heartbeat_answer() -> bytes:
    """The server's answer to a heartbeat."""
    return dumps({"module": "heartbeat", "success": True, "content": "live", "header": {}})


def delivery(body: bytes) -> bytes:
    """The message that delivers a webhook's body."""
    return dumps({"module": "message", "content": body.decode("utf-8", "replace"), "header": {}})
