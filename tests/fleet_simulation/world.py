"""Plays a plan: lets things go wrong when they are due, and watches all the time."""

import asyncio
import random
from collections import Counter
from functools import partial
from typing import Any

from fleet_simulation.clock import Clock
from fleet_simulation.plan import END_S, LAST_TROUBLE_S, Hit, Plan
from fleet_simulation.processes import Process
from fleet_simulation.queue import Queue
from fleet_simulation.sessions import Session, created_text
from fleet_simulation.watching import Watch
from fleet_simulation.zoom import Zoom

from rtms_cli.fleet.dispatch import Claim, Finished, Offered
from rtms_cli.protocol.webhooks import read_webhook

ZOOM_RETRIES_S = (300.0, 1200.0, 3600.0)
"""When Zoom sends a webhook again that was not answered (PROTOCOL §2)."""
FRONT_RETRIES_S = 1.0
STEP_S = 20.0


class World:
    """A fleet, its queue, and Zoom."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.dice = plan, random.Random(plan.seed + 1_000_000)
        self.clock = Clock()
        self.violations: list[str] = []
        self.notes: list[tuple[float, str]] = []
        self.queue = Queue(self.clock, self.dice, tells_due=plan.tells_due, loses=plan.loses)
        self.zoom = Zoom(self.clock, self.dice, self._send)
        self.processes: list[Process] = []
        self.offered: Counter[Offered] = Counter()
        self.waits: list[float] = []
        """How long streams had no owner."""
        self.finishes: Counter[tuple[str, str, int]] = Counter()
        """How often a recording was finished: by stream, recording, and number of the session that it ended with."""
        self.manifests: dict[str, tuple[int, str]] = {}
        """The store: the epoch that wrote a recording's manifest last, and by whom."""
        self.troubles: list[tuple[float, float, str, str]] = []
        """What went wrong with a worker or the queue: from when to when, what, and who."""
        self.watch = Watch(self)

    def run(self) -> None:
        """Play it to its end."""
        for number, slots in enumerate(self.plan.slots):
            self.start_worker(f"w{number}", slots)
        for show in self.plan.shows:
            self.clock.at(show.at, partial(self.zoom.begin, show))
            self.clock.at(show.at + show.lasts_s, partial(self._end_show, show.name, show.reason))
            if show.again_after_s is not None:
                again = show.at + show.lasts_s + show.again_after_s
                self.clock.at(again, partial(self.zoom.begin, show))
                self.clock.at(again + 60, partial(self._end_show, show.name, 6))
        for hit in self.plan.hits:
            self.clock.at(hit.at, partial(self._hit, hit))
        self.clock.after(1, self.watch.look)
        while self.clock.now < END_S and (self.clock.now < LAST_TROUBLE_S or not self._is_quiet()):
            self.clock.run(self.clock.now + STEP_S)
        for process in self.processes:
            if not process.is_dead:
                process.is_dead = True
                process.loop.destroy()

    def _is_quiet(self) -> bool:
        """Whether nothing is to come but the next look."""
        streams = self.queue.book.report(self.clock.now_ms).streams
        return self.clock.pending <= 1 and not any(one.owner or one.state == "waiting" for one in streams)

    def note(self, text: str) -> None:
        """Remember what happened."""
        self.notes.append((self.clock.now, text))

    def start_worker(self, name: str, slots: int) -> Process:
        """Start a worker's process."""
        process = Process(self, name, slots)
        self.processes.append(process)
        self.note(f"{name} starts")
        return process

    # The network.

    def connect_s(self) -> float:
        """How long a connection takes."""
        return self.dice.uniform(0.05, 0.5) if self.dice.random() < 0.95 else self.dice.uniform(1, 10)

    def send_handshake(self, process: Process, session: Session, answered: "asyncio.Future[Any]") -> None:
        """A client sends a `1`."""
        url, created, epoch = session.url, created_text(session.part.created), session.part.epoch

        def arrive() -> None:
            stream = self.zoom.find(url)
            if process.is_cut_zoom or process.is_dead or stream is None:
                return
            code, connection = stream.open(process, created, epoch)
            self.note(f"{process.name}: 1 for {stream.show.name}, epoch {epoch}: {code}")
            if code == 0:
                self.watch.connected(process, stream)
                self._begin_manifest(process, session)
                if process.silent_since is not None:
                    stream.watch(process, self.clock.now)

            def answer() -> None:
                if not answered.done():
                    answered.set_result((code, connection))
                elif connection is not None:
                    connection.leave()

            self.clock.after(self.dice.uniform(0.01, 0.1), lambda: process.hear(answer))

        self.clock.after(self.dice.uniform(0.01, 0.2), arrive)

    def _send(self, body: bytes) -> None:
        """Zoom sends a webhook."""
        delay = self.dice.uniform(0.05, 1)
        if self.dice.random() < self.plan.late_webhooks and b"rtms_started" not in body:
            delay = self.dice.choice((5.0, 60.0, 300.0))
        self.clock.after(delay, partial(self._deliver, body, 0))
        if self.dice.random() < self.plan.repeats:
            self.clock.after(delay + self.dice.choice((0.001, 3.0, 300.0)), partial(self._deliver, body, 0))

    def _deliver(self, body: bytes, tries: int) -> None:
        if self.queue.is_up:
            became = self.queue.book.offer(self.clock.now_ms, body, read_webhook(body), "http")
            self.offered[became] += 1
            self.queue.ring()
            self.watch.heard(body, became)
        elif self.plan.via == "events":
            self.clock.after(FRONT_RETRIES_S, partial(self._deliver, body, 0))
        elif tries < len(ZOOM_RETRIES_S):
            self.clock.after(ZOOM_RETRIES_S[tries], partial(self._deliver, body, tries + 1))

    # The store.

    def _begin_manifest(self, process: Process, session: Session) -> None:
        claims = process.worker.claims
        stream_id = session.stream.stream_id
        if stream_id in claims:
            claim = claims[stream_id].claim
            self._write_manifest(process, claim.recording, session.part.epoch, is_last=False)

    def on_over(self, process: Process, claim: Claim) -> None:
        """An owner has finished with a recording."""
        self._write_manifest(process, claim.recording, claim.epoch, is_last=True)

    def _write_manifest(self, process: Process, recording: str, epoch: int, *, is_last: bool) -> None:
        """Write with a condition: nobody writes over a newer epoch."""
        newest, who = self.manifests.get(recording, (0, ""))
        if newest > epoch:
            self.note(f"{process.name}: the store refuses {recording}, epoch {epoch}: {newest} was there")
            return
        if newest == epoch and who != process.name:
            self.violations.append(f"{who} and {process.name} both write {recording}, epoch {epoch}")
        self.manifests[recording] = epoch, process.name
        if is_last:
            self.watch.wrote_last(process, recording, epoch)

    def on_finished(self, process: Process, stream_id: str, epoch: int, became: Finished, status: str) -> None:
        """The queue has heard how a recording ended."""
        self.note(f"{process.name}: {stream_id}, epoch {epoch}, finished {status}: {became}")
        self.watch.finished(process, stream_id, epoch, became, status)

    # What goes wrong.

    def _end_show(self, name: str, reason: int) -> None:
        self.zoom.streams[name].end(reason)

    def _hit(self, hit: Hit) -> None:
        self.note(f"HIT {hit}")
        now, later = self.clock.now, self.clock.now + hit.seconds
        if hit.what == "failover":
            stream = self.zoom.streams.get(self.plan.shows[hit.who].name)
            if stream is not None:
                stream.fail_over()
            return
        if hit.what in ("restart queue", "lose queue"):
            self.troubles.append((now, later + 1, hit.what, "queue"))
            self.queue.down()
            self.clock.after(hit.seconds, partial(self.queue.up, with_data=hit.what == "restart queue"))
            return
        if hit.what == "rolling restart":
            names = [process for process in self.processes if not (process.is_dead or process.is_draining)]
            self._roll(names)
            return
        process = self._find(hit.who)
        if process is None:
            return
        if hit.what not in ("drain",):
            self.troubles.append((now, later, hit.what, process.name))
        self._hit_worker(hit, process)

    def _hit_worker(self, hit: Hit, process: Process) -> None:
        after = partial(self.clock.after, hit.seconds)
        match hit.what:
            case "kill" | "power":
                process.kill(power=hit.what == "power")
                after(partial(self._replace, process))
            case "freeze":
                process.freeze(is_frozen=True)
                after(partial(process.freeze, is_frozen=False))
            case "cut queue" | "cut answers" | "cut requests":
                process.is_cut_out = hit.what != "cut answers"
                process.is_cut_in = hit.what != "cut requests"

                def heal() -> None:
                    process.is_cut_out = process.is_cut_in = False

                after(heal)
            case "cut zoom":
                process.cut_zoom(is_cut=True)
                after(partial(process.cut_zoom, is_cut=False))
            case "drain":
                self._replace(process)
                process.drain()

    def _replace(self, process: Process) -> None:
        self.start_worker(_next_name(process.name), process.slots)

    def _roll(self, rest: list[Process]) -> None:
        """Restart one worker after the other."""
        if not rest:
            return
        process = rest[0]
        if not (process.is_dead or process.is_draining):
            self._replace(process)
            process.drain()
        self.clock.after(10, partial(self._roll, rest[1:]))

    def _find(self, number: int) -> Process | None:
        """The worker of a number that is there now."""
        there = [one for one in self.processes if not (one.is_dead or one.is_over)]
        return there[number % len(there)] if there else None


def _next_name(name: str) -> str:
    """The name of the process that replaces another one."""
    first, _, number = name.partition(".")
    return f"{first}.{int(number or 0) + 1}"
