"""A feed made up from a scenario: its messages and faults at their times."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import structs

from rtms_cli.protocol.media import MEDIA_NAMES, MediaParams
from rtms_cli.protocol.messages import Audio, Message, UserId
from rtms_cli.protocol.numbers import MediaType, StatusCode, StopReason
from rtms_cli.simulator.cues import Cue, make_cues
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import HANDLERS, Fault, spoilt
from rtms_cli.simulator.misfits import other_codec, sent_instead
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.zoom import Zoom


class MakeCues(Protocol):
    """Yields all messages of one kind, in order; see `cues.make_cues`."""

    def __call__(
        self,
        scenario: Scenario,
        params: MediaParams,
        epoch_ms: int,
        kind: MediaType | None,
        chosen: Callable[[], UserId],
        session_id: str,
        product: str,
    ) -> Iterator[Cue]: ...


class MadeUp:
    """A `Show` from a scenario.

    :param cues: creates the messages. Tests may use a cheaper function than the one with real audio and pictures.
    """

    params = MediaParams()

    def __init__(self, scenario: Scenario, cues: MakeCues = make_cues) -> None:
        self._scenario = scenario
        self._make_cues = cues
        self._zoom: Zoom
        self._begin_us: int | None = None
        self._cues: dict[MediaType | None, Iterator[Cue]] = {}
        self._next: dict[MediaType | None, Cue] = {}
        self._faults = deque(sorted(scenario.faults, key=lambda fault: fault.at_ms))
        self._spoils: deque[Fault] = deque()
        """Faults of the next audio packets."""
        self._swapped: Audio | None = None
        self._late: deque[Cue] = deque()
        self._late_until_ms = 0
        self._buffered_ms = round(scenario.buffered_s * 1000)
        self._chosen: UserId = None
        """The participant whose video the client chose last with `28`. Version 1 has one such stream."""

    @property
    def deviations(self) -> frozenset[Deviation]:
        """See `Show.deviations`."""
        return self._scenario.deviations

    @property
    def deadline_us(self) -> int | None:
        """See `Show.deadline_us`."""
        if self._begin_us is None:
            return None
        due_ms = [cue.at_ms for cue in self._next.values()]
        due_ms.append(self._scenario.duration_ms)
        if self._faults:
            due_ms.append(self._faults[0].at_ms)
        if self._late:
            due_ms.append(self._late_until_ms)
        return self._begin_us + min(due_ms) * 1000

    def attach(self, zoom: Zoom) -> None:
        """See `Show.attach`. Faults from before the session begins happen now."""
        self._zoom = zoom
        while self._faults and self._faults[0].at_ms < 0:
            self._happen()

    def start(self) -> None:
        """See `Show.start`."""
        self._zoom.say_started()
        self.resume()

    def resume(self) -> None:
        """Begin, or continue with the audio that was kept. See `Show.resume`."""
        client = self._zoom.client
        if self._begin_us is None:
            self._begin_us = client.now_us - self._buffered_ms * 1000
            self._begin(None)
        for socket in client.sockets(media_only=True):
            for kind in MEDIA_NAMES:
                if kind in socket.kinds and kind not in self._cues:
                    self._begin(kind)
        client.deliver_held()
        self.play()

    def play(self) -> None:
        """Send what is due, in order. See `Show.play`."""
        if self._begin_us is None:
            return
        now_ms = (self._zoom.client.now_us - self._begin_us) // 1000
        while True:
            kind = min(self._next, key=lambda each: self._next[each].at_ms, default=None)
            cue = self._next.get(kind)
            next_ms = self._scenario.duration_ms - 1 if cue is None else cue.at_ms
            if self._faults and self._faults[0].at_ms <= min(now_ms, next_ms):
                self._happen()
                if self._zoom.is_over:
                    return
                continue
            if cue is None or cue.at_ms > now_ms:
                break
            if cue.at_ms >= self._late_until_ms:
                self._deliver_late()
            self._perform(cue)
            self._advance(kind)
        if now_ms >= self._late_until_ms:
            self._deliver_late()
        if now_ms >= self._scenario.duration_ms:
            self._zoom.end(StopReason.STOP_BC_MEETING_ENDED)

    def choose_video(self, user_id: UserId, *, subscribe: bool) -> tuple[StatusCode, str]:
        """See `Show.choose_video`."""
        if subscribe and user_id == self._chosen:
            return StatusCode.STATUS_DUPLICATE_VIDEO_SUBSCRIPTION, "subscribed already"
        if all(user_id != person.user_id for person in self._scenario.people):
            return StatusCode.STATUS_INVALID_PAYLOAD, f"there is no participant with the user_id {user_id}"
        if subscribe:
            self._chosen = user_id
        elif user_id == self._chosen:
            self._chosen = None
        return StatusCode.STATUS_OK, ""

    # For faults.

    def spoil(self, fault: Fault, times: int) -> None:
        """Apply `DUPLICATE`, `SWAP`, `BAD_BASE64` or `ODD_AUDIO` to the next audio packets."""
        self._spoils.extend([fault] * times)

    def delay(self, until_ms: int) -> None:
        """Hold all media back until this time of the session."""
        self._late_until_ms = max(self._late_until_ms, until_ms)

    # Cues.

    def _begin(self, kind: MediaType | None) -> None:
        zoom = self._zoom

        def make(params: MediaParams) -> Iterator[Cue]:
            epoch_ms, session_id = zoom.client.zoom_ms(0), zoom.session_id
            return self._make_cues(
                self._scenario, params, epoch_ms, kind, lambda: self._chosen, session_id, zoom.product
            )

        if Deviation.OTHER_CODEC in self.deviations and kind in (MediaType.VIDEO, MediaType.SHARE):
            self._cues[kind] = other_codec(make, zoom.params, self._scenario.duration_ms // 2)
        else:
            self._cues[kind] = make(zoom.params)
        self._advance(kind)

    def _advance(self, kind: MediaType | None) -> None:
        following = next(self._cues[kind], None)
        if following is None:
            self._next.pop(kind, None)
        else:
            self._next[kind] = following

    def _happen(self) -> None:
        fault = self._faults.popleft()
        HANDLERS[fault.kind](self._zoom, self, fault)

    def _deliver_late(self) -> None:
        """Send the delayed media."""
        self._late_until_ms = 0
        while self._late:
            cue = self._late.popleft()
            if cue.message is not None:
                self._send(cue, cue.message)

    def _perform(self, cue: Cue) -> None:
        if cue.message is not None:
            for message in sent_instead(cue.message, self.deviations, self._zoom.params):
                self._send(cue, message)

    def _send(self, cue: Cue, message: Message) -> None:
        client = self._zoom.client
        if cue.kind is None:
            self._zoom.tell(message, client.signaling)
        elif cue.at_ms < self._buffered_ms and not (cue.kind is MediaType.AUDIO and self._zoom.wants_buffered):
            client.miss(message)
        elif cue.at_ms < self._late_until_ms:
            self._late.append(structs.replace(cue, message=message))
        elif isinstance(message, Audio) and client.taker(MediaType.AUDIO) is not None:
            self._perform_audio(message, cue.at_ms * 1000)
        else:
            client.deliver(cue.kind, message, cue.at_ms * 1000)

    def _perform_audio(self, message: Audio, at_us: int) -> None:
        """Send an audio packet to a connected client, spoilt if a fault is due."""
        deliver = self._zoom.client.deliver
        if self._swapped is not None:
            deliver(MediaType.AUDIO, message, at_us)
            deliver(MediaType.AUDIO, self._swapped, at_us)
            self._swapped = None
            return
        fault = self._spoils.popleft() if self._spoils else None
        if fault is Fault.SWAP:
            self._swapped = message
            return
        deliver(MediaType.AUDIO, message, at_us, spoilt(message, fault))
        if fault is Fault.DUPLICATE:
            deliver(MediaType.AUDIO, message, at_us)
