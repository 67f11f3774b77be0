"""The workers of one machine. Each is a process that is restarted when it dies.

Each has a connection to this process (see `messages`) and its own session, so that Ctrl-C in the terminal only reaches
this process, which asks the workers to finish. When a worker's process ends, or is killed because it is frozen, the
other workers take its streams at once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rtms_cli.errors import Exit, Problem, reason_of
from rtms_cli.fleet import messages
from rtms_cli.fleet.dispatch import LEASE_S, DispatchError
from rtms_cli.fleet.line import Line
from rtms_cli.fleet.local import LocalDispatch, answer, answer_of
from rtms_cli.fleet.telling import labelled, play, totals_of
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.log_context import of_worker
from rtms_cli.station.metrics import Totals
from rtms_cli.station.observing import Observer, StreamSnapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

TICK_S = 1.0
FROZEN_TICKS = int(LEASE_S / TICK_S)
"""A worker that is silent for this many ticks is killed. Ticks do not count while this process is frozen itself."""
STARTING_TICKS = 60
"""The same, until it is ready for the first time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Delay before a worker is restarted: the first time, and after many times."""
LASTED_S = 60.0
"""A worker that ran for this long is restarted soon."""
MOST_CALLS = 1000
"""How many calls of a worker may be in progress."""
LAST_S = 1.0
"""How long workers may take to end at once."""
NAME = "fleet"
"""The name of workers' events in `--json`. Workers use it, too."""

Command = Callable[[int], Sequence[str]]
"""Returns the command of a worker that inherits a descriptor."""


class _Member:
    """One of the workers: its current process and state."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: asyncio.subprocess.Process | None = None
        self.line: Line | None = None
        self.name = ""
        """The worker's name, once it is ready."""
        self.silent_ticks = 0
        self.starts = 0
        self.look = messages.Look()
        self.streams: dict[str, tuple[Stream, Path | None]] = {}
        """Streams that have started there and not ended."""
        self.calls: set[asyncio.Task[None]] = set()
        self.waiting: asyncio.Task[None] | None = None
        """Its pending `changed` call."""
        self.was_frozen = False

    def forget(self) -> None:
        """Reset it after its process has exited."""
        for call in self.calls:
            call.cancel()
        self.process = self.line = self.waiting = None
        self.name, self.look, self.streams, self.was_frozen = "", messages.Look(), {}, False

    def send(self, message: messages.Down) -> None:
        """Send it a message, if it is running."""
        if self.line is not None:
            self.line.send(messages.write(message))


class Crew:
    """See the module docstring. The workers run while it is entered.

    :param size: number of workers.
    :param command: returns the command that starts a worker.
    :param task: the first message to each worker.
    :param observer: receives the events of all workers.
    :param watch_s: how often they report their streams.
    :param on_ended: called when a stream's session has ended.
    """

    def __init__(
        self,
        size: int,
        command: Command,
        task: bytes,
        dispatch: LocalDispatch,
        observer: Observer,
        *,
        watch_s: float = 1.0,
        on_ended: Callable[[messages.Ended], None] = lambda ended: None,
    ) -> None:
        self._members = [_Member(number) for number in range(1, size + 1)]
        self._command = command
        self._task = task
        self._dispatch = dispatch
        self._observer = observer
        self._watch_s = watch_s
        self._on_ended = on_ended
        self._past = Totals()
        """Totals of workers that have exited."""
        self._ended: Counter[str] = Counter()
        self.unfinished: list[Path] = []
        """Recordings whose workers died while finishing them."""
        self._stopping = asyncio.Event()
        self._who = ""
        self._is_ready = asyncio.Event()
        self._failure: Problem | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Crew":
        """Start the workers, and wait until they are ready.

        :raises Problem: if one ends before it is ready.
        """
        self._keeping = [
            asyncio.create_task(self._keep(member), name=f"worker {member.number}") for member in self._members
        ]
        self._ticking = asyncio.create_task(self._tick(), name="workers")
        await self._is_ready.wait()
        if self._failure is not None:
            await self.__aexit__()
            raise self._failure
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop("rtms")
        await self.stopped()
        if self._ticking is not None:
            self._ticking.cancel()

    # Requests.

    def stop(self, who: str) -> None:
        """Ask the workers to finish their recordings and end. `stopped` waits for that."""
        if not self._stopping.is_set():
            self._who = who
            self._stopping.set()
            self._is_ready.set()
            for member in self._members:
                member.send(messages.StopAll(who))

    @property
    def is_stopping(self) -> bool:
        """Whether they were asked to end."""
        return self._stopping.is_set()

    async def stopped(self) -> None:
        """Wait until all workers have ended."""
        await self._stopping.wait()
        if self._keeping:
            await asyncio.wait(self._keeping)

    def end_at_once(self) -> None:
        """Kill the workers and their child processes now. Blocks the event loop; for a process that exits at once,
        too."""
        self._stopping.set()
        left = [member.process.pid for member in self._members if member.process is not None]
        for pid in left:
            _send(pid, signal.SIGQUIT)
        end = time.monotonic() + LAST_S
        while left and time.monotonic() < end:
            time.sleep(0.01)
            left = [pid for pid in left if not _has_ended(pid)]
        for pid in left:
            _send(pid, signal.SIGKILL)

    def end(self, stream_id: str, who: str) -> None:
        """End one stream's session."""
        self._order(stream_id, messages.StopOne(stream_id, who))

    def mark(self, stream_id: str, text: str) -> None:
        """Mark this moment in one stream's events."""
        self._order(stream_id, messages.Mark(stream_id, text))

    def watch(self, every_s: float) -> None:
        """Set how often workers report their streams."""
        self._watch_s = every_s
        for member in self._members:
            member.send(messages.Watch(every_s))

    def views(self) -> Sequence[StreamSnapshot]:
        """Return the streams of all workers, as last reported."""
        return [view for member in self._members for view in member.look.views]

    def worker_of(self, stream_id: str) -> int | None:
        """Return the number of the worker that records a stream."""
        return next((member.number for member in self._members if stream_id in member.streams), None)

    def pid_of(self, stream_id: str) -> int | None:
        """Return the process that records a stream."""
        its = next((member.process for member in self._members if stream_id in member.streams), None)
        return None if its is None else its.pid

    def totals(self) -> Totals:
        """Return the totals of finished recordings."""
        totals = Totals()
        totals.merge(self._past)
        for member in self._members:
            totals.merge(totals_of(member.look.past))
        return totals

    def ended(self) -> Counter[str]:
        """Return the number of ended recordings, by status."""
        return sum((Counter(member.look.ended) for member in self._members), self._ended.copy())

    def health(self) -> list[dict[str, object]]:
        """Return the workers' state for `GET /healthz`."""
        return [
            {
                "worker": member.number,
                "pid": None if member.process is None else member.process.pid,
                "state": self._state(member),
                "streams": len(member.streams),
                "restarts": max(0, member.starts - 1),
            }
            for member in self._members
        ]

    def figures(self) -> "Iterable[Metric]":
        """Yield the workers' metrics for `GET /metrics`."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield GaugeMetricFamily("rtms_workers", "Workers that are ready.", sum(bool(one.name) for one in self._members))
        restarts = sum(max(0, member.starts - 1) for member in self._members)
        yield CounterMetricFamily("rtms_worker_restarts", "Workers that were restarted.", restarts)
        yield from labelled({str(member.number): member.look.more for member in self._members})

    # Processes.

    async def _keep(self, member: _Member) -> None:
        """Keep one worker running until all are asked to end."""
        pause_s = FIRST_PAUSE_S
        while not self.is_stopping:
            began = time.monotonic()
            await self._live(member)
            if self._stopping.is_set():
                return
            if not self._is_ready.is_set():
                self._is_ready.set()
                return
            if time.monotonic() - began > LASTED_S:
                pause_s = FIRST_PAUSE_S
            try:
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            except TimeoutError:
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _live(self, member: _Member) -> None:
        """Start a worker's process, and wait for its end."""
        ours, theirs = socket.socketpair()
        member.starts += 1
        member.silent_ticks = 0
        try:
            member.process = await asyncio.create_subprocess_exec(
                *self._command(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            self._tell_end(member, f"could not be started: {reason_of(error)}")
            return
        finally:
            theirs.close()
        # A worker that closes its connection but does not end counts as silent.
        member.line = await Line.connect(ours, lambda raw: self._take(member, raw), lambda: None)
        for message in (messages.Task(self._task), messages.Watch(self._watch_s)):
            member.send(message)
        if self.is_stopping:
            member.send(messages.StopAll(self._who))
        code = await member.process.wait()
        await member.line.ended(LAST_S)
        self._bury(member, code)

    def _bury(self, member: _Member, code: int) -> None:
        """Release the streams of a worker whose process has ended."""
        self._past.merge(totals_of(member.look.past))
        for view in member.look.views:
            self._past.add(view.recording)
        self._ended.update(member.look.ended)
        if member.name:
            self._dispatch.leave_now(member.name)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if member.was_frozen:
            how = f"did not respond for {FROZEN_TICKS * TICK_S:.0f} s and was killed"
        if code != 0 or not self.is_stopping:
            self._tell_end(member, how)
        member.forget()

    def _tell_end(self, member: _Member, how: str) -> None:
        left = len(member.streams)
        goes_on = f"; its {left} streams continue on other workers" if left and not self.is_stopping else ""
        pid = None if member.process is None else member.process.pid
        fields = {"what": "ended", "worker": member.name, "number": member.number, "pid": pid, "streams": left}
        self._observer.on_event(NAME, fields, f"WARNING: worker {member.number} {how}{goes_on}")
        if not self._is_ready.is_set():
            self._failure = Problem(f"A worker {how} before it was ready.", "Its output says why.", Exit.FAULT)
        elif self.is_stopping:
            self.unfinished += [folder for _, folder in member.streams.values() if folder is not None]

    async def _tick(self) -> None:
        """Kill workers that do not respond."""
        while True:
            await asyncio.sleep(TICK_S)
            for member in self._members:
                member.silent_ticks += 1
                most = FROZEN_TICKS if member.name else STARTING_TICKS
                if member.process is not None and member.silent_ticks >= most and not member.was_frozen:
                    member.was_frozen = True
                    _send(member.process.pid, signal.SIGKILL)

    # Messages.

    def _take(self, member: _Member, raw: bytes) -> None:
        member.silent_ticks = 0
        try:
            self._act(member, messages.read_up(raw))
        except Exception:  # an error here must not disconnect a worker that is recording
            log.exception("a defect in rtms: a message of worker %d was lost", member.number)

    def _act(self, member: _Member, message: messages.Up) -> None:
        if member.name:
            self._dispatch.heard_of(member.name)
        match message:
            case messages.Ask():
                self._call(member, message)
            case messages.Look():
                member.look = message
            case messages.Ready(name):
                member.name = name
                fields = {"what": "ready", "worker": name, "number": member.number, "pid": message.pid}
                self._observer.on_event(NAME, fields, f"worker {member.number} is ready (process {message.pid})")
                if all(one.name for one in self._members):
                    self._is_ready.set()
            case _:
                self._hear(member, message)

    def _hear(self, member: _Member, said: messages.Said) -> None:
        match said:
            case messages.Started(stream, folder):
                member.streams[stream.stream_id] = stream, folder
            case messages.Ended(stream):
                member.streams.pop(stream.stream_id, None)
                self._on_ended(said)
        with of_worker(member.name):
            play(said, self._observer)

    def _call(self, member: _Member, asked: messages.Ask) -> None:
        if len(member.calls) >= MOST_CALLS:
            return  # its time-out handles that
        task = asyncio.create_task(self._answer(member.line, asked), name=f"call of worker {member.number}")
        member.calls.add(task)
        task.add_done_callback(member.calls.discard)
        if isinstance(asked.call, messages.Await):
            if member.waiting is not None:
                member.waiting.cancel()  # it no longer waits for that
            member.waiting = task

    async def _answer(self, line: Line | None, asked: messages.Ask) -> None:
        assert line is not None
        try:
            value = await answer(self._dispatch, asked.call)
        except DispatchError as error:
            line.send(messages.write(messages.Answer(asked.number, msgspec.Raw(b"\xc0"), str(error))))
            return
        line.send(answer_of(asked.number, value))

    def _order(self, stream_id: str, order: messages.Order) -> None:
        for member in self._members:
            if stream_id in member.streams:
                member.send(order)

    def _state(self, member: _Member) -> str:
        if member.process is None:
            return "gone"
        return "working" if member.name else "starting"


def _send(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
