"""Few descriptors and a crowd of connections that say nothing: recordings lose nothing, and everyone is answered."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from crowd import play

from rtms_cli.protocol.media import MediaRequest, parse_media
from rtms_cli.wire.descriptors import FEWEST_CONNECTIONS, SPARE, Shares, for_a_stream, in_use, raise_limit, share_out

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")


async def test_a_crowd_costs_no_recording_anything(tmp_path: Path) -> None:
    found = await play(tmp_path, limit=128, idle=200, streams=3, seconds=2)
    assert found.answers == Counter({200: 3})
    assert found.sent == found.kept == 300
    assert found.losses == 0
    assert found.descriptors < 128
    assert found.probes_ms


async def test_starts_for_which_there_is_no_room_are_asked_for_again(tmp_path: Path) -> None:
    found = await play(tmp_path, limit=64, idle=60, streams=30, seconds=1)
    assert set(found.answers) == {200, 503}
    assert found.answers.total() == 30
    assert found.folders == found.answers[200]
    assert found.sent == found.kept
    assert found.losses == 0


@pytest.mark.parametrize(
    ("limit", "streams", "connections"),
    [(None, 100, 256), (65_536, 100, 256), (1024, 100, 246), (256, 23, 54), (64, 2, 8), (32, 1, 8), (1, 1, 8)],
)
def test_shares(limit: int | None, streams: int, connections: int) -> None:
    assert share_out(limit, 20, 7, 100, 256) == Shares(streams, connections)
    if limit is not None and limit > 20 + SPARE + FEWEST_CONNECTIONS + 7:
        assert 20 + SPARE + 7 * streams + connections <= limit


def test_what_a_stream_needs() -> None:
    assert for_a_stream(MediaRequest(parse_media("audio"))) == 5
    assert for_a_stream(MediaRequest()) == 9


def test_the_limit_is_raised_to_the_hard_one() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        raised = raise_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised >= min(hard, 10_240)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < in_use() < 200
