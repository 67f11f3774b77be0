"""What may be asked for (PROTOCOL §5): the whole audio matrix, frame rates, kinds by name, and merging."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.protocol.media import (
    DEFAULT_PARAMS,
    AudioParams,
    ChatParams,
    MediaParams,
    ShareParams,
    TranscriptParams,
    VideoParams,
    audio_fault,
    chat_fault,
    media_names,
    params_fault,
    parse_media,
    share_fault,
    transcript_fault,
    video_fault,
)
from rtms_cli.protocol.numbers import MediaType

RTP, RAW = 1, 2
K8, K16, K32, K48 = 0, 1, 2, 3
L16, G711, G722, OPUS = 1, 2, 3, 4
TENS = range(0, 1041, 10)
# PROTOCOL's table once more: (content_type, codec, sample_rate, channel, send_rate).
VALID = {
    *itertools.product((RAW,), (L16,), (K8, K16, K32, K48), (1, 2), range(20, 1001, 20)),
    *itertools.product((RTP, RAW), (OPUS,), (K48,), (1, 2), (20,)),
    *itertools.product((RTP, RAW), (G711,), (K8,), (1,), (20,)),
    *itertools.product((RTP, RAW), (G722,), (K16,), (1,), (20,)),
}
ROWS = (
    "Valid are: L16 raw, 8/16/32/48 kHz, mono or stereo, 20 to 1000 ms in steps of 20; "
    "OPUS RTP or raw, 48 kHz, mono or stereo, 20 ms; G711 RTP or raw, 8 kHz, mono, 20 ms; "
    "G722 RTP or raw, 16 kHz, mono, 20 ms."
)


@pytest.mark.parametrize("codec", range(9))
def test_the_audio_matrix(codec: int) -> None:
    accepted = set()
    for content, rate, channel, pace in itertools.product(range(7), range(-1, 5), range(4), (-20, *TENS, 10_000)):
        fault = audio_fault(AudioParams(content, rate, channel, codec, 1, pace))
        if fault is None:
            accepted.add((content, codec, rate, channel, pace))
        else:
            assert fault.text.endswith(ROWS)
    assert accepted == {row for row in VALID if row[1] == codec}


@pytest.mark.parametrize(
    ("params", "status", "start"),
    [
        (AudioParams(codec=5), 22, "audio codec 5 is not an audio codec. "),
        (AudioParams(codec=77), 22, "audio codec 77 is not an audio codec. "),
        (AudioParams(content_type=RTP), 19, "audio content_type 1 RTP does not fit L16. "),
        (AudioParams(content_type=5), 19, "audio content_type 5 TEXT does not fit L16. "),
        (AudioParams(codec=OPUS), 20, "audio sample_rate 1 SR_16K does not fit OPUS. "),
        (AudioParams(sample_rate=4), 20, "audio sample_rate 4 (undocumented) does not fit L16. "),
        (AudioParams(codec=G722, channel=2), 21, "audio channel 2 STEREO does not fit G722. "),
        (AudioParams(channel=3), 21, "audio channel 3 (undocumented) does not fit L16. "),
        (AudioParams(send_rate=30), 24, "audio send_rate 30 ms does not fit L16. "),
        (AudioParams(send_rate=1020), 24, "audio send_rate 1020 ms does not fit L16. "),
        (AudioParams(codec=G722, send_rate=40), 24, "audio send_rate 40 ms does not fit G722. "),
        (AudioParams(data_opt=3), 23, "audio data_opt 3 VIDEO_SINGLE_ACTIVE_STREAM does not fit L16. "),
    ],
)
def test_audio_faults(params: AudioParams, status: int, start: str) -> None:
    fault = audio_fault(params)
    assert fault is not None
    assert (fault.status, fault.text) == (status, start + ROWS)


@pytest.mark.parametrize("data_opt", [1, 2])
def test_audio_mixed_and_per_participant(data_opt: int) -> None:
    assert audio_fault(AudioParams(data_opt=data_opt)) is None


JPG, PNG, H264 = 5, 6, 7
PICTURES = "Valid are: JPG or PNG up to 5 fps; H264 from 6 to 30 fps."


@pytest.mark.parametrize("codec", [JPG, PNG, H264])
@pytest.mark.parametrize("fps", range(-1, 33))
def test_frame_rates(codec: int, fps: int) -> None:
    # Share may be H.264 from 1 fps on: the pages differ on where pictures end.
    slow = codec != H264 and 1 <= fps <= 5
    video, share = video_fault(VideoParams(codec=codec, fps=fps)), share_fault(ShareParams(codec=codec, fps=fps))
    assert (video is None) == (slow or (codec == H264 and 6 <= fps <= 30))
    assert (share is None) == (slow or (codec == H264 and 1 <= fps <= 30))
    in_range = 1 <= fps <= 30
    for fault, codec_status, fps_status in ((video, 27, 30), (share, 33, 35)):
        if fault is not None:
            assert fault.status == (codec_status if in_range else fps_status)
            assert fault.text.endswith(PICTURES)


@pytest.mark.parametrize(
    ("params", "status", "text"),
    [
        (VideoParams(content_type=2), 26, "video content_type 2 RAW_AUDIO: use 3 RAW_VIDEO."),
        (VideoParams(codec=1), 27, f"video codec 1 L16 is not a picture codec. {PICTURES}"),
        (VideoParams(fps=25), 27, f"video codec 5 JPG does not fit 25 fps. {PICTURES}"),
        (VideoParams(codec=7), 27, f"video codec 7 H264 does not fit 5 fps. {PICTURES}"),
        (VideoParams(resolution=0), 28, "video resolution 0: use one of 1 SD, 2 HD, 3 FHD, 4 QHD."),
        (VideoParams(resolution=5), 28, "video resolution 5: use one of 1 SD, 2 HD, 3 FHD, 4 QHD."),
        (VideoParams(data_opt=1), 29, "video data_opt 1 AUDIO_MIXED_STREAM: use 3 (active speaker) or 4 (one partic"),
        (VideoParams(data_opt=5), 29, "video data_opt 5 VIDEO_MIXED_GALLERY_VIEW: use 3 (active speaker) or 4 (one "),
        (VideoParams(fps=31), 30, f"video fps 31: use 1 to 30. {PICTURES}"),
        (ShareParams(content_type=5), 32, "share content_type 5 TEXT: use 3 RAW_VIDEO."),
        (ShareParams(codec=8), 33, f"share codec 8 (undocumented) is not a picture codec. {PICTURES}"),
        (ShareParams(resolution=9), 34, "share resolution 9: use one of 1 SD, 2 HD, 3 FHD, 4 QHD."),
        (ShareParams(fps=0), 35, f"share fps 0: use 1 to 30. {PICTURES}"),
        (TranscriptParams(content_type=2), 37, "transcript content_type 2 RAW_AUDIO: use 5 TEXT."),
        (TranscriptParams(src_language=37), 43, "transcript src_language 37: use -1 to 36, for example 9 (English)."),
        (TranscriptParams(src_language=-2), 43, "transcript src_language -2: use -1 to 36, for example 9 (English)."),
        (ChatParams(1), 39, "chat content_type 1 RTP: use 5 TEXT."),
        (VideoParams(3, 7, 4, 4, 30), None, ""),
        (VideoParams(content_type=1), None, ""),
        (ShareParams(3, 6, 1, 5), None, ""),
        (TranscriptParams(5, -1, False), None, ""),
        (TranscriptParams(src_language=36), None, ""),
        (ChatParams(5), None, ""),
    ],
)
def test_the_other_kinds(
    params: VideoParams | ShareParams | TranscriptParams | ChatParams, status: int | None, text: str
) -> None:
    match params:
        case VideoParams():
            fault, kind, all_of_it = video_fault(params), MediaType.VIDEO, MediaParams(video=params)
        case ShareParams():
            fault, kind, all_of_it = share_fault(params), MediaType.SHARE, MediaParams(share=params)
        case TranscriptParams():
            fault, kind, all_of_it = transcript_fault(params), MediaType.TRANSCRIPT, MediaParams(transcript=params)
        case ChatParams():
            fault, kind, all_of_it = chat_fault(params), MediaType.CHAT, MediaParams(chat=params)
    assert (fault and fault.status) == status
    assert (fault.text if fault else "").startswith(text)
    assert params_fault(all_of_it, kind) == params_fault(all_of_it, MediaType.ALL) == fault
    assert params_fault(all_of_it, MediaType.AUDIO) is None  # what is not asked for is not checked


def test_the_defaults_are_zooms_and_valid() -> None:
    assert DEFAULT_PARAMS == MediaParams(
        AudioParams(2, 1, 1, 1, 1, 20),
        VideoParams(3, 5, 2, 3, 5),
        ShareParams(3, 5, 3, 1),
        TranscriptParams(5, 9, True),
        ChatParams(5),
    )
    assert params_fault(DEFAULT_PARAMS, MediaType.ALL) is None
    assert params_fault(MediaParams(audio=AudioParams(codec=OPUS)), MediaType.AUDIO) == audio_fault(
        AudioParams(codec=OPUS)
    )


@pytest.mark.parametrize(
    ("text", "bits", "names"),
    [
        ("audio", 1, ["audio"]),
        ("audio,transcript", 9, ["audio", "transcript"]),
        (" Chat , VIDEO ", 18, ["video", "chat"]),
        ("share,share", 4, ["share"]),
        ("all", 31, ["audio", "video", "share", "transcript", "chat"]),
        ("all,audio", 31, ["audio", "video", "share", "transcript", "chat"]),
    ],
)
def test_kinds_by_name(text: str, bits: int, names: list[str]) -> None:
    types = parse_media(text)
    assert (types, media_names(types)) == (bits, names)


@pytest.mark.parametrize(("text", "wrong"), [("", ""), ("audio,", ""), ("sound", "sound"), ("audio;video",) * 2])
def test_kinds_that_are_none(text: str, wrong: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_media(text)
    expected = f"'{wrong}' is not a kind of media: use audio, video, share, transcript, chat, all."
    assert str(caught.value) == expected


def test_all_is_the_five_kinds() -> None:
    assert media_names(MediaType.ALL) == ["audio", "video", "share", "transcript", "chat"]
    assert DEFAULT_PARAMS.only(MediaType.ALL) == DEFAULT_PARAMS
    assert DEFAULT_PARAMS.only(MediaType.AUDIO | MediaType.CHAT) == MediaParams(
        audio=DEFAULT_PARAMS.audio, chat=DEFAULT_PARAMS.chat
    )


def test_granted_over_asked() -> None:
    granted = MediaParams(audio=AudioParams(codec=OPUS, sample_rate=K48))
    merged = granted.or_else(MediaParams(audio=AudioParams(2, 1, 2, 1, 2, 20), chat=ChatParams(5)))
    assert merged == MediaParams(audio=AudioParams(2, K48, 2, OPUS, 2, 20), chat=ChatParams(5))


NUMBER = st.none() | st.integers(-1, 40)
PARAMS = st.builds(
    MediaParams,
    st.none() | st.builds(AudioParams, *[NUMBER] * 6),
    st.none() | st.builds(VideoParams, *[NUMBER] * 5),
    st.none() | st.builds(ShareParams, *[NUMBER] * 4),
    st.none() | st.builds(TranscriptParams, NUMBER, NUMBER, st.none() | st.booleans()),
    st.none() | st.builds(ChatParams, NUMBER),
)


@settings(deadline=None)
@given(PARAMS)
def test_what_is_written_reads_back(params: MediaParams) -> None:
    written = json.loads(json.dumps(params.to_json()))
    assert "share" not in written
    assert MediaParams.read(written) == params
    assert params.or_else(MediaParams()) == MediaParams().or_else(params) == params


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from("audio video deskshare transcript codec fps language".split()), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(ANY)
def test_any_media_params_are_read_and_checked(given_params: object) -> None:
    params = MediaParams.read(given_params)
    wanted = given_params if isinstance(given_params, dict) else {}
    assert (params.audio is not None) == isinstance(wanted.get("audio"), dict)
    assert (params.share is not None) == isinstance(wanted.get("deskshare"), dict)
    fault = params_fault(params, MediaType.ALL)
    assert fault is None or 17 <= fault.status <= 43
