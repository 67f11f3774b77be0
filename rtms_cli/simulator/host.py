"""API calls that change a running stream: stop, pause, resume (PROTOCOL §12)."""

from enum import StrEnum
from typing import TYPE_CHECKING

from rtms_cli.protocol.messages import SessionStateUpdate, StreamStateUpdate
from rtms_cli.protocol.numbers import SessionState, StopReason, StreamState

if TYPE_CHECKING:
    from rtms_cli.simulator.zoom import Zoom

HOST = "host"
"""The channel for actions. A frame's bytes are the action."""


class Action(StrEnum):
    """The `action` of an API call."""

    START = "start"
    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"


def obey(zoom: "Zoom", action: bytes) -> None:
    """Carry out an action. A stream that is already in the requested state is left alone."""
    client = zoom.client
    if action == Action.STOP.encode():
        zoom.end(StopReason.STOP_BC_MANUAL_API_TRIGGERED)
        return
    pauses = action == Action.PAUSE.encode()
    if client.is_paused == pauses:
        return
    client.is_paused = pauses
    stream, session = (
        (StreamState.PAUSED, SessionState.PAUSED) if pauses else (StreamState.RESUMED, SessionState.RESUMED)
    )
    zoom.tell(StreamStateUpdate(stream, timestamp=client.zoom_ms()), client.signaling)
    zoom.tell(SessionStateUpdate(zoom.session_id, session, timestamp=client.zoom_ms()), client.signaling)
