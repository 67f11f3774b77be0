"""An inspection that takes media in runs finds what one line by line does, whatever comes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from frames import HEADER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs, to_builtins
from sayings import L16, OPUS, SAID, frames_from

from rtms_cli.capture import Capture, capture_line
from rtms_cli.inspection.lanes import lanes
from rtms_cli.inspection.lint import lint
from rtms_cli.inspection.page import page
from rtms_cli.inspection.reading import in_pieces, lines_of, numbered
from rtms_cli.inspection.runs import sent_in
from rtms_cli.inspection.summary import summarize
from rtms_cli.machine import Frame, Packets

PICTURE = (15, 7, "Ann", 40, "slice", None, "media")
ORDINARY = [
    *[("sound", 7, "Ann", 20, 640, None, "media")] * 4,
    PICTURE,
    PICTURE,
    (*PICTURE[:3], 0, *PICTURE[4:]),
    ("asks", 0),
]
"""What makes runs: the rest of a session is odd enough."""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    params=st.sampled_from([L16, L16, L16, OPUS]),
    product=st.sampled_from(["meeting", "meeting", "meeting", "contact_center"]),
    sayings=st.lists(st.one_of(st.sampled_from(ORDINARY), SAID), min_size=1, max_size=80),
    late_us=st.lists(st.sampled_from([0, 0, 0, 0, 15_000, 70_000, -30_000, 65_000_000]), min_size=1, max_size=80),
    tail=st.sampled_from([b"", b"{broken}\n", b'{"at": 3']),
)
def test_an_inspection_in_runs_finds_the_same(
    params: dict[str, object],
    product: str,
    sayings: list[tuple[object, ...]],
    late_us: list[int],
    tail: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames, passed_us = [], 0
    for number, frame in enumerate(frames_from(params, sayings)):
        late = late_us[number % len(late_us)]
        passed_us += late if late > 1_000_000 else 0
        frames.append(structs.replace(frame, at_us=max(0, frame.at_us + passed_us + (late if late < 1_000_000 else 0))))
    path = tmp_path_factory.mktemp("c") / "capture.jsonl"
    header = structs.replace(HEADER, product=product)
    path.write_bytes(header.line() + b"".join(map(capture_line, frames)) + tail)
    capture = Capture(path)
    lines, pieces = list(numbered(capture)), list(in_pieces(capture))
    assert [number for number, _ in lines] == [number for first, item in pieces for number, _ in lines_of(first, item)]
    assert to_builtins(summarize("c", header, pieces)) == to_builtins(summarize("c", header, lines))
    assert list(lint(pieces, product)) == list(lint(lines, product))
    assert lanes(pieces, product) == lanes(lines, product)
    out = path.with_suffix(".html")
    assert page(header, pieces, path, None, out) == page(header, lines, path, None, out)


def test_an_ordinary_capture_is_read_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the first packets nothing is taken packet by packet, so that the others can't be slow unnoticed."""
    frames = frames_from(L16, [("sound", 7, "Ann", 20, 640, "right", "media")] * 500)
    path = tmp_path / "capture.jsonl"
    path.write_bytes(HEADER.line() + b"".join(map(capture_line, frames)))
    pieces = list(in_pieces(Capture(path)))
    runs = [item for _, item in pieces if isinstance(item, Packets)]
    assert sum(len(run.raws) for run in runs) == 500
    assert all(sent_in(run) is not None for run in runs)
    alone: list[Packets] = []
    frames_of_run = Packets.frames

    def counted(run: Packets) -> Iterator[Frame]:
        alone.append(run)
        return frames_of_run(run)

    monkeypatch.setattr(Packets, "frames", counted)
    summarize("c", HEADER, pieces)
    list(lint(pieces))
    lanes(pieces, "meeting")
    assert len(runs) > 1
    assert [run is runs[0] for run in alone] == [True, True]
