"""Looks on: what must hold at every moment, and what must hold in the end."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from fleet_simulation.zoom import BUFFER_S, Handshake, Loss, Stream

from rtms_cli.fleet.dispatch import LEASE_S, Finished, Offered
from rtms_cli.fleet.dispatch import facts_of as facts
from rtms_cli.protocol.webhooks import read_webhook

if TYPE_CHECKING:
    from fleet_simulation.processes import Process
    from fleet_simulation.world import World

OWNER_WITHIN_S = 25.0
"""How soon a stream has an owner again, where a worker could take it."""
LOOK_S = 2.0
_BEFORE_S = 45.0
"""How long before a server misses its client that may have begun."""


class Watch:
    """What was seen of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._ownerless: dict[str, tuple[float, int]] = {}
        """Since when a stream has had no owner, and which epoch came last."""
        self._told: set[str] = set()
        self._nobody_able: list[float] = []
        """When no worker could take a stream."""
        self._owners: defaultdict[str, set[str]] = defaultdict(set)
        """All owners that each stream has had."""
        self._lives: Counter[str] = Counter()
        self._ends: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self.handshakes = 0
        self.takeover_s: list[float] = []

    def look(self) -> None:
        """Look at everything; and again a bit later."""
        world = self._world
        now = world.clock.now
        able = float("inf")
        for process in world.processes:
            if not (process.is_able and world.queue.is_up):
                process.able_since = None
            elif process.able_since is None:
                process.able_since = now
            if process.able_since is not None:
                able = min(able, process.able_since)
        if able == float("inf"):
            self._nobody_able.append(now)
        owned = set[str]()
        for process in world.processes:
            for name in process.owned():
                owned.add(name)
                self._owners[name].add(process.name)
        known = world.queue.book.report(world.clock.now_ms).streams
        for name in self._ownerless.keys() - {stream.stream_id for stream in known}:
            del self._ownerless[name]  # the queue has lost its data, and the owner died meanwhile: nobody knows of it
        for stream in known:
            name = stream.stream_id
            if name in owned or not (stream.owner or stream.state == "waiting"):
                if name in self._ownerless:
                    self.takeover_s.append(now - self._ownerless.pop(name)[0])
                continue
            if self._ownerless.get(name, (now, stream.epoch))[1] != stream.epoch:
                del self._ownerless[name]  # one has tried meanwhile, and has given it back
            since = max(self._ownerless.setdefault(name, (now, stream.epoch))[0], able)
            if now - since > OWNER_WITHIN_S and name not in self._told:
                self._told.add(name)
                self._wrong(f"{name} has had no owner for {now - since:.0f} s: the queue says {stream.owner!r}")
        world.clock.after(LOOK_S, self.look)

    def is_back(self, process: "Process") -> None:
        """An owner that stood still goes on, if only for a moment."""
        for name in process.owned():
            self._ownerless.pop(name, None)

    def heard(self, body: bytes, became: Offered) -> None:
        """A webhook has come to the queue."""
        if became in (Offered.STARTS, Offered.GOES_ON):
            self._lives[facts(read_webhook(body)).stream_id] += 1

    def connected(self, process: "Process", stream: Stream) -> None:
        """A `1` had success."""
        self.handshakes += 1
        newest, lost_at = stream.handshakes[-1], self._world.queue.lost_data_at
        if lost_at is not None and newest.at - lost_at < LEASE_S:
            return  # a former owner may put its claim back before its successor does
        for former in stream.handshakes[:-1]:
            if _place(former) > _place(newest):
                self._wrong(
                    f"{stream.show.name}: {newest.who} (epoch {newest.epoch}) connects after"
                    f" {former.who} (epoch {former.epoch})"
                )
                return
            if _place(former) == _place(newest) and former.who != newest.who:
                self._wrong(f"{stream.show.name}: {newest.who} and {former.who} both are epoch {newest.epoch}")
                return

    def finished(self, process: "Process", stream_id: str, epoch: int, became: Finished, status: str) -> None:
        """An owner has said how a stream ended."""
        if became is Finished.LOST:
            return
        self._ends[stream_id].append((status, epoch))
        if became is Finished.STARTS_AGAIN:
            self._lives[stream_id] += 1
        stream = self._world.zoom.streams.get(stream_id)
        if status == "complete" and stream is not None and stream.client is not None:
            if stream.client.process is not process:
                self._wrong(f"{stream_id}: {process.name} says it is over, {stream.client.process.name} records it")

    def wrote_last(self, process: "Process", recording: str, epoch: int) -> None:
        """The last manifest of a recording was written."""
        for stream in self._world.zoom.streams.values():
            if not recording.endswith(f"_{stream.show.name}") or not stream.handshakes:
                continue
            newest = max(stream.handshakes, key=_place)
            if newest.epoch > epoch and recording.startswith(newest.created[:4]) and self._is_same(newest, recording):
                self._wrong(f"{process.name} (epoch {epoch}) writes the last manifest after epoch {newest.epoch}")

    def check(self) -> None:
        """What must hold in the end."""
        world = self._world
        for one in world.queue.book.report(world.clock.now_ms).streams:
            if one.owner or one.state == "waiting":
                self._wrong(f"{one.stream_id} is {one.state}, owned by {one.owner!r}, long after everything")
        if world.queue.lost_data_at is None:
            for name, lives in self._lives.items():
                if lives != len(self._ends[name]):
                    self._wrong(f"{name} began {lives} times and was finished so: {self._ends[name]}")
        for stream in world.zoom.all():
            self._check_stream(stream)

    def _check_stream(self, stream: Stream) -> None:
        name = stream.show.name
        if world_lost := self._world.queue.lost_data_at is None:
            recordings = {one.created for one in stream.handshakes}
            if len(recordings) > 1 and world_lost and not self._was_over(stream):
                self._wrong(f"{name} is in {len(recordings)} recordings")
        for loss in stream.losses:
            waited_s = loss.end - loss.noticed
            if loss.why == "in flight" or (loss.why == "nobody came" and waited_s < BUFFER_S - 0.1):
                continue
            if not self._excuse(name, loss):
                self._wrong(f"{name}: audio from {loss.begin:.0f} to {loss.end:.0f} s is lost: {loss.why}")

    def _excuse(self, name: str, loss: Loss) -> str:
        """Why nobody could have recorded it."""
        begin, end = loss.noticed - _BEFORE_S, loss.end
        near = [one for one in self._world.troubles if one[0] < end and one[1] > begin]
        if any(who == "queue" for _, _, _, who in near):
            return "the queue was away"
        if any(loss.noticed - 5 <= moment <= loss.noticed + 30 for moment in self._nobody_able):
            return "no worker could take it"
        if any(what == "cut zoom" and who in self._owners[name] for _, _, what, who in near):
            return "its owner could not reach Zoom"
        if len([1 for _, _, _, who in near if who in self._owners[name]]) > 1:
            return "several owners had trouble"
        return ""

    @staticmethod
    def _was_over(stream: Stream) -> bool:
        return not stream.is_on and stream.show.again_after_s is not None

    @staticmethod
    def _is_same(handshake: Handshake, recording: str) -> bool:
        digits = "".join(filter(str.isdigit, handshake.created))[:14]
        return digits in "".join(filter(str.isdigit, recording))

    def _wrong(self, text: str) -> None:
        self._world.violations.append(f"{self._world.clock.now:.1f} s: {text}")


def _place(handshake: Handshake) -> tuple[str, int]:
    return handshake.created, handshake.epoch
