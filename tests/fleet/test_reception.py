"""What the process that listens does with webhooks, where workers record."""

import asyncio
import time
from pathlib import Path

from fleet.test_book import body
from harness import Silent

from rtms_cli.fleet.crew import Crew
from rtms_cli.fleet.dispatch import Held, WorkerStatus
from rtms_cli.fleet.local import LocalDispatch
from rtms_cli.fleet.messages import Ended
from rtms_cli.fleet.reception import Reception
from rtms_cli.machine import Finish
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, Webhook, read_webhook
from rtms_cli.station.choosing import Only
from rtms_cli.wire.hosts import HostPolicy

MS = time.time_ns() // 1_000_000


class Desk:
    """A reception whose workers are never started: the test takes what they would."""

    def __init__(self, *, max_streams: int = 3, only: Only = Only.ALL) -> None:
        self.dispatch, self.seen = LocalDispatch(), Silent()
        self.deleted: list[str] = []
        self.reception = Reception(
            self.dispatch,
            self.seen,
            max_streams=max_streams,
            check_url=HostPolicy().check_name,
            choose=only.refusal,
            revoke=self._revoke,
        )
        self.crew = Crew(1, lambda descriptor: [], b"", self.dispatch, self.seen)
        self.reception.lead(self.crew)

    def take(self, event: str, event_ts: int = MS, stream: str = "s1", **more: str | int | bool) -> Webhook:
        raw = body(event, event_ts, stream, **more)  # type: ignore[arg-type]
        webhook = read_webhook(raw)
        if self.reception.not_now(webhook) is None:
            self.reception.take(raw, webhook)
        return webhook

    def states(self) -> dict[str, str]:
        return {one.stream_id: one.state for one in self.dispatch.report_now().streams}

    async def end(self, webhook: Webhook, stop_reason: int | None) -> None:
        """Record a stream to its end, as a worker does."""
        assert isinstance(webhook, StreamStart)
        (claim,) = await self.dispatch.take(WorkerStatus("a", 9, 9), 1)
        status = "interrupted" if stop_reason is None else "complete"
        await self.dispatch.finish("a", claim.stream_id, Held(claim.epoch, claim.news[-1].number), status)
        self.reception.on_ended(Ended(webhook.stream, None, Finish(status, stop_reason, "the test"), None))

    def _revoke(self, told: StreamStop) -> list[Path]:
        self.deleted.append(told.stream_id)
        return [Path("a folder")]


async def test_what_starts_waits_for_a_worker_and_what_comes_again_does_not() -> None:
    desk = Desk()
    desk.take("started")
    desk.take("started")
    desk.take("started", MS - 1)
    assert desk.states() == {"s1": "waiting"}
    assert sum("older than the stream's last start" in text for text in desk.seen.notices) == 1
    desk.take("stopped", MS + 1, "s9")
    assert "the stream is not being recorded" in desk.seen.notices[-1]


async def test_no_more_than_allowed_and_none_at_the_end() -> None:
    desk = Desk(max_streams=2)
    for number in range(3):
        late = desk.take("started", stream=f"s{number}")
    assert desk.states() == {"s0": "waiting", "s1": "waiting"}
    assert desk.reception.not_now(late) == "2 streams are already running (--max-streams)"
    assert desk.reception.not_now(read_webhook(body("started", MS, "s1"))) is None, "it runs"
    desk.reception.request_stop("the test")
    assert desk.reception.not_now(late) == "rtms is stopping"
    assert desk.reception.health()["status"] == "stopping"


async def test_a_server_that_is_not_zooms_is_not_recorded() -> None:
    desk = Desk()
    desk.take("started", url="wss://elsewhere.example")
    assert desk.states() == {}
    assert len(desk.seen.notices) == 1


async def test_one_stream_of_a_meeting_is_chosen_over_all_workers() -> None:
    desk = Desk(only=Only.FIRST)
    first = desk.take("started", stream="s1")
    desk.take("started", stream="s2")
    assert desk.states() == {"s1": "waiting"}
    await desk.end(first, 6)
    desk.take("started", MS + 5, stream="s2")
    assert desk.states() == {"s1": "complete", "s2": "waiting"}


async def test_an_interrupted_recording_goes_on_and_is_counted_as_one_that_may() -> None:
    desk = Desk()
    start = desk.take("started")
    await desk.end(start, None)
    assert list(desk.reception.interrupted) == ["s1"]
    assert not desk.reception.may_repeat(start), "Zoom has not said that it is over"
    desk.take("started", MS + 9)
    assert desk.states() == {"s1": "waiting"}
    assert len(desk.dispatch.report_now().streams) == 1


async def test_a_start_may_be_repeated_when_zoom_has_ended_the_stream() -> None:
    desk = Desk()
    start = desk.take("started")
    await desk.end(start, 6)
    assert desk.reception.may_repeat(start)


async def test_what_an_earlier_process_has_recorded_is_deleted_when_it_is_revoked() -> None:
    desk = Desk()
    desk.take("stopped", MS, "s7", stop_reason=8)
    async with asyncio.timeout(20):
        while not desk.seen.notices:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert desk.deleted == ["s7"]
    assert desk.seen.notices == ["stream s7 was revoked: a folder was deleted"]
