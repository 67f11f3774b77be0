"""`every=5s`: one JPEG of each sender every so often, of whatever form the pictures have."""

import io
from typing import Any

import av
import numpy as np
import pytest
from frames import ZERO_MS, media
from live.tapping import Tapped
from processes import until

from rtms_cli.live.stills import MOST_UNITS, as_jpeg
from rtms_cli.protocol.numbers import Codec
from rtms_cli.simulator.codecs import H264Encoder, ImageEncoder

FPS = 10


def picture(shade: int) -> Any:
    """A grey picture of 64 × 48, planes below each other."""
    grey = np.full((72, 64), 128, np.uint8)
    grey[:48] = shade
    return grey


def payloads(codec: Codec, count: int) -> list[bytes]:
    """Pictures that become lighter, ten a second."""
    if codec is Codec.H264:
        encoder = H264Encoder(FPS)
        return [encoder.encode(picture(20 + number), key=number % 40 == 0) for number in range(count)]
    images = ImageEncoder(codec)
    return [images.encode(picture(20 + number)) for number in range(count)]


def shades(content: bytes) -> list[int]:
    """How light each JPEG of some, one behind the other, is; FFmpeg reads them."""
    with av.open(io.BytesIO(content), "r", format="mjpeg") as container:
        return [round(float(frame.to_ndarray(format="gray").mean())) for frame in container.decode(video=0)]


@pytest.mark.parametrize("codec", [Codec.JPG, Codec.PNG, Codec.H264])
async def test_a_jpeg_of_each_sender_every_so_often(codec: Codec, tmp_path: Any) -> None:
    tapped = Tapped(f"video,every=2s:file:{tmp_path / 'all'}", f"video,every=2s,user=8:file:{tmp_path / 'one'}")
    pictures = payloads(codec, 60)
    for number, payload in enumerate(pictures):
        at_us = (number + 1) * 100_000
        for user in (7, 8) if number % 2 else (8, 7):
            await tapped.come([media(15, payload, ZERO_MS + number * 100, user_id=user, at_us=at_us)])
        for tap in tapped.taps:  # a decoder that lags would leave one out, for what waits must not pile up
            assert tap._stills is not None
            await until(lambda stills=tap._stills: all(job.done() for job in stills.jobs()))  # type: ignore[misc]
    await tapped.close()
    for name, senders in (("one", 1), ("all", 2)):
        found = shades((tmp_path / name).read_bytes())
        assert len(found) == 3 * senders, name
        assert found == sorted(found)
        assert np.allclose(np.diff(found[::senders]), 20, atol=6)


def test_damaged_pictures_give_no_jpeg_and_raise_nothing() -> None:
    (key, *rest) = payloads(Codec.H264, 3)
    assert as_jpeg(Codec.H264, [b"", b"\0\0\0\1garbage", b"x" * 1000]) is None
    assert as_jpeg(Codec.PNG, [b"\x89PNG nothing"]) is None
    assert as_jpeg(99, [b"x"]) is None
    assert as_jpeg(Codec.H264, [key, b"\0\0\0\1\x41garbage", *rest]) is not None


async def test_a_stream_without_key_frames_costs_no_memory(tmp_path: Any) -> None:
    tapped = Tapped(f"video,every=3600s:file:{tmp_path / 'all'}")
    key, delta = payloads(Codec.H264, 2)
    for number in range(3 * MOST_UNITS):
        payload = delta if number else key
        tapped.recorder.fold([media(15, payload, ZERO_MS + number * 40, user_id=7, at_us=number * 40_000)])
    stills = tapped.taps[0]._stills
    assert stills is not None
    (camera,) = stills._cameras.values()
    assert len(camera.units) <= MOST_UNITS
    await tapped.close()
