"""Media that cost nothing: every packet is unlike every other, so that each sample can be located."""

import base64
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from simulation.plan import Plan, SessionHit

from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    EventUpdate,
    Message,
    SessionStateUpdate,
    Share,
    Transcript,
    UserId,
    Video,
)
from rtms_cli.protocol.numbers import Codec, DataOption, MediaType, MeetingEvent, Product, SessionState
from rtms_cli.simulator.cues import Cue
from rtms_cli.simulator.scenario import Scenario

NOISE = 1 << 20
BASE_MS = 1_764_000_000_000
"""Zoom's clock when the world begins; a multiple of every packet's length."""
USER = 16_778_240


@cache
def noise(who: int) -> npt.NDArray[np.int16]:
    """A participant's sound, without a single zero; twice, so that no slice of it has to be put together."""
    made = np.random.default_rng(who).integers(1, 32_767, NOISE, np.int16)
    return np.concatenate([made, made])


def sound(who: int, timestamp_ms: int, count: int, per_ms: int) -> npt.NDArray[np.int16]:
    """The samples of a packet, as they follow from who and when.

    :param per_ms: samples of all channels in a millisecond.
    """
    start = (timestamp_ms - BASE_MS) * per_ms % NOISE
    return noise(who)[start : start + count]


def user_id(who: int) -> int:
    """A participant's id."""
    return USER + 1024 * who


def picture(codec: int | None, who: int, timestamp_ms: int) -> bytes:
    """A payload that begins as its codec does."""
    starts = {Codec.JPG: b"\xff\xd8\xff\xe0", Codec.PNG: b"\x89PNG\r\n\x1a\n" + bytes(20)}
    start = b"\0\0\0\1\x65" if codec is None else starts.get(Codec(codec), b"\0\0\0\1\x65")  # type: ignore[call-arg]
    return start + f"picture {who} {timestamp_ms}".encode() * 3


class Line(Struct, frozen=True):
    """When who does something."""

    at_ms: int
    who: int


class CheapCues:
    """What happens in one show: a function of the plan and the show's number."""

    def __init__(self, plan: Plan, number: int, session_id: str) -> None:
        self.plan = plan
        self.session = session_id
        dice = random.Random(f"{plan.seed} show {number}")
        audio = plan.request.params.audio
        assert audio is not None
        self.step_ms = audio.send_rate or 20
        self.by_channel = plan.product in (Product.CONTACT_CENTER, Product.PHONE)
        self.is_mixed = audio.data_opt == DataOption.AUDIO_MIXED_STREAM and not self.by_channel
        self.last_words_ms = self._on_grid(plan.duration_ms - 3 * self.step_ms - 200)
        """When those begin who speak at the end."""
        self._talk = self._bursts(dice)
        busy, last = plan.busy_ms, plan.duration_ms
        self._lines = {
            kind: sorted(
                # On the grid of audio packets: the first of these may be the recording's zero.
                [Line(self._on_grid(dice.randrange(busy)), dice.randrange(plan.people)) for _ in range(count)]
                + [Line(self.step_ms, 0)] * (bool(plan.slow) or dice.random() < 0.3)
                + [Line(self._on_grid(last - 700), 0)],
                key=lambda line: line.at_ms,
            )
            for kind, count in (
                (MediaType.VIDEO, 8),
                (MediaType.SHARE, 4),
                (MediaType.TRANSCRIPT, 5),
                (MediaType.CHAT, 4),
                (None, 5),
            )
        }

    def _on_grid(self, at_ms: int) -> int:
        return at_ms // self.step_ms * self.step_ms

    def _bursts(self, dice: random.Random) -> Sequence[Line]:
        plan, step = self.plan, self.step_ms
        voices = 1 if self.is_mixed else plan.people
        if plan.packets == 0:
            return [Line(at_ms, who) for at_ms in range(0, plan.duration_ms, step) for who in range(voices)]
        taken: set[tuple[int, int]] = set()
        starts = [hit.at_ms - 2 * step for hit in plan.hits for _ in range(2)]
        if plan.slow or dice.random() < 0.3:
            starts.append(2 * step)  # a line may be older, and come later
        left = plan.packets
        while left > 0:
            start = starts.pop() if starts else dice.randrange(plan.busy_ms)
            who, length = dice.randrange(voices), dice.randint(2, 10)
            for slot in range(max(0, start) // step, max(0, start) // step + length):
                taken.add((slot * step, who))
            left -= length
        for who in range(voices):
            taken |= {(self.last_words_ms + slot * step, who) for slot in range(3)}
        return [Line(at_ms, who) for at_ms, who in sorted(taken) if at_ms < plan.duration_ms]

    def __call__(
        self,
        scenario: Scenario,
        params: MediaParams,
        epoch_ms: int,
        kind: MediaType | None,
        chosen: Callable[[], UserId],
        session_id: str,
        product: str,
    ) -> Iterator[Cue]:
        """All cues of one kind, in order; see `rtms_cli.simulator.cues.make_cues`."""
        if kind is None:
            yield from self._events(epoch_ms)
        elif kind is MediaType.AUDIO:
            yield from self._audio(params, epoch_ms)
        else:
            for line in self._lines[kind]:
                yield Cue(line.at_ms, kind, self._message(kind, params, line, epoch_ms + line.at_ms))

    def _audio(self, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
        audio = params.audio
        assert audio is not None
        per_ms = audio.sample_rate.hz // 1000 * (audio.channel or 1)  # type: ignore[union-attr]
        count = per_ms * self.step_ms
        for line in self._talk:
            timestamp, who = epoch_ms + line.at_ms, line.who
            payload = sound(who, timestamp, count, per_ms).tobytes()
            user, name = (0, "") if self.is_mixed else self._sender(who)
            message = Audio(
                user,
                name,
                timestamp,
                base64.b64encode(payload),
                len(payload),
                who if self.by_channel else None,
            )
            yield Cue(line.at_ms, MediaType.AUDIO, message)

    def _sender(self, who: int) -> tuple[int | None, str | None]:
        return (None, None) if self.by_channel else (user_id(who), f"Person {who}")

    def _told(self, at_ms: int, who: int, epoch_ms: int) -> EventUpdate:
        """Who speaks; in a call that someone takes part, whose name changes as time goes by."""
        if not self.by_channel:
            fields: dict[str, object] = {"user_id": user_id(who), "user_name": f"Person {who}"}
            return EventUpdate(MeetingEvent.ACTIVE_SPEAKER_CHANGE, epoch_ms + at_ms, fields)
        info = {"channel_id": who, "display_name": f"Person {who} at {at_ms // 10_000}", "phone_number": "+15550100000"}
        key = "participant_info" if who else "paticipant_info"
        fields = {"event_ts": epoch_ms + at_ms, key: info}
        return EventUpdate(MeetingEvent.PARTICIPANT_JOIN, None, fields)

    def _message(self, kind: MediaType, params: MediaParams, line: Line, timestamp: int) -> Message:
        user, name = self._sender(line.who)
        if kind is MediaType.TRANSCRIPT:
            channel = line.who if self.by_channel else None
            text = f"said {line.who} {timestamp}"
            return Transcript(user, name, timestamp, text, timestamp - 500, timestamp, 9, channel_id=channel)
        if kind is MediaType.CHAT:
            # Every operation there is, and one that there is not; half of the ids are of messages that nobody wrote.
            operation, ident = timestamp // 7 % 7 or None, f"message {timestamp // 11 % 5}"
            return Chat(user, name, timestamp, f"wrote {line.who} {timestamp}", operation=operation, message_id=ident)
        form = params.video if kind is MediaType.VIDEO else params.share
        assert form is not None
        payload = picture(form.codec, line.who, timestamp)
        make = Video if kind is MediaType.VIDEO else Share
        return make(user, name, timestamp, base64.b64encode(payload), len(payload))

    def _events(self, epoch_ms: int) -> Iterator[Cue]:
        cues = [
            Cue(0, None, EventUpdate(MeetingEvent.FIRST_PACKET_TIMESTAMP, epoch_ms)),
            *(Cue(line.at_ms, None, self._told(line.at_ms, line.who, epoch_ms)) for line in self._lines[None]),
        ]
        before = self.session
        for number, hit in enumerate(hit for hit in self.plan.hits if isinstance(hit, SessionHit)):
            after = f"{self.session} {number + 1}" if hit.is_another else before
            start_ms, end_ms = max(1, hit.at_ms), max(1, hit.at_ms) + hit.pause_ms
            cues.append(
                Cue(start_ms, None, SessionStateUpdate(before, SessionState.STOPPED, hit.reason, epoch_ms + start_ms))
            )
            cues.append(Cue(end_ms, None, SessionStateUpdate(after, SessionState.STARTED, None, epoch_ms + end_ms)))
            before = after
        yield from sorted(cues, key=lambda cue: cue.at_ms)
