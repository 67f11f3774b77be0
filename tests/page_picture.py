"""Draws the README's picture of `rtms inspect --html` again from a real run: `python tests/page_picture.py`."""

import asyncio
import tempfile
from pathlib import Path

from browser import browser
from processes import rtms

PICTURE = Path(__file__).resolve().parent.parent / "docs/images/inspect.png"
SECONDS, SHOWN_AT_S = 40, 17


async def draw(folder: Path) -> None:
    """Record the demo, and take the page as it is while its sound plays."""
    html = folder / "page.html"
    for arguments in (["demo", "--seconds", str(SECONDS)], ["inspect", "--html", str(html)]):
        done = await asyncio.to_thread(rtms, *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    async with browser(folder / "profile") as window:
        await window.open(html.as_uri(), 1280, 800)
        await window.run(f"playFrom({SHOWN_AT_S})")
        while not await window.run("lead().currentTime > 17.2"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await window.run("halt()")
        await window.mouse("mouseMoved", 380, 320)
        await window.picture(PICTURE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(draw(Path(folder)))
    print(PICTURE)
