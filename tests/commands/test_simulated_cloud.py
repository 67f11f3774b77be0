"""`rtms simulate --cloud` as a process, with clients that are not ours; and `rtms trigger --via ws`."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from processes import CREDENTIALS, Running, rtms, running
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ID, SECRET = CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"]
CLIENT = {"grant_type": "client_credentials"}
SETTINGS = CREDENTIALS | {"ZOOM_ACCOUNT_ID": "account"}


class Cloud:
    """The simulated cloud, as its output describes it."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.url = self.events_url = ""
        self.names: list[str] = []
        self.http = httpx.AsyncClient(trust_env=False, timeout=30)

    async def read(self, subjects: int) -> None:
        self.url = (await self.process.line_with("cloud is at")).split(" is at ")[1].split(": ")[0]
        self.events_url = (await self.process.line_with("subscription is")).split(": ")[1]
        for _ in range(subjects):
            self.names.append((await self.process.line_with("can be started")).split("rtms start ")[1].split(" ")[0])

    async def token(self) -> str:
        answer = await self.http.post(f"{self.url}/oauth/token", data=CLIENT, auth=(ID, SECRET))
        return str(answer.json()["access_token"])

    async def listen(self) -> ClientConnection:
        return await connect(f"{self.events_url}&access_token={quote(await self.token(), safe='')}", proxy=None)

    async def start(self, client_id: str = ID) -> int:
        headers = {"authorization": f"Bearer {await self.token()}"}
        body = {"action": "start", "settings": {"client_id": client_id}}
        path = f"/v2/live_meetings/{self.names[0]}/rtms_app/status"
        return (await self.http.patch(f"{self.url}{path}", json=body, headers=headers)).status_code

    async def end(self) -> tuple[int, dict[str, object]]:
        """End it; gives exit code and report."""
        self.process.process.send_signal(signal.SIGINT)
        code = await self.process.exit_code()
        report = json.loads(self.process.lines[-1])
        assert isinstance(report, dict)
        return code, report


@asynccontextmanager
async def cloud(*arguments: str, cwd: Path, subjects: int = 1) -> AsyncIterator[Cloud]:
    async with running("simulate", "--cloud", "--json", *arguments, cwd=cwd, settings=SETTINGS) as process:
        played = Cloud(process)
        async with played.http:
            await played.read(subjects)
            yield played


async def test_a_meeting_begins_when_it_is_started(tmp_path: Path) -> None:
    async with cloud("--seconds", "600", cwd=tmp_path) as played:
        async with await played.listen() as events:
            assert json.loads(await events.recv())["module"] == "build_connection"
            assert await played.start() == 202
            started = json.loads(json.loads(await events.recv())["content"])
            assert started["event"] == "meeting.rtms_started"
            assert started["payload"]["meeting_id"] == played.names[0]
            code, report = await played.end()
            stopped = json.loads(json.loads(await events.recv())["content"])
            assert stopped["event"] == "meeting.rtms_stopped"
            try:
                await events.recv()
            except ConnectionClosed:
                assert events.close_code == 1001
    assert code == 0
    told, streams = report["cloud"], report["streams"]
    assert isinstance(told, dict)
    assert isinstance(streams, list)
    assert (told["tokens"], told["calls"], told["findings"]) == (2, 1, [])
    assert told["events"]["delivered"] == 2
    assert [stream["joined"] for stream in streams] == [False]


async def test_a_mistake_is_told_at_once_and_makes_exit_code_1(tmp_path: Path) -> None:
    async with cloud("--products", "meeting,webinar", cwd=tmp_path, subjects=2) as played:
        assert await played.start("another app") == 400
        assert "settings.client_id" in await played.process.line_with("wrong: rest: ")
        code, report = await played.end()
    assert code == 1
    assert isinstance(report["cloud"], dict)
    assert len(report["cloud"]["findings"]) == 1


async def test_what_a_scenario_has_happen_in_the_cloud(tmp_path: Path) -> None:
    async with cloud("--scenario", "cloud-trouble", cwd=tmp_path) as played:
        assert [await played.start() for _ in range(3)] == [400, 400, 202]
        assert (await played.end())[0] == 0
    async with running("simulate", "--scenario", "cloud-trouble", cwd=tmp_path) as process:
        assert "what the scenario has happen in the cloud" in await process.line_with("needs --cloud")


def test_streams_are_not_written_to_a_file(tmp_path: Path) -> None:
    done = rtms("simulate", "--cloud", "--payload-out", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


async def test_trigger_over_the_event_socket(tmp_path: Path) -> None:
    async with cloud(cwd=tmp_path) as played:
        arguments = ["trigger", "started", "--cloud-url", played.url]
        nobody = await asyncio.to_thread(rtms, *arguments, cwd=tmp_path)
        assert nobody.returncode == 1
        assert "nobody is connected" in nobody.stdout
        async with await played.listen() as events:
            await events.recv()
            done = await asyncio.to_thread(rtms, *arguments, "--stream-id", "x", "--retry", "1", "--json", cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            told = json.loads(done.stdout)
            assert [answer["what"] for answer in told["answers"]] == ["the event goes to 1 connection"] * 2
            for _ in range(2):
                message = json.loads(await events.recv())
                assert message == {"module": "message", "content": told["request"], "header": {}}
            assert json.loads(told["request"])["payload"]["rtms_stream_id"] == "x"
            arguments[-1] = f"ws{played.url.removeprefix('http')}/ws?subscriptionId=1"  # the event WebSocket's own URL
            assert (await asyncio.to_thread(rtms, *arguments, cwd=tmp_path)).returncode == 0
        assert (await played.end())[0] == 0


async def test_trigger_at_an_address_that_is_none(tmp_path: Path) -> None:
    async with cloud(cwd=tmp_path) as played:
        for to, what in (
            (f"{played.url}/webhook", "is not the address of `rtms simulate --cloud`"),
            ("http://127.0.0.1:1", "no answer"),
        ):
            done = await asyncio.to_thread(rtms, "trigger", "started", "--cloud-url", to, cwd=tmp_path)
            assert (done.returncode, what in done.stdout) == (1, True), done.stdout
    for wrong in (
        ["started", "--via", "mail"],
        ["started", "--forge"],
        ["url_validation"],
    ):
        done = await asyncio.to_thread(rtms, "trigger", *wrong, "--cloud-url", "http://127.0.0.1:1", cwd=tmp_path)
        assert done.returncode == 2
