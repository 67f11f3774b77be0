"""Runs of packets make the same files as their frames, one by one, whatever comes and however it is cut."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, packed, tree
from harness import Heard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from sayings import G711, H264, L16, OPUS, RTP, SAID, STEREO, frames_from

from rtms_cli.machine import Frame, Packets
from rtms_cli.protocol.messages import MEDIA_HEADS, Media, read, read_packets
from rtms_cli.recording import runs
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.tracks import without_t


def record(
    folder: Path,
    items: Sequence[Frame | Packets],
    cuts: Sequence[int],
    product: str,
    heard: Heard | None = None,
    unwritten: Sequence[bool] = (),
) -> dict[str, bytes]:
    """The files of a recording.

    :param unwritten: in which folds nothing is written.
    """
    folder.mkdir()
    recorder = Recorder(folder, structs.replace(HEADER, product=product), keep_encoded=True)
    recorder.listen(heard)
    edges = sorted({0, len(items), *(min(cut, len(items)) for cut in cuts)})
    for place, (start, end) in enumerate(pairwise(edges)):
        recorder.fold(items[start:end], writes=not any(unwritten[place : place + 1]))
    recorder.close()
    recorder.listen(None)
    return tree(folder)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    params=st.sampled_from([L16, L16, L16, STEREO, OPUS, G711, RTP]),
    product=st.sampled_from(["meeting", "meeting", "contact_center", "phone"]),
    sayings=st.lists(SAID, min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    folds=st.lists(st.integers(0, 60), max_size=4),
    unwritten=st.lists(st.booleans(), max_size=5),
)
def test_runs_make_the_files_of_their_frames_whoever_listens(
    params: dict[str, object],
    product: str,
    sayings: list[tuple[object, ...]],
    cuts: list[int],
    folds: list[int],
    unwritten: list[bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    frames = frames_from(params, sayings)
    folder = tmp_path_factory.mktemp("runs")
    alone = record(folder / "alone", frames, (), product)
    heard = Heard()
    together = record(folder / "together", packed(frames, cuts), folds, product, heard, unwritten)
    manifest = json.loads(together["manifest.json"])
    assert [tap["target"] for tap in manifest["taps"]] == ["a test"]
    assert manifest | {"taps": []} == json.loads(alone["manifest.json"])
    del together["manifest.json"], alone["manifest.json"]
    for name in ("transcript.jsonl", "chat.jsonl", "events.jsonl"):
        lines = [without_t(line) for path, line in heard.lines if path == name]
        assert lines == [without_t(line) for line in alone.get(name, b"").splitlines(keepends=True)]
    assert together.keys() == alone.keys()
    for name, content in alone.items():
        assert together[name] == content, name


@pytest.mark.parametrize("product", ["meeting", "phone"])
@pytest.mark.parametrize("kind", [14, 15])
def test_names_that_one_party_has_on_two_channels_are_all_told(kind: int, product: str, tmp_path: Path) -> None:
    frames = [granted(video={"codec": 7})]
    for number in range(12):
        fields = {"user_name": "Ben", "channel_id": 3} if number % 2 else {"user_name": "Ann"}
        data = bytes(640) if kind == 14 else H264
        frames.append(media(kind, data, ZERO_MS + 20 * number, user_id=7, at_us=20_000 * number, **fields))
    alone = record(tmp_path / "alone", frames, (), product)
    assert record(tmp_path / "together", packed(frames, ()), (), product) == alone


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sayings=st.lists(
        st.tuples(
            st.just("sound"),
            st.sampled_from([0, 0, None]),
            st.just("Ann"),
            st.sampled_from([20, 20, 20, 20, 0, -20, 40]),
            st.just(640),
            st.none(),
            st.sampled_from(["media", "media", "media.audio"]),
        ),
        min_size=4,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_one_track_may_come_with_several_ids_and_on_several_channels(
    sayings: list[tuple[object, ...]], cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frames = frames_from(L16, sayings)
    folder = tmp_path_factory.mktemp("runs")
    alone = record(folder / "alone", frames, (), "meeting")
    assert record(folder / "together", packed(frames, cuts), (), "meeting") == alone


def test_a_flow_is_placed_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two speakers and a camera, after a beginning, no packet is taken as a frame."""
    frames = [granted(video={"codec": 7})]
    for number in range(60):
        for user in (7, 8):
            frames.append(audio(bytes([user]) * 640, ZERO_MS + 20 * number, user_id=user, at_us=20_000 * number))
        frames.append(media(15, H264, ZERO_MS + 20 * number, user_id=7, at_us=20_000 * number))
    recorder = Recorder(tmp_path, HEADER)
    recorder.fold(packed(frames[:7]))
    monkeypatch.setattr(runs, "read", None)
    recorder.fold(packed(frames[7:]))
    recorder.close()
    assert {track.path: track.packets for track in recorder.manifest().tracks} == dict.fromkeys(
        ("audio/7.wav", "audio/8.wav", "video/7.h264"), 60
    )


RAW = st.builds(
    lambda number, blank, fields, tail: (
        b'{"msg_type":%b%d,' % (blank, number) + json.dumps(fields, ensure_ascii=False).encode()[1:] + tail
    ),
    st.sampled_from([14, 15, 16]),
    st.sampled_from([b"", b" "]),
    st.fixed_dictionaries({
        "content": st.fixed_dictionaries(
            {"data": st.sampled_from(["AAAA", "A" * 3000, "~" * 3000, "", "\\", '"', 5, None, "é" * 2000])},
            optional={
                "user_id": st.one_of(st.integers(), st.text(max_size=4)),
                "user_name": st.one_of(st.none(), st.text(max_size=5), st.just('"data":"~"')),
                "timestamp": st.one_of(st.just(ZERO_MS), st.just(ZERO_MS * 1000), st.integers(), st.none()),
                "length": st.one_of(st.integers(), st.booleans()),
                "channel_id": st.one_of(st.integers(0, 2), st.text(max_size=3)),
                "extra": st.sampled_from([{"data": "B" * 2500}, [[]] * 40, 1.5]),
            },
        )
    }),
    st.sampled_from([b"", b"", b"", b" ", b"}", b'{"data":"AAAA"}']),
)  # fmt: skip


TWISTS = [
    (b"", b""),
    (b'"user_name": "', b'"user_name": "\xff'),
    (b'"content"', b'"content": {"x": "\xff"}, "content"'),
]


@given(
    raws=st.lists(RAW, min_size=1, max_size=4),
    twist=st.sampled_from([*TWISTS[:1] * 6, *TWISTS[1:]]),
    whole=st.booleans(),
)
def test_packets_that_are_read_together_say_what_each_says(
    raws: list[bytes], twist: tuple[bytes, bytes], whole: bool
) -> None:
    assert all(raw.startswith(MEDIA_HEADS) for raw in raws)
    raws = [raw.replace(*twist, 1) for raw in raws]
    packets = read_packets(raws, whole=whole)
    for raw, packet in zip(raws, packets or (), strict=packets is not None):
        alone = read(raw)
        assert isinstance(alone, Media)
        content = packet.content
        assert (alone.msg_type, alone.letters().decode()) == (packet.msg_type, content.data)
        assert (alone.user_id, alone.user_name, alone.timestamp) == (
            content.user_id, content.user_name, content.timestamp,
        )  # fmt: skip
        assert (alone.length, alone.channel_id) == (content.length, content.channel_id)
