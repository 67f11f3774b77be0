"""The driver over real sockets: order, keeping before understanding, closing, and a disk that does not keep up."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from rtms_cli.machine import (
    BROKEN,
    ChannelState,
    Close,
    Command,
    Direction,
    Finish,
    Frame,
    Item,
    Open,
    Packets,
    Send,
    State,
    Warn,
    frames_of,
)
from rtms_cli.protocol.messages import (
    KeepAliveRequest,
    KeepAliveResponse,
    SignalingHandshakeRequest,
    Signature,
    Unknown,
)
from rtms_cli.wire import driver as driver_module
from rtms_cli.wire.clock import Clock
from rtms_cli.wire.dialer import Dialer
from rtms_cli.wire.driver import Dial, Driver
from rtms_cli.wire.hosts import HostPolicy
from rtms_cli.wire.sockets import Socket, TaskSocket

PACKET = json.dumps({"msg_type": 14, "content": {"user_id": 0, "data": "AAAA", "timestamp": 1}})


class Kept:
    """A sink that keeps frames in memory, and is as full as the test says."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.packets: list[Packets] = []
        self.is_full = False
        self.has_room = asyncio.Event()

    @property
    def full(self) -> bool:
        return self.is_full

    def put(self, item: Item) -> None:
        self.frames.extend(frames_of(item))
        if isinstance(item, Packets):
            self.packets.append(item)

    async def room(self) -> None:
        await self.has_room.wait()

    def lines(self) -> list[str]:
        return [
            f"{frame.channel} {frame.direction} "
            + (
                frame.message.state
                if isinstance(frame.message, ChannelState)
                else str(json.loads(frame.raw)["msg_type"])
            )
            for frame in self.frames
        ]


def what(frame: Frame) -> str:
    state = frame.message
    return state.state if isinstance(state, ChannelState) else str(json.loads(frame.raw)["msg_type"])


class Machine:
    """A machine made of one function, which also tells the test what it was given."""

    def __init__(self, first: Sequence[Command], react: Callable[[Frame], Sequence[Command]]) -> None:
        self.first: Sequence[Command] = first
        self.react = react
        self.deadline_us: int | None = None
        self.seen: list[Frame] = []
        self.hears = False
        """Whether it is enough to hear that media came."""
        self.heard = 0

    def tick(self, at_us: int) -> Sequence[Command]:
        first, self.first = self.first, ()
        return first

    def receive(self, frame: Frame) -> Sequence[Command]:
        self.seen.append(frame)
        return self.react(frame)

    def hear(self, packets: Packets) -> bool:
        if self.hears:
            self.heard += len(packets.raws)
        return self.hears


@asynccontextmanager
async def server(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(handle, "127.0.0.1", 0, compression=None) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


async def dial_websockets(url: str) -> Socket:
    try:
        return TaskSocket(await connect(url, compression=None, ping_interval=None, proxy=None))
    except OSError as error:
        raise ConnectionError(str(error)) from error


Run = Callable[[Machine, Kept], Driver]


@pytest.fixture(params=["picows", "websockets"])
def run(request: pytest.FixtureRequest) -> Run:
    """Makes drivers over either library."""
    dial: Dial = Dialer(HostPolicy()) if request.param == "picows" else dial_websockets
    return lambda machine, sink: Driver(machine, sink, Clock(), dial)


async def test_nothing_that_is_asked_for_later_is_put_behind_the_last_word() -> None:
    machine, sink = Machine([Finish("complete", 6, "the test")], lambda _: []), Kept()
    driver = Driver(machine, sink, Clock())
    await driver.run()
    driver.stop("SIGTERM")
    driver.mark("m")
    assert sink.lines() == ["signaling state finished"]
    assert machine.seen == []


async def test_frames_are_kept_in_order_and_what_is_sent_after_it_was_sent(run: Run) -> None:
    async def handle(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"msg_type": 12, "timestamp": 5}))
        assert json.loads(await socket.recv()) == {"msg_type": 13, "timestamp": 5}
        await socket.close(1000, "bye")

    def react(frame: Frame) -> Sequence[Command]:
        match frame.message:
            case KeepAliveRequest(timestamp=timestamp):
                return [Warn("media", "so far so good"), Send("media", KeepAliveResponse(timestamp))]
            case ChannelState(state=State.CLOSED):
                return [Finish("complete", 6, "the test")]
        return []

    sink = Kept()
    async with server(handle) as url:
        finish = await run(Machine([Open("media", url)], react), sink).run()
    assert finish == Finish("complete", 6, "the test")
    assert sink.lines() == [
        "media state opening",
        "media state open",
        "media in 12",
        "media state warning",
        "media out 13",
        "media state closed",
        "signaling state finished",
    ]
    closed = sink.frames[5].message
    assert isinstance(closed, ChannelState)
    assert (closed.code, closed.reason) == (1000, "bye")
    assert [frame.at_us for frame in sink.frames] == sorted(frame.at_us for frame in sink.frames)


@pytest.mark.parametrize("is_known", [False, True])
async def test_media_that_need_not_be_read_are_put_as_they_came(run: Run, is_known: bool) -> None:
    """Everything stays in order, and the signature is hidden anyway."""
    others = ['{"msg_type":17,"content":{}}', PACKET[:-1], PACKET, '{"content":{},"msg_type":14}', "{"]
    told = PACKET.replace("AAAA", "s3cret" * 8)

    async def handle(socket: ServerConnection) -> None:
        await socket.recv()
        for number in range(120):
            await socket.send(PACKET.replace("1}", f"{number}}}"))
        for other in (*others, told):
            await socket.send(other)
        await socket.close()

    def react(frame: Frame) -> Sequence[Command]:
        match frame.message:
            case ChannelState(state=State.OPEN):
                handshake = SignalingHandshakeRequest("u", "s", Signature("s3cret" * 8))
                return [Send("media", handshake)]
            case ChannelState(state=State.CLOSED):
                return [Finish("complete", 6, "the test")]
        return []

    sink = Kept()
    async with server(handle) as url:
        machine = Machine([Open("media", url)], react)
        machine.hears = is_known
        await run(machine, sink).run()
    came = [frame for frame in sink.frames if frame.direction is Direction.IN]
    assert [frame.raw.decode() for frame in came[:-1]] == [
        *(PACKET.replace("1}", f"{number}}}") for number in range(120)), *others,
    ]  # fmt: skip
    assert "s3cret" not in came[-1].raw.decode()
    assert [frame.at_us for frame in sink.frames] == sorted(frame.at_us for frame in sink.frames)
    heard = {item for packets in sink.packets for item in packets.raws}
    assert machine.heard == (122 if is_known else 0)
    assert len(heard) == (121 if is_known else 0)  # one came twice
    assert sum(frame.direction is Direction.IN for frame in machine.seen) == (4 if is_known else 126)


async def test_a_socket_that_never_opens_is_news(run: Run) -> None:
    def react(frame: Frame) -> Sequence[Command]:
        match frame.message:
            case ChannelState(state=State.REFUSED):
                return [Finish("failed", None, "")]
        return []

    sink = Kept()
    async with server(lambda socket: socket.wait_closed()) as url:
        pass  # nobody listens there any more
    await run(Machine([Open("media", url)], react), sink).run()
    assert sink.lines() == ["media state opening", "media state refused", "signaling state finished"]


@pytest.mark.parametrize("is_full", [False, True])
async def test_what_arrives_after_we_closed_is_kept_or_counted_but_is_no_news_to_the_machine(
    run: Run, is_full: bool
) -> None:
    async def handle(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"msg_type": 99}))
        for _ in range(3):
            await socket.send(PACKET)
        await socket.wait_closed()

    def react(frame: Frame) -> Sequence[Command]:
        if isinstance(frame.message, Unknown):
            sink.is_full = is_full
            return [Send("media", KeepAliveResponse(1)), Close("media", 1000, "enough"), Finish("complete", None, "")]
        return []

    sink = Kept()
    machine = Machine([], react)
    async with server(handle) as url:
        machine.first = [Open("media", url)]
        await run(machine, sink).run()
    assert "media out 13" in sink.lines()
    assert sink.lines()[-1] == "signaling state finished"
    assert sum(frame.direction is Direction.IN for frame in machine.seen) == 1
    states = [frame.message for frame in sink.frames if isinstance(frame.message, ChannelState)]
    assert any(state.ours and state.reason == "enough" for state in states)
    assert sink.lines().count("media in 14") == (0 if is_full else 3)
    assert [state.count for state in states if state.state is State.DROPPED] == ([3] if is_full else [])


async def test_a_channel_can_be_opened_anew_in_the_same_breath(run: Run) -> None:
    connections = 0

    async def handle(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await socket.send(json.dumps({"msg_type": 90 + connections}))
        await socket.wait_closed()

    def react(frame: Frame) -> Sequence[Command]:
        match frame.message:
            case Unknown(type=91):
                return [Close("media"), Open("media", url)]
            case Unknown(type=92):
                return [Finish("complete", None, "")]
        return []

    machine = Machine([], react)
    async with server(handle) as url:
        machine.first = [Open("media", url)]
        await run(machine, Kept()).run()
    states = [frame.message.state for frame in machine.seen if isinstance(frame.message, ChannelState)]
    assert states == [State.OPEN, State.OPEN]


async def test_a_socket_that_takes_anothers_place_is_the_one_that_is_heard(run: Run) -> None:
    both = asyncio.Event()
    accepted: list[TaskSocket] = []

    async def handle(connection: ServerConnection) -> None:
        accepted.append(TaskSocket(connection))
        driver.attach("media", accepted[-1])
        if len(accepted) == 2:
            both.set()
        await accepted[-1].wait_closed()

    def react(frame: Frame) -> Sequence[Command]:
        return [Finish("complete", None, "")] if isinstance(frame.message, Unknown) else []

    machine, sink = Machine([], react), Kept()
    driver = run(machine, sink)
    running = asyncio.create_task(driver.run())
    async with server(handle) as url, connect(url) as former, connect(url) as latter:
        await both.wait()
        await former.send(PACKET)
        await former.close()
        await accepted[0].wait_closed()
        await latter.send(json.dumps({"msg_type": 99}))
        await running
    assert sink.lines() == ["media state open"] * 2 + ["media in 14", "media in 99"] + sink.lines()[4:]
    assert [what(frame) for frame in machine.seen] == ["open", "open", "99"]


async def test_a_defect_in_the_machine_surfaces(run: Run) -> None:
    def react(frame: Frame) -> Sequence[Command]:
        raise LookupError("a defect")

    async with server(lambda socket: socket.wait_closed()) as url:
        with pytest.raises(LookupError, match="a defect"):
            await run(Machine([Open("media", url)], react), Kept()).run()


async def test_a_full_sink_holds_media_back_but_not_keep_alives_on_the_other_socket(run: Run) -> None:
    """The media socket is not read while the sink is full; signaling is, and is answered."""
    answered = asyncio.Event()

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        if socket.request.path == "/media":
            await socket.send(PACKET)
            await media_held.wait()
            await socket.send(PACKET)
            await socket.wait_closed()
        else:
            await media_held.wait()
            await socket.send(json.dumps({"msg_type": 12, "timestamp": 5}))
            await socket.recv()
            answered.set()
            await socket.wait_closed()

    media_held = asyncio.Event()
    sink = Kept()

    def react(frame: Frame) -> Sequence[Command]:
        if frame.channel == "media" and frame.direction is Direction.IN:
            sink.is_full = True
            media_held.set()
            if sum(frame.channel == "media" for frame in machine.seen if frame.direction is Direction.IN) == 2:
                return [Finish("complete", None, "")]
        match frame.message:
            case KeepAliveRequest():
                return [Send("signaling", KeepAliveResponse(5))]
        return []

    machine = Machine([], react)
    async with server(handle) as url:
        machine.first = [Open("media", url + "/media"), Open("signaling", url + "/signaling")]
        running = asyncio.create_task(run(machine, sink).run())
        await answered.wait()
        assert sink.lines().count("media in 14") == 1
        sink.is_full = False
        sink.has_room.set()
        await running
    assert sink.lines().count("media in 14") == 2


async def test_a_stall_that_lasts_drops_media_counts_it_and_still_answers(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "STALL_LIMIT_S", 0.0)
    answered = asyncio.Event()

    async def handle(socket: ServerConnection) -> None:
        await socket.send(PACKET)
        await held.wait()
        for _ in range(4):
            await socket.send(PACKET)
        await socket.send(json.dumps({"msg_type": 12, "timestamp": 5}))
        await socket.recv()
        answered.set()
        await room.wait()
        await socket.send(PACKET)
        await socket.wait_closed()

    held, room = asyncio.Event(), asyncio.Event()
    sink = Kept()
    sink.is_full = True

    def react(frame: Frame) -> Sequence[Command]:
        if frame.direction is Direction.IN:
            held.set()
        match frame.message:
            case KeepAliveRequest():
                return [Send("media", KeepAliveResponse(5))]
            case ChannelState(state=State.DROPPED):
                return [Finish("complete", None, "")]
        return []

    async with server(handle) as url:
        running = asyncio.create_task(run(Machine([Open("media", url)], react), sink).run())
        await answered.wait()
        sink.is_full = False
        room.set()
        await running
    dropped = [
        frame.message for frame in sink.frames if isinstance(frame.message, ChannelState) and frame.message.count
    ]
    assert [state.count for state in dropped] == [4]
    assert sink.lines().count("media in 14") == 2


async def test_what_was_sent_before_a_connection_breaks_arrives() -> None:
    """The simulator sends and breaks at one go; a capture that is served again has both, in this order."""

    async def handle(connection: ServerConnection) -> None:
        socket = TaskSocket(connection)
        socket.start(lambda raw: None, lambda code, reason: None)
        for number in range(50):
            socket.send(b"%d" % number * 10_000, binary=False)
        socket.close(BROKEN, "")
        await socket.wait_closed()

    async with server(handle) as url, connect(url, compression=None) as client:
        heard = [message async for message in until_closed(client)]
    assert heard == [str(number) * 10_000 for number in range(50)]
    assert client.close_code == BROKEN


async def until_closed(client: ClientConnection) -> AsyncIterator[str | bytes]:
    try:
        while True:
            yield await client.recv()
    except ConnectionClosedError:
        return


async def test_a_connection_to_a_peer_that_does_not_read_breaks_too() -> None:
    codes = []

    async def handle(connection: ServerConnection) -> None:
        socket = TaskSocket(connection)
        socket.start(lambda raw: None, lambda code, reason: codes.append(code))
        for _ in range(12):
            socket.send(bytes(1 << 20), binary=True)
        socket.close(BROKEN, "")
        await socket.wait_closed()
        over.set()

    over = asyncio.Event()
    async with server(handle) as url:
        _, writer = await asyncio.open_connection(*url.removeprefix("ws://").split(":"), limit=1)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await over.wait()
        writer.close()
    assert codes == [BROKEN]
