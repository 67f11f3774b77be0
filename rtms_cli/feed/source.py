"""What a feed server serves: this process's station, or the mirror of another process's feed."""

from collections.abc import AsyncIterator, Callable, Collection
from typing import Protocol

from rtms_cli.feed.messages import Event, Hello, Order, Picture


class SoundLostError(Exception):
    """The sound of a stream goes on, if at all, without whoever listened; says why, for people."""


class Source(Protocol):
    """See the module. Everything is called on the event loop."""

    def hello(self) -> Hello:
        """The beginning of a conversation, without `resumed`."""

    def after(self, seq: int) -> Collection[Event]:
        """The events that are kept with a higher number, in order."""

    async def prepare(self) -> None:
        """Get ready what a picture needs and that has to be waited for."""

    def picture(self, watched: Collection[str]) -> Picture:
        """Everything as it stands, with the details of these streams, or of all with `*`."""

    def subscribe(self, on_event: Callable[[Event], None]) -> Callable[[], None]:
        """Call for each new event; returns what ends that. Without a subscriber nothing is formatted."""

    def look(self, watched: Collection[str] | None) -> None:
        """Say which streams clients watch now, `None` if there is no client; a mirror asks its server for them."""

    async def obey(self, order: Order) -> str:
        """Carry out an order; returns why not, or an empty text."""

    def listen(self, stream_id: str) -> AsyncIterator[bytes | str]:
        """The audio of a stream, everyone mixed, as messages of docs/live-websocket.md: 16-bit mono at 24 kHz.

        :raises KeyError: if nothing can be heard here. Iterated, it raises `SoundLostError` if there is no such stream,
            or if its sound is lost before its end.
        """
