"""Audio and pictures of a made-up session, encoded on demand."""

import base64
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from rtms_cli.protocol.media import AudioParams, MediaParams
from rtms_cli.protocol.messages import Audio, Share, UserId, Video
from rtms_cli.protocol.numbers import Codec, DataOption, MediaType
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
from rtms_cli.simulator.cues import Cue
from rtms_cli.simulator.decoding import Film, Sound
from rtms_cli.simulator.scenario import Person, Scenario
from rtms_cli.simulator.schedule import Schedule, overlapping, within


def make_media(
    scenario: Scenario,
    schedule: Schedule,
    params: MediaParams,
    epoch_ms: int,
    kind: MediaType,
    chosen: Callable[[], UserId],
) -> Iterator[Cue]:
    """Yield the messages of audio, video or share; see `cues.make_cues`."""
    match kind:
        case MediaType.AUDIO:
            assert params.audio is not None, "audio that was granted has parameters"
            return _audio(scenario, schedule, params.audio, epoch_ms)
        case MediaType.VIDEO:
            return _video(scenario, schedule, params, epoch_ms, chosen)
        case _:
            return _share(scenario, schedule, params, epoch_ms)


class _Voice:
    """One participant's audio, read in order."""

    def __init__(self, scenario: Scenario, schedule: Schedule, who: int, form: AudioForm) -> None:
        self._schedule = schedule
        self._who = who
        self._voices = len(scenario.people)
        sounds = scenario.material.sounds
        self._own = Sound(sounds[who].path, form.rate, form.channels) if who < len(sounds) else None
        self._rate = form.rate
        self._channels = form.channels

    def take(self, start: int, count: int) -> Pcm:
        """Return samples (count, channels), silent while the participant does not speak."""
        heard = np.zeros(count, bool)
        span = start * 1000 // self._rate, (start + count) * 1000 // self._rate + 1
        for from_ms, until_ms in overlapping(self._schedule.talking[self._who], *span):
            first, last = from_ms * self._rate // 1000 - start, until_ms * self._rate // 1000 - start
            if first < count and last > 0:
                heard[max(first, 0) : last] = True
        if self._own is not None:
            return np.asarray(self._own.take(start, count) * heard[:, None], np.int16)
        if not heard.any():
            pcm = np.zeros(count, np.int16)
        elif self._schedule.in_turns:
            pcm = media.speech(self._who, self._voices, start, count, self._rate) * heard
        else:
            pcm = media.talk(self._who, start, count, self._rate) * heard
        return pcm[:, None].repeat(self._channels, axis=1)


def _audio(scenario: Scenario, schedule: Schedule, params: AudioParams, epoch_ms: int) -> Iterator[Cue]:
    form = AudioForm(params)
    people = scenario.people
    is_call = people[0].channel_id is not None
    separate = params.data_opt == DataOption.AUDIO_MULTI_STREAMS or is_call
    # Calls never have mixed audio: each channel has its own stream, even while it is silent.
    sending = schedule.present if is_call else schedule.talking
    voices = [_Voice(scenario, schedule, who, form) for who in range(len(people))]
    everybody = Person(0, "")
    encoders = {one: form.encoder(one.user_id or one.channel_id or 0) for one in (people if separate else (everybody,))}
    for at_ms in range(0, scenario.duration_ms, form.step_ms):
        start = form.rate * at_ms // 1000
        if schedule.is_paused(at_ms):
            continue
        if separate:
            sources = [
                (people[who], voice.take(start, form.samples))
                for who, voice in enumerate(voices)
                if within(at_ms, sending[who])
            ]
        else:
            sources = [(everybody, _sum([voice.take(start, form.samples) for voice in voices]))]
        for one, pcm in sources:
            payload = encoders[one](pcm, at_ms)
            stamp, letters = epoch_ms + at_ms, base64.b64encode(payload)
            message = Audio(*one.sender, stamp, letters, len(payload), one.channel_id)
            yield Cue(at_ms, MediaType.AUDIO, message)


def _sum(voices: Sequence[Pcm]) -> Pcm:
    total = np.sum(voices, axis=0, dtype=np.int32)
    return np.clip(total, -32_768, 32_767).astype(np.int16)


@lru_cache(maxsize=64)
def _counting(fps: int, width: int, height: int, shade: int, first: int, is_odd: bool) -> GroupOfPictures:
    """Return pictures of a counter, shared by all streams."""
    return GroupOfPictures(fps, lambda number: media.yuv(number % 100, width, height, shade), first, is_odd=is_odd)


class _Camera:
    """Encodes pictures in the granted codec: of a counter, or from the user's video."""

    def __init__(self, codec: int | None, fps: int) -> None:
        self._codec = codec
        self._fps = fps
        self._film = H264Encoder(fps) if codec == Codec.H264 else ImageEncoder(codec)
        self._last: tuple[int, tuple[int, int], int] | None = None
        self._group: GroupOfPictures | None = None
        self._since_key = 0
        self._is_odd = False

    def film(self, number: int, picture: Picture) -> bytes:
        """Encode one of the user's own pictures."""
        if isinstance(self._film, ImageEncoder):
            return self._film.encode(picture)
        return self._film.encode(picture, key=self._is_cut(number, (picture.shape[1], 0), 0))

    def picture(self, number: int, size: tuple[int, int], shade: int) -> bytes:
        """Encode a picture of a number."""
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
        """Return whether this picture follows another scene or a pause and must be a key frame."""
        before, self._last = self._last, (number, size, scene)
        return before != (number - 1, size, scene)


def _video(
    scenario: Scenario, schedule: Schedule, params: MediaParams, epoch_ms: int, chosen: Callable[[], UserId]
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
            who = schedule.speaker(at_ms) if film is None else 0
        if who is None or schedule.is_paused(at_ms) or (resolution := schedule.camera(who, at_ms)) == 0:
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
    """Return the background brightness of a participant's pictures."""
    return 60 + 20 * (who % 4)


SHARE_SHADE = 150
"""Background brightness of a shared screen."""


def _share(scenario: Scenario, schedule: Schedule, params: MediaParams, epoch_ms: int) -> Iterator[Cue]:
    share = params.share
    assert share is not None, "a share that was granted has parameters"
    fps = share.fps or 1
    camera = _Camera(share.codec, fps)
    for (start_ms, end_ms), who in schedule.shares:
        person = scenario.people[who]
        for number in range((end_ms - start_ms) * fps // 1000):
            at_ms = start_ms + number * 1000 // fps
            if schedule.is_paused(at_ms):
                continue
            payload = camera.picture(number, SIZES[share.resolution], SHARE_SHADE)
            message = Share(person.user_id, person.name, epoch_ms + at_ms, base64.b64encode(payload), len(payload))
            yield Cue(at_ms, MediaType.SHARE, message)
