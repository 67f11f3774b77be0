"""The pages as people use them: by keys alone, in a real browser, over a real recorder and real recordings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
from catalog.shelf import put
from long_meeting import record_meeting
from web.shelves import TRAPS, fill, trap
from web.watching import AXE, pages, recorder

from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Person, Scenario
from rtms_cli.simulator.schedule import Event, EventKind

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.timeout(300),
]
MEETING = "20261128T090000Z_meeting_long"
WIDTHS = (1280, 390)


@pytest.fixture
async def window(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as page:
        yield page


async def tab_to(window: Page, role: str, name: str) -> None:
    """Press Tab until something has the focus."""
    passed = []
    for _ in range(40):
        await window.press("Tab")
        passed.append(await window.focus())
        if passed[-1][0] == role and name in passed[-1][1]:
            return
    raise AssertionError(f"Tab does not lead to the {role} {name!r}: {passed}")


def foreign(window: Page, url: str) -> list[str]:
    """What a page asked of others than its server."""
    sockets = [str(params["url"]) for params in window.named("Network.webSocketCreated")]
    own = (url, url.replace("http", "ws", 1), "data:", "about:")
    return [asked for asked in window.requested() + sockets if not asked.startswith(own)]


async def test_by_keys_from_the_list_over_a_hit_to_its_sound(tmp_path: Path, window: Page) -> None:
    place = tmp_path / "recordings"
    fill(place, 300)
    await asyncio.to_thread(record_meeting, place / MEETING, 90)
    async with pages(place, "--web-control", cwd=tmp_path) as url:
        await window.open(url)
        await window.until("document.querySelectorAll('.row').length > 5")
        assert await window.run("location.pathname + document.title") == "/recordingsRecordings · rtms"
        assert await window.run(
            "document.querySelector('[role=status].under').textContent.startsWith('301 recordings')"
        )

        # The first Tab leads past the header; then come the header's links.
        await window.press("Tab")
        assert await window.focus() == ("link", "Skip to the content")
        await tab_to(window, "link", "Search")

        # A slash leads to the filter, what is typed filters, and the address keeps it.
        await window.press("/")
        assert (await window.focus())[0] == "searchbox"
        await window.type("retro")
        await window.until("/^\\d+ of 301 recordings/.test(document.querySelector('.under').textContent)")
        assert await window.run("location.search") == "?text=retro"
        assert await window.run("[...document.querySelectorAll('.row')].every(row => /Retro/.test(row.textContent))")
        await tab_to(window, "combobox", "Product")
        await window.type("Phone")
        await window.until("location.search.includes('product=phone')")
        await window.open(f"{url}recordings?text=retro&product=phone")
        await window.until("document.querySelector('.row') !== null")
        assert await window.run("document.querySelector('[aria-label=Product]').value") == "phone"

        # Arrows choose a row, F2 names it.
        await tab_to(window, "row", "")
        await window.press("ArrowDown")
        assert await window.run("document.activeElement.getAttribute('aria-rowindex')") == "3"  # the head is a row, too
        await window.press("F2")
        assert (await window.focus())[0] == "textbox"
        await window.type(" for Kim")
        await window.press("Enter")
        await window.until("[...document.querySelectorAll('.row')].some(row => /for Kim/.test(row.textContent))")
        await window.until("document.activeElement.matches('.row')")

        # g and r lead to all recordings, and g and l to what runs; a slash there leads to the search.
        for key in "gl":
            await window.press(key)
        await window.until("location.pathname === '/live' && document.activeElement.tagName === 'H1'")
        await window.press("/")
        await window.until("document.activeElement.type === 'search'")
        await window.type("customers about")
        found = "[...document.querySelectorAll('.hit')]"
        await window.until(f"{found}.length > 2 && {found}.every(hit => hit.querySelectorAll('mark').length > 1)")
        assert await window.run("document.querySelector('.hit mark').textContent.toLowerCase()") == "customers"
        await window.press("ArrowDown")
        await window.press("ArrowDown")
        role, name = await window.focus()
        assert role == "link"
        assert "customers" in name
        at = await window.run("Number(document.activeElement.hash.slice(3))")
        assert isinstance(at, int | float)
        await window.press("Enter")
        await window.until(f"location.pathname === '/recordings/{MEETING}' && document.readyState === 'complete'")

        # The page of the recording stands there, and a space plays it from there: time moves.
        await window.until("typeof lead === 'function'")
        assert await window.run("playhead - zero") == pytest.approx(at, abs=1)
        await window.press(" ")
        await window.until("!lead().paused && lead().currentTime > 0")
        began = await window.run("lead().currentTime")
        await window.until(f"lead().currentTime > {began} + 0.5")
        assert began == pytest.approx(float(at) - 1, abs=2)  # the sound begins after a second
        await window.press(" ")
        await window.until("lead().paused")
        assert window.complaints() == []
        assert foreign(window, url) == []


async def test_what_is_said_is_seen_within_a_second_and_a_reconnection_is_told(
    tmp_path: Path, window: Page, record_property: Callable[[str, object], None]
) -> None:
    lines = tuple(
        Event(4000 + 1500 * number, EventKind.TRANSCRIPT, 0, 1000, f"Sentence {number}") for number in range(20)
    )
    scenario = Scenario(240, (Person(7, "Ann"),), (FaultAt(9_000, Fault.DROP_MEDIA),), events=lines)
    async with recorder(tmp_path) as one:
        stream = await one.begin(scenario)
        await window.open(f"{one.pages}live")
        await window.until("document.body.innerText.includes('streaming')")
        await tab_to(window, "link", "Meeting")
        await window.press("Enter")
        await window.until("document.querySelector('.lines') !== null")
        await window.run(
            """(() => {
              globalThis.seen = {};
              const look = () => {
                for (const line of document.querySelectorAll(".lines .line p")) seen[line.textContent] ??= Date.now();
              };
              new MutationObserver(look).observe(document.querySelector(".lines"), { childList: true, subtree: true });
              globalThis.told = {};
              const socket = new WebSocket(`ws://${location.host}/feed`);
              socket.onopen = () => socket.send(JSON.stringify({ type: "watch", streams: "*" }));
              socket.onmessage = ({ data }) => {
                const event = JSON.parse(data);
                if (event.event === "transcript") told[event.text] ??= event.at;
              };
            })()"""
        )
        await window.until("'Sentence 6' in seen && 'Sentence 6' in told")
        told, seen = await window.run("told"), await window.run("seen")
        assert isinstance(told, dict)
        assert isinstance(seen, dict)
        took = [
            seen[text] / 1000 - datetime.fromisoformat(at).timestamp()
            for text, at in told.items()
            if text in seen and text != "Sentence 0"
        ]
        record_property("slowest line in ms", round(1000 * max(took)))
        assert len(took) > 2
        assert min(took) < 1  # a busy machine may hold up some of them
        await window.until("/media.* connected again/.test(document.body.innerText)")
        assert await window.run("/reconnections?/.test(document.querySelector('.tiles').innerText)")

        # A key leads to the mark, which is in the recording at once; Stop is not offered.
        await window.press("Escape")
        await window.press("m")
        assert await window.focus() == ("textbox", "Text of the mark")
        await window.type("The price")
        await window.press("Enter")
        await window.until("/marked: The price/.test(document.querySelector('.lines').innerText)")
        assert "Stop…" not in [name for role, name in await window.told() if role == "button"]
        assert window.complaints() == []
        assert foreign(window, one.pages) == []
        one.simulator.end()
        await stream.done()
        await window.until("/complete/.test(document.body.innerText)")


async def test_a_hit_in_a_long_meeting_opens_when_its_page_is_made(tmp_path: Path, window: Page) -> None:
    place = tmp_path / "recordings"
    await asyncio.to_thread(record_meeting, place / MEETING, 3 * 3600, ())
    async with pages(place, cwd=tmp_path) as url:
        await window.open(f"{url}recordings/{MEETING}#t=5000")
        ready = "typeof playhead === 'number' && document.querySelector('#lines .line') !== null"
        await window.until(ready, wait_s=250)  # a busy machine has little time for it
        assert await window.run("playhead - zero") == pytest.approx(5000, abs=1)
        assert await window.run("document.querySelectorAll('.line').length < 2000")
        assert window.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_serious(scheme: str, tmp_path: Path, window: Page) -> None:
    place = tmp_path / "shelf"
    (tmp_path / "none").mkdir()
    await asyncio.to_thread(record_meeting, place / MEETING, 60)
    fill(place, 100)
    put(place, "unfinished", status="recording")
    shown = "document.querySelector('h1') !== null"
    async with (
        recorder(tmp_path, "--web-control") as one,
        pages(place, "--web-control", cwd=tmp_path) as url,
        pages(tmp_path / "none", cwd=tmp_path) as empty,
    ):
        await check(window, scheme, {f"{one.pages}live": shown})
        stream = await one.begin(Scenario(300, faults=(FaultAt(2_000, Fault.DROP_MEDIA),)))
        speaking = "document.querySelector('.lines .line') !== null"
        await check(
            window,
            scheme,
            {
                f"{one.pages}live": "document.body.innerText.includes('streaming')",
                f"{one.pages}live/{stream.stream_id}": speaking,
                f"{url}live": shown,
                f"{url}recordings": "document.querySelector('.row') !== null",
                f"{empty}recordings": "document.querySelector('.none:not([hidden])') !== null",
                f"{url}search": shown,
                f"{url}search?q=customers": "document.querySelector('.hit') !== null",
                f"{url}search?q=xyzzy": "document.querySelector('.none:not([hidden])') !== null",
                f"{url}recordings/{MEETING}": shown,
            },
        )


async def check(window: Page, scheme: str, addresses: dict[str, str]) -> None:
    """Judge pages at both widths; nothing sticks out either."""
    found = []
    for address, ready in addresses.items():
        for width in WIDTHS:
            await window.open(address, width, scheme=scheme)
            await window.until(ready)
            found += [f"{address} at {width}: {one}" for one in await window.judge(AXE)]
            if await window.run("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{address} at {width}: sticks out")
    assert not found, "\n".join(dict.fromkeys(found))


async def test_five_thousand_recordings_are_a_few_rows(tmp_path: Path, window: Page) -> None:
    place = tmp_path / "recordings"
    await asyncio.to_thread(fill, place, 5000)
    async with pages(place, cwd=tmp_path) as url:
        await window.open(f"{url}recordings")
        await window.until("document.querySelector('.under')?.textContent.startsWith('5,000 recordings')")
        assert await window.run("document.querySelectorAll('.row').length < 60")
        await tab_to(window, "row", "")
        await window.press("End")
        await window.until("document.activeElement.getAttribute('aria-rowindex') === '5001'")
        assert await window.run("document.querySelectorAll('.row').length < 60")


async def test_what_strangers_write_stays_text(tmp_path: Path, window: Page) -> None:
    place = tmp_path / "shelf"
    trap(place / "20261128T090000Z_meeting_trap")
    put(place, "20261127T090000Z_meeting_<img src=x onerror=alert(7)>", title=TRAPS[6], id=TRAPS[0])
    clean = [text.encode("utf-8", "replace").decode() for text in TRAPS]
    lines = [Event(500 + 300 * n, EventKind.TRANSCRIPT, n, 200, text) for n, text in enumerate(clean)]
    lines += [Event(600 + 300 * n, EventKind.CHAT, n, 0, text) for n, text in enumerate(clean)]
    people = tuple(Person(n + 1, text) for n, text in enumerate(clean))
    async with pages(place, cwd=tmp_path) as url, recorder(tmp_path) as one:
        stream = await one.begin(Scenario(120, people, events=tuple(lines)))
        stray = b'{"event":"meeting.rtms_started","payload":{"meeting_uuid":"<img src=x onerror=alert(8)>"}}'
        await one.post(stray)
        places = {
            f"{url}recordings": "document.querySelectorAll('.row').length === 2",
            f"{url}search?q=trap": "document.querySelectorAll('.hit').length > 5",
            f"{url}search?q=%3Cimg%20src%3Dx%20onerror%3Dalert(9)%3E": "document.querySelector('h1') !== null",
            f"{url}recordings/20261128T090000Z_meeting_trap": "document.querySelector('.line') !== null",
            f"{url}live/%3Cimg%20src=x%20onerror=alert(10)%3E": "document.querySelector('h1') !== null",
            f"{one.pages}live": "document.body.innerText.includes('streaming')",
            f"{one.pages}live/{stream.stream_id}": "document.querySelectorAll('.lines .line').length > 15",
        }
        for address, ready in places.items():
            window.events.clear()
            await window.open(address)
            await window.until(ready)
            assert await window.run(
                "document.querySelectorAll('main :is(script, img, iframe, base, style)').length"
            ) in (0, 3)
            assert await window.run("document.querySelectorAll('[onerror], [onload], [onfocus], [srcdoc]').length") == 0
            assert window.complaints() == [], address
            assert foreign(window, address.split("/", 3)[0] + "//" + address.split("/", 3)[2]) == [], address
        shown = str(await window.run("document.querySelector('.lines').innerText"))
        assert TRAPS[1] in shown
