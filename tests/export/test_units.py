"""Messages that are not access units, or not in the codec that was granted: what is exported plays anyway."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest
from export.test_export import ANN, BOB, SHARE, VIDEO, exported, jpeg, made, number_of, numbered, pictures, tone
from frames import ZERO_MS, audio, media
from processes import rtms

from rtms_cli.export.units import Message, access_units

Said = list[tuple[int, bytes]]
"""Messages: their time in ms, their payload."""
COUNT, EVERY = 25, 10


def encoded(numbers: range, **options: str) -> list[list[bytes]]:
    """The NAL units of each access unit, without start codes."""
    context = cast("Any", av.CodecContext.create("libx264", "w"))
    context.width, context.height, context.pix_fmt = 256, 144, "yuv420p"
    context.time_base = Fraction(1, 25)
    opts = ":".join(f"{name}={value}" for name, value in {"keyint": str(EVERY), "scenecut": "0", **options}.items())
    context.options = {"tune": "zerolatency", "x264opts": opts}
    units = []
    for at, number in enumerate(numbers):
        frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
        frame.pts = at
        units += [bytes(packet) for packet in context.encode(frame)]
    return [[part.rstrip(b"\0") for part in unit.split(b"\0\0\1")[1:]] for unit in units]


def begun(nals: list[bytes], code: bytes = b"\0\0\0\1") -> bytes:
    return b"".join(code + nal for nal in nals)


def kind(nal: bytes) -> int:
    return nal[0] & 0x1F


def whole(units: list[list[bytes]]) -> Said:
    return [(40 * at, begun(unit)) for at, unit in enumerate(units)]


def one_nal_each(units: list[list[bytes]]) -> Said:
    return [(40 * at, begun([nal])) for at, unit in enumerate(units) for nal in unit]


def short_codes(units: list[list[bytes]]) -> Said:
    return [(40 * at, begun([nal], b"\0\0\1")) for at, unit in enumerate(units) for nal in unit]


def sets_earlier(units: list[list[bytes]]) -> Said:
    said: Said = []
    for at, unit in enumerate(units):
        sets = [nal for nal in unit if kind(nal) in (6, 7, 8)]
        if sets:
            said.append((40 * at - 1, begun(sets)))
        said.append((40 * at, begun([nal for nal in unit if nal not in sets])))
    return said


def sets_once(units: list[list[bytes]]) -> Said:
    said: Said = [(0, begun([nal for nal in units[0] if kind(nal) in (7, 8)]))]
    return said + [(40 * at, begun([nal for nal in unit if kind(nal) < 6])) for at, unit in enumerate(units)]


def sets_behind(units: list[list[bytes]]) -> Said:
    """Each message has the parameter sets of the next picture at its end."""
    said = one_nal_each(units)
    joined: Said = []
    for at, nal in said:
        if joined and kind(nal.lstrip(b"\0")[1:]) > 5:
            joined[-1] = (joined[-1][0], joined[-1][1] + nal)
        else:
            joined.append((at, nal))
    return joined


def several(units: list[list[bytes]]) -> Said:
    return [(40 * at, begun([nal for unit in units[at : at + 5] for nal in unit])) for at in range(0, len(units), 5)]


def torn(units: list[list[bytes]]) -> Said:
    """Cut anywhere but in a start code, as if messages were packets of a network."""
    said: Said = []
    for at, unit in enumerate(units):
        payload = begun(unit)
        cuts = [0, *(cut for cut in range(90, len(payload), 90) if payload[cut - 3 : cut + 3].count(0) == 0)]
        said += [(40 * at, payload[a:b]) for a, b in zip(cuts, [*cuts[1:], len(payload)], strict=True)]
    return said


def with_lengths(units: list[list[bytes]]) -> Said:
    return [(40 * at, b"".join(len(nal).to_bytes(4, "big") + nal for nal in unit)) for at, unit in enumerate(units)]


def bare(units: list[list[bytes]]) -> Said:
    return [(40 * at, nal) for at, unit in enumerate(units) for nal in unit if kind(nal) != 6]


def slices_later(units: list[list[bytes]]) -> Said:
    """Each slice a message, each a millisecond after the one before it."""
    return [(40 * at + n, begun([nal])) for at, unit in enumerate(units) for n, nal in enumerate(unit)]


ENCODERS: dict[str, dict[str, str]] = {
    "one slice": {},
    "four slices": {"slices": "4"},
    "delimiters": {"aud": "1", "slices": "2"},
    "only key frames": {"keyint": "1"},
    "cavlc": {"cabac": "0", "slices": "3"},
    "interlaced": {"interlaced": "1", "slices": "2"},
}


@pytest.mark.parametrize("split", [
    whole, one_nal_each, short_codes, sets_earlier, sets_once, sets_behind,
    several, torn, with_lengths, bare, slices_later,
])  # fmt: skip
def test_every_picture_of_any_messages_is_in_the_film(
    split: Callable[[list[list[bytes]]], Said], tmp_path: Path
) -> None:
    said = split(encoded(range(COUNT), slices="3"))
    frames = [media(15, payload, ZERO_MS + 10 + at, user_id=ANN) for at, payload in said]
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS), *frames], video=VIDEO)
    for form in ("mp4", "mkv"):
        [film] = exported(recording, "--to", form, "--out", tmp_path / form)
        found = pictures(film)
        assert [number for _, number in found] == list(range(COUNT))
        assert all(abs(at - (0.01 + 0.04 * n)) < 0.006 for n, (at, _) in enumerate(found))


@pytest.mark.parametrize("options", ENCODERS.values(), ids=list(ENCODERS))
@pytest.mark.parametrize("split", [whole, one_nal_each, sets_earlier, sets_once, several, slices_later])
def test_access_units_are_those_of_the_encoder(
    options: dict[str, str], split: Callable[[list[list[bytes]]], Said], tmp_path: Path
) -> None:
    units = encoded(range(COUNT), **options)
    said = split(units)
    path = tmp_path / "x.h264"
    path.write_bytes(b"".join(payload for _, payload in said))
    messages, offset = [], 0
    for at, payload in said:
        messages.append(Message(offset, len(payload), at))
        offset += len(payload)
    with path.open("rb") as source:
        found = list(access_units(source, messages))
        assert len(found) == len(units)
        for unit, nals in zip(found, units, strict=True):
            content = b"".join(source.seek(a) * b"" + source.read(b) for a, b in unit.parts)
            slices = [part.rstrip(b"\0") for part in content.split(b"\0\0\1")[1:]]
            assert [nal for nal in slices if kind(nal) < 6] == [nal for nal in nals if kind(nal) < 6]
            assert unit.is_key == any(kind(nal) == 5 for nal in nals)


def test_a_key_frame_without_parameter_sets_has_those_that_came_before(tmp_path: Path) -> None:
    units = encoded(range(3 * EVERY))
    messages, content = [], b""
    for at, payload in sets_once(units):
        messages.append(Message(len(content), len(payload), ZERO_MS + at))
        content += payload
    (tmp_path / "x.h264").write_bytes(content)
    with (tmp_path / "x.h264").open("rb") as source:
        first, *keys = [unit.prefix for unit in access_units(source, messages) if unit.is_key]
    assert first == b""
    assert keys == [begun([nal for nal in units[0] if kind(nal) in (7, 8)])] * 2


def test_cameras_with_their_parameter_sets_once_take_turns(tmp_path: Path) -> None:
    """The parameter sets of each come once and first: a player needs them again when its turn comes again."""
    ann, bob = encoded(range(40)), encoded(range(100, 140))
    shown = [media(15, payload, ZERO_MS + at, user_id=ANN) for at, payload in sets_once(ann)[:21]]
    shown += [media(15, payload, ZERO_MS + 800 + at, user_id=BOB) for at, payload in sets_once(bob)[:21]]
    shown += [media(15, payload, ZERO_MS + 800 + at, user_id=ANN) for at, payload in sets_once(ann)[21:]]
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS), *shown], video=VIDEO)
    [film] = exported(recording, "--to", "mkv", "--video-user", str(ANN), "--out", tmp_path / "ann")
    assert [number for _, number in pictures(film)] == list(range(40))
    [film] = exported(recording, "--to", "mkv", "--video-user", str(BOB), "--out", tmp_path / "bob")
    assert [number for _, number in pictures(film)] == list(range(100, 120))


def test_a_share_that_turns_to_h264_is_shown_whole(tmp_path: Path) -> None:
    images = [media(16, jpeg(n), ZERO_MS + 200 * n, user_id=ANN) for n in range(5)]
    images += [media(16, payload, ZERO_MS + 1000 + at, user_id=ANN) for at, payload in whole(encoded(range(5, 30)))]
    images += [media(16, jpeg(n), ZERO_MS + 2000 + 200 * (n - 30), user_id=ANN) for n in range(30, 35)]
    recording = made(tmp_path / "r", images, deskshare=SHARE)
    [film] = exported(recording, "--to", "mp4", "--layout", "share")
    assert [number for _, number in pictures(film)][:35] == list(range(35))
    files = exported(recording, "--to", "frames", "--layout", "share", "--every", "0.01", "--out", tmp_path / "f")
    with av.open(str(files[7])) as container:
        assert number_of(next(container.decode(video=0))) == 7
    assert len(files) == 35


@pytest.mark.parametrize("form", ["mp4", "mkv"])
def test_a_film_that_does_not_play_is_an_error(form: str, tmp_path: Path) -> None:
    broken = [(at, b"\0\0\0\1\x65" + bytes(range(1, 200))) for at in range(0, 1000, 40)]
    frames = [media(15, payload, ZERO_MS + at, user_id=ANN) for at, payload in broken]
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS), *frames], video=VIDEO)
    done = rtms("export", recording, "--to", form, cwd=tmp_path)
    assert done.returncode == 2
    assert f"The new {form} file does not play, and was not kept" in done.stderr
    assert not list((recording / "export").iterdir())


def test_a_film_of_images_that_do_not_decode_is_an_error(tmp_path: Path) -> None:
    frames = [media(15, b"\xff\xd8\xff" + b"x" * 50, ZERO_MS + at, user_id=ANN) for at in range(0, 1000, 200)]
    recording = made(tmp_path / "r", [audio(tone(440, 0), ZERO_MS), *frames], video={**VIDEO, "codec": 5})
    done = rtms("export", recording, "--to", "mp4", cwd=tmp_path)
    assert done.returncode == 2
    assert "None of the 5 pictures can be decoded" in done.stderr
    assert not list((recording / "export").iterdir())


def test_pictures_that_rtms_does_not_have_are_counted(tmp_path: Path) -> None:
    payloads = [jpeg(1), b"RIFF\0\0\0\0WEBPVP8 " + b"x" * 50, jpeg(2), b"GIF89a" + b"x" * 50]
    frames = [media(15, payload, ZERO_MS + 200 * at, user_id=ANN) for at, payload in enumerate(payloads)]
    recording = made(tmp_path / "r", frames, video={**VIDEO, "codec": 5})
    for form in ("mp4", "frames"):
        assert "2 pictures could not be decoded" in rtms("export", recording, "--to", form, cwd=tmp_path).stderr


def test_pictures_before_a_key_frame_are_counted_where_all_are_encoded_again(tmp_path: Path) -> None:
    late = [media(15, payload, ZERO_MS + at, user_id=ANN) for at, payload in whole(encoded(range(5)))[1:]]
    frames = [*late, media(15, jpeg(1), ZERO_MS + 400, user_id=BOB)]
    recording = made(tmp_path / "r", frames, video=VIDEO)
    assert "4 pictures could not be decoded" in rtms("export", recording, "--to", "mp4", cwd=tmp_path).stderr


@pytest.mark.parametrize("has_sound", [True, False])
def test_pictures_without_timestamps_are_seen_when_they_came(has_sound: bool, tmp_path: Path) -> None:
    units = whole(encoded(range(30)))
    frames = [audio(tone(440, 0), ZERO_MS, at_us=2_000_000)] if has_sound else []
    frames += [
        media(15, payload, (None, 0, -3)[n % 3], user_id=ANN, at_us=2_500_000 + 40_000 * n)
        for n, (_, payload) in enumerate(units)
    ]
    recording = made(tmp_path / "r", frames, video=VIDEO)
    [film] = exported(recording, "--to", "mkv")
    begin = 0.5 if has_sound else 2.5
    assert pictures(film) == [(round(begin + 0.04 * n, 3), n) for n in range(30)]
