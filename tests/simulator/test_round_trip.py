"""The simulator encodes, the recorder decodes: what was said and shown comes out, in every format of PROTOCOL §5."""

import json
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from harness import Silent, make_station, read_wav

from rtms_cli.commands.groups import MediaOptions
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.recording.manifest import Manifest
from rtms_cli.recording.writer import Writer
from rtms_cli.simulator.decoding import Sound, load_sound
from rtms_cli.simulator.material import Material
from rtms_cli.simulator.media import mixed
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.server import App, Simulator

SECONDS, SPEED = 4, 4
SESSION = Scenario(SECONDS)
SPEECH = sorted((Path(__file__).parents[2] / "fixtures/speech").glob("*.flac"))


async def recorded(out: Path, *, scenario: Scenario = SESSION, **options: Any) -> tuple[Path, Manifest]:
    """Record a session of the simulator with what these options ask for."""
    app, writer, observer = App("client", "secret", "token"), Writer(), Silent()
    request = MediaOptions(**options).request()
    station = make_station(out, writer, request, sign=app.sign_stream, observer=observer)
    async with Simulator(app, speed=SPEED) as simulator:
        stream = simulator.announce(Product.MEETING, scenario)
        body = stream.webhook("started")
        station.take(body, read_webhook(body))
        await stream.done()
        await station.idle()
        assert stream.report().findings == ()
    await writer.close()
    [folder] = out.iterdir()  # noqa: ASYNC240
    manifest = Manifest.read(folder)
    assert (manifest.status, manifest.losses) == ("complete", [])
    return folder, manifest


_CODED = [("opus", 48_000, 1, 0.9), ("opus:48:2", 48_000, 2, 0.9), ("g711", 8_000, 1, 0.98), ("g722", 16_000, 1, 0.95)]
_PLAIN = [("l16:8", 8_000, 1, 1.0), ("l16:32:2:100", 32_000, 2, 1.0), ("l16:48:1:1000", 48_000, 1, 1.0)]


@pytest.mark.parametrize(
    ("form", "rate", "channels", "likeness", "rtp"),
    [(*row, False) for row in _CODED + _PLAIN] + [(*row, True) for row in _CODED],
)
async def test_sound(tmp_path: Path, form: str, rate: int, channels: int, likeness: float, rtp: bool) -> None:
    folder, manifest = await recorded(tmp_path, media="audio", audio=form, rtp=rtp)
    found_rate, samples = read_wav(folder / "audio/mixed.wav")
    samples = samples.reshape(-1, channels)
    assert (found_rate, len(samples)) == (rate, SECONDS * rate)
    [track] = [one for one in manifest.tracks if one.kind == "audio"]
    assert (track.gap_count, track.lost) == (0, 0 if rtp else None)
    said = mixed(len(PEOPLE), 0, SECONDS * rate, rate)
    for side in range(channels):
        heard = samples[:, side]
        if likeness == 1.0:
            assert np.array_equal(heard, said)
            continue
        # An encoder looks ahead by some milliseconds; within 10 ms there is a shift at which both are the same.
        best = max(
            float(np.corrcoef(heard[shift : shift + 2 * rate], said[: 2 * rate])[0, 1]) for shift in range(rate // 100)
        )
        assert best > likeness


@pytest.mark.parametrize(
    ("form", "rate", "likeness"),
    [("opus", 48_000, 0.9), ("g711", 8_000, 0.99), ("g722", 16_000, 0.95), ("l16:8", 8_000, 0.999)],
)
async def test_speech(tmp_path: Path, form: str, rate: int, likeness: float) -> None:
    """Two people speak, in two languages; each has a file, and says in it what was said, as loud and at that time."""
    scenario = Scenario(5).with_material(Material(tuple(load_sound(path) for path in SPEECH)))
    folder, manifest = await recorded(tmp_path, scenario=scenario, media="audio", audio=form, separate=True)
    tracks = [track for track in manifest.tracks if track.kind == "audio"]
    assert len(tracks) == 2
    for track, path in zip(tracks, SPEECH, strict=True):
        found_rate, heard = read_wav(folder / track.path)
        assert found_rate == rate
        said = Sound(path, rate, 1).take(0, len(heard)).reshape(-1).astype(np.float64)
        heard = heard[: len(said)].astype(np.float64)
        assert abs(20 * np.log10(said.std() / heard.std())) < 1
        reach = len(said) - rate // 100
        best = max(float(np.corrcoef(heard[shift : shift + reach], said[:reach])[0, 1]) for shift in range(rate // 100))
        assert best > likeness, (path.name, best)


@pytest.mark.parametrize(
    ("video", "extension", "size"),
    [("h264:hd:10", "h264", (1280, 720)), ("png:sd:2", "pngs", None), ("jpg:hd:5", "mjpeg", (1280, 720))],
)
async def test_pictures(tmp_path: Path, video: str, extension: str, size: tuple[int, int] | None) -> None:
    folder, manifest = await recorded(tmp_path, media="video", video=video, video_user="first")
    [track] = [one for one in manifest.tracks if one.kind == "video"]
    assert track.path.endswith(extension)
    assert len(track.sizes) == 1
    assert size is None or track.sizes[0][1:] == size
    index = [json.loads(line) for line in (folder / f"{track.path}.index.jsonl").read_text().splitlines()]
    content = (folder / track.path).read_bytes()
    name = {"h264": "h264", "pngs": "png", "mjpeg": "mjpeg"}[extension]
    context = cast("Any", av.CodecContext.create(name, "r"))
    context.thread_count = 1
    shades = []
    for line in index:
        for frame in context.decode(av.Packet(content[line["offset"] : line["offset"] + line["length"]])):
            assert (frame.width, frame.height) == track.sizes[0][1:]
            shades.append(frame.reformat(format="gray").to_ndarray().tobytes())
    assert len(shades) >= len(index) - 2
    assert len(set(shades)) == len(shades)  # a counter is burnt in
