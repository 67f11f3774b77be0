"""A real browser, driven over its own debugging protocol: what a page draws, runs, plays and asks for."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from processes import until
from websockets.asyncio.client import ClientConnection, connect

KEYS = {
    "Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Delete": 46, "F2": 113,
}  # fmt: skip
"""The codes of keys that do something of their own in a browser."""
TEXTS = {"Enter": "\r"}
SHIFT = 8
WAIT_S = 50
"""Less than a test may take, so that it tells what it waits for."""
LEFT = ("navigated or closed", "context was destroyed", "Cannot find context", "Cannot find default execution context")
"""What the browser says of a question to a page that is left meanwhile."""
SERIOUS = ("serious", "critical")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def data_of(text: str) -> dict[str, object]:
    """What a page of `inspect --html` carries."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert "<" not in found
    value: dict[str, object] = json.loads(found)
    return value


class LeftError(AssertionError):
    """The page was left before it answered."""


class Page:
    """A page in the browser, and everything that happened in it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, object]]] = {}
        self._session: str | None = None
        self.events: list[tuple[str, dict[str, object]]] = []
        self._reader = asyncio.create_task(self._read())
        self._closing: asyncio.Task[object] | None = None

    async def send(self, method: str, **params: object) -> dict[str, object]:
        """Ask the browser for something."""
        number = len(self._answers) + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        await self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        answer = await self._answers[number]
        error = answer.get("error")
        if isinstance(error, dict) and any(words in str(error["message"]) for words in LEFT):
            raise LeftError(error)
        assert error is None, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    async def attach(self) -> None:
        """Open a page and listen to it."""
        target = await self.send("Target.createTarget", url="about:blank")
        attached = await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.send(f"{domain}.enable")

    async def open(self, url: str, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
        """Go to an address and wait until it has loaded."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        loaded = len(self.named("Page.loadEventFired"))
        await self.send("Page.navigate", url=url)
        await until(lambda: len(self.named("Page.loadEventFired")) > loaded)

    async def run(self, script: str) -> object:
        """The value of an expression in the page; a promise is waited for."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    async def back(self) -> None:
        """Go to where one was before, as the button of the browser does."""
        history = await self.send("Page.getNavigationHistory")
        at, entries = history["currentIndex"], history["entries"]
        assert isinstance(at, int)
        assert isinstance(entries, list)
        await self.send("Page.navigateToHistoryEntry", entryId=entries[at - 1]["id"])

    async def until(self, script: str, wait_s: float = WAIT_S) -> None:
        """Wait until an expression holds in the page, or in the one that follows it."""
        try:
            async with asyncio.timeout(wait_s):
                while not await self._holds(script):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never holds: {script}") from None

    async def _holds(self, script: str) -> bool:
        try:
            return bool(await self.run(script))
        except LeftError:  # a page that is left has no answer; the next one has
            return False

    async def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """Move, press or turn the mouse."""
        await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def click(self, x: float, y: float) -> None:
        """Press and let go."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.mouse(kind, x, y, button="left", clickCount=1)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key and let it go."""
        text = TEXTS.get(key, key if len(key) == 1 else "")
        code, modifiers = KEYS.get(key, 0), SHIFT if shift else 0
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, modifiers=modifiers, **typed
            )

    async def type(self, text: str) -> None:
        """Press the keys of a text, one by one."""
        for key in text:
            await self.press(key)

    async def focus(self) -> tuple[str, str]:
        """What has the focus, as a screen reader tells it: role and name."""
        found = await self.send("Runtime.evaluate", expression="document.activeElement")
        result = found["result"]
        assert isinstance(result, dict)
        node = {"objectId": result["objectId"], "fetchRelatives": False}
        return next(iter(_told(await self.send("Accessibility.getPartialAXTree", **node))), ("none", ""))

    async def told(self) -> list[tuple[str, str]]:
        """Everything that a screen reader tells of the page: roles and names."""
        return _told(await self.send("Accessibility.getFullAXTree"))

    async def judge(self, axe: str) -> list[str]:
        """What axe-core finds that is serious or critical: its rule, why, and where.

        :param axe: the text of `axe.min.js`.
        """
        if not await self.run("typeof axe === 'object'"):
            await self.run(f"{axe}; null")
        found = await self.run("axe.run().then(({violations}) => violations)")
        assert isinstance(found, list)
        return [
            f"{one['impact']}: {one['id']}, {len(one['nodes'])}×: {first['failureSummary']} {first['html'][:300]}"
            for one in found
            if one["impact"] in SERIOUS
            for first in one["nodes"][:1]
        ]

    async def picture(self, path: Path) -> None:
        """Save what the page looks like."""
        shot = await self.send("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(str(shot["data"])))

    def named(self, event: str) -> list[dict[str, object]]:
        """Everything of a kind that has happened."""
        return [params for name, params in self.events if name == event]

    def requested(self) -> list[str]:
        """The addresses that the page asked for."""
        requests = [params["request"] for params in self.named("Network.requestWillBeSent")]
        return [str(request["url"]) for request in requests if isinstance(request, dict)]

    def complaints(self) -> list[dict[str, object]]:
        """Errors, refusals by the page's policy, and dialogs."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
        return [params for name, params in self.events if name in kinds]

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]].set_result(message)
            else:
                self.events.append((message["method"], message["params"]))
                if message["method"] == "Page.javascriptDialogOpening":  # or the page stands still for ever
                    self._closing = asyncio.create_task(self.send("Page.handleJavaScriptDialog", accept=False))

    async def close(self) -> None:
        """Stop listening."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


def _told(tree: dict[str, object]) -> list[tuple[str, str]]:
    nodes = tree["nodes"]
    assert isinstance(nodes, list)
    return [
        (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
        for node in nodes
        if not node.get("ignored")
    ]


@asynccontextmanager
async def browser(profile: Path, *flags: str) -> AsyncIterator[Page]:
    """Start a browser without a window; what it writes goes below `profile`."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--autoplay-policy=no-user-gesture-required", "--remote-debugging-port=0", f"--user-data-dir={profile}",
        *flags, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        where = profile / "DevToolsActivePort"
        await until(lambda: process.returncode is not None or (where.exists() and where.read_text().count("\n")))
        port, path = where.read_text().splitlines()[:2]
        async with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
            page = Page(socket)
            await page.attach()
            try:
                yield page
            finally:
                await page.close()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
