"""A stream that is announced again at the moment when its last session ends."""

import asyncio
import shutil
from pathlib import Path

import pytest
from harness import Silent, make_station

from rtms_cli.machine import Frame
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.messages import Signature, StreamStateUpdate
from rtms_cli.protocol.numbers import Product, StreamState
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator


class AtTheEnd(Silent):
    """Notes when the server says the end."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = asyncio.Event()

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        super().on_frame(stream_id, frame)
        if isinstance(frame.message, StreamStateUpdate) and frame.message.state == StreamState.TERMINATED:
            self.ends.set()


@pytest.mark.parametrize(("reason", "folders"), [(13, 1), (6, 2)])
async def test_a_stream_that_is_announced_again_while_it_ends(reason: int, folders: int, tmp_path: Path) -> None:
    """What was stopped by a failure goes on in its folder; what was stopped otherwise is another recording."""
    app, writer, observer = App("client", "secret", "token"), Writer(), AtTheEnd()
    request = MediaRequest(parse_media("audio"))
    station = make_station(tmp_path, writer, request, trusted=True, observer=observer, sign=app.sign_stream)
    async with Simulator(app) as simulator, asyncio.timeout(20):
        first = simulator.announce(Product.MEETING, Scenario(30, faults=(FaultAt(500, Fault.STOP, reason),)))
        body = first.webhook("started")
        station.take(body, read_webhook(body))
        await observer.ends.wait()
        second = simulator.announce(Product.MEETING, Scenario(1), again=first)
        body = second.webhook("started")
        station.take(body, read_webhook(body))
        await second.done()
        await station.idle()
    await writer.close()
    made = await asyncio.to_thread(lambda: sorted(tmp_path.iterdir()))
    assert len(made) == folders
    assert [Manifest.read(folder).status for folder in made] == ["complete"] * folders
    assert [finish.status for finish in observer.finished][-1] == "complete"
    assert len(observer.started) == 2


@pytest.mark.parametrize(("gone", "status"), [(False, "interrupted"), (True, "failed")])
async def test_what_cannot_go_on_begins_from_nothing(gone: bool, status: str, tmp_path: Path) -> None:
    """A refusal is a failure of a new recording; of one that goes on it is an interruption: something is there."""
    app, writer, observer = App("client", "secret", "token"), Writer(), Silent()

    def sign(stream: Stream) -> Signature:
        return app.sign_stream(stream) if not observer.finished else Signature("0" * 64)

    station = make_station(
        tmp_path,
        writer,
        MediaRequest(parse_media("audio")),
        observer=observer,
        sign=sign,
    )
    async with Simulator(app) as simulator, asyncio.timeout(30):
        stream = simulator.announce(Product.MEETING, Scenario(2, faults=(FaultAt(300, Fault.STOP, 19),)))
        for _ in range(2):
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            if not observer.finished:
                await stream.done()
            await station.idle()
            if gone:
                for folder in await asyncio.to_thread(lambda: list(tmp_path.iterdir())):
                    await asyncio.to_thread(shutil.rmtree, folder)
            stream = simulator.announce(Product.MEETING, Scenario(1), again=stream)
        simulator.end()
    await writer.close()
    assert [finish.status for finish in observer.finished] == ["interrupted", status]
