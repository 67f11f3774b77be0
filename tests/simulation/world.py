"""Runs a plan: Zoom on one side, the real station, session, driver and recorder on the other, a network between."""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct
from simulation.disk import MemoryFiles, SimSink, SimWriter
from simulation.listening import Ear, Guest
from simulation.loop import StuckError, VirtualClock, VirtualLoop
from simulation.network import Link, Network, SimSocket
from simulation.plan import (
    FullHit,
    Hit,
    KillHit,
    LateHit,
    NetworkHit,
    Plan,
    StallHit,
    StopHit,
    WebhookHit,
)
from simulation.server import Served, ZoomSide, failure

from rtms_cli.capture import Header
from rtms_cli.machine import ChannelState, Direction, Finish, Frame, Item, Packets, State, frames_of
from rtms_cli.protocol.webhooks import Stream, read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.recorder import Recorder, RecorderSnapshot
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.station.station import Station

START_MS = 100
"""When the stream is announced."""
LIMIT_S = 3_000.0
SETTLE_S = 300.0
"""After the last stream's end: a session that still runs then is stuck."""


class Entry(Struct, frozen=True):
    """A frame that was put, and what the recorder cannot know of it."""

    frame: Frame
    link: int
    """Number of the connection that a frame came in on; 0 for others."""
    told: bool
    """Whether the machine heard of it: its socket was not closed by the machine."""


class Recording:
    """One folder, and what was put into it."""

    def __init__(self, files: MemoryFiles, header: Header, recorder: Recorder, began_ms: int) -> None:
        self.files = files
        self.header = header
        self.recorder = recorder
        self.began_ms = began_ms
        """Since the world began; its clock counts from here."""
        self.entries: list[Entry] = []
        self.was_killed = False
        self.ears: list[Ear] = []
        self.guests: list[Guest] = []
        self.finishes: list[Finish] = []


class LoggingSink(SimSink):
    """A sink that knows what the machine heard of."""

    def __init__(
        self, writer: "ProcessWriter", recorder: Recorder, recording: Recording, now_us: Callable[[], int] | None
    ) -> None:
        super().__init__(writer, recorder, now_us)
        self._process = writer.process
        self._recording = recording

    def put(self, item: Item) -> None:
        """See `Sink.put`."""
        if self._process.is_dead:
            return
        link, told = 0, True
        if (isinstance(item, Packets) or item.direction is Direction.IN) and self._process.arriving is not None:
            arriving = self._process.arriving
            link, told = arriving.number, not arriving.client.is_closing
        self._recording.entries.extend(Entry(frame, link, told) for frame in frames_of(item))
        super().put(item)


class ProcessWriter(SimWriter):
    """The writer of one process."""

    def __init__(self, process: "Process", dice: random.Random) -> None:
        super().__init__(dice)
        self.process = process

    def open(self, recorder: Recorder, now_us: Callable[[], int] | None = None) -> SimSink:
        """See `Writer.open`."""
        sink = LoggingSink(self, recorder, self.process.recording_of(recorder), now_us)
        self.sinks.append(sink)
        return sink


class Process:
    """One run of `rtms listen`: the real station."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self.is_dead = False
        self.is_stopping = False
        self.arriving: Link | None = None
        """On which connection the message came that is being handed over."""
        self.delivered: list[bytes] = []
        self.recordings: list[Recording] = []
        self.notices: list[str] = []
        self.writer = ProcessWriter(self, random.Random(f"{world.plan.seed} writer {number}"))
        plan = world.plan
        self.station = Station(
            make_recorder=self._make_recorder,
            request=plan.request,
            sign=lambda stream: world.zoom.signature(stream.id, stream.stream_id),
            dial=self._dial,
            writer=self.writer,
            observers=[self],
            trusted=plan.trusted,
            make_clock=self._make_clock,
            listeners=[self._listen],
        )

    def recording_of(self, recorder: Recorder) -> Recording:
        """The recording that a recorder makes."""
        return next(recording for recording in self.recordings if recording.recorder is recorder)

    def stop(self) -> None:
        """SIGTERM."""
        self.is_stopping = True
        self._world.spawn(self.station.stop("SIGTERM"))

    def kill(self, operations: int) -> None:
        """`kill -9`: what it still does, nobody sees.

        :param operations: how many operations on the disk its writer has done of what waited.
        """
        for recording in self.recordings:
            recording.was_killed = recording.recorder.snapshot().status == "recording" or bool(recording.entries)
            recording.files.operations_left = operations
        for sink in self.writer.sinks:
            sink.fold()
        for recording in self.recordings:
            recording.files.operations_left = 0
        self.is_dead = True
        self._world.spawn(self.station.stop("the simulation's end"))

    def _make_clock(self) -> VirtualClock:
        self._clock_began_ms = round(asyncio.get_running_loop().time() * 1000)
        return VirtualClock()

    async def _dial(self, url: str) -> SimSocket:
        if self.is_dead:
            raise ConnectionError("the process is dead")
        return await self._world.network.dial(url)

    def _make_recorder(self, header: Header) -> Recorder:
        folder = Path(f"/simulated/{len(self._world.recordings)}")
        files = self._world.make_files(folder)
        recorder = Recorder(folder, header, files=files, process="1@simulation")
        recording = Recording(files, header, recorder, self._clock_began_ms)
        self.recordings.append(recording)
        self._world.recordings.append(recording)
        return recorder

    def _listen(self, stream: Stream, folder: Path | None) -> Ear:
        assert folder is not None
        ear = Ear()
        recording = self._world.recordings[int(folder.name)]
        recording.ears.append(ear)
        self._world.spawn(self._visit(stream.stream_id, recording, ear))
        return ear

    async def _visit(self, stream_id: str, recording: Recording, host: Ear) -> None:
        """Let guests listen to a session, one behind the other, until it is over."""
        dice = random.Random(f"{self._world.plan.seed} guests {len(recording.ears)}")
        while not host.is_closed and not self.is_dead:
            await asyncio.sleep(dice.choice((0, 0.01, 1, 5)) * dice.random())
            run = self.station.run_of(stream_id)
            if recording.ears[-1] is not host:
                return  # another session goes on with the recording
            if run is None or run.sink is None or run.recorder is not recording.recorder or run.guest is not None:
                await asyncio.sleep(1)
                continue
            recording.guests.append(guest := Guest(host))
            run.invite(guest.come)
            since: int | None = None
            if dice.random() < 0.8:
                await asyncio.sleep(2)  # by now it was let in, unless the disk stands still
                since = len(host.calls) if not self.writer.full else None
            await asyncio.sleep(dice.choice((0, 0.1, 2, 30)) * dice.random())
            until = len(host.calls)
            await run.dismiss(guest)
            if not guest.is_gone:
                self._world.violations.append("a guest was not seen off")
            guest.was_here = None if since is None else (since, until)

    # The station's observer.

    def on_started(self, stream: Stream, folder: Path | None) -> None:
        """See `Observer`."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """See `Observer`."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """See `Observer`."""

    def on_finished(self, stream: Stream, folder: Path | None, finish: Finish, manifest: Manifest | None) -> None:
        """See `Observer`."""
        if not self.is_dead and folder is not None:
            self._world.recordings[int(folder.name)].finishes.append(finish)

    def on_notice(self, text: str) -> None:
        """See `Observer`."""
        self.notices.append(text)

    def on_event(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """See `Observer`."""


class World:
    """Everything that a plan needs. `play` it once.

    :param scenario: see `ZoomSide`.
    """

    def __init__(
        self, plan: Plan, make_files: Callable[[Path], MemoryFiles] = MemoryFiles, scenario: Scenario | None = None
    ) -> None:
        self.plan = plan
        self._scenario = scenario
        self.make_files = make_files
        self._dice = random.Random(f"{plan.seed} world")
        self.recordings: list[Recording] = []
        self.violations: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.first_body = b""
        self._late: list[LateHit] = []
        self.is_over = False
        """Whether it was played to its end."""

    async def play(self) -> None:
        """Play all of it."""
        plan = self.plan
        self.loop = asyncio.get_running_loop()
        self.network = Network(plan.seed, plan.slow, self._accept, self._on_delivered)
        self.zoom = ZoomSide(plan, self._post, self._scenario)
        self.processes = [Process(self, 1)]
        await asyncio.sleep(START_MS / 1000)
        stream = self.zoom.announce()
        self.first_body = stream.webhook("started")
        for number, hit in enumerate(plan.hits):
            self.loop.call_at(max(0.0, hit.at_ms / 1000), self._strike, number, hit)
        self.loop.call_later(plan.webhook_after_s, self._post, self.first_body)
        for again_after_s in (*plan.resumes_after_s, None):
            reason = await stream.running
            if plan.tells_end and not stream.end_was_told:
                self._post(stream.webhook("stopped", reason))
            if again_after_s is None or not failure(reason) or self.process.is_stopping:
                break
            await asyncio.sleep(again_after_s)
            stream = self.zoom.announce()
            self._post(stream.webhook("started"))
        await self._settle()

    @property
    def process(self) -> Process:
        """The newest run of ours."""
        return self.processes[-1]

    def spawn(self, work: object) -> None:
        """Run something beside."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self) -> None:
        """Wait until nothing runs any more."""
        await asyncio.sleep(1)
        for process in self.processes:
            try:
                async with asyncio.timeout(SETTLE_S):
                    await process.station.idle()
            except TimeoutError:
                self.violations.append(f"the session still runs {SETTLE_S:.0f} s after the stream's end")
                await process.station.stop("the simulation")
            self.violations += process.writer.defects if not process.is_dead else []
        self.zoom.end()
        for stream in self.zoom.streams:
            await stream.running
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.is_over = True

    def _accept(self, url: str, socket: SimSocket) -> None:
        self.zoom.accept(url, socket)

    def _on_delivered(self, link: Link, raw: bytes) -> None:
        process = self.process
        process.arriving = link
        process.delivered.append(raw)
        self.loop.call_soon(self._handed_over, process)

    def _handed_over(self, process: Process) -> None:
        process.arriving = None

    # Webhooks.

    def _post(self, body: bytes, *, forged: bool = False) -> None:
        """Have a webhook arrive, when and how often chance and the plan want."""
        delay = self._dice.uniform(0.01, 0.2)
        times = 1
        if self._late and not forged:
            late = self._late.pop(0)
            delay += late.seconds
            times += late.twice
        for number in range(times):
            self.loop.call_later(delay + 3 * number, self._take, body, forged)

    def _take(self, body: bytes, forged: bool) -> None:
        process = self.process
        if process.is_dead or (forged and self.plan.trusted):
            return  # nobody answers; or the listener refuses it
        process.arriving = None
        process.station.take(body, read_webhook(body))

    # Hits.

    def _strike(self, number: int, hit: Hit) -> None:
        dice = random.Random(f"{self.plan.seed} hit {hit}")
        stream = self.zoom.streams[-1]
        match hit:
            case NetworkHit():
                self.network.strike(hit.trouble, hit.kind, hit.times, dice)
            case WebhookHit():
                self._webhook(hit, stream)
            case StopHit():
                self.process.stop()
            case KillHit():
                if not self.process.is_dead:
                    self.process.kill(hit.operations)
                    self.network.cut()
                    if hit.again_after_s is not None:
                        self.loop.call_later(hit.again_after_s, self._start_again)
            case StallHit():
                self.process.writer.stall(hit.seconds)
            case FullHit():
                for recording in self.recordings:
                    recording.files.is_full = True
                self.loop.call_later(hit.seconds, self._have_room)
            case LateHit():
                self._late.append(hit)
            case _:
                pass  # the show's, or the simulator's

    def _webhook(self, hit: WebhookHit, stream: Served) -> None:
        match hit.what:
            case "again":
                self._post(stream.webhook("started"))
            case "old":
                self._post(self.first_body)
            case "old stop":
                self._post(stream.webhook("stopped", hit.number, event_ts=stream.event_ts - 1))
            case "old interrupted":
                self._post(stream.webhook("interrupted", event_ts=stream.event_ts - 1))
            case "interrupted":
                self._post(stream.webhook("interrupted"))
            case "forged stop":
                self._post(stream.webhook("stopped", hit.number), forged=True)
            case "forged revocation":
                self._post(stream.webhook("stopped", 8), forged=True)

    def _start_again(self) -> None:
        self.processes.append(Process(self, len(self.processes) + 1))
        self._post(self.zoom.streams[-1].webhook("started"))

    def _have_room(self) -> None:
        for recording in self.recordings:
            recording.files.is_full = False


def run(plan: Plan, make_files: Callable[[Path], MemoryFiles] = MemoryFiles, scenario: Scenario | None = None) -> World:
    """Play a plan on a clock of its own."""
    loop = VirtualLoop()
    world = World(plan, make_files, scenario)
    try:
        loop.run_until_complete(asyncio.wait_for(world.play(), LIMIT_S))
    except TimeoutError:
        world.violations.append(f"not over after {LIMIT_S:.0f} s")
    except StuckError:
        world.violations.append("stuck: nothing will ever happen again")
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    world.violations += loop.faults
    return world


def story(world: World) -> str:
    """What was put, line by line."""
    lines = []
    for number, recording in enumerate(world.recordings):
        lines.append(f"recording {number}")
        for entry in recording.entries:
            frame = entry.frame
            what = type(frame.message).__name__
            if isinstance(frame.message, ChannelState):
                state = frame.message
                what = f"{state.state} {state.code or ''} {state.reason} {state.status}{' ours' if state.ours else ''}"
                what += state.url if state.state is State.OPENING else ""
            elif what not in ("Audio", "Video", "Share"):
                what += " " + frame.raw.decode(errors="replace")[:150]
            told = "" if entry.told else " (not told)"
            lines.append(f"{frame.at_us / 1e6:10.3f} {frame.direction:5} {frame.channel:16} {what}{told}")
        lines += [f"finish {finish}" for finish in recording.finishes]
    return "\n".join(lines)
