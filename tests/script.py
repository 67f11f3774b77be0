"""Transcripts of a session: `time channel what` goes in, `<< …` must come out, and nothing else.

    0    tick
    <<   open signaling ws://s
    0.1  signaling open
    <<   send signaling 1
    0.2  signaling {"msg_type": 2, "status_code": 0, …}

What goes in: `tick`; `open`, `refused WHY`, `refused for good…`, `closed CODE WHY`, `stopping WHO` on a channel; JSON
on a channel; JSON on `webhook`. What comes out: `open CHANNEL URL`, `send CHANNEL MSG_TYPE`, `close CHANNEL`, `warn …`
(its beginning), `finish STATUS REASON`. Ticks that are due between two lines happen by themselves; where one gives
commands, the next line is a `tick` at some later time.
"""

import json
from collections.abc import Sequence

from rtms_cli.machine import (
    SIGNALING,
    WEBHOOK,
    Announce,
    ChannelState,
    Close,
    Command,
    Deliver,
    Direction,
    Finish,
    Open,
    Send,
    State,
    Tell,
    Warn,
    frame_of,
    state_frame,
)
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature, encode
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.session.session import Session

STREAM = Stream(Product.MEETING, "uuid==", "stream1", "ws://s", 1000, None, "ws://s")
AUDIO = MediaRequest(MediaType.AUDIO)
AUDIO_AND_TRANSCRIPT = MediaRequest(MediaType.AUDIO | MediaType.TRANSCRIPT)

HANDSHAKE = """
0    tick
<<   open signaling ws://s
0.1  signaling open
<<   send signaling 1
"""
"""A session whose `1` waits for its answer, at 0.1 s."""

CONNECTED = """
0    tick
<<   open signaling ws://s
0.1  signaling open
<<   send signaling 1
0.2  signaling {"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"all": "ws://m"}}}
<<   send signaling 5
<<   open media ws://m
0.3  media open
<<   send media 3
0.4  media {"msg_type": 4, "status_code": 0}
<<   send signaling 7
"""
"""A session on one unified media socket, up and ready at 0.4 s."""

SPLIT_OPENING = """
0    tick
<<   open signaling ws://s
0.1  signaling open
<<   send signaling 1
0.2  signaling {"msg_type": 2, "status_code": 0, "server_urls": {"audio": "ws://a", "transcript": "ws://t"}}
<<   send signaling 5
<<   open media.audio ws://a
<<   open media.transcript ws://t
"""
"""A session whose two media sockets are being opened, since 0.2 s."""

SPLIT = f"""{SPLIT_OPENING}
0.3  media.audio open
<<   send media.audio 3
0.3  media.transcript open
<<   send media.transcript 3
0.4  media.audio {{"msg_type": 4, "status_code": 0}}
0.5  media.transcript {{"msg_type": 4, "status_code": 0}}
<<   send signaling 7
"""
"""A session on two media sockets, up and ready at 0.5 s."""

PACKET = '{"msg_type": 14, "content": {"user_id": 0, "data": "AAAA", "timestamp": 5000}}'


def session(request: MediaRequest = AUDIO, stream: Stream = STREAM, *, trusted: bool = True) -> Session:
    """A session that has not begun."""
    return Session(stream, Signature("a" * 64), request, trusted=trusted)


def play(machine: Session, transcript: str) -> list[Command]:
    """Play a transcript and hold every command against it; gives all commands that came out."""
    lines = [line.strip() for line in transcript.splitlines() if line.strip()]
    everything: list[Command] = []
    pending: list[Command] = []
    for line in lines:
        if line.startswith("<<"):
            wanted = line[2:].strip()
            assert pending, f"nothing came out, but wanted: {wanted}"
            got = describe(pending.pop(0))
            assert got.startswith(wanted) if wanted.startswith("warn") else got == wanted, f"{got!r} != {wanted!r}"
            continue
        assert not pending, f"not in the transcript before {line!r}: {[describe(command) for command in pending]}"
        time, _, what = line.partition(" ")
        at_us = round(float(time) * 1_000_000)
        while (due := machine.deadline_us) is not None and due < at_us and everything:
            pending += machine.tick(due)
            if pending:
                break
        if pending and what.strip() == "tick":
            everything += pending
            continue
        assert not pending, f"a tick before {line!r} gave {[describe(command) for command in pending]}"
        pending += feed(machine, at_us, what.strip())
        everything += pending
    assert not pending, f"not in the transcript: {[describe(command) for command in pending]}"
    return everything


def feed(machine: Session, at_us: int, what: str) -> Sequence[Command]:
    """Feed one line of a transcript."""
    if what == "tick":
        return machine.tick(at_us)
    channel, _, rest = what.partition(" ")
    if rest.startswith("{"):
        raw = json.dumps(json.loads(rest)).encode()
        return machine.receive(frame_of(at_us, channel, Direction.IN, raw))
    word, _, reason = rest.partition(" ")
    code = int(reason.split()[0]) if word == "closed" else None
    final = word == "refused" and reason.startswith("for good")
    state = ChannelState(State(word), code, " ".join(reason.split()[1:]) if word == "closed" else reason, final=final)
    return machine.receive(state_frame(at_us, SIGNALING if word == "stopping" else channel, state))


def describe(command: Command) -> str:
    """A command as a transcript has it."""
    match command:
        case Open(channel, url):
            return f"open {channel} {url}"
        case Send(channel, message):
            return f"send {channel} {int(message.msg_type)}"
        case Close(channel):
            return f"close {channel}"
        case Warn(channel, text):
            return f"warn {channel}: {text}"
        case Announce(what):
            return f"announce {what}"
        case Deliver(body):
            return f"deliver {body.decode()}"
        case Tell(what, _, text):
            return f"tell {what}: {text}"
        case Finish(status, reason):
            return f"finish {status} {reason if reason is None else int(reason)}"


def sent(commands: Sequence[Command], msg_type: int) -> list[dict[str, object]]:
    """The messages of one type among commands, as the JSON that goes over the wire."""
    return [
        json.loads(encode(command.message))
        for command in commands
        if isinstance(command, Send) and command.message.msg_type == msg_type
    ]


def webhook(event: str, **fields: object) -> str:
    """A transcript's line for a webhook, less its time."""
    body = {"event": event, "event_ts": fields.pop("event_ts", 1000), "payload": fields}
    return f"{WEBHOOK} {json.dumps(body)}"


STARTED = webhook("meeting.rtms_started", meeting_uuid="uuid==", rtms_stream_id="stream1", server_urls="ws://s")
FAILOVER = webhook(
    "meeting.rtms_started", event_ts=2000, meeting_uuid="uuid==", rtms_stream_id="stream1", server_urls="ws://s2"
)


def interrupted(event_ts: object = 1000) -> str:
    """An interrupted webhook."""
    return webhook("meeting.rtms_interrupted", event_ts=event_ts, meeting_uuid="uuid==", rtms_stream_id="stream1")


INTERRUPTED = interrupted()
"""One that is as old as the start."""


def stopped(reason: int | None, event_ts: object = 1000) -> str:
    """A stop webhook."""
    fields = {"meeting_uuid": "uuid==", "rtms_stream_id": "stream1", "stop_reason": reason}
    return webhook("meeting.rtms_stopped", event_ts=event_ts, **fields)
