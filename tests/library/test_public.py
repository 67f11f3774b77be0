"""What `import rtms_cli` gives: the names that it promises, and nothing heavy before one is used."""

import subprocess
import sys

import pytest

import rtms_cli


def test_every_public_name_is_there() -> None:
    named = {name for names in rtms_cli._HOMES.values() for name in names}
    assert sorted(named | {"__version__"}) == sorted(rtms_cli.__all__)
    assert set(rtms_cli.__all__) <= set(dir(rtms_cli))
    for name in rtms_cli.__all__:
        assert getattr(rtms_cli, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Recordings'"):
        _ = rtms_cli.Recordings  # type: ignore[attr-defined]


def test_an_import_is_lazy() -> None:
    program = (
        "import sys, rtms_cli\n"
        "ours = [name for name in sys.modules if name.startswith('rtms_cli.')]\n"
        "assert not ours, ours\n"
        "rtms_cli.Problem\n"
        "assert 'numpy' not in sys.modules and 'asyncio' not in sys.modules\n"
        "from rtms_cli import *\n"
        "assert Recording is rtms_cli.Recording\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
