"""`--html`: one page that needs nothing else, in a real browser; whatever comes from outside stays text."""

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import CHROMIUM, browser, data_of
from frames import ZERO_MS, audio, granted, media, said, state
from processes import rtms

from rtms_cli.capture import Header, capture_lines
from rtms_cli.inspection.page import MOST_LINES, link_from, page, write_page
from rtms_cli.machine import Frame, State
from rtms_cli.recording.manifest import Manifest, TrackEntry

S = 1_000_000
RATE = 16_000
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "<!--<script>",
    "{{data}} {{policy}} \\u003c",
    "\u2028\u202e\x00\x1b[2J",
    "\ud800",
    '"><svg onload=alert(3)>',
]


def hostile_frames() -> list[Frame]:
    frames = [
        state(State.OPEN, 0, "signaling"),
        state(State.OPEN, 0),
        granted(at_us=S),
        *(audio(bytes(640), ZERO_MS + 20 * number, at_us=S + 20_000 * number) for number in range(100)),
    ]
    for number, text in enumerate(HOSTILE, 1):
        at_us = S + 100_000 * number
        timestamp = ZERO_MS + 100 * number
        joined = {"event_type": 3, "participants": [{"user_id": number, "user_name": text}]}
        frames += [
            said({"msg_type": 6, "event": joined}, at_us, "signaling"),
            media(17, text, timestamp, user_id=number, user_name=text, at_us=at_us),
            media(18, text, timestamp, user_id=number, user_name=text, at_us=at_us),
            media(15, b"x", timestamp, user_id=number, user_name=text, at_us=at_us),
            said({"msg_type": text, text: text}, at_us),
            state(State.WARNING, at_us, reason=text.encode("utf-8", "replace").decode()),
        ]
    return sorted(frames, key=lambda frame: frame.at_us)


def build(frames: list[Frame], header: Header, out: Path, folder: Path | None = None) -> str:
    link = link_from(out / "page.html")
    return b"".join(page(header, [*enumerate(frames, 2)], out / "capture.jsonl", folder, link)).decode()


def test_one_page_without_a_way_out(tmp_path: Path) -> None:
    text = build(hostile_frames(), Header(1, "2026-11-22T22:15:00.000Z", "x", "meeting", HOSTILE[1], "s"), tmp_path)
    text.encode()  # nothing in it that UTF-8 cannot hold
    assert re.findall(r"<script\b[^>]*>", text) == ['<script type="application/json" id="data">', "<script>"]
    assert re.search(r'http-equiv="Content-Security-Policy" content="default-src \'none\'; script-src \'sha256-', text)
    assert not re.search(r"""(?:src|href)\s*=[^=]|https?://|\bstyle="|\bon\w+="|innerHTML|eval\(""", data_free(text))
    assert "<title>meeting &lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;</title>" in text
    lines = data_of(text)["said"]
    assert isinstance(lines, list)
    assert [line["text"] for line in lines if line["kind"] == "chat"] == whole(HOSTILE)


def whole(texts: list[str]) -> list[str]:
    """Texts as they are where half a surrogate pair cannot be."""
    return [text.replace("\ud800", "\ufffd") for text in texts]


def test_a_page_is_written_for_a_folder_and_for_a_capture(tmp_path: Path) -> None:
    recording = hostile_recording(tmp_path / "recording")
    for place in (recording, recording / "capture.jsonl"):
        html = tmp_path / f"{place.name}.html"
        assert write_page(place, html) == html.stat().st_size
        sounds = data_of(html.read_text())["sounds"]
        assert isinstance(sounds, list)
        links = [sound["link"] for sound in sounds]
        assert links == (["./recording/audio/7%20%23%3F%25%C3%A9.wav", None] if place == recording else [])


def data_free(text: str) -> str:
    """The template's own part, without the policy, what came from outside and what scripts may say of themselves."""
    bare = re.sub(r'<script type="application/json".*?</script>|<meta http-equiv[^>]*>|<title>.*?</title>', "", text)
    return bare.replace("player.src = sound.link", "")


def test_text_stands_where_it_was_spoken(tmp_path: Path) -> None:
    names = [{"user_id": 7, "user_name": "Ann"}, {"user_id": 8, "user_name": "Bob"}]
    frames = [
        granted(at_us=0),
        said({"msg_type": 6, "event": {"event_type": 3, "participants": names}}, 0, "signaling"),
        *(audio(bytes(640), ZERO_MS + 20 * number, at_us=5 * S + 20_000 * number) for number in range(100)),
        media(17, "One", ZERO_MS + 1900, user_id=7, at_us=8 * S, start_time=ZERO_MS + 500, end_time=ZERO_MS + 1500),
        media(17, "", ZERO_MS + 1900, user_id=7, at_us=8 * S),
        media(17, "Two", ZERO_MS + 1900, user_id=7, at_us=8 * S, start_time=0, end_time=ZERO_MS + 10**9),
        media(18, "Three", 17, user_id=8, at_us=8 * S),
        media(17, "Four", ZERO_MS + 10**9, user_id=99, at_us=9 * S, end_time=3),
        said({"msg_type": 6, "event": {"event_type": 2, "user_id": 8}}, 9 * S, "signaling"),
    ]
    lines = data_of(build(frames, Header(1, "", "", "meeting"), tmp_path))["said"]
    assert isinstance(lines, list)
    assert [(line["kind"], line["at"], line["end"], line["who"], line["text"]) for line in lines] == [
        ("event", 0, 0, "", "PARTICIPANT_JOIN Ann, Bob"),
        ("transcript", 5.5, 6.5, "Ann", "One"),
        ("transcript", 6.9, 10.9, "Ann", "Two"),
        ("chat", 8, 8, "Bob", "Three"),
        ("event", 9, 9, "", "ACTIVE_SPEAKER_CHANGE 8"),
        ("transcript", 9, 13, "99", "Four"),
    ]


def test_sentences_stand_as_they_were_in_the_end(tmp_path: Path) -> None:
    def line(text: str, at_ms: int, attribute: int) -> Frame:
        return media(17, text, ZERO_MS + at_ms, user_id=7, start_time=ZERO_MS + at_ms, attribute=attribute)

    frames = [granted(), line("One", 0, 1), line("Tow", 100, 1), line("Gone", 200, 1), line("Two", 100, 2)]
    frames += [line("", 200, 3), line("Same", 300, 1), line("Same", 300, 1)]
    lines = data_of(build(frames, Header(1, "", "", "meeting"), tmp_path))["said"]
    assert isinstance(lines, list)
    assert [line["text"] for line in lines] == ["One", "Two", "Same"]


def test_a_page_is_bounded(tmp_path: Path) -> None:
    frames = [media(18, "x", ZERO_MS, at_us=number) for number in range(MOST_LINES + 7)]
    data = data_of(build(frames, Header(1, "", ""), tmp_path))
    lines = data["said"]
    assert isinstance(lines, list)
    assert (len(lines), data["unsaid"]) == (MOST_LINES, 7)


@needs_browser
async def test_a_page_of_very_many_things_in_a_very_long_time_is_drawn(tmp_path: Path) -> None:
    frames = [said({"msg_type": 13, "timestamp": 5}, number * 1000, "signaling") for number in range(3000)]
    frames += [media(17, "x", ZERO_MS, user_id=number, at_us=3 * S) for number in range(1, 1001)]
    frames += [state(State.OPEN, 10**12 * S)]
    html = tmp_path / "page.html"
    text = build(frames, Header(1, "", ""), tmp_path)
    await asyncio.to_thread(html.write_text, text)
    findings = data_of(text)["findings"]
    assert isinstance(findings, list)
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        shown = str(await window.run("document.getElementById('sheets').textContent"))
        assert f"{len(findings) - 500:,} more are not shown" in shown
        assert await window.run("document.getElementById('unlisted').textContent") == "701 more lanes are not drawn"
        assert await window.run("canvas.height * 3 < 32767 && rows.length === 300")
        await window.run("document.querySelector('tr.jump').click()")
        assert window.complaints() == []


def test_where_a_page_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(Header(1, "", "").line())
    done = rtms("inspect", path, "--html", tmp_path / "none" / "page.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Cannot write" in done.stderr
    assert rtms("inspect", path, "--html", "x.html", "--json", cwd=tmp_path).returncode == 2


def hostile_recording(folder: Path) -> Path:
    """A recording whose names are all traps, in a folder whose name has to be quoted."""
    name = "audio/7 #?%é.wav"
    (folder / "audio").mkdir(parents=True)
    frames = hostile_frames()
    header = Header(1, "2026-11-22T22:15:00.000Z", HOSTILE[0], "meeting", HOSTILE[0], HOSTILE[1])
    (folder / "capture.jsonl").write_bytes(header.line() + capture_lines(frames))
    track = TrackEntry("audio", name, 7, HOSTILE[0], offset=0, gaps=[(1.0, 1.5)], gap_count=1)
    gone = TrackEntry("audio", "audio/gone.wav", 8, HOSTILE[1], offset=0)
    manifest = Manifest(
        1, "complete", "meeting", "", "", "", None, "", None, ZERO_MS, None, {}, [track, gone], {}, {}, [], 0, [], None,
        title=HOSTILE[6],
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(manifest.encode())
    soundfile.write(folder / name, np.sin(np.arange(4 * RATE) / 5) / 2, RATE)
    return folder


@needs_browser
async def test_names_stay_text_and_clicks_play(tmp_path: Path) -> None:
    recording = hostile_recording(tmp_path / "a recording #1")
    html = tmp_path / "pages" / "page.html"
    html.parent.mkdir()
    done = await asyncio.to_thread(rtms, "inspect", recording, "--html", html, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri())
        assert window.complaints() == []
        assert await window.run("document.querySelectorAll('script').length") == 4
        assert await window.run("document.querySelectorAll('img, svg, iframe, link').length") == 0
        assert await window.run("document.getElementById('title').textContent") == HOSTILE[6]
        assert await window.run("document.title") == HOSTILE[6]
        assert f"Meeting {HOSTILE[0]}" in str(await window.run("document.getElementById('under').textContent"))
        for where in ("labels", "lines", "sheets"):
            shown = str(await window.run(f"document.getElementById('{where}').textContent"))
            assert HOSTILE[0] in shown, where
            assert HOSTILE[1] in shown, where
        written = "[...document.querySelectorAll('#lines .chat p')].map(line => line.textContent)"
        # Newer browsers replace half a surrogate pair on its way out to the test.
        assert str(await window.run(written)).replace("\\ud800", "\ufffd") == str(whole(HOSTILE))

        # A click on a line plays the sound from where it was spoken: 0.3 s after the zero, which lies at 1 s.
        await window.run("document.querySelectorAll('#lines .transcript')[2].click()")
        await window.until("lead().currentTime > 0.3 && !lead().paused")
        assert str(await window.run("lead().currentSrc")).endswith(
            "/a%20recording%20%231/audio/7%20%23%3F%25%C3%A9.wav"
        )
        assert await window.run("playhead - zero - lead().currentTime < 0.5")
        assert await window.run("document.querySelector('#lines .now[aria-current]') !== null")
        await window.run("document.getElementById('play').click()")
        assert await window.run("lead().paused")

        # So does Enter, on the line that Tab and arrows lead to.
        await window.run("document.querySelector('#lines button[tabindex=\"0\"]').focus()")
        for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "ArrowDown", "Home", "ArrowDown"):
            await window.press(key)
        lines = "[...document.querySelectorAll('#lines .line button')]"
        assert await window.run(f"{lines}.indexOf(document.activeElement)") == 1
        assert await window.run(f"{lines}.filter(line => line.tabIndex === 0).length") == 1
        await window.run(
            f"{lines}.forEach((line, number) => line.addEventListener('click', () => {{ entered = number }}))"
        )
        await window.press("Enter")
        await window.until("!lead().paused")
        assert await window.run("entered") == 1
        await window.press(" ")
        assert await window.run("lead().paused")

        # The wheel zooms in around the pointer; the buttons lead back.
        box = await window.run("(({left, top, width}) => [left, top, width])(canvas.getBoundingClientRect())")
        assert isinstance(box, list)
        left, top, width = box
        before = await window.run(f"timeAt({width / 4})")
        await window.mouse("mouseWheel", left + width / 4, top + 50, deltaX=0, deltaY=-200)
        await window.until("view.to - view.from < 0.8 * (whole.to - whole.from)")
        assert isinstance(before, float)
        assert await window.run(f"timeAt({width / 4})") == pytest.approx(before, abs=0.05)
        await window.mouse("mouseMoved", left + width / 4, top + 50)
        tip = str(await window.run("document.getElementById('tip').innerText"))
        assert HOSTILE[6] in tip  # what participant 7 is called
        assert "dBFS" in tip
        await window.run("document.getElementById('fit').click()")
        assert await window.run("view.from === whole.from && view.to === whole.to")
        await window.click(left + width / 2, top + 50)
        middle = await window.run("(whole.from + whole.to) / 2")
        assert await window.run("playhead") == pytest.approx(middle, abs=0.3)

        await window.mouse("mouseWheel", left + width / 4, top + 50, deltaX=0, deltaY=300)
        assert await window.run("view.from === whole.from && view.to === whole.to")

        # Finding by a word leaves what fits.
        await window.run("find = document.getElementById('find'); find.value = 'SVG'; find.oninput()")
        assert await window.run("document.querySelectorAll('#lines .line').length") == 2
        assert window.complaints() == []
        assert {url.partition(":")[0] for url in window.requested()} == {"file"}
        assert {url.rpartition("/")[2] for url in window.requested()} == {"page.html", "7%20%23%3F%25%C3%A9.wav"}


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
async def test_it_is_drawn_in_light_and_dark_and_nothing_sticks_out(scheme: str, width: int, tmp_path: Path) -> None:
    recording = hostile_recording(tmp_path / "recording")
    html = recording / "page.html"
    assert (await asyncio.to_thread(rtms, "inspect", recording, "--html", html, cwd=tmp_path)).returncode == 0
    async with browser(tmp_path / "profile") as window:
        await window.open(html.as_uri(), width, scheme=scheme)
        assert await window.run("document.documentElement.scrollWidth <= innerWidth")
        back = await window.run("getComputedStyle(document.body).backgroundColor")
        assert back == {"light": "rgb(245, 246, 248)", "dark": "rgb(12, 15, 20)"}[scheme]
        await window.until("width > 0 && !stale")
        painted = await window.run("pen.getImageData(0, 0, canvas.width, canvas.height).data.some(value => value > 0)")
        assert painted is True
        await window.picture(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000
        assert window.complaints() == []


def test_a_chat_is_shown_as_it_stood_in_the_end(tmp_path: Path) -> None:
    ann, bob = {"user_id": 7, "user_name": "Ann"}, {"user_id": 8, "user_name": "Bob"}
    operations: list[tuple[str, dict[str, Any]]] = [
        ("helo", {"operation_type": 1, "message_id": "a", "sender": ann}),
        ("secret", {"operation_type": 1, "message_id": "b", "sender": ann}),
        ("hello", {"operation_type": 3, "message_id": "a", "sender": ann}),
        ("👍", {"operation_type": 4, "message_id": "a", "sender": bob}),
        ("re", {"operation_type": 1, "message_id": "c", "sender": bob, "parent_message_id": "a"}),
        ("", {"operation_type": 2, "message_id": "b", "sender": ann}),
    ]
    frames = [granted(at_us=0)]
    for at, (text, fields) in enumerate(operations):
        frames.append(media(18, text, ZERO_MS + 1000 * at, user_id=None, at_us=S * at, **fields))
    lines = data_of(build(frames, Header(1, "", "", "meeting"), tmp_path))["said"]
    assert isinstance(lines, list)
    assert [(line["at"], line["who"], line["text"]) for line in lines] == [
        (0, "Ann", "hello (edited) [👍 Bob]"),
        (1, "Ann", "(deleted)"),
        (4, "Bob, in reply to Ann", "re"),
    ]
