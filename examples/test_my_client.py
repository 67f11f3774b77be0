"""The fixture `rtms_zoom` in use: tests of a client, which is here a few lines of Python.

pip install rtms-cli pytest
pytest examples/test_my_client.py
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import rtms_cli
from rtms_cli.testing import Zoom


def count_words(zoom: Zoom) -> int:
    """The client under test: how many words were said."""

    async def run() -> int:
        words = 0
        async with rtms_cli.join(
            zoom.payload, media="transcript", client_id=zoom.client_id, client_secret=zoom.client_secret
        ) as stream:
            async for item in stream:
                if isinstance(item, rtms_cli.Transcript):
                    words += len(item.text.split())
        return words

    return asyncio.run(run())


def test_words_are_counted(rtms_zoom: Zoom) -> None:
    assert count_words(rtms_zoom) > 0
    assert rtms_zoom.findings == []


@pytest.mark.rtms_zoom(scenario="flaky-network", seconds=2)
def test_a_bad_network_does_not_matter(rtms_zoom: Zoom) -> None:
    count_words(rtms_zoom)
    assert rtms_zoom.findings == []


@pytest.mark.rtms_zoom(scopes="chat")
def test_an_app_without_the_scope_is_told_so(rtms_zoom: Zoom) -> None:
    with pytest.raises(rtms_cli.Problem) as caught:
        count_words(rtms_zoom)
    assert caught.value.exit_code is rtms_cli.Exit.NOTHING_GRANTED


@pytest.mark.rtms_zoom(seconds=1)
def test_a_client_in_another_process(rtms_zoom: Zoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rtms_zoom.environment.items():
        monkeypatch.setenv(name, value)
    payload = rtms_zoom.save(tmp_path / "payload.json")
    join = [sys.executable, "-m", "rtms_cli", "join", str(payload), "--media", "audio"]
    subprocess.run([*join, "--out", str(tmp_path / "recordings")], check=True)
    assert rtms_zoom.findings == []
    assert rtms_zoom.report.sent["MEDIA_DATA_AUDIO"] == 50
