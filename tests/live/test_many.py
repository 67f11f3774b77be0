"""Many streams with taps, one of them dead: nothing is lost on the disk, and every keep-alive is answered."""

import os
from pathlib import Path

from harness import Silent

from rtms_cli.live.opening import Output, Taps
from rtms_cli.live.spec import read_tap
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.audio import HEADER_SIZE
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.running import running_station
from rtms_cli.wire.hosts import HostPolicy

STREAMS = 20


async def test_streams_with_two_taps_each_and_one_that_is_dead(tmp_path: Path) -> None:
    app, observer = App("client", "secret", "token"), Silent()
    request = MediaRequest(parse_media("audio,transcript"))
    texts = [f"audio,hold=10s:file:{tmp_path}/{{stream}}.pcm", "audio,hold=10s:exec:cat", "audio:exec:false"]
    taps = Taps([read_tap(text) for text in texts], request, lambda *_: None, Output(2))
    with (tmp_path / "cats").open("wb") as cats:
        taps._output = Output(cats.fileno())
        async with (
            Simulator(app) as simulator,
            running_station(
                out=tmp_path / "recordings",
                request=request,
                sign=app.sign_stream,
                policy=HostPolicy(),
                trusted=True,
                observers=[observer],
                listeners=[
                    lambda stream, folder: taps.open(taps._taps[0], stream, folder),
                    lambda stream, folder: taps.open(
                        taps._taps[2 if len(observer.started) == 3 else 1], stream, folder
                    ),
                ],
            ) as station,
        ):
            streams = [simulator.announce(Product.MEETING, Scenario(4)) for _ in range(STREAMS)]
            for stream in streams:
                body = stream.webhook("started")
                station.take(body, read_webhook(body))
            for stream in streams:
                await stream.done()
            await station.idle()
            reports = [stream.report() for stream in streams]
            outcomes = list(station.outcomes)
    assert [report.findings for report in reports] == [()] * STREAMS
    assert len(outcomes) == STREAMS
    dead_ones = 0
    for outcome in outcomes:
        assert outcome.folder is not None
        manifest = Manifest.read(outcome.folder)
        assert (manifest.status, manifest.losses) == ("complete", [])
        samples = (outcome.folder / "audio/mixed.wav").read_bytes()[HEADER_SIZE:]
        file, process = manifest.taps
        assert file.bytes == len(samples) >= 4 * 32_000 - 640
        assert file.drops == 0
        if process.target == "exec:false":
            dead_ones += 1
            assert (process.exit_code, process.drops > 0) == (1, True)
        else:
            assert (process.bytes, process.drops, process.exit_code) == (len(samples), 0, 0)
        for keep_alive in manifest.keep_alive.values():
            assert keep_alive.answered == keep_alive.received
    assert dead_ones == 1
    assert sum(name.endswith(".pcm") for name in os.listdir(tmp_path)) == STREAMS  # noqa: PTH208
