"""How recordings have to end: a table, and what a session heard."""

import json
from collections.abc import Iterator, Sequence

from msgspec import structs
from simulation.plan import FAILURES, REVOKED, Plan
from simulation.reading import Said, read, reason_of, state_of
from simulation.world import Entry

from rtms_cli.machine import ChannelState, Direction, State
from rtms_cli.recording.manifest import Manifest
from rtms_cli.simulator.deviations import Deviation

PATIENCE_S = 45
"""A session that has begun does not give up sooner after it has heard of the server (PROTOCOL §9: 60 s)."""


class Heard:
    """What one session heard of its end, and did itself."""

    def __init__(self, trusted: bool, begun: bool) -> None:
        self.trusted = trusted
        self.begun = begun
        self.is_up = False
        self.stopping = False
        self.asked = False
        self.maybe_asked = False
        """Whether the server was asked while a media connection was missing: what that would have brought is lost."""
        self.media: dict[str, bool] = {}
        """Whether each media channel is up."""
        self.sockets: set[str] = set()
        """Channels that have a socket, or open one."""
        self.sessions: dict[object, int | None] = {}
        self.over: tuple[int | None, bool] | None = None
        """Reason, and whether Zoom said it."""
        self.is_final = False
        self.newest: tuple[int, object] | None = None
        self.heard_us: dict[bool, int] = {}
        """When something was heard of the server last: on media sockets (true), on signaling."""

    def statuses(self) -> set[str]:
        """How it ended; more than one answer where that is a matter of taste."""
        if self.over is None and self.maybe_asked and not self.asked and self.begun:
            return {"complete", "interrupted"}
        return {self.status()}

    def status(self) -> str:
        """The table: how it ended."""
        if self.over is not None:
            reason, by_zoom = self.over
            if reason == REVOKED:
                return "revoked" if by_zoom else "complete"
            return "interrupted" if reason in FAILURES else "complete"
        if self.stopping:
            return "complete" if self.asked and self.begun else "interrupted"
        return "interrupted" if self.begun else "failed"

    def end(self, reason: int | None, *, by_zoom: bool, is_final: bool) -> None:
        """Someone says that it is over.

        A stranger's word never takes back what Zoom said of the whole stream, or why; nothing takes reason 8 back.
        """
        if reason == REVOKED and not by_zoom:
            reason = None  # anyone may have sent it
        known, zoom_said = self.over or (None, False)
        if zoom_said and not by_zoom and self.is_final:
            return
        stays = zoom_said and known is not None and (known == REVOKED or not by_zoom)
        if self.over is None or (reason is not None and not stays):
            self.over = reason, by_zoom
        self.is_final |= is_final

    def hear(self, entry: Entry) -> None:
        """One more frame."""
        frame = entry.frame
        if frame.direction is Direction.IN and entry.told and frame.channel != "webhook":
            self.heard_us[frame.channel.startswith("media")] = frame.at_us
        if isinstance(frame.message, ChannelState):
            self._state(frame.channel, frame.message)
        elif frame.channel == "webhook":
            self._webhook(json.loads(frame.raw))
        elif frame.direction is Direction.OUT:
            said = read(frame.raw)
            self.begun |= said is not None and said.msg_type == 7
        elif entry.told and (said := read(frame.raw)) is not None:
            self._message(frame.channel, said)

    def _state(self, channel: str, state: ChannelState) -> None:
        if state.state in (State.OPENING, State.OPEN):
            self.sockets.add(channel)
        elif state.state in (State.CLOSED, State.REFUSED):
            self.sockets.discard(channel)
        if state.state is State.STOPPING:
            self.stopping = True
            self.asked |= self.is_up and all(self.media.values())
            self.maybe_asked |= self.is_up
        elif channel.startswith("media") and state.state is State.OPENING:
            self.media[channel] = False
        elif channel.startswith("media") and state.state in (State.CLOSED, State.REFUSED):
            self.media[channel] = False
        elif channel == "signaling" and state.state in (State.CLOSED, State.REFUSED, State.OPENING):
            self.is_up = False

    def _message(self, channel: str, said: Said) -> None:
        if said.msg_type == 2 and said.status == 0:
            self.is_up = True
            self.media.clear()
        elif said.msg_type == 4 and said.status == 0:
            self.media[channel] = True
        elif 14 <= said.msg_type <= 18:
            self.begun = self.media[channel] = True
        elif said.msg_type == 8 and state_of(said, "state") == 4:
            self.end(reason_of(said, "reason"), by_zoom=True, is_final=True)
        elif said.msg_type == 9:
            self.sessions[said.fields.get("rtms_session_id")] = state_of(said, "state")
            if all(state == 5 for state in self.sessions.values()):
                self.end(reason_of(said, "stop_reason"), by_zoom=True, is_final=False)
            elif not self.is_final:
                self.over = None

    def _webhook(self, body: dict[str, dict[str, object]]) -> None:
        event, payload = str(body["event"]), body["payload"]
        if event.endswith("rtms_started"):
            told = int(str(body["event_ts"])), payload.get("server_urls")
            if self.newest is None or (told != self.newest and told[0] > self.newest[0]):
                self.newest = told
                self.over, self.is_final = None, False
                self.sessions.clear()
        elif event.endswith("rtms_stopped"):
            if self.newest is not None and int(str(body["event_ts"])) < self.newest[0]:
                return  # news from the past
            reason = payload.get("stop_reason")
            self.end(reason if isinstance(reason, int) else None, by_zoom=self.trusted, is_final=True)


def check_endings(plan: Plan, entries: Sequence[Entry], manifest: Manifest) -> Iterator[str]:
    """Every session's last word is what follows from what it heard."""
    heard, allowed, is_closed = Heard(plan.trusted, False), set[str](), False
    status = None
    for entry in entries:
        state = entry.frame.message if isinstance(entry.frame.message, ChannelState) else None
        if state is not None and state.state is State.FINISHED:
            allowed = allowed if is_closed else allowed | heard.statuses()
            if heard.over is None and not heard.stopping and heard.begun and not state.status == "failed":
                waited_s = (entry.frame.at_us - min(heard.heard_us.values(), default=0)) / 1_000_000
                if waited_s < PATIENCE_S and not _is_final(plan, state.reason):
                    yield f"gave up {waited_s:.0f} s after it had heard of the server: {state.reason[:150]}"
            if state.status not in allowed:
                yield f"status {state.status} ({state.code}, {state.reason}), not {' or '.join(sorted(allowed))}"
            status = state.status
            begun = heard.begun or status == "interrupted"  # what is continued was not a failure
            heard, allowed, is_closed = Heard(plan.trusted, begun), set(), False
            continue
        if state is not None and state.state is State.CLOSED and state.ours and not state.reason and not is_closed:
            allowed, is_closed = heard.statuses(), True  # the session has finished, and its driver closes what is open
        if not is_closed and state is None and entry.frame.channel in ("webhook", "signaling"):
            allowed = heard.statuses() if heard.stopping and not heard.asked else allowed
        heard.hear(entry)
        if heard.over is not None and state is not None and not is_closed and not heard.sockets:
            allowed, is_closed = heard.statuses(), True  # it was over, and its last socket closed
        elif state is not None and state.state is State.OPENING:
            is_closed = False
    if status is None:
        yield "there is no last word"
    elif manifest.status != status:
        yield f"the manifest says {manifest.status}, the session {status}"


def _is_final(plan: Plan, reason: str) -> bool:
    """Whether no other try would have ended otherwise."""
    return "a scenario's" in reason or (Deviation.NO_MEDIA_ANSWER in plan.deviations and "no answer" in reason)


def statuses_after_death(plan: Plan, entries: Sequence[Entry]) -> set[str]:
    """How a recording ended whose process died: as what it had heard says; else it was interrupted.

    What arrived while the session was closing is in the capture, and counts or not.
    """
    everything = [structs.replace(entry, told=True) for entry in entries]
    return _statuses_after_death(plan, entries) | _statuses_after_death(plan, everything)


def _statuses_after_death(plan: Plan, entries: Sequence[Entry]) -> set[str]:
    heard, last = Heard(plan.trusted, False), None
    for entry in entries:
        state = entry.frame.message if isinstance(entry.frame.message, ChannelState) else None
        if state is not None and state.state is State.FINISHED:
            last = state.status
            heard = Heard(plan.trusted, heard.begun)
        else:
            last = None
            heard.hear(entry)
    if last is not None:
        return {last}
    if heard.over is None:
        return {"interrupted", heard.status()} if heard.asked else {"interrupted"}
    return {heard.status()}
