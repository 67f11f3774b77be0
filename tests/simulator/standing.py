"""Plays scenarios to our own recorder over loopback sockets, many times as fast as the world."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from harness import Silent
from msgspec import Struct

from rtms_cli.protocol.media import DEFAULT_PARAMS, AudioParams, MediaParams, MediaRequest, parse_media
from rtms_cli.protocol.numbers import Product
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.simulator.zoom import Report
from rtms_cli.station.station import Station, recorder_in
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.listener import Listener


class Played(Struct, frozen=True):
    """What became of a stream, on both sides."""

    report: Report
    manifest: Manifest
    folder: Path

    def opened(self, channel: str = "signaling") -> int:
        """How often a channel was opened."""
        return len([one for one in self.manifest.connections if one.channel == channel])

    def count(self, kind: str) -> tuple[int, int]:
        """Packets of a kind: sent, and kept."""
        sent = self.report.sent.get(f"MEDIA_DATA_{kind.upper()}", 0)
        return sent, sum(track.packets for track in self.manifest.tracks if track.kind == kind)

    def lost(self, kind: str) -> int:
        """How many packets of a kind found nobody to take them."""
        return self.report.untaken.get(f"MEDIA_DATA_{kind.upper()}", 0)

    def silence_s(self) -> float:
        """How much sound is missing."""
        return sum(end - start for track in self.manifest.tracks for start, end in track.gaps)


async def record(
    scenarios: Sequence[Scenario], out: Path, media: str = "all", speed: float = 20, send_rate: int = 20
) -> Sequence[Played]:
    """Record every scenario as a stream of its own, all at once; in the order of the scenarios."""
    app = App("client", "secret", "token")
    writer = Writer()
    params = MediaParams(audio=AudioParams(send_rate=send_rate)).or_else(DEFAULT_PARAMS)
    station = Station(
        make_recorder=recorder_in(out),
        request=MediaRequest(parse_media(media), params),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        observers=[Silent()],
        trusted=True,
        make_clock=lambda: Clock(speed),
    )
    listener = Listener("127.0.0.1", 0, "/webhook", app.secret_token, station.take, station.health)
    url = f"http://127.0.0.1:{await listener.start()}/webhook"
    async with Simulator(app, speed=speed, client_in_real_time=False, webhook=url) as simulator:
        streams = [simulator.announce(Product.MEETING, scenario, number) for number, scenario in enumerate(scenarios)]
        await asyncio.gather(*(simulator.invite(stream) for stream in streams))
        for stream in streams:
            reason = await stream.done()
            if not stream.end_was_told:
                await simulator.post(url, stream, "stopped", reason)
        await station.idle()
    await writer.close()
    await listener.stop()
    folders = await asyncio.to_thread(
        lambda: {Manifest.read(folder).rtms_stream_id: folder for folder in out.iterdir()}
    )
    assert len(folders) == len(streams)
    return [
        Played(stream.report(), Manifest.read(folders[stream.stream_id]), folders[stream.stream_id])
        for stream in streams
    ]
