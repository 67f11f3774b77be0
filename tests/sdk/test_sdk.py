"""Zoom's own SDK joins the simulator over TLS, and gets every byte. Skipped if there is no wheel of it."""

import asyncio
import base64
import importlib.util
import json
import ssl
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import made_certificate

from rtms_cli.protocol.media import DEFAULT_PARAMS, AudioParams, MediaParams, ShareParams, VideoParams
from rtms_cli.protocol.messages import Media, Transcript
from rtms_cli.protocol.numbers import MediaType, Product, StopReason
from rtms_cli.recording.codecs import new_decoder
from rtms_cli.simulator.cues import make_cues
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, LiveStream, Simulator
from rtms_cli.simulator.zoom import Report

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("rtms") is None, reason="pip install 'rtms-cli[sdk]' (Linux, x86-64)"),
    pytest.mark.timeout(60),
]

SECONDS = 3
L16 = AudioParams(2, 1, 1, 1, 1, 20)
L16_EACH = AudioParams(2, 1, 1, 1, 2, 20)
OPUS = AudioParams(2, 3, 2, 4, 1, 20)
VIDEO, SHARE = VideoParams(3, 5, 2, 3, 5), ShareParams(3, 5, 3, 1)
_IDS = {
    Product.MEETING: "meeting_uuid",
    Product.WEBINAR: "webinar_uuid",
    Product.VIDEO_SDK: "session_id",
    Product.CONTACT_CENTER: "engagement_id",
}

Got = Mapping[str, Sequence[dict[str, Any]]]


async def joined(
    folder: Path,
    product: Product,
    kinds: Sequence[str],
    params: MediaParams,
    *,
    secret: str = "a secret",
    seconds: int = SECONDS,
    events: Sequence[int] = (),
) -> tuple[Got, Report, LiveStream]:
    """Let the SDK join a stream, and give what it said that it got, what the simulator says of it, and the stream."""
    await asyncio.to_thread(made_certificate, folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "both.pem")
    app = App("an id", "a secret", "a token")
    async with Simulator(app, public_host="localhost", tls=tls) as simulator:
        stream = simulator.announce(product, Scenario(seconds))
        payload = json.loads(stream.webhook("started"))["payload"]
        assert payload["server_urls"].startswith("wss://localhost:")
        wanted: dict[str, Any] = {
            "ids": {_IDS[product]: payload.get(_IDS[product]) or payload["meeting_uuid"]},
            "rtms_stream_id": payload["rtms_stream_id"],
            "server_urls": payload["server_urls"],
            "client": "an id",
            "secret": secret,
            "kinds": kinds,
            "events": events,
            "seconds": 20,
        }
        if (audio := params.audio) is not None:
            samples = {1: 320, 3: 960}[audio.sample_rate or 0]
            form = [audio.content_type, audio.codec, audio.sample_rate, audio.channel, audio.data_opt, 20, samples]
            wanted["audio"] = form
        for kind, one in (("video", params.video), ("deskshare", params.share)):
            if one is not None:
                wanted[kind] = list(one.to_json().values())
        (folder / "logs").mkdir()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("sdk_client.py")),
            json.dumps(wanted),
            cwd=folder,
            env={"PATH": "/usr/bin", "HOME": str(folder), "ZM_RTMS_CA": str(folder / "cert.pem")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate()
        report = stream.report()
    got = defaultdict(list)
    for line in out.decode().splitlines():
        start = line.find('{"what"')
        if start >= 0:
            said, _ = json.JSONDecoder().raw_decode(line[start:])
            got[said.pop("what")].append(said)
    return got, report, stream


def sent(
    kind: MediaType, params: MediaParams, epoch_ms: int, seconds: int = SECONDS
) -> list[tuple[bytes, int, object]]:
    """What the simulator's scenario has of a kind: payload, timestamp, user."""
    messages = [cue.message for cue in make_cues(Scenario(seconds), params, epoch_ms, kind)]
    found: list[tuple[bytes, int, object]] = []
    for message in messages:
        if isinstance(message, Media):
            found.append((message.payload() or b"", message.timestamp or 0, message.user_id))
        elif isinstance(message, Transcript) and message.text:
            found.append((message.text.encode(), message.timestamp or 0, message.user_id))
    return found


def heard(got: Got, kind: str) -> list[tuple[bytes, int, object]]:
    """The same as the SDK gave it; everyone's user id, 0, is -1 there."""
    return [(base64.b64decode(one["data"]), one["timestamp"], max(0, one["user_id"])) for one in got[kind]]


@pytest.mark.parametrize("product", list(_IDS))
async def test_all_media_arrive_byte_for_byte(tmp_path: Path, product: Product) -> None:
    params = MediaParams(L16, VIDEO, SHARE, DEFAULT_PARAMS.transcript)
    got, report, _ = await joined(tmp_path, product, ["audio", "video", "deskshare", "transcript"], params)
    assert [one["reason"] for one in got["join"]] == [0]
    assert report.findings == ()
    assert report.ready
    audio = heard(got, "audio")
    if product is Product.CONTACT_CENTER:  # the SDK passes on no media without a user_id, which calls do not have
        assert (audio, report.sent["MEDIA_DATA_AUDIO"]) == ([], 2 * 50 * SECONDS)
        return
    epoch_ms = audio[0][1]
    assert audio == sent(MediaType.AUDIO, params, epoch_ms)
    samples = np.frombuffer(b"".join(data for data, _, _ in audio), "<i2")
    assert np.array_equal(samples, mixed(len(PEOPLE), 0, SECONDS * 16_000, 16_000))
    for name, kind in (
        ("video", MediaType.VIDEO),
        ("deskshare", MediaType.SHARE),
        ("transcript", MediaType.TRANSCRIPT),
    ):
        expected = sent(kind, params, epoch_ms)
        assert expected, name
        assert heard(got, name) == expected, name
    assert [one["reason"] for one in got["leave"]] == [int(StopReason.STOP_BC_MEETING_ENDED)]


async def test_each_participant_has_a_track(tmp_path: Path) -> None:
    params = MediaParams(L16_EACH)
    got, report, _ = await joined(tmp_path, Product.MEETING, ["audio"], params, seconds=6)
    assert report.findings == ()
    packets = heard(got, "audio")
    assert len({user for _, _, user in packets}) == 2  # two of three speak in these seconds
    expected = sent(MediaType.AUDIO, params, packets[0][1], 6)
    assert sorted(packets, key=str) == sorted(expected, key=str)
    assert {one["user_name"] for one in got["audio"]} == {"John Smith", "Zoë Müller"}


async def test_opus_as_it_asks_for_by_itself(tmp_path: Path) -> None:
    params = MediaParams(OPUS)
    got, report, _ = await joined(tmp_path, Product.MEETING, ["audio"], params)
    assert report.findings == ()
    packets = heard(got, "audio")
    assert [data for data, _, _ in packets] == [data for data, _, _ in sent(MediaType.AUDIO, params, packets[0][1])]
    decoder = new_decoder(4, 2)
    sound = np.frombuffer(b"".join(decoder.decode(data) for data, _, _ in packets), "<i2")
    assert len(sound) == 2 * SECONDS * 48_000
    assert np.abs(sound).max() > 3000


async def test_events_that_it_subscribed_to(tmp_path: Path) -> None:
    got, _, _ = await joined(tmp_path, Product.MEETING, ["audio"], MediaParams(L16), events=[2, 3, 4, 5, 6])
    kinds = [json.loads(one["text"])["event_type"] for one in got["event"]]
    assert {4, 5, 6} <= set(kinds)  # what came later than its subscription


async def test_a_wrong_secret_is_told_as_what_it_is(tmp_path: Path) -> None:
    got, report, _ = await joined(tmp_path, Product.MEETING, ["audio"], MediaParams(L16), secret="not the secret")
    assert [one["reason"] for one in got["join"]] == [3]
    assert [finding.what for finding in report.findings if "signature" in finding.what]
