"""Feeds taps without a network: a recorder that keeps nothing, frames, and a clock that the test turns."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from frames import HEADER, ZERO_MS, audio, granted, state

from rtms_cli.live.opening import Output, Taps
from rtms_cli.live.spec import read_tap
from rtms_cli.live.tap import Tap
from rtms_cli.machine import Frame, State
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.recording.files import NoFiles
from rtms_cli.recording.manifest import TapEntry
from rtms_cli.recording.recorder import Recorder
from rtms_cli.station.listening import Listeners

STREAM = Stream(Product.MEETING, HEADER.id, HEADER.rtms_stream_id, "wss://127.0.0.1:1")
PACKET = 640


def sound(number: int) -> bytes:
    """20 ms that no other packet has, and without silence."""
    return (np.arange(number * 320, number * 320 + 320) % 30_000 + 1).astype("<i2").tobytes()


class Tapped:
    """A session with taps, as it goes on."""

    def __init__(self, *texts: str, folder: Path | None = None, request: MediaRequest | None = None) -> None:
        self.told: list[tuple[Mapping[str, object], str]] = []
        self.shown: list[str] = []
        specs = [read_tap(text) for text in texts]
        request = request or MediaRequest(parse_media("all"))
        self._taps = Taps(specs, request, lambda fields, text: self.told.append((fields, text)), Output(2))
        self.taps: list[Tap] = [opener(STREAM, folder) for opener in self._taps.openers()]
        files = NoFiles()
        self.recorder = Recorder(files.folder, HEADER, files=files)
        self.defects: list[Exception] = []
        self.listeners = Listeners(self.taps, self.defects.append)
        self.recorder.listen(self.listeners)
        self.recorder.fold([state(State.OPEN), granted()])

    async def come(self, frames: Sequence[Frame]) -> None:
        """Let frames come, and give the targets a turn."""
        self.recorder.fold(frames)
        await self.turn(frames[-1].at_us)

    async def turn(self, at_us: int) -> None:
        """Let time pass."""
        self.recorder.turn(at_us)
        await asyncio.sleep(0)

    async def speak(self, first: int, count: int, **fields: object) -> bytes:
        """Packets, each when it is due; returns their samples."""
        for number in range(first, first + count):
            at_us = (number + 1) * 20_000
            await self.come([audio(sound(number), ZERO_MS + number * 20, at_us=at_us, **fields)])
        return b"".join(sound(number) for number in range(first, first + count))

    async def close(self) -> list[TapEntry]:
        """End the session; returns what the manifest says of the taps."""
        self.recorder.close()
        await self.listeners.close()
        assert self.defects == []
        return self.recorder.manifest().taps
