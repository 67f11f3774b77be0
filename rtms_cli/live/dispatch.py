"""Decides which message is sent to which receiver, and when. Pure, so that tests can simulate a day.

Messages with the same receiver and stream form a *lane*. They are sent one after the other, each until it is accepted.
Lanes do not wait for each other. A lane backs off while its message is not accepted, and stops waiting once its
receiver accepts any message again.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, StrEnum
from itertools import count

from msgspec import Struct

from rtms_cli.live.outbox import KEPT_S, Message

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 3600.0
"""Shortest and longest delay after a failure. Part of it is random."""
MOST_AT_ONCE = 8
"""Concurrent requests to one receiver."""
FAILURES = 3
"""Failures in a row after which a receiver is reported as failing."""


def descriptors_for(receivers: int) -> int:
    """Return the number of file descriptors needed for this many receivers, including the outbox's."""
    return MOST_AT_ONCE * receivers + 8 if receivers else 0


class Verdict(StrEnum):
    """The result of an attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"
    """The receiver wants no more messages (410)."""


class Post(Struct, frozen=True):
    """Send a message, then call `answered`."""

    message: Message


class Load(Struct, frozen=True):
    """Fetch a lane's next messages from the outbox, then call `loaded`."""

    receiver: str
    stream: str
    after: int


class Remove(Struct, frozen=True):
    """Remove a message from the outbox."""

    seq: int


class RemoveOld(Struct, frozen=True):
    """Give up a lane's messages that are older than a given time, and remove them from the outbox."""

    receiver: str
    stream: str
    after: int
    before: float


class RemoveReceiver(Struct, frozen=True):
    """Drop a receiver's messages and remove them from the outbox, except those being sent."""

    receiver: str
    but: tuple[int, ...]


class Report(Struct, frozen=True):
    """A change of a receiver's state, for the user."""

    receiver: str
    state: str
    """`failing`, `working` or `gone`."""
    why: str


Command = Post | Load | Remove | RemoveOld | RemoveReceiver | Report


class _State(Enum):
    READY, LOADING, BUSY, WAITING = range(4)


class _Lane:
    """Messages with the same receiver and stream."""

    __slots__ = ("after", "failures", "is_revoked", "loaded", "may_have_more", "state", "stream")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.state = _State.READY
        self.loaded: deque[Message] = deque()
        self.after = 0
        self.may_have_more = True
        self.failures = 0
        self.is_revoked = False

    def unload(self) -> None:
        """Drop the messages from memory. They are in the outbox."""
        if self.loaded:
            self.after = self.loaded[0].seq - 1
            self.loaded.clear()
            self.may_have_more = True


class _Receiver:
    """Lanes of one receiver."""

    def __init__(self) -> None:
        self.lanes: dict[str, _Lane] = {}
        self.ready: deque[_Lane] = deque()
        self.waiting: list[tuple[float, int, _Lane]] = []
        self.at_once = 0
        self.failures = 0
        """Failures in a row, on any lane."""
        self.not_before = 0.0
        self.is_gone = False


class Dispatch:
    """Decides what to do next, and is informed of the results; see the module docstring. Times are in seconds, on any
    clock.

    :param receivers: the keys of the receivers.
    :param chance: returns a random number from 0 to 1.
    """

    def __init__(self, receivers: Iterable[str], chance: Callable[[], float]) -> None:
        self._receivers = {key: _Receiver() for key in receivers}
        self._chance = chance
        self._numbers = count()
        self._commands: list[Command] = []
        self.sent = self.failed = self.given_up = 0
        """Accepted messages; failed attempts; messages that were not accepted in time or are no longer wanted."""

    def wait_for(self, receiver: str, stream: str) -> None:
        """The outbox has messages for this lane."""
        known = self._receivers[receiver]
        if known.is_gone:
            return
        lane = known.lanes.get(stream)
        if lane is None:
            lane = known.lanes[stream] = _Lane(stream)
            known.ready.append(lane)
        lane.may_have_more = True

    def loaded(self, receiver: str, stream: str, messages: Sequence[Message], *, has_more: bool) -> None:
        """The messages that `Load` fetched."""
        known = self._receivers[receiver]
        known.at_once -= 1
        lane = known.lanes.get(stream)
        if lane is None:  # the receiver is gone
            return
        lane.may_have_more = has_more
        lane.loaded.extend(message for message in messages if message.kept or not lane.is_revoked)
        if messages:
            lane.after = messages[-1].seq
        lane.state = _State.READY
        known.ready.appendleft(lane)

    def answered(
        self, message: Message, verdict: Verdict, why: str, now: float, wall: float, retry_after_s: float | None = None
    ) -> None:
        """Handle the result of `Post`.

        :param why: a readable reason.
        :param wall: Unix time in seconds.
        :param retry_after_s: how long the receiver asks us to wait.
        """
        known = self._receivers[message.receiver]
        known.at_once -= 1
        if retry_after_s is not None:
            known.not_before = max(known.not_before, now + min(max(retry_after_s, 0.0), LONGEST_WAIT_S))
        lane = known.lanes.get(message.stream)
        if verdict is Verdict.DELIVERED:
            self._note_success(message.receiver, known)
            self._commands.append(Remove(message.seq))
            self.sent += 1
            if lane is not None:
                self._go_on(known, lane)
            return
        self.failed += 1
        if lane is None:  # the receiver is gone
            self._commands.append(Remove(message.seq))
            self.given_up += 1
        elif verdict is Verdict.GONE:
            self._let_go(message, known, why)
        else:
            self._note_failure(message.receiver, known, why)
            lane.failures += 1
            if lane.is_revoked and not message.kept:
                self._give_up(lane)
            self._give_up_old(message.receiver, lane, wall - KEPT_S)
            lane.unload()
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(lane.failures - 1, 20))
            due = now + wait * (0.5 + 0.5 * self._chance())
            lane.state = _State.WAITING
            heapq.heappush(known.waiting, (due, next(self._numbers), lane))

    def on_way(self, stream: str | None = None) -> tuple[int, ...]:
        """Return the sequence numbers of messages being sent."""
        lanes = (lane for known in self._receivers.values() for lane in known.lanes.values())
        return tuple(
            lane.loaded[0].seq for lane in lanes if lane.state is _State.BUSY and stream in (None, lane.stream)
        )

    def revoke(self, stream: str) -> None:
        """Stop forwarding what was said in a stream."""
        for known in self._receivers.values():
            if (lane := known.lanes.get(stream)) is not None:
                lane.is_revoked = True
                keep = 1 if lane.state is _State.BUSY else 0
                lane.loaded = deque(one for number, one in enumerate(lane.loaded) if one.kept or number < keep)

    def next(self, now: float) -> list[Command]:
        """Return the commands to carry out now."""
        for key, known in self._receivers.items():
            while known.waiting and known.waiting[0][0] <= now:
                self._wake(known, heapq.heappop(known.waiting)[2])
            while known.ready and known.at_once < MOST_AT_ONCE and known.not_before <= now:
                self._start(key, known, known.ready.popleft())
        commands, self._commands = self._commands, []
        return commands

    def wake_at(self) -> float | None:
        """Return when to call `next` again without a new event."""
        times = []
        for known in self._receivers.values():
            if known.ready and known.at_once < MOST_AT_ONCE:
                times.append(known.not_before)
            if known.waiting:
                times.append(max(known.waiting[0][0], known.not_before))
        return min(times, default=None)

    @property
    def is_busy(self) -> bool:
        """Return whether something is being sent or fetched."""
        return any(known.at_once for known in self._receivers.values())

    def _start(self, key: str, known: _Receiver, lane: _Lane) -> None:
        if lane.loaded:
            lane.state = _State.BUSY
            self._commands.append(Post(lane.loaded[0]))
        elif lane.may_have_more:
            lane.state = _State.LOADING
            self._commands.append(Load(key, lane.stream, lane.after))
        else:
            del known.lanes[lane.stream]
            return
        known.at_once += 1

    def _go_on(self, known: _Receiver, lane: _Lane) -> None:
        lane.failures = 0
        lane.loaded.popleft()
        lane.state = _State.READY
        if lane.loaded:  # only a few lanes have messages in memory
            known.ready.appendleft(lane)
        else:
            known.ready.append(lane)

    def _wake(self, known: _Receiver, lane: _Lane) -> None:
        lane.state = _State.READY
        known.ready.append(lane)

    def _note_success(self, key: str, known: _Receiver) -> None:
        if known.failures >= FAILURES and not known.is_gone:
            self._commands.append(Report(key, "working", ""))
            for _, _, lane in sorted(known.waiting):
                self._wake(known, lane)
            known.waiting.clear()
        known.failures = 0

    def _note_failure(self, key: str, known: _Receiver, why: str) -> None:
        known.failures += 1
        if known.failures == FAILURES:
            self._commands.append(Report(key, "failing", why))

    def _give_up_old(self, key: str, lane: _Lane, before: float) -> None:
        """Give up messages that are too old, after a failed attempt. Later messages are never older."""
        if not lane.loaded or lane.loaded[0].at >= before:
            return
        last = lane.loaded[-1].seq
        while lane.loaded and lane.loaded[0].at < before:
            self._give_up(lane)
        self._commands.append(RemoveOld(key, lane.stream, last, before))

    def _give_up(self, lane: _Lane) -> None:
        self._commands.append(Remove(lane.loaded.popleft().seq))
        self.given_up += 1

    def _let_go(self, message: Message, known: _Receiver, why: str) -> None:
        """Send nothing more to a receiver."""
        known.is_gone = True
        but = [lane.loaded[0].seq for lane in known.lanes.values() if lane.state is _State.BUSY]
        but.remove(message.seq)
        known.lanes.clear()
        known.ready.clear()
        known.waiting.clear()
        self._commands += [
            RemoveReceiver(message.receiver, tuple(but)),
            Report(message.receiver, "gone", why),
        ]
