"""An attacker's page in a real browser, while the pages are open in it: it reads nothing and changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser
from catalog.shelf import put
from processes import until
from web.knocking import MARK, opened

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
ATTACK = Path(__file__).with_name("attack.html")
ANYWHERE = ("--host", "0.0.0.0", "--web-control")


@asynccontextmanager
async def attacker(page: bytes = ATTACK.read_bytes()) -> AsyncIterator[int]:
    """Serve a page on every name of this machine; gives the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + page)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


@pytest.mark.parametrize("options", [("--web-control",), ANYWHERE], ids=["without a token", "with a cookie"])
@pytest.mark.parametrize("where", ["localhost", "127.0.0.1", "evil.example"])
async def test_it_gets_nothing(tmp_path: Path, where: str, options: tuple[str, ...]) -> None:
    """From another site, and from another port of the same host, whose pages send the cookie."""
    recording = put(tmp_path / MARK, "secret")
    (recording / "audio").mkdir()
    (recording / "audio/mixed.wav").write_bytes(tone())
    manifest = (recording / "manifest.json").read_bytes()
    flags = ("--host-resolver-rules=MAP evil.example 127.0.0.1",)
    async with (
        opened(tmp_path, *options) as (door, _),
        attacker() as port,
        browser(tmp_path / "profile", *flags) as page,
    ):
        own = f"http://127.0.0.1:{door.port}"
        await page.open(f"{own}/" + (f"?token={door.token}" if door.token else ""))
        asked = "fetch('/api/about').then(answer => answer.status)"
        assert await page.run(asked) == 200, "the browser itself is let in"
        page.events.clear()
        await page.open(f"http://{where}:{port}/#{own}")
        await page.until("Object.keys(got).length > 20 && waiting === 0")
        got = await page.run("got")
        assert isinstance(got, dict)
        assert {name: outcome for name, outcome in got.items() if outcome.startswith("got")} == {}
        assert (recording / "manifest.json").read_bytes() == manifest


async def test_a_name_that_is_led_here_gets_nothing(tmp_path: Path) -> None:
    """DNS rebinding: the attacker's own name has this machine's address, so that its page is of the same origin."""
    flags = ("--host-resolver-rules=MAP evil.example 127.0.0.1",)
    async with opened(tmp_path) as (door, _), browser(tmp_path / "profile", *flags) as page:
        await page.send("Page.setBypassCSP", enabled=True)  # the attacker's own page has no policy
        await page.open(f"http://evil.example:{door.port}/")
        assert MARK not in str(await page.run("document.documentElement.outerHTML"))
        told = await page.run("fetch('/api/about').then(async answer => [answer.status, await answer.text()])")
        assert isinstance(told, list)
        assert told[0] in (400, 403, 421)
        assert MARK not in told[1]
        asked = "new Promise(end => { const one = new WebSocket('/feed'); one.onopen = () => end('open');"
        assert await page.run(f"{asked} one.onerror = () => end('refused'); }})") == "refused"


def tone() -> bytes:
    """A second of silence, as a WAV file."""
    samples = bytes(32_000)
    form = (16).to_bytes(4, "little") + b"\x01\x00\x01\x00" + (16_000).to_bytes(4, "little")
    form += (32_000).to_bytes(4, "little") + b"\x02\x00\x10\x00"
    body = b"WAVEfmt " + form + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("path", ["/?token={token}", "/search?q=a%26b", "/recordings/secret", "/recordings/secret#t=5"])
async def test_a_link_from_elsewhere_leads_here(tmp_path: Path, path: str) -> None:
    """From a chat or a mail in a browser: a strict cookie does not come along, but whoever is let in gets there."""
    put(tmp_path / MARK, "secret")
    flags = ("--host-resolver-rules=MAP chat.example 127.0.0.1",)
    async with (
        opened(tmp_path, *ANYWHERE) as (door, _),
        attacker(b"<!doctype html><title>A chat</title>") as port,
        browser(tmp_path / "profile", *flags) as page,
    ):
        own = f"http://127.0.0.1:{door.port}"
        if "token" not in path:
            await page.open(f"{own}/?token={door.token}")
            page.events.clear()
        await page.open(f"http://chat.example:{port}/")
        link = (own + path).format(token=door.token)
        await page.run(f"void setTimeout(() => location.href = {link!r})")
        await until(lambda: 200 in answers(page, own))
        assert answers(page, own).index(200) > 0, "the first answer was a refusal, or the cookie"


def answers(page: Page, own: str) -> list[int]:
    """How the documents of our origin were answered."""
    found = [one for one in page.named("Network.responseReceived") if one["type"] == "Document"]
    responses = [one["response"] for one in found if isinstance(one["response"], dict)]
    return [int(one["status"]) for one in responses if str(one["url"]).startswith(own)]
