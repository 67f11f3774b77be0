"""Workers of one machine as real processes: killed, frozen, stopped, and left alone."""

import asyncio
import base64
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from harness import Silent, read_wav
from processes import CREDENTIALS, environment, running

from rtms_cli.capture import Capture
from rtms_cli.commands.crew import Duty, crew_of
from rtms_cli.commands.groups import HookOptions, LiveOptions, MediaOptions, RecordingOptions
from rtms_cli.errors import Problem
from rtms_cli.fleet import crew as crews
from rtms_cli.fleet.child import LOST
from rtms_cli.fleet.crew import Crew
from rtms_cli.fleet.local import LocalDispatch
from rtms_cli.machine import frames_of
from rtms_cli.protocol.messages import Audio
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator

APP = App(CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"])
SECONDS = 6
RATE = 16_000


class Machine:
    """A crew, and what is heard of it."""

    def __init__(self, out: Path, crew: Crew, dispatch: LocalDispatch, seen: Silent) -> None:
        self.out, self.crew, self.dispatch, self.seen = out, crew, dispatch, seen

    def start(self, stream: LiveStream) -> None:
        body = stream.webhook("started")
        self.dispatch.offer_now(body, read_webhook(body), "http")

    def pid(self, number: int) -> int:
        found = self.crew.health()[number - 1]["pid"]
        assert isinstance(found, int)
        return found

    def messages(self) -> int:
        """How many messages the stream has that has fewest, of those that are recorded."""
        return min((sum(view.recording.counts.values()) for view in self.crew.views()), default=0)

    async def records(self, count: int) -> None:
        """Wait until this many streams have sound."""
        await until(lambda: len(self.crew.views()) == count and self.messages() > 20, "sound of all")

    async def ends(self) -> None:
        """Wait until nothing is recorded or waits."""
        await until(lambda: {one.state for one in self.dispatch.report_now().streams} <= {"complete"}, "the end of all")

    def told(self) -> list[str]:
        return [str(fields["what"]) for name, fields in self.seen.events if name == "fleet"]


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that another process does."""
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: waited for that in vain")


@asynccontextmanager
async def machine(
    out: Path, size: int, monkeypatch: pytest.MonkeyPatch, on: list[str] | None = None
) -> AsyncIterator[Machine]:
    """Workers with nothing configured but what tests configure."""
    for name, value in environment(CREDENTIALS).items():
        monkeypatch.setenv(name, value)
    duty = Duty(
        MediaOptions(media="audio"), LiveOptions(), HookOptions(on=on), RecordingOptions(place=str(out)), [], 100, {}
    )
    dispatch, seen = LocalDispatch(), Silent()
    async with crew_of(size, duty, dispatch, seen) as crew:
        yield Machine(out, crew, dispatch, seen)


def packets_in(folder: Path) -> dict[int, bytes]:
    """The samples in a recording's capture, by Zoom's time."""
    return {
        frame.message.timestamp: base64.b64decode(frame.message.data)
        for item in Capture(folder).items()
        for frame in frames_of(item)
        if isinstance(frame.message, Audio) and frame.message.timestamp is not None
    }


def holes(out: Path, streams: list[LiveStream], seconds: int = SECONDS) -> list[int]:
    """Hold the recordings against what was sent: one a stream, merged, and the very samples in capture and WAV.

    :returns: how many holes there are in each: what a process has read and not written ends with it.
    """
    assert len(list(out.glob("*_meeting_*"))) == len(streams)
    said = np.asarray(mixed(len(PEOPLE), 0, seconds * RATE, RATE), "<i2").reshape(-1, RATE // 50)
    found = []
    for stream in streams:
        (folder,) = out.glob(f"*_meeting_{stream.stream_id}")
        assert not list(folder.glob("epochs*")), "it was merged"
        assert Manifest.read(folder).status == "complete"
        rate, heard = read_wav(folder / "audio/mixed.wav")
        assert (rate, len(heard)) == (RATE, seconds * RATE)
        heard = heard.reshape(-1, RATE // 50)
        packets = packets_in(folder)
        places = sorted((time - min(packets)) // 20 for time in packets)
        assert places[-1] == len(said) - 1
        for place in places:
            assert packets[min(packets) + 20 * place] == said[place].tobytes() == heard[place].tobytes()
        found.append(sum(after - before > 1 for before, after in pairwise(places)))
    return found


def check_ends(out: Path, count: int, said_by: str) -> None:
    """Look at recordings that someone on this side ended."""
    manifests = [Manifest.read(folder) for folder in out.glob("*_meeting_*")]
    assert [(one.status, one.losses) for one in manifests] == [("complete", [])] * count
    assert {one.stop.said_by for one in manifests if one.stop is not None} == {said_by}


async def test_a_worker_is_killed_and_its_streams_go_on_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Simulator(APP) as zoom, machine(tmp_path, 2, monkeypatch) as here:
        streams = [zoom.announce(Product.MEETING, Scenario(SECONDS), number) for number in range(10)]
        for stream in streams:
            here.start(stream)
        await here.records(10)
        assert [one["streams"] for one in here.crew.health()] == [5, 5], "they are spread evenly"
        first = here.pid(1)
        os.kill(first, signal.SIGKILL)
        for stream in streams:
            await stream.done()
        await here.ends()
        await until(lambda: here.crew.health()[0]["state"] == "working", "its successor")
        assert here.pid(1) != first
        assert here.told().count("taken over") == 5
        assert sorted(one.epoch for one in here.dispatch.report_now().streams) == [1] * 5 + [2] * 5
    assert sum(holes(tmp_path, streams)) <= 5, "one in each of its own, at the moment of its death"


async def test_a_worker_that_stands_still_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "FROZEN_TICKS", 3)
    async with Simulator(APP) as zoom, machine(tmp_path, 2, monkeypatch) as here:
        streams = [zoom.announce(Product.MEETING, Scenario(2 * SECONDS), number) for number in range(4)]
        for stream in streams:
            here.start(stream)
        await here.records(4)
        os.kill(here.pid(2), signal.SIGSTOP)
        for stream in streams:
            await stream.done()
        await here.ends()
        assert [fields["number"] for _, fields in here.seen.events if fields.get("what") == "ended"] == [2]
    assert sum(holes(tmp_path, streams, 2 * SECONDS)) <= 2


async def test_signals_that_are_meant_for_its_parent_do_not_end_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Simulator(APP) as zoom, machine(tmp_path, 1, monkeypatch) as here:
        stream = zoom.announce(Product.MEETING, Scenario(3))
        here.start(stream)
        await here.records(1)
        assert os.getsid(here.pid(1)) == here.pid(1), "a Ctrl-C in the terminal does not reach it"
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            os.kill(here.pid(1), number)
        await stream.done()
        await here.ends()
        assert "ended" not in here.told()
    assert holes(tmp_path, [stream], 3) == [0]


async def test_at_the_end_all_recordings_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Simulator(APP) as zoom, machine(tmp_path, 2, monkeypatch) as here:
        for number in range(4):
            here.start(zoom.announce(Product.MEETING, Scenario(60), number))
        await here.records(4)
        here.crew.stop("the test")
        await here.crew.stopped()
        assert [one["pid"] for one in here.crew.health()] == [None, None]
        assert len(here.seen.finished) == 4
        assert here.crew.ended() == {"complete": 4}
        assert here.crew.totals().messages["MEDIA_DATA_AUDIO"] > 4 * 20
    check_ends(tmp_path, 4, "the test")


async def test_a_worker_may_take_its_time_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "FROZEN_TICKS", 3)
    async with Simulator(APP) as zoom, machine(tmp_path, 1, monkeypatch, on=["finished=sleep 6"]) as here:
        here.start(zoom.announce(Product.MEETING, Scenario(60)))
        await here.records(1)
        here.crew.stop("the test")
        await here.crew.stopped()
        assert "ended" not in here.told(), "it does not stand still"
        assert [fields["exit_code"] for name, fields in here.seen.events if name == "hook"] == [0]


async def test_a_worker_that_cannot_come_up_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Problem, match="ended with exit code 2 before it was ready"):
        async with machine(tmp_path, 2, monkeypatch, on=["no such event"]):
            raise AssertionError("it is not ready")


async def test_ctrl_c_reaches_the_workers_through_their_parent(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--json", "--media", "audio", "--workers", "2")
    async with Simulator(APP) as zoom, running("listen", *arguments, cwd=tmp_path, settings=CREDENTIALS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        streams = [zoom.announce(Product.MEETING, Scenario(60), number) for number in range(4)]
        for stream in streams:
            await zoom.post(url, stream, "started")
        for _ in streams:
            await listen.line_with("CLIENT_READY_ACK")
        listen.process.send_signal(signal.SIGINT)
        assert await listen.exit_code() == 0
        assert sum('"event":"finished"' in line for line in listen.lines) == 4
        assert sum('"event":"started"' in line for line in listen.lines) == 4
    check_ends(tmp_path / "recordings", 4, "Ctrl-C")


async def test_workers_run_no_code_of_the_current_folder(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for name in ("msgspec", "json", "rtms_cli"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\nraise SystemExit(7)\n")
    arguments = ("--port", "0", "--json", "--workers", "1")
    async with running("listen", *arguments, cwd=tmp_path, settings=CREDENTIALS) as listen:
        await listen.line_with("listening on")
        listen.process.terminate()
        assert await listen.exit_code() == 0
    assert not await asyncio.to_thread(ran.exists)


async def test_a_second_ctrl_c_ends_workers_that_stand_still_too(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--json", "--media", "audio", "--workers", "2")
    async with Simulator(APP) as zoom, running("listen", *arguments, cwd=tmp_path, settings=CREDENTIALS) as listen:
        pids = [cast("int", (await listen.event("fleet"))["pid"]) for _ in range(2)]
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        for number in range(2):
            await zoom.post(url, zoom.announce(Product.MEETING, Scenario(60), number), "started")
        for _ in pids:
            await listen.line_with("CLIENT_READY_ACK")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        assert await listen.interrupt() == 130
    await until(lambda: not any(map(is_alive, pids)), "the end of the workers")


def is_alive(pid: int) -> bool:
    """Whether a process runs, or is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_workers_finish_their_recordings_when_their_parent_is_killed(tmp_path: Path) -> None:
    arguments = ("--port", "0", "--json", "--media", "audio", "--workers", "2")
    async with Simulator(APP) as zoom:
        async with running("listen", *arguments, cwd=tmp_path, settings=CREDENTIALS) as listen:
            url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
            streams = [zoom.announce(Product.MEETING, Scenario(60), number) for number in range(2)]
            for stream in streams:
                await zoom.post(url, stream, "started")
            for _ in streams:
                await listen.line_with("CLIENT_READY_ACK")
            listen.process.kill()
    # It has ended with them: they had its standard output.
    check_ends(tmp_path / "recordings", 2, LOST)
