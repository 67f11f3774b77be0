"""`--audio`, `--video`, `--share`, `--language`: what they mean, and what is wrong with them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.commands.groups import MediaOptions
from rtms_cli.errors import Problem
from rtms_cli.protocol.media import AudioParams, ShareParams, VideoParams, parse_audio, parse_language, parse_video


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("l16", AudioParams(2, 1, 1, 1, 1, 20)),
        ("L16:48", AudioParams(2, 3, 1, 1, 1, 20)),
        ("l16:8000:2:100", AudioParams(2, 0, 2, 1, 1, 100)),
        ("l16:32k::1000", AudioParams(2, 2, 1, 1, 1, 1000)),
        ("opus", AudioParams(2, 3, 1, 4, 1, 20)),
        ("opus:48:2", AudioParams(2, 3, 2, 4, 1, 20)),
        ("g711", AudioParams(2, 0, 1, 2, 1, 20)),
        ("g722::1", AudioParams(2, 1, 1, 3, 1, 20)),
    ],
)
def test_audio_forms(text: str, params: AudioParams) -> None:
    assert MediaOptions("audio", audio=text).request().params.audio == params


def test_audio_of_each_and_with_rtp_headers() -> None:
    assert parse_audio("opus", separate=True, rtp=True) == AudioParams(1, 3, 1, 4, 2, 20)


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"audio": "mp3"}, "--audio: 'mp3' is not an audio format"),
        ({"audio": "l16:44.1"}, "--audio: '44.1' in 'l16:44.1'"),
        ({"audio": "l16:44100"}, "--audio: '44100' in"),
        ({"audio": "l16:48:x"}, "--audio: 'x' in"),
        ({"audio": "l16:48:2:20:1"}, "--audio: 'l16:48:2:20:1' is not an audio format"),
        ({"audio": "opus:16"}, "audio sample_rate 1 SR_16K does not fit OPUS"),
        ({"audio": "g711:8:2"}, "audio channel 2 STEREO does not fit G711"),
        ({"audio": "l16:48:2:30"}, "audio send_rate 30 ms does not fit L16"),
        ({"audio": "l16", "rtp": True}, "audio content_type 1 RTP does not fit L16"),
        ({"video": "vp8"}, "--video: 'vp8' is not a picture format"),
        ({"video": "h264:uhd"}, "--video: 'h264:uhd' is not a picture format"),
        ({"video": "h264:hd:5"}, "video codec 7 H264 does not fit 5 fps"),
        ({"video": "jpg:hd:6"}, "video codec 5 JPG does not fit 6 fps"),
        ({"share": "png:fhd:ten"}, "--share: 'png:fhd:ten' is not a picture format"),
        ({"share": "h264:fhd:31"}, "share fps 31"),
        ({"language": "Klingon"}, "--language: 'Klingon' is not one of Zoom's languages"),
        ({"media": "smell"}, "--media: 'smell' is not a kind of media"),
    ],
)
def test_what_is_wrong_is_named(options: dict[str, object], start: str) -> None:
    given_options: dict[str, object] = {"media": "all"} | options
    with pytest.raises(Problem) as raised:
        MediaOptions(**given_options).request()  # type: ignore[arg-type]
    assert raised.value.what.startswith(start)


def test_pictures() -> None:
    request = MediaOptions(video="h264:fhd", share="png:sd:1", video_user="first", skip_buffered=True).request()
    assert request.params.video == VideoParams(3, 7, 3, 4, 25)
    assert request.params.share == ShareParams(3, 6, 1, 1)
    assert (request.video_user, request.buffer_data) == ("first", False)
    assert parse_video("jpg::2") == VideoParams(3, 5, 2, 3, 2)


@pytest.mark.parametrize(
    ("text", "number"),
    [("German", 14), ("14", 14), ("french (canada)", 12), ("FRENCH_FRANCE", 13), ("-1", -1), ("none", -1), ("0", 0)],
)
def test_languages(text: str, number: int) -> None:
    assert parse_language(text) == number


@given(st.text(alphabet="l16opusg7:248k0 -x", max_size=20))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        codec = parse_audio(text).codec
    except ValueError as error:
        codec, said = None, str(error)
    assert codec in (1, 2, 3, 4) or "Valid are: " in said
