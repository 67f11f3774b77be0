"""The life of a stream: its stages, which of them may follow which, and how it ended."""

from enum import StrEnum

from rtms_cli.machine import Finish
from rtms_cli.protocol.endings import Outlook, Status
from rtms_cli.session.channel import IllegalMoveError


class Stage(StrEnum):
    """Where a stream is in its life."""

    ANNOUNCED = "announced"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    """Every connection that is wanted is up, and the server knows that we are ready."""
    INTERRUPTED = "interrupted"
    """It was streaming, and a connection is being rebuilt."""
    ENDING = "ending"
    """The end was announced, or asked for; what is under way may still arrive."""
    ENDED = "ended"


STAGES: dict[Stage, frozenset[Stage]] = {
    Stage.ANNOUNCED: frozenset({Stage.CONNECTING, Stage.ENDING, Stage.ENDED}),
    Stage.CONNECTING: frozenset({Stage.STREAMING, Stage.ENDING, Stage.ENDED}),
    Stage.STREAMING: frozenset({Stage.INTERRUPTED, Stage.ENDING, Stage.ENDED}),
    Stage.INTERRUPTED: frozenset({Stage.STREAMING, Stage.ENDING, Stage.ENDED}),
    Stage.ENDING: frozenset({Stage.CONNECTING, Stage.STREAMING, Stage.INTERRUPTED, Stage.ENDED}),
    Stage.ENDED: frozenset(),
}
"""Every move that a stream may make:

    ANNOUNCED ──▶ CONNECTING ──▶ STREAMING ◀─▶ INTERRUPTED
        │             │              │              │
        └─────────────┴──────▶ ENDING (from any) ───┴──▶ ENDED   … or ENDED at once, where there is nothing to wait for

`9` STOPPED announces an end that another session of the stream, or a new announcement, takes back: then ENDING goes
back to where the connections are.
"""


class Life:
    """One stream's life.

    :param trusted: whether webhooks were verified; see `Outlook`.
    :param begun: whether something was recorded before.
    """

    def __init__(self, *, trusted: bool, begun: bool = False) -> None:
        self.stage = Stage.ANNOUNCED
        self.outlook = Outlook(trusted=trusted)
        self.begun = begun
        """Whether media came, or we were ready for it."""
        self.end_us: int | None = None
        """When an end that nothing takes back is reached; `None` while there is none."""
        self.asked_by = ""
        """What on our side asked for the end."""
        self._was_heard = False
        self._ended_as: Status | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the end was announced or asked for, and is not reached."""
        return self.stage is Stage.ENDING

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self.stage is Stage.ENDED

    @property
    def may_go_on(self) -> bool:
        """Whether it ends, or ended, as an interruption: its recording is continued when it is announced again."""
        return self._judge() is Status.INTERRUPTED if self._ended_as is None else self._ended_as is Status.INTERRUPTED

    @property
    def why(self) -> str:
        """Why the end is near, for people; empty if it is not."""
        return (self.outlook.how or f"asked to stop by {self.asked_by}") if self.is_ending else ""

    def enter(self, stage: Stage) -> None:
        """Move to a stage; nothing where it is there.

        :raises IllegalMoveError: if the table does not have the move.
        """
        if stage is self.stage:
            return
        if stage not in STAGES[self.stage]:
            raise IllegalMoveError(f"a stream cannot go from {self.stage} to {stage}")
        self.stage = stage
        if stage not in (Stage.ENDING, Stage.ENDED):
            self.end_us = None

    def ask(self, who: str, end_us: int) -> None:
        """Someone asked for the end, and the server, which was connected, was notified."""
        self.asked_by, self._was_heard, self.end_us = who, True, end_us
        self.enter(Stage.ENDING)

    def finish(self, why: str = "", *, gave_up: bool = False) -> Finish:
        """The last word.

        :param why: why it ends where Zoom said nothing of an end.
        :param gave_up: whether it ends because we were refused, or found no connection.
        """
        outlook = self.outlook
        status = self._ended_as = self._judge(gave_up=gave_up)
        said_by = outlook.how or self.asked_by or why
        if self.asked_by and outlook.reason is None:
            said_by = self.asked_by
        self.enter(Stage.ENDED)
        return Finish(status, outlook.reason, said_by)

    def _judge(self, *, gave_up: bool = False) -> Status:
        return self.outlook.judge(gave_up=gave_up, asked=self._was_heard, begun=self.begun)
