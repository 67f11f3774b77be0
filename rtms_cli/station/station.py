"""Puts the parts together: one session, one driver and one recording for each stream.

The station is what `listen`, `join` and `demo` run. It lives on the event loop; whatever touches a disk happens on the
writer's thread or in another one.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from rtms_cli import __version__
from rtms_cli.capture import Header
from rtms_cli.errors import Exit, Problem
from rtms_cli.machine import WEBHOOK, Direction, Finish, Frame, FrameSink
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop, Webhook
from rtms_cli.recording.files import Files, folder_mode
from rtms_cli.recording.names import new_folder
from rtms_cli.recording.recorder import Recorder, RecorderSnapshot
from rtms_cli.recording.repair import this_process
from rtms_cli.recording.writer import Sink, Writer
from rtms_cli.session.session import Session
from rtms_cli.session.streams import Verdict, judge
from rtms_cli.station.metrics import Figures, Totals
from rtms_cli.station.snapshot import StreamView
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Dial, Driver

MOST_INTERRUPTED = 100
"""Interrupted recordings that a later webhook may continue; older ones stay as they are."""


class Outcome(Struct, frozen=True):
    """How one stream's session ended, and where its recording is."""

    stream: Stream
    folder: Path
    finish: Finish
    nothing_granted: bool
    snapshot: RecorderSnapshot

    @property
    def exit_code(self) -> Exit:
        """What a command that recorded this stream alone exits with."""
        if self.finish.status == "failed":
            return Exit.NOTHING_GRANTED if self.nothing_granted else Exit.REFUSED
        if self.finish.status == "interrupted":
            return Exit.INTERRUPTED
        return Exit.LOSSES if self.snapshot.losses else Exit.OK


class Observer(Protocol):
    """Who watches: the dashboard, plain lines, JSON lines. Called on the event loop; must be quick."""

    def on_started(self, stream: Stream, folder: Path) -> None:
        """A recording began, or goes on after an interruption."""

    def on_frame(self, stream_id: str, frame: Frame) -> None:
        """A frame that is no media packet."""

    def on_progress(self, snapshots: Mapping[str, RecorderSnapshot]) -> None:
        """How far every stream is; now and then."""

    def on_finished(self, stream: Stream, folder: Path, finish: Finish) -> None:
        """A session ended, and its files are finished."""

    def on_notice(self, text: str) -> None:
        """Something that concerns no stream that runs."""


class _Run:
    """One stream that is being recorded; its recorder and clock outlive an interruption."""

    def __init__(self, stream: Stream, session: Session, clock: Clock) -> None:
        self.stream = stream
        self.session = session
        self.early: list[bytes] = []
        """Webhooks that came before the driver did."""
        self.driver: Driver | None = None
        self.recorder: Recorder | None = None
        self.sink: Sink | None = None
        self.clock = clock

    def post(self, body: bytes) -> None:
        """Hand a webhook on."""
        if self.driver is None:
            self.early.append(body)
        else:
            self.driver.post(WEBHOOK, Direction.IN, body)


class Station:
    """Records any number of streams.

    :param make_recorder: begins a recording; may wait for a disk, and raise `Problem`.
    :param sign: gives a stream's handshake signature.
    :param trusted: whether webhooks are verified before they get here.
    """

    def __init__(
        self,
        *,
        make_recorder: Callable[[Header], Recorder],
        request: MediaRequest,
        sign: Callable[[Stream], Signature],
        dial: Dial,
        writer: Writer,
        observer: Observer,
        trusted: bool = False,
        max_streams: int = 1000,
        make_clock: Callable[[], Clock] = Clock,
    ) -> None:
        self._make_clock = make_clock
        self._make_recorder = make_recorder
        self._request = request
        self._sign = sign
        self._dial = dial
        self._writer = writer
        self._observer = observer
        self._trusted = trusted
        self._max_streams = max_streams
        self._runs: dict[str, _Run] = {}
        self._interrupted: OrderedDict[str, _Run] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self.outcomes: deque[Outcome] = deque(maxlen=MOST_INTERRUPTED)
        """How the last sessions ended."""
        self._past = Totals()
        self._ended: Counter[str] = Counter()
        self._stopping = ""
        self._stopped = asyncio.Event()

    def take(self, body: bytes, webhook: Webhook) -> None:
        """Act on a webhook that was answered already."""
        running = {stream_id: run.session for stream_id, run in self._runs.items()}
        match judge(webhook, running, self._interrupted, self._max_streams), webhook:
            case Verdict.START | Verdict.CONTINUE, StreamStart(stream) if not self._stopping:
                self._begin(stream, body)
            case Verdict.FEED, StreamStart(Stream(stream_id=stream_id)):
                self._runs[stream_id].post(body)
            case Verdict.FEED, StreamStop(stream_id=stream_id) | StreamInterrupted(stream_id=stream_id):
                self._runs[stream_id].post(body)
            case Verdict.TOO_MANY, StreamStart(stream):
                self._observer.on_notice(
                    f"stream {stream.stream_id} is not recorded: {len(self._runs)} streams run already (--max-streams)"
                )
            case _:
                pass

    async def record(self, stream: Stream, body: bytes | None = None) -> Outcome:
        """Record one stream to its end.

        :param body: the webhook that announced it, for the capture.
        :raises Problem: where it cannot even begin.
        """
        return await self._record(self._enter(stream, body))

    async def stop(self, who: str) -> None:
        """End every session cleanly, and wait until their recordings are finished."""
        self._stopping = self._stopping or who
        for run in list(self._runs.values()):
            if run.driver is not None:
                run.driver.stop(who)
        await self.idle()
        self._stopped.set()

    def end(self, stream_id: str, who: str) -> None:
        """End one stream's session cleanly."""
        run = self._runs.get(stream_id)
        if run is not None and run.driver is not None:
            run.driver.stop(who)

    def mark(self, stream_id: str, text: str) -> None:
        """Mark this moment in one stream's events."""
        run = self._runs.get(stream_id)
        if run is not None and run.driver is not None:
            run.driver.mark(text)

    async def stopped(self) -> None:
        """Wait until somebody has asked for the end, and it has come."""
        await self._stopped.wait()

    async def idle(self) -> None:
        """Wait until nothing is being recorded."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def notice(self, text: str) -> None:
        """Tell whoever watches something that concerns no stream that runs."""
        self._observer.on_notice(text)

    def health(self) -> dict[str, object]:
        """What runs, for `GET /healthz`."""
        streams = [
            {
                "stream_id": view.session.stream.stream_id,
                "product": view.session.stream.product,
                "folder": str(view.folder),
                "seconds": view.at_us / 1_000_000,
                "state": "ending" if view.session.ending else "recording",
                "messages": sum(view.recording.counts.values()),
                "losses": view.recording.losses,
            }
            for view in self.views()
        ]
        return {"status": "stopping" if self._stopping else "ok", "streams": streams}

    def figures(self, answers: Mapping[int, int], free_nbytes: int | None) -> Figures:
        """All figures, for `GET /metrics`; the arguments are not the station's affair."""
        return Figures(self.views(), self._past, self._ended, answers, free_nbytes)

    async def report_progress(self, every_s: float) -> None:
        """Tell whoever watches how far every stream is, again and again."""
        while True:
            await asyncio.sleep(every_s)
            self._observer.on_progress({view.session.stream.stream_id: view.recording for view in self.views()})

    def views(self) -> Sequence[StreamView]:
        """The streams that are being recorded, as they stand."""
        return [
            StreamView(run.recorder.folder, run.clock.now_us(), run.session.snapshot(), run.sink.snapshot())
            for run in self._runs.values()
            if run.recorder is not None and run.sink is not None
        ]

    def _begin(self, stream: Stream, body: bytes) -> None:
        try:
            run = self._enter(stream, body)
        except Problem as problem:
            self._observer.on_notice(f"stream {stream.stream_id} is not recorded: {problem}")
            return
        task = asyncio.create_task(self._record_in_background(run), name=f"stream {stream.stream_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _record_in_background(self, run: _Run) -> None:
        try:
            await self._record(run)
        except Problem as problem:
            self._observer.on_notice(f"stream {run.stream.stream_id} is not recorded: {problem}")

    def _enter(self, stream: Stream, body: bytes | None) -> _Run:
        """Take a stream in, before anything is waited for: from here on its webhook, sent again, is a retry."""
        session = Session(stream, self._sign(stream), self._request, trusted=self._trusted)
        run = self._interrupted.pop(stream.stream_id, None) or _Run(stream, session, self._make_clock())
        run.session, run.driver = session, None
        if run.recorder is not None:
            self._past.add(run.recorder.snapshot(), -1)  # it goes on counting
        run.early = [] if body is None else [body]
        self._runs[stream.stream_id] = run
        return run

    async def _record(self, run: _Run) -> Outcome:
        stream = run.stream
        try:
            if run.recorder is None:
                run.recorder = await self._new_recorder(stream)
            sink = run.sink = self._writer.open(run.recorder)
            try:
                finish = await self._drive(run, run.recorder.folder, sink)
            finally:
                await sink.close()
        finally:
            if self._runs.get(stream.stream_id) is run:
                del self._runs[stream.stream_id]
        if finish.status == "interrupted":
            self._interrupted[stream.stream_id] = run
            while len(self._interrupted) > MOST_INTERRUPTED:
                self._interrupted.popitem(last=False)
        outcome = Outcome(stream, run.recorder.folder, finish, run.session.nothing_granted, run.recorder.snapshot())
        self.outcomes.append(outcome)
        self._ended[finish.status] += 1
        self._past.add(outcome.snapshot)
        self._observer.on_finished(stream, outcome.folder, finish)
        return outcome

    async def _drive(self, run: _Run, folder: Path, sink: FrameSink) -> Finish:
        stream_id = run.stream.stream_id
        driver = Driver(
            run.session, sink, run.clock, self._dial, lambda frame: self._observer.on_frame(stream_id, frame)
        )
        self._observer.on_started(run.stream, folder)
        for body in run.early:
            driver.post(WEBHOOK, Direction.IN, body)
        run.driver = driver
        if self._stopping:
            driver.stop(self._stopping)
        return await driver.run()

    async def _new_recorder(self, stream: Stream) -> Recorder:
        created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        header = Header(1, created, f"rtms-cli {__version__}", stream.product, stream.id, stream.stream_id)
        return await asyncio.to_thread(self._make_recorder, header)


def recorder_in(
    out: Path, *, mode: int = 0o600, keep_revoked: bool = False, keep_encoded: bool = False
) -> Callable[[Header], Recorder]:
    """What makes recordings in a folder, each with a folder of its own.

    :param mode: permissions of their files.
    """

    def make(header: Header) -> Recorder:
        try:
            folder = new_folder(out, header, folder_mode(mode))
        except OSError as error:
            raise Problem(f"Cannot make a folder in {out}: {error.strerror}.", "Choose another with --out.") from error
        return Recorder(
            folder,
            header,
            files=Files(folder, mode),
            keep_revoked=keep_revoked,
            keep_encoded=keep_encoded,
            process=this_process(),
        )

    return make
