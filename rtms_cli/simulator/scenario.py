"""What happens in a simulated session, and when. A show is a pure function of the scenario and what was granted."""

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from msgspec import Struct, structs

from rtms_cli.protocol.media import AudioParams, MediaParams, TranscriptParams
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    EventUpdate,
    Message,
    SessionStateUpdate,
    Share,
    StreamStateUpdate,
    Transcript,
    UserId,
    Video,
)
from rtms_cli.protocol.numbers import (
    Codec,
    ContactCenterEvent,
    DataOption,
    MediaType,
    MeetingEvent,
    Product,
    SessionState,
    StreamState,
)
from rtms_cli.simulator import media
from rtms_cli.simulator.codecs import (
    KEY_EVERY_S,
    SIZES,
    AudioForm,
    GroupOfPictures,
    H264Encoder,
    ImageEncoder,
    Pcm,
    Picture,
)
from rtms_cli.simulator.faults import Deviation, Strike
from rtms_cli.simulator.material import Film, Material, Sound
from rtms_cli.simulator.plan import Act, Deed, Plan, touched, within


class Person(Struct, frozen=True):
    """Somebody who takes part."""

    user_id: int
    name: str


PEOPLE = (Person(16778240, "John Smith"), Person(16779264, "Zoë Müller"), Person(16780288, "山田 太郎"))


class Scenario(Struct, frozen=True):
    """A session. What its acts do not speak of is made up: everybody speaks in turn, and the first one shares a screen
    in the middle third.
    """

    seconds: float = 10.0
    people: tuple[Person, ...] = PEOPLE
    strikes: tuple[Strike, ...] = ()
    deviations: frozenset[Deviation] = frozenset()
    acts: tuple[Act, ...] = ()
    webhook_after_s: float = 0
    """How long after the start Zoom takes to say so."""
    buffered_s: float = 0
    """How much of it is over when the client is ready: that audio comes first, in a burst, if the client wants it."""
    material: Material = Material()
    """The user's own, in place of what is made up."""

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return round(self.seconds * 1000)

    def plan(self) -> Plan:
        """What follows from the acts."""
        sounds = {who: (sound.duration_ms, sound.loud) for who, sound in enumerate(self.material.sounds)}
        filmed = None if self.material.film is None else frozenset({0})
        return Plan(self.acts, len(self.people), self.duration_ms, sounds, filmed)

    def with_material(self, material: Material) -> "Scenario":
        """The same with the user's own material: its speakers take the places of the made-up people.

        Speakers whose names are known keep their places. Without sound of their own they talk while their lines last.
        """
        names = [person.name for person in self.people]
        fresh = [line.speaker for line in material.lines if line.speaker and line.speaker not in names]
        if self.acts:
            names += dict.fromkeys(fresh)
        else:
            speakers = list(dict.fromkeys(fresh))
            names = speakers + names[len(speakers) :] if speakers else names
            names = names[: max(len(speakers), len(material.sounds), 1 if material.film else 0) or None]
        while len(names) < len(material.sounds):
            names.append(f"Participant {len(names) + 1}")
        known = {person.name: person.user_id for person in self.people} if self.acts else {}
        people = tuple(
            Person(known.get(name, PEOPLE[0].user_id + 1024 * number), name) for number, name in enumerate(names)
        )
        acts = list(self.acts)
        for line in material.lines:
            who = names.index(line.speaker) if line.speaker else 0
            length = line.end_ms - line.start_ms
            acts.append(Act(line.start_ms, Deed.TRANSCRIPT, who, length, line.text, line.language))
            if not material.sounds:
                acts.append(Act(line.start_ms, Deed.SPEAK, who, length))
        return structs.replace(self, people=people, acts=tuple(acts), material=material)


class Cue(Struct, frozen=True):
    """One message, and when it is due."""

    at_ms: int
    kind: MediaType | None
    """`None` is an event, or a change of state, on the signaling socket."""
    message: Message | None
    """`None` where there is nothing to see, but there may be at the next one."""


def nobody() -> UserId:
    """Whose video the client has chosen, before it chose."""
    return None


def show(
    scenario: Scenario,
    params: MediaParams,
    epoch_ms: int,
    kind: MediaType | None,
    chosen: Callable[[], UserId] = nobody,
    session_id: str = "",
    product: str = Product.MEETING,
) -> Iterator[Cue]:
    """All cues of one kind, in order; pictures and sound are encoded as they are taken.

    :param epoch_ms: Zoom's clock when the session began.
    :param chosen: whose video the client has chosen; it is asked anew for each picture.
    """
    plan = scenario.plan()
    match kind:
        case MediaType.AUDIO:
            assert params.audio is not None, "audio that was granted has parameters"
            return _audio(scenario, plan, params.audio, epoch_ms)
        case MediaType.VIDEO:
            return _video(scenario, plan, params, epoch_ms, chosen)
        case MediaType.SHARE:
            return _share(scenario, plan, params, epoch_ms)
        case MediaType.TRANSCRIPT:
            return _transcript(scenario, plan, params.transcript, epoch_ms)
        case MediaType.CHAT:
            return _chat(scenario, plan, epoch_ms)
        case _:
            return _events(scenario, plan, epoch_ms, session_id, is_call=product == Product.CONTACT_CENTER)


class _Voice:
    """One person's sound, cut as it is asked for, in order."""

    def __init__(self, scenario: Scenario, plan: Plan, who: int, form: AudioForm) -> None:
        self._plan = plan
        self._who = who
        self._voices = len(scenario.people)
        sounds = scenario.material.sounds
        self._own = Sound(sounds[who].path, form.rate, form.channels) if who < len(sounds) else None
        self._rate = form.rate
        self._channels = form.channels

    def take(self, start: int, count: int) -> Pcm:
        """Samples (count, channels); silence where the person does not speak."""
        heard = np.zeros(count, bool)
        span = start * 1000 // self._rate, (start + count) * 1000 // self._rate + 1
        for from_ms, until_ms in touched(self._plan.talking[self._who], *span):
            first, last = from_ms * self._rate // 1000 - start, until_ms * self._rate // 1000 - start
            if first < count and last > 0:
                heard[max(first, 0) : last] = True
        if self._own is not None:
            return np.asarray(self._own.take(start, count) * heard[:, None], np.int16)
        if not heard.any():
            pcm = np.zeros(count, np.int16)
        elif self._plan.in_turns:
            pcm = media.speech(self._who, self._voices, start, count, self._rate) * heard
        else:
            pcm = media.talk(self._who, start, count, self._rate) * heard
        return pcm[:, None].repeat(self._channels, axis=1)


def _audio(scenario: Scenario, plan: Plan, params: AudioParams, epoch_ms: int) -> Iterator[Cue]:
    form = AudioForm(params)
    separate = params.data_opt == DataOption.AUDIO_MULTI_STREAMS
    people = scenario.people
    voices = [_Voice(scenario, plan, who, form) for who in range(len(people))]
    encoders = {person.user_id: form.encoder(person.user_id) for person in people} if separate else {0: form.encoder(0)}
    for at_ms in range(0, scenario.duration_ms, form.step_ms):
        start = form.rate * at_ms // 1000
        if plan.is_paused(at_ms):
            continue
        if separate:
            sources = [
                (people[who].user_id, people[who].name, voice.take(start, form.samples))
                for who, voice in enumerate(voices)
                if within(at_ms, plan.talking[who])
            ]
        else:
            sources = [(0, "", _sum([voice.take(start, form.samples) for voice in voices]))]
        for user_id, name, pcm in sources:
            payload = encoders[user_id](pcm, at_ms)
            message = Audio(user_id, name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
            yield Cue(at_ms, MediaType.AUDIO, message)


def _sum(voices: Sequence[Pcm]) -> Pcm:
    total = np.sum(voices, axis=0, dtype=np.int32)
    return np.clip(total, -32_768, 32_767).astype(np.int16)


@lru_cache(maxsize=64)
def _counting(fps: int, width: int, height: int, shade: int, first: int, is_odd: bool) -> GroupOfPictures:
    """Pictures of a counter, which all streams have in common."""
    return GroupOfPictures(fps, lambda number: media.yuv(number % 100, width, height, shade), first, is_odd=is_odd)


class _Camera:
    """Makes pictures in the codec that was granted: of a counter, or of the user's film."""

    def __init__(self, codec: int | None, fps: int) -> None:
        self._codec = codec
        self._fps = fps
        self._film = H264Encoder(fps) if codec == Codec.H264 else ImageEncoder(codec)
        self._last: tuple[int, tuple[int, int], int] | None = None
        self._group: GroupOfPictures | None = None
        self._since_key = 0
        self._is_odd = False

    def film(self, number: int, picture: Picture) -> bytes:
        """One of the user's own pictures."""
        if isinstance(self._film, ImageEncoder):
            return self._film.encode(picture)
        return self._film.encode(picture, key=self._is_cut(number, (picture.shape[1], 0), 0))

    def picture(self, number: int, size: tuple[int, int], shade: int) -> bytes:
        """A picture of a number."""
        width, height = size
        if self._codec == Codec.PNG:
            return media.png(number % 100, width, height, shade)
        if self._codec != Codec.H264:
            return media.jpeg(number % 100, width, height, shade)
        cut = self._is_cut(number, size, shade)
        self._since_key += 1
        if cut or self._group is None or self._since_key >= KEY_EVERY_S * self._fps:
            self._is_odd = not self._is_odd
            self._group = _counting(self._fps, width, height, shade, number % 100, self._is_odd)
            self._since_key = 0
        return self._group.unit(self._since_key)

    def _is_cut(self, number: int, size: tuple[int, int], scene: int) -> bool:
        """Whether this picture follows on another scene or a pause: then it has to be a key frame."""
        before, self._last = self._last, (number, size, scene)
        return before != (number - 1, size, scene)


def _video(
    scenario: Scenario, plan: Plan, params: MediaParams, epoch_ms: int, chosen: Callable[[], UserId]
) -> Iterator[Cue]:
    video = params.video
    assert video is not None, "video that was granted has parameters"
    people, fps = scenario.people, video.fps or 5
    individual = video.data_opt == DataOption.VIDEO_SINGLE_INDIVIDUAL_STREAM
    camera = _Camera(video.codec, fps)
    film = None if scenario.material.film is None else Film(scenario.material.film.path)
    for number in range(scenario.duration_ms * fps // 1000):
        at_ms = number * 1000 // fps
        if individual:
            who = next((who for who, person in enumerate(people) if person.user_id == chosen()), None)
        else:
            who = plan.speaker(at_ms) if film is None else 0
        if who is None or plan.is_paused(at_ms) or (resolution := plan.camera(who, at_ms)) == 0:
            yield Cue(at_ms, MediaType.VIDEO, None)
            continue
        size = SIZES[resolution or video.resolution]
        if film is None:
            payload = camera.picture(number, size, shade_of(who))
        elif (picture := film.picture(at_ms, size)) is not None:
            payload = camera.film(number, picture)
        else:
            break
        person = people[who]
        message = Video(person.user_id, person.name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
        yield Cue(at_ms, MediaType.VIDEO, message)


def shade_of(who: int) -> int:
    """How bright the background of a person's pictures is."""
    return 60 + 20 * (who % 4)


SHARE_SHADE = 150
"""How bright the background of a shared screen is."""


def _share(scenario: Scenario, plan: Plan, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
    share = params.share
    assert share is not None, "a share that was granted has parameters"
    fps = share.fps or 1
    camera = _Camera(share.codec, fps)
    for (start_ms, end_ms), who in plan.shares:
        person = scenario.people[who]
        for number in range((end_ms - start_ms) * fps // 1000):
            at_ms = start_ms + number * 1000 // fps
            if plan.is_paused(at_ms):
                continue
            payload = camera.picture(number, SIZES[share.resolution], SHARE_SHADE)
            message = Share(person.user_id, person.name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
            yield Cue(at_ms, MediaType.SHARE, message)


def _transcript(scenario: Scenario, plan: Plan, params: TranscriptParams | None, epoch_ms: int) -> Iterator[Cue]:
    """Lines come when they have been said. Without `enable_lid` every line has the language that was asked for."""
    fixed = params.src_language if params is not None and params.enable_lid is False else None
    lines = plan.acts(Deed.TRANSCRIPT) or [
        Act(
            start_ms,
            Deed.TRANSCRIPT,
            start_ms // media.TURN_MS % len(scenario.people),
            1_400,
            media.SENTENCES[number // 2 % len(media.SENTENCES)][number % 2],
        )
        for number, start_ms in enumerate(range(0, scenario.duration_ms - 1_500, 2_000))
    ]
    for line in sorted(lines, key=lambda line: line.at_ms + line.for_ms):
        at_ms = line.at_ms + line.for_ms
        if plan.is_paused(at_ms):
            continue
        person = scenario.people[line.who]
        message = Transcript(
            person.user_id,
            person.name,
            epoch_ms + at_ms,
            line.text,
            epoch_ms + line.at_ms,
            epoch_ms + at_ms,
            line.language if fixed is None else fixed,
        )
        yield Cue(at_ms, MediaType.TRANSCRIPT, message)


def _chat(scenario: Scenario, plan: Plan, epoch_ms: int) -> Iterator[Cue]:
    lines = plan.acts(Deed.CHAT) or [
        Act(
            at_ms,
            Deed.CHAT,
            number % len(scenario.people),
            text=f"Message {number + 1}: the slides are in the wiki 📎",
        )
        for number, at_ms in enumerate(range(1_000, scenario.duration_ms, 3_000))
    ]
    for line in lines:
        if not plan.is_paused(line.at_ms):
            person = scenario.people[line.who]
            message = Chat(person.user_id, person.name, epoch_ms + line.at_ms, line.text)
            yield Cue(line.at_ms, MediaType.CHAT, message)


def _events(scenario: Scenario, plan: Plan, epoch_ms: int, session_id: str, *, is_call: bool) -> Iterator[Cue]:
    """What happens; in a call of Contact Center, whose numbers are its own, nobody has a camera."""
    people, end_ms = scenario.people, scenario.duration_ms
    cues: list[tuple[int, int, dict[str, object]]] = [(0, MeetingEvent.FIRST_PACKET_TIMESTAMP, {})]
    named = [{"user_id": person.user_id, "user_name": person.name} for person in people]
    bare = [{"user_id": person.user_id} for person in people]
    here = [who for who in range(len(people)) if within(0, plan.present[who])]
    cues.append((0, MeetingEvent.PARTICIPANT_JOIN, {"participants": [named[who] for who in here]}))
    filmed = [bare[who] for who in here if plan.camera(who, 0) != 0]
    if is_call:
        cues += [(0, ContactCenterEvent.CONSUMER_ANSWERED, {}), (0, ContactCenterEvent.USER_ANSWERED, {})]
        cues += [(end_ms - 1, ContactCenterEvent.CONSUMER_END, {}), (end_ms - 1, ContactCenterEvent.USER_END, {})]
        for start_ms, until_ms in plan.paused:
            cues.append((start_ms, ContactCenterEvent.USER_HOLD, {}))
            cues.append((until_ms, ContactCenterEvent.USER_UNHOLD, {}))
    elif filmed:
        cues.append((0, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": filmed}))
    for who, spans in enumerate(plan.present):
        for start_ms, until_ms in spans:
            if start_ms > 0:
                cues.append((start_ms, MeetingEvent.PARTICIPANT_JOIN, {"participants": [named[who]]}))
                if not is_call and plan.camera(who, start_ms) != 0:
                    cues.append((start_ms, MeetingEvent.PARTICIPANT_VIDEO_ON, {"participants": [bare[who]]}))
            if until_ms < end_ms:
                cues.append((until_ms, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [bare[who]]}))
    if not (plan.acts(Deed.JOIN) or plan.acts(Deed.LEAVE)):
        cues.append((end_ms - 1, MeetingEvent.PARTICIPANT_LEAVE, {"participants": [bare[-1]]}))
    for (start_ms, until_ms), who in plan.shares:
        cues.append((start_ms, MeetingEvent.SHARING_START, dict(named[who])))
        cues.append((until_ms, MeetingEvent.SHARING_STOP, dict(named[who])))
    for at_ms, who, is_on in plan.cameras() if not is_call else ():
        event = MeetingEvent.PARTICIPANT_VIDEO_ON if is_on else MeetingEvent.PARTICIPANT_VIDEO_OFF
        cues.append((at_ms, event, {"participants": [bare[who]]}))
    for (_, before), (at_ms, who) in pairwise([(-1, -1), *plan.speakers]):
        if who != before or plan.in_turns:
            cues.append((at_ms, MeetingEvent.ACTIVE_SPEAKER_CHANGE, dict(named[who])))
    messages: list[tuple[int, Message]] = [
        (at_ms, EventUpdate(event, epoch_ms + at_ms, fields))
        for at_ms, event, fields in sorted(cues, key=lambda cue: cue[:2])
    ]
    for start_ms, until_ms in plan.paused:
        for at_ms, stream, session in (
            (start_ms, StreamState.PAUSED, SessionState.PAUSED),
            (until_ms, StreamState.RESUMED, SessionState.RESUMED),
        ):
            messages.append((at_ms, StreamStateUpdate(stream, timestamp=epoch_ms + at_ms)))
            messages.append((at_ms, SessionStateUpdate(session_id, session, timestamp=epoch_ms + at_ms)))
    for at_ms, message in sorted(messages, key=lambda pair: pair[0]):
        if at_ms < end_ms:
            yield Cue(at_ms, None, message)
