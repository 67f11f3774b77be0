"""What is left of streams that have ended: nothing that only the garbage collector would find."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import make_station
from processes import until

from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.files import Files
from rtms_cli.recording.ledger import Ledger
from rtms_cli.recording.placing import Placer
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.track import Track
from rtms_cli.recording.writer import Sink, Writer
from rtms_cli.session.session import Session
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.wire.driver import Driver

OURS = (Recorder, Placer, Ledger, Track, Sink, Files, Session, Driver)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    """What there is; the simulator has drivers too, but other sessions."""
    found = (thing for thing in gc.get_objects() if issubclass(type(thing), OURS))
    return Counter(
        type(thing).__name__
        for thing in found
        if not isinstance(thing, Driver) or isinstance(getattr(thing, "_machine", None), Session)
    )


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ((), "complete"),
        ((FaultAt(100, Fault.STOP, 13),), "interrupted"),
        ((FaultAt(100, Fault.DROP_MEDIA),), "complete"),
    ],
    ids=["whole", "stopped by a failure", "media lost once"],
)
@pytest.mark.usefixtures("no_collector")
async def test_streams_that_have_ended_leave_nothing(fault: tuple[FaultAt, ...], status: str, tmp_path: Path) -> None:
    app, writer = App("client", "secret", "token"), Writer()
    before = alive()
    station = make_station(
        tmp_path, writer, MediaRequest(parse_media("audio,transcript")), trusted=True, sign=app.sign_stream
    )
    async with Simulator(app) as simulator, asyncio.timeout(40):
        for _ in range(3):
            stream = simulator.announce(Product.MEETING, Scenario(0.4, faults=fault))
            body = stream.webhook("started")
            station.take(body, read_webhook(body))
            await stream.done()
            await station.idle()
            assert station.outcomes[-1].finish.status == status
        if status == "complete":
            await until(lambda: not alive() - before)  # sockets take a moment to close
    await writer.close()
    if status == "complete":
        assert alive() - before == Counter()
    else:  # these may go on: each has one recorder, and no driver
        kept = alive() - before
        assert (kept["Recorder"], kept["Session"], kept["Driver"]) == (3, 3, 0)
