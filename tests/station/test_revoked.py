"""A stream that Zoom revokes when it has ended already."""

import asyncio
import json
from pathlib import Path

import pytest
from harness import Silent, make_station

from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_stop_webhook_with_reason_8_deletes_what_has_ended(trusted: bool, tmp_path: Path) -> None:
    app, writer, observer = App("client", "secret", "token"), Writer(), Silent()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path, writer, request, trusted=trusted, observer=observer, sign=app.sign_stream)
    async with Simulator(app) as simulator, asyncio.timeout(20):
        stream = simulator.announce(Product.MEETING, Scenario(0.5))
        for moment in ("started", "stopped"):
            body = stream.webhook(moment)
            station.take(body, read_webhook(body))
            if moment == "started":
                await stream.done()
        await station.idle()
        (folder,) = await asyncio.to_thread(lambda: list(tmp_path.iterdir()))
        assert Manifest.read(folder).status == "complete"
        body = stream.webhook("stopped")
        told = json.loads(body)
        place = told["payload"].get("object", told["payload"])
        place["stop_reason"] = 8
        body = json.dumps(told).encode()
        station.take(body, read_webhook(body))
        await station.idle()
    await writer.close()
    manifest = Manifest.read(folder)
    if trusted:
        assert [path.name for path in folder.iterdir()] == ["manifest.json"]
        assert manifest.status == "revoked"
        assert f"{folder} was deleted" in observer.notices[-1]
    else:
        assert manifest.status == "complete"
        assert (folder / "audio/mixed.wav").exists()
