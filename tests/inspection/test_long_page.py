"""The page of three hours: all lines are there, the list follows the sound, and the wave has its detail."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser, data_of
from long_meeting import LINE_S, TURN_S, record_meeting, text

from rtms_cli.inspection.page import write_page

pytestmark = pytest.mark.timeout(180)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
SECONDS = 3 * 3600
SAID = round(SECONDS / LINE_S)
CHATS = SECONDS // 60
SCROLLED = "document.getElementById('lines').scrollTop"


@pytest.fixture(scope="module")
def html() -> Iterator[Path]:
    """Some 400 MB, which nobody should keep."""
    with tempfile.TemporaryDirectory() as folder:
        recording = record_meeting(Path(folder) / "recording", SECONDS, alone=())
        target = recording / "page.html"
        assert write_page(recording, target) < 10_000_000
        yield target


async def lines_shown(window: Page) -> list[str]:
    """The lines that a reader sees at least a part of."""
    found = await window.run(
        "[...document.querySelectorAll('#lines .line')].filter(({offsetTop, offsetHeight}) =>"
        f" offsetTop + offsetHeight > {SCROLLED} && offsetTop < {SCROLLED} + list.clientHeight)"
        ".map(line => line.querySelector('p').textContent)"
    )
    assert isinstance(found, list)
    return found


def test_lanes_are_as_fine_as_the_eye(html: Path) -> None:
    lanes = data_of(html.read_text())["lanes"]
    assert isinstance(lanes, list)
    spans = sorted(span for lane in lanes if lane["kind"] == "speaker" for span in lane["spans"])
    assert len(spans) > SECONDS / TURN_S / 2
    assert max(abs(one[1] - other[0]) for one, other in pairwise(spans)) < 0.3


@needs_browser
async def test_all_lines_are_there_and_few_are_in_the_document(html: Path, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        assert await window.run("visible.length") == SAID + CHATS
        await window.run("document.querySelector('#lines button[tabindex=\"0\"]').focus()")
        for key, wanted in (("End", SAID - 1), ("Home", 0), ("PageDown", 10), ("ArrowDown", 11), ("End", SAID - 1)):
            await window.press(key)
            assert await window.run("document.activeElement.parentElement.querySelector('p').textContent") == text(
                wanted
            )
            assert text(wanted) in await lines_shown(window)
        place = "(({ariaPosInSet, ariaSetSize}) => [ariaPosInSet, ariaSetSize])(document.activeElement.parentElement)"
        assert await window.run(place) == [str(SAID + CHATS)] * 2
        # Scrolled to, as well, from one end to the other: nothing is ever blank, and little is in the document.
        for share in (0, 0.1, 0.5, 0.77, 0.3, 0.6, 0.2, 0.9, 1):
            await window.run(f"list.scrollTop = {share} * list.scrollHeight")
            await window.until("new Promise(done => requestAnimationFrame(() => done(true)))")
            assert len(await lines_shown(window)) >= 3, share
            assert await window.run("document.querySelectorAll('#lines .line').length <= 160")
        # A time of more than an hour stands on one line.
        assert await window.run(
            "Math.max(...[...document.querySelectorAll('#lines button')].map(b => b.offsetHeight)) < 25"
        )
        assert await window.run(
            "Math.max(...[...document.querySelectorAll('#lines button')].map(b => b.scrollWidth - b.clientWidth)) <= 0"
        )
        assert window.complaints() == []


@needs_browser
async def test_the_list_follows_what_is_played_until_the_reader_scrolls(html: Path, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        for at in (7200, 33, 9000):
            await window.run(f"go(zero + {at})")
            assert await window.run("document.querySelector('#lines .now p').textContent") == text(round(at / LINE_S))
            assert text(round(at / LINE_S)) in await lines_shown(window)
            assert await window.run("document.getElementById('follow').hidden") is True
        box = await window.run("(({left, top}) => [left + 100, top + 100])(list.getBoundingClientRect())")
        assert isinstance(box, list)
        await window.mouse("mouseWheel", *box, deltaX=0, deltaY=-3000)
        await window.until("document.getElementById('follow').hidden === false")
        before = await lines_shown(window)
        await window.run("playhead = zero + 9600; chosen = []; follow()")
        assert await window.run("lit > 0 && visible[lit].at <= playhead")
        assert text(6400) not in await lines_shown(window)
        assert before
        assert await window.run("document.getElementById('follow').textContent") == "Back to 2:40:00"
        await window.run("document.getElementById('follow').click()")
        assert text(6400) in await lines_shown(window)
        assert await window.run("document.getElementById('follow').hidden") is True

        # A click plays from that line, and the list goes on from there.
        await window.run("itemOf(lit - 2).click()")
        await window.until("isPlaying() && lead().currentTime > 9590")
        await window.press(" ")
        await window.until("!isPlaying()")
        assert window.complaints() == []


@needs_browser
async def test_words_are_found_in_all_lines(html: Path, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        await window.run("go(zero + 3600)")
        # The browser's search would miss most lines: Ctrl+F is the page's at first.
        for kind in ("keyDown", "keyUp"):
            await window.send("Input.dispatchKeyEvent", type=kind, key="f", code="KeyF", modifiers=2)
        assert await window.run("document.activeElement.id") == "find"
        for letter in "LINE 7100:":
            await window.press(letter)
        assert await lines_shown(window) == [text(7100)]
        assert await window.run("document.getElementById('hits').textContent") == f"1 of {SAID + CHATS + 901:,} lines"
        assert await window.run("[...document.querySelectorAll('#lines mark')].map(m => m.textContent)") == [
            "Line 7100:"
        ]
        await window.press("Enter")
        assert await window.run("document.activeElement.textContent") == "2:57:30"
        await window.press("Enter")
        await window.until("isPlaying()")
        await window.run("halt(); document.getElementById('find').focus()")
        await window.press("Escape")
        assert await window.run("visible.length") == SAID + CHATS
        assert text(7100) in await lines_shown(window)  # where the reader is now
        await window.run("find = document.getElementById('find'); find.value = '(.*[$'; find.oninput()")
        assert await window.run("document.querySelector('#lines .none').textContent") == "Nothing matches."
        assert window.complaints() == []


@needs_browser
async def test_the_wave_has_detail_at_every_zoom(html: Path, tmp_path: Path) -> None:
    """As many heights as there are columns that differ; a block has one."""
    heights = (
        "(() => { draw(); const row = rows[0], ratio = canvas.width / width;"
        " const wide = canvas.width, high = row.height * ratio;"
        " const {data} = pen.getImageData(0, row.top * ratio, wide, high);"
        " const found = new Set(); for (let x = 0; x < wide; x++) { let n = 0;"
        " for (let y = 0; y < high; y++) n += data[4 * (y * wide + x) + 3] === 255;"
        " found.add(n); } return found.size; })()"
    )
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        await window.until("wavesOf(data.sounds[0]).length > 3")
        for from_s, to_s, least in ((3600, 3900, 9), (3600, 3660, 15), (9000, 9010, 15), (9001, 9002, 15)):
            await window.run(f"show(zero + {from_s}, zero + {to_s})")
            assert int(str(await window.run(heights))) >= least, (from_s, to_s)
        # What is loud for a moment is seen in the coarsest wave as well.
        loudest = "wavesOf(data.sounds[0]).map(({levels}) => levels.reduce((one, other) => Math.max(one, other), 0))"
        found = await window.run(f"[...new Set({loudest})]")
        assert isinstance(found, list)
        assert len(found) == 1
        assert 200 < found[0] <= 255


@needs_browser
async def test_two_fingers_zoom(html: Path, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri(), 390)
        box = await window.run("(({left, top}) => [left, top])(canvas.getBoundingClientRect())")
        assert isinstance(box, list)
        left, top = box
        for kind, places in (
            ("touchStart", (100, 140)), ("touchMove", (80, 160)), ("touchMove", (40, 200)), ("touchEnd", ()),
        ):  # fmt: skip
            points = [{"x": left + x, "y": top + 60, "id": number} for number, x in enumerate(places)]
            await window.send("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        await window.until("view.to - view.from < (whole.to - whole.from) / 3")
        assert await window.run("fingers.size === 0 && drag === null && playhead === null")
        assert window.complaints() == []


@needs_browser
async def test_a_link_opens_the_page_at_a_time(html: Path, tmp_path: Path) -> None:
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri() + "#t=2:30:00")
        assert await window.run("[playhead - zero, document.querySelector('#lines .now p').textContent]") == [
            9000,
            text(6000),
        ]
        assert text(6000) in await lines_shown(window)
        assert str(await window.run("document.getElementById('clock').textContent")) == "2:30:00.0 / 3:00:00"
        assert await window.run("view.to - view.from <= 300 && view.from < playhead && playhead < view.to")
        await window.run("location.hash = 't=12:30'")
        await window.until("playhead - zero === 750")
        # Going somewhere else changes the address, which can be copied.
        await window.run("canvas.focus()")
        for key, at in (("ArrowRight", "12:35.0"), ("PageDown", "13:35.0"), ("Home", "0:00.0"), ("End", "3:00:00.0")):
            await window.press(key)
            assert await window.run("location.hash") == f"#t={at}", key
        assert await window.run("canvas.getAttribute('aria-valuetext')") == "3:00:00 of 3:00:00"
        times = [
            "90",
            "1:30",
            "0:10",
            "1:02:03",
            "10s",
            "1m30s",
            "1h",
            "1h2m3.5s",
            "",
            "x",
            "1:2:3:4",
            "-5",
            "1e9",
            "5 m",
        ]
        assert await window.run(f"{json.dumps(times)}.map(seconds)") == [
            90, 90, 10, 3723, 10, 90, 3600, 3723.5, None, None, None, None, None, None,
        ]  # fmt: skip
        for bad in ("t=soon", "t=%E0%A4%A", "t=<img src=x>", "t="):
            await window.run(f"location.hash = {json.dumps(bad)}")
        await asyncio.sleep(0)
        assert window.complaints() == []
