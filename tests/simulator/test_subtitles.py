"""Transcripts from files, as people have them and as someone hostile may write them."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from frames import HEADER, ZERO_MS, audio, media
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.errors import Problem
from rtms_cli.recording.recorder import Recorder
from rtms_cli.simulator.subtitles import Line, load_transcript

SRT = """1
00:00:01,000 --> 00:00:02,500
Zoë Müller: Guten <i>Morgen</i>,
alle zusammen.

2
00:00:03,000 --> 00:00:04,000
And a line of nobody's: no.
"""
GERMAN = Line(1000, 2500, "Zoë Müller", "Guten Morgen, alle zusammen.")
LINES = (GERMAN, Line(3000, 4000, "And a line of nobody's", "no."))
VTT = """WEBVTT - a title

NOTE what
is this

first
00:01.000 --> 00:02.500 align:start position:0%
<v.loud Zoë Müller>Guten Morgen,
alle zusammen.

00:03.000 --> 00:04.000
1 &lt; 2 &amp;&amp; a --> b
"""


def loaded(path: Path, content: bytes | str) -> tuple[Line, ...]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_transcript(path)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_files_as_people_have_them(newline: str, encoding: str, tmp_path: Path) -> None:
    assert loaded(tmp_path / "a.srt", SRT.replace("\n", newline).encode(encoding)) == LINES
    lines = loaded(tmp_path / "a.vtt", VTT.replace("\n", newline).encode(encoding))
    assert lines == (GERMAN, Line(3000, 4000, "", "1 < 2 && a --> b"))


@pytest.mark.parametrize(
    ("times", "span"),
    [
        ("00:00:01,000 --> 00:00:02,500", (1000, 2500)),
        ("00:00:01.000 --> 00:00:02.500", (1000, 2500)),
        ("0:01 --> 0:02,5", (1000, 2500)),
        ("00:01,0 -->00:02.50", (1000, 2500)),
        ("  61:00.000   -->   61:01.0000004  X1:100", (3_660_000, 3_661_000)),
        ("100:00:00,000 --> 100:00:01,000", (360_000_000, 360_001_000)),
        ("00:00:05,000 --> 00:00:01,000", (5000, 5000)),
    ],
)
def test_times_of_subtitles(times: str, span: tuple[int, int], tmp_path: Path) -> None:
    [line] = loaded(tmp_path / "a.srt", f"1\n{times}\nHello\n")
    assert (line.start_ms, line.end_ms) == span


def test_subtitles_without_a_blank_line_between_them(tmp_path: Path) -> None:
    text = "1\n00:01 --> 00:02\none\n2\n00:02 --> 00:03\ntwo\n3\n00:03 --> 00:04\n\n"
    assert [line.text for line in loaded(tmp_path / "a.srt", text)] == ["one", "two"]


T = 1_783_000_000_000
SAID = {"user_id": 7, "user_name": "Anna", "language": 9, "text": "hi"}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([{"start": 1.0, "end": 2.5, "user_name": "Zoë", "text": "ja", "language": "German"}],
         [Line(1000, 2500, "Zoë", "ja", 14)]),
        ([{**SAID, "t": 5.5, "timestamp": T + 5500, "start_time": T + 3000, "end_time": T + 4500}],
         [Line(3000, 4500, "Anna", "hi")]),
        ([{**SAID, "t": 5.5, "timestamp": T + 5500, "start_time": (T + 3000) * 1000, "end_time": T / 1000 + 4.5}],
         [Line(3000, 4500, "Anna", "hi")]),
        ([{**SAID, "t": 5.5, "timestamp": T + 5500, "start_time": None, "end_time": None}],
         [Line(5500, 5500, "Anna", "hi")]),
        ([{**SAID, "t": 5.5, "timestamp": None, "t_from": "arrival", "language": None}],
         [Line(5500, 5500, "Anna", "hi")]),
        ([{**SAID, "t": 5.5, "timestamp": T + 5500, "start_time": T - 10**11}], [Line(5500, 5500, "Anna", "hi")]),
        ([{**SAID, "user_name": None, "t": 1}], [Line(1000, 1000, "7", "hi")]),
        ([{**SAID, "t": 1, "start_time": T}, {**SAID, "t": 1, "start_time": T, "text": "ho"}],
         [Line(1000, 1000, "Anna", "hi"), Line(1000, 1000, "Anna", "ho")]),
        ([{**SAID, "t": 1, "start_time": T}, {**SAID, "t": 2, "start_time": T, "text": "ho", "attribute": "UPDATE"}],
         [Line(2000, 2000, "Anna", "ho")]),
        ([{**SAID, "t": 1, "start_time": T}, {**SAID, "t": 2, "start_time": T, "text": None, "attribute": "DELETE"},
          {**SAID, "t": 3}], [Line(3000, 3000, "Anna", "hi")]),
    ],
)  # fmt: skip
def test_json_lines(lines: list[dict[str, Any]], expected: list[Line], tmp_path: Path) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    assert loaded(tmp_path / "a.jsonl", text) == tuple(expected)


def test_a_recordings_own_file(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold([audio(bytes(640), ZERO_MS)])
    spans: list[dict[str, Any]] = [{"start_time": ZERO_MS + 500, "end_time": ZERO_MS + 1500}, {}]
    for at, fields in enumerate(spans, 2):
        recorder.fold([media(17, f"line {at}\u2028", ZERO_MS + 1000 * at, user_id=7, user_name="Anna", **fields)])
    recorder.fold([media(17, "late", None, user_id=8, at_us=5_000_000)])
    recorder.close()
    assert [(one.start_ms, one.end_ms, one.speaker) for one in load_transcript(tmp_path / "transcript.jsonl")] == [
        (500, 1500, "Anna"), (3000, 3000, "Anna"), (8000, 8000, "8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.jsonl", '{"text": "x"}', "a.jsonl:1 has no times"),
        ("a.jsonl", '{"start": NaN, "text": "x"}', "a.jsonl:1 has no times"),
        ("a.jsonl", '{"start": 1e308, "text": "x"}', "a.jsonl:1 has no times"),
        ("a.jsonl", '{"t": Infinity, "timestamp": NaN, "text": "x"}', "a.jsonl:1 has no times"),
        ("a.jsonl", '{"start": 1, "text": "x"}\n{"start": 1}', "a.jsonl:2 has no text"),
        ("a.jsonl", '{"start": 1, "text": "x"}\n\n{', "a.jsonl:3 is not valid JSON"),
        ("a.jsonl", '{"start": 1, "text": "x"}\n[1]', "a.jsonl:2 has no text"),
        ("a.jsonl", '{"start": 1, "text": "x"}\n' + "[" * 100_000, "a.jsonl:2 is not valid JSON"),
        ("a.jsonl", '{"start": 1, "text": "x", "language": "Klingon"}', "language 'Klingon'"),
        ("a.srt", "hello", "contains no transcript lines"),
        ("a.srt", "1\nnan --> inf\nhello", "a.srt:2 has invalid times"),
        ("a.srt", f"1\n{'9' * 60_000} --> 00:01\nhello", "a.srt:2 has invalid times"),
        ("a.srt", "1\n9999:00:00,000 --> 9999:00:01,000\nhello", "a.srt:2: the time is too large"),
        ("a.srt", "caf\udce9", "cannot be read as text: it is not UTF-8"),
    ],
)
def test_wrong_transcripts_are_described(name: str, text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=what):
        loaded(tmp_path / name, text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("piece", ["9", "<a", "<v ", "{\\", "0:0", "00:01 --> ", "-->\n", "\n\n", "A: "])
def test_a_hostile_file_takes_no_time(piece: str, tmp_path: Path) -> None:
    text = "1\n00:01 --> 00:02\n" + piece * (1_000_000 // len(piece)) + "\nx"
    started = time.process_time()
    try:
        loaded(tmp_path / "a.srt", text)
    except Problem:
        pass
    assert time.process_time() - started < 20  # it is less than 2 s; what is quadratic takes minutes


@given(st.text(st.sampled_from("0123456789:,.-> \n\r<v>{\\}Aé\u2028\0"), max_size=120), st.booleans())
def test_whatever_is_in_a_file(tmp_path_factory: pytest.TempPathFactory, text: str, is_vtt: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any.srt"
    try:
        lines = loaded(path, ("WEBVTT\n" if is_vtt else "1\n00:01 --> 00:02\n") + text)
    except Problem:
        return
    assert all(0 <= line.start_ms <= line.end_ms and line.text for line in lines)
