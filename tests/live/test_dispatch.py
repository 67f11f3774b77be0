"""Which message goes out when: lanes, waits and what is given up, with a clock of the test's own."""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.live.dispatch import (
    FAILURES,
    LONGEST_WAIT_S,
    MOST_AT_ONCE,
    Dispatch,
    Load,
    Post,
    Remove,
    RemoveOld,
    RemoveReceiver,
    Report,
    Verdict,
)
from rtms_cli.live.outbox import Message, Outbox

START = 1_795_000_000.0
HOUR, DAY = 3600.0, 86_400.0
GOOD, BAD, GONE = Verdict.DELIVERED, Verdict.FAILED, Verdict.GONE


class World:
    """An outbox, what sends from it, and the time. A process that is killed leaves the outbox as it is."""

    def __init__(self, folder: Path | None = None, receivers: tuple[str, ...] = ("r",)) -> None:
        self.folder = folder
        self.receivers = receivers
        self.now = 0.0
        self.number = 0
        self.on_way: list[Message] = []
        self.delivered: list[Message] = []
        self.committed: dict[tuple[str, str], list[str]] = defaultdict(list)
        self.counted = 0
        self.reports: list[str] = []
        self._outbox: Outbox | None = None
        self.begin()

    @property
    def outbox(self) -> Outbox:
        assert self._outbox is not None
        return self._outbox

    def begin(self) -> None:
        """A process starts."""
        self._outbox = Outbox(self.folder)
        assert self._outbox.open() is None
        self.dispatch = Dispatch(self.receivers, lambda: 1.0)
        self.gone: set[str] = set()
        self.counted += self.outbox.commit(lambda: self.outbox.take_over(self.receivers, START + self.now))
        for lane in self.outbox.commit(self.outbox.lanes):
            self.dispatch.wait_for(*lane)
        self.go_on()

    def kill(self) -> None:
        """It ends, whatever it does; what is on its way may arrive, or not."""
        self.counted += self.dispatch.given_up
        self.on_way.clear()
        self.outbox.close()
        self.begin()

    def emit(self, receiver: str = "r", stream: str = "s") -> None:
        """An event is committed; a receiver that is gone gets none."""
        if receiver in self.gone:
            return
        self.number += 1
        message = Message(receiver, stream, f"msg_{self.number}", START + self.now, b"{}")
        assert self.outbox.commit(lambda: self.outbox.add(message))
        self.committed[receiver, stream].append(message.id)
        self.dispatch.wait_for(receiver, stream)
        self.go_on()

    def answer(self, verdict: Verdict, index: int = 0, *, retry_after_s: float | None = None) -> None:
        """One of the requests on their way is answered."""
        if not self.on_way:
            return
        message = self.on_way.pop(index % len(self.on_way))
        if verdict is GOOD:
            self.delivered.append(message)
        self.dispatch.answered(message, verdict, "why", self.now, START + self.now, retry_after_s)
        self.go_on()

    def go_on(self) -> None:
        """Do all that is due, as the desk would."""
        while commands := self.dispatch.next(self.now):
            for command in commands:
                self.outbox.commit(lambda command=command: self._do(command))  # type: ignore[misc]

    def _do(self, command: object) -> None:
        match command:
            case Post():
                lanes = [(one.receiver, one.stream) for one in self.on_way]
                assert (command.message.receiver, command.message.stream) not in lanes, "two of a lane at once"
                self.on_way.append(command.message)
            case Load():
                found, more = self.outbox.heads(command.receiver, command.stream, command.after, 3, 1 << 20)
                self.dispatch.loaded(command.receiver, command.stream, found, has_more=more)
            case Remove():
                self.outbox.remove([command.seq])
            case RemoveOld():
                removed = self.outbox.remove_old(command.receiver, command.stream, command.after, command.before)
                self.counted += removed
            case RemoveReceiver():
                self.gone.add(command.receiver)
                self.counted += self.outbox.remove_receiver(command.receiver, command.but)
            case Report():
                self.reports.append(command.state)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.go_on()

    def wait_until_due(self) -> float:
        """Until something goes out, or nothing ever will; how long that was."""
        due = self.dispatch.wake_at()
        waited = 0.0 if due is None else max(0.0, due - self.now)
        self.wait(waited)
        return waited

    @property
    def delivered_ids(self) -> list[str]:
        return [one.id for one in self.delivered]


def test_a_lane_sends_one_after_the_other_and_lanes_do_not_wait_for_each_other() -> None:
    world = World()
    for stream in ("s", "s", "t", "s"):
        world.emit(stream=stream)
    assert [one.id for one in world.on_way] == ["msg_1", "msg_3"]
    world.answer(GOOD)
    assert [one.id for one in world.on_way] == ["msg_3", "msg_2"]


def test_waits_double_to_an_hour() -> None:
    world = World()
    world.emit()
    waits = []
    for _ in range(14):
        world.answer(BAD)
        assert world.on_way == []
        waits.append(world.wait_until_due())
    assert waits == pytest.approx([*(2.0**n for n in range(12)), LONGEST_WAIT_S, LONGEST_WAIT_S])


def test_half_of_a_wait_is_left_to_chance() -> None:
    dispatch = Dispatch(["r"], lambda: 0.0)
    message = Message("r", "s", "msg_1", START, b"{}", seq=1)
    dispatch.wait_for("r", "s")
    assert dispatch.next(0.0) == [Load("r", "s", 0)]
    dispatch.loaded("r", "s", [message], has_more=False)
    assert dispatch.next(0.0) == [Post(message)]
    dispatch.answered(message, BAD, "", 0.0, START)
    assert dispatch.wake_at() == pytest.approx(0.5)


def test_who_was_away_for_ten_minutes_gets_everything_quickly_and_in_order() -> None:
    world = World()
    for _ in range(100):
        world.emit("r", "s")
        world.emit("r", "t")
    while world.now < 600:
        while world.on_way:
            world.answer(BAD)
        world.wait_until_due()
    back_at = world.now
    while world.on_way or world.outbox.waiting:
        world.answer(GOOD)
        if not world.on_way:
            world.wait_until_due()
    assert len(world.delivered) == 200
    for lane in world.committed.values():
        assert [one for one in world.delivered_ids if one in lane] == lane
    assert world.now == back_at  # the first that is taken ends the waits of all lanes
    assert world.reports == ["failing", "working"]


def test_a_message_that_is_never_taken_holds_up_its_own_lane_only() -> None:
    world = World()
    world.emit(stream="poison")
    world.emit(stream="poison")
    for _ in range(200):
        world.emit(stream="s")
        for one in list(world.on_way):
            world.answer(BAD if one.stream == "poison" else GOOD, world.on_way.index(one))
        world.wait(1.0)
    assert len(world.delivered) == 200
    assert world.dispatch.failed < 20  # it is not tried again each time that another one is taken


def test_requests_at_once_are_bounded_for_each_receiver() -> None:
    world = World(receivers=("slow", "quick"))
    for number in range(50):
        world.emit("slow", f"s{number}")
    assert len(world.on_way) == MOST_AT_ONCE
    world.emit("quick", "s0")
    assert world.on_way[-1].receiver == "quick"


def test_retry_after_holds_for_all_lanes_within_bounds() -> None:
    world = World()
    for stream in ("s", "t"):
        world.emit(stream=stream)
    world.answer(BAD, retry_after_s=50.0)
    world.answer(GOOD)
    world.emit(stream="u")
    assert world.on_way == []
    world.wait(49.0)
    assert world.on_way == []
    world.wait(1.0)
    assert {one.stream for one in world.on_way} == {"s", "u"}
    world.answer(BAD, retry_after_s=1e12)
    world.wait(LONGEST_WAIT_S)
    assert len(world.on_way) == 2


def test_what_nobody_took_for_a_day_is_given_up_after_one_more_try() -> None:
    world = World()
    for _ in range(7):  # more than are fetched at once
        world.emit()
    world.answer(BAD)
    world.wait(DAY + 1)
    world.emit()
    world.answer(BAD)
    assert world.dispatch.given_up + world.counted == 7
    world.wait_until_due()
    world.answer(GOOD)
    assert world.delivered_ids == ["msg_8"]
    assert world.outbox.waiting == 0


def test_who_answers_410_gets_nothing_more() -> None:
    world = World(receivers=("r", "q"))
    for receiver, stream in (("r", "s"), ("r", "s"), ("r", "t"), ("r", "u"), ("q", "s")):
        world.emit(receiver, stream)
    world.answer(GONE)
    assert world.reports == ["gone"]
    assert world.counted == 2  # the one that was answered, and the next of its lane
    assert [(one.receiver, one.stream) for one in world.on_way] == [("r", "t"), ("r", "u"), ("q", "s")]
    world.answer(GOOD)
    world.answer(BAD)
    world.answer(GOOD)
    assert (world.outbox.waiting, world.dispatch.given_up, world.dispatch.sent) == (0, 1, 2)
    world.dispatch.wait_for("r", "v")
    world.wait(DAY)
    assert world.on_way == []


def test_a_receiver_fails_once_it_failed_several_times_in_a_row() -> None:
    world = World()
    world.emit()
    for number in range(1, FAILURES + 3):
        world.answer(BAD)
        assert world.reports == (["failing"] if number >= FAILURES else [])
        world.wait_until_due()
    world.answer(GOOD)
    assert world.reports == ["failing", "working"]


def test_what_was_said_in_a_revoked_stream_is_not_sent() -> None:
    world = World()
    for _ in range(3):
        world.emit()
    end = Message("r", "s", "msg_end", START, b"{}", kept=True)
    world.dispatch.revoke("s")
    on_way = world.dispatch.on_way("s")
    assert on_way == (world.on_way[0].seq,)
    assert world.outbox.commit(lambda: world.outbox.remove_stream("s", on_way)) == 2
    world.outbox.commit(lambda: world.outbox.add(end))
    world.dispatch.wait_for("s" and "r", "s")
    world.answer(BAD)
    world.wait_until_due()
    assert [one.id for one in world.on_way] == ["msg_end"]
    assert world.dispatch.given_up == 1


STEPS = st.one_of(
    st.tuples(st.just("emit"), st.sampled_from("pq"), st.sampled_from("stu")),
    st.tuples(st.just("answer"), st.sampled_from([GOOD, GOOD, GOOD, BAD, BAD, GONE]), st.integers(0, 5)),
    st.tuples(st.just("later"), st.floats(0, 3600), st.floats(0, 7200)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 60.0, HOUR, DAY / 2, DAY + 1]), st.none()),
    st.tuples(st.just("kill"), st.booleans(), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(STEPS, max_size=60))
def test_whatever_happens_each_event_is_delivered_in_order_or_counted(steps: list[tuple[str, object, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), ("p", "q"))
        acts: dict[str, Callable[..., None]] = {
            "emit": world.emit,
            "answer": world.answer,
            "later": lambda wait, index: world.answer(BAD, int(index), retry_after_s=wait),
            "wait": lambda seconds, _: world.wait(seconds),
        }
        for name, one, other in steps:
            if name == "kill":
                if one and world.on_way:  # what was on its way has arrived, and nobody heard of it
                    world.delivered += world.on_way
                world.kill()
            else:
                acts[name](one, other)
        for _ in range(1000):
            if not world.on_way and not world.outbox.waiting:
                break
            world.answer(GOOD)
            if not world.on_way:
                world.wait_until_due()
        assert world.outbox.waiting == 0
        counted = world.counted + world.dispatch.given_up
        missing = 0
        for (receiver, stream), ids in world.committed.items():
            first_seen = list(
                dict.fromkeys(one.id for one in world.delivered if (one.receiver, one.stream) == (receiver, stream))
            )
            assert first_seen == [one for one in ids if one in set(first_seen)], "order"
            missing += len(ids) - len(first_seen)
        assert missing <= counted
        assert counted - missing <= Counter(world.delivered_ids).total()  # some were delivered before they were counted
        world.outbox.close()
