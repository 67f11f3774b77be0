"""What comes before a recording has begun is in it, or it says how much is not."""

import asyncio

from rtms_cli.machine import ChannelState, Direction, Frame, Item, State
from rtms_cli.protocol.messages import SignalingHandshakeResponse, Unreadable
from rtms_cli.protocol.numbers import StatusCode
from rtms_cli.station.beginning import MOST_HELD, Beginning

SIZE = 1 << 19


class Kept:
    """A sink that always has room."""

    full = False

    def __init__(self) -> None:
        self.items: list[Item] = []

    def put(self, item: Item) -> None:
        self.items.append(item)

    async def room(self) -> None:
        raise AssertionError("there is room")


def frame(at_us: int, message: object, nbytes: int = 1) -> Frame:
    return Frame(at_us, "signaling", Direction.IN, bytes(nbytes), message)  # type: ignore[arg-type]


async def test_what_comes_while_the_disk_takes_long_is_kept_or_counted() -> None:
    kept, has_disk = Kept(), asyncio.Event()

    async def begin() -> Kept:
        await has_disk.wait()
        return kept

    beginning = Beginning(begin)
    beginning.put(frame(0, SignalingHandshakeResponse(status_code=StatusCode.STATUS_OK)))
    most = MOST_HELD // SIZE
    for number in range(most + 3):
        beginning.put(frame(number + 1, Unreadable(""), SIZE))
        await asyncio.sleep(0)
    has_disk.set()
    await beginning.settle()
    beginning.put(frame(100, Unreadable("")))
    *held, dropped, last = (item for item in kept.items if isinstance(item, Frame))
    assert [item.at_us for item in held] == list(range(most + 1))
    assert isinstance(dropped.message, ChannelState)
    assert (dropped.message.state, dropped.message.count, dropped.at_us) == (State.DROPPED, 3, most)
    assert last.at_us == 100
