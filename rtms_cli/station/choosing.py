"""Which streams of one meeting are recorded: two people with the same auto-start app make two (PROTOCOL §12)."""

from collections.abc import Iterable
from enum import StrEnum

from rtms_cli.protocol.webhooks import Stream

_MOST_SHOWN = 100


class Only(StrEnum):
    """Which streams of a meeting are taken."""

    HOST = "host"
    """Those of its host. One that does not say whose it is is taken too, unless the host's own is there already: a
    recording too many can be deleted, and one that was never made is lost."""
    FIRST = "first"
    """The first one, as long as it runs or may go on."""
    ALL = "all"

    def refusal(self, stream: Stream, others: Iterable[Stream]) -> str | None:
        """Why a stream that was announced is not taken, in words that tell it from the others, or `None`.

        :param others: every stream that was taken and runs, or was interrupted and may go on. Those of other meetings
            do not matter; where the stream is among them itself, it goes on.
        """
        if self is Only.ALL:
            return None
        of_the_meeting = [other for other in others if (other.product, other.id) == (stream.product, stream.id)]
        if any(other.stream_id == stream.stream_id for other in of_the_meeting):
            return None
        if self is Only.FIRST:
            return f"--only first: {_named(of_the_meeting[0])} came before" if of_the_meeting else None
        if stream.is_original_host is False:
            return f"--only host: its {_operator(stream)} is not the host"
        host = next((other for other in of_the_meeting if other.is_original_host), None)
        if stream.is_original_host is None and host is not None:
            return f"--only host: it does not say whose it is ({_operator(stream)}), and {_named(host)} is the host's"
        return None


def _named(stream: Stream) -> str:
    return f"stream {stream.stream_id[:_MOST_SHOWN]} of {_operator(stream)}"


def _operator(stream: Stream) -> str:
    return f"operator {stream.operator_id[:_MOST_SHOWN]}" if stream.operator_id else "unknown operator"
