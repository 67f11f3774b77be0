"""capture.jsonl, as RECORDING.md promises it: line by line, verbatim, without secrets, readable whatever happened."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from frames import HEADER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtms_cli.capture import Capture, Header, capture_line, kept_raw, read_line
from rtms_cli.errors import Problem
from rtms_cli.machine import ChannelState, Direction, Frame, State, Via, frame_of, sent_frame, state_frame
from rtms_cli.protocol.messages import KeepAliveResponse, Unreadable, dumps, loads
from rtms_cli.protocol.secrets import REDACTED, redact

FIXTURES = Path(__file__).parents[1] / "fixtures"
MESSAGES = [json.loads(line)["message"] for line in (FIXTURES / "messages.jsonl").read_text().splitlines()]
WEBHOOKS = [path.read_bytes().strip() for path in sorted((FIXTURES / "webhooks").glob("*.json"))]
IN, OUT = Direction.IN, Direction.OUT
SIGNATURE = "5f" * 32
KEYS = """signature srtp_key srtp_keys secret client_secret secret_token token access_token refresh_token plaintoken
    encryptedtoken authorization password passcode passphrase srt_passphrase srtPassphrase x-zm-signature srtp-key
    private_key app_secret""".split()


def frame(raw: bytes, channel: str = "signaling", at_us: int = 1_204_331, way: Direction = IN) -> Frame:
    return frame_of(at_us, channel, way, raw)


def written(folder: Path, *frames: Frame, name: str = "capture.jsonl") -> Path:
    path = folder / name
    path.write_bytes(HEADER.line() + b"".join(map(capture_line, frames)))
    return path


# The header.


def test_the_first_line() -> None:
    header = Header(1, "2026-11-22T22:15:00.000Z", "rtms-cli 1.2", "meeting", "AbC/123==", "stream123==")
    assert header.line() == (
        b'{"rtms_capture":1,"created":"2026-11-22T22:15:00.000Z","generator":"rtms-cli 1.2",'
        b'"product":"meeting","id":"AbC/123==","rtms_stream_id":"stream123=="}\n'
    )


@pytest.mark.parametrize(
    "first", [b"", b"\n", b"{}\n", b"[1]\n", b'{"at": 1}\n', b'{"rtms_capture": "1"}\n', b"\xff\n", b'{"rtms_capture"']
)
def test_what_is_no_capture_says_so(first: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(first)
    with pytest.raises(Problem, match="is not a capture: its first line is not a header"):
        Capture(path)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("none.jsonl", "none.jsonl.gz", "none.jsonl.zst"):
        with pytest.raises(Problem, match=r"Cannot read .*No such file"):
            Capture(tmp_path / name)


# Lines.


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        (
            frame(b'{"event": "meeting.rtms_stopped", "payload": {"rtms_stream_id": "s"}}', "webhook"),
            b'{"at": 1.204331, "ch": "webhook", "dir": "in", '
            b'"data": {"event": "meeting.rtms_stopped", "payload": {"rtms_stream_id": "s"}}}\n',
        ),
        (
            sent_frame(1_251_007, "signaling", KeepAliveResponse(5, 1)),
            b'{"at": 1.251007, "ch": "signaling", "dir": "out", "data": {"msg_type":13,"sequence":1,"timestamp":5}}\n',
        ),
        (
            frame(b'{"content": {"data" : "AAE="}, "msg_type":14}', "media.audio", 0),
            b'{"at": 0.000000, "ch": "media.audio", "dir": "in", '
            b'"data": {"content": {"data" : "AAE="}, "msg_type":14}}\n',
        ),
        (
            state_frame(9_100_000, "media", ChannelState(State.CLOSED, 1006)),
            b'{"at": 9.100000, "ch": "media", "dir": "state", "data": {"state":"closed","code":1006}}\n',
        ),
        (
            frame(b'{\r\n\t"msg_type": 12,\n\t"timestamp": 5\n}', at_us=86_400_000_001),
            b'{"at": 86400.000001, "ch": "signaling", "dir": "in", "data": {  \t"msg_type": 12, \t"timestamp": 5 }}\n',
        ),
        (
            frame('not "JSON"\n\té'.encode()),
            b'{"at": 1.204331, "ch": "signaling", "dir": "in", "text": "not \\"JSON\\"\\n\\t\xc3\xa9"}\n',
        ),
        (frame(b""), b'{"at": 1.204331, "ch": "signaling", "dir": "in", "text": ""}\n'),
        (frame(b"\xff\x00\n"), b'{"at": 1.204331, "ch": "signaling", "dir": "in", "base64": "/wAK"}\n'),
    ],
)
def test_lines(kept: Frame, line: bytes) -> None:
    assert capture_line(kept) == line
    assert json.loads(line)


@pytest.mark.parametrize("body", MESSAGES, ids=range(len(MESSAGES)))
def test_messages_are_kept_verbatim_but_for_secrets(body: dict[str, object]) -> None:
    raw = json.dumps(body, ensure_ascii=False).encode()
    line = capture_line(frame(raw))
    hidden = {key: REDACTED for key in ("signature", "srtp_keys", "srt_passphrase") if key in body}
    assert json.loads(line)["data"] == body | hidden
    assert SIGNATURE.encode() not in line
    if b"signature" not in raw and not hidden:
        assert line == b'{"at": 1.204331, "ch": "signaling", "dir": "in", "data": ' + raw + b"}\n"


# Redaction.


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda secret: secret,
        lambda secret: {"payload": {"object": secret}},
        lambda secret: {"a": [{"b": [[secret]]}]},
        lambda secret: {"signatures": [1, None, secret, "x"]},
    ],
)
@pytest.mark.parametrize("value", ["hush-hush", ["hush-hush"], {"audio": "hush-hush"}, {"a": {"b": ["hush-hush"]}}])
def test_secrets_at_any_depth(key: str, wrap: Callable[[object], dict[str, object]], value: object) -> None:
    for name in (key, key.upper(), key.title()):
        body = wrap({name: value, "user_name": "Zoë"})
        for channel, whole in (("signaling", {"msg_type": 99} | body), ("webhook", {"event": "x.y"} | body)):
            data = json.loads(capture_line(frame(json.dumps(whole).encode(), channel)))["data"]
            assert data == whole | wrap({name: REDACTED, "user_name": "Zoë"})


def test_a_secret_behind_an_escaped_key() -> None:
    line = capture_line(frame(rb'{"msg_type": 1, "sign\u0061ture": "hush"}'))
    assert json.loads(line)["data"] == {"msg_type": 1, "signature": REDACTED}


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b'{"msg_type": 1, "signature": "hush', {"text": '{"msg_type": 1, "signature": "[redacted]"'}),
        (b'"a":1,"token":"hush","secret":["hush"', {"text": '"a":1,"token":"[redacted]","secret":"[redacted]"'}),
        (rb'"token":"\"secret\":\"hush\"","b":', {"text": '"token":"[redacted]","b":'}),
        (b'"token","secret" "hush",', {"text": '"token","secret" "hush",'}),
        (b'x {"Signature" : "hush", "b"', {"text": 'x {"Signature" : "[redacted]", "b"'}),
        (
            b'{"srt_passphrase": "hush", "srt-Passphrase":"hush',
            {"text": '{"srt_passphrase": "[redacted]", "srt-Passphrase":"[redacted]"'},
        ),
        (b'"' + b"n" * 200 + b'_token":"hush"', {"text": '"' + "n" * 200 + '_token":"[redacted]"'}),
        (b'"token":"hush"\xff', {"base64": base64.b64encode(b'"token":"[redacted]"\xff').decode()}),
    ],
)
def test_a_secret_in_what_cannot_be_read(raw: bytes, kept: dict[str, str]) -> None:
    line = json.loads(capture_line(frame(raw)))
    assert line == {"at": 1.204331, "ch": "signaling", "dir": "in"} | kept


def test_what_holds_no_secret_is_not_touched() -> None:
    for raw in (b'{ "a" : 1.50, "b":"\xc3\xa9" }', b'{"a": "/"}', b'["signing"]'):
        assert redact(raw) is raw
    empty = b'{"signature": "", "token": null, "x": 1}'
    assert redact(empty) is empty


def test_lone_surrogates_stay_escapes() -> None:
    assert dumps({"a": "\ud800", "b": 1 << 70}, lone=True) == b'{"a":"\\ud800","b":1180591620717411303424}'
    body = {"msg_type": 99, "signature": "hush", "name": "\ud800"}
    line = capture_line(frame(json.dumps(body).encode()))
    assert json.loads(line)["data"] == body | {"signature": REDACTED}
    again = read_line(line)
    assert again is not None
    assert capture_line(again) == line


# Reading.

FRAMES = [frame(json.dumps(body).encode(), at_us=number) for number, body in enumerate(MESSAGES)]
HOOKS = [frame(body, "webhook", at_us=number) for number, body in enumerate(WEBHOOKS, 1_000)]
STATES = [state_frame(2_000, "media", ChannelState(State.OPENING, url="wss://x"))]


@pytest.mark.parametrize("packed", ["capture.jsonl", "capture.jsonl.gz", "capture.jsonl.zst", "capture.zst"])
def test_packed_or_not_it_reads_the_same_as_often_as_one_likes(packed: str, tmp_path: Path) -> None:
    plain = written(tmp_path, *FRAMES, *HOOKS, *STATES).read_bytes()
    path = tmp_path / packed
    if packed.endswith(".gz"):
        half = len(plain) // 2
        path.write_bytes(gzip.compress(plain[:half]) + gzip.compress(plain[half:]))
    elif packed.endswith(".zst"):
        path.write_bytes(zstandard.compress(plain))
    capture = Capture(path)
    assert capture.header == HEADER
    first, second = list(capture), list(capture)
    assert first == second
    assert capture.problems == []
    assert b"".join(map(capture_line, first)) == plain.split(b"\n", 1)[1]
    assert [one.at_us for one in first] == [one.at_us for one in (*FRAMES, *HOOKS, *STATES)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_capture_that_was_saved_in_another_encoding(encoding: str, suffix: str, tmp_path: Path) -> None:
    plain = written(tmp_path, *FRAMES, *HOOKS, *STATES).read_bytes()
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    saved = (mark + plain.decode().replace("\n", "\r\n")).encode(encoding)
    path = tmp_path / f"saved.jsonl{suffix}"
    path.write_bytes(gzip.compress(saved) if suffix else saved)
    capture = Capture(path)
    assert b"".join(map(capture_line, capture)) == plain.split(b"\n", 1)[1]
    assert capture.problems == []
    assert list(capture) == list(capture)
    path.write_bytes(gzip.compress(saved[:-33]) if suffix else saved[:-33])
    assert len(list(Capture(path))) == len(FRAMES + HOOKS + STATES) - 1


def test_a_recordings_folder_is_a_capture(tmp_path: Path) -> None:
    written(tmp_path, FRAMES[0])
    assert len(list(Capture(tmp_path))) == 1


def test_a_torn_last_line_is_ignored_wherever_it_is_torn(tmp_path: Path) -> None:
    whole = written(tmp_path, frame(b'{"msg_type": 7}'), frame('{"msg_type": 12, "é": 1}'.encode())).read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    path = tmp_path / "torn.jsonl"
    for end in range(start, len(whole) - 1):
        path.write_bytes(whole[:end])
        capture = Capture(path)
        assert [one.raw for one in capture] == [b'{"msg_type": 7}']
        assert capture.problems == []


def test_a_whole_last_line_needs_no_end(tmp_path: Path) -> None:
    path = written(tmp_path, FRAMES[0], FRAMES[1])
    end_us = Capture(path).end_us()
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(list(Capture(path))) == 2
    assert Capture(path).end_us() == end_us


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0\0\0\0",
        b"null",
        b"{}",
        b'{"at": 1, "ch": "media", "dir": "in", "data": {"msg_type": 7}',
        b'{"at": 1, "ch": "media", "dir": "in", "data": {"a": }}',
        b'{"at": 1.000000, "ch": "media", "dir": "in", "data": {"a": }}',
        b'{"at": "1", "ch": "media", "dir": "in", "data": {}}',
        b'{"at": 1, "ch": 5, "dir": "in", "data": {}}',
        b'{"at": 1, "ch": "media", "dir": "sideways", "data": {}}',
        b'{"at": 1, "ch": "media", "dir": "in", "base64": "*"}',
        b'{"at": 1, "ch": "media", "dir": "in", "text": "\xff"}',
    ],
)
def test_a_broken_middle_line_is_reported_and_passed_over(broken: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, FRAMES[0])
    path.write_bytes(path.read_bytes() + broken + b"\n" + capture_line(STATES[0]))
    capture = Capture(path)
    for _ in range(2):
        assert [one.at_us for one in capture] == [0, 2_000]
        assert capture.problems == ["line 3 is not a capture line"]


def test_a_packed_file_that_was_cut_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    plain = written(tmp_path, *FRAMES * 20).read_bytes()
    packed = gzip.compress(plain)
    path = tmp_path / "cut.gz"
    path.write_bytes(packed[: len(packed) // 2])
    capture = Capture(path)
    frames = list(capture)
    assert 0 < len(frames) < len(FRAMES) * 20
    assert [one.at_us for one in frames] == [one.at_us for one in FRAMES * 20][: len(frames)]
    (problem,) = capture.problems
    assert problem.startswith("the file ends early: ")


def test_a_packed_file_that_is_damaged_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    lines = [frame(b'{"msg_type": 12, "timestamp": %d}' % number, at_us=number) for number in range(20_000)]
    packed = bytearray(gzip.compress(written(tmp_path, *lines).read_bytes()))
    middle = len(packed) // 2
    packed[middle : middle + 400] = bytes(byte ^ 0x5A for byte in packed[middle : middle + 400])
    (tmp_path / "damaged.gz").write_bytes(packed)
    capture = Capture(tmp_path / "damaged.gz")
    assert 0 < len(list(capture)) < 20_000
    assert "the file ends early" in capture.problems[-1]
    (tmp_path / "header.gz").write_bytes(packed[:10] + b"\xff" * 40)
    with pytest.raises(Problem, match="is not a capture"):
        Capture(tmp_path / "header.gz")


@pytest.mark.parametrize("via", list(Via))
@pytest.mark.parametrize("raw", [*WEBHOOKS, b'{"event":"cut\\ud83d","payload":{}}', b"no JSON", b"\xff"])
def test_the_way_that_a_webhook_came_is_kept(via: Via, raw: bytes) -> None:
    line = capture_line(frame_of(7, "webhook", IN, raw, via))
    found = read_line(line)
    assert found is not None
    assert found.via == via
    assert capture_line(found) == line


@pytest.mark.parametrize("cut", ["", "\\ud83d"])  # what the fast parser reads, and what it does not
@pytest.mark.parametrize(
    "via",
    ['"pigeon"', '"\\u001b[2J"', '"\\ud800"', '""', "7", "1e999", "null", '["events"]', '{"a":"http"}', '"EVENTS"'],
)
def test_a_way_that_there_is_not_is_none(via: str, cut: str) -> None:
    data = f'{{"event":"x{cut}","payload":{{}}}}'
    line = f'{{"at": 1.000000, "ch": "webhook", "dir": "in", "via": {via}, "data": {data}}}\n'.encode()
    found = read_line(line)
    assert found is not None
    assert (found.via, found.raw) == ("", data.encode())


def test_a_moment_that_is_none_is_no_line() -> None:
    assert read_line(b'{"at": 1e305, "ch": "media", "dir": "in", "data": {"msg_type": 12, "timestamp": 1}}\n') is None


def test_lines_of_other_hands_are_read() -> None:
    line = b'{"dir":"out","extra":[1],"data":{"msg_type":7},"ch":"media","at":1}\r\n'
    assert read_line(line) == frame_of(1_000_000, "media", OUT, b'{"msg_type":7}')


# There and back.

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["msg_type", "content", "state", "event", "data"]) | st.text(), inner)
    ),
    max_leaves=8,
)
MESSAGE = st.builds(lambda kind, rest: {"msg_type": kind} | rest, st.integers(-1, 40), st.dictionaries(st.text(), ANY))
JSON = st.builds(
    lambda value, ascii_only, compact: json.dumps(
        value, ensure_ascii=ascii_only, separators=(",", ":") if compact else None
    ).encode(),
    MESSAGE | ANY | st.sampled_from(MESSAGES),
    st.booleans(),
    st.booleans(),
)


def holds_a_secret(raw: bytes) -> bool:
    lowered = raw.lower()
    return b"\\" in raw or b"://" in raw or any(key.encode() in lowered for key in KEYS)


def is_json(raw: bytes) -> bool:
    try:
        loads(raw)
    except ValueError:
        return False
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.sampled_from(["signaling", "media", "media.audio", "webhook"]),
            st.sampled_from(Direction),
            JSON | st.binary() | st.sampled_from(WEBHOOKS),
        ),
        max_size=8,
    )
)
def test_there_and_back(tmp_path: Path, kept: list[tuple[int, str, Direction, bytes]]) -> None:
    frames = [frame_of(*parts) for parts in kept]
    capture = Capture(written(tmp_path, *frames))
    again = list(capture)
    assert capture.problems == []
    for before, after in zip(frames, again, strict=True):
        assert (after.at_us, after.channel, after.direction) == (before.at_us, before.channel, before.direction)
        if holds_a_secret(before.raw):
            assert type(after.message) is type(before.message)
            assert capture_line(after) == capture_line(before)  # nothing left to redact
        else:
            one_line = before.raw.replace(b"\n", b" ").replace(b"\r", b" ").strip()
            assert after.raw == (one_line if is_json(before.raw) else before.raw)
            assert after.message == before.message


def test_states_come_back_whole() -> None:
    for state in State:
        change = ChannelState(state, 1006, 'why "é"', "wss://x", "complete", 3, True, True)
        there = state_frame(5, "media", change)
        assert read_line(capture_line(there)) == there
        assert msgspec.json.decode(there.raw)["state"] == state.value


@pytest.mark.parametrize(
    "raw",
    [
        b'{"srtp_keys": {"audio": "KEY"}}',
        b'{"msg_type": 4, "status_code": 0, "srtp_keys": {"audio": "KEY"}}',
        b'{"msg_type": 8, "state": 1, "signature": "KEY"}',
        b'{"signatur\\u0065": "KEY"}',
        b'{"msg_type": 12, "signatur\\u0065": "KEY"}',
        b'{"signatur\\u0065": "KEY"',
        b'{"signature":"a\\"KEY"',
        b'{"srtp_keys": {"audio": "KEY"}',
        b'{"token": KEY',
    ],
)
def test_no_secret_gets_by_whatever_holds_it(raw: bytes) -> None:
    assert b"KEY" not in capture_line(frame(raw))


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_that_are_none_or_were_cut(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"capture.jsonl{suffix}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(Problem, match="is not a capture"):
        Capture(path)
    plain = HEADER.line() + b"".join(capture_line(frame(b'{"msg_type": 12, "timestamp": %d}' % n)) for n in range(5000))
    packed = gzip.compress(plain) if suffix == ".gz" else zstandard.compress(plain)
    path.write_bytes(packed)
    whole = Capture(path)
    assert len(list(whole)) == 5000
    assert whole.problems == []
    path.write_bytes(packed[: len(packed) // 2])
    cut = Capture(path)
    assert len(list(cut)) < 5000
    assert len(cut.problems) == 1


def test_a_capture_of_the_future_is_refused(tmp_path: Path) -> None:
    (tmp_path / "capture.jsonl").write_bytes(b'{"rtms_capture": 2, "created": "", "generator": ""}\n')
    with pytest.raises(Problem, match="version 2"):
        Capture(tmp_path)


@pytest.mark.parametrize("secret", [b"NaN", b'"a\x01b"', b'"x" : oops'])
def test_what_was_unreadable_by_its_secret_stays_so(secret: bytes) -> None:
    """A secret that is taken away may have been all that was wrong: a replay would then read a message."""
    raw = b'{"msg_type": 8, "state": 4, "signature": ' + secret + b"}"
    live = frame_of(1, "signaling", Direction.IN, raw)
    again = read_line(capture_line(live))
    assert again is not None
    assert type(again.message) is type(live.message) is Unreadable
    assert capture_line(again) == capture_line(live)
    assert kept_raw(again) == again.raw == kept_raw(live)


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize(
    "line",
    [
        rb'{"at": 1.250000, "ch": "media", "dir": "in", "data": {"msg_type": 99, "a": "\ud83d"}}',
        rb'{"at":1.25,"ch":"media","dir":"in","data":{"msg_type":99,"a":"\ud83d"}}',
        rb'{"data": {"msg_type": 99, "a": "\ud83d"}, "dir": "in", "ch": "media", "at": 1.25}',
    ],
)
def test_half_a_surrogate_in_a_line_of_anybodys(line: bytes, end: bytes) -> None:
    found = read_line(line + end)
    assert found is not None
    assert (found.at_us, found.channel) == (1_250_000, "media")
    assert json.loads(found.raw) == {"msg_type": 99, "a": "\ud83d"}


@pytest.mark.parametrize("raw", [b'{"msg_type": 99}\n', b' {"msg_type": 99}', b'\t{"msg_type": 99} \r\n', b"{} "])
def test_white_space_around_a_message_is_counted_again(raw: bytes) -> None:
    live = frame_of(1, "signaling", Direction.IN, raw)
    again = read_line(capture_line(live))
    assert again is not None
    assert len(again.raw) == len(raw)
    assert capture_line(again) == capture_line(live)


def test_half_a_surrogate_in_a_channels_name() -> None:
    found = read_line(rb'{"at": 1.25, "ch": "media\ud83d", "dir": "in", "data": {"msg_type": 99}}')
    assert found is not None
    assert found.channel == "media\ufffdd83d"
    assert read_line(capture_line(found)) == found
