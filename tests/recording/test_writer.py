"""The writing thread: everything that was put is in the files, memory is bounded, and one stream harms no other."""

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, said, state, tree
from harness import Heard

from rtms_cli.capture import Capture
from rtms_cli.machine import Direction, Frame, FrameSink, State, frame_of
from rtms_cli.protocol.messages import Audio
from rtms_cli.recording.files import Files
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import PROMPT_S, Sink, Writer

PCM = bytes(range(256)) * 2 + bytes(128)


def packets(count: int) -> list[Frame]:
    return [granted()] + [audio(PCM, ZERO_MS + number * 20, at_us=number * 20_000) for number in range(count)]


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition that another thread brings about."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - the other thread knows no event of ours
            await asyncio.sleep(0.005)


class StalledFiles(Files):
    """A disk that takes nothing until it is let go; like a real one it blocks the thread that writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.go = threading.Event()
        self.reached = threading.Event()

    def _open(self, name: str, flags: int) -> tuple[int, int]:
        self.reached.set()
        assert self.go.wait(20)
        return super()._open(name, flags)


def test_many_streams_at_once_get_what_a_direct_fold_gives(tmp_path: Path) -> None:
    frames = packets(300)
    folders = [tmp_path / str(number) for number in range(20)]
    direct = tmp_path / "direct"
    for folder in (*folders, direct):
        folder.mkdir()

    async def run() -> None:
        writer = Writer()
        sinks: list[FrameSink] = []
        opened = [writer.open(Recorder(folder, HEADER)) for folder in folders]
        sinks += opened
        for number, frame in enumerate(frames):
            for sink in sinks:
                sink.put(frame)
            if number % 50 == 0:
                await asyncio.sleep(0)
        seen = await opened[0].close()
        assert seen.counts["MEDIA_DATA_AUDIO"] == 300
        await opened[0].close()  # a second time does nothing
        await writer.close()
        assert writer.backlog == 0

    asyncio.run(run())
    recorder = Recorder(direct, HEADER)
    recorder.fold(frames)
    recorder.close()
    for folder in folders:
        assert tree(folder) == tree(direct)


def test_files_grow_while_the_stream_runs(tmp_path: Path) -> None:
    async def run() -> None:
        writer = Writer()
        sink = writer.open(Recorder(tmp_path, HEADER))
        for frame in packets(5):
            sink.put(frame)
        await until(lambda: (tmp_path / "audio/mixed.wav").exists() and sink.snapshot().backlog_nbytes == 0)
        assert json.loads((tmp_path / "manifest.json").read_bytes())["status"] == "recording"
        assert sink.snapshot().counts["MEDIA_DATA_AUDIO"] == 5
        await writer.close()

    asyncio.run(run())
    assert json.loads((tmp_path / "manifest.json").read_bytes())["status"] == "interrupted"


def test_a_stalled_disk_holds_readers_back_and_loses_nothing(tmp_path: Path) -> None:
    files = StalledFiles(tmp_path)
    frames = packets(400)

    async def run() -> None:
        writer = Writer(max_buffer=400_000)
        sink = writer.open(Recorder(tmp_path, HEADER, files=files))
        at_most = 0
        waiting: asyncio.Task[None] | None = None
        for frame in frames:
            sink.put(frame)
            at_most = max(at_most, writer.backlog)
            if sink.full:
                waiting = asyncio.create_task(sink.room())
                await asyncio.sleep(0)
                # Until the disk goes on, there can be no room; after that, the writer may make some at any moment.
                assert files.go.is_set() or not waiting.done()
                files.go.set()
                async with asyncio.timeout(10):
                    await waiting
                assert not sink.full
        assert waiting is not None
        assert at_most < 202_000
        await writer.close()

    asyncio.run(run())
    assert len(list(Capture(tmp_path))) == len(frames)
    assert json.loads((tmp_path / "manifest.json").read_bytes())["losses"] == []


def test_packets_that_were_read_in_one_go_are_kept_however_little_may_wait(tmp_path: Path) -> None:
    files = StalledFiles(tmp_path)
    frames = packets(400)

    async def run() -> None:
        writer = Writer(max_buffer=100_000)
        sink = writer.open(Recorder(tmp_path, HEADER, files=files))
        for frame in frames:
            sink.put(frame)
        assert sink.full
        assert writer.backlog > writer.max_buffer
        files.go.set()
        await writer.close()

    asyncio.run(run())
    assert len(list(Capture(tmp_path))) == len(frames)
    assert json.loads((tmp_path / "manifest.json").read_bytes())["losses"] == []


def test_a_flood_that_does_not_wait_is_bounded_and_counted(tmp_path: Path) -> None:
    files = StalledFiles(tmp_path)

    async def run() -> None:
        writer = Writer(max_buffer=100_000)
        sink = writer.open(Recorder(tmp_path, HEADER, files=files))
        sink.put(granted())
        await until(files.reached.is_set)
        for number in range(1000):
            sink.put(said({"msg_type": 99, "padding": "x" * 800}, number))
            assert writer.backlog < 102_000
        sink.put(state(State.WARNING, 2000, reason="kept whatever happens"))
        files.go.set()
        await writer.close()

    asyncio.run(run())
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    kept = manifest["messages"]["received"]["UNKNOWN 99"]["count"]
    (loss,) = manifest["losses"]
    assert loss["count"] == 1000 - kept > 0
    assert [warned["text"] for warned in manifest["warnings"]] == ["kept whatever happens"]
    assert any(b"dropped" in frame.raw for frame in Capture(tmp_path))


def test_a_defect_in_one_recorder_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Defective(Recorder):
        def _take(self, frame: Frame) -> None:
            if isinstance(frame.message, Audio):
                raise ZeroDivisionError
            super()._take(frame)

    async def run() -> None:
        writer = Writer()
        for name, kind in (("bad", Defective), ("good", Recorder)):
            (tmp_path / name).mkdir()
            sink = writer.open(kind(tmp_path / name, HEADER))
            for frame in packets(3):
                sink.put(frame)
        await writer.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "a defect in rtms" in caplog.text
    bad = json.loads((tmp_path / "bad/manifest.json").read_bytes())
    assert "ZeroDivisionError" in bad["losses"][0]["first_error"]
    assert len(list(Capture(tmp_path / "bad"))) == 4
    assert json.loads((tmp_path / "good/manifest.json").read_bytes())["losses"] == []


def test_what_is_put_after_the_end_is_ignored(tmp_path: Path) -> None:
    async def run() -> None:
        writer = Writer()
        sink = writer.open(Recorder(tmp_path, HEADER))
        sink.put(frame_of(0, "webhook", Direction.IN, b"{}"))
        await sink.close()
        sink.put(granted())
        assert writer.backlog == 0
        await writer.close()

    asyncio.run(run())
    assert len(list(Capture(tmp_path))) == 1


async def test_every_stream_has_its_turn_though_nobody_asks(tmp_path: Path) -> None:
    writer = Writer()
    sinks = []
    for number in range(150):
        (tmp_path / str(number)).mkdir()
        sinks.append(writer.open(Recorder(tmp_path / str(number), HEADER)))
    for round_ in range(3):
        for sink in sinks:
            for frame in packets(2):
                sink.put(frame)
        await until(lambda: not any(sink.snapshot().backlog_nbytes for sink in sinks))
        kept = [sink.snapshot().counts["MEDIA_DATA_AUDIO"] for sink in sinks]
        assert kept == [2 * (round_ + 1)] * len(sinks)
    # One that is closed does not wait for its turn, nor takes someone else's away.
    for sink in sinks[::2]:
        await sink.close()
    for sink in sinks[1::2]:
        sink.put(packets(1)[-1])
    await writer.close()
    assert [sink.snapshot().counts["MEDIA_DATA_AUDIO"] for sink in sinks] == [6, 7] * 75


class Ticks(threading.Event):
    """What the thread that writes waits for: nobody wakes it, and its sleeps go by on a clock of their own.

    It ends after ten seconds.
    """

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self.now = 100.0
        self._writer = writer

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        self._writer._closing = self.now > 110
        return False


@pytest.mark.parametrize("streams", [1, 3, 400])
def test_a_prompt_stream_has_turns_of_its_own_and_the_others_have_theirs(
    streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds on a clock that is ours: who has how many turns."""

    def turns_of(writer: Writer) -> Counter[Sink]:
        ticks, turns = Ticks(writer), Counter[Sink]()
        writer._wake = ticks
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: ticks.now)
            patch.setattr(writer, "_take_turns", lambda sinks, heard: turns.update([*sinks, *heard]))
            writer._last_turn = ticks.now
            writer._run()
        return turns

    def opened(writer: Writer, count: int) -> list[Sink]:
        writer._thread = threading.current_thread()  # nobody but us works through the queues
        return [writer.open(recorder) for _ in range(count)]

    recorder, heard = Recorder(tmp_path, HEADER), Recorder(tmp_path, HEADER)
    heard.listen(Heard())
    alone, shared = Writer(), Writer()
    others = opened(alone, streams + 1)
    had = turns_of(alone)
    sinks = opened(shared, streams)
    prompt = shared.open(heard, lambda: 0)
    turns = turns_of(shared)
    assert turns[prompt] >= 10 / PROMPT_S - 1
    usual = {had[sink] for sink in others}
    assert min(usual) > 10
    assert {turns[sink] for sink in sinks} <= {count + more for count in usual for more in (-1, 0, 1)}


async def test_a_prompt_stream_that_is_closed_has_no_more_turns(tmp_path: Path) -> None:
    writer, frames = Writer(), packets(2)
    for name in ("prompt", "other"):
        (tmp_path / name).mkdir()
    heard = Recorder(tmp_path / "prompt", HEADER)
    heard.listen(Heard())
    prompt = writer.open(heard, lambda: 0)
    other = writer.open(Recorder(tmp_path / "other", HEADER))
    await prompt.close()
    assert writer._prompt == []
    for frame in frames:
        other.put(frame)
    await until(lambda: other.snapshot().counts.get("MEDIA_DATA_AUDIO") == 2)
    await writer.close()
