"""Ways of writing a message that PROTOCOL §4 tolerates but does not document, and channels it does not belong on."""

from collections.abc import Iterator, Mapping

from rtms_cli.machine import SIGNALING
from rtms_cli.protocol.messages import Audio, Media
from rtms_cli.protocol.numbers import Codec, MessageType

_ON_SIGNALING = frozenset((1, 2, 5, 6, 7, 8, 9, 10, 11, 19, 20, 21, 22, 28, 29))
_ON_MEDIA = frozenset((3, 4, *range(14, 19), *range(23, 28)))
_NUMBERS = frozenset(
    (
        "msg_type", "protocol_version", "sequence", "status_code", "state", "stop_reason", "timestamp", "event_type",
        "event_code", "length", "start_time", "end_time", "media_type",
    )
)  # fmt: skip
"""Fields that are numbers wherever they stand; a `user_id` may be text, and so may `reason`, but for that of `8`."""
_CONTENT = frozenset(int(kind) for kind in MessageType if kind.name.startswith("MEDIA_DATA_"))


def odd_forms(body: Mapping[str, object]) -> Iterator[str]:
    """What is written in another way than documented: `state is text ("ACTIVE"), not a number`."""
    kind = MessageType.find(body.get("msg_type"))
    if kind in _CONTENT and isinstance(body.get("content"), str):
        yield "content is text, and its fields stand beside it"
    yield from _texts(body, "")
    if kind == MessageType.STREAM_STATE_UPDATE and isinstance(body.get("reason"), str):
        yield f"reason is text ({_shown(body['reason'])}), not a number"
    for name in ("content", "event"):
        inner = body.get(name)
        if isinstance(inner, Mapping):
            yield from _texts(inner, f"{name}.")


def wrong_channel(kind: int | str | None, channel: str) -> str | None:
    """Which channel a message type belongs on, where this one is another."""
    if channel == SIGNALING:
        return "a media channel" if kind in _ON_MEDIA else None
    return SIGNALING if kind in _ON_SIGNALING else None


def bad_payload(message: Media, codec: int | None) -> str | None:
    """What is wrong with a packet's payload: no base64, another length than it says, half a sample.

    :param codec: what was granted for sound.
    """
    payload = message.payload()
    if payload is None:
        return "its data is no base64"
    if isinstance(message, Audio) and codec == Codec.L16 and len(payload) % 2:
        return f"{len(payload)} bytes are no whole number of 16 bit samples"
    if message.length is not None and message.length != len(payload):
        return f"length says {message.length}, the payload has {len(payload)} bytes"
    return None


def _texts(body: Mapping[str, object], path: str) -> Iterator[str]:
    for name, value in body.items():
        if name in _NUMBERS and isinstance(value, str):
            yield f"{path}{name} is text ({_shown(value)}), not a number"


def _shown(value: object) -> str:
    return f'"{str(value)[:40]}"'
