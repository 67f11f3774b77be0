"""A capture in pieces: together they are the file, whatever was written when."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.store.segments import (
    Mark,
    epoch_and_number,
    next_segment,
    packed,
    segment_name,
    unpacked_segment,
    waiting_nbytes,
    without_header,
)

HEADER = b'{"rtms_capture": 1}\n'


@given(
    lines=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" ") + b"\n")), most=st.integers(1, 90)
)
def test_the_pieces_are_the_file(lines: list[bytes], most: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("capture")
    content, mark, found = HEADER + b"".join(lines) + b"torn", Mark(), []
    (folder / "capture.jsonl").write_bytes(content)
    while (cut := next_segment(folder, mark, most)) is not None:
        piece, mark = cut
        assert piece.startswith(HEADER)
        assert piece.endswith(b"\n")
        found.append(without_header(unpacked_segment(packed(piece))))
    assert b"".join(found) == b"".join(lines)
    assert waiting_nbytes(folder, mark) == len(b"torn") + (0 if lines else len(HEADER))


def test_a_capture_that_goes_on_in_another_file(tmp_path: Path) -> None:
    (tmp_path / "capture.jsonl").write_bytes(HEADER + b"a\n")
    cut = next_segment(tmp_path, Mark())
    assert cut is not None
    assert next_segment(tmp_path, cut[1]) is None
    (tmp_path / "capture.2.jsonl").write_bytes(HEADER + b"b\n")
    following = next_segment(tmp_path, cut[1])
    assert following is not None
    assert following[0] == HEADER + b"b\n"
    assert following[1].part == 2


def test_what_is_not_written_yet(tmp_path: Path) -> None:
    assert next_segment(tmp_path, Mark()) is None
    (tmp_path / "capture.jsonl").write_bytes(HEADER[:-1])
    assert next_segment(tmp_path, Mark()) is None
    (tmp_path / "capture.jsonl").write_bytes(HEADER + b"half a li")
    assert next_segment(tmp_path, Mark()) is None


def test_keys() -> None:
    assert segment_name(1, 42) == "capture/E0001-000042.jsonl.zst"
    assert epoch_and_number(f"x/{segment_name(12, 7)}") == (12, 7)
    for key in ("capture/E1-1.jsonl.zst", "capture/E0001-000042.jsonl", "E0001-000042.jsonl.zst.part", ""):
        assert epoch_and_number(key) is None


def test_a_damaged_segment() -> None:
    for data in (packed(HEADER)[:-3], b"no zstd", b""):
        with pytest.raises(ValueError):
            unpacked_segment(data)
