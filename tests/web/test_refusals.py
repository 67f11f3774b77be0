"""What people see where a page cannot be shown: in Chromium, with `rtms web` as a process."""

from pathlib import Path

import pytest
from browser import browser
from catalog.shelf import put
from web.knocking import MARK, opened
from web.watching import AXE

pytestmark = pytest.mark.timeout(180)
TITLE = "document.querySelector('h1')?.textContent"


async def test_a_token_is_typed_in(tmp_path: Path) -> None:
    """Where it was set beforehand, no URL was printed that has it."""
    asked = "/search?q=a%26b%22%3E%3Cscript%3Ealert(1)%3C/script%3E&token=wrong"
    async with opened(tmp_path, "--host", "0.0.0.0") as (door, _), browser(tmp_path / "profile") as page:
        own = f"http://127.0.0.1:{door.port}"
        await page.open(own + asked)
        await page.until(f"{TITLE} === 'This page needs its token.'")
        assert await page.judge(AXE) == []
        assert await page.run("document.querySelectorAll('script').length") == 0
        assert door.token is not None
        await page.run("document.querySelector('[type=password]').focus()")
        await page.type(door.token)
        await page.press("Enter")
        await page.until(f"{TITLE} === 'Search'")
        assert await page.run("[location.pathname, location.search.includes('token')]") == ["/search", False]
        assert await page.run("document.querySelector('input[type=search]').value") == 'a&b"><script>alert(1)</script>'


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("/recordings/nothing", "This recording or file does not exist."),
        ("/nothing", "This page does not exist."),
        ("/recordings/bad", "This recording has no page."),
    ],
)
async def test_what_is_not_there_leads_to_what_is(tmp_path: Path, path: str, title: str) -> None:
    async with opened(tmp_path) as (door, _), browser(tmp_path / "profile") as page:
        put(tmp_path / MARK, "bad")
        (tmp_path / MARK / "bad/capture.jsonl").unlink()
        await page.open(f"http://127.0.0.1:{door.port}{path}")
        await page.until(f"{TITLE} === {title!r}")
        assert await page.judge(AXE) == []
        await page.run("document.querySelector('a').click()")
        await page.until(f"{TITLE} === 'Recordings'")
