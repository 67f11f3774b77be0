"""Listening in: what is heard is what the WAV file gets, from whenever on, and nobody else is held up."""

import asyncio
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feed.following import follow, hear, place_in
from web.watching import recorder
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from rtms_cli.feed.ear import MOST_NBYTES, Listener
from rtms_cli.live.framing import HEADER, Message
from rtms_cli.live.pieces import AUDIO, Piece
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.scenario import Scenario


async def heard_of(sound: ClientConnection, seconds: float) -> list[tuple[int, Any]]:
    """Some seconds of it: each message's time on Zoom's clock, in ms, and its samples."""
    found: list[tuple[int, Any]] = []
    while sum(len(samples) for _, samples in found) < seconds * 24_000:
        message = await sound.recv()
        if isinstance(message, bytes):
            *_, timestamp_ms = HEADER.unpack_from(message)
            found.append((timestamp_ms, np.frombuffer(message, "<i2", offset=HEADER.size)))
    return found


def likeness(heard: Any, recorded: Any, at: int, rate: int) -> float:
    """How well what was heard, at 24 kHz, agrees with a recording from a sample on, give or take the 2 ms that a
    timestamp and the conversion may be off."""
    count = round(len(heard) * rate / 24_000)
    wanted = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(heard)), heard.astype(float))
    found = 0.0
    for begin in range(max(0, at - 2 * rate // 1000), at + 2 * rate // 1000):
        part = recorded[begin : begin + count].astype(float)
        if len(part) == count and part.std() > 0 and wanted.std() > 0:
            found = max(found, float(np.corrcoef(part, wanted)[0, 1]))
    return found


@asynccontextmanager
async def streaming(folder: Path, kind: str, seconds: int, most: int = 0) -> AsyncIterator[Any]:
    """A recorder, its stream with more than so many messages of a kind, a client of the feed, and where that is."""
    async with recorder(folder, "--media", kind, web=False) as here:
        place = await place_in(Path(here.settings["RTMS_RUNTIME_DIR"]))
        async with follow(place) as client:
            stream = await here.begin(Scenario(seconds))
            await client.picture(lambda one: one["streams"] and one["streams"][0]["messages"].get(kind, 0) > most)
            yield here, stream, client, place


@pytest.mark.timeout(120)
async def test_two_who_come_and_go_hear_what_is_recorded(tmp_path: Path) -> None:
    async with streaming(tmp_path, "audio", 12, 50) as (here, stream, client, place):
        spans: list[list[tuple[int, Any]]] = []
        for _ in range(2):  # a listener of before leaves nothing behind
            async with hear(place, stream.stream_id) as one, hear(place, stream.stream_id) as two:
                assert json.loads(await one.recv())["type"] == "start"
                spans += await asyncio.gather(heard_of(one, 1.5), heard_of(two, 1.5))
        await client.event("finished")
    (folder,) = (path for path in here.out.iterdir() if path.is_dir())
    manifest = Manifest.read(folder)
    assert manifest.taps in (None, []), "a guest is not mentioned"
    (track,) = (one for one in manifest.tracks if one.kind == "audio")
    with wave.open(str(folder / track.path)) as file:
        rate, recorded = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert manifest.origin_ms is not None
    assert track.offset is not None
    for span in spans:
        spoken = [(at_ms, samples) for at_ms, samples in span if np.abs(samples).max() > 1_000]
        starts = [round((at_ms - manifest.origin_ms - track.offset * 1000) * rate / 1000) for at_ms, _ in spoken]
        alike = [likeness(samples, recorded, at, rate) for at, (_, samples) in zip(starts, spoken, strict=True)]
        # On a busy machine some come too late for who listens, and are silence.
        assert np.median(alike) > 0.9


@pytest.mark.timeout(120)
async def test_a_stream_in_which_nobody_is_heard_ends_for_who_listens(tmp_path: Path) -> None:
    async with streaming(tmp_path, "transcript", 600) as (here, stream, _, place):
        async with hear(place, stream.stream_id) as sound, hear(place, "another") as other:
            with pytest.raises(ConnectionClosed) as refused:
                await other.recv()
            assert refused.value.rcvd is not None
            assert (refused.value.rcvd.code, refused.value.rcvd.reason) == (1013, "this stream does not run here")
            here.simulator.end()
            assert [message async for message in sound] == ['{"type":"stop"}']
            assert sound.close_code == 1000


async def test_a_slow_listener_misses_the_oldest_and_is_told() -> None:
    listener = Listener()
    piece = Piece(AUDIO, bytes(4_800), timestamp_ms=1_000, seconds=0.1)
    listener.put([Message(b'{"type":"start"}', is_text=True)])
    for number in range(100):
        at_ms = 1_000 + 100 * number
        listener.put([Message(bytes(4_816), False, Piece(AUDIO, piece.data, None, None, at_ms, 0.1))])
    listener.finish()
    messages = [message async for message in listener.messages()]
    assert messages[0] == '{"type":"start"}'
    gap = json.loads(messages[1])
    kept = [message for message in messages if isinstance(message, bytes)]
    assert sum(map(len, kept)) <= MOST_NBYTES
    assert (gap["type"], gap["from_ms"], gap["count"]) == ("gap", 1_000, 100 - len(kept))
    assert gap["to_ms"] == 1_000 + 100 * gap["count"]
    assert json.loads(messages[-1])["type"] == "stop"
