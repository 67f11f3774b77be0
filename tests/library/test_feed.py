"""What a program is given of frames: the recorder's own samples, pictures and lines, as items."""

import asyncio
from collections.abc import Sequence

import numpy as np
from frames import HEADER, ZERO_MS, audio, granted, media, packed, said
from msgspec import structs

from rtms_cli import Audio, Chat, Event, Item, Picture, Transcript
from rtms_cli.library.streams import Feed, Stream
from rtms_cli.library.waiting import Waiting
from rtms_cli.machine import Frame
from rtms_cli.protocol.numbers import ContactCenterEvent, Product
from rtms_cli.protocol.webhooks import Stream as Announced
from rtms_cli.station.station import recorder_nowhere


async def fed(frames: Sequence[Frame], product: Product = Product.MEETING) -> list[Item]:
    """The items of frames that come at once."""
    waiting = Waiting(10, asyncio.get_running_loop())
    stream = Stream(Announced(product, "id", "stream", "wss://x"), None, waiting, lambda: None)
    recorder = recorder_nowhere(structs.replace(HEADER, product=product.value))
    recorder.listen(Feed(stream, waiting))
    recorder.fold(packed(frames))
    recorder.close()
    waiting.end()
    items: list[Item] = []
    while (item := await waiting.take()) is not None:
        items.append(item)
    return items


async def test_a_burst_of_sound_comes_in_pieces() -> None:
    pcm = np.random.default_rng(1).integers(-3000, 3000, 150 * 320).astype("<i2")
    frames = [audio(pcm[n * 320 : n * 320 + 320].tobytes(), ZERO_MS + n * 20, at_us=n) for n in range(150)]
    items = [item for item in await fed([granted(), *frames]) if isinstance(item, Audio)]
    assert max(item.seconds for item in items) == 1.0
    assert np.array_equal(np.concatenate([item.samples for item in items]), pcm)
    end = ZERO_MS
    for item in items:
        assert item.timestamp == end
        end += round(item.seconds * 1000)
    assert not items[0].samples.flags.writeable


async def test_stereo_has_two_columns() -> None:
    pcm = np.arange(1280).astype("<i2")
    form = {"content_type": 2, "sample_rate": 1, "channel": 2, "codec": 1, "data_opt": 1, "send_rate": 20}
    frames = [audio(pcm[n * 640 : n * 640 + 640].tobytes(), ZERO_MS + n * 20, at_us=n) for n in range(2)]
    items = [item for item in await fed([granted(audio=form), *frames]) if isinstance(item, Audio)]
    assert np.array_equal(np.concatenate([item.samples for item in items]), pcm.reshape(-1, 2))
    assert sum(item.seconds for item in items) == 0.04


async def test_late_sound_says_when_it_was() -> None:
    frames = [audio(bytes([n + 1]) * 640, ZERO_MS + n * 20, at_us=place) for place, n in enumerate((0, 2, 1, 1))]
    items = [item for item in await fed([granted(), *frames]) if isinstance(item, Audio)]
    assert [(item.timestamp - ZERO_MS, int(item.samples[0])) for item in items] == [
        (0, 0x0101),
        (40, 0x0303),
        (20, 0x0202),
    ]


async def test_in_a_contact_center_a_channel_is_somebody() -> None:
    told = {
        "event_type": ContactCenterEvent.USER_ANSWERED,
        "timestamp": ZERO_MS,
        "participant_info": {"user_id": 7, "channel_id": 3, "display_name": "Anna"},
    }
    frames = [
        said({"msg_type": 6, "event": told}, 1, "signaling"),
        audio(bytes(range(256)) * 2 + bytes(128), ZERO_MS, user_id=None, channel_id=3, at_us=2),
        media(17, "Hello.", ZERO_MS + 20, user_id=7, at_us=3),
        media(18, "Hi.", ZERO_MS + 30, user_id=7, at_us=4),
    ]
    items = await fed([granted(), *frames], Product.CONTACT_CENTER)
    (event,) = (item for item in items if isinstance(item, Event))
    (sound,) = (item for item in items if isinstance(item, Audio))
    assert event.name == "USER_ANSWERED"
    assert (sound.user_id, sound.user_name) == (3, "Anna")
    assert [item.user_id for item in items if isinstance(item, Transcript | Chat)] == [3, 3]


async def test_pictures_say_where_a_decoder_can_begin() -> None:
    key, delta = b"\0\0\0\1\x67\x42\0\0\0\0\1\x65\x88", b"\0\0\0\1\x41\x9a\x22"
    video = {"content_type": 3, "codec": 7, "resolution": 2, "fps": 25, "data_opt": 3}
    frames = [media(15, data, ZERO_MS + n, user_id=5, at_us=n) for n, data in enumerate((key, delta, key))]
    items = [item for item in await fed([granted(video=video), *frames]) if isinstance(item, Picture)]
    assert [(item.codec, item.is_key, item.data) for item in items] == [
        ("H264", True, key), ("H264", False, delta), ("H264", True, key),
    ]  # fmt: skip
    assert [item.user_id for item in items] == [5] * 3


async def test_a_correction_says_so() -> None:
    frames = [
        media(17, "Helo.", ZERO_MS, user_id=5, at_us=1, start_time=ZERO_MS, end_time=ZERO_MS + 5),
        media(17, "Hello.", ZERO_MS, user_id=5, at_us=2, start_time=ZERO_MS, end_time=ZERO_MS + 5, attribute=2),
    ]
    items = [item for item in await fed([granted(), *frames]) if isinstance(item, Transcript)]
    assert [(item.text, item.attribute, item.start_time) for item in items] == [
        ("Helo.", "", ZERO_MS), ("Hello.", "UPDATE", ZERO_MS),
    ]  # fmt: skip
