"""Targets that are WebSocket servers, over real sockets: what arrives, what waits, and what ends them."""

import asyncio
import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import made_certificate
from hypothesis import given
from hypothesis import strategies as st
from live.bots import Bot, Saying, Unreading, raw_server, serving
from live.loops import on_both_loops
from msgspec import structs
from processes import until
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from rtms_cli.errors import Problem
from rtms_cli.live.framing import Framing, Twilio
from rtms_cli.live.pieces import AUDIO, CHAT, GAP, TRANSCRIPT, VIDEO, Beginning, Piece, SoundForm, TargetGoneError
from rtms_cli.live.sockets import MOST_HEARD, TwilioTarget, Unhurried, WebSocketTarget
from rtms_cli.wire.dialer import tls_context

ADA, BOB = 16778240, 16779264
BEGINNING = Beginning(
    "meeting",
    "aB+/=",
    "stream/+=",
    None,
    (AUDIO, TRANSCRIPT),
    SoundForm(16000, 1, "s16le"),
    participants=((ADA, "Ada"),),
)
CALL = structs.replace(BEGINNING, sound=SoundForm(8000, 1, "mulaw"))
BOUND_S = 30.0


def audio(data: bytes, at_ms: int = 1_000, user_id: int | str | None = None, name: str | None = None) -> Piece:
    return Piece(AUDIO, data, user_id, name, at_ms, len(data) / 32_000)


async def pour(target: WebSocketTarget) -> None:
    """Send until it cannot."""
    while True:
        await target.send([audio(bytes(100))])
        await asyncio.sleep(0)


async def open_and_pour(target: WebSocketTarget) -> None:
    await target.open(BEGINNING)
    await pour(target)


async def test_media_arrives_with_its_header_and_lines_in_their_envelope() -> None:
    pcm = {"encoding": "s16le", "rate": 16000, "channels": 1}
    line = b'{"t":0.5,"timestamp":1500,"text":"caf\xc3\xa9 \\"x\\""}\n'
    pieces = [
        audio(b"\1\2", 1_000, ADA, "Ada"),
        audio(b"\3\4\5\6", 1_020, BOB, "$(touch x)"),
        Piece(VIDEO, b"picture", "guest", None, -5),
        Piece(TRANSCRIPT, line, BOB, "Robert", 1_500),
        Piece(CHAT, b"{}\n"),
        Piece(GAP, b'{"kind":"audio","from_ms":1,"to_ms":2,"why":"a full buffer"}'),
        audio(b"\7\x08", 2_000),
    ]
    async with serving(Bot()) as bot:
        target = WebSocketTarget(bot.url)
        await target.open(BEGINNING)
        assert await target.send(pieces) == sum(len(piece.data) for piece in pieces)
        assert await target.close() is None
    assert bot.texts == [
        {
            "type": "start",
            "version": 1,
            "product": "meeting",
            "id": "aB+/=",
            "stream_id": "stream/+=",
            "media": ["audio", "transcript"],
            "format": pcm,
            "user_id": None,
            "user_name": None,
            "participants": [{"user": 1, "user_id": ADA, "user_name": "Ada", "format": None}],
        },
        {"type": "user", "user": 1, "user_id": ADA, "user_name": "Ada", "format": pcm},
        {"type": "user", "user": 2, "user_id": BOB, "user_name": "$(touch x)", "format": pcm},
        {"type": "user", "user": 3, "user_id": "guest", "user_name": None, "format": None},
        {"type": "user", "user": 2, "user_id": BOB, "user_name": "Robert", "format": pcm},
        {"type": "transcript", "user": 2, "line": {"t": 0.5, "timestamp": 1500, "text": 'café "x"'}},
        {"type": "chat", "user": 0, "line": {}},
        {"type": "gap", "user": 0, "kind": "audio", "from_ms": 1, "to_ms": 2, "why": "a full buffer"},
        {"type": "stop"},
    ]
    assert bot.media == [
        (1, 1, 1_000, b"\1\2"),
        (1, 2, 1_020, b"\3\4\5\6"),
        (2, 3, 0, b"picture"),
        (1, 0, 2_000, b"\7\x08"),
    ]
    assert bot.connections[0].close_code == 1000


async def test_what_is_of_one_participant_alone_is_theirs() -> None:
    """A tap for each of them names nobody in its pieces."""
    async with serving(Bot()) as bot:
        target = WebSocketTarget(bot.url)
        await target.open(structs.replace(BEGINNING, user_id=BOB, user_name="Bob", participants=()))
        await target.send([audio(b"\1\2")])
        await target.close()
    assert bot.texts[0]["user_id"] == bot.texts[1]["user_id"] == BOB
    assert [(user, data) for _, user, _, data in bot.media] == [(1, b"\1\2")]


@on_both_loops
async def test_sound_put_together_again_is_what_was_sent() -> None:
    sound = bytes(range(256)) * 1_000
    async with serving(Bot()) as bot:
        target = WebSocketTarget(bot.url)
        await target.open(BEGINNING)
        for start in range(0, len(sound), 777):
            await target.send([audio(sound[start : start + 777])])
        await target.close()
    assert b"".join(data for *_, data in bot.media) == sound


def test_users_are_bounded_and_keep_no_number_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.framing.MOST_USERS", 10)
    framing = Framing(BEGINNING)
    numbers: dict[int, int] = {}
    for user in range(100):
        for message in framing.messages(audio(b"", user_id=user), BEGINNING):
            if message.piece is None:
                assert message.user not in numbers
                numbers[message.user] = user
    assert sorted(numbers.values()) == list(range(100))
    assert len(json.loads(framing.start())["participants"]) <= 10


@on_both_loops
async def test_send_waits_while_the_peer_reads_nothing_and_little_piles_up() -> None:
    peer = Unreading()
    piece = audio(bytes(10_000))
    sent = 0

    async def pour() -> None:
        nonlocal sent
        while True:
            sent += await target.send([piece])

    async with raw_server(peer) as url:
        target = WebSocketTarget(url)
        await target.open(BEGINNING)
        pouring = asyncio.create_task(pour())
        await until(lambda: target.unsent_nbytes > 32_768)
        assert target.unsent_nbytes < 32_768 + 2 * 10_000
        before = sent
        for _ in range(100):  # this often has it had its turn, and sent nothing
            await asyncio.sleep(0)
        assert sent == before < 16 << 20
        peer.transport.resume_reading()
        await until(lambda: sent > before + (1 << 20))
        peer.transport.pause_reading()
        pouring.cancel()
        await asyncio.wait([pouring])
        assert pouring.cancelled()
        await target.close(hurry=True)
        assert target.unsent_nbytes == 0


@on_both_loops
async def test_a_peer_that_reads_nothing_for_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.sockets.STALL_S", 0.3)
    async with raw_server(Unreading()) as url:
        target = WebSocketTarget(url)
        with pytest.raises(TargetGoneError, match="did not read") as gone:
            await open_and_pour(target)
        assert not gone.value.final
        await target.close()


class Slow(Unreading):
    """Reads a part at a time."""

    part = 0

    def read(self, nbytes: int) -> None:
        self.part = nbytes
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.part -= len(data)
        if self.part <= 0:
            self.transport.pause_reading()


async def test_a_peer_that_reads_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.sockets.STALL_S", 0.5)
    peer, checks, check = Slow(), 0, Unhurried._check

    def count(connection: Unhurried, before_nbytes: int) -> None:
        nonlocal checks
        checks += 1
        check(connection, before_nbytes)
        peer.read(4 << 20)

    monkeypatch.setattr(Unhurried, "_check", count)
    async with raw_server(peer) as url:
        target = WebSocketTarget(url)
        await target.open(BEGINNING)
        assert await target.send([Piece(VIDEO, bytes(16 << 20))]) == 16 << 20
        await target.close(hurry=True)
    assert checks > 1


@on_both_loops
async def test_a_peer_that_never_answers_the_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.sockets.CLOSE_S", 0.2)
    peer = Unreading()
    async with raw_server(peer) as url:
        target = WebSocketTarget(url)
        await target.open(BEGINNING)
        async with asyncio.timeout(BOUND_S):
            await target.close()
            await target.close()  # it was


@pytest.mark.parametrize(
    ("status", "final"), [(301, True), (401, True), (403, True), (404, True), (408, False), (429, False), (503, False)]
)
async def test_who_answers_with_a_status_refuses_for_good_or_for_now(status: int, final: bool) -> None:
    def answer(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "no")
        response.headers["Location"] = "ws://127.0.0.1:1/"
        return response

    async with serving(Bot(), answer=answer) as bot:
        target = WebSocketTarget(f"{bot.url}?token=hidden-from-texts")
        with pytest.raises(TargetGoneError, match=f"^it answered HTTP {status}$") as gone:
            await target.open(BEGINNING)
        assert gone.value.final is final


@pytest.mark.parametrize(
    ("code", "final"),
    [(1000, True), (1001, False), (1003, True), (1008, True), (1011, False), (1012, False), (4001, False)],
)
@on_both_loops
async def test_a_close_ends_the_target_with_code_and_reason(code: int, final: bool) -> None:
    async with serving(Bot()) as bot:
        target = WebSocketTarget(f"{bot.url}?token=my-secret-token", token="another-secret-token-of-mine")
        await target.open(BEGINNING)
        await until(lambda: bool(bot.messages))
        reason = "\x1b[31mno: my-secret-token another-secret-token-of-mine"
        closing = asyncio.create_task(bot.connections[0].close(code, reason))
        with pytest.raises(TargetGoneError) as gone:
            await pour(target)
        await closing
        assert gone.value.final is final
        assert str(code) in str(gone.value)
        assert "\\x1b[31mno: [redacted] [redacted]" in str(gone.value)
        assert str(gone.value).isprintable()
        assert len(str(gone.value)) < 400
        await target.open(BEGINNING)  # and it can be opened again
        await target.send([audio(b"again")])
        await target.close()
        assert bot.media[-1][3] == b"again"


@on_both_loops
async def test_a_connection_that_breaks_off_ends_the_target() -> None:
    async with serving(Bot()) as bot:
        target = WebSocketTarget(bot.url)
        await target.open(BEGINNING)
        await until(lambda: bool(bot.messages))
        bot.connections[0].transport.abort()
        with pytest.raises(TargetGoneError, match="the connection was lost") as gone:
            await pour(target)
        assert not gone.value.final
        await target.close()


@pytest.mark.parametrize(
    "says",
    [b"\xff" * 1_000 + b"\r\n", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\0" * 20_000],
)
async def test_what_is_no_websocket_server_is_said_so(says: bytes) -> None:
    async with raw_server(Saying(says, upgrades=False)) as url:
        target = WebSocketTarget(url)
        with pytest.raises(TargetGoneError, match=r"WebSocket server|HTTP 200|lost"):
            await target.open(BEGINNING)


@pytest.mark.parametrize(
    "says", [b"\xff" * 1_000, b"\x82\x7f" + (MOST_HEARD * 2).to_bytes(8, "big"), b"\x81\x01x\x80\x00"]
)
@on_both_loops
async def test_who_breaks_the_protocol_ends_the_target(says: bytes) -> None:
    async with raw_server(Saying(says, upgrades=True)) as url:
        target = WebSocketTarget(url)
        with pytest.raises(TargetGoneError, match="the server broke the protocol"):
            await open_and_pour(target)
        await target.close(hurry=True)


@pytest.mark.parametrize("frame", [b"\x82\x00", b"\x81\x01x", b"\x89\x02hi", b"\x8a\x00"])
@on_both_loops
async def test_a_flood_of_tiny_messages_is_read_a_little_at_a_time(
    frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it waits with the sender: everyone has a turn in between."""
    turns = [0]
    read, process_event = Unhurried._read, Unhurried.process_event

    def turn(connection: Unhurried) -> None:
        turns.append(0)
        read(connection)

    def count(connection: Unhurried, event: object) -> None:
        turns[-1] += 1
        process_event(connection, event)

    monkeypatch.setattr(Unhurried, "_read", turn)
    monkeypatch.setattr(Unhurried, "process_event", count)
    async with raw_server(Saying(frame * 400_000, upgrades=True)) as url:
        target = WebSocketTarget(url)
        await target.open(BEGINNING)
        await until(lambda: sum(turns) > 3_000)
        await target.send([audio(bytes(640))])
        await target.close(hurry=True)
    assert max(turns) <= 1_100


@on_both_loops
async def test_pings_of_a_peer_that_reads_nothing_are_not_answered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtms_cli.live.sockets._FRAMES_PER_S", 1e9)
    monkeypatch.setattr("rtms_cli.live.sockets._BYTES_PER_S", 1e12)
    peer = Unreading((b"\x89\x7d" + bytes(125)) * 200_000)
    async with raw_server(peer) as url:
        target = WebSocketTarget(url)
        opening = asyncio.create_task(target.open(BEGINNING))  # which waits behind the answers, maybe
        await until(lambda: target.unsent_nbytes > 32_768)
        for _ in range(300):
            await asyncio.sleep(0)
            assert target.unsent_nbytes < 300_000
        assert peer.transport.get_write_buffer_size() > 1 << 20  # which the peer keeps
        peer.transport.resume_reading()  # then all goes on
        await opening
        await until(lambda: target.unsent_nbytes == 0)
        await target.close(hurry=True)


@on_both_loops
async def test_tls_is_verified(tmp_path: Path) -> None:
    made_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    async with serving(Bot(), tls=context) as bot:
        target = WebSocketTarget(bot.url)
        with pytest.raises(TargetGoneError, match="certificate is not trusted") as gone:
            await target.open(BEGINNING)
        assert gone.value.final
        trusting = WebSocketTarget(bot.url, tls=tls_context(str(tmp_path / "cert.pem")))
        await trusting.open(BEGINNING)
        await trusting.send([audio(b"secured")])
        await trusting.close()
        assert bot.media[0][3] == b"secured"


async def test_nobody_there_can_be_tried_again() -> None:
    async with serving(Bot()) as bot:
        pass
    with pytest.raises(TargetGoneError, match="refused") as gone:
        await WebSocketTarget(bot.url).open(BEGINNING)
    assert not gone.value.final


async def test_the_token_goes_into_a_header_and_a_user_of_the_url_before_it() -> None:
    async with serving(Bot()) as bot:
        for url in (bot.url, bot.url.replace("://", "://user:password@")):
            target = WebSocketTarget(url, token="the-token")
            await target.open(BEGINNING)
            await target.close()
        plain = base64.b64encode(b"user:password").decode()
        assert bot.authorization == ["Bearer the-token", f"Basic {plain}"]


@pytest.mark.parametrize(
    "url", ["http://x/", "ws://", "ws:///x", "x", "ws://x:99999/", "ws://x/#y", "ws://[::1", "twilio+http://x/"]
)
def test_what_is_no_url_is_said_at_once(url: str) -> None:
    with pytest.raises(Problem):
        WebSocketTarget(url)


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "é"])
def test_a_token_that_a_header_cannot_hold_is_said_at_once_without_it(token: str) -> None:
    with pytest.raises(Problem) as problem:
        WebSocketTarget("ws://x/", token=token)
    assert token not in str(problem.value)


# Twilio


async def test_twilio_gets_what_media_streams_send() -> None:
    sound = bytes(range(256)) * 10
    async with serving(Bot()) as bot:
        target = TwilioTarget(f"twilio+{bot.url}")
        await target.open(CALL)
        for at in range(0, len(sound), 100):
            await target.send([audio(sound[at : at + 100], 5_000 + at // 8)])
        await target.send([Piece(TRANSCRIPT, b"{}\n"), Piece(GAP, b"{}")])
        await target.close()
    connected, start, *media, stop = bot.texts
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start["event"] == "start"
    told = start["start"]
    assert told["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    assert told["tracks"] == ["inbound"]
    assert told["customParameters"] == {"product": "meeting", "id": "aB+/=", "stream_id": "stream/+="}
    sids = [told["streamSid"], told["callSid"], told["accountSid"]]
    assert [(sid[:2], len(sid)) for sid in sids] == [("MZ", 34), ("CA", 34), ("AC", 34)]
    chunks = [message["media"] for message in media]
    assert [message["event"] for message in media] == ["media"] * len(media)
    payloads = [base64.b64decode(chunk["payload"]) for chunk in chunks]
    assert b"".join(payloads) == sound
    assert {len(payload) for payload in payloads} == {160}
    assert [chunk["chunk"] for chunk in chunks] == [str(n + 1) for n in range(16)]
    assert [chunk["timestamp"] for chunk in chunks] == [str(n * 20) for n in range(16)]
    assert stop["event"] == "stop"
    assert stop["stop"] == {"accountSid": sids[2], "callSid": sids[1]}
    assert [message["sequenceNumber"] for message in [start, *media, stop]] == [str(n + 1) for n in range(18)]
    assert {message["streamSid"] for message in [start, *media, stop]} == {sids[0]}


@on_both_loops
async def test_marks_come_back_in_order_and_anything_else_is_thrown_away() -> None:
    said: list[str | bytes] = [
        json.dumps({"event": "mark", "streamSid": "x", "mark": {"name": f"m{n}"}}) for n in range(5)
    ]
    said[2:2] = [
        json.dumps({"event": "media", "media": {"payload": "A" * 50_000}}),
        json.dumps({"event": "clear"}),
        'no JSON, but "mark"',
        '{"event":"mark","mark":["name"]}',
        '"mark"',
        "[" * 60_000,
        json.dumps({"event": "mark", "mark": {"name": "n" * 100_000}}),
        b'{"event":"mark","mark":{"name":"binary"}}',
    ]
    async with serving(Bot(tuple(said))) as bot:
        target = TwilioTarget(bot.url)
        await target.open(CALL)
        await until(lambda: sum(message["event"] == "mark" for message in bot.texts) == 5)
        await target.send([audio(bytes(160))])
        await target.close()
    marks = [message["mark"] for message in bot.texts if message["event"] == "mark"]
    assert marks == [{"name": f"m{n}"} for n in range(5)]
    numbers = [message["sequenceNumber"] for message in bot.texts if "sequenceNumber" in message]
    assert numbers == [str(n + 1) for n in range(len(numbers))]
    assert target.heard == 11  # what is far too long, or binary, is not looked at


@on_both_loops
async def test_marks_of_a_bot_that_reads_nothing_are_bounded() -> None:
    mark = b'{"event":"mark","mark":{"name":"%s"}}' % (b"n" * 60)
    flood = (b"\x81" + bytes([len(mark)]) + mark) * 20_000
    async with raw_server(Unreading(flood)) as url:
        target = TwilioTarget(url)
        await target.open(CALL)
        await until(lambda: target.heard > 100)
        assert len(target._marks) <= 1_000
        assert target.unsent_nbytes < 64 << 10
        await target.close(hurry=True)


async def test_sound_that_twilio_has_no_name_for_is_refused_for_good() -> None:
    target = TwilioTarget("ws://127.0.0.1:1/")
    with pytest.raises(TargetGoneError, match="f32le") as gone:
        await target.open(structs.replace(CALL, sound=SoundForm(16000, 1, "f32le")))
    assert gone.value.final


def chunks_of(twilio: Twilio, *, rest: bool = False) -> Iterator[dict[str, str]]:
    while (media := twilio.media(rest=rest)) is not None:
        yield json.loads(media)["media"]


@given(
    cuts=st.lists(st.integers(0, 2_000), max_size=20),
    sound=st.sampled_from([SoundForm(8000, 1, "mulaw"), SoundForm(16000, 2, "s16le"), SoundForm(11025, 1, "s16le")]),
)
def test_however_sound_is_cut_its_chunks_say_the_same(cuts: list[int], sound: SoundForm) -> None:
    width = sound.channels * (1 if sound.encoding == "mulaw" else 2)
    whole = bytes(n * 7 % 251 for n in range(sum(cuts) * width))
    twilio, at = Twilio(structs.replace(CALL, sound=sound)), 0
    chunks: list[dict[str, str]] = []
    for frames in cuts:
        data = whole[at * width : (at + frames) * width]
        twilio.take(Piece(AUDIO, data, timestamp_ms=7_000 + at * 1000 // sound.rate_hz))
        chunks += chunks_of(twilio)
        at += frames
    chunks += chunks_of(twilio, rest=True)
    once = Twilio(structs.replace(CALL, sound=sound))
    once.take(Piece(AUDIO, whole, timestamp_ms=7_000))
    assert chunks == [*chunks_of(once), *chunks_of(once, rest=True)]
    assert b"".join(base64.b64decode(chunk["payload"]) for chunk in chunks) == whole
    assert len(chunks) == -(-at // (sound.rate_hz // 50))


def test_timestamps_go_on_behind_what_was_dropped() -> None:
    twilio = Twilio(CALL)
    timestamps = []
    for at_ms in (1_000, 4_000):
        twilio.take(Piece(AUDIO, bytes(320), timestamp_ms=at_ms))
        timestamps += [chunk["timestamp"] for chunk in chunks_of(twilio)]
    assert timestamps == ["0", "20", "3000", "3020"]
