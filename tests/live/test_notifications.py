"""`--notify` with real processes and a real receiver: everything arrives, signed and in order, whoever dies."""

import asyncio
import base64
import json
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import made_certificate
from processes import CREDENTIALS, rtms, running, until
from receiver import Got, receiving
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from rtms_cli.errors import Problem
from rtms_cli.live.notifications import (
    EVENTS,
    MAKE_A_SECRET,
    endpoints_of,
    parse_endpoint,
    read_secrets,
    shown_endpoint,
    signed_headers,
)
from rtms_cli.live.outbox import FILE

SECRET, OTHER = (f"whsec_{base64.b64encode(bytes(range(first, first + 32))).decode()}" for first in (0, 100))
SIGNED = {"RTMS_NOTIFY_SECRET": SECRET}


def recording_in(folder: Path) -> Path:
    """The one recording in a folder."""
    (found,) = [path for path in folder.iterdir() if path.is_dir()]
    return found


def streams_of(got: Sequence[Got]) -> dict[str, list[str]]:
    """Ids in the order in which they were taken first, by stream."""
    found: dict[str, dict[str, None]] = {}
    for one in got:
        found.setdefault(one.event["data"]["stream_id"], {})[one.id] = None
    return {stream: list(ids) for stream, ids in found.items()}


def in_outbox(folder: Path) -> dict[str, list[str]]:
    """What the outbox of a folder has, as another program reads it: ids in order, by stream."""
    found: dict[str, list[str]] = {}
    connection = sqlite3.connect(f"file:{folder / FILE}?mode=ro", uri=True, timeout=20)
    for stream, message_id in connection.execute("SELECT stream, id FROM messages ORDER BY seq"):
        found.setdefault(stream, []).append(message_id)
    connection.close()
    return found


# What is asked for.


@pytest.mark.parametrize(
    ("given", "url", "events", "batch_s"),
    [
        ("https://a.example/x", "https://a.example/x", set(EVENTS), 0),
        ("https://a.example/x,events=transcript,finished", "https://a.example/x", {"transcript", "stream.finished"}, 0),
        ("https://a.example/x?a=1,2,batch=2s,events=transcript", "https://a.example/x?a=1,2", {"transcript"}, 2),
        ("http://[::1]:9/,batch=1500ms", "http://[::1]:9/", set(EVENTS), 1.5),
        ("https://a.example,events=participant,speaker.changed",
         "https://a.example", {"participant.joined", "participant.left", "speaker.changed"}, 0),
    ],
)  # fmt: skip
def test_a_receiver_is_a_url_and_what_it_gets(given: str, url: str, events: set[str], batch_s: float) -> None:
    endpoint = parse_endpoint(given)
    assert (endpoint.url, set(endpoint.events), endpoint.batch_s) == (url, events, batch_s)


@pytest.mark.parametrize(
    "given",
    ["", "ftp://a.example", "https://", "https://a.example:0/", "https://a.example/ x", "https://[::1", "a.example",
     "https://a.example,events=", "https://a.example,events=nonsense", "https://a.example,batch=soon",
     "https://a.example,batch=61s", "https://a.example,batch=-1s", "https://a.example,batch=1s,batch=2s",
     "https://a.example,events=chat,batch=1s"],
)  # fmt: skip
def test_what_is_no_receiver_is_a_problem_that_does_not_tell_the_url(given: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_endpoint(given.replace("a.example", "user:hush@a.example"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://user:hush@a.example:8443/hook?token=hush", "https://a.example:8443/hook"),
        ("https://hooks.example/services/T000/B000/hush", "https://hooks.example/services/…"),
        ("https://a.example/5f1d7c1e-hush-hush-hush-hush", "https://a.example/…"),
        ("https://a.example", "https://a.example/"),
    ],
)
def test_what_people_are_told_of_a_url_has_no_secret(url: str, label: str) -> None:
    assert parse_endpoint(url).label == label
    assert "hush" not in parse_endpoint(url).key


def test_what_is_shown_of_a_setting_has_no_secret() -> None:
    given = "https://user:hush@a.example/x?hush,events=transcript,batch=2s"
    assert shown_endpoint(given) == "https://a.example/x,events=transcript,batch=2s"
    assert shown_endpoint("hush") == "(no receiver)"


def test_who_is_not_on_this_machine_gets_signed_events_only() -> None:
    assert endpoints_of(["http://127.0.0.1:1/", "http://localhost:1/"], [])
    with pytest.raises(Problem, match="RTMS_NOTIFY_SECRET is not set") as caught:
        endpoints_of(["https://a.example/"], [])
    assert MAKE_A_SECRET in caught.value.remedy
    assert endpoints_of(["https://a.example/"], read_secrets(SECRET))
    with pytest.raises(Problem, match="twice"):
        endpoints_of(["http://localhost:1/,events=chat", "http://localhost:1/"], [])


def test_the_remedy_makes_a_secret(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    subprocess.run(["sh", "-c", MAKE_A_SECRET], cwd=tmp_path, check=True)
    name, _, value = (tmp_path / ".env").read_text().strip().partition("=")
    assert (name, [len(secret) for secret in read_secrets(value)]) == ("RTMS_NOTIFY_SECRET", [32])


@pytest.mark.parametrize(
    "text", ["hush", "whsec_hush", "whsec_", f"whsec_{base64.b64encode(bytes(65)).decode()}", f"{SECRET} hush"]
)
def test_a_secret_that_is_none_is_not_shown(text: str) -> None:
    with pytest.raises(Problem, match="is not whsec_") as caught:
        read_secrets(text)
    assert "hush" not in str(caught.value)


def test_signatures_are_what_the_library_wants() -> None:
    secrets = read_secrets(f" {SECRET}  {OTHER.removeprefix('whsec_')}\n")
    headers = signed_headers("msg_1", int(time.time()), b'{"a":"\xc3\xa4"}', secrets)
    for secret in (SECRET, OTHER):
        assert Webhook(secret).verify('{"a":"ä"}', headers) == {"a": "ä"}
    with pytest.raises(WebhookVerificationError):
        Webhook(f"whsec_{base64.b64encode(bytes(32)).decode()}").verify('{"a":"ä"}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify('{"a":"b"}', headers)
    assert "webhook-signature" not in signed_headers("msg_1", 1, b"{}", [])


# What arrives.

DOCUMENT = Path(__file__).parents[2] / "docs" / "notifications.md"


def examples(language: str) -> list[str]:
    """The document's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def shape(value: object) -> object:
    """A JSON value's keys, in order; of a list, those of its first value."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Got]:
    """What a demo posts."""

    async def run() -> list[Got]:
        folder = tmp_path_factory.mktemp("told")
        arguments = ["demo", "--seconds", "2", "--plain", "--notify"]
        async with receiving() as receiver, running(*arguments, receiver.url, cwd=folder, settings=SIGNED) as demo:
            assert await demo.exit_code() == 0, demo.lines
        return receiver.got

    return asyncio.run(run())


def test_the_documents_examples_are_what_is_sent(told: list[Got]) -> None:
    documented = [json.loads(text) for text in examples("json")]
    assert {one["type"] for one in documented} == set(EVENTS) - {"stream.interrupted", "stream.failed"}
    for example in documented:
        got = next(one.event for one in told if one.type == example["type"])
        for name in ("warnings", "losses"):  # a demo has none
            if name in got["data"]:
                got["data"][name] = example["data"][name]
        assert list(got) == list(example)
        assert shape(got) == shape(example)
    headings = re.findall(r"^### (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    assert [name for heading in headings for name in heading.split(", ")] == list(EVENTS)


def test_the_python_example_verifies(told: list[Got]) -> None:
    (program,) = examples("python")
    names: dict[str, Any] = {}
    exec(program, names)
    for got in told:
        assert names["verified"](SECRET, got.body, got.headers) == got.event
        with pytest.raises(WebhookVerificationError):
            names["verified"](OTHER, got.body, got.headers)


def test_the_node_example_verifies(told: list[Got]) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    (program,) = examples("js")
    program += """
const { secret, other, got } = JSON.parse(require("node:fs").readFileSync(0));
for (const { body, headers } of got) {
  const bytes = Buffer.from(body, "base64");
  console.log(JSON.stringify(verified(secret, bytes, headers)));
  for (const wrong of [{ secret: other }, { bytes: Buffer.concat([bytes, Buffer.from(" ")]) }, { headers: {} },
    { headers: { ...headers, "webhook-timestamp": "1" } }]) {
    let refused = false;
    const given = { secret, bytes, headers, ...wrong };
    try { verified(given.secret, given.bytes, given.headers); } catch { refused = true; }
    if (!refused) throw new Error("let in");
  }
}
"""
    given = {
        "secret": SECRET,
        "other": OTHER,
        "got": [{"body": base64.b64encode(got.body).decode(), "headers": got.headers} for got in told],
    }
    command = ["node", "-e", program]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [got.event for got in told]


async def test_listen_tells_of_each_stream_and_has_figures(tmp_path: Path) -> None:
    async with (
        receiving() as receiver,
        running(
            "listen", "--port", "0", "--json", "--notify", receiver.url, cwd=tmp_path, settings=CREDENTIALS
        ) as listen,
    ):
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        arguments = ["--webhook", url, "--streams", "3", "--seconds", "1"]
        async with running("simulate", *arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
            assert await simulate.exit_code() == 0, simulate.lines
        await until(lambda: [got.type for got in receiver.taken].count("stream.finished") == 3)
        figures = ""
        async with httpx.AsyncClient(timeout=None) as client:
            while "rtms_notifications_waiting 0.0" not in figures:
                figures = (await client.get(url.replace("/webhook", "/metrics"))).text
        assert f'rtms_notifications_total{{result="sent"}} {len(receiver.taken)}.0' in figures
        assert 'rtms_notifications_total{result="dropped"} 0.0' in figures
        assert "rtms_notification_failures_total 0.0" in figures
        listen.process.send_signal(signal.SIGINT)
        assert await listen.exit_code() == 0, listen.lines
    for stream in streams_of(receiver.got):
        types = [got.type for got in receiver.got if got.event["data"]["stream_id"] == stream]
        assert (types[0], types[-1]) == ("stream.started", "stream.finished")


async def test_a_demo_tells_everything_signed_and_in_order(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f'RTMS_NOTIFY_SECRET="{SECRET} {OTHER}"\n')
    async with (
        receiving() as receiver,
        running("demo", "--seconds", "3", "--json", "--notify", receiver.url, cwd=tmp_path) as demo,
    ):
        assert await demo.exit_code() == 0, demo.lines
    types = [got.type for got in receiver.got]
    assert (types[0], types[-1]) == ("stream.started", "stream.finished")
    assert set(types) == set(EVENTS) - {"stream.interrupted", "stream.failed"}
    for got in receiver.got:
        assert Webhook(SECRET).verify(got.body, got.headers) == Webhook(OTHER).verify(got.body, got.headers)
    assert len({got.id for got in receiver.got}) == len(types)
    assert receiver.connections == 1  # it stays open
    folder = recording_in(tmp_path / "recordings")
    manifest = json.loads((folder / "manifest.json").read_text())
    ids = {"product": manifest["product"], "id": manifest["id"], "stream_id": manifest["rtms_stream_id"]}
    for got in receiver.got:
        assert got.event["data"].items() >= (ids | {"folder": f"recordings/{folder.name}"}).items()
    finished = receiver.got[-1].event["data"]
    assert (finished["status"], finished["reason"]) == ("complete", 6)
    assert (finished["reason_name"], finished["reason_text"]) == ("STOP_BC_MEETING_ENDED", "the meeting ended")
    assert finished["said_by"] == manifest["stop"]["said_by"]
    assert [track["path"] for track in finished["tracks"]] == [track["path"] for track in manifest["tracks"]]
    assert len(finished["participants"]) == len(manifest["participants"])
    assert 2 < finished["duration"] < 30
    for kind in ("transcript", "chat"):
        said = [line for got in receiver.got if got.type == kind for line in got.event["data"]["lines"]]
        assert said == [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    told = [got.event["data"]["event"] for got in receiver.got if "event" in got.event["data"]]
    for event in (*events, *told):
        event.pop("t")  # not known when the first ones are told
    assert told == [
        event
        for event in events
        if event["event"] in ("PARTICIPANT_JOIN", "PARTICIPANT_LEAVE", "ACTIVE_SPEAKER_CHANGE")
    ]
    assert in_outbox(tmp_path / "recordings") == {}


async def test_a_batch_is_one_event_and_who_wants_none_gets_lines(tmp_path: Path) -> None:
    async with receiving() as one, receiving() as other:
        options = [
            "--notify",
            f"{one.url},events=transcript,finished,batch=60s",
            "--notify",
            f"{other.url},events=transcript",
        ]
        async with running("demo", "--seconds", "6", "--plain", *options, cwd=tmp_path) as demo:
            assert await demo.exit_code() == 0, demo.lines
    assert [got.type for got in one.got] == ["transcript", "stream.finished"]  # the end seals a batch
    (batch, _), single = one.got, other.got
    assert len(single) > 1
    assert batch.event["data"]["lines"] == [line for got in single for line in got.event["data"]["lines"]]
    assert all(len(got.event["data"]["lines"]) == 1 for got in single)
    assert "webhook-signature" not in batch.headers  # no secret is set


async def test_a_refused_stream_is_told_as_failed(tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    credentials = {"ZOOM_CLIENT_ID": "an-app", "ZOOM_CLIENT_SECRET": "its secret"}
    async with (
        receiving() as receiver,
        running("simulate", "--payload-out", payload, "--seconds", "1", cwd=tmp_path, settings=credentials),
    ):
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        wrong = credentials | {"ZOOM_CLIENT_SECRET": "another"}
        joined = await asyncio.to_thread(rtms, "join", payload, "--notify", receiver.url, cwd=tmp_path, settings=wrong)
        assert joined.returncode == 3
    last = receiver.got[-1].event
    assert (last["type"], last["data"]["status"]) == ("stream.failed", "failed")
    assert "STATUS_INVALID_SIGNATURE" in last["data"]["said_by"]


async def test_nothing_is_lost_or_mixed_up_whoever_is_killed(tmp_path: Path) -> None:
    """The receiver answers 500 twice, then 200, then is killed; so is rtms; both come back."""
    out = tmp_path / "recordings"
    statuses = iter([500, 500])
    async with receiving(lambda got: next(statuses, 200)) as receiver:
        arguments = ["--out", str(out), "--notify", receiver.url]
        async with running("demo", "--seconds", "60", "--json", *arguments, cwd=tmp_path, settings=SIGNED) as demo:
            await until(lambda: len(receiver.taken) >= 4)
            await receiver.kill()
            await until(lambda: sum(map(len, in_outbox(out).values())) >= 4)
            demo.process.kill()
            await demo.exit_code()
        ((stream, left),) = in_outbox(out).items()
        before = list(receiver.got)
        await receiver.start()
        async with running("demo", "--seconds", "2", "--json", *arguments, cwd=tmp_path, settings=SIGNED) as demo:
            assert await demo.exit_code() == 0, demo.lines
    assert [got.status for got in receiver.got[:3]] == [500, 500, 200]
    assert len({got.id for got in receiver.got[:3]}) == 1  # the same one, until it was taken
    for got in receiver.got:
        Webhook(SECRET).verify(got.body, got.headers)
    ids = streams_of(receiver.taken)
    assert len(ids) == 2
    assert ids[stream][-len(left) :] == left
    assert set(streams_of([got for got in before if got.status == 200])[stream]) | set(left) == set(ids[stream])
    times = {got.id: str(got.event["timestamp"]) for got in receiver.taken}
    assert [times[one] for one in ids[stream]] == sorted(times[one] for one in ids[stream])
    assert Counter(got.id for got in receiver.taken).most_common(1)[0][1] <= 2  # what was on its way when rtms died
    assert in_outbox(out) == {}


async def test_two_processes_with_one_outbox_send_each_event_once(tmp_path: Path) -> None:
    async with receiving(lambda got: 500) as receiver:
        arguments = ["demo", "--seconds", "4", "--json", "--notify", receiver.url]
        async with (
            running(*arguments, cwd=tmp_path, settings=SIGNED) as one,
            running(*arguments, cwd=tmp_path, settings=SIGNED) as other,
        ):
            await until(lambda: len({got.event["data"]["stream_id"] for got in receiver.got}) == 2)
            receiver.answer = lambda got: 200
            assert set(await asyncio.gather(one.exit_code(), other.exit_code())) == {0}
    ids = [got.id for got in receiver.taken]
    assert len(ids) == len(set(ids))
    assert {got.type for got in receiver.taken} == set(EVENTS) - {"stream.interrupted", "stream.failed"}
    assert in_outbox(tmp_path / "recordings") == {}


async def test_no_secret_shows_anywhere(tmp_path: Path) -> None:
    async with receiving(lambda got: (302, {"location": "http://127.0.0.1:9/hush"})) as receiver:
        url = receiver.url.replace("//", "//user:hush@") + "?token=hush"
        (tmp_path / "rtms.toml").write_text(f'[demo]\nnotify = ["{url}"]\n')
        async with running(
            "demo", "--seconds", "5", "--json", cwd=tmp_path, settings=SIGNED | {"RTMS_DEBUG": "1"}
        ) as demo:
            event = await demo.event("notify")
            assert (event["url"], event["state"]) == (receiver.url, "failing")
            assert event["why"] == "it answered 302, and redirects are not followed"
            demo.process.send_signal(signal.SIGINT)
            await demo.exit_code()
        config = rtms("config", cwd=tmp_path, settings=SIGNED)
    assert receiver.got[0].path == "/hook?token=hush"
    assert receiver.got[0].headers["authorization"] == "Basic " + base64.b64encode(b"user:hush").decode()
    files = b"".join(path.read_bytes() for path in (tmp_path / "recordings").rglob("*") if path.is_file())
    said = "\n".join([*demo.lines, config.stdout, config.stderr]).encode()
    for secret in (b"hush", SECRET.encode(), SECRET.removeprefix("whsec_").encode()):
        assert secret not in files
        assert secret not in said


@pytest.mark.parametrize("trusted", [True, False])
async def test_tls_is_verified(trusted: bool, tmp_path: Path) -> None:
    certificate = made_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "both.pem")
    payload = tmp_path / "payload.json"
    async with (
        receiving(tls=context) as receiver,
        running("simulate", "--payload-out", payload, "--seconds", "1", cwd=tmp_path),
    ):
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        options = ["--ca-file", "cert.pem"] if trusted else []
        arguments: list[str | Path] = [payload, "--json", "--notify", receiver.url, *options]
        joined = await asyncio.to_thread(rtms, "join", *arguments, cwd=tmp_path, settings=SIGNED)
    assert joined.returncode == 0, joined.stdout
    assert bool(receiver.got) is trusted
    assert bool(in_outbox(tmp_path / "recordings")) is not trusted
    assert ("certificate is not trusted" in joined.stdout) is not trusted


async def test_what_waits_at_the_end_is_told_and_goes_out_with_the_next_run(tmp_path: Path) -> None:
    async with receiving() as receiver:
        await receiver.kill()
        arguments = ["demo", "--seconds", "2", "--plain", "--notify", receiver.url]
        async with running(*arguments, cwd=tmp_path) as demo:
            async with asyncio.timeout(40):
                assert await demo.exit_code() == 0
        left = in_outbox(tmp_path / "recordings")
        count = sum(map(len, left.values()))
        assert demo.lines[-1].endswith(f" {count} notifications are left in recordings/{FILE}; the next run sends them")
        await receiver.start()
        async with running(*arguments, cwd=tmp_path) as demo:
            await until(lambda: len(receiver.taken) > count)
            assert await demo.exit_code() == 0
    assert {stream: streams_of(receiver.taken)[stream] for stream in left} == left


async def test_a_second_ctrl_c_does_not_wait_for_a_receiver(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.may_answer.clear()
        async with running("demo", "--seconds", "60", "--json", "--notify", receiver.url, cwd=tmp_path) as demo:
            await until(lambda: receiver.asked)
            demo.process.send_signal(signal.SIGINT)
            await demo.line_with("waiting: trying for")
            assert await demo.interrupt() == 130
        assert in_outbox(tmp_path / "recordings")
        receiver.may_answer.set()


async def test_an_outbox_that_is_none_is_moved_aside_and_told(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / FILE).write_bytes(b"precious " * 1000)
    async with receiving() as receiver:
        done = await asyncio.to_thread(rtms, "demo", "--seconds", "1", "--json", "--notify", receiver.url, cwd=tmp_path)
    assert done.returncode == 0
    assert receiver.got[-1].type == "stream.finished"
    (aside,) = (tmp_path / "recordings").glob(".rtms-outbox.damaged-*")
    assert aside.name in done.stdout
    assert aside.read_bytes() == b"precious " * 1000


async def test_without_a_recording_what_is_said_is_told_all_the_same(tmp_path: Path) -> None:
    async with receiving() as receiver:
        arguments = ["--no-record", "--notify", receiver.url]
        done = await asyncio.to_thread(rtms, "demo", "--seconds", "2", "--json", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {got.type for got in receiver.taken} == set(EVENTS) - {"stream.interrupted", "stream.failed"}
    assert all(got.event["data"]["folder"] is None for got in receiver.taken)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


def test_a_receiver_far_away_needs_a_secret(tmp_path: Path) -> None:
    done = rtms("demo", "--notify", "https://user:hush@a.example/?hush", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: --notify https://a.example/: RTMS_NOTIFY_SECRET is not set."
    assert "hush" not in done.stdout + done.stderr
