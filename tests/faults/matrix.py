"""Some faults over real sockets, real disks and threads; `simulation.matrix` has all of them on a virtual clock.

Both ends live `SPEED` times as fast as the world, so that a minute's wait takes seconds. How fast anything is answered,
and how much is under way when a connection breaks, depends on the machine here: the virtual clock has the bounds.
"""

import asyncio
import errno
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import Silent, read_wav
from msgspec import Struct

from rtms_cli.capture import Header
from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType, Product
from rtms_cli.recording.files import Files
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, Simulator
from rtms_cli.station.station import Station, recorder_in
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.listener import Listener

SPEED = 8
IN_FLIGHT = 9_999
"""Packets that may be under way when a connection breaks; whatever is missing has to be a gap that is listed."""
RATE, PACKET = 16_000, 320


class Case(Struct, frozen=True):
    """One fault, and what has to become of the recording."""

    name: str
    strikes: tuple[FaultAt, ...] = ()
    deviations: frozenset[Deviation] = frozenset()
    seconds: float = 20
    media: str = "audio,transcript"
    scopes: MediaType = EVERY_MEDIA
    split: bool = False
    status: str = "complete"
    trusted: bool = True
    """Whether the listener has the secret token."""
    files: type[Files] = Files
    max_buffer: int = 256 << 20
    unkept: int = 0
    """Audio packets that reach us spoilt, or that the disk refuses: they are counted in `losses`."""
    untaken: range = range(1)
    """How many audio packets may be due while nobody is there to take them."""
    in_flight: int = 0
    """How many may be under way when a connection breaks."""
    rebuilds: int = 0
    """How often the signaling socket is opened again."""
    sound: bool = True
    """Whether there is any sound to look at."""

    def pushes_back(self, channel: str) -> bool:
        """Whether keep-alives of a channel wait behind media that is not read, some until the stream has ended."""
        return self.max_buffer <= 4 << 20 and channel != "signaling"


class Result(Struct, frozen=True):
    """What became of it."""

    sent: int
    untaken: int
    kept: int
    missing_ms: float
    status: str
    wrong: tuple[str, ...]
    """What is not as it has to be; empty is the verdict `good`."""


class FullFiles(Files):
    """A disk without room for sound at its third and fourth write."""

    writes = 0

    def write_at(self, name: str, parts: list[tuple[int, bytes]]) -> None:
        self.writes += 1
        if 3 <= self.writes < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_at(name, parts)


class StallingFiles(Files):
    """A disk that does nothing for 20 s of the session's time, once."""

    stalled = False

    def append(self, name: str, data: bytes) -> int:
        place = super().append(name, data)
        if name == "capture.jsonl" and not self.stalled and (self.folder / "audio/mixed.wav").exists():
            self.stalled = True
            threading.Event().wait(20 / SPEED)
        return place


def at(seconds: float, fault: Fault, number: int = 0, times: int = 1) -> FaultAt:
    return FaultAt(round(seconds * 1000), fault, number, times)


CASES = (
    Case("nothing goes wrong"),
    Case("one socket a kind", split=True, media="all"),
    Case("signaling breaks", (at(5, Fault.DROP_SIGNALING),), rebuilds=1, in_flight=IN_FLIGHT),
    Case("media breaks, split", (at(5, Fault.DROP_MEDIA),), split=True, in_flight=IN_FLIGHT),
    Case("media is closed with 1001", (at(5, Fault.CLOSE_MEDIA, 1001),)),
    Case("server failover to another port", (at(5, Fault.FAILOVER, 1),), rebuilds=1, in_flight=IN_FLIGHT),
    Case("event 7 and a broken socket", (at(5, Fault.EVENT_7), at(5.02, Fault.DROP_MEDIA)), in_flight=IN_FLIGHT),
    Case("interrupted webhook", (at(5, Fault.WEBHOOK_INTERRUPTED),), rebuilds=1),
    Case("wrong signature", (at(-1, Fault.REFUSE_SIGNALING, 3),), status="failed", sound=False),
    Case(
        "only a webhook reports the stop",
        (at(10, Fault.STOP_WEBHOOK_ONLY, 6),),
        untaken=range(500),
        in_flight=IN_FLIGHT,  # the server's sockets break with what they had not sent
    ),
    Case("revoked, by a verified webhook", (at(10, Fault.STOP_WEBHOOK_ONLY, 8),), status="revoked", sound=False),
    Case("disk full for a while", files=FullFiles, unkept=-1),
    Case("disk stalls for 20 s", files=StallingFiles, seconds=30),
    Case("disk stalls, and only 4 MiB may wait", files=StallingFiles, seconds=30, max_buffer=4 << 20, media="all"),
)


async def play(case: Case, out: Path) -> Result:
    """Record a simulated meeting in which the case's fault strikes, and look at what was kept."""
    app = App("client", "secret", "token", case.scopes)
    writer = Writer(case.max_buffer)
    make = recorder_in(out)

    def make_recorder(header: Header) -> Recorder:
        plain = make(header)
        return Recorder(plain.folder, header, files=case.files(plain.folder))

    station = Station(
        make_recorder=make_recorder,
        request=MediaRequest(parse_media(case.media), split=case.split),
        sign=app.sign_stream,
        dial=Dialer(HostPolicy()),
        writer=writer,
        observers=[Silent()],
        trusted=case.trusted,
        make_clock=lambda: Clock(SPEED),
    )
    token = app.secret_token if case.trusted else None
    listener = Listener("127.0.0.1", 0, "/webhook", token, station.take, station.health)
    url = f"http://127.0.0.1:{await listener.start()}/webhook"
    scenario = Scenario(case.seconds, faults=case.strikes, deviations=case.deviations)
    async with Simulator(app, speed=SPEED, client_in_real_time=False, webhook=url) as simulator:
        stream = simulator.announce(Product.MEETING, scenario)
        await simulator.post(url, stream, "started")
        if case.status == "failed":
            await station.idle()
            simulator.end()
        reason = await stream.done()
        if not any(strike.kind is Fault.STOP_WEBHOOK_ONLY for strike in case.strikes):
            await simulator.post(url, stream, "stopped", reason)
        await station.idle()
    await writer.close()
    await listener.stop()
    report = stream.report()
    folders = await asyncio.to_thread(lambda: list(out.iterdir()))
    if case.status == "failed":  # a recording begins when the server accepts the handshake
        wrong = () if not folders and station.outcomes[-1].finish.status == "failed" else (f"{folders} were recorded",)
        return Result(0, 0, 0, 0.0, "failed", wrong)
    assert len(folders) == 1, f"{len(folders)} recordings of one stream"
    manifest = Manifest.read(folders[0])
    sent = report.sent.get("MEDIA_DATA_AUDIO", 0)
    untaken = report.untaken.get("MEDIA_DATA_AUDIO", 0)
    kept = sum(track.packets for track in manifest.tracks if track.kind == "audio")
    found = list(look(case, manifest))
    findings = report.findings if case.status == "complete" else ()
    for finding in findings:
        waits = case.pushes_back(finding.channel) and finding.what.endswith("keep-alives were not answered")
        if "no client connected" not in finding.what and not waits:
            found.append(f"the server found: {finding.what}")
    missing_ms = 0.0
    if case.sound:
        missing_ms, faults = compare(folders[0], manifest)
        found += faults
        if case.unkept >= 0 and not 0 <= sent - kept - case.unkept <= case.in_flight:
            found.append(f"{sent} audio packets were sent, {kept} kept")
        if untaken not in case.untaken:
            found.append(f"{untaken} audio packets found nobody")
    elif kept:
        found.append(f"{kept} audio packets, where there should be none")
    return Result(sent, untaken, kept, missing_ms, manifest.status, tuple(found))


def look(case: Case, manifest: Manifest) -> Sequence[str]:
    """What of the manifest is not as it has to be."""
    wrong = []
    if manifest.status != case.status:
        wrong.append(f"status {manifest.status}, not {case.status}: {manifest.stop}")
    opened = [one for one in manifest.connections if one.channel == "signaling"]
    if case.rebuilds >= 0 and len(opened) - 1 != case.rebuilds:
        wrong.append(f"signaling was opened {len(opened)} times")
    spoilt = {Fault.BAD_BASE64, Fault.BAD_JSON, Fault.BAD_UTF8, Fault.ODD_AUDIO}
    expects_losses = case.unkept or any(strike.kind in spoilt for strike in case.strikes)
    if bool(manifest.losses) != bool(expects_losses):
        wrong.append(f"losses {[(loss.what, loss.where, loss.count) for loss in manifest.losses]}")
    if case.status == "revoked" and manifest.tracks:
        wrong.append("a revoked recording has tracks")
    return wrong


def compare(folder: Path, manifest: Manifest) -> tuple[float, list[str]]:
    """Hold the sound against what was made: each sample is right, or it is silence inside a gap that is listed.

    :returns: how many ms are missing, and what is wrong.
    """
    (track,) = [track for track in manifest.tracks if track.kind == "audio"]
    rate, samples = read_wav(folder / track.path)
    assert rate == RATE
    made = mixed(len(PEOPLE), 0, len(samples), RATE)
    in_gap = np.zeros(len(samples), bool)
    for start, end in track.gaps:
        in_gap[round(start * RATE) : round(end * RATE)] = True
    wrong = []
    right = samples == made
    if any(loss.where == track.path for loss in manifest.losses):
        right |= samples == 0  # what the disk refused
    if not right[~in_gap].all():
        wrong.append(f"{np.count_nonzero(~right[~in_gap])} samples differ from what was sent")
    if samples[in_gap].any():
        wrong.append("a gap is not silent")
    return np.count_nonzero(in_gap) * 1000 / RATE, wrong
