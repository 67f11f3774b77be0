"""Every example in docs/library.md and in examples/ is run as its reader would run it, against the simulator."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import environment, pytest_of_a_client, rtms
from test_architecture import PACKAGE

from rtms_cli.library.standin import Zoom

ROOT = PACKAGE.parent
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "library.md").read_text(), re.DOTALL | re.MULTILINE)
CLIENT = """
import rtms_cli


async def record(payload: dict[str, object], client_id: str, client_secret: str) -> None:
    async with rtms_cli.join(payload, client_id=client_id, client_secret=client_secret) as stream:
        await stream.done()
"""
"""What stands for `your_app`."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded meeting."""
    folder = tmp_path_factory.mktemp("recorded")
    assert rtms("demo", "--seconds", "2", "--out", "recordings", "--plain", cwd=folder).returncode == 0
    (made,) = (folder / "recordings").iterdir()
    return made


@pytest.fixture
def zoom() -> Iterator[Zoom]:
    with Zoom(seconds=2) as zoom:
        yield zoom


def run(command: list[str], folder: Path, zoom: Zoom) -> str:
    """Run a program to its end; what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(zoom.environment),
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def block_with(text: str) -> str:
    (block,) = (str(block) for block in BLOCKS if text in block)
    return block


def run_block(text: str, folder: Path, zoom: Zoom) -> str:
    """Run the example in which a text stands."""
    (folder / "example.py").write_text(block_with(text))
    zoom.save(folder / "payload.json")
    return run([sys.executable, "-W", "error", "example.py"], folder, zoom)


def test_quick_start(tmp_path: Path, zoom: Zoom) -> None:
    lines = run_block("case rtms_cli.Transcript", tmp_path, zoom).splitlines()
    assert "John Smith: Good morning, can everybody hear me?" in lines
    assert sum("s of sound" in line for line in lines) > 20
    assert lines[-1].startswith("Outcome(status='complete'")
    assert zoom.findings == []


def test_slow_work_in_a_thread(tmp_path: Path, zoom: Zoom) -> None:
    *levels, last = run_block("asyncio.to_thread", tmp_path, zoom).splitlines()
    assert any(int(level) > 100 for level in levels)
    assert last.endswith("s were dropped")
    assert zoom.findings == []


def test_a_time_limit(tmp_path: Path) -> None:
    with Zoom(seconds=600) as zoom:
        said = run_block("asyncio.timeout(1)", tmp_path, zoom)
        assert said.startswith("complete: recordings/")
        zoom.wait()
        assert zoom.findings == []
    (folder,) = (tmp_path / "recordings").iterdir()
    assert (folder / "manifest.json").is_file()


def test_a_refusal(tmp_path: Path, zoom: Zoom) -> None:
    what, remedy, last = run_block("Zoom refused the connection", tmp_path, zoom).splitlines()
    assert "STATUS_INVALID_SIGNATURE" in what
    assert remedy
    assert last == "Zoom refused the connection."


def test_every_stream(tmp_path: Path, zoom: Zoom) -> None:
    program = block_with("rtms_cli.listen(port=8080").replace("port=8080", "port=0")
    told = "as streams:\n        print(streams.url, flush=True)"
    assert "as streams:" in program
    (tmp_path / "example.py").write_text(program.replace("as streams:", told))
    with subprocess.Popen(
        [sys.executable, "-W", "error", "example.py"],
        cwd=tmp_path,
        env=environment(zoom.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        killing = threading.Timer(50, process.kill)
        killing.start()
        assert process.stdout is not None
        assert process.stderr is not None
        zoom.post(process.stdout.readline().strip())
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said, wrong = process.stdout.read(), process.stderr.read()
        assert (process.wait(), wrong) == (0, ""), said
        killing.cancel()
    assert line == f"{zoom.streams[0].stream_id} John Smith: Good morning, can everybody hear me?\n"
    zoom.wait()
    assert zoom.findings == []


def test_a_recording(recording: Path, tmp_path: Path, zoom: Zoom) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "meeting").symlink_to(recording)
    said = run_block("rtms_cli.Recording(", tmp_path, zoom)
    assert said.startswith("complete ['John Smith'")
    assert "2.0 s at 16000 Hz" in said
    assert "John Smith: Good morning" in said
    assert ".mjpeg" in said


def test_a_capture(recording: Path, tmp_path: Path, zoom: Zoom) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "meeting").symlink_to(recording)
    said = run_block("rtms_cli.Capture(", tmp_path, zoom)
    assert said.startswith("meeting 20")
    assert 'signaling {"msg_type":1,' in said
    assert said.endswith("[]\n")


@pytest.mark.parametrize("text", ["from your_app import", "flaky-network"])
def test_a_fixture(text: str, tmp_path: Path, zoom: Zoom) -> None:
    (tmp_path / "your_app.py").write_text(CLIENT)
    (tmp_path / "test_example.py").write_text(block_with(text))
    assert "1 passed" in run([*pytest_of_a_client(tmp_path), "test_example.py"], tmp_path, zoom)


def test_each_example_of_the_page_is_run() -> None:
    called = re.findall(r'(?:run_block|block_with)\(\s*"([^"]+)"', Path(__file__).read_text())
    called += ["from your_app import", "flaky-network"]
    assert [block for block in BLOCKS if not any(text in block for text in called)] == []
    assert len(BLOCKS) == 9


def test_captions(tmp_path: Path, zoom: Zoom) -> None:
    payload = str(zoom.save(tmp_path / "payload.json"))
    said = run([sys.executable, str(ROOT / "examples" / "live_captions.py"), payload], tmp_path, zoom)
    assert "John Smith: Good morning, can everybody hear me?" in said
    assert zoom.findings == []


def test_voice_activity(tmp_path: Path, zoom: Zoom) -> None:
    payload = str(zoom.save(tmp_path / "payload.json"))
    lines = run([sys.executable, str(ROOT / "examples" / "voice_activity.py"), payload], tmp_path, zoom).splitlines()
    assert any(line.endswith("John Smith begins") for line in lines)
    assert any("John Smith has spoken for" in line for line in lines)
    assert re.fullmatch(r" +\d\.\d\d s  John Smith", lines[-1]) or len(lines) > 3
    assert zoom.findings == []


def test_tests_of_a_client(tmp_path: Path, zoom: Zoom) -> None:
    client = str(ROOT / "examples" / "test_my_client.py")
    said = run([*pytest_of_a_client(tmp_path), "--rootdir", str(tmp_path), client], tmp_path, zoom)
    assert "4 passed" in said


@pytest.mark.timeout(300)
def test_the_page_s_examples_are_typed(tmp_path: Path) -> None:
    (tmp_path / "your_app.py").write_text(CLIENT)
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"example_{number}.py").write_text(block)
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\n[mypy-rtms_cli.*]\nfollow_imports = silent\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(settings),
        "--cache-dir",
        str(tmp_path / "cache"),
        ".",
    ]
    found = environment({"MYPYPATH": str(ROOT)})  # an editable installation is nothing that mypy sees
    done = subprocess.run(command, cwd=tmp_path, env=found, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(BLOCKS) + 1} source files" in done.stdout
