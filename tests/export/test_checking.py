"""Files that export has written are opened again, and those that are not whole are errors."""

import os
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from rtms_cli.errors import Problem
from rtms_cli.export.checking import Sink, check_pages, check_picture, check_sound, check_streams, check_table
from rtms_cli.export.tables import open_table

COLUMNS = ("at", "text")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_that_lacks_rows(form: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xe9." + form.encode())  # a name in another encoding is one, too
    write, close = open_table(path, COLUMNS, ("float", "text"))
    write([(1.0, "a\nb"), (2.0, "x" * 200_000), (3.0, None)])
    close()
    check_table(path, 2, 3)
    for columns, rows in ((2, 4), (2, 2), (3, 3)):
        with pytest.raises(Problem, match=f"of {rows} rows"):
            check_table(path, columns, rows)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Problem):
        check_table(path, 2, 3)


def test_a_sound_that_lacks_samples_or_has_another_form(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((1000, 2), dtype="int16"), 16_000)
    check_sound(path, 16_000, 2, 1000)
    for form in ((16_000, 2, 1001), (16_000, 1, 1000), (8_000, 2, 1000)):
        with pytest.raises(Problem, match="does not play"):
            check_sound(path, *form)
    path.write_bytes(b"RIFF")
    with pytest.raises(Problem, match="cannot be read"):
        check_sound(path, 16_000, 2, 1000)


def encoded_sound(path: Path) -> tuple[Counter[int], list[tuple[int, int]]]:
    """Two seconds of AAC: how many packets it has, and where each of them stands in the file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        sink = Sink(container)
        for start in range(0, 96_000, 1024):
            tone = np.sin(np.arange(start, start + 1024) / 20).astype("float32")
            frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), "fltp", "mono")
            frame.sample_rate, frame.pts = 48_000, start
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    with av.open(str(path)) as container:
        places = [(packet.pos or 0, packet.size) for packet in container.demux() if packet.size]
    return sink.counts, places


def test_a_file_whose_packets_are_missing_or_do_not_decode(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    counts, places = encoded_sound(path)
    assert check_streams(path, counts) == []
    for more in (1, -1):
        with pytest.raises(Problem, match=f"it has {counts[0]} of {counts[0] + more} packets of audio"):
            check_streams(path, Counter({0: counts[0] + more}))
    with pytest.raises(Problem, match="packets of a stream"):
        check_streams(path, counts + Counter({1: 1}))
    whole = path.read_bytes()
    spoilt = bytearray(whole)
    for place, size in places:
        spoilt[place + 4 : place + 4 + size] = b"\xff" * size
    path.write_bytes(spoilt)
    with pytest.raises(Problem, match=r"none of its first \d+ packets of sound can be decoded"):
        check_streams(path, counts)
    path.write_bytes(whole[:100])
    with pytest.raises(Problem):
        check_streams(path, counts)


def test_a_picture_that_is_cut_or_another_one(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.effect_noise((64, 48), 90).save(path)
    check_picture(path, (64, 48))
    with pytest.raises(Problem):
        check_picture(path, (48, 64))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(Problem):
        check_picture(path)


def test_a_document_that_lacks_pages(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    pages = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    check_pages(path, 3)
    with pytest.raises(Problem, match="3 of 4 pages"):
        check_pages(path, 4)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Problem):
        check_pages(path, 3)
