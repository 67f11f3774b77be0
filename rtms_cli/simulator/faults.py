"""Deliberate faults (PROTOCOL §9), and what each does to a stream.

A handler uses the public methods of three objects: the stream's server (`Zoom.say`, `announce`, `fail_over`,
`refuse_next`, `end`), its client (`Client.lose`, `send_stray`, `skip_keep_alives`), and the feed that the fault belongs
to (`MadeUp.spoil`, `delay`).
"""

import base64
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from rtms_cli.machine import BROKEN, MEDIA, SIGNALING
from rtms_cli.protocol.messages import Audio, EventUpdate, StreamStateUpdate
from rtms_cli.protocol.numbers import MediaType, MeetingEvent, StopReason, StreamState
from rtms_cli.simulator.client import KEEP_ALIVE_S, MOST_UNANSWERED, what_is_lost

if TYPE_CHECKING:
    from rtms_cli.simulator.show import MadeUp
    from rtms_cli.simulator.zoom import Zoom


class Fault(StrEnum):
    """A one-time fault."""

    DROP_SIGNALING = "drop-signaling"
    """The signaling socket breaks, and the media sockets with it."""
    DROP_MEDIA = "drop-media"
    """The media sockets break."""
    CLOSE_MEDIA = "close-media"
    """The media sockets are closed with the code in `number`."""
    FAILOVER = "failover"
    """The server dies and another one takes over. A new started webhook has its URL, on the same port or, if `number`
    is 1, on another port."""
    SPLIT_BRAIN = "split-brain"
    """Another server takes over on another port, but the old one does not notice. It continues until a client connects
    to the new one."""
    SAY_INTERRUPTED = "say-interrupted"
    """`8` state 2 with the reason in `number`. The sockets concerned stay open but dead."""
    EVENT_7 = "event-7"
    """MEDIA_CONNECTION_INTERRUPTED. The media sockets stay open but dead."""
    WEBHOOK_INTERRUPTED = "webhook-interrupted"
    """An interrupted webhook. The signaling socket stays open but dead."""
    RETRY_WEBHOOK = "retry-webhook"
    """The started webhook is sent again, byte for byte."""
    OLD_STARTED = "old-started"
    """A started webhook from `number` minutes before the stream's start arrives late."""
    OLD_STOPPED = "old-stopped"
    """The same for a stopped webhook."""
    OLD_INTERRUPTED = "old-interrupted"
    """The same for an interrupted webhook."""
    STOP = "stop"
    """The stream ends with the stop reason in `number`."""
    STOP_WEBHOOK_ONLY = "stop-webhook-only"
    """The stream ends with the stop reason in `number`. Only a webhook reports it, and the sockets break."""
    SILENCE = "silence"
    """The connections die silently: they stay open, but nothing arrives any more."""
    REFUSE_SIGNALING = "refuse-signaling"
    """The next signaling handshake is refused with the status code in `number`."""
    REFUSE_MEDIA = "refuse-media"
    """The next media handshake is refused with the status code in `number`."""
    HANG_UP = "hang-up"
    """The next signaling handshake is answered with a close frame, code 1000."""
    DUPLICATE = "duplicate"
    """The next audio packet is sent twice."""
    SWAP = "swap"
    """The next two audio packets are sent in the wrong order."""
    BAD_BASE64 = "bad-base64"
    """The next audio packet's payload is not valid base64."""
    BAD_JSON = "bad-json"
    """A frame that is not valid JSON."""
    BAD_UTF8 = "bad-utf8"
    """A binary frame that is not valid UTF-8."""
    UNKNOWN_TYPE = "unknown-type"
    """An unknown message type."""
    ODD_AUDIO = "odd-audio"
    """The next audio packet has one extra byte."""
    SKIP_KEEP_ALIVES = "skip-keep-alives"
    """The server sends no keep-alive requests for `number` ms."""
    DELAY = "delay"
    """The media of the next `number` ms arrive at the end of that time, in a burst."""


class FaultAt(Struct, frozen=True):
    """A fault and its time. A negative `at_ms` means before the session begins."""

    at_ms: int
    kind: Fault
    number: int = 0
    times: int = 1
    """How many times, for refusals and packet faults."""


Handler = Callable[["Zoom", "MadeUp", FaultAt], None]
"""Triggers a fault. Its effects are not the client's mistakes."""


def _break(what: str) -> Handler:
    return lambda zoom, show, fault: zoom.client.lose(what, BROKEN)


def _close_media(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.lose(MEDIA, fault.number)


def _failover(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.lose(SIGNALING, BROKEN)
    zoom.fail_over(moves=bool(fault.number))


def _split_brain(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.fail_over(moves=True)


def _say_interrupted(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.say(StreamStateUpdate(StreamState.INTERRUPTED, fault.number, zoom.client.zoom_ms()))
    zoom.client.lose(what_is_lost(fault.number))


def _event_7(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.say(EventUpdate(MeetingEvent.MEDIA_CONNECTION_INTERRUPTED, zoom.client.zoom_ms(), {}))
    zoom.client.lose(MEDIA)


def _webhook_interrupted(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.lose(SIGNALING)
    zoom.announce("interrupted")


def _silence(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.lose(SIGNALING, after_s=KEEP_ALIVE_S * (MOST_UNANSWERED + 1))


def _retry_webhook(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.announce("started")


def _old_webhook(what: str, reason: StopReason | None = None) -> Handler:
    return lambda zoom, show, fault: zoom.announce(what, reason, age_ms=fault.number * 60_000)


def _stop(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.end(StopReason(fault.number))  # type: ignore[call-arg]  # the one-argument call looks it up


def _stop_by_webhook(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.lose(SIGNALING, BROKEN)
    zoom.announce("stopped", fault.number)
    _stop(zoom, show, fault)


def _refuse(what: str) -> Handler:
    return lambda zoom, show, fault: zoom.refuse_next(what, fault.number, fault.times)


def _hang_up(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.refuse_next(SIGNALING, None, fault.times)


def _stray(raw: bytes) -> Handler:
    def handler(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
        if (socket := zoom.client.taker(MediaType.AUDIO)) is not None:
            for _ in range(fault.times):
                zoom.client.send_stray(socket, raw)

    return handler


def _spoil(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    show.spoil(fault.kind, fault.times)


def _skip_keep_alives(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    zoom.client.skip_keep_alives(fault.number)


def _delay(zoom: "Zoom", show: "MadeUp", fault: FaultAt) -> None:
    show.delay(fault.at_ms + fault.number)


HANDLERS: Mapping[Fault, Handler] = {
    Fault.DROP_SIGNALING: _break(SIGNALING),
    Fault.DROP_MEDIA: _break(MEDIA),
    Fault.CLOSE_MEDIA: _close_media,
    Fault.FAILOVER: _failover,
    Fault.SPLIT_BRAIN: _split_brain,
    Fault.SAY_INTERRUPTED: _say_interrupted,
    Fault.EVENT_7: _event_7,
    Fault.WEBHOOK_INTERRUPTED: _webhook_interrupted,
    Fault.RETRY_WEBHOOK: _retry_webhook,
    Fault.OLD_STARTED: _old_webhook("started"),
    Fault.OLD_STOPPED: _old_webhook("stopped", StopReason.STOP_BC_MEETING_ENDED),
    Fault.OLD_INTERRUPTED: _old_webhook("interrupted"),
    Fault.STOP: _stop,
    Fault.STOP_WEBHOOK_ONLY: _stop_by_webhook,
    Fault.SILENCE: _silence,
    Fault.REFUSE_SIGNALING: _refuse(SIGNALING),
    Fault.REFUSE_MEDIA: _refuse(MEDIA),
    Fault.HANG_UP: _hang_up,
    Fault.DUPLICATE: _spoil,
    Fault.SWAP: _spoil,
    Fault.BAD_BASE64: _spoil,
    Fault.ODD_AUDIO: _spoil,
    Fault.BAD_JSON: _stray(b'{"msg_type": 14, "content": {'),
    Fault.BAD_UTF8: _stray(b'{"msg_type": 17, "content": {"data": "\xff\xfe"}}'),
    Fault.UNKNOWN_TYPE: _stray(b'{"msg_type": 99, "news": "from the future"}'),
    Fault.SKIP_KEEP_ALIVES: _skip_keep_alives,
    Fault.DELAY: _delay,
}
"""The handler of each fault."""


def spoilt(message: Audio, fault: Fault | None) -> bytes | None:
    """Return an audio packet spoilt by `BAD_BASE64` or `ODD_AUDIO`, or `None` for any other fault."""
    if fault not in (Fault.BAD_BASE64, Fault.ODD_AUDIO):
        return None
    payload = message.payload() or b""
    text = base64.b64encode(payload + b"\1").decode() if fault is Fault.ODD_AUDIO else "!" + "*" * 40
    body = message.body()
    content = body["content"]
    assert isinstance(content, dict), "audio in the documented form"
    body["content"] = {**content, "data": text, "length": len(payload)}
    return json.dumps({"msg_type": int(message.msg_type), **body}).encode()
