"""Captures of every format that was ever released, and the files that they make: no later version may make others.

A pair is `fixtures/captures/NAME.jsonl` and the folder `NAME` beside it. A new case is a new pair; one that is there
stays as it is when the format moves.
"""

import json
from pathlib import Path

import pytest
from frames import tree

from rtms_cli.capture import Capture
from rtms_cli.protocol.numbers import Product
from rtms_cli.recording.manifest import MANIFEST, Manifest
from rtms_cli.recording.recorder import Recorder

CAPTURES = sorted((Path(__file__).parent.parent.parent / "fixtures/captures").glob("*.jsonl"))


def test_there_is_one_of_each_product() -> None:
    assert {Capture(path).header.product for path in CAPTURES} == {product.value for product in Product}


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_golden_capture_makes_its_files(capture: Path, tmp_path: Path) -> None:
    golden = capture.with_suffix("")
    source = Capture(capture)
    keeps_encoded = any(entry.kind == "encoded" for entry in Manifest.read(golden).tracks)
    recorder = Recorder(tmp_path, source.header, keep_encoded=keeps_encoded)
    for frame in source:
        recorder.fold([frame])
    recorder.close()
    assert source.problems == []
    made, expected = tree(tmp_path), tree(golden)
    assert made.pop("capture.jsonl") == capture.read_bytes()
    assert made.keys() == expected.keys()
    assert holds(json.loads(made.pop(MANIFEST)), json.loads(expected.pop(MANIFEST)))
    assert [name for name in made if made[name] != expected[name]] == []


def holds(made: object, expected: object) -> bool:
    """Whether a manifest says all that an older one did: a later version may only add fields."""
    if isinstance(expected, dict) and isinstance(made, dict):
        return all(key in made and holds(made[key], value) for key, value in expected.items())
    if isinstance(expected, list) and isinstance(made, list):
        return len(made) == len(expected) and all(map(holds, made, expected))
    return made == expected
