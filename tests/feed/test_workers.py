"""Streams that worker processes record: they are shown with their worker, and can be heard."""

import json
from pathlib import Path

import numpy as np
import pytest
from feed.following import follow, hear, place_in
from web.watching import recorder

from rtms_cli.live.framing import HEADER
from rtms_cli.simulator.scenario import Scenario


@pytest.mark.timeout(120)
async def test_workers_are_shown_and_their_streams_are_heard(tmp_path: Path) -> None:
    async with recorder(tmp_path, "--workers", "2", "--media", "audio", web=False) as here:
        place = await place_in(Path(here.settings["RTMS_RUNTIME_DIR"]))
        async with follow(place) as client:
            for number in (1, 2):
                await here.begin(Scenario(60), number=number)
            picture = await client.picture(lambda one: len(one["streams"]) == 2)
            assert {row["worker"] for row in picture["streams"]} == {1, 2}
            assert [worker["name"] for worker in picture["workers"]] == ["worker 1", "worker 2"]
            for row in picture["streams"]:
                async with hear(place, row["stream_id"]) as sound:
                    start = json.loads(await sound.recv())
                    assert start["format"] == {"encoding": "s16le", "rate": 24_000, "channels": 1}
                    heard = np.zeros(0, "<i2")
                    while not np.abs(heard).max(initial=0) > 1_000:
                        message = await sound.recv()
                        assert isinstance(message, bytes)
                        heard = np.frombuffer(message[HEADER.size :], "<i2")
            assert await client.until(lambda one: one["type"] == "picture")
