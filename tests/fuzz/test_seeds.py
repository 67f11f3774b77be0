"""A few seeds of each target; `python -m fuzz` plays as many as one likes, and repeats those that fail."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.targets import Box

SEEDS = {
    "webhooks": 30, "requests": 20, "served": 20, "captures": 12, "manifests": 12, "sounds": 8, "folders": 10,
    "bombs": 1, "scenarios": 30, "subtitles": 30, "settings": 30,
}  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder, kept = Path.cwd(), dict(os.environ)
    yield Box(tmp_path_factory.mktemp("fuzz"))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(kept)
    tempfile.tempdir = None


@pytest.mark.parametrize("target", SEEDS)
def test_seeds(target: str, box: Box) -> None:
    for seed in range(SEEDS[target]):
        violations = box.play(target, seed)
        assert not violations, f"PYTHONPATH=tests python -m fuzz --target {target} --seed {seed}: {violations}"


@pytest.mark.parametrize(("target", "seed"), [("frames", 7), ("manifests", 2001193)])
def test_seeds_that_once_failed(target: str, seed: int, box: Box) -> None:
    """What no axis of a plot can hold was a traceback, or a warning of numpy's on the terminal."""
    assert not box.play(target, seed)
