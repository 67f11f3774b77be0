"""A stream in a program, over real sockets: the items, the end, back-pressure, and what is left as it was."""

import asyncio
import gc
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop
from harness import read_wav

import rtms_cli
from rtms_cli import Audio, Chat, Event, Exit, Item, Picture, PictureTrack, Problem, Recording, State, Transcript
from rtms_cli.protocol.numbers import MediaType, Product
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator

CREDENTIALS: dict[str, Any] = {"client_id": "client", "client_secret": "secret"}
LONG_S = 600


@asynccontextmanager
async def announced(
    seconds: float = 1, count: int = 1, scopes: MediaType | None = None
) -> AsyncIterator[list[LiveStream]]:
    """Streams of the simulator; those that run in the end are ended."""
    app = App("client", "secret", "token") if scopes is None else App("client", "secret", "token", scopes)
    async with Simulator(app) as simulator:
        yield [simulator.announce(Product.MEETING, Scenario(seconds), number) for number in range(count)]


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def items_of(payload: bytes, **arguments: Any) -> tuple[rtms_cli.Stream, list[Item]]:
    """A stream, and all that it gives."""
    async with rtms_cli.join(payload, **CREDENTIALS | arguments) as stream:
        return stream, [item async for item in stream]


def of(kind: type[Any], items: list[Item]) -> list[Any]:
    return [item for item in items if isinstance(item, kind)]


def said(line: Transcript | Chat | Event) -> dict[str, object]:
    """What a line says, but for `t`, which depends on a zero that may become known later."""
    return {name: value for name, value in line.fields.items() if name != "t" and value is not None}


@pytest.mark.parametrize("separate", [False, True])
async def test_items_are_what_the_recording_has(separate: bool, tmp_path: Path) -> None:
    async with announced(2) as (live,):
        payload = json.loads(live.webhook("started"))
        async with rtms_cli.join(payload, separate=separate, record=tmp_path, **CREDENTIALS) as stream:
            items = [item async for item in stream]
    assert live.report().findings == ()
    outcome = stream.outcome
    assert outcome is not None
    assert (outcome.status, outcome.exit_code, outcome.losses, outcome.dropped) == ("complete", Exit.OK, 0, 0)
    assert outcome.reason == "6 STOP_BC_MEETING_ENDED"
    assert outcome.folder == stream.folder
    assert (stream.product, stream.id, stream.stream_id) == ("meeting", live.identity, live.stream_id)
    assert outcome.folder is not None
    recording = Recording(outcome.folder)
    origin_ms = recording.manifest.origin_ms
    assert origin_ms is not None
    for track in (track for track in recording.tracks if track.kind == "audio"):
        rate, samples = read_wav(track.path)
        heard = np.zeros_like(samples)
        for item in of(Audio, items):
            if item.user_id == track.user_id:
                assert (item.rate, item.samples.dtype) == (rate, np.int16)
                start = round((item.timestamp - origin_ms) * rate / 1000)
                heard[start : start + len(item.samples)] = item.samples
        assert samples.any()
        assert np.array_equal(heard, samples)
    assert {item.user_id for item in of(Audio, items)} >= ({16778240} if separate else {None})
    pictures = [picture for track in recording.tracks if isinstance(track, PictureTrack) for picture in track]
    assert pictures
    assert sorted(map(repr, of(Picture, items))) == sorted(map(repr, pictures))
    for kind, lines in ((Transcript, recording.transcript), (Chat, recording.chat), (Event, recording.events)):
        found = [said(line) for line in of(kind, items)]
        assert found == [said(line) for line in lines]
        assert found
    told = [(item.name, item.text) for item in of(State, items)]
    assert ("session", "started") in told
    assert told[-1][0] == "finished"


async def test_only_what_was_asked_for_comes_and_nothing_is_left_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with announced() as (live,):
        stream, items = await items_of(live.webhook("started"), media="audio")
    assert sum(len(item.samples) for item in of(Audio, items)) == 16000
    assert of(Picture, items) == of(Transcript, items) == of(Chat, items) == []
    assert stream.folder is None
    assert stream.outcome is not None
    assert stream.outcome.folder is None
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("form", ["text", "file", "path", "object"])
async def test_a_payload_may_come_in_any_form(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOM_CLIENT_ID", "client")
    monkeypatch.setenv("ZOOM_CLIENT_SECRET", "secret")
    async with announced(0.2) as (live,):
        body = live.webhook("started")
        path = tmp_path / "payload.json"
        path.write_bytes(body)
        forms: dict[str, Any] = {"text": body.decode(), "file": str(path), "path": path, "object": json.loads(body)}
        async with rtms_cli.join(forms[form], media="audio") as stream:
            assert of(Audio, [item async for item in stream])


@pytest.mark.parametrize("how", ["break", "error", "cancel", "stop"])
async def test_leaving_early_ends_the_session_and_finishes_the_files(how: str, tmp_path: Path) -> None:
    async with announced(LONG_S) as (live,):
        begun = asyncio.Event()

        async def use() -> None:
            async with rtms_cli.join(live.webhook("started"), record=tmp_path, **CREDENTIALS) as stream:
                async for item in stream:
                    if isinstance(item, Audio):
                        begun.set()
                        if how == "break":
                            break
                        if how == "error":
                            raise KeyError(how)
                        if how == "stop":
                            outcome = await stream.stop()
                            assert outcome.status == "complete"

        task = asyncio.create_task(use())
        await begun.wait()
        if how == "cancel":
            task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() == (how == "cancel")
        if how != "cancel":
            assert isinstance(task.exception(), KeyError) == (how == "error")
        await asyncio.wait_for(live.done(), 30)
        assert live.report().findings == ()
    (folder,) = files_in(tmp_path)
    recording = Recording(folder)
    assert (recording.status, recording.manifest.losses) == ("complete", [])
    assert len(recording.audio().samples) > 0
    assert [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_recording_can_be_read_while_it_grows_and_nothing_comes_behind_the_block(tmp_path: Path) -> None:
    async with announced(LONG_S) as (live,):
        async with rtms_cli.join(live.webhook("started"), record=tmp_path, **CREDENTIALS) as stream:
            async for item in stream:
                if isinstance(item, Audio):
                    break
            assert stream.folder is not None
            recording = Recording(stream.folder)
            assert (recording.status, recording.problems) == ("recording", [])
            before = stream.outcome
        assert before is None
        assert stream.outcome is not None
        assert [item async for item in stream] == []
    assert Recording(stream.folder).status == "complete"


async def test_cancelled_before_it_has_begun(tmp_path: Path) -> None:
    for pauses in range(6):
        async with announced(LONG_S) as (live,):

            async def use(payload: bytes) -> None:
                async with rtms_cli.join(payload, record=tmp_path, **CREDENTIALS) as stream:
                    await stream.done()

            task = asyncio.create_task(use(live.webhook("started")))
            for _ in range(pauses):
                await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [one for one in asyncio.all_tasks() if one.get_name() == "rtms"] == []
    assert all(Recording(folder).status != "recording" for folder in files_in(tmp_path))


async def test_who_is_slow_gets_the_newest_and_all_texts() -> None:
    async with announced(4) as (live,):
        async with rtms_cli.join(live.webhook("started"), buffer=0, **CREDENTIALS) as stream:
            items: list[Item] = []
            async for item in stream:
                if not items:
                    await live.done()  # nobody takes anything for all of the stream's time
                    await stream.done()
                items.append(item)
    assert live.report().findings == ()
    sent = live.report().sent
    audio = of(Audio, items)
    assert stream.outcome is not None
    assert 0 < len(audio) < sent["MEDIA_DATA_AUDIO"]
    assert stream.outcome.dropped == stream.dropped > 0
    heard = sum(item.seconds for item in audio)
    assert heard + stream.outcome.dropped_seconds == pytest.approx(sent["MEDIA_DATA_AUDIO"] * 0.02)
    assert len(of(Transcript, items)) == sent["MEDIA_DATA_TRANSCRIPT"]
    assert len(of(Event, items)) == sent["EVENT_UPDATE"]


async def test_drops_are_in_the_manifest(tmp_path: Path) -> None:
    async with announced(2) as (live,):
        async with rtms_cli.join(live.webhook("started"), buffer=0, record=tmp_path, **CREDENTIALS) as stream:
            outcome = await stream.done()
    assert outcome.folder is not None
    (tap,) = Recording(outcome.folder).manifest.taps
    assert (tap.target, tap.drops) == ("the program", outcome.dropped)
    assert tap.drops > 0
    assert len(Recording(outcome.folder).audio().samples) == 2 * 16000


async def test_several_at_once_in_one_loop(tmp_path: Path) -> None:
    async def use(live: LiveStream) -> int:
        _, items = await items_of(live.webhook("started"), media="audio")
        return sum(len(item.samples) for item in of(Audio, items))

    async with announced(1, 5) as streams:
        assert await asyncio.gather(*map(use, streams)) == [16000] * 5
        assert [live.report().findings for live in streams] == [()] * 5


async def refused() -> Problem:
    """What a program is told whose secret is wrong."""
    async with announced(LONG_S) as (live,):
        async with rtms_cli.join(live.webhook("started"), client_id="client", client_secret="wrong") as stream:
            with pytest.raises(Problem) as caught:
                await stream.done()
            with pytest.raises(Problem) as again:
                await all_of(stream)
        assert again.value is caught.value
        assert stream.outcome is not None
        assert stream.outcome.status == "failed"
        return caught.value


async def all_of(stream: rtms_cli.Stream) -> None:
    async for _ in stream:
        pass


async def test_who_is_refused_is_told_why() -> None:
    problem = await refused()
    assert problem.exit_code is Exit.REFUSED
    assert "STATUS_INVALID_SIGNATURE" in problem.what
    assert problem.remedy


async def test_an_app_without_scopes_is_told_so() -> None:
    async with announced(LONG_S, scopes=MediaType.CHAT) as (live,):
        with pytest.raises(Problem) as caught:
            await items_of(live.webhook("started"), media="audio")
    assert caught.value.exit_code is Exit.NOTHING_GRANTED
    assert "scopes" in caught.value.remedy


WRONG: list[tuple[str, Callable[[Path], dict[str, Any]]]] = [
    ("Cannot read .*nowhere", lambda tmp: {"payload": tmp / "nowhere"}),
    ("does not announce a stream", lambda tmp: {"payload": b"{}"}),
    ("does not announce a stream", lambda tmp: {"payload": {"event": "meeting.rtms_stopped", "payload": {}}}),
    ("is not a JSON object", lambda tmp: {"payload": {"event": object()}}),
    ("media: 'smell' is not a kind of media", lambda tmp: {"media": "smell"}),
    ("audio: 'mp3' is not an audio format", lambda tmp: {"audio": "mp3"}),
    ("client_secret is not", lambda tmp: {"client_secret": None}),
    ("no credentials", lambda tmp: {"client_id": None, "client_secret": None}),
    ("buffer: -1 is not a number", lambda tmp: {"buffer": -1}),
    ("Give ..media.example...", lambda tmp: {"allow_hosts": "media.example"}),
    ("Cannot write to", lambda tmp: {"record": "/dev/null/recordings"}),
]


@pytest.mark.parametrize(("what", "changes"), WRONG)
async def test_what_is_wrong_is_a_problem_before_anything_begins(
    what: str, changes: Callable[[Path], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZM_RTMS_CLIENT", "ZM_RTMS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    payload = {
        "event": "meeting.rtms_started",
        "payload": {"meeting_uuid": "a==", "rtms_stream_id": "b", "server_urls": "wss://127.0.0.1:1"},
    }
    arguments: dict[str, Any] = {"payload": payload, **CREDENTIALS, **changes(tmp_path)}
    with pytest.raises(Problem, match=what):
        async with rtms_cli.join(**arguments):
            raise AssertionError("it has begun")
    assert [one for one in asyncio.all_tasks() if one.get_name() == "rtms"] == []


async def test_it_can_be_entered_once() -> None:
    async with announced(0.2) as (live,):
        joining = rtms_cli.join(live.webhook("started"), **CREDENTIALS)
        async with joining as stream:
            await stream.done()
        with pytest.raises(RuntimeError, match="used before"):
            async with joining:
                pass


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_any_loop_will_do_and_the_process_stays_as_it_was(
    run: Callable[[Any], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    def process() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        limits = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
        return *handlers, *limits, logging.getLogger().handlers.copy(), logging.lastResort

    async def use() -> None:
        async with announced(1) as (live,):
            inside = process()
            async with rtms_cli.join(live.webhook("started"), **CREDENTIALS) as stream:
                assert process() == inside
                assert of(Audio, [item async for item in stream])
        await refused()

    before = process()
    run(use())
    assert process() == before
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_in_a_program_finishes_the_files(tmp_path: Path) -> None:
    async def use() -> None:
        async with announced(LONG_S) as (live,):
            async with rtms_cli.join(live.webhook("started"), record=tmp_path, **CREDENTIALS) as stream:
                async for item in stream:
                    if isinstance(item, Audio):
                        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(use())
    (folder,) = tmp_path.iterdir()
    assert Recording(folder).status == "complete"
