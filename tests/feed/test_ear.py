"""Listening in: what is heard is what the WAV file gets, from whenever on, and nobody else is held up."""

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feed.following import follow, hear, place_in
from web.watching import recorder
from websockets.asyncio.client import ClientConnection

from rtms_cli.feed.ear import MOST_NBYTES, _Listener
from rtms_cli.live.framing import HEADER, Message
from rtms_cli.live.pieces import AUDIO, Piece
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.scenario import Scenario


async def heard_of(sound: ClientConnection, seconds: float) -> tuple[int, Any]:
    """The first sample's time on Zoom's clock, in ms, and the samples."""
    parts: list[bytes] = []
    first_ms = 0
    while sum(map(len, parts)) < seconds * 48_000:
        message = await sound.recv()
        if isinstance(message, bytes):
            *_, timestamp_ms = HEADER.unpack_from(message)
            first_ms = first_ms or timestamp_ms
            parts.append(message[HEADER.size :])
    return first_ms, np.frombuffer(b"".join(parts), "<i2")


@pytest.mark.timeout(120)
async def test_two_who_come_and_go_hear_what_is_recorded(tmp_path: Path) -> None:
    async with recorder(tmp_path, "--media", "audio", web=False) as here:
        place = await place_in(Path(here.settings["RTMS_RUNTIME_DIR"]))
        async with follow(place) as client:
            stream = await here.begin(Scenario(12))
            await client.picture(lambda one: one["streams"] and one["streams"][0]["messages"].get("audio", 0) > 50)
            spans: list[tuple[int, Any]] = []
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
    for first_ms, samples in spans:
        begins = round((first_ms - manifest.origin_ms - track.offset * 1000) * rate / 1000)
        end = begins + round(len(samples) * rate / 24_000)
        expected = recorded[max(0, begins) : end].astype(float)
        found = np.interp(np.linspace(0, 1, len(expected)), np.linspace(0, 1, len(samples)), samples.astype(float))
        assert np.abs(expected).max() > 1_000, "someone speaks"
        assert np.corrcoef(expected, found)[0, 1] > 0.9


async def test_a_slow_listener_misses_the_oldest_and_is_told() -> None:
    listener = _Listener()
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
