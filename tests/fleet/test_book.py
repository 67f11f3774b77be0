"""The rules of the dispatch, each in a line or two."""

from rtms_cli.fleet.book import Book
from rtms_cli.fleet.dispatch import Claim, Finished, Held, Offered, WorkerStatus
from rtms_cli.protocol.webhooks import read_webhook

MS = 1_764_000_000_000


def body(event: str, event_ts: int, stream: str = "s1", url: str = "wss://a.zoom.us", **more: object) -> bytes:
    import json

    payload = {"meeting_uuid": "m", "rtms_stream_id": stream, "server_urls": url, **more}
    return json.dumps({"event": f"meeting.rtms_{event}", "event_ts": event_ts, "payload": payload}).encode()


class Fleet:
    """A book with a clock."""

    def __init__(self) -> None:
        self.book, self.ms = Book(), MS

    def offer(self, event: str, event_ts: int = 0, via: str = "http", **more: str | int) -> Offered:
        raw = body(event, MS + event_ts, **more)  # type: ignore[arg-type]
        return self.book.offer(self.ms, raw, read_webhook(raw), via)

    def take(self, worker: str = "a", most: int = 10) -> list[Claim]:
        return self.book.take(self.ms, status(worker), most)


def status(worker: str) -> WorkerStatus:
    return WorkerStatus(worker, 10, 10)


def test_a_start_is_taken_once() -> None:
    fleet = Fleet()
    assert fleet.offer("started") is Offered.STARTS
    (claim,) = fleet.take("a")
    assert (claim.epoch, claim.stream_id, len(claim.news)) == (1, "s1", 1)
    assert claim.recording.endswith("_meeting_s1")
    assert fleet.take("b") == []


def test_the_same_start_is_a_retry_an_older_one_is_past_and_a_newer_one_is_news() -> None:
    fleet = Fleet()
    fleet.offer("started")
    assert fleet.offer("started") is Offered.AGAIN
    assert fleet.offer("started", -1) is Offered.PAST
    assert fleet.offer("started", 1, url="wss://b.zoom.us") is Offered.NEWS
    (claim,) = fleet.take()
    assert [b"wss://b" in one.body for one in claim.news] == [False, True]


def test_a_stop_that_is_older_than_the_start_changes_nothing() -> None:
    fleet = Fleet()
    assert fleet.offer("stopped") is Offered.UNKNOWN
    fleet.offer("started", 5)
    assert fleet.offer("stopped", 4) is Offered.PAST
    assert fleet.offer("stopped", 6) is Offered.NEWS
    assert fleet.offer("stopped", 6) is Offered.AGAIN


def test_a_worker_takes_again_what_it_never_heard_that_it_has() -> None:
    fleet = Fleet()
    fleet.offer("started")
    fleet.take("a")
    for _ in range(3):
        fleet.ms += 4_999
        fleet.book.renew(fleet.ms, status("a"), {})
    assert fleet.take("a") == []
    fleet.ms += 3
    assert [claim.epoch for claim in fleet.take("a")] == [2]


def test_who_is_silent_loses_its_claim_to_the_next_one_with_a_new_epoch() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (first,) = fleet.take("a")
    for _ in range(3):
        fleet.ms += 4_999
        fleet.book.renew(fleet.ms, status("b"), {})
    assert fleet.take("b") == []
    fleet.ms += 3
    (second,) = fleet.take("b")
    assert (second.epoch, second.former, second.recording) == (2, "a", first.recording)
    held = Held(1, 1, "recording")
    assert fleet.book.renew(fleet.ms, status("a"), {"s1": held}).lost == ("s1",)
    assert fleet.book.finish(fleet.ms, "a", "s1", held, "complete") is Finished.LOST
    assert not fleet.book.release(fleet.ms, "a", "s1", held)
    assert fleet.book.finish(fleet.ms, "b", "s1", Held(2, 1), "complete") is Finished.DONE


def test_renewing_keeps_a_claim_and_brings_news() -> None:
    fleet = Fleet()
    fleet.offer("started")
    fleet.take("a")
    for _ in range(5):
        fleet.ms += 14_000
        assert fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1)}).lost == ()
    fleet.offer("interrupted", 9)
    renewed = fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1)})
    assert [one.number for one in renewed.news["s1"]] == [2]
    assert fleet.take("b") == []


def test_a_start_that_the_owner_has_not_seen_starts_again_when_it_finishes() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (first,) = fleet.take()
    fleet.offer("stopped", 5)
    fleet.ms += 2000
    fleet.offer("started", 9)
    assert fleet.book.finish(fleet.ms, "a", "s1", Held(1, 2), "complete") is Finished.STARTS_AGAIN
    (again,) = fleet.take("b")
    assert (again.epoch, len(again.news)) == (1, 1)
    assert again.recording != first.recording


def test_an_interrupted_recording_goes_on() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (first,) = fleet.take()
    fleet.book.finish(fleet.ms, "a", "s1", Held(1, 1), "interrupted")
    assert fleet.offer("started", 7) is Offered.GOES_ON
    (second,) = fleet.take("b")
    assert (second.recording, second.epoch, len(second.news)) == (first.recording, 2, 1)


def test_a_start_after_the_end_is_a_new_recording_but_not_by_the_other_way() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (first,) = fleet.take()
    fleet.book.finish(fleet.ms, "a", "s1", Held(1, 1), "complete")
    assert fleet.offer("started", via="events") is Offered.AGAIN
    assert fleet.offer("started") is Offered.STARTS
    (again,) = fleet.take()
    assert again.recording != first.recording
    assert again.epoch == 1


def test_a_released_stream_waits_as_long_as_was_said() -> None:
    fleet = Fleet()
    fleet.offer("started")
    fleet.take("a")
    assert fleet.book.release(fleet.ms, "a", "s1", Held(1, 1), after_s=5)
    assert fleet.take("b") == []
    fleet.ms += 5000
    assert [claim.epoch for claim in fleet.take("b")] == [2]


def test_a_worker_that_leaves_hands_on_what_it_has() -> None:
    fleet = Fleet()
    fleet.offer("started")
    fleet.take("a")
    fleet.book.leave(fleet.ms, "a")
    assert [claim.former for claim in fleet.take("b")] == ["a"]


def test_a_recording_that_is_revoked_after_its_end_is_somebodys_affair_again() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (claim,) = fleet.take()
    fleet.book.finish(fleet.ms, "a", "s1", Held(1, 1), "complete")
    assert fleet.offer("stopped", 5) is Offered.UNKNOWN
    assert fleet.offer("stopped", 6, stop_reason=8) is Offered.NEWS
    (again,) = fleet.take("b")
    assert (again.recording, again.epoch, len(again.news)) == (claim.recording, 2, 1)


def test_a_queue_without_its_data_takes_a_claim_back() -> None:
    fleet = Fleet()
    fleet.offer("started")
    (claim,) = fleet.take()
    fleet.book = Book()
    assert fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1)}).unknown == ("s1",)
    assert fleet.book.restore(fleet.ms, status("a"), claim, Held(1, 1))
    assert fleet.offer("started") is Offered.AGAIN
    assert fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1)}).unknown == ()
    assert fleet.take("b") == []


def test_what_is_reported() -> None:
    fleet = Fleet()
    fleet.offer("started")
    fleet.offer("started", stream="s2")
    fleet.take("a", 1)
    fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1, "recording")})
    report = fleet.book.report(fleet.ms)
    assert [(stream.stream_id, stream.owner, stream.state) for stream in report.streams] == [
        ("s1", "a", "recording"),
        ("s2", "", "waiting"),
    ]
    assert (report.waiting, report.slots_free, [worker.streams for worker in report.workers]) == (1, 10, [1])
    assert [one.what for one in fleet.book.history("s1")] == ["offered", "taken"]


def test_where_nobody_was_heard_for_a_while_all_may_renew_before_anything_is_taken_over() -> None:
    """The queue was away, or this machine asleep: that says nothing of the workers."""
    fleet = Fleet()
    fleet.offer("started")
    fleet.take("a")
    fleet.ms += 60_000
    assert fleet.take("b") == []
    fleet.ms += 14_000
    assert fleet.book.renew(fleet.ms, status("a"), {"s1": Held(1, 1)}).lost == ()
    fleet.ms += 2_000
    assert fleet.take("b") == []
    for _ in range(3):
        fleet.ms += 5_000
        fleet.book.renew(fleet.ms, status("b"), {})
    assert [claim.epoch for claim in fleet.take("b")] == [2]
