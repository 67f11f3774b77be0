"""Pages as they are made, kept and made again, and files as players ask for them."""

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from catalog.shelf import put
from recorded_parts import connected, content, last_word, record
from web.watching import pages

from rtms_cli.web.pages import Made, Pages

pytestmark = pytest.mark.timeout(180)
FRAMES = [*connected(1_000), *content(0, 150), last_word(150)]


async def made_of(kept: Pages, name: str, stamps: Any) -> Made:
    """A page, by a browser that comes back as long as it is told to."""
    while True:
        made = await kept.page(name, next(stamps))
        if made is not None:
            return made
        await asyncio.sleep(0.05)


async def test_the_page_of_a_meeting_that_goes_on_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its capture is another one each time that a browser comes back, and nobody may have waited for the page."""
    monkeypatch.setattr("rtms_cli.web.pages.PATIENCE_S", 0.0)
    await asyncio.to_thread(record, tmp_path / "one", 1, FRAMES)
    kept = Pages(str(tmp_path))
    stamps = itertools.count()
    made = await made_of(kept, "one", stamps)
    assert made.path is not None, made.problem
    assert b"line 140" in made.path.read_bytes()
    assert await kept.page("one", next(stamps)) is None, "who comes later gets a newer one"
    await kept.close()
    assert not made.path.exists()


async def test_a_page_is_made_once_for_all_who_ask(tmp_path: Path) -> None:
    await asyncio.to_thread(record, tmp_path / "one", 1, FRAMES)
    kept = Pages(str(tmp_path))
    made = await asyncio.gather(*(made_of(kept, "one", itertools.repeat("same")) for _ in range(5)))
    assert len({one.path for one in made}) == 1
    assert (await made_of(kept, "one", itertools.repeat("same"))).path == made[0].path
    another = await made_of(kept, "one", itertools.repeat("another"))
    assert another.path is not None
    assert another.path != made[0].path
    assert [one.name for one in another.path.parent.iterdir()] == [another.path.name], "the old one is deleted"
    await kept.close()


async def test_a_page_that_failed_is_tried_again(tmp_path: Path) -> None:
    (put(tmp_path, "one") / "capture.jsonl").unlink()
    kept = Pages(str(tmp_path))
    failed = await made_of(kept, "one", itertools.repeat("same"))
    assert failed.path is None
    assert "capture" in failed.problem
    await asyncio.to_thread(record, tmp_path / "two", 1, FRAMES)
    (tmp_path / "two/capture.jsonl").rename(tmp_path / "one/capture.jsonl")
    assert (await made_of(kept, "one", itertools.repeat("same"))).path is not None
    await kept.close()


def test_a_page_that_would_be_too_large_is_not_made(tmp_path: Path) -> None:
    folder = record(tmp_path / "one", 1, FRAMES)
    program = "import sys; from rtms_cli.web import making; making.MOST_NBYTES = 1000; sys.exit(making.main())"
    done = subprocess.run([sys.executable, "-c", program, folder.parent, "one"], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"The page has more than" in done.stderr
    assert len(done.stdout) <= 1000


async def test_players_read_and_seek_over_http(tmp_path: Path) -> None:
    folder = await asyncio.to_thread(record, tmp_path / "recordings/one", 1, FRAMES)
    async with pages(folder.parent, cwd=tmp_path) as url:
        address = f"{url.rstrip('/')}/recordings/one/files/audio/mixed.wav"
        asked = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", address]
        done = await asyncio.to_thread(subprocess.run, asked, capture_output=True, check=True, text=True)
        assert float(done.stdout) == pytest.approx(3.0, abs=0.1)
        heard = await asyncio.to_thread(heard_from, address, 2.0)
        assert heard == await asyncio.to_thread(heard_from, str(folder / "audio/mixed.wav"), 2.0)


def heard_from(place: str, second: float) -> bytes:
    """The first samples behind a place in a file."""
    with av.open(place) as file:
        file.seek(round(second * 1_000_000))
        frame = next(file.decode(audio=0))
        assert isinstance(frame, av.AudioFrame)
        assert frame.time is not None
        assert frame.time > 1.0, "it was not read from the beginning"
        return frame.to_ndarray().tobytes()
