"""The list of recordings and search in a real browser, over real recordings."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
from catalog.shelf import put
from catalog.test_search import say
from processes import running
from web.watching import AXE, pages

from rtms_cli.recording.manifest import Loss, Manifest, Participant

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
MANY = 1_200
BEGAN = datetime(2026, 11, 27, 12, tzinfo=UTC)
ROWS = "[...document.querySelectorAll('.recording')]"
NAMES = f"{ROWS}.map((row) => row.querySelector('a').textContent)"
PLACES = f"{ROWS}.map((row) => Number(row.getAttribute('aria-rowindex')))"
MARKS = "[...document.querySelectorAll('.hits mark')].map((one) => one.textContent)"
HITS = "document.querySelectorAll('.hit').length"
FOCUSED = "document.activeElement.querySelector('.name a')?.textContent"
LOST = "The server does not answer"
TRAPS = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "javascript:alert(4)",
    "{{constructor.constructor('alert(5)')()}}",
    "\u202egnp.exe \u2066",
    "x" * 200,
]
"""What strangers call themselves and their meetings."""


def has(selector: str, text: str) -> str:
    """Whether an element that can be seen has a text."""
    return (
        f"[...document.querySelectorAll({json.dumps(selector)})]"
        f".some((one) => one.checkVisibility() && one.textContent.includes({json.dumps(text)}))"
    )


def put_many(place: Path, count: int = MANY) -> None:
    """Recordings, one an hour, the newest first; every third is a webinar, every fourth has lost something."""
    for number in range(count):
        began = BEGAN - timedelta(hours=number)
        put(
            place,
            f"{number:04}",
            title=f"Talk {number}",
            product="webinar" if number % 3 == 0 else "session" if number == 1 else "meeting",
            started_at=f"{began:%Y-%m-%dT%H:%M:%SZ}",
            ended_at=f"{began + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
            rtms_stream_id=f"stream-{number}",
            losses=[Loss("packets", "media", 3)] if number % 4 == 0 else [],
            participants=[Participant(1, "Zoë Müller" if number % 2 else "Kim")],
        )


@asynccontextmanager
async def looking(place: Path, path: str, *options: str, rows: bool = True) -> AsyncIterator[tuple[Page, str]]:
    """Look at a page of these recordings; gives the URL of the pages, too."""
    folder = place.parent
    async with pages(place, *options, cwd=folder) as url, browser(folder / "profile") as page:
        url = url.rstrip("/")
        await page.open(url + path)
        await page.until("document.querySelector('main h1') !== null")
        if rows:
            await page.until(f"{ROWS}.length > 0 && document.querySelector('.progress').hidden")
        yield page, url


def nothing(folder: Path) -> Path:
    """A place without recordings."""
    place = folder / "none"
    place.mkdir(exist_ok=True)
    return place


async def is_fine(page: Page) -> None:
    """Accessible, not wider than the window, and without a complaint of the browser."""
    assert await page.judge(AXE) == []
    assert await page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints() == []


async def query(page: Page) -> object:
    return await page.run("location.search")


@pytest.mark.parametrize("width", [1280, 390])
async def test_a_long_list_has_few_rows_in_the_order_of_the_list(tmp_path: Path, width: int) -> None:
    put_many(tmp_path / "all")
    async with looking(tmp_path / "all", "/live", rows=False) as (page, url):
        await page.open(f"{url}/recordings", width)
        await page.until(has("[role=status]", f"{MANY:,} recordings"))
        assert await page.run("document.querySelector('[role=grid]').ariaRowCount") == str(MANY + 1)
        assert await page.run(has(".foot", f"{MANY // 4} recordings with losses"))
        await page.run("document.querySelector('.rows').scrollTop = 30_000")
        await page.until(f"{PLACES}.some((place) => place > 400)")
        first = await page.run(f"{PLACES}[1]")
        await page.run("document.querySelector('.rows').scrollTop -= 700")  # some rows stay, others come before them
        await page.until(f"{PLACES}.some((place) => place > 2 && place < {first})")
        assert await page.run(f"{ROWS}.length < 60")
        shown = await page.run(f"{ROWS}.map((row) => [Number(row.ariaRowIndex), row.querySelector('a').textContent])")
        assert isinstance(shown, list)
        assert shown == sorted(shown), "a screen reader reads in the order of the elements"
        assert shown == [[place, f"Talk {place - 2}"] for place, _ in shown]
        await is_fine(page)


async def test_keys_move_through_the_list_and_open(tmp_path: Path) -> None:
    put_many(tmp_path / "all")
    async with looking(tmp_path / "all", "/recordings") as (page, _):
        await page.press("j")
        assert await page.run(FOCUSED) == "Talk 0"
        for key, name in (
            ("j", 1),
            ("ArrowDown", 2),
            ("k", 1),
            ("End", MANY - 1),
            ("ArrowDown", MANY - 1),
            ("Home", 0),
        ):
            await page.press(key)
            assert await page.run(FOCUSED) == f"Talk {name}", key
            role, told = await page.focus()
            assert role == "row"
            assert told.startswith(f"Talk {name}, complete")
        await page.press("PageDown")
        await page.press("PageDown")
        here = str(await page.run(FOCUSED))
        box = "document.activeElement.getBoundingClientRect()"
        assert await page.run(f"{box}.bottom <= document.querySelector('.rows').getBoundingClientRect().bottom + 1")
        await page.until("history.state?.list?.top > 0")
        await page.press("Enter")
        await page.until("location.pathname.startsWith('/recordings/00')")
        await page.back()
        await page.until(f"location.pathname === '/recordings' && {NAMES}.includes({json.dumps(here)})")
        await page.until("document.querySelector('.rows').scrollTop > 0")
        await page.press("j")
        assert await page.run(FOCUSED) == here, "one comes back to where one was"


async def test_keys_lead_everywhere(tmp_path: Path) -> None:
    put_many(tmp_path / "all", 3)
    async with looking(tmp_path / "all", "/recordings") as (page, _):
        await page.press("/")
        assert await page.focus() == ("searchbox", "Filter recordings")
        await page.type("g?")
        assert await page.run("document.querySelector('input[type=search]').value") == "g?", (
            "a key in a field is a letter"
        )
        assert await page.run("!document.querySelector('dialog').open")
        await page.until(has("[role=status]", "0 of 3 recordings"))
        await page.press("Escape")
        assert await page.run(has("[role=status]", "3 recordings in"))
        assert await query(page) == ""
        await page.press("Escape")
        assert await page.run("document.activeElement === document.body")
        await page.press("?", shift=True)
        assert await page.run("document.querySelector('dialog').open")
        await page.press("Escape")
        await page.until("!document.querySelector('dialog').open")
        for key, path, heading in (("l", "/live", "Live"), ("r", "/recordings", "Recordings")):
            await page.press("g")
            await page.press(key)
            await page.until(f"location.pathname === '{path}' && document.activeElement.matches('h1')")
            assert await page.focus() == ("heading", heading)
            assert await page.run("document.querySelector('nav [aria-current=page]').pathname") == path
        await page.press("g")
        await page.press("x")
        await page.press("l")
        assert await page.run("location.pathname") == "/recordings"
        await page.until(f"{ROWS}.length > 0")
        await page.run("document.querySelector('.recording').isSame = true; document.querySelector('.skip').click()")
        assert await page.run("document.activeElement.id") == "main"
        assert await page.run("document.querySelector('.recording')?.isSame"), "the page was drawn again"
        assert page.complaints() == []


async def test_filters_are_kept_in_the_address(tmp_path: Path) -> None:
    put_many(tmp_path / "all", 60)
    async with looking(tmp_path / "all", "/recordings") as (page, url):
        await page.run("document.querySelector('input[type=search]').focus()")
        await page.type("zoe talk")
        await page.until(has("[role=status]", "30 of 60 recordings"))
        assert await query(page) == "?text=zoe+talk"
        await page.run(CHOOSE % ("Product", "webinar"))
        await page.until(has("[role=status]", "10 of 60 recordings"))
        assert await query(page) == "?text=zoe+talk&product=webinar"
        await page.open(url + "/recordings" + str(await query(page)))
        await page.until(has("[role=status]", "10 of 60 recordings"))
        assert await page.run(f"{NAMES}[0]") == "Talk 3"

        await page.open(f"{url}/recordings?product=session")
        await page.until(has("[role=status]", "1 of 60 recordings"))
        await page.open(f"{url}/recordings?losses=1&kind=audio&status=complete")
        await page.until(has("[role=status]", "15 of 60 recordings"))
        await page.open(f"{url}/recordings?status=failed")
        await page.until(has(".none", "No recording fits these filters."))
        await is_fine(page)
        await page.run("document.querySelector('.none button').click()")
        await page.until(has("[role=status]", "60 recordings"))
        assert await query(page) == ""
        await page.open(f"{url}/recordings?days=1")
        await page.until(f"{has('[role=status]', '60 recordings')} || {has('.none', 'No recording fits')}")


CHOOSE = """(([label, value]) => {
  const field = document.querySelector(`[aria-label=${label}]`);
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
})(['%s', '%s'])"""


async def test_a_new_recording_appears_and_moves_nothing(tmp_path: Path) -> None:
    put_many(tmp_path / "all", 200)
    async with looking(tmp_path / "all", "/recordings") as (page, _):
        await page.press("j")
        for _ in range(4):
            await page.press("PageDown")
        here = await page.run(FOCUSED)
        top = "document.activeElement.getBoundingClientRect().top"
        before = await page.run(top)
        put(tmp_path / "all", "new", title="New", started_at="2026-11-27T20:00:00Z", rtms_stream_id="new")
        await page.until(has("[role=status]", "201 recordings"))
        assert await page.run(FOCUSED) == here
        assert await page.run(top) == before
        await page.press("Home")
        assert await page.run(FOCUSED) == "New"


async def test_without_recordings_it_says_how_they_begin(tmp_path: Path) -> None:
    async with looking(nothing(tmp_path), "/recordings", rows=False) as (page, _):
        await page.until(has(".none", "There are no recordings here yet."))
        assert await page.run(has(".none code", "rtms demo"))
        await is_fine(page)
        put(nothing(tmp_path), "first", title="First")
        await page.until(f"{NAMES}.includes('First')")


async def test_a_first_look_that_takes_long_shows_how_far_it_is(tmp_path: Path) -> None:
    async with looking(nothing(tmp_path), "/search", rows=False) as (page, _):
        slow = {"recordings": [], "reading": {"done": 1200, "total": 5000}}
        await page.run(
            "window.own = fetch; window.fetch = async (path, how) => "
            f"path === '/api/recordings' ? Response.json({json.dumps(slow)}) : own(path, how)"
        )
        await page.run("document.querySelector('[data-page=recordings]').click()")
        await page.until(has(".progress", "Reading 1,200 of 5,000 recordings…"))
        assert not await page.run(has(".none", "There are no recordings"))
        await page.run("window.fetch = own")
        await page.until(has(".none", "There are no recordings"))
        assert not await page.run(has(".progress", "Reading"))


async def test_a_list_that_may_be_old_says_so(tmp_path: Path) -> None:
    put_many(tmp_path / "all", 3)
    async with looking(tmp_path / "all", "/recordings") as (page, _):
        await page.run(
            "window.own = fetch; window.fetch = async (path, how) => {"
            " if (path !== '/api/recordings') return own(path, how);"
            " const list = await (await own(path)).json();"
            " return Response.json({...list, problem: 'The store <b> does not answer.'}); }"
        )
        await page.until(has(".problem", "This list may be old. The store <b> does not answer."))
        assert await page.run(f"{ROWS}.length === 3"), "what was read stays"
        await is_fine(page)
        await page.run("window.fetch = own")
        await page.until("[...document.querySelectorAll('.problem')].every((one) => one.hidden)")


async def test_a_recording_is_named_in_its_row(tmp_path: Path) -> None:
    folder = put(tmp_path / "all", "one", title="Old")
    manifest = folder / "manifest.json"
    async with looking(tmp_path / "all", "/recordings", "--web-control") as (page, _):
        await page.press("j")
        await page.press("F2")
        assert await page.focus() == ("textbox", "Title of Old")
        await is_fine(page)
        await page.type("Nothing")
        await page.press("Escape")
        assert await page.run(FOCUSED) == "Old"
        assert Manifest.decode(manifest.read_bytes()).title == "Old"

        await page.press("F2")
        await page.type("Budget <b>")
        await page.press("Enter")
        await page.until(f"{FOCUSED} === 'Budget <b>'")
        assert Manifest.decode(manifest.read_bytes()).title == "Budget <b>"
        await page.run("document.querySelector('input[type=search]').focus()")
        await page.type("budget")
        await page.until(f"{ROWS}.length === 1")

        kept = manifest.read_bytes()
        await page.run("document.querySelector('.pen').click()")
        manifest.write_text("{")
        await page.type("Another")
        await page.press("Enter")
        await page.until(has("[role=alert]", "cannot be changed"))
        assert await page.run("document.activeElement.value") == "Another", "what was typed is not lost"
        manifest.write_bytes(kept)
        await page.press("Enter")
        await page.until(f"{has('[role=alert]', 'cannot')} === false")
        assert Manifest.decode(manifest.read_bytes()).title == "Another"


async def test_nothing_can_be_named_without_control(tmp_path: Path) -> None:
    put(tmp_path / "all", "one", title="Old")
    async with looking(tmp_path / "all", "/recordings") as (page, _):
        await page.press("j")
        await page.press("F2")
        assert await page.run("document.querySelector('.pen, .rename') === null")


async def test_search_finds_marks_and_leads_to_the_moment(tmp_path: Path) -> None:
    place = tmp_path / "all"
    lines = [
        (1.0, "Kim", "Hello."),
        (3.0, "Kim", "The invoice is late."),
        (83.5, "Zoë", "Invoices, Été!"),
        (90.0, "Kim", "請求書 in inn"),
    ]
    say(put(place, "one", title="Money"), *lines)
    say(put(place, "two", rtms_stream_id="two"), (7.0, "Ada", "An INVOICE."))
    async with looking(place, "/recordings") as (page, _):
        await page.run("document.querySelector('[data-page=search]').click()")
        await page.until("document.activeElement.matches('input[type=search]')")
        await is_fine(page)
        await page.type("invoice")
        await page.until(has("[role=status]", "2 lines in 2 recordings"))
        assert await query(page) == "?q=invoice"
        assert await page.run(f"{MARKS}.sort()") == ["INVOICE", "invoice"]
        assert await page.run(has(".hit .near", "Kim: Hello."))
        await is_fine(page)
        for words, marks in (
            ("invoic*", ["INVOICE", "Invoices", "invoice"]), ('"is late"', ["is late"]), ("late is", ["is", "late"]),
            ("ete", ["Été"]), ("in", ["in"]), ("請求", ["請求"]),
        ):  # fmt: skip
            await search_for(page, words)
            await page.until(f"{MARKS}.sort().join('|') === {json.dumps('|'.join(marks))}")
        await search_for(page, "xyzzy")
        await page.until(has(".none", "Nothing was found."))
        await search_for(page, "!?")
        await page.until(has(".none [role=alert]", "There is no word in '!?'."))
        assert await page.run(has(".none", "rtms search invoice"))

        await search_for(page, "invoic*")
        await page.until(f"{HITS} === 3")
        await page.run("document.querySelector('input[type=text]').focus()")
        await page.type("zoe")
        await page.until(f"{HITS} === 1")
        assert await query(page) == "?q=invoic*&user=zoe"
        await page.run("document.querySelector('input[type=search]').focus()")
        await page.press("ArrowDown")
        assert (await page.focus())[0] == "link"
        assert await page.run("document.activeElement.hash") == "#t=83.50"
        await page.press("Enter")
        await page.until("location.pathname === '/recordings/one' && location.hash.startsWith('#t=')")


async def search_for(page: Page, words: str) -> None:
    await page.run(f"""((field) => {{
      field.value = {json.dumps(words)};
      field.dispatchEvent(new Event('input', {{ bubbles: true }}));
    }})(document.querySelector('input[type=search]'))""")


async def test_new_hits_leave_the_focus_where_it_is(tmp_path: Path) -> None:
    """An answer may come while one goes through the hits with the arrow keys: the index grows, or one types fast."""
    say(put(tmp_path / "all", "one"), (1.0, "Kim", "invoice"), (2.0, "Kim", "invoice budget"))
    async with looking(tmp_path / "all", "/search", rows=False) as (page, _):
        await search_for(page, "invoice")
        await page.until(f"{HITS} === 2")
        await page.run("document.querySelector('input[type=search]').focus()")
        await page.press("ArrowDown")
        await page.press("ArrowDown")
        assert await page.run("document.activeElement.hash") == "#t=2.00"
        for words, left in (("invoice budget", 1), ("invoice", 2)):
            await page.run("document.querySelector('.hit').isOld = true")
            await search_for(page, words)
            await page.until(f"{HITS} === {left} && !document.querySelector('.hit').isOld")
            assert await page.run("document.activeElement.hash") == "#t=2.00"
        await search_for(page, "xyzzy")
        await page.until(has(".none", "Nothing was found."))
        assert await page.focus() == ("searchbox", "Search")


async def test_a_talkative_recording_hides_no_other_one(tmp_path: Path) -> None:
    """Ten lines of each are shown at first, and the rest when they are asked for."""
    place = tmp_path / "all"
    say(put(place, "one % ü", rtms_stream_id="one"), *((float(at), "Kim", f"invoice {at}") for at in range(1, 31)))
    say(put(place, "old", rtms_stream_id="two", started_at="2026-01-01T00:00:00Z"), (7.0, "Ada", "An invoice."))
    async with looking(place, "/search", rows=False) as (page, _):
        await search_for(page, "invoice")
        await page.until(has("[role=status]", "31 lines in 2 recordings"))
        assert await page.run(HITS) == 11
        await is_fine(page)
        await page.run("document.querySelector('.found button').focus()")
        assert await page.focus() == ("button", "Show 20 more lines")
        await page.press("Enter")
        await page.until(f"{HITS} === 31")
        assert await page.run("document.activeElement.hash") == "#t=11.00"
        assert await page.run("document.querySelector('.found button') === null")


async def test_a_late_answer_replaces_no_later_one(tmp_path: Path) -> None:
    say(put(tmp_path / "all", "one"), (1.0, "Kim", "invoice"), (2.0, "Kim", "budget"))
    async with looking(tmp_path / "all", "/search", rows=False) as (page, _):
        await page.run(
            "window.own = fetch; window.held = []; window.fetch = async (path, how) => {"
            " const answer = await own(path);"  # without its signal, so that it cannot be taken back
            " if (path.includes('q=invoice')) await new Promise((go) => held.push(go));"
            " return answer; }"
        )
        await search_for(page, "invoice")
        await page.until("held.length === 1")
        await search_for(page, "budget")
        await page.until(f"{MARKS}.join() === 'budget'")
        await page.run("held[0]()")
        await page.run("new Promise((go) => setTimeout(go, 300))")
        assert await page.run(MARKS) == ["budget"]


async def test_a_server_that_is_lost_comes_back(tmp_path: Path) -> None:
    put_many(tmp_path / "all", 3)
    async with browser(tmp_path / "profile") as page:
        async with running("web", "all", "--port", "0", cwd=tmp_path) as server:
            found = re.search(r"http://[\d.]+:(\d+)", await server.line_with("http://"))
            assert found is not None
            await page.open(f"{found[0]}/recordings")
            await page.until(f"{ROWS}.length === 3")
        await page.until(has("#lost", LOST))
        assert await page.run(f"{ROWS}.length === 3"), "what was read stays"
        put(tmp_path / "all", "new", title="New", rtms_stream_id="new")
        async with running("web", "all", "--port", found[1], cwd=tmp_path) as server:
            await server.line_with("http://")
            await page.until(f"{NAMES}.includes('New')")
            await page.until(f"!{has('#lost', LOST)}")


@pytest.mark.parametrize("width", [1280, 390])
async def test_names_of_strangers_are_text(tmp_path: Path, width: int) -> None:
    for number, trap in enumerate(TRAPS):
        people = [Participant(n, name) for n, name in enumerate(TRAPS)]
        began = f"2026-11-28T09:00:{number:02}Z"
        texts = {"title": trap, "id": trap, "rtms_stream_id": trap, "product": trap}
        put(tmp_path / "all", f"{number}", participants=people, started_at=began, **texts)
        say(tmp_path / "all" / f"{number}", *((float(n), name, f"{name} trap") for n, name in enumerate(TRAPS)))
    async with looking(tmp_path / "all", "/recordings", "--web-control") as (page, url):
        await page.open(f"{url}/recordings", width)
        await page.until(f"{ROWS}.length === {len(TRAPS)}")
        assert await page.run(NAMES) == TRAPS[::-1]
        await is_fine(page)
        await page.open(f"{url}/search?q=trap", width)
        await page.until(f"{HITS} === {len(TRAPS) ** 2}")
        await is_fine(page)
        assert {address for address in page.requested() if not address.startswith((url, "data:"))} == set()
