"""Random faults, reproducible for the same random generator."""

from collections.abc import Callable, Sequence
from typing import Protocol

from rtms_cli.protocol.numbers import StatusCode, StopReason
from rtms_cli.simulator.faults import Fault, FaultAt

_FIRST_MS, _LAST_MS = 1_000, 5_000
_APART_MS = (1_000, 8_000)
"""Time between two faults. After the last one, the client has this long to reconnect before the end."""

_REFUSED_MS = 10_000
"""Extra time after a refusal, because the client's back-off grows."""
_REFUSALS = (Fault.REFUSE_SIGNALING, Fault.REFUSE_MEDIA)


class Dice(Protocol):
    """What `random.Random(seed)` can do."""

    def randint(self, a: int, b: int) -> int:
        """Return a number from a to b, inclusive."""

    def choice(self, seq: Sequence["_Maker"]) -> "_Maker":
        """Return one item of a sequence."""


_Maker = Callable[[int, Dice], Sequence[FaultAt]]


def chaos(dice: Dice, duration_ms: int) -> tuple[FaultAt, ...]:
    """Return faults spread over a session. None of them ends the session."""
    faults: list[FaultAt] = []
    at_ms = dice.randint(_FIRST_MS, _LAST_MS)
    while at_ms < duration_ms - _LAST_MS:
        new = dice.choice(_MAKERS)(at_ms, dice)
        faults += new
        refused = sum(fault.times for fault in new if fault.kind in _REFUSALS)
        at_ms += dice.randint(*_APART_MS) + refused * _REFUSED_MS
    return tuple(faults)


def _plain(fault: Fault, number: int = 0) -> _Maker:
    return lambda at_ms, dice: (FaultAt(at_ms, fault, number),)


def _packets(fault: Fault) -> _Maker:
    return lambda at_ms, dice: (FaultAt(at_ms, fault, times=dice.randint(1, 20)),)


def _refused(fault: Fault, code: int, first: Fault) -> _Maker:
    """A lost connection, and a refusal of the first reconnection."""
    return lambda at_ms, dice: (FaultAt(at_ms, fault, code, dice.randint(1, 2)), FaultAt(at_ms, first))


_MAKERS: Sequence[_Maker] = (
    _plain(Fault.DROP_SIGNALING),
    _plain(Fault.DROP_MEDIA),
    _plain(Fault.CLOSE_MEDIA, 1001),
    _plain(Fault.CLOSE_MEDIA, 1011),
    _plain(Fault.FAILOVER),
    _plain(Fault.FAILOVER, 1),
    _plain(Fault.SPLIT_BRAIN),
    _plain(Fault.SAY_INTERRUPTED, StopReason.STOP_BC_SIGNAL_CONNECTION_INTERRUPTED),
    _plain(Fault.SAY_INTERRUPTED, StopReason.STOP_BC_DATA_CONNECTION_CLOSED_ABNORMALLY),
    _plain(Fault.EVENT_7),
    _plain(Fault.RETRY_WEBHOOK),
    _plain(Fault.OLD_STARTED, 60),
    _plain(Fault.OLD_STOPPED, 5),
    _plain(Fault.OLD_INTERRUPTED, 20),
    _packets(Fault.DUPLICATE),
    _packets(Fault.SWAP),
    _packets(Fault.BAD_BASE64),
    _packets(Fault.ODD_AUDIO),
    _packets(Fault.BAD_JSON),
    _packets(Fault.BAD_UTF8),
    _packets(Fault.UNKNOWN_TYPE),
    lambda at_ms, dice: (FaultAt(at_ms, Fault.DELAY, dice.randint(50, 3_000)),),
    lambda at_ms, dice: (FaultAt(at_ms, Fault.SKIP_KEEP_ALIVES, dice.randint(10_000, 60_000)),),
    _refused(Fault.REFUSE_SIGNALING, StatusCode.STATUS_INTERNAL_EXCEPTION, Fault.DROP_SIGNALING),
    _refused(Fault.REFUSE_SIGNALING, StatusCode.STATUS_DUPLICATE_SIGNAL_REQUEST, Fault.DROP_SIGNALING),
    _refused(Fault.REFUSE_MEDIA, StatusCode.STATUS_DUPLICATE_MEDIA_DATA_CONNECTION, Fault.DROP_MEDIA),
)
