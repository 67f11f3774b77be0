"""No secret and no signature in anything that is printed or written; permissions; limits on what webhooks can do."""

import base64
import io
import json
import os
import stat
from pathlib import Path

import pytest
from frames import HEADER, ZERO_MS, audio, granted, media, tree
from harness import Silent, make_station, same_files
from processes import rtms, running, until
from victim import WHO
from websockets.asyncio.server import ServerConnection, serve

from rtms_cli.capture import Capture
from rtms_cli.library.asking import join_policy
from rtms_cli.protocol.messages import Signature
from rtms_cli.protocol.signatures import handshake_signature
from rtms_cli.protocol.webhooks import read_payload, read_webhook
from rtms_cli.recording.recorder import Recorder
from rtms_cli.recording.writer import Writer
from rtms_cli.station.station import recorder_in
from rtms_cli.view.lines import JsonLines
from rtms_cli.wire.notices import MOST

SECRET, TOKEN, KEY = "the-client-secret-7f3a", "the-secret-token-91bc", "the-sdk-secret-55aa"
SETTINGS = {
    "ZOOM_CLIENT_ID": "app",
    "ZOOM_CLIENT_SECRET": SECRET,
    "ZOOM_SECRET_TOKEN": TOKEN,
    "ZOOM_VIDEO_SDK_KEY": "sdk",
    "ZOOM_VIDEO_SDK_SECRET": KEY,
}


def started(number: int, url: str = "ws://127.0.0.1:9") -> bytes:
    payload = {"meeting_uuid": f"uuid{number}", "rtms_stream_id": f"stream{number}", "server_urls": url}
    return json.dumps({"event": "meeting.rtms_started", "event_ts": 1, "payload": payload}).encode()


@pytest.mark.parametrize("output", ["--json", "--plain"])
async def test_no_secret_and_no_signature_anywhere(output: str, tmp_path: Path) -> None:
    async with running("--debug", "listen", "--port", "0", output, cwd=tmp_path, settings=SETTINGS) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--seconds", "1", "--products", "meeting,session", "--json"]
        async with running("--debug", "simulate", *arguments, cwd=tmp_path, settings=SETTINGS) as simulate:
            assert await simulate.exit_code() == 0, simulate.lines
        # A forged webhook, a recording that cannot be, and a fault of ours on the way would print what they have.
        arguments = ["--webhook", url, "--seconds", "1"]
        wrong = SETTINGS | {"ZOOM_SECRET_TOKEN": "another"}
        async with running("--debug", "simulate", *arguments, cwd=tmp_path, settings=wrong) as forged:
            await listen.line_with("401")
            forged.process.terminate()
            await forged.exit_code()
        listen.process.terminate()
        assert await listen.exit_code() == 0
    printed = "\n".join([*listen.lines, *simulate.lines, *forged.lines]).encode()
    files = {path: path.read_bytes() for path in (tmp_path / "recordings").rglob("*") if path.is_file()}
    captures = [content for path, content in files.items() if path.name == "capture.jsonl"]
    assert len(captures) == 2
    signatures = set()
    for content in captures:
        header = json.loads(content.splitlines()[0])
        pair = ("sdk", KEY) if header["product"] == "session" else ("app", SECRET)
        signatures.add(handshake_signature(*pair, header["id"], header["rtms_stream_id"]))
        assert content.count(b'"[redacted]"') >= 2  # in 1 and in 3
    for needle in (SECRET, TOKEN, KEY, *signatures):
        assert needle.encode() not in printed
        assert not [path for path, content in files.items() if needle.encode() in content]


@pytest.mark.parametrize(
    ("mode", "umask", "file_bits", "folder_bits"),
    [(0o600, 0o022, 0o600, 0o700), (0o640, 0o022, 0o640, 0o750), (0o666, 0o027, 0o640, 0o750)],
)
def test_permissions(mode: int, umask: int, file_bits: int, folder_bits: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        recorder = recorder_in(tmp_path, mode=mode)(HEADER)
        recorder.fold([granted(), audio(bytes(640), ZERO_MS), media(17, "x", ZERO_MS)])
        recorder.close()
    finally:
        os.umask(before)
    paths = list(recorder.folder.rglob("*"))
    assert len(paths) == 5
    for path in [recorder.folder, *paths]:
        assert stat.S_IMODE(path.stat().st_mode) == (folder_bits if path.is_dir() else file_bits)


@pytest.mark.parametrize("mode", ["200", "777", "rw", "-1"])
def test_modes_that_make_no_sense(mode: str, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_bytes(started(1))
    done = rtms("join", "payload.json", "--mode", mode, cwd=tmp_path, settings=SETTINGS)
    assert (done.returncode, f"--mode {mode} would make files" in done.stderr) == (2, True)


ECHOED = "0f1e2d3c4b5a69788796a5b4c3d2e1f000112233445566778899aabbccddeeff"


async def test_a_signature_that_the_server_sends_back_is_nowhere(tmp_path: Path) -> None:
    """In every field that is kept or shown, in any case, in base64, escaped, and as the reason of closing."""

    async def serve_one(connection: ServerConnection) -> None:
        asked = json.loads(await connection.recv())
        signature = asked["signature"]
        if asked["msg_type"] == 1:
            urls = {"all": f"{url}/m?token=media-token&page=1"}
            answer = {"msg_type": 2, "status_code": 0, "reason": signature, "media_server": {"server_urls": urls}}
            await connection.send(json.dumps(answer))
            await connection.wait_closed()
            return
        said: list[dict[str, object]] = [
            {"msg_type": 4, "status_code": 0, "reason": f"{signature} is right", "media_params": {}},
            {"msg_type": 99, "deep": [{"x": signature.upper()}], signature: 1},
            {"msg_type": signature, "x": base64.b64encode(f"it is {signature}".encode()).decode()},
            {"msg_type": 18, "content": WHO | {"data": f"say {signature}"}},
            {"msg_type": 17, "content": WHO | {"data": "x", "language": signature}},
            {"msg_type": 14, "content": WHO | {"user_name": signature, "data": "AAAA"}},
            {"msg_type": 6, "event": {"event_type": 3, "participants": [{"user_id": 1, "user_name": signature[:30]}]}},
        ]
        for message in said:
            await connection.send(json.dumps(message))
        await connection.send(json.dumps(said[1]).replace("0f", "\\u0030f").replace("0F", "\\u0030F"))
        await connection.send(f"no JSON {signature}")
        await connection.close(4000, f"no: {signature}")

    writer, observer, out = Writer(), Silent(), io.StringIO()
    async with serve(serve_one, "127.0.0.1", 0) as listening:
        url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        station = make_station(tmp_path, writer, observer=observer, sign=lambda _: Signature(ECHOED))
        lines = JsonLines(out)
        station.subscribe(lines)
        payload = {"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": f"{url}?access_token=the-start-token"}
        body = json.dumps({"event": "meeting.rtms_started", "payload": payload}).encode()
        station.take(body, read_webhook(body))
        await until(lambda: any(b"4000" in frame.raw for frame in observer.frames))
        await station.stop("the test")
    await writer.close()
    lines.close()
    (finished,) = observer.finished
    (folder,) = {Path(name).parts[0] for name in tree(tmp_path)}
    shown = [*map(repr, observer.frames), *observer.notices, repr(finished), out.getvalue()]
    everything = b"\n".join([name.encode() + content for name, content in tree(tmp_path).items()]).decode("latin-1")
    for text in (*shown, everything):
        lowered = text.lower()
        for needle in (ECHOED[:23], ECHOED[-23:]):
            assert needle not in lowered
        assert "media-token" not in lowered
        assert "the-start-token" not in lowered
    assert everything.count("[redacted]") > 15
    again = tmp_path / "again"
    again.mkdir()
    capture = Capture(tmp_path / folder)
    replayed = Recorder(again, capture.header)
    replayed.fold(list(capture))
    replayed.close()
    same_files(tmp_path / folder, again, but=["manifest.json", ".lock"])


async def test_ten_thousand_streams_are_answered_and_not_all_recorded(tmp_path: Path) -> None:
    writer = Writer()
    observer = Silent()
    station = make_station(tmp_path, writer, observer=observer, max_streams=5)
    for number in range(10_000):
        body = started(number)
        station.take(body, read_webhook(body))
    assert len(station.snapshots()) <= 5
    assert len([notice for notice in observer.notices if "5 streams run already (--max-streams" in notice]) == MOST
    await station.stop("the test")
    await writer.close()
    assert len(observer.finished) == 5
    assert f"{10_000 - 5 - MOST} more streams that are not recorded in the last 60 s" in observer.notices
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


@pytest.mark.parametrize(
    "url", ["wss://evil.example/x", "ws://169.254.169.254/latest", "ws://10.0.0.1", "wss://zoom.us.evil.example"]
)
async def test_a_webhook_leads_nobody_to_a_host_that_is_not_zooms(url: str, tmp_path: Path) -> None:
    writer = Writer()
    observer = Silent()
    station = make_station(tmp_path, writer, observer=observer)
    body = started(1, url)
    station.take(body, read_webhook(body))
    await station.idle()
    await writer.close()
    (notice,) = observer.notices
    assert "is not one of Zoom's hosts; --allow-host" in notice
    assert not observer.finished
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("ws://169.254.169.254/latest", False), ("wss://10.0.0.1/m", False), ("wss://[fe80::1]/m", False),
        ("wss://evil.example/m", False), ("wss://*/m", False), ("wss://signaling.example:444/m", True),
        ("wss://rtms.zoom.us/m", True), ("wss://media.example/m", True),
    ],
)  # fmt: skip
def test_join_goes_only_where_the_user_or_zoom_is(url: str, is_allowed: bool) -> None:
    """The media servers are named by the answer of the signaling server, which is the one that the user gave."""
    payload = {"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": "wss://signaling.example/s"}
    policy = join_policy(read_payload(json.dumps(payload).encode()), ["media.example"])
    assert (policy.check_name(url) is None) is is_allowed
    assert policy.check_address("signaling.example", "10.0.0.1") is None
    assert policy.check_address("rtms.zoom.us", "169.254.169.254") is not None
    star = read_payload(json.dumps(payload | {"server_urls": "wss://*/s"}).encode())
    assert join_policy(star).check_name("wss://evil.example") is not None
