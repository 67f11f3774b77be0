"""`--timeline`: when there was what, in memory that stays the same."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, said, state
from hypothesis import given
from hypothesis import strategies as st
from processes import rtms

from rtms_cli.capture import capture_lines
from rtms_cli.inspection.lanes import BINS, MOST_LANES, Bins, lanes
from rtms_cli.machine import Frame, State
from rtms_cli.view.inspect import timeline

S = 1_000_000


def event(number: int, at_us: int, **fields: object) -> Frame:
    return said({"msg_type": 6, "event": {"event_type": number, **fields}}, at_us, "signaling")


SESSION: list[Frame] = [
    state(State.OPEN, 0, "signaling"),
    state(State.OPEN, S),
    granted(at_us=S),
    event(3, S, participants=[{"user_id": 7, "user_name": "Ann"}, {"user_id": 8, "user_name": "Bob"}]),
    event(2, S, user_id=7, user_name="Ann"),
    *(audio(bytes(640), ZERO_MS + 20 * number, at_us=S + 20_000 * number) for number in range(100)),
    media(15, b"picture", ZERO_MS, at_us=S, user_id=7),
    media(17, "Hello", ZERO_MS, at_us=2 * S, user_id=8),
    state(State.CLOSED, 3 * S, code=1006),
    event(2, 3 * S, user_id=8),
    state(State.OPENING, 4 * S),
    state(State.OPEN, 4 * S),
    *(audio(bytes(640), ZERO_MS + 3000 + 20 * number, at_us=4 * S + 20_000 * number) for number in range(50)),
    media(18, "Bye", ZERO_MS, at_us=4 * S),
    media(16, b"slide", ZERO_MS, at_us=9 * S, user_id=8),
    state(State.CLOSED, 10 * S, "signaling"),
]
SESSION.sort(key=lambda frame: frame.at_us)


def test_who_sent_what_when() -> None:
    found = lanes(enumerate(SESSION, 2), "meeting")
    assert (found.seconds, found.unlisted) == (10, 0)
    rough = {f"{lane.kind} {lane.name}".strip(): [tuple(round(at, 1) for at in span) for span in lane.spans]
             for lane in found.lanes}  # fmt: skip
    assert rough == {
        "socket media": [(1.0, 3.0), (4.0, 10.0)],
        "socket signaling": [(0.0, 10.0)],
        "reconnect media": [(3.0, 4.0)],
        "speaker Ann": [(1.0, 3.0)],
        "speaker Bob": [(3.0, 10.0)],
        "audio everyone": [(1.0, 3.0), (4.0, 5.0)],
        "gap everyone": [(3.0, 4.0)],
        "video Ann": [(1.0, 1.3)],
        "share Bob": [(9.0, 10.0)],
        "transcript Bob": [(2.0, 2.0)],
        "chat": [(4.0, 4.0)],
        "events": [(1.0, 1.0), (3.0, 3.0)],
    }


spans_us = st.lists(
    st.tuples(st.integers(0, 10**11), st.integers(1, 10**10)).map(lambda span: (span[0], sum(span))), max_size=20
)


@pytest.mark.parametrize("most", [64, BINS, 16 * BINS])
@given(filled=spans_us)
def test_bins_cover_what_was_filled_and_not_much_more(most: int, filled: Sequence[tuple[int, int]]) -> None:
    bins = Bins(most)
    for start, end in filled:
        bins.fill(start, end)
    until = max((end for _, end in filled), default=0)
    found = [(start * 1e6, end * 1e6) for start, end in bins.spans(until)]
    assert until <= bins.unit_us * most
    assert bins.unit_us == 1000 or until >= bins.unit_us * most // 2
    assert all(one[1] < other[0] for one, other in pairwise(found))
    for start, end in filled:
        assert any(low <= start + 1 and end <= high + 1 for low, high in found)
    for low, high in found:
        near = [span for span in filled if span[0] < high and span[1] > low]
        assert min(start for start, _ in near) - bins.unit_us <= low
        assert max(end for _, end in near) + bins.unit_us >= high


def test_bins_become_coarser_until_there_are_few_spans() -> None:
    bins = Bins()
    for number in range(100):
        bins.fill(10_000 * number, 10_000 * number + 1)
    bins.coarsen_to(100)
    assert (bins.unit_us, len(bins.spans(10**6))) == (1000, 100)
    bins.coarsen_to(99)
    assert bins.unit_us > 1000
    assert len(bins.spans(10**6)) < 100
    bins.coarsen_to(1)
    ((start, end),) = bins.spans(10**6)
    assert start == 0
    assert end > 0.99


def test_lanes_are_bounded() -> None:
    frames = [media(15, b"x", ZERO_MS, user_id=number, at_us=number) for number in range(1, 3 * MOST_LANES)]
    found = lanes(enumerate(frames, 2), "meeting")
    assert (len(found.lanes), found.unlisted) == (MOST_LANES, MOST_LANES)


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_drawn_rows_fit(width: int) -> None:
    found = lanes(enumerate(SESSION, 2), "meeting")
    rows = timeline(found.lanes, found.seconds, width)
    assert len(rows) == 1 + len(found.lanes)
    assert all(len(label) + 2 + len(bar) <= width for label, bar, _ in rows)
    bars = {label.strip(): bar for label, bar, _ in rows}
    socket = bars["socket media"]
    assert socket[0] == " "
    assert socket[round(len(socket) * 0.35)] in " ░"
    assert socket[-1] == "█"


def test_a_capture_of_no_length_has_a_timeline(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + capture_lines([state(State.OPEN, 0, "signaling"), event(1, 0)]))
    done = rtms("inspect", path, "--timeline", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  ")[0].strip() for line in done.stdout.splitlines()][1:] == ["socket signaling", "events"]
    found = json.loads(rtms("inspect", path, "--timeline", "--json", cwd=tmp_path).stdout)
    assert [lane["kind"] for lane in found["lanes"]] == ["socket", "events"]
