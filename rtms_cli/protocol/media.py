"""What media may be asked for: parameters, the rows that are valid, and `--media` (PROTOCOL §5)."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Self

from msgspec import Struct, structs

from rtms_cli.protocol.fields import FLAG, NUMBER, Field, Kind, Shape, one_of
from rtms_cli.protocol.numbers import (
    EVERY_MEDIA,
    AudioChannel,
    Codec,
    ContentType,
    DataOption,
    Language,
    MediaType,
    Resolution,
    SampleRate,
    StatusCode,
    as_int,
)

_KINDS = {
    "content_type": one_of(ContentType),
    "sample_rate": one_of(SampleRate),
    "channel": one_of(AudioChannel),
    "codec": one_of(Codec),
    "data_opt": one_of(DataOption),
    "resolution": one_of(Resolution),
    "src_language": one_of(Language),
    "enable_lid": FLAG,
}
"""How a parameter is read; the others (`fps`, `send_rate`) are plain numbers."""
_OLDER_NAMES = {"src_language": ("language",)}


class _Params(Struct, frozen=True):
    """Common ways of the five kinds of parameters; `None` is a field that was not there."""

    @classmethod
    @cache
    def shape(cls) -> Shape:
        """The keys of the object: those of the attributes."""
        return Shape(
            *(Field(name, _KINDS.get(name, NUMBER), also=_OLDER_NAMES.get(name, ())) for name in cls.__struct_fields__)
        )

    @classmethod
    def read(cls, given: object) -> Self | None:
        """Read what came over the wire, in any tolerated shape; `None` if it is not an object."""
        return cls(**cls.shape().read(given)) if isinstance(given, Mapping) else None

    def to_json(self) -> dict[str, object]:
        """The fields that are set, as they are sent."""
        return self.shape().write(self)

    def or_else(self, other: Self | None) -> Self:
        """The same with missing fields taken from another: what was granted over what was asked."""
        if other is None:
            return self
        missing = {name: getattr(other, name) for name in self.__struct_fields__ if getattr(self, name) is None}
        return structs.replace(self, **missing)


class AudioParams(_Params, frozen=True):
    """`media_params.audio`; `send_rate` is milliseconds a packet."""

    content_type: int | None = None
    sample_rate: int | None = None
    channel: int | None = None
    codec: int | None = None
    data_opt: int | None = None
    send_rate: int | None = None


class VideoParams(_Params, frozen=True):
    """`media_params.video`."""

    content_type: int | None = None
    codec: int | None = None
    resolution: int | None = None
    data_opt: int | None = None
    fps: int | None = None


class ShareParams(_Params, frozen=True):
    """`media_params.deskshare`."""

    content_type: int | None = None
    codec: int | None = None
    resolution: int | None = None
    fps: int | None = None


class TranscriptParams(_Params, frozen=True):
    """`media_params.transcript`; `enable_lid` lets the server follow a change of language."""

    content_type: int | None = None
    src_language: int | None = None
    enable_lid: bool | None = None


class ChatParams(_Params, frozen=True):
    """`media_params.chat`."""

    content_type: int | None = None


class MediaParams(Struct, frozen=True):
    """`media_params`, as asked or as granted; `None` is a kind that is not in it."""

    audio: AudioParams | None = None
    video: VideoParams | None = None
    share: ShareParams | None = None
    transcript: TranscriptParams | None = None
    chat: ChatParams | None = None

    @classmethod
    def read(cls, given: object) -> Self:
        """Read what came over the wire; what is not an object has no parameters."""
        return cls(**MEDIA_PARAMS.read(given)) if isinstance(given, Mapping) else cls()

    def to_json(self) -> dict[str, object]:
        """The kinds that are set, under Zoom's keys."""
        return MEDIA_PARAMS.write(self)

    def only(self, types: MediaType) -> "MediaParams":
        """The parameters of some kinds, for a socket that carries only those."""
        kinds = {name for kind, name in MEDIA_NAMES.items() if kind in spelled_out(types)}
        return MediaParams(**{name: getattr(self, name) for name in self.__struct_fields__ if name in kinds})

    def kinds(self) -> MediaType:
        """The kinds that have parameters."""
        named = MediaType(0)
        for kind, name in MEDIA_NAMES.items():
            if getattr(self, name) is not None:
                named |= kind
        return named

    def or_else(self, other: "MediaParams") -> "MediaParams":
        """The same with what is missing taken from another."""
        merged: dict[str, object] = {}
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            merged[name] = theirs if mine is None else mine.or_else(theirs)
        return MediaParams(**merged)  # type: ignore[arg-type]  # each kind is merged with its own


def _params(key: str, params: type[_Params], name: str = "", also: tuple[str, ...] = ()) -> Field:
    return Field(key, Kind(params.read, params.to_json), name, also, inside=params.shape())


MEDIA_PARAMS = Shape(
    _params("audio", AudioParams),
    _params("video", VideoParams),
    _params("deskshare", ShareParams, "share", also=("share",)),
    _params("transcript", TranscriptParams),
    _params("chat", ChatParams),
)
"""The object `media_params`."""

MEDIA_NAMES = {
    MediaType.AUDIO: "audio",
    MediaType.VIDEO: "video",
    MediaType.SHARE: "share",
    MediaType.TRANSCRIPT: "transcript",
    MediaType.CHAT: "chat",
}
"""The kinds by their names on the command line, in channel names and in manifests."""

NO_SCOPE = {
    MediaType.AUDIO: StatusCode.STATUS_MEDIA_TYPE_AUDIO_NOT_SUPPORT,
    MediaType.VIDEO: StatusCode.STATUS_MEDIA_TYPE_VIDEO_NOT_SUPPORT,
    MediaType.SHARE: StatusCode.STATUS_MEDIA_TYPE_DESKSHARE_NOT_SUPPORT,
    MediaType.TRANSCRIPT: StatusCode.STATUS_MEDIA_TYPE_TRANSCRIPT_NOT_SUPPORT,
    MediaType.CHAT: StatusCode.STATUS_MEDIA_TYPE_CHAT_NOT_SUPPORT,
}
"""The status code by which a server says that the app has no scope for a kind."""

DEFAULT_PARAMS = MediaParams(
    AudioParams(
        ContentType.RAW_AUDIO, SampleRate.SR_16K, AudioChannel.MONO, Codec.L16, DataOption.AUDIO_MIXED_STREAM, 20
    ),
    VideoParams(ContentType.RAW_VIDEO, Codec.JPG, Resolution.HD, DataOption.VIDEO_SINGLE_ACTIVE_STREAM, 5),
    ShareParams(ContentType.RAW_VIDEO, Codec.JPG, Resolution.FHD, 1),
    TranscriptParams(ContentType.TEXT, Language.LANGUAGE_ID_ENGLISH, True),
    ChatParams(ContentType.TEXT),
)
"""Zoom's documented defaults."""


def spelled_out(types: MediaType) -> MediaType:
    """The same with `ALL` replaced by the five kinds."""
    return EVERY_MEDIA if MediaType.ALL in types else types


def media_names(types: MediaType) -> list[str]:
    """The names of the kinds in a sum of bits."""
    return [name for kind, name in MEDIA_NAMES.items() if kind in spelled_out(types)]


class MediaRequest(Struct, frozen=True):
    """What a session asks for: kinds, their parameters, and whether each kind gets a socket of its own."""

    types: MediaType = EVERY_MEDIA
    params: MediaParams = DEFAULT_PARAMS
    split: bool = False
    buffer_data: bool | None = None
    """Whether audio from before the connection is wanted too; `None` leaves it to the server, which sends it."""
    video_user: str = ""
    """Whose camera is wanted (`data_opt` 4): a user id, a name, or `first`."""


class Fault(Struct, frozen=True):
    """Why parameters are not valid: the status code that a server answers, and a line with the valid rows."""

    status: StatusCode
    text: str


def parse_media(text: str) -> MediaType:
    """Read `--media`: names separated by commas, or `all`.

    :raises ValueError: with a line that names the valid ones.
    """
    by_name = {name: kind for kind, name in MEDIA_NAMES.items()} | {"all": EVERY_MEDIA}
    types = MediaType(0)
    for name in text.lower().split(","):
        if name.strip() not in by_name:
            raise ValueError(f"'{name.strip()}' is not a kind of media: use {', '.join(by_name)}.")
        types |= by_name[name.strip()]
    return types


_AUDIO_FORMS = {
    "l16": AudioParams(codec=Codec.L16),
    "opus": AudioParams(codec=Codec.OPUS, sample_rate=SampleRate.SR_48K),
    "g711": AudioParams(codec=Codec.G711, sample_rate=SampleRate.SR_8K),
    "g722": AudioParams(codec=Codec.G722, sample_rate=SampleRate.SR_16K),
}
_PICTURE_FORMS = {"jpg": (Codec.JPG, None), "png": (Codec.PNG, None), "h264": (Codec.H264, 25)}
"""Codecs by their names on the command line, and the pace where Zoom's default does not go with them."""


def parse_audio(text: str, *, separate: bool = False, rtp: bool = False) -> AudioParams:
    """Read `--audio CODEC[:RATE[:CHANNELS[:SEND_RATE]]]`; the rate is in Hz or kHz.

    :raises ValueError: if a part is not valid; whether the whole is a valid row is for `audio_fault` to say.
    """
    codec, *parts = text.lower().split(":")
    if codec not in _AUDIO_FORMS or len(parts) > 3:
        raise ValueError(f"'{text}' is not an audio format: use CODEC[:RATE[:CHANNELS[:SEND_RATE]]]. {_audio_rows()}")
    rate, channels, send_rate = (as_int(part.removesuffix("k")) if part else None for part in (parts + [""] * 3)[:3])
    wrong = [part for part, number in zip(parts, (rate, channels, send_rate), strict=False) if part and number is None]
    rates = {each.hz: each for each in SampleRate} | {each.hz // 1000: each for each in SampleRate}
    if wrong or (rate is not None and rate not in rates):
        raise ValueError(f"'{(wrong or parts)[0]}' in '{text}' is not a number that fits there. {_audio_rows()}")
    return AudioParams(
        content_type=ContentType.RTP if rtp else None,
        sample_rate=None if rate is None else rates[rate],
        channel=channels,
        data_opt=DataOption.AUDIO_MULTI_STREAMS if separate else None,
        send_rate=send_rate,
    ).or_else(_AUDIO_FORMS[codec].or_else(DEFAULT_PARAMS.audio))


def _parse_picture(text: str) -> tuple[Codec, int | None, int | None]:
    codec, *parts = text.lower().split(":")
    sizes = {size.name.lower(): size for size in Resolution}
    if codec not in _PICTURE_FORMS or len(parts) > 2:
        raise ValueError(
            f"'{text}' is not a picture format: use h264|jpg|png[:{'|'.join(sizes)}[:FPS]]. {_PICTURE_ROWS}"
        )
    size, fps = (parts[0] if parts else ""), (parts[1] if len(parts) > 1 else "")
    if (size and size not in sizes) or (fps and as_int(fps) is None):
        raise ValueError(
            f"'{text}' is not a picture format: sizes are {', '.join(sizes)}, then a number. {_PICTURE_ROWS}"
        )
    known, pace = _PICTURE_FORMS[codec]
    return known, sizes.get(size), as_int(fps) if fps else pace


def parse_video(text: str, *, one_participant: bool = False) -> VideoParams:
    """Read `--video CODEC[:SIZE[:FPS]]`.

    :raises ValueError: if a part is not valid.
    """
    codec, size, fps = _parse_picture(text)
    data_opt = DataOption.VIDEO_SINGLE_INDIVIDUAL_STREAM if one_participant else None
    return VideoParams(codec=codec, resolution=size, data_opt=data_opt, fps=fps).or_else(DEFAULT_PARAMS.video)


def parse_share(text: str) -> ShareParams:
    """Read `--share CODEC[:SIZE[:FPS]]`.

    :raises ValueError: if a part is not valid.
    """
    codec, size, fps = _parse_picture(text)
    return ShareParams(codec=codec, resolution=size, fps=fps).or_else(DEFAULT_PARAMS.share)


def parse_language(text: str) -> Language:
    """Read `--language`: a name (`German`, `french (canada)`), or Zoom's number.

    :raises ValueError: with the names that there are.
    """
    sought = re.sub("[^a-z0-9-]", "", text.lower())
    for language in Language:
        names = (language.gist, language.name.removeprefix("LANGUAGE_ID_"), str(int(language)))
        if sought in [re.sub("[^a-z0-9-]", "", name.lower()) for name in names]:
            return language
    raise ValueError(f"'{text}' is not one of Zoom's languages: use {', '.join(each.gist for each in Language)}.")


class _AudioRow(Struct, frozen=True):
    """One row of the matrix of PROTOCOL §5."""

    codec: Codec
    contents: tuple[ContentType, ...]
    rates: tuple[SampleRate, ...]
    channels: tuple[AudioChannel, ...]
    send_rates: range

    def __str__(self) -> str:
        contents = " or ".join("RTP" if content is ContentType.RTP else "raw" for content in self.contents)
        rates = "/".join(str(rate.hz // 1000) for rate in self.rates)
        channels = " or ".join(channel.gist for channel in self.channels)
        last = self.send_rates[-1]
        pace = "20 ms" if last == 20 else f"20 to {last} ms in steps of 20"
        return f"{self.codec.name} {contents}, {rates} kHz, {channels}, {pace}"


_EITHER = (ContentType.RTP, ContentType.RAW_AUDIO)
_MONO, _STEREO = AudioChannel.MONO, AudioChannel.STEREO
AUDIO_ROWS = (
    _AudioRow(Codec.L16, (ContentType.RAW_AUDIO,), tuple(SampleRate), (_MONO, _STEREO), range(20, 1001, 20)),
    _AudioRow(Codec.OPUS, _EITHER, (SampleRate.SR_48K,), (_MONO, _STEREO), range(20, 21)),
    _AudioRow(Codec.G711, _EITHER, (SampleRate.SR_8K,), (_MONO,), range(20, 21)),
    _AudioRow(Codec.G722, _EITHER, (SampleRate.SR_16K,), (_MONO,), range(20, 21)),
)
"""The audio forms that a server can grant; a form is valid only as a whole row."""


def _audio_rows() -> str:
    return "Valid are: " + "; ".join(map(str, AUDIO_ROWS)) + "."


def audio_fault(params: AudioParams) -> Fault | None:
    """What is wrong with audio parameters, or `None`; missing fields are the defaults."""
    full = params.or_else(DEFAULT_PARAMS.audio)
    rows = _audio_rows()
    row = next((row for row in AUDIO_ROWS if row.codec == full.codec), None)
    if row is None:
        return Fault(
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_CODEC, f"audio codec {full.codec} is not an audio codec. {rows}"
        )
    checks: tuple[tuple[bool, StatusCode, str], ...] = (
        (
            full.content_type in row.contents,
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_CONTENT_TYPE,
            f"content_type {ContentType.label(full.content_type)}",
        ),
        (
            full.sample_rate in row.rates,
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_SAMPLE_RATE,
            f"sample_rate {SampleRate.label(full.sample_rate)}",
        ),
        (
            full.channel in row.channels,
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_CHANNEL,
            f"channel {AudioChannel.label(full.channel)}",
        ),
        (
            full.send_rate in row.send_rates,
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_SEND_RATE,
            f"send_rate {full.send_rate} ms",
        ),
        (
            full.data_opt in (DataOption.AUDIO_MIXED_STREAM, DataOption.AUDIO_MULTI_STREAMS),
            StatusCode.STATUS_INVALID_MEDIA_AUDIO_DATA_OPT,
            f"data_opt {DataOption.label(full.data_opt)}",
        ),
    )
    for good, status, what in checks:
        if not good:
            return Fault(status, f"audio {what} does not fit {row.codec.name}. {rows}")
    return None


_PICTURE_ROWS = "Valid are: JPG or PNG up to 5 fps; H264 from 6 to 30 fps."


def _picture_fault(
    name: str,
    full: VideoParams | ShareParams,
    *,
    content_type: StatusCode,
    codec: StatusCode,
    resolution: StatusCode,
    fps: StatusCode,
) -> Fault | None:
    """The rules that video and share have in common; share may use H.264 at any rate from 1 fps (PROTOCOL §5)."""
    if full.content_type not in (ContentType.RTP, ContentType.RAW_VIDEO):
        return Fault(content_type, f"{name} content_type {ContentType.label(full.content_type)}: use 3 RAW_VIDEO.")
    if full.codec not in (Codec.JPG, Codec.PNG, Codec.H264):
        return Fault(codec, f"{name} codec {Codec.label(full.codec)} is not a picture codec. {_PICTURE_ROWS}")
    if full.resolution not in tuple(Resolution):
        sizes = ", ".join(f"{int(size)} {size.name}" for size in Resolution)
        return Fault(resolution, f"{name} resolution {full.resolution}: use one of {sizes}.")
    if full.fps is None or not 1 <= full.fps <= 30:
        return Fault(fps, f"{name} fps {full.fps}: use 1 to 30. {_PICTURE_ROWS}")
    slow = full.codec in (Codec.JPG, Codec.PNG)
    if (slow and full.fps > 5) or (not slow and full.fps <= 5 and name == "video"):
        return Fault(codec, f"{name} codec {Codec.label(full.codec)} does not fit {full.fps} fps. {_PICTURE_ROWS}")
    return None


def video_fault(params: VideoParams) -> Fault | None:
    """What is wrong with video parameters, or `None`."""
    full = params.or_else(DEFAULT_PARAMS.video)
    if full.data_opt not in (DataOption.VIDEO_SINGLE_ACTIVE_STREAM, DataOption.VIDEO_SINGLE_INDIVIDUAL_STREAM):
        return Fault(
            StatusCode.STATUS_INVALID_MEDIA_VIDEO_DATA_OPT,
            f"video data_opt {DataOption.label(full.data_opt)}: use 3 (active speaker) or 4 (one participant).",
        )
    return _picture_fault(
        "video",
        full,
        content_type=StatusCode.STATUS_INVALID_MEDIA_VIDEO_CONTENT_TYPE,
        codec=StatusCode.STATUS_INVALID_MEDIA_VIDEO_CODEC,
        resolution=StatusCode.STATUS_INVALID_MEDIA_VIDEO_RESOLUTION,
        fps=StatusCode.STATUS_INVALID_MEDIA_VIDEO_FPS,
    )


def share_fault(params: ShareParams) -> Fault | None:
    """What is wrong with share parameters, or `None`."""
    return _picture_fault(
        "share",
        params.or_else(DEFAULT_PARAMS.share),
        content_type=StatusCode.STATUS_INVALID_MEDIA_DESKSHARE_CONTENT_TYPE,
        codec=StatusCode.STATUS_INVALID_MEDIA_DESKSHARE_CODEC,
        resolution=StatusCode.STATUS_INVALID_MEDIA_DESKSHARE_RESOLUTION,
        fps=StatusCode.STATUS_INVALID_MEDIA_DESKSHARE_FPS,
    )


def transcript_fault(params: TranscriptParams) -> Fault | None:
    """What is wrong with transcript parameters, or `None`."""
    full = params.or_else(DEFAULT_PARAMS.transcript)
    if full.content_type != ContentType.TEXT:
        return Fault(
            StatusCode.STATUS_INVALID_MEDIA_TRANSCRIPT_CONTENT_TYPE,
            f"transcript content_type {ContentType.label(full.content_type)}: use 5 TEXT.",
        )
    if full.src_language not in tuple(Language):
        return Fault(
            StatusCode.STATUS_INVALID_MEDIA_TRANSCRIPT_SOURCE_LANGUAGE,
            f"transcript src_language {full.src_language}: use -1 to 36, for example 9 (English).",
        )
    return None


def chat_fault(params: ChatParams) -> Fault | None:
    """What is wrong with chat parameters, or `None`."""
    if params.content_type not in (None, ContentType.TEXT):
        return Fault(
            StatusCode.STATUS_INVALID_MEDIA_CHAT_CONTENT_TYPE,
            f"chat content_type {ContentType.label(params.content_type)}: use 5 TEXT.",
        )
    return None


def params_fault(params: MediaParams, types: MediaType) -> Fault | None:
    """The first thing that is wrong with the parameters of the kinds asked for, or `None`."""
    kinds = spelled_out(types)
    if MediaType.AUDIO in kinds and params.audio and (fault := audio_fault(params.audio)):
        return fault
    if MediaType.VIDEO in kinds and params.video and (fault := video_fault(params.video)):
        return fault
    if MediaType.SHARE in kinds and params.share and (fault := share_fault(params.share)):
        return fault
    if MediaType.TRANSCRIPT in kinds and params.transcript and (fault := transcript_fault(params.transcript)):
        return fault
    if MediaType.CHAT in kinds and params.chat and (fault := chat_fault(params.chat)):
        return fault
    return None
