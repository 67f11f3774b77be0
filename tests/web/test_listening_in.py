"""Listening in, in a real browser: it plays, soon after it was said; it is lost, comes back and ends."""

import json
import os
import signal
import sys
from pathlib import Path
from statistics import median
from urllib.parse import quote

import pytest
from browser import CHROMIUM, Page, browser
from web.test_process import child_of, found
from web.watching import recorder

from rtms_cli.simulator.scenario import Scenario

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]
LISTEN = """import('/static/sound.js').then(({listenIn}) => {
  window.states = [];
  window.peak = 0;
  window.ear = listenIn(ID, {
    onState: (state, { at, delay }) => states.push([state, at === undefined ? null : Date.now() - at, delay ?? null]),
    onLevel: (level) => { peak = Math.max(peak, level); },
  });
})"""
LAST = "states.at(-1)[0]"


async def states(page: Page) -> list[tuple[str, float | None, float | None]]:
    """What it said: the state, how long ago what plays was said, in ms, and what waits, in s."""
    found: list[tuple[str, float | None, float | None]] = await page.run("states")  # type: ignore[assignment]
    return found


async def test_it_plays_soon_after_it_was_said(tmp_path: Path) -> None:
    async with recorder(tmp_path, "--media", "audio") as running, browser(tmp_path / "profile") as page:
        stream = await running.begin(Scenario(600))
        await page.open(running.pages.rstrip("/") + f"/live/{quote(stream.stream_id, safe='')}")
        await page.run(LISTEN.replace("ID", json.dumps(stream.stream_id)))
        await page.until(f"{LAST} === 'playing'")
        await page.until("peak > 0.03")
        await page.until("states.filter(([state, ago]) => state === 'playing' && ago !== null).length >= 5")
        ago = [ago for state, ago, _ in await states(page) if state == "playing" and ago is not None]
        waiting = [waits for state, _, waits in await states(page) if state == "playing" and waits is not None]
        print(f"\nsaid {median(ago):.0f} ms ago, of which {1000 * median(waiting):.0f} ms wait in the page")
        assert 0 < median(ago) < 10_000
        assert page.complaints() == []

        os.kill(await found(lambda: child_of(running.listener.process.pid)), signal.SIGKILL)
        await page.until("states.some(([state]) => state === 'lost')")
        await page.run("peak = 0; states.length = 0")
        await page.until("peak > 0.03 && states.length > 0 && states.at(-1)[0] === 'playing'")

        running.simulator.end()
        await page.until(f"{LAST} === 'ended'")


async def test_the_page_says_how_it_goes(tmp_path: Path) -> None:
    async with recorder(tmp_path, "--media", "audio") as running, browser(tmp_path / "profile") as page:
        stream = await running.begin(Scenario(600))
        await page.open(running.pages.rstrip("/") + f"/live/{quote(stream.stream_id, safe='')}")
        await page.until("document.querySelector('.listen .play') && !document.querySelector('.listen .play').disabled")
        await page.press("l")
        await page.until("document.querySelector('.listen [role=status]').textContent === 'playing'")
        assert await page.run("document.querySelector('.listen .play').textContent") == "■ Stop listening"
        await page.until("document.querySelector('.listen').textContent.includes('s buffered')")
        if shown := os.environ.get("RTMS_PICTURES"):
            await page.picture(Path(shown) / "listening-in.png")
        await page.press("l")
        await page.until("document.querySelector('.listen .play').textContent === '▶ Listen in'")
        assert page.complaints() == []
