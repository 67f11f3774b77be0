"""Media that differ from what was granted, as sent by a server with certain deviations."""

import base64
from collections.abc import Callable, Iterator
from itertools import chain, dropwhile, takewhile
from typing import TypeVar

from msgspec import structs

from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import Audio, Media, Message, Share, Video
from rtms_cli.protocol.numbers import AudioChannel, Codec
from rtms_cli.simulator.cues import Cue
from rtms_cli.simulator.deviations import MISFITS, Deviation

_M = TypeVar("_M", bound=Media)
_START_CODE = b"\0\0\0\1"


def sent_instead(message: Message, deviations: frozenset[Deviation], params: MediaParams) -> list[Message]:
    """Return the messages to send instead of a message."""
    if not deviations & MISFITS:
        return [message]
    if isinstance(message, Audio):
        return [_audio(message, deviations, params)]
    if isinstance(message, Video | Share) and Deviation.NAL_UNITS in deviations:
        return _units(message)
    return [message]


def other_codec(make: Callable[[MediaParams], Iterator[Cue]], params: MediaParams, from_ms: int) -> Iterator[Cue]:
    """Yield picture messages that switch to another codec at a given time."""
    other = MediaParams(
        params.audio,
        None if params.video is None else structs.replace(params.video, codec=_other(params.video.codec)),
        None if params.share is None else structs.replace(params.share, codec=_other(params.share.codec)),
    )
    return chain(
        takewhile(lambda cue: cue.at_ms < from_ms, make(params)),
        dropwhile(lambda cue: cue.at_ms < from_ms, make(other)),
    )


def _other(codec: int | None) -> int:
    return Codec.JPG if codec == Codec.H264 else Codec.H264


def _audio(message: Audio, deviations: frozenset[Deviation], params: MediaParams) -> Audio:
    audio = params.audio
    if Deviation.TWIN_TIMES in deviations and message.timestamp is not None:
        step_ms = 2 * ((audio and audio.send_rate) or 20)
        message = structs.replace(message, timestamp=message.timestamp // step_ms * step_ms)
    if Deviation.OTHER_CHANNELS in deviations and (audio is None or audio.codec in (None, Codec.L16)):
        payload = message.payload() or b""
        if audio is not None and audio.channel == AudioChannel.STEREO:
            payload = b"".join(payload[at : at + 2] for at in range(0, len(payload), 4))
        else:
            payload = b"".join(2 * payload[at : at + 2] for at in range(0, len(payload), 2))
        message = _with(message, payload)
    return message


def _units(message: Video | Share) -> list[Message]:
    payload = message.payload() or b""
    units = [unit for unit in payload.replace(_START_CODE, _START_CODE[1:]).split(_START_CODE[1:]) if unit]
    if not payload.startswith((_START_CODE, _START_CODE[1:])) or len(units) < 2:
        return [message]
    return [_with(message, _START_CODE + unit) for unit in units]


def _with(message: _M, payload: bytes) -> _M:
    return structs.replace(message, data=base64.b64encode(payload).decode(), length=len(payload))
