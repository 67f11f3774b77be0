"""Puts the parts together: one session, one driver and any number of sinks for each stream.

The station is what `listen`, `join` and `demo` run. It lives on the event loop; whatever touches a disk happens on the
writer's thread or in another one. It knows no screen: views subscribe to it.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, structs

from rtms_cli import __version__
from rtms_cli.capture import Header
from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.machine import Finish, Frame, FrameSink, Via
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.numbers import StopReason
from rtms_cli.protocol.times import iso_time
from rtms_cli.protocol.webhooks import (
    OtherWebhook,
    Stream,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    Webhook,
    read_webhook,
    shortened_webhook,
)
from rtms_cli.recording.files import Files, NoFiles, folder_mode
from rtms_cli.recording.ledger import stop_of
from rtms_cli.recording.names import new_folder
from rtms_cli.recording.ownership import FolderLock, this_process
from rtms_cli.recording.recorder import Recorder, RecorderSnapshot
from rtms_cli.recording.repair import revoke
from rtms_cli.recording.writer import Sink, Writer
from rtms_cli.session.session import Session
from rtms_cli.session.streams import Verdict
from rtms_cli.station.admission import described, how_late, stream_id_of
from rtms_cli.station.beginning import Beginning
from rtms_cli.station.intake import Choose, Intake
from rtms_cli.station.listening import OpenListener, open_listeners
from rtms_cli.station.log_context import About, about
from rtms_cli.station.metrics import Figures, MoreFigures, Totals
from rtms_cli.station.observing import (
    NOT_RECORDED,
    ConnectionStatus,
    IgnoredWebhooks,
    Observer,
    Observers,
    StreamSnapshot,
)
from rtms_cli.station.run import Part, Run
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.driver import Dial, Driver
from rtms_cli.wire.notices import Notices

_NOT_RECORDED = "streams that are not recorded"
_UNSHOWN = "starts that anyone may have sent, not shown unless they connect,"
MOST_INTERRUPTED = 100
"""Interrupted recordings that a later webhook may continue; older ones stay as they are."""


class Outcome(Struct, frozen=True):
    """How one stream's session ended, and where its recording is."""

    stream: Stream
    folder: Path | None
    """`None` if nothing is recorded."""
    finish: Finish
    nothing_granted: bool
    snapshot: RecorderSnapshot
    refused_with: int | None = None
    """The status code with which the server refused a handshake last, if it did."""

    @property
    def exit_code(self) -> Exit:
        """What a command that recorded this stream alone exits with."""
        if self.finish.status == "failed":
            return Exit.NOTHING_GRANTED if self.nothing_granted else Exit.REFUSED
        if self.finish.status == "interrupted":
            return Exit.INTERRUPTED
        return Exit.LOSSES if self.snapshot.losses else Exit.OK


class Station:
    """Runs the sessions of any number of streams, each with a recorder and those who listen to it, or without any.

    :param make_recorder: begins a recording; may wait for a disk, and raise `Problem`. `None` records nothing.
    :param sign: returns a stream's handshake signature.
    :param observers: subscribe from the start; see `subscribe`.
    :param listeners: are opened for every session that has a recorder.
    :param trusted: whether webhooks are verified before they get here.
    :param revoke: deletes what was recorded of a stream that is over; `None` keeps it.
    :param check_url: says why a start's server is not connected to, if so.
    :param choose: says why a stream is not recorded beside others of the same meeting, if so.
    """

    def __init__(
        self,
        *,
        make_recorder: Callable[[Header], Recorder] | None,
        request: MediaRequest,
        sign: Callable[[Stream], Signature],
        dial: Dial,
        writer: Writer,
        observers: Sequence[Observer] = (),
        listeners: Sequence[OpenListener] = (),
        trusted: bool = False,
        max_streams: int = 1000,
        make_clock: Callable[[], Clock] = Clock,
        revoke: Callable[[StreamStop], list[Path]] | None = None,
        check_url: Callable[[str], str | None] = lambda url: None,
        choose: Choose = lambda stream, others: None,
    ) -> None:
        self._intake = Intake(trusted=trusted, max_streams=max_streams, check_url=check_url, choose=choose)
        self._runs, self._interrupted = self._intake.runs, self._intake.interrupted
        self._make_clock, self._revoke, self._make_recorder = make_clock, revoke, make_recorder
        self._request, self._sign = request, sign
        self._dial, self._writer = dial, writer
        self._observers, self._listeners = Observers(observers), listeners
        self._trusted = trusted
        self._tasks, self._stops = set[asyncio.Task[None]](), set[asyncio.Task[None]]()
        self.outcomes: deque[Outcome] = deque(maxlen=MOST_INTERRUPTED)
        """How the last sessions ended."""
        self.more_figures: list[MoreFigures] = []
        """Give what else `GET /metrics` shows."""
        self.statuses: list[Callable[[], ConnectionStatus]] = []
        """Give how connections stand that belong to no stream, for views."""
        self.hints: list[str] = []
        """What to do as long as nothing has come, a line each, for views."""
        self.more_health: dict[str, Callable[[], object]] = {}
        """Give what else `GET /healthz` shows, by its name there."""
        self.more_readiness: list[Callable[[], str | None]] = []
        """Say why no stream could be taken now, if so, for `GET /readyz`."""
        self.ignored = IgnoredWebhooks()
        """Webhooks that started nothing, for views."""
        self.elsewhere: Callable[[bytes, Webhook, str], None] | None = None
        """Takes the webhooks of streams that others record."""
        self._past, self._ended, self._stopping = Totals(), Counter[str](), ""
        self._stopped, self._notices = asyncio.Event(), Notices(self.notice)

    def subscribe(self, observer: Observer) -> None:
        """Let a view hear of everything from now on; of the streams that run already it hears that they started."""
        self._observers.add(observer)
        for run in self._runs.values():
            if run.was_shown:
                self._observers.on_started(run.stream, run.folder, observer)

    def take(self, body: bytes, webhook: Webhook, via: str = Via.HTTP) -> None:
        """Act on a webhook that was answered already; one that leads to nothing is shown.

        :param via: by which way it came; see `Via`.
        """
        if self.elsewhere is not None:
            self.elsewhere(body, webhook, via)
            return
        if isinstance(webhook, StreamStop) and webhook.reason == StopReason.STOP_BC_STREAM_REVOKED and self._trusted:
            self._in_background(self._delete_revoked(webhook), f"revoke {webhook.stream_id}")
        if isinstance(webhook, StreamStart | StreamStop | StreamInterrupted):
            given, body = body, shortened_webhook(body)
            webhook = webhook if body is given else read_webhook(body)
        decision = self._intake.decide(webhook, via, is_stopping=self.is_stopping)
        match decision.verdict, webhook:
            case _ if decision.why is not None:
                self._ignore("webhooks that start nothing", webhook, decision.why, decision.why[:100])
            case Verdict.START | Verdict.CONTINUE, StreamStart(stream):
                if decision.gives_way is not None:
                    self._give_way(decision.gives_way)
                self._begin(stream, body, via)
            case Verdict.LATER, StreamStart(stream) as start:
                run = self._runs[stream.stream_id]
                if run.later is None or not stream.is_older_than(run.later[1].stream):
                    run.later = body, start, via
            case Verdict.FEED, _:
                self._runs[stream_id_of(webhook) or ""].post(body, via)
            case Verdict.TOO_MANY, _:
                self._ignore(_NOT_RECORDED, webhook, self._intake.too_many)
            case _:
                of = "kinds" if isinstance(webhook, OtherWebhook) else "streams"
                self._ignore(f"webhooks of other {of}", webhook, self._intake.standing(webhook), described(webhook))

    def _ignore(self, kind: str, webhook: Webhook, why: str, what: str = "") -> None:
        self.ignored.add(described(webhook), why)
        self._notices.tell(kind, f"{described(webhook)}: {why}", what)

    def not_now(self, webhook: Webhook) -> str | None:
        """Why a webhook should be sent again later, or `None`."""
        return self._intake.not_now(webhook, is_stopping=self.is_stopping)

    def may_repeat(self, webhook: Webhook) -> bool:
        """Whether a webhook whose very signature came before may be acted on."""
        return self._intake.may_repeat(webhook)

    def _give_way(self, run: Run) -> None:
        assert run.driver is not None
        self._intake.admission.end(self._runs.pop(run.stream.stream_id).stream.stream_id, by_zoom=run.session.was_ended)
        run.driver.stop("a newer start")

    async def record(self, stream: Stream, body: bytes | None = None, *, at_once: bool = True) -> Outcome:
        """Record one stream to its end.

        :param body: the saved webhook that announces it, for the capture.
        :param at_once: make its folder now, and not when the server has accepted the client.
        :raises Problem: if it cannot even begin.
        """
        return await self._record(self._enter(stream, body, Via.PAYLOAD), at_once=at_once)

    def record_part(self, stream: Stream, body: bytes, via: str, part: Part) -> Coroutine[None, None, Outcome]:
        """Take one stream in, and return what records it to its end, or until `leave`.

        :raises Problem: if it cannot even begin; what it returns may raise that too.
        """
        return self._record(self._enter(stream, body, via, part))

    def post(self, stream_id: str, body: bytes, via: str) -> bool:
        """Hand a webhook to the session of a stream.

        :returns: whether there is one.
        """
        run = self._runs.get(stream_id)
        if run is not None:
            run.post(body, via)
        return run is not None

    def leave(self, stream_id: str, why: str) -> None:
        """Leave a stream to another owner, without asking the server for an end."""
        if (run := self._runs.get(stream_id)) is not None:
            run.leave(why)

    async def stop(self, who: str) -> None:
        """End every session cleanly, and wait until their recordings are finished."""
        self._stopping = self._stopping or who
        for run in list(self._runs.values()):
            run.stop(who)
        await self.idle()
        self._notices.close()
        self._stopped.set()

    def request_stop(self, who: str) -> None:
        """Begin to stop, from a callback that cannot wait; `stopped` waits for it."""
        task = asyncio.create_task(self.stop(who), name=f"stop after {who}")
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    def end(self, stream_id: str, who: str) -> None:
        """See `Hearer`."""
        if run := self._runs.get(stream_id):
            run.stop(who)

    def mark(self, stream_id: str, text: str) -> None:
        """See `Hearer`."""
        if run := self._runs.get(stream_id):
            run.mark(text)

    def run_of(self, stream_id: str) -> Run | None:
        """A stream that runs, for guests."""
        return self._runs.get(stream_id)

    def folders(self) -> Mapping[str, Path]:
        """The folders that are being recorded into, by stream id."""
        return {name: run.folder for name, run in self._runs.items() if run.folder is not None}

    @property
    def is_stopping(self) -> bool:
        """See `Hearer`."""
        return bool(self._stopping)

    async def stopped(self) -> None:
        """See `Hearer`."""
        await self._stopped.wait()

    async def idle(self) -> None:
        """Wait until nothing is being recorded."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def notice(self, text: str) -> None:
        """See `Hearer`."""
        self._observers.on_notice(text)

    def tell(self, name: str, fields: Mapping[str, object], text: str) -> None:
        """Tell the observers something that scripts may want to know of; see `Observer.on_event`."""
        self._observers.on_event(name, fields, text)

    def health(self) -> dict[str, object]:
        """What runs, for `GET /healthz`."""
        more = {name: look() for name, look in self.more_health.items()}
        status = "stopping" if self._stopping else "ok"
        return {"status": status, "streams": [one.health() for one in self.snapshots()], **more}

    def not_ready(self) -> Sequence[str]:
        """Why no stream would be taken now, a line a reason, for `GET /readyz`."""
        is_full = self.elsewhere is None and self._intake.is_full
        own = [f"stopping ({self._stopping})"] if self._stopping else [self._intake.too_many] if is_full else []
        return [*own, *(why for look in self.more_readiness if (why := look()) is not None)]

    def figures(self, answers: Mapping[int, int], free_nbytes: int | None) -> Figures:
        """All figures, for `GET /metrics`; the arguments are not the station's affair."""
        return Figures(self.snapshots(), self._past, self._ended, answers, free_nbytes, self.more_figures)

    async def report_progress(self, every_s: float) -> None:
        """Tell the observers how far every stream is, again and again."""
        while True:
            await asyncio.sleep(every_s)
            self._observers.on_progress({one.session.stream.stream_id: one.recording for one in self.snapshots()})

    @property
    def interrupted(self) -> Sequence[str]:
        """Ids of the streams whose recordings go on when they are announced again, the last ones only."""
        return list(self._interrupted)

    def snapshots(self) -> Sequence[StreamSnapshot]:
        """See `Hearer`."""
        return [run.snapshot() for run in self._runs.values() if run.driver is not None or run.sink is not None]

    def _begin(self, stream: Stream, body: bytes, via: str) -> None:
        try:
            run = self._enter(stream, body, via)
        except Problem as problem:
            self._notices.tell(_NOT_RECORDED, f"stream {stream.stream_id} is not recorded: {problem}")
            return
        self._in_background(self._record_in_background(run), f"stream {stream.stream_id}")

    def _in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _delete_revoked(self, told: StreamStop) -> None:
        """Delete what was recorded of a stream and is finished; a session that runs sees to its own recording."""
        if self._revoke is None:
            return
        self.tell("revoked", {"stream_id": told.stream_id, "event_ts": told.event_ts}, f"{told.stream_id} was revoked")
        try:
            deleted = await asyncio.to_thread(self._revoke, told)
        except OSError as error:
            self.notice(f"WARNING: stream {told.stream_id} was revoked, and could not be deleted: {reason_of(error)}")
            return
        for folder in deleted:
            self.notice(f"stream {told.stream_id} was revoked: {folder} was deleted")

    async def _record_in_background(self, run: Run) -> None:
        try:
            await self._record(run)
        except Problem as problem:
            self._notices.tell(_NOT_RECORDED, f"stream {run.stream.stream_id} is not recorded: {problem}")

    def _enter(self, stream: Stream, body: bytes | None, via: str, part: Part | None = None) -> Run:
        """Take a stream in, before anything is waited for: from here on its webhook, sent again, is a retry."""
        former = self._interrupted.pop(stream.stream_id, None)
        session = self._new_session(stream, continues=former is not None or (part is not None and part.epoch > 1))
        clock = self._make_clock() if part is None else part.clock()
        run = former or Run(stream, session, clock, part)
        run.session, run.driver, run.was_shown, run.interrupted_us = session, None, False, None
        if run.recorder is not None:
            self._past.add(run.recorder.snapshot(), -1)  # it goes on counting
        run.is_told = self._trusted or self._notices.may_tell(_UNSHOWN, stream.stream_id[:100])
        run.early = [] if body is None else [(body, via)]
        self._runs[stream.stream_id] = run
        self._intake.admission.begin(stream)
        if (late := how_late(stream)) is not None:
            self._notices.tell("late starts", f"WARNING: stream {stream.stream_id}: {late}")
        return run

    def _new_session(self, stream: Stream, *, continues: bool) -> Session:
        return Session(stream, self._sign(stream), self._request, trusted=self._trusted, continues=continues)

    async def _record(self, run: Run, *, at_once: bool = False) -> Outcome:
        """Record a stream to its end.

        :param at_once: see `record`.
        """
        stream = run.stream
        about.set(About(stream.stream_id, str(stream.id), None if run.part is None else run.part.epoch))
        try:
            if run.recorder is not None:
                await self._reopen(run, run.recorder)
            elif at_once:
                run.recorder = await self._new_recorder(run)
            async with AsyncExitStack() as closing:
                finish = await self._drive(run, closing)
            manifest = None if run.recorder is None else await asyncio.to_thread(run.recorder.manifest)
        finally:
            if self._runs.get(stream.stream_id) is run:
                del self._runs[stream.stream_id]
                self._intake.admission.end(stream.stream_id, by_zoom=run.session.was_ended)
        may_go_on = run.part is None and (run.recorder is not None or self._make_recorder is None)
        if finish.status == "interrupted" and may_go_on:
            self._interrupted[stream.stream_id] = run
            run.interrupted_us = run.clock.now_us()
        snapshot = NOT_RECORDED if run.recorder is None else run.recorder.snapshot()
        outcome = Outcome(stream, run.folder, finish, run.session.nothing_granted, snapshot, run.refused_with)
        folder = outcome.folder
        if run.part is not None and run.part.settle is not None:
            folder, manifest = await run.part.settle(outcome, manifest)
        self.outcomes.append(outcome)
        self._ended[finish.status] += 1
        self._past.add(outcome.snapshot)
        if run.was_shown or run.is_told:
            self._observers.on_finished(stream, folder, finish, manifest)
        if run.recorder is not None and (error := run.recorder.manifest_error) is not None:
            self.notice(f"WARNING: {run.folder}/manifest.json does not say how this ended: {reason_of(error)}")
        if run.driver is not None:
            run.driver.release()
            run.driver = None
        if self._interrupted.get(stream.stream_id) is not run:
            run.release()
        while len(self._interrupted) > MOST_INTERRUPTED:
            self._interrupted.popitem(last=False)[1].release()
        if run.later is not None:
            later, run.later = run.later, None
            self.take(*later)
        return outcome

    def _open_sink(self, run: Run) -> Sink:
        assert run.recorder is not None
        run.listeners = open_listeners(self._listeners, run.stream, run.folder, self.notice)
        run.recorder.listen(run.listeners)
        run.sink = self._writer.open(run.recorder, run.clock.now_us)
        self._show(run)
        return run.sink

    def _show(self, run: Run) -> None:
        run.was_shown, run.may_give_way = True, False
        self._observers.on_started(run.stream, run.folder)

    async def _drive(self, run: Run, closing: AsyncExitStack) -> Finish:
        """Run the session with its sink; `closing` closes it, and then who listens to it."""
        sink: FrameSink | None = None
        dial = self._dial if run.part is None else run.part.dialing(self._dial)
        closing.push_async_callback(self._close_sink, run)
        if run.recorder is not None:
            sink = self._open_sink(run)
        elif self._make_recorder is not None:

            async def begin() -> Sink:
                run.recorder = await self._new_recorder(run)
                return self._open_sink(run)

            beginning = Beginning(begin)
            sink, dial = beginning, beginning.dialing(run.dialing(dial))
            closing.push_async_callback(beginning.settle)
        else:
            self._show(run)
        stream_id = run.stream.stream_id

        def on_frame(frame: Frame) -> None:
            if run.was_shown or run.is_told:
                self._observers.on_frame(stream_id, frame)

        driver = Driver(run.session, sink, run.clock, dial, on_frame)
        run.begin(driver)
        if self._stopping:
            driver.stop(self._stopping)
        return await driver.run()

    async def _reopen(self, run: Run, recorder: Recorder) -> None:
        """Go on with an interrupted recording; where that cannot be done, begin a new one."""
        try:
            await asyncio.to_thread(recorder.reopen)
        except Problem as problem:
            self.notice(f"{problem} A new recording is begun.")
            self._past.add(recorder.snapshot())  # it does not go on counting
            run.session = self._new_session(run.stream, continues=False)
            run.sink, run.clock, run.created = None, self._make_clock(), datetime.now(UTC)
            run.recorder = await self._new_recorder(run)

    async def _close_sink(self, run: Run) -> None:
        if run.sink is not None:
            await run.sink.close()
        await run.dismiss(run.guest)
        if run.listeners is not None and run.recorder is not None:
            await run.listeners.close()
            await asyncio.to_thread(run.recorder.note_taps)

    async def _new_recorder(self, run: Run) -> Recorder | None:
        if self._make_recorder is None:
            return None
        stream, at, generator = run.stream, iso_time(run.created), f"rtms-cli {__version__}"
        header = Header(1, at, generator, stream.product, stream.id, stream.stream_id, self._trusted)
        make, part = self._make_recorder, run.part
        if part is not None:
            make, header = part.make_recorder, structs.replace(header, epoch=part.epoch)
        return await asyncio.to_thread(make, header)


def recorder_in(
    out: Path,
    *,
    mode: int = 0o600,
    keep_revoked: bool = False,
    keep_encoded: bool = False,
    make_folder: Callable[[Path, Header, int], Path] = new_folder,
) -> Callable[[Header], Recorder]:
    """What makes recordings in a folder, each with a folder of its own.

    :param mode: permissions of their files.
    :param make_folder: makes that folder, in `out`, with permissions.
    """

    def make(header: Header) -> Recorder:
        try:
            folder = make_folder(out, header, folder_mode(mode))
        except OSError as error:
            raise Problem(
                f"Cannot make a folder in {out}: {reason_of(error)}.", "Choose another with --out."
            ) from error
        recorder = Recorder(
            folder,
            header,
            files=Files(folder, mode),
            keep_revoked=keep_revoked,
            keep_encoded=keep_encoded,
            process=this_process(),
            lock=FolderLock(folder),
        )
        recorder.begin()
        return recorder

    return make


def recorder_nowhere(header: Header) -> Recorder:
    """A recorder that keeps nothing, and only tells who listens to it."""
    files = NoFiles()
    return Recorder(files.folder, header, files=files)


def revoke_in(out: Path) -> Callable[[StreamStop], list[Path]]:
    """What deletes the recordings in a folder whose stream is revoked after its end; it waits for a disk."""
    return lambda told: revoke(out, told.stream_id, told.event_ts, stop_of(told.reason, "a stop webhook"))
