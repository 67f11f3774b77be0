"""The simulator as parts: a show with cues from elsewhere, and faults as a table."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from simulator.test_zoom import IDS, RIGHT, URLS, Server, types

import rtms_cli.simulator
from rtms_cli.machine import Finish
from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import Audio, UserId
from rtms_cli.protocol.numbers import MediaType
from rtms_cli.simulator.cues import Cue
from rtms_cli.simulator.faults import HANDLERS, Fault, FaultAt
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.zoom import Zoom

LIGHT = """
import sys
from rtms_cli.simulator.scenario_file import load
from rtms_cli.simulator.show import MadeUp
from rtms_cli.simulator.zoom import Zoom
for scenario in load("flaky-network").scenarios:
    Zoom(product="meeting", identity="i", stream_id="s", signature="x", urls={}, epoch_ms=0, show=MadeUp(scenario))
print(sorted({"numpy", "av", "soundfile", "asyncio", "websockets"} & set(sys.modules)))
"""


def test_a_made_up_show_needs_no_synthesis() -> None:
    out = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


class Cues:
    """One audio packet a second, of one byte; it remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[MediaType | None, int, str, str]] = []

    def __call__(
        self,
        scenario: Scenario,
        params: MediaParams,
        epoch_ms: int,
        kind: MediaType | None,
        chosen: Callable[[], UserId],
        session_id: str,
        product: str,
    ) -> Iterator[Cue]:
        self.asked.append((kind, epoch_ms, session_id, product))
        for at_ms in range(0, scenario.duration_ms if kind is MediaType.AUDIO else 0, 1000):
            yield Cue(at_ms, kind, Audio(0, "", epoch_ms + at_ms, b"AA==", 1))


def cheap(scenario: Scenario) -> tuple[Server, Cues]:
    server, cues = Server(), Cues()
    server.zoom = Zoom(
        product="phone", identity="uuid==", stream_id="stream1", signature=RIGHT, urls=URLS, epoch_ms=7_000,
        show=MadeUp(scenario, cues=cues),
    )  # fmt: skip
    server.join()
    return server, cues


def test_cues_come_from_what_is_given() -> None:
    server, cues = cheap(Scenario(3))
    assert types(server.say("signaling", 7, rtms_stream_id=IDS["rtms_stream_id"])) == [8, 9, 14]
    heard = server.wait(4)
    assert [message["content"]["timestamp"] for message in heard if message["msg_type"] == 14] == [8_000, 9_000]  # type: ignore[index]
    assert types(heard)[-2:] == [9, 8]
    assert cues.asked == [(kind, 7_000, "session-of-stream1", "phone") for kind in (None, MediaType.AUDIO)]


def test_a_fault_after_the_last_packet_happens() -> None:
    server, _ = cheap(Scenario(3, faults=(FaultAt(2_500, Fault.STOP, 8),)))
    server.say("signaling", 7, rtms_stream_id=IDS["rtms_stream_id"])
    server.wait(2.6)
    assert server.commands[-1] == Finish("complete", 8, "the simulator")


@pytest.mark.parametrize("refusals", [(None, 45), (45, None)])
def test_refusals_come_in_the_order_of_the_scenario(refusals: tuple[int | None, ...]) -> None:
    faults = [
        FaultAt(-1, Fault.HANG_UP) if code is None else FaultAt(-1, Fault.REFUSE_SIGNALING, code) for code in refusals
    ]
    server = Server(scenario=Scenario(5, faults=tuple(faults)))
    heard = []
    for number in (1, 2, 3):
        server.open(f"signaling#{number}")
        heard.append([message["status_code"] for message in server.say(f"signaling#{number}", 1, **IDS)])
    assert heard == [*([] if code is None else [code] for code in refusals), [0]]


def test_every_fault_has_a_handler() -> None:
    assert set(HANDLERS) == set(Fault)


def test_parts_use_what_is_public_in_each_other() -> None:
    folder = Path(rtms_cli.simulator.__file__).parent
    private = [
        f"{path.name}: {alias.name}"
        for path in sorted(folder.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_")
    ]
    outside = [
        f"{path.name}:{node.lineno} {node.attr}"
        for path in (folder / "faults.py", folder / "show.py", folder / "recorded.py", folder / "zoom.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
        if not (isinstance(node.value, ast.Name) and node.value.id == "self") and not node.attr.startswith("__")
    ]
    assert (private, outside) == ([], [])
