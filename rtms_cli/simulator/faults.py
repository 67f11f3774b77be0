"""What goes wrong on purpose (PROTOCOL §9): each fault, and what it does to a stream.

A handler acts on three objects, by what is public on them: the stream's server (`Zoom.say`, `announce`, `fail_over`,
`refuse_next`, `end`), its client (`Client.lose`, `send_stray`, `skip_keep_alives`), and the show that the fault is a
part of (`MadeUp.spoil`, `delay`).
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
    OLD_STARTED = "old-started"
    """A started webhook from `number` minutes before the stream's start comes at last."""
    OLD_STOPPED = "old-stopped"
    """The same of a stopped webhook."""
    OLD_INTERRUPTED = "old-interrupted"
    """The same of an interrupted webhook."""
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


class FaultAt(Struct, frozen=True):
    """A fault, and when it happens; before the session begins where `at_ms` is negative."""

    at_ms: int
    kind: Fault
    number: int = 0
    times: int = 1
    """How often, for refusals and for what happens to packets."""


Handler = Callable[["Zoom", "MadeUp", FaultAt], None]
"""Lets a fault happen; nothing of it is a mistake of the client."""


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
"""What each fault does."""


def spoilt(message: Audio, fault: Fault | None) -> bytes | None:
    """An audio packet as `BAD_BASE64` or `ODD_AUDIO` spoils it; `None` where a fault leaves it alone."""
    if fault not in (Fault.BAD_BASE64, Fault.ODD_AUDIO):
        return None
    payload = message.payload() or b""
    text = base64.b64encode(payload + b"\1").decode() if fault is Fault.ODD_AUDIO else "!" + "*" * 40
    body = message.body()
    content = body["content"]
    assert isinstance(content, dict), "audio in the documented form"
    body["content"] = {**content, "data": text, "length": len(payload)}
    return json.dumps({"msg_type": int(message.msg_type), **body}).encode()
