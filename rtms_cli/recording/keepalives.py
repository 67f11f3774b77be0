"""Which keep-alive answer belongs to which request (PROTOCOL §9)."""

from collections import deque

from msgspec import Struct

from rtms_cli.protocol.messages import KeepAliveRequest, KeepAliveResponse

MOST_WAITING = 100
"""Requests of a channel that are waited for; of more the oldest is given up."""


class Asked(Struct, frozen=True):
    """A request, when it came, and in which line of a capture, where that matters."""

    at_us: int
    message: KeepAliveRequest
    line: int = 0


class KeepAlives:
    """The requests that wait for an answer, by channel."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Asked]] = {}

    def ask(self, channel: str, asked: Asked) -> Asked | None:
        """Take a request. Returns one that was given up for it, or `None`."""
        waiting = self._waiting.setdefault(channel, deque())
        waiting.append(asked)
        return waiting.popleft() if len(waiting) > MOST_WAITING else None

    def answer(self, channel: str, message: KeepAliveResponse) -> tuple[Asked | None, bool]:
        """The request that an answer is for, and whether it is right.

        An answer that fits none is a wrong one to the oldest, or to nothing.
        """
        waiting = self._waiting.get(channel)
        if not waiting:
            return None, False
        for asked in waiting:
            if _same(asked.message.timestamp, message.timestamp) and (
                asked.message.sequence is None or _same(asked.message.sequence, message.sequence)
            ):
                waiting.remove(asked)
                return asked, True
        return waiting.popleft(), False

    def waiting(self, channel: str) -> int:
        """How many requests of a channel wait for an answer."""
        return len(self._waiting.get(channel, ()))

    def close(self, channel: str) -> list[Asked]:
        """Forget a channel that closed. Returns what it did not answer."""
        return list(self._waiting.pop(channel, ()))

    def close_all(self) -> list[tuple[str, Asked]]:
        """The same for all channels."""
        return [(channel, asked) for channel in list(self._waiting) for asked in self.close(channel)]


def _same(one: object, other: object) -> bool:
    """A timestamp goes back as it came: 5 is neither "5" nor true."""
    return type(one) is type(other) and one == other
