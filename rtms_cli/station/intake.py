"""What to do about a webhook, by whichever way it came: nothing, where it is old, repeated, not chosen or too much."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from msgspec import Struct

from rtms_cli.protocol.webhooks import Stream, StreamInterrupted, StreamStart, StreamStop, Webhook
from rtms_cli.session.streams import Verdict, judge
from rtms_cli.station.admission import Admission, server_of, stream_id_of
from rtms_cli.station.run import Run

Choose = Callable[[Stream, Sequence[Stream]], str | None]
"""Says why a stream is not recorded, given those that run or may go on; or nothing."""


class Decision(Struct, frozen=True):
    """What to do about a webhook."""

    verdict: Verdict
    why: str | None = None
    """Why nothing comes of it, in words."""
    gives_way: Run | None = None
    """The stream that ends, so that this one can begin."""


class Intake:
    """Knows the streams of a station; see `Station` for the parameters."""

    def __init__(
        self, *, trusted: bool, max_streams: int, check_url: Callable[[str], str | None], choose: Choose
    ) -> None:
        self._trusted = trusted
        self._max_streams = max_streams
        self._check_url = check_url
        self._choose = choose
        self.admission = Admission()
        self.runs: dict[str, Run] = {}
        self.interrupted: OrderedDict[str, Run] = OrderedDict()
        """Those that ended without an end of their stream: a webhook may continue them."""

    def decide(self, webhook: Webhook, via: str, *, is_stopping: bool) -> Decision:
        """Say what to do about a webhook; it is remembered.

        :param via: by which way it came.
        """
        verdict = self._judge(webhook)
        unproven = self._unproven() if verdict is Verdict.TOO_MANY else None
        if unproven is not None:
            verdict = Verdict.START
        why = self._why_not(webhook, verdict, via, is_stopping=is_stopping)
        if why is None and isinstance(webhook, StreamStop | StreamInterrupted):
            self.admission.note_end(webhook)
        return Decision(verdict, why, unproven)

    def not_now(self, webhook: Webhook, *, is_stopping: bool) -> str | None:
        """Why a webhook should be sent again later, or `None`."""
        verdict = self._judge(webhook)
        if is_stopping and verdict in (Verdict.START, Verdict.CONTINUE, Verdict.TOO_MANY):
            return "rtms is stopping"
        if verdict is not Verdict.TOO_MANY or self._unproven() is not None:
            return None
        is_chosen = not isinstance(webhook, StreamStart) or self._not_chosen(webhook.stream) is None
        return self.too_many if is_chosen else None

    def may_repeat(self, webhook: Webhook) -> bool:
        """Whether a webhook whose very signature came before may be acted on."""
        if not isinstance(webhook, StreamStart) or self._judge(webhook) not in (Verdict.START, Verdict.CONTINUE):
            return True
        return self.admission.may_repeat(webhook.stream.stream_id)

    def standing(self, webhook: Webhook) -> str:
        """How a webhook's stream stands about which nothing is done, in words."""
        stream_id = stream_id_of(webhook)
        if not stream_id:
            return "nothing to be done"
        return (
            "its session is over already" if self.admission.knows(stream_id) else "nothing is recorded of that stream"
        )

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more stream."""
        return len(self.runs) >= self._max_streams

    @property
    def too_many(self) -> str:
        """Why there is no room for a stream, in words."""
        return f"{len(self.runs)} streams run already (--max-streams, or `ulimit -n`)"

    def _judge(self, webhook: Webhook) -> Verdict:
        running = {stream_id: run.session for stream_id, run in self.runs.items()}
        return judge(webhook, running, self.interrupted, self._max_streams)

    def _not_chosen(self, stream: Stream) -> str | None:
        waiting = [
            run for run in self.interrupted.values() if run.may_go_on or run.stream.stream_id == stream.stream_id
        ]
        return self._choose(stream, [run.stream for run in (*self.runs.values(), *waiting)])

    def _unproven(self) -> Run | None:
        """The oldest stream that gives way to a newer one: anyone may have announced it, and it never connected."""
        if self._trusted:
            return None
        return next((run for run in self.runs.values() if run.may_give_way and run.driver is not None), None)

    def _why_not(self, webhook: Webhook, verdict: Verdict, via: str, *, is_stopping: bool) -> str | None:
        """Why nothing comes of a webhook about a stream that could be acted on."""
        if not isinstance(webhook, StreamStart | StreamStop | StreamInterrupted):
            return None
        # Counted whatever comes of it: the same start may come by another way much later.
        first = self.admission.came_by_another_way(webhook, via) if isinstance(webhook, StreamStart) else None
        if verdict is Verdict.IGNORE:
            return None
        if isinstance(webhook, StreamStart) and verdict is not Verdict.FEED:
            if is_stopping:
                return "rtms is stopping"
            if first is not None:
                return f"it came before, by {first}"
            if (why := self._not_chosen(webhook.stream)) is not None:
                return why
        if verdict is Verdict.TOO_MANY:
            return None
        # No running stream leaves its server for one that may not be connected to.
        if (url := server_of(webhook)) is not None and (refused := self._check_url(url)) is not None:
            return refused
        # Of a stream that runs, its session knows what is old, and says so in the recording.
        return self.admission.refusal(webhook, may_be_old=verdict is Verdict.FEED)
