"""Draws every page as people see it, to be looked at: `PYTHONPATH=tests python tests/web/web_pictures.py FOLDER`.

Each is drawn at 1280 and 390 pixels, in light and dark: recordings (none, one, 5,000, hostile ones), search, the page
of a three-hour meeting, and live pages with nothing, one stream and many (`--streams 100`). `--only NAME` draws those
whose names have it. `--readme` draws the picture of the README instead.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from browser import Page, browser
from long_meeting import record_meeting
from web.shelves import fill, trap
from web.watching import pages, recorder

from rtms_cli.protocol.numbers import Product
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Person, Scenario
from rtms_cli.simulator.schedule import Event, EventKind

README = Path(__file__).resolve().parents[2] / "docs/images/web.png"
TALK = (
    (0, "Good morning. Let us begin with the numbers of last week."),
    (1, "Sign-ups are up by a fifth, and most of them come from the new page."),
    (0, "That is better than we thought. And the invoice?"),
    (2, "It is paid. I will send you the receipt after the meeting."),
    (1, "Then only the release is left. I would like to ship it on Monday."),
    (0, "Monday is fine. Zoë, please tell the customers on Friday."),
    (1, "I will. The draft is in the wiki."),
)
"""Who says what in the README's picture, one after the other."""
SIZES = ((1280, 800), (390, 844))
SCHEMES = ("light", "dark")
Ready = Callable[[Page], Awaitable[object]]


class Camera:
    """Takes pictures into a folder."""

    def __init__(self, page: Page, folder: Path, only: str) -> None:
        self._page, self._folder, self._only = page, folder, only

    async def take(self, name: str, url: str, ready: str = "true", wait_s: float = 0.5) -> None:
        """Take one page at all sizes, when an expression holds in it."""
        if self._only not in name:
            return
        for width, height in SIZES:
            for scheme in SCHEMES:
                await self._page.open("about:blank")  # an address with a place in it would not be loaded again
                await self._page.open(url, width, height, scheme)
                async with asyncio.timeout(60):
                    await self._page.until(f"!!(document.querySelector('h1') && ({ready}))")
                await asyncio.sleep(wait_s)
                await self._page.picture(self._folder / f"{name}-{width}-{scheme}.png")
                if await self._page.run("document.documentElement.scrollWidth > innerWidth"):
                    print(f"{name} at {width}: sticks out")
        for complaint in self._page.complaints():
            print(name, complaint)
        self._page.events.clear()


async def recorded(camera: Camera, folder: Path) -> None:
    """The pages of what was recorded."""
    shelves = {"none": 0, "one": 1, "many": 5000}
    for name, count in shelves.items():
        place = folder / name
        place.mkdir()
        fill(place, count)
    trap(folder / "one" / "20261128T090000Z_meeting_trap")
    record_meeting(folder / "many" / "20261128T090000Z_meeting_long")
    for name in shelves:
        async with pages(folder / name, "--web-control", cwd=folder) as url:
            shown = "document.querySelector('.row, .none:not([hidden])')"
            await camera.take(f"recordings-{name}", f"{url}recordings", shown)
            if name == "none":
                await camera.take("live-no-recorder", f"{url}live")
                continue
            asked = "trap" if name == "one" else "customers"
            await camera.take(f"search-{name}", f"{url}search?q={asked}", "document.querySelector('.hit')")
        if name == "many":
            async with pages(folder / name, cwd=folder) as url:
                await camera.take("search-empty", f"{url}search")
                await camera.take(
                    "search-nothing", f"{url}search?q=xyzzy", "document.querySelector('.none:not([hidden])')"
                )
                where = "recordings/20261128T090000Z_meeting_long"
                await camera.take("meeting", f"{url}{where}#t=300", "document.querySelector('#lines .line')")


async def running(camera: Camera, folder: Path, streams: int, only: str) -> None:
    """The live pages."""
    async with recorder(folder, "--split", "--web-control") as one:
        await camera.take("live-none", f"{one.pages}live")
        faults = (FaultAt(12_000, Fault.DROP_MEDIA), FaultAt(15_000, Fault.EVENT_7))
        stream = await one.begin(Scenario(600, faults=faults))
        await asyncio.sleep(0 if only == "live-many" else 18)
        await camera.take("live-one", f"{one.pages}live", "document.body.innerText.includes('streaming')", 2)
        await camera.take("live-stream", f"{one.pages}live/{stream.stream_id}", wait_s=3)
    if only in "live-many":
        (folder / "crowd").mkdir()
        async with recorder(folder / "crowd", "--media", "audio,transcript", "--web-control") as many:
            for number in range(1, streams + 1):
                stream = many.simulator.announce(list(Product)[number % 4], Scenario(600), number)
                await many.simulator.tell(stream, "started")  # late, where this machine is busy
            await camera.take("live-many", f"{many.pages}live", "document.body.innerText.includes('streaming')", 2)


async def draw_readme(page: Page, folder: Path) -> None:
    """The page of a stream in the middle of a meeting."""
    people = (Person(7, "Ann Example"), Person(8, "Zoë Müller"), Person(9, "Kim Park"))
    events = [
        Event(1000 + 5000 * number, kind, who, 4500, text)
        for number, (who, text) in enumerate(TALK)
        for kind in (EventKind.SPEAK, EventKind.TRANSCRIPT)
    ]
    events.append(Event(27_000, EventKind.CHAT, 2, 0, "The receipt: invoice-4711.pdf"))
    async with recorder(folder, "--separate") as one:
        stream = await one.begin(Scenario(60, people, events=tuple(events)))
        await page.open(f"{one.pages}live/{stream.stream_id}", 1280, 860)
        await page.until("document.querySelector('.lines')?.innerText.includes('on Friday')")
        await asyncio.sleep(2)
        await page.picture(README)


async def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("pictures"))
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not options.readme:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rtms-", ignore_cleanup_errors=True) as place:
        async with browser(Path(place) / "profile") as page:
            if options.readme:
                await draw_readme(page, Path(place))
                return
            camera = Camera(page, options.folder, options.only)
            if "live" not in options.only:
                await recorded(camera, Path(place))
            if not options.only or "live" in options.only:
                await running(camera, Path(place), options.streams, options.only)


if __name__ == "__main__":
    asyncio.run(main())
