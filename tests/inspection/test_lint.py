"""`--lint`: clean on the demo's capture; finds what the simulator does wrong on purpose, and every rule's case."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said, state
from msgspec import structs
from processes import rtms
from simulation.matrix import BEFORE, Case, at
from simulation.world import run

from rtms_cli.capture import Capture, Header, capture_line, capture_lines
from rtms_cli.inspection.documents import sections
from rtms_cli.inspection.lint import MOST_TOLD, SECTIONS, Finding, lint
from rtms_cli.inspection.reading import Line, in_pieces, numbered
from rtms_cli.machine import Direction, Frame, State, frame_of
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault

OUT = Direction.OUT
SIGNALING = "signaling"
PCM = bytes(640)
URLS = {"media_server": {"server_urls": {"audio": "ws://a", "all": "ws://m"}}}
STOP = said({"msg_type": 8, "state": 4, "reason": 6}, 0, SIGNALING)
"""The end; time does not run backwards, so that it comes right after what stands before it."""


def test_clean_on_what_the_demo_records(tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "2", "--split", cwd=tmp_path).returncode == 0
    (recording,) = (tmp_path / "recordings").iterdir()
    done = rtms("inspect", recording, "--lint", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "no findings\n", "")
    assert rtms("inspect", recording, "--lint", "--json", cwd=tmp_path).stdout == ""


REFUSED = at(BEFORE, Fault.REFUSE_SIGNALING, 3)
SHOWN: dict[Fault, tuple[Case, set[str]]] = {
    Fault.DROP_SIGNALING: (Case("", (at(2, Fault.DROP_SIGNALING),)), {"connection-lost"}),
    Fault.DROP_MEDIA: (Case("", (at(2, Fault.DROP_MEDIA),)), {"connection-lost"}),
    Fault.CLOSE_MEDIA: (Case("", (at(2, Fault.CLOSE_MEDIA, 1001),)), {"connection-lost"}),
    Fault.FAILOVER: (Case("", (at(2, Fault.FAILOVER),)), {"connection-lost", "interrupted"}),
    Fault.SAY_INTERRUPTED: (Case("", (at(2, Fault.SAY_INTERRUPTED, 13),)), {"interrupted"}),
    Fault.EVENT_7: (Case("", (at(2, Fault.EVENT_7),)), {"interrupted"}),
    Fault.WEBHOOK_INTERRUPTED: (Case("", (at(2, Fault.WEBHOOK_INTERRUPTED),)), {"interrupted"}),
    **{
        fault: (Case("", (at(2, fault, 20),)), {"webhook-late"})
        for fault in (Fault.OLD_STARTED, Fault.OLD_STOPPED, Fault.OLD_INTERRUPTED)
    },
    Fault.RETRY_WEBHOOK: (Case("", (at(2, Fault.RETRY_WEBHOOK),)), {"webhook-again"}),
    Fault.STOP: (
        Case(
            "",
            (at(2, Fault.STOP, 10),),
        ),
        {"stopped-by-failure"},
    ),
    Fault.STOP_WEBHOOK_ONLY: (Case("", (at(2, Fault.STOP_WEBHOOK_ONLY, 6),)), {"connection-lost"}),
    Fault.SILENCE: (Case("", (at(2, Fault.SILENCE),), seconds=80), {"connection-silent", "packets-lost"}),
    Fault.REFUSE_SIGNALING: (Case("", (REFUSED,)), set()),  # a stream that is refused at once leaves no recording
    Fault.REFUSE_MEDIA: (Case("", (at(BEFORE, Fault.REFUSE_MEDIA, 15),)), {"refused"}),
    Fault.HANG_UP: (Case("", (at(BEFORE, Fault.HANG_UP),)), {"refused"}),
    Fault.DUPLICATE: (Case("", (at(2, Fault.DUPLICATE),)), {"packet-twice"}),
    Fault.SWAP: (Case("", (at(2, Fault.SWAP),)), {"packet-order"}),
    Fault.BAD_BASE64: (Case("", (at(2, Fault.BAD_BASE64),)), {"payload"}),
    Fault.BAD_JSON: (Case("", (at(2, Fault.BAD_JSON),)), {"unreadable"}),
    Fault.BAD_UTF8: (Case("", (at(2, Fault.BAD_UTF8),)), {"unreadable"}),
    Fault.UNKNOWN_TYPE: (Case("", (at(2, Fault.UNKNOWN_TYPE),)), {"unknown-type"}),
    Fault.SPLIT_BRAIN: (Case("", (at(2, Fault.SPLIT_BRAIN),)), {"interrupted"}),
    Fault.SKIP_KEEP_ALIVES: (Case("", (at(2, Fault.SKIP_KEEP_ALIVES, 60_000),), seconds=80), {"keep-alive-missing"}),
    Fault.DELAY: (Case("", (at(2, Fault.DELAY, 1000),)), set()),  # a server may hold audio back, and send it later
    Fault.ODD_AUDIO: (Case("", (at(2, Fault.ODD_AUDIO),)), {"payload"}),
}
DEVIATING: dict[Deviation, tuple[set[str], float]] = {
    Deviation.FLAT: ({"odd-form"}, 4),
    Deviation.NAMES: ({"odd-form"}, 4),
    Deviation.STRINGS: ({"odd-form"}, 4),
    Deviation.BINARY: (set(), 4),  # a capture keeps messages, not the kind of frame they came in
    Deviation.NO_MEDIA_ANSWER: ({"no-media-handshake", "not-ready"}, 4),
    Deviation.EARLY_KEEP_ALIVE: ({"keep-alive-early"}, 4),
    Deviation.BARE_KEEP_ALIVE: ({"keep-alive-bare"}, 12),
    Deviation.SIGNALING_KEEP_ALIVE_ONLY: ({"keep-alive-missing"}, 70),
    Deviation.SILENT_REFUSAL: (set(), 4),  # nor does this
    Deviation.END_ON_MEDIA: ({"wrong-channel"}, 4),
    Deviation.ALL_ONLY: ({"all-only"}, 4),
    Deviation.NO_SUM: ({"refused"}, 4),
    Deviation.OLD_EVENTS: (set(), 4),
    Deviation.STATUS: ({"odd-form"}, 4),
    Deviation.SEVERAL_URLS: (set(), 4),
    Deviation.MICROSECONDS: ({"odd-form"}, 4),
    Deviation.SECONDS: ({"odd-form"}, 4),
    Deviation.DATA_URL: (set(), 4),
    Deviation.TWIN_TIMES: ({"packet-twice", "packets-lost"}, 4),
    Deviation.OTHER_CHANNELS: (set(), 4),
    Deviation.NAL_UNITS: (set(), 4),
    Deviation.OTHER_CODEC: (set(), 4),
    Deviation.CHAT_AS_JSON: (set(), 4),
    Deviation.NESTED: (set(), 4),
    Deviation.NUMERIC_IDS: (set(), 4),
    Deviation.WEBINAR_UUID: (set(), 4),
    Deviation.PEOPLE: (set(), 4),  # who comes and goes is not told here
    Deviation.EVENT_CODE: (set(), 4),
}


BY_WEBHOOK = (
    *(Fault.FAILOVER, Fault.SPLIT_BRAIN, Fault.RETRY_WEBHOOK, Fault.WEBHOOK_INTERRUPTED),
    *(Fault.OLD_STARTED, Fault.OLD_STOPPED, Fault.OLD_INTERRUPTED),
)
"""A webhook goes its own way, and must arrive before the session's end."""


def test_every_deliberate_mistake_is_in_the_tables() -> None:
    assert set(SHOWN) == set(Fault)
    assert set(DEVIATING) == set(Deviation)
    assert set().union(*(rules for _, rules in SHOWN.values())) <= set(SECTIONS)


@pytest.mark.parametrize("fault", Fault)
def test_finds_the_simulators_faults(fault: Fault, tmp_path: Path) -> None:
    case, rules = SHOWN[fault]
    seconds = case.seconds if case.seconds == 80 else 20 if fault in BY_WEBHOOK else 4
    found = found_in(case, seconds, tmp_path)
    assert rules <= found <= rules | {"packets-lost"}  # what is under way when a connection breaks


@pytest.mark.parametrize("deviation", Deviation)
def test_finds_the_simulators_deviations(deviation: Deviation, tmp_path: Path) -> None:
    rules, seconds = DEVIATING[deviation]
    refused = deviation is Deviation.SILENT_REFUSAL
    case = Case("", (REFUSED,) if refused else (), frozenset({deviation}))
    assert found_in(case, seconds, tmp_path) == rules


def found_in(case: Case, seconds: float, out: Path) -> set[str]:
    world = run(structs.replace(case, seconds=seconds, step_ms=20).plan())
    assert world.violations == []
    if REFUSED in case.hits:
        assert world.recordings == []
        return set()
    (recording,) = world.recordings
    recording.files.put_on_disk(out)
    return {finding.rule for finding in lint(numbered(Capture(out)))}


def at_s(seconds: float) -> int:
    return round(seconds * 1_000_000)


def begun(*, ready: bool = True, asked: object = None) -> list[Frame]:
    """A session that follows the protocol, up at 1 s."""
    frames = [
        webhook("meeting.rtms_started", 0),
        state(State.OPENING, 0, SIGNALING),
        state(State.OPEN, 0, SIGNALING),
        said({"msg_type": 1}, 0, SIGNALING, OUT),
        said({"msg_type": 2, "status_code": 0, **URLS}, at_s(0.5), SIGNALING),
        state(State.OPENING, at_s(0.5)),
        state(State.OPEN, at_s(0.5)),
        said({"msg_type": 3, "media_type": 1, "media_params": asked}, at_s(0.5), "media", OUT),
        granted(at_us=at_s(0.9)),
    ]
    return [*frames, said({"msg_type": 7}, at_s(1), SIGNALING, OUT)] if ready else frames


def webhook(event: str, at_us: int, event_ts: int = 1000, **fields: object) -> Frame:
    payload = {"meeting_uuid": "uuid==", "rtms_stream_id": "stream1", "server_urls": "ws://s", **fields}
    return said({"event": event, "event_ts": event_ts, "payload": payload}, at_us, "webhook")


def asks(at_us: int, timestamp: object = 5, **fields: object) -> Frame:
    return said({"msg_type": 12, "timestamp": timestamp, **fields}, at_us, SIGNALING)


def answers(at_us: int, timestamp: object = 5, **fields: object) -> Frame:
    return said({"msg_type": 13, "timestamp": timestamp, **fields}, at_us, SIGNALING, OUT)


def packet(number: int, **fields: object) -> Frame:
    return audio(PCM, ZERO_MS + 20 * number, at_us=at_s(1) + 20_000 * number, **fields)


HAND_MADE: list[tuple[str, Sequence[Frame], list[str]]] = [
    ("nothing wrong", [*begun(), packet(0), packet(1), STOP], []),
    ("7 without a 4", [*begun()[:-2], said({"msg_type": 7}, at_s(1), SIGNALING, OUT), STOP],
     ["ready-too-early 10 signaling: 7 before the 4 of media"]),
    ("7 without media at all", [*begun()[:5], said({"msg_type": 7}, at_s(1), SIGNALING, OUT), STOP],
     ["ready-too-early 7 signaling: 7 before any 4"]),
    ("media before 7", [*begun(ready=False), packet(0), packet(1), STOP],
     ["not-ready 11 media: 14 MEDIA_DATA_AUDIO before the client sent 7"]),
    ("media before 4", [*begun()[:8], packet(0), STOP],
     ["no-media-handshake 10 media: 14 MEDIA_DATA_AUDIO on a connection whose 3 was not accepted by a 4",
      "not-ready 10 media: 14 MEDIA_DATA_AUDIO before the client sent 7"]),
    ("12 is never answered", [*begun(), asks(at_s(2)), said({"msg_type": 8, "state": 4}, at_s(13), SIGNALING)],
     ["keep-alive-unanswered 12 signaling: 12 was not answered in 11.0 s"]),
    ("12 is not answered, but there was no time", [*begun(), asks(at_s(2)), packet(550), STOP], []),
    ("nothing comes",
     [*begun(), STOP, said({"msg_type": 8, "state": 4}, at_s(62), SIGNALING)],
     ["connection-silent 13 signaling: nothing came for 61.0 s",
      "connection-silent 13 media: nothing came for 61.1 s"]),
    ("13 says another time", [*begun(), asks(at_s(2)), answers(at_s(2), 6), STOP],
     ["keep-alive-wrong 13 signaling: 13 says timestamp 6, the 12 of line 12 said timestamp 5"]),
    ("13 says it as text", [*begun(), asks(at_s(2)), answers(at_s(2), "5"), STOP],
     ["keep-alive-wrong 13 signaling: 13 says timestamp '5', the 12 of line 12 said timestamp 5",
      'odd-form 13 signaling: 13 KEEP_ALIVE_RESP: timestamp is text ("5"), not a number']),
    ("13 forgets the sequence", [*begun(), asks(at_s(2), sequence=7), answers(at_s(2)), STOP],
     ["keep-alive-wrong 13 signaling: 13 says timestamp 5, the 12 of line 12 said timestamp 5, sequence 7"]),
    ("13 out of the blue", [*begun(), answers(at_s(2)), STOP],
     ["keep-alive-wrong 12 signaling: 13 without a 12 that waits for it"]),
    ("13 after 10.5 s", [*begun(), asks(at_s(2)), answers(at_s(12.5)), STOP],
     ["keep-alive-late 12 signaling: answered after 10.5 s"]),
    ("granted otherwise", [*begun(asked={"audio": {"codec": 4, "sample_rate": 1}}), STOP],
     ["granted-otherwise 10 media: audio.codec 1, not 4"]),
    ("2 after 61 s",
     [webhook("meeting.rtms_started", 0), said({"msg_type": 2, "status_code": 0, **URLS}, at_s(61), SIGNALING), STOP],
     ["slow-handshake 3 signaling: the signaling handshake came 61.0 s after the webhook; 60 s are allowed"]),
    ("two connections", [*begun(), state(State.OPENING, at_s(2)), state(State.OPEN, at_s(2)), STOP],
     ["two-connections 12 media: connecting while a connection of this channel is there",
      "two-connections 13 media: a second connection is open: it kicks out the first one"]),
    ("what is still under way on a connection that we closed opens none",
     [*begun(), state(State.CLOSED, at_s(1), code=1000, ours=True), packet(0), packet(1),
      state(State.OPENING, at_s(1.1)), packet(2), state(State.OPEN, at_s(1.2)), STOP], []),
    ("no stop", begun(), ["no-stop 11 : the capture ends without 8 TERMINATED, 9 STOPPED, 22 or a stopped webhook"]),
    ("active again after the stop",
     [*begun(), STOP, said({"msg_type": 8, "state": 1}, at_s(2), SIGNALING)],
     ["no-stop 13 : the capture ends without 8 TERMINATED, 9 STOPPED, 22 or a stopped webhook"]),
    ("9 STOPPED is a stop", [*begun(), said({"msg_type": 9, "state": 5}, at_s(2), SIGNALING)], []),
    ("22 is a stop", [*begun(), said({"msg_type": 22, "status_code": 0}, at_s(2), SIGNALING)], []),
    ("a webhook is a stop", [*begun(), webhook("meeting.rtms_stopped", at_s(2), stop_reason=6)], []),
    ("a stop by a failure is told once",
     [*begun(), said({"msg_type": 9, "state": 5, "stop_reason": 24}, at_s(2), SIGNALING),
      said({"msg_type": 8, "state": 4, "reason": 24}, at_s(2), SIGNALING)],
     ["stopped-by-failure 12 signaling: reason 24 STOP_BC_KEEP_ALIVE_TIMEOUT: "
      "three keep-alive requests stayed unanswered"]),
    ("a timestamp of a year ago, then one an hour on",
     [*begun(), packet(0), audio(PCM, ZERO_MS - 31_536_000_000, at_us=at_s(1)),
      audio(PCM, ZERO_MS + 3_700_000, at_us=at_s(2)), STOP],
     ["timestamp 13 media: audio of 0: 1706858112345 jumps 31536000.0 s backwards",
      "timestamp 14 media: audio of 0: 1738397812345 jumps 31539699.0 s ahead of the time that passed"]),
    ("a timestamp in µs is told once",
     [*begun(), packet(0), *(audio(PCM, (ZERO_MS + at) * 1000, at_us=at_s(1)) for at in (20, 40)), STOP],
     [f"odd-form 13 media: 14 MEDIA_DATA_AUDIO: content.timestamp {(ZERO_MS + 20) * 1000} is in µs, not in ms"]),
    ("no timestamp is told once", [*begun(), *(audio(PCM, None, at_us=at_s(1)) for _ in range(3)), STOP],
     ["timestamp 12 media: audio of 0: no timestamp"]),
    ("a packet twice, one late, one spoilt, one that lies",
     [*begun(), packet(0), packet(0), packet(2), packet(1), packet(3, length=3), audio(b"x", ZERO_MS + 80), STOP],
     ["packet-twice 13 media: audio of 0: 1738394112345 came before",
      "packet-order 15 media: audio of 0: 1738394112365 comes after later ones",
      "payload 16 media: audio of 0: length says 3, the payload has 640 bytes",
      "payload 17 media: audio of 0: 1 bytes are not a whole number of 16-bit samples"]),
    ("mixed sound with a hole", [*begun(), packet(0), packet(5), STOP],
     ["packets-lost 14 : audio of 0: 4 packets (0.08 s) are missing in 1 gap"]),
    ("one's own sound may pause", [*begun(), packet(0, user_id=5), packet(500, user_id=5), STOP], []),
    ("a second picture of a moment is none that came twice",
     [*begun(), media(15, b"one", ZERO_MS, at_us=at_s(1)), media(15, b"two", ZERO_MS, at_us=at_s(1)),
      media(15, b"two", ZERO_MS, at_us=at_s(1)), STOP],
     ["packet-twice 14 media: video of 0: 1738394112345 came before"]),
    ("unknown type and fields, once",
     [*begun(), *(said({"msg_type": 77}, at_s(2), SIGNALING) for _ in range(2)), packet(0, level=3),
      packet(1, level=3), STOP],
     ["unknown-type 12 signaling: msg_type 77", "unknown-field 14 media: 14 MEDIA_DATA_AUDIO: content.level"]),
    ("no JSON", [*begun(), frame_of(at_s(2), SIGNALING, Direction.IN, b"{"), STOP],
     ["unreadable 12 signaling: not JSON: Expecting property name enclosed in double quotes: "
      "line 1 column 2 (char 1)"]),
    ("on the wrong socket",
     [*begun(), said({"msg_type": 6, "event": {"event_type": 2}}, at_s(2)), packet(0, channel=SIGNALING), STOP],
     ["wrong-channel 12 media: 6 EVENT_UPDATE belongs on signaling",
      "wrong-channel 13 signaling: 14 MEDIA_DATA_AUDIO belongs on a media channel"]),
    ("signaling asks, media does not",
     [*begun(), *(frame for second in range(2, 70, 4) for frame in (
         asks(at_s(second)), answers(at_s(second)), packet(50 * second, user_id=5))),
      said({"msg_type": 8, "state": 4}, at_s(69), SIGNALING)],
     ["keep-alive-missing 63 media: no 12 for 68.5 s"]),
    ("sockets close just before the stop is read",
     [*begun(), state(State.CLOSED, at_s(2), code=1000), STOP, state(State.CLOSED, at_s(2), SIGNALING, code=1000)], []),
    ("a socket closes, and later comes the stop",
     [*begun(), state(State.CLOSED, at_s(2), code=1000, reason="bye"), asks(at_s(4.5)), answers(at_s(4.5)), STOP],
     ["connection-lost 12 media: closed with 1000 before the stream had ended: bye"]),
    ("a socket breaks, and then comes the stop", [*begun(), state(State.CLOSED, at_s(2), code=1006), STOP],
     ["connection-lost 12 media: closed with 1006 before the stream had ended"]),
    ("a socket closes, and nothing comes", [*begun(), state(State.CLOSED, at_s(2), SIGNALING, code=1000)],
     ["connection-lost 12 signaling: closed with 1000 before the stream had ended",
      "no-stop 12 : the capture ends without 8 TERMINATED, 9 STOPPED, 22 or a stopped webhook"]),
    ("webhooks of the past, which come late",
     [*begun(), *(webhook(f"meeting.rtms_{what}", at_s(2), event_ts=999, stop_reason=10)
                  for what in ("started", "stopped", "interrupted")), STOP],
     [f"webhook-late {line} webhook: {what} webhook that is older than the {start}: it comes too late"
      for line, what, start in ((12, "a started", "newest one"), (13, "a stopped", "stream's start"),
                                           (14, "an interrupted", "stream's start"))]),
    ("an interrupted webhook about a connection that was rebuilt since",
     [*begun(), state(State.CLOSED, at_s(2), SIGNALING, code=1006), state(State.OPENING, at_s(3), SIGNALING),
      state(State.OPEN, at_s(3), SIGNALING), said({"msg_type": 2, "status_code": 0, **URLS}, at_s(4), SIGNALING),
      webhook("meeting.rtms_interrupted", at_s(10), event_ts=3000),
      webhook("meeting.rtms_interrupted", at_s(10), event_ts=6000), STOP],
     ["connection-lost 12 signaling: closed with 1006 before the stream had ended",
      "webhook-late 16 webhook: an interrupted webhook about the connection before this one: it comes too late",
      "interrupted 17 webhook: a webhook says that the signaling connection was lost"]),
    ("refused", [*begun()[:4], said({"msg_type": 2, "status_code": 3}, at_s(0.5), SIGNALING),
                 state(State.CLOSED, at_s(1), SIGNALING, code=1000, ours=True)],
     ["refused 6 signaling: 1 was refused: 3 STATUS_INVALID_SIGNATURE: "
      "the signature does not fit client id, id and stream id"]),
    ("no connection", [*begun()[:2], state(State.REFUSED, at_s(1), SIGNALING, reason="no route")],
     ["refused 4 signaling: no connection: no route"]),
    ("event 8 of a contact center has its own name",
     [*begun(), said({"msg_type": 6, "event": {"event_type": 7, "who": 1}}, at_s(2), SIGNALING), STOP],
     ["interrupted 12 signaling: event 7 says that a media connection was lost",
      "unknown-field 12 signaling: 6 EVENT_UPDATE: event.who"]),
]  # fmt: skip


@pytest.mark.parametrize(("frames", "wanted"), [case[1:] for case in HAND_MADE], ids=[case[0] for case in HAND_MADE])
def test_rules(frames: Sequence[Frame], wanted: list[str], tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(Header(1, "", "").line() + capture_lines(frames))
    assert [said_of(finding) for finding in lint(numbered(Capture(path)))] == wanted


def said_of(finding: Finding) -> str:
    assert finding.section == SECTIONS[finding.rule]
    return f"{finding.rule} {finding.line} {finding.channel}: {finding.text}"


def test_a_rule_that_is_broken_all_the_time_is_counted() -> None:
    lines: list[Line] = [*enumerate([*begun(), *(answers(0) for _ in range(MOST_TOLD + 5)), STOP], 2)]
    lines += [(1020, "line 1020 is not a capture line")] * (MOST_TOLD + 2)
    found = list(lint(lines))
    assert len(found) == 2 * MOST_TOLD + 2
    rests = [(finding.rule, finding.line, finding.text) for finding in found[-2:]]
    assert rests == [
        ("keep-alive-wrong", 1016, "and 5 more findings of this rule"),
        ("unreadable", 1020, "and 2 more findings of this rule"),
    ]


def test_findings_end_with_1_and_are_json_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    odd = said({"msg_type": base64.b64encode(b"\x1b").decode(), "x\x1b]0;": 1}, 0, SIGNALING)
    path.write_bytes(Header(1, "", "").line() + capture_lines([odd, STOP]) + b"torn\n")
    done = rtms("inspect", path, "--lint", cwd=tmp_path)
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    messages = sections()["§4"]
    assert done.stdout.splitlines()[1:] == [
        "line 4 at 0.000: unreadable (Messages): line 4 is not a capture line",
        f"Messages: {messages.link}",
        "2 findings",
    ]
    lines = rtms("inspect", path, "--lint", "--json", cwd=tmp_path)
    assert lines.returncode == 1
    assert [json.loads(line)["link"] for line in lines.stdout.splitlines()] == 2 * [messages.link]
    assert [line.split('"')[3] for line in lines.stdout.splitlines()] == ["unknown-type", "unreadable"]


def test_an_unknown_field_is_told_once_wherever_in_a_run_it_comes(tmp_path: Path) -> None:
    frames = [granted(), said({"msg_type": 7}, way=Direction.OUT, channel="signaling")]
    for number in range(600):
        fields = {"level": number} if number >= 500 else {}
        frames.append(audio(bytes(640), ZERO_MS + 20 * number, at_us=20_000 * number, **fields))
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + b"".join(map(capture_line, frames)))
    found = [finding for finding in lint(in_pieces(Capture(path))) if finding.rule == "unknown-field"]
    assert [(finding.line, finding.text) for finding in found] == [(504, "14 MEDIA_DATA_AUDIO: content.level")]
