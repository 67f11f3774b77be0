"""What goes wrong on purpose: faults that strike at a time, and old or odd servers' ways of speaking (PROTOCOL §9)."""

import base64
import json
from enum import StrEnum

from msgspec import Struct

from rtms_cli.machine import Send
from rtms_cli.protocol.messages import (
    Audio,
)


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


def _content(body: dict[str, object]) -> dict[str, object]:
    content = body["content"]
    assert isinstance(content, dict)
    return content
