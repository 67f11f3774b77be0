"""A capture read in runs gives the frames that it gives line by line, whatever is in it."""

import json
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, media, said
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtms_cli import untrusted
from rtms_cli.capture import Capture, capture_line, packet_lines
from rtms_cli.machine import Direction, Frame, Item, Packets, frame_of, frames_of, in_batches
from rtms_cli.untrusted import bounded_blocks, bounded_lines, open_file

PACKET = '{"msg_type": 14, "content": {"user_id": 7, "data": "AAAA", "timestamp": 1738394112345}}'
LINE = '{"at": %s, "ch": "%s", "dir": "%s", "data": %s}%s'
ATS = st.sampled_from(
    ["1.020000", "1.020000", "0.000000", "12.5", "01.000000", "1e3", "1.0200000", "-1.000000", "1_0.000000",
     " 1.000000", "999999999.999999", "1000000000.000001", "123456789012.000000", "1.02000x", ".000000", "1,000000", ""]
)  # fmt: skip
CHANNELS = st.sampled_from(["media", "media", "media", "media.audio", "media.VIDEO", "media#2", "signaling", "mediaé"])
WAYS = st.sampled_from(["in", "in", "in", "in", "out", "state"])
DATA = st.sampled_from([
    *[PACKET] * 6,
    PACKET.replace(" ", ""),
    PACKET.replace("14", "15").replace("AAAA", "A" * 3000),
    PACKET.replace("14", "16").replace("AAAA", "A" * 3000 + "\t"),
    PACKET.replace("14", "17"),
    PACKET + " ",
    " " + PACKET,
    PACKET + ', "text": "x"',
    PACKET + "}",
    PACKET[:-1],
    PACKET.replace("7", "7, \r"),
    PACKET.replace("7", '"seven"'),
    PACKET.replace("7", '7, "user_name": "\\ud83d"'),
    PACKET.replace("7", '7, "x": {"a": 1, "ch": "media", "dir": "in", "data": 5}'),
    PACKET.replace('"msg_type": 14', '"msg_type": 14, "msg_type": 12'),
    "{}", "null", '"\xff"',
])  # fmt: skip
ENDS = st.sampled_from(["\n"] * 12 + ["\r\n", " \n", "\n\n", "x\n", "", "\x00\n"])
LINES = st.one_of(
    st.tuples(ATS, CHANNELS, WAYS, DATA, ENDS).map(lambda parts: LINE % parts),
    st.just(LINE % ("1.020000", "media", "in", PACKET, "\n")),
    st.just('{"data": {"msg_type":14}, "at": 1, "ch": "media", "dir": "in"}\n'),
)


def expanded(path: Path) -> tuple[list[Frame], list[str], int]:
    """What a capture has, its problems, and how many packets came in runs."""
    capture = Capture(path)
    frames: list[Frame] = []
    in_runs = 0
    for item in capture.items():
        found = list(frames_of(item))
        if isinstance(item, Packets):
            assert item.read is not None
            assert item.lines == b"".join(map(capture_line, found))
            assert (len(item.raws), item.nbytes) == (len(found), sum(len(frame.raw) for frame in found))
            in_runs += len(found)
        frames += found
    return frames, capture.problems, in_runs


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(LINES, max_size=20), buffer=st.sampled_from([64, 200, 1000, 1 << 18]))
def test_any_lines_give_the_same_frames_in_runs(
    lines: list[str], buffer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + "".join(lines).encode("latin-1"))
    monkeypatch.setattr(untrusted, "_BUFFER", buffer)
    capture = Capture(path)
    alone = list(capture)
    frames, problems, _ = expanded(path)
    assert [_plain(frame) for frame in frames] == [_plain(frame) for frame in alone]
    assert problems == capture.problems


def _plain(frame: Frame) -> tuple[object, ...]:
    return frame.at_us, frame.channel, frame.direction, frame.raw, type(frame.message)


def test_media_come_in_runs_and_what_is_between_them_in_its_place(tmp_path: Path) -> None:
    frames = []
    for number in range(300):
        frames.append(audio(bytes(640), ZERO_MS + 20 * number, at_us=20_000 * number))
        frames.append(media(15, bytes(3000), ZERO_MS + 20 * number, at_us=20_000 * number, channel="media.video"))
        if number == 150:
            frames.append(said({"msg_type": 17, "content": {"data": "x"}}, 20_000 * number))
            frames.append(said({"msg_type": 12}, 20_000 * number, "signaling"))
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + b"".join(map(capture_line, frames)))
    found, problems, in_runs = expanded(path)
    assert [_plain(frame) for frame in found] == [_plain(frame) for frame in frames]
    assert (problems, in_runs) == ([], 600)


def test_a_run_is_bounded(tmp_path: Path) -> None:
    lines = "".join(LINE % (f"{number}.000000", "media", "in", PACKET, "\n") for number in range(2000))
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + lines.encode())
    sizes = [len(item.raws) for item in Capture(path).items() if isinstance(item, Packets)]
    assert sum(sizes) == 2000
    assert max(sizes) <= 256
    assert len(sizes) < 20


def test_batches_count_what_their_items_stand_for() -> None:
    frame = frame_of(0, "signaling", Direction.IN, b'{"msg_type":12}')
    run = Packets("media", [0] * 5, [PACKET.encode()] * 5, 5 * len(PACKET))
    items: list[Item] = [frame, frame, run, run, frame, frame, run, frame]
    assert [len(batch) for batch in in_batches(items, 4)] == [3, 1, 3, 1]
    assert [item for batch in in_batches(items, 4) for item in batch] == items


@given(
    ats=st.lists(st.integers(0, 10**15 - 1), min_size=1, max_size=5),
    raw=st.sampled_from([b'{"msg_type":14,"a":1}', b'{"msg_type":14,\n"a":\r1}', b'{"msg_type":15,"a":"\\n"}']),
)
def test_packets_have_the_lines_of_their_frames(ats: list[int], raw: bytes) -> None:
    packets = Packets("media", ats, [raw] * len(ats), len(raw) * len(ats))
    frames = [frame_of(at_us, "media", Direction.IN, raw) for at_us in ats]
    if json.loads(raw):
        assert packet_lines(packets) == b"".join(b'{"at": %d.%06d, "ch": "media", "dir": "in", "data": %b}\n' % (
            *divmod(frame.at_us, 1_000_000), raw.replace(b"\n", b" ").replace(b"\r", b" "),
        ) for frame in frames)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"x" * 30, b"\r"]), max_size=40).map(b"".join),
    most=st.integers(1, 50),
    smaller=st.integers(0, 49),
)
def test_blocks_have_the_lines_of_a_file(
    content: bytes, most: int, smaller: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines"
    path.write_bytes(content)
    monkeypatch.setattr(untrusted, "_BUFFER", max(1, most - smaller))
    with open_file(path) as source:
        wanted = list(bounded_lines(source, most))
    with open_file(path) as source:
        blocks = list(bounded_blocks(source, most))
    found: list[bytes | None] = []
    for block in blocks:
        if block is None:
            found.append(None)
        else:
            *lines, rest = block.split(b"\n")
            found += [line + b"\n" for line in lines] + ([rest] if rest else [])
    assert found == wanted
