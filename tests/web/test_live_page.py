"""The live pages in a real browser: of a recorder that a simulated stream comes to, and of feeds of unusual shapes."""

import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import CHROMIUM, Page, browser
from processes import until
from web.played import Played, played, row
from web.watching import AXE, pages, recorder

from rtms_cli.feed.local import served_feed
from rtms_cli.feed.messages import Mark, Person, Stop, Warned
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.schedule import Event, EventKind

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
ID = "a/stream=="
"""As Zoom's: not a path's segment as it is."""
SHOWN = "[...document.querySelectorAll('.lines .words p')].map((line) => line.textContent)"
"""The transcript's lines that are in the page."""

AT_END = (
    "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight < 24)"
    "(document.querySelector('.lines'))"
)
FOLLOWS = """import('/static/feed.js').then(({Feed}) => {
  window.feed = new Feed();
  window.kept = feed.watch(ID).kept;
})"""
TURN = """Object.defineProperty(document, 'hidden', { value: HIDDEN, configurable: true });
document.dispatchEvent(new Event('visibilitychange'));"""


def has(selector: str, text: str) -> str:
    """Whether an element that can be seen has a text."""
    return (
        f"[...document.querySelectorAll({json.dumps(selector)})]"
        f".some((one) => one.checkVisibility() && one.textContent.includes({json.dumps(text)}))"
    )


def live(stream_id: str) -> str:
    """The path of a stream's page."""
    return f"/live/{quote(stream_id, safe='')}"


async def is_fine(page: Page) -> None:
    """Accessible, and without a complaint of the browser."""
    assert await page.judge(AXE) == []
    assert page.complaints() == []


@asynccontextmanager
async def looking(source: Played, folder: Path, path: str) -> AsyncIterator[Page]:
    """Look at a page of a feed."""
    async with played(source, folder) as url, browser(folder / "profile") as page:
        await page.open(url + path)
        yield page


async def test_a_stream_from_its_first_line_to_its_recording(tmp_path: Path) -> None:
    """It appears by itself; lines and a reconnection are shown as they come; it is marked and stopped by keys."""
    said = [Event(at, EventKind.TRANSCRIPT, 0, 800, f"sentence {at}") for at in range(1_000, 120_000, 1_000)]
    scenario = Scenario(120, events=tuple(said), faults=(FaultAt(4_000, Fault.DROP_MEDIA),))
    async with recorder(tmp_path, "--web-control") as running, browser(tmp_path / "profile") as page:
        await page.open(running.pages.rstrip("/") + "/live")
        await page.until(has("h2", "No stream runs now"))
        await is_fine(page)
        stream = await running.begin(scenario)
        await page.until(has(".stream .badge", "streaming"))
        await page.until(has("#running", "1"))
        await page.until("document.querySelector('.stream .spark polyline').points.length > 1")
        await is_fine(page)

        await page.run("document.querySelector('.stream a.name').focus()")
        await page.press("Enter")
        await page.until(has(".lines .words p", "sentence"))
        assert await page.run("location.pathname") == live(stream.stream_id)
        await page.until(has(".people li", "John Smith"))
        await page.until(has(".lines .event", "connected again"))
        await page.until(has("td", "2 times"))
        await page.until(has(".tile.warn", "reconnection"))
        await is_fine(page)

        await page.press("l")
        await page.until(has(".listen [role=status]", "playing"))
        await page.until("document.querySelector('.listen [role=meter]').getAttribute('aria-valuenow') > -48")
        await page.press("l")
        await page.until(has(".play", "Listen in"))

        await page.press("m")
        await page.type("the invoice")
        await page.press("Enter")
        await page.until(has(".mark [role=status]", "Marked"))
        await page.until(has(".lines .event", "marked: the invoice"))

        await page.run("document.querySelector('.stop button').focus()")
        await page.press("Enter")
        assert await page.focus() == ("button", "Keep recording"), "the harmless answer comes first"
        await page.press("Enter")
        await page.until("!document.querySelector('dialog.ask').open")
        await page.press("Enter")
        await page.press("Tab")
        await page.press("Enter")
        await page.until(has(".over", "The stream ended"))
        (folder,) = (path.name for path in running.out.iterdir() if not path.name.startswith("."))
        assert await page.run("document.querySelector('.over a').getAttribute('href')") == f"/recordings/{folder}"
        await is_fine(page)


async def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """A page whose server went away has each line once, in order, when it is back."""
    source = Played()
    source.rows = [row(ID)]
    source.say(ID, *range(1, 201))
    source.tell("notice", text="before")
    numbers = "kept.lines.items.filter((one) => one.event === 'transcript').map((one) => one.t)"
    async with browser(tmp_path / "profile") as page:
        async with played(source, tmp_path) as url:
            await page.open(url + live(ID))
            await page.run(FOLLOWS.replace("ID", json.dumps(ID)))
            await page.until(f"{numbers}.length === 200")
            await page.until(has(".lines p", "line 200"))
        await page.until("feed.state === 'lost'")
        await page.until("!document.getElementById('lost').hidden")
        source.say(ID, *range(201, 301))
        source.tell("notice", text="after")
        async with played(source, tmp_path, "--port", url.rpartition(":")[2]):
            await page.until(f"{numbers}.length >= 300")
            assert await page.run(numbers) == list(range(1, 301))
            assert await page.run("feed.events.items.map((one) => one.text)") == ["before", "after"]
            await page.until(has(".lines p", "line 300"))
            await page.until("document.getElementById('lost').hidden")
        asked = [str(one["url"]) for one in page.named("Network.webSocketCreated")]
        assert asked[0].endswith("/feed")
        assert all(one.endswith("?run=a+run&after=201") for one in asked[2:]), "and asks for no more than it needs"


async def test_what_is_kept_is_in_order_and_bounded(tmp_path: Path) -> None:
    """Whatever order events come in, and however often."""
    kept = """import('/static/feed.js').then(({Kept}) => {
      const kept = new Kept(1000, 50_000), random = (most) => Math.floor(Math.random() * most);
      let longest = 0, chars = 0;
      for (let i = 1; i <= 20_000; i++) {
        const seq = Math.max(1, i - (random(5) ? 0 : random(50)));
        kept.add({ seq, text: 'x'.repeat(random(i > 15_000 ? 400 : 20)) });
        longest = Math.max(longest, kept.items.length);
        chars = Math.max(chars, kept.items.reduce((sum, one) => sum + one.text.length, 0));
      }
      const numbers = kept.items.map((one) => one.seq);
      return { numbers, longest, chars, twice: kept.add({ seq: numbers.at(-1), text: '' }), early: kept.items.length };
    })"""
    async with looking(Played(), tmp_path, "/live") as page:
        got = await page.run(kept)
    assert isinstance(got, dict)
    assert got["numbers"] == sorted(set(got["numbers"]))
    assert got["numbers"][-1] == 20_000 or got["numbers"][-1] > 19_900
    assert got["longest"] <= 1_101
    assert got["chars"] <= 55_400
    assert got["twice"] is False


async def test_seven_thousand_lines(tmp_path: Path) -> None:
    """The page has only those near the eye; it follows the end, unless somebody reads further up."""
    source = Played()
    source.rows = [row(ID)]
    source.say(ID, *range(1, 7_001))
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".lines p", "line 7000"))
        await page.until(f"{SHOWN}.at(-1) === 'line 7000'")
        drawn = await page.run("document.querySelectorAll('.lines .line').length")
        assert isinstance(drawn, int)
        assert 10 < drawn < 200
        source.say(ID, 7_001)
        await page.until(f"{SHOWN}.at(-1) === 'line 7001'")
        assert await page.run(AT_END)

        await page.run("document.querySelector('.lines').focus()")
        await page.press("Home")
        await page.until(f"{SHOWN}[0] === 'line 1' && document.querySelector('.lines').scrollTop === 0")
        place = await page.run("document.querySelector('.lines').scrollTop")
        source.say(ID, *range(7_002, 7_032))
        await page.until(has(".follow", "30 new lines"))
        assert await page.run("document.querySelector('.lines').scrollTop") == place
        assert (await page.run(SHOWN) or [""])[0] == "line 1"  # type: ignore[index]

        await page.run("document.querySelector('.lines').scrollTop = document.querySelector('.lines').scrollHeight / 2")
        await page.until(f"Math.abs(parseInt({SHOWN}[0].slice(5)) - 3500) < 700")
        shown = await page.run(SHOWN)
        assert isinstance(shown, list)
        numbers = [int(line.removeprefix("line ")) for line in shown]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

        await page.run("document.querySelector('.follow').click()")
        await page.until(f"{SHOWN}.at(-1) === 'line 7031'")
        await page.until(AT_END)
        assert not await page.run(has(".follow", ""))
        await is_fine(page)


async def test_only_what_somebody_wants_to_read(tmp_path: Path) -> None:
    """Transcript, chat and events can be left out; numbers of lines without a name do."""
    source = Played()
    source.rows = [row(ID)]
    source.say(ID, 1)
    source.tell("chat", ID, t=2.0, text="a question", user_id=7)
    source.tell("connection", ID, t=3.0, channel="media.audio", state="closed", code=1006, reason="gone")
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".lines .event", "media.audio closed with 1006: gone"))
        await page.until(has(".lines .chat", "7 ✉"))
        for name, left in (("Events", 2), ("Chat", 1), ("Transcript", 0)):
            press = (
                f"[...document.querySelectorAll('.chips button')].find((one) => one.textContent === '{name}').click()"
            )
            await page.run(press)
            await page.until(f"document.querySelectorAll('.lines .line').length === {left}")
        await page.until(has(".scroll .none", "Nothing"))


async def test_trouble_comes_first_among_many(tmp_path: Path) -> None:
    """Of 500 streams those with trouble are on top, the page is bounded, and a filter finds any."""
    source = Played()
    source.rows = [row(f"stream {number}") for number in range(500)]
    source.rows[450] = row("stream 450", losses=2)
    source.rows[470] = row("stream 470", state="lost", reconnects=1)
    source.rows[480] = row("stream 480", warnings=1)
    first = "[...document.querySelectorAll('.streams a.name')].slice(0, 3).map((one) => one.textContent)"
    async with looking(source, tmp_path, "/live") as page:
        await page.until(has(".streams .badge", "lost"))
        assert await page.run(first) == [f"Meeting id of stream {number}" for number in (470, 450, 480)]
        assert await page.run("document.querySelectorAll('.streams a.name').length") == 200
        assert await page.run(has(".note", "300 more"))
        assert await page.run(has(".alarms", "lost, coming back"))
        assert await page.run(has(".alarms", "2 losses"))
        source.rows[470] = row("stream 470")
        await page.until(f"{first}[0] === 'Meeting id of stream 450'")
        await is_fine(page)
        await page.run("document.querySelector('.head input').focus()")
        await page.type("STREAM 333")
        await page.until("document.querySelectorAll('.streams a.name').length === 1")
        assert await page.run(has(".head h2", "Streams 1 of 500"))


async def test_a_warning_has_its_time(tmp_path: Path) -> None:
    """What went wrong long ago does not look as if it happened now."""
    source = Played()
    source.rows = [row(ID, warnings=2)]
    source.warnings = [Warned("lost: closed with 1006", 3, 75.2), Warned("<b>late", 1, 80.0)]
    lines = "[...document.querySelectorAll('.alarms li')]"
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".alarms", "late"))
        assert await page.run(f"{lines}.map((one) => [...one.children].map((each) => each.textContent))") == [
            ["!", "0:01:20", "<b>late"],
            ["!", "0:01:15", "lost: closed with 1006 (3 times)"],
        ]
        await is_fine(page)


async def test_keys_of_the_overview(tmp_path: Path) -> None:
    """`j` and `k` go through the streams, which stay chosen while pictures come."""
    source = Played()
    source.rows = [row(f"stream {number}") for number in range(3)]
    async with looking(source, tmp_path, "/live") as page:
        await page.until("document.querySelectorAll('.streams a.name').length === 3")
        for key, number in (("j", 0), ("j", 1), ("ArrowDown", 2), ("j", 2), ("k", 1)):
            await page.press(key)
            assert await page.focus() == ("link", f"Meeting id of stream {number}")
        source.rows[1] = row("stream 1", losses=1)
        await page.until(has(".streams .badge", "1 loss"))
        assert await page.focus() == ("link", "Meeting id of stream 1")
        await page.press("Enter")
        await page.until("location.pathname === '/live/stream%201' && document.activeElement.matches('h1')")
        assert await page.focus() == ("heading", "Meeting id of stream 1")


async def test_a_hidden_page_looks_at_nothing(tmp_path: Path) -> None:
    """And has all lines when it is seen again."""
    source = Played()
    source.rows = [row(ID)]
    source.say(ID, 1)
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".lines p", "line 1"))
        await until(lambda: ID in (source.watched or ()))
        await page.run(TURN.replace("HIDDEN", "true"))
        await until(lambda: source.watched is not None and ID not in source.watched)
        source.say(ID, 2, 3)
        await page.run(TURN.replace("HIDDEN", "false"))
        await page.until(has(".lines p", "line 3"))
        assert await page.run(SHOWN) == ["line 1", "line 2", "line 3"]


async def test_orders_and_their_answers(tmp_path: Path) -> None:
    """What the recorder refuses is told."""
    source = Played()
    source.rows = [row(ID)]
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".stop button", "Stop"))
        await page.run(
            "document.querySelector('.mark input').value = ' now ', document.querySelector('.mark button').click()"
        )
        await page.until(has(".mark [role=status]", "Marked at 0:01:00"))
        await page.run("document.querySelector('.stop button').click()")
        await page.run("document.querySelector('dialog.ask button[value=yes]').click()")
        await page.until(has(".stop [role=status]", "It does not want to."))
        assert [(type(order), order.stream_id) for order in source.orders] == [(Mark, ID), (Stop, ID)]
        assert isinstance(source.orders[0], Mark)
        assert source.orders[0].text == "now"


async def test_a_stream_that_ended_and_one_that_nobody_knows(tmp_path: Path) -> None:
    """The page says so, links to the recording, and comes back with the stream."""
    source = Played()
    source.tell(
        "finished", ID, product="meeting", id="9 8", recording="a recording", status="failed", reason="no media"
    )
    async with looking(source, tmp_path, live(ID)) as page:
        await page.until(has(".over", "failed, no media"))
        assert await page.run("document.querySelector('.over a').getAttribute('href')") == "/recordings/a%20recording"
        assert await page.run(has("h1", "Meeting 9 8"))
        source.people = [Person(1, "Kim", 0.5, is_speaking=True)]
        source.rows = [row(ID)]
        await page.until(has(".people .speaking", "Kim"))
        assert (
            await page.run("document.querySelector('.people [role=meter]').getAttribute('aria-valuetext')") == "−6 dB"
        )
        assert not await page.run(has(".over", ""))
        await page.run("history.pushState(null, '', '/live/unknown'); dispatchEvent(new Event('popstate'))")
        await page.until(has(".over", "does not run now"))
        await is_fine(page)


async def test_a_recorder_that_comes_goes_and_comes_again(tmp_path: Path) -> None:
    """The page says how to start one, notices one, keeps what it showed when it goes, and takes the next one for it."""
    one, other = Played("one"), Played("other")
    one.rows, other.rows = [row("its stream")], [row("another stream")]
    one.tell("notice", text="of the first")
    other.tell("notice", text="of the second")
    with tempfile.TemporaryDirectory(prefix="rtms-") as place:
        socket = Path(place) / f"{os.getpid()}.sock"
        async with (
            pages(tmp_path, cwd=tmp_path, settings={"RTMS_RUNTIME_DIR": place}) as url,
            browser(tmp_path / "profile") as page,
        ):
            await page.open(url.rstrip("/.") + "/live")
            await page.until(has(".empty", "rtms listen"))
            await is_fine(page)
            async with served_feed(one, socket):
                await page.until(has(".streams a", "its stream"))
                await page.until(has(".log li", "of the first"))
                await page.until(has(".under", "played one"))
            await page.until(has(".title .badge", "recorder gone"))
            await page.until(has(".alarms", "cannot be reached"))
            assert await page.run(has(".streams a", "its stream")), "as it stood"
            async with served_feed(other, socket):
                await page.until(has(".streams a", "another stream"))
                await page.until(has(".log li", "of the second"))
                assert not await page.run(has(".log li", "of the first"))
                assert not await page.run(has(".streams a", "its stream"))
            assert page.complaints() == []
