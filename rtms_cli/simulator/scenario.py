"""What happens in a simulated session, and when. A show is a pure function of the scenario and what was granted."""

import base64
from collections.abc import Iterator

from msgspec import Struct

from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import Audio, Chat, EventUpdate, Message, Share, Transcript, Video
from rtms_cli.protocol.numbers import (
    AudioChannel,
    Codec,
    DataOption,
    Language,
    MediaType,
    MeetingEvent,
    SampleRate,
)
from rtms_cli.simulator import media
from rtms_cli.simulator.faults import Deviation, Strike


class Person(Struct, frozen=True):
    """Somebody who takes part."""

    user_id: int
    name: str


PEOPLE = (Person(16778240, "John Smith"), Person(16779264, "Zoë Müller"), Person(16780288, "山田 太郎"))


class Scenario(Struct, frozen=True):
    """A session in which everybody speaks in turn, and the first one shares a screen in its middle third."""

    seconds: float = 10.0
    people: tuple[Person, ...] = PEOPLE
    strikes: tuple[Strike, ...] = ()
    deviations: frozenset[Deviation] = frozenset()

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return round(self.seconds * 1000)


class Cue(Struct, frozen=True):
    """One message, and when it is due."""

    at_ms: int
    kind: MediaType | None
    """`None` is an event."""
    message: Message


def show(scenario: Scenario, params: MediaParams, epoch_ms: int, kind: MediaType | None) -> Iterator[Cue]:
    """All cues of one kind, in order.

    :param epoch_ms: Zoom's clock when the session began.
    """
    match kind:
        case MediaType.AUDIO:
            return _audio(scenario, params, epoch_ms)
        case MediaType.VIDEO:
            return _video(scenario, params, epoch_ms)
        case MediaType.SHARE:
            return _share(scenario, params, epoch_ms)
        case MediaType.TRANSCRIPT:
            return _transcript(scenario, epoch_ms)
        case MediaType.CHAT:
            return _chat(scenario, epoch_ms)
        case _:
            return _events(scenario, epoch_ms)


def _audio(scenario: Scenario, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
    audio = params.audio
    assert audio is not None, "audio that was granted has parameters"
    rate = SampleRate(audio.sample_rate or 0).hz  # type: ignore[call-arg]  # the one-argument call looks it up
    step_ms = audio.send_rate or 20
    count = rate * step_ms // 1000
    stereo = audio.channel == AudioChannel.STEREO
    voices = len(scenario.people)
    for at_ms in range(0, scenario.duration_ms, step_ms):
        start = rate * at_ms // 1000
        if audio.data_opt == DataOption.AUDIO_MULTI_STREAMS:
            speakers = [
                (person.user_id, person.name, media.speech(voice, voices, start, count, rate))
                for voice, person in enumerate(scenario.people)
                if media.is_speaking(voice, voices, at_ms)
            ]
        else:
            speakers = [(0, "", media.mixed(voices, start, count, rate))]
        for user_id, name, pcm in speakers:
            payload = (pcm.repeat(2) if stereo else pcm).astype("<i2").tobytes()
            message = Audio(user_id, name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
            yield Cue(at_ms, MediaType.AUDIO, message)


def picture(codec: int | None, number: int, *, share: bool) -> bytes:
    """A picture in the codec that was granted."""
    shade = 120 if share else 60
    if codec == Codec.PNG:
        return media.png(number % 100, shade=shade)
    if codec == Codec.H264:
        return media.h264(number)
    return media.jpeg(number % 100, shade=shade)


def _video(scenario: Scenario, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
    video = params.video
    assert video is not None, "video that was granted has parameters"
    voices = len(scenario.people)
    fps = video.fps or 5
    for number in range(scenario.duration_ms * fps // 1000):
        at_ms = number * 1000 // fps
        person = scenario.people[at_ms // media.TURN_MS % voices]
        payload = picture(video.codec, number, share=False)
        message = Video(person.user_id, person.name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
        yield Cue(at_ms, MediaType.VIDEO, message)


def _share(scenario: Scenario, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
    share = params.share
    assert share is not None, "a share that was granted has parameters"
    person = scenario.people[0]
    fps = share.fps or 1
    for number in range(scenario.duration_ms * fps // 3000):
        at_ms = scenario.duration_ms // 3 + number * 1000 // fps
        payload = picture(share.codec, number, share=True)
        message = Share(person.user_id, person.name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
        yield Cue(at_ms, MediaType.SHARE, message)


def _transcript(scenario: Scenario, epoch_ms: int) -> Iterator[Cue]:
    voices = len(scenario.people)
    for number, start_ms in enumerate(range(0, scenario.duration_ms - 1_500, 2_000)):
        person = scenario.people[start_ms // media.TURN_MS % voices]
        pair = media.SENTENCES[number // 2 % len(media.SENTENCES)]
        at_ms = start_ms + 1_400
        text = pair[number % 2]
        message = Transcript(
            person.user_id,
            person.name,
            epoch_ms + at_ms,
            text,
            epoch_ms + start_ms,
            epoch_ms + at_ms,
            Language.LANGUAGE_ID_ENGLISH,
        )
        yield Cue(at_ms, MediaType.TRANSCRIPT, message)


def _chat(scenario: Scenario, epoch_ms: int) -> Iterator[Cue]:
    for number, at_ms in enumerate(range(1_000, scenario.duration_ms, 3_000)):
        person = scenario.people[number % len(scenario.people)]
        text = f"Message {number + 1}: the slides are in the wiki 📎"
        yield Cue(at_ms, MediaType.CHAT, Chat(person.user_id, person.name, epoch_ms + at_ms, text))


def _events(scenario: Scenario, epoch_ms: int) -> Iterator[Cue]:
    people, end_ms = scenario.people, scenario.duration_ms
    everybody = [{"user_id": person.user_id, "user_name": person.name} for person in people]
    first: dict[str, object] = {"user_id": people[0].user_id, "user_name": people[0].name}
    cues: list[tuple[int, MeetingEvent, dict[str, object]]] = [
        (0, MeetingEvent.FIRST_PACKET_TIMESTAMP, {}),
        (0, MeetingEvent.PARTICIPANT_JOIN, {"participants": everybody}),
        (0, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": [{"user_id": people[0].user_id}]}),
        (end_ms // 3, MeetingEvent.SHARING_START, first),
        (end_ms * 2 // 3, MeetingEvent.SHARING_STOP, first),
        (end_ms - 1, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [{"user_id": people[-1].user_id}]}),
    ]
    for at_ms in range(0, end_ms, media.TURN_MS):
        person = people[at_ms // media.TURN_MS % len(people)]
        speaker: dict[str, object] = {"user_id": person.user_id, "user_name": person.name}
        cues.append((at_ms, MeetingEvent.ACTIVE_SPEAKER_CHANGE, speaker))
    for at_ms, event, fields in sorted(cues, key=lambda cue: cue[:2]):
        yield Cue(at_ms, None, EventUpdate(event, epoch_ms + at_ms, fields))
