"""`rtms trigger`: what is posted, and the verdict on every kind of answer."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import running
from webapp import App

TOKEN = {"ZOOM_SECRET_TOKEN": "a token"}


def sha(message: bytes, key: str = "a token") -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


async def trigger(app: App, *arguments: str | Path, cwd: Path, code: int) -> dict[str, Any]:
    to = ("--webhook", app.url, "--json")
    async with running("trigger", *arguments, *to, cwd=cwd, settings=TOKEN) as process:
        assert await process.exit_code() == code, process.lines
        result: dict[str, Any] = json.loads(process.lines[-1])
    return result


def correct(body: bytes) -> tuple[int, str]:
    plain = json.loads(body)["payload"]["plainToken"]
    return 200, json.dumps({"plainToken": plain, "encryptedToken": sha(plain.encode())})


def always(status: int, text: str = "") -> Callable[[bytes], tuple[int, str]]:
    return lambda body: (status, text)


def renamed(**names: str) -> Callable[[bytes], tuple[int, str]]:
    """Answers correctly, but for the names of the keys."""

    def answer(body: bytes) -> tuple[int, str]:
        right = json.loads(correct(body)[1])
        given = {wrong: right[name] for wrong, name in names.items()}
        return 200, json.dumps({name: value for name, value in right.items() if name not in names.values()} | given)

    return answer


def encrypted(change: Callable[[str], str]) -> Callable[[bytes], tuple[int, str]]:
    """Answers correctly, but for the form of the encrypted token."""

    def answer(body: bytes) -> tuple[int, str]:
        right = json.loads(correct(body)[1])
        return 200, json.dumps(right | {"encryptedToken": change(right["encryptedToken"])})

    return answer


def again(body: bytes, key: str = "a token", what: str = "sha256", text: str = "") -> tuple[int, str]:
    """Answers with an encrypted token that is made in another way."""
    plain = json.loads(body)["payload"]["plainToken"]
    made = hmac.new(key.encode(), (text or plain).encode(), what).hexdigest()
    return 200, json.dumps({"plainToken": plain, "encryptedToken": made})


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "what"),
    [
        (["url-validation"], correct, 0, "the challenge was answered correctly"),
        (["url_validation"], always(200, "no json"), 1, "not a JSON object"),
        (["url_validation"], always(200, '{"plainToken": "x"}'), 1, "plainToken is not the challenge's"),
        (
            ["url_validation"],
            encrypted(lambda token: token[:-1] + ("1" if token[-1] == "0" else "0")),
            1,
            "encryptedToken is wrong",
        ),
        (["url_validation"], renamed(PlainToken="plainToken"), 1, "PlainToken instead of plainToken"),
        (
            ["url_validation"],
            renamed(plain_token="plainToken", encrypted_token="encryptedToken"),
            1,
            "plain_token instead of plainToken and encrypted_token instead of encryptedToken",
        ),
        (["url_validation"], renamed(EncryptedToken="encryptedToken"), 1, "EncryptedToken instead of encryptedToken"),
        (["url_validation"], lambda body: (200, f'{{"data": {correct(body)[1]}}}'), 1, "its tokens inside 'data'"),
        (["url_validation"], lambda body: (200, correct(body)[1].upper()), 1, "PLAINTOKEN instead of plainToken"),
        (["url_validation"], encrypted(str.upper), 1, "it is in upper case"),
        (["url_validation"], encrypted(lambda t: base64.b64encode(bytes.fromhex(t)).decode()), 1, "base64, not hex"),
        (["url_validation"], encrypted(lambda t: "v0=" + t), 1, "it begins with v0="),
        (["url_validation"], lambda body: (200, '["x"]'), 1, "not a JSON object"),
        (["url_validation"], always(200, ""), 1, "the answer to the challenge is empty"),
        (["url_validation"], lambda body: (200, str(json.loads(correct(body)[1]))), 1, "but a Python dict"),
        (["url_validation"], lambda body: (200, json.dumps(correct(body)[1])), 1, "but JSON in a JSON string"),
        (["url_validation"], always(200, "[" * 20_000), 1, "not a JSON object: JSON nested deeper"),
        (["url_validation"], renamed(hashToken="encryptedToken"), 1, "hashToken instead of encryptedToken"),
        (["url_validation"], lambda body: (200, json.dumps({"body": correct(body)[1]})), 1, "its tokens inside 'body'"),
        (["url_validation"], renamed(encryptedToken="plainToken"), 1, "plainToken is not the challenge's"),
        (
            ["url_validation"],
            encrypted(lambda t: sha(b"rtms", "a token\n")),
            1,
            "does the app have another secret token?",
        ),
        (
            ["url_validation"],
            lambda body: again(body, "a token\n"),
            1,
            "a line break was pasted after the secret token",
        ),
        (["url_validation"], lambda body: again(body, what="sha1"), 1, "SHA-1, not SHA-256"),
        (["url_validation"], lambda body: again(body, text="undefined"), 1, "the plainToken was undefined in the app"),
        (["url_validation"], always(204), 1, "Zoom wants 200"),
        (["url_validation", "--forge"], correct, 1, "the forged webhook was accepted"),
        (["started"], always(200), 0, "accepted"),
        (["started"], always(204), 0, "accepted"),
        (["started"], always(302), 1, "Zoom wants 200, and sends the webhook again"),
        (["started", "--forge"], always(401, "who are you?"), 0, "the forged webhook was rejected"),
        (["stopped", "--forge"], always(404), 1, "not rejected with 401"),
        (["interrupted", "--stale"], always(401), 0, "the stale webhook was rejected"),
        (["interrupted", "--stale"], always(200), 1, "the stale webhook was accepted"),
    ],
)
async def test_verdicts(
    arguments: list[str], answer: Callable[[bytes], tuple[int, str]], code: int, what: str, tmp_path: Path
) -> None:
    async with App(answer).listening() as app:
        result = await trigger(app, *arguments, cwd=tmp_path, code=code)
    (told,) = result["answers"]
    assert what in told["what"]
    assert told["right"] == (code == 0)
    assert bool(told["fix"]) == (code == 1)
    headers, body = app.heard[0]
    assert body.decode() == result["request"]
    signed = sha(b"v0:" + headers["x-zm-request-timestamp"].encode() + b":" + body)
    assert (headers["x-zm-signature"] == "v0=" + signed) == ("--forge" not in arguments)
    age_s = time.time() - int(headers["x-zm-request-timestamp"])
    assert (age_s > 300) == ("--stale" in arguments)


@pytest.mark.parametrize(
    ("arguments", "event", "payload"),
    [
        (
            ["started", "--product", "phone", "--id", "c1", "--stream-id", "s1", "--server-url", "wss://a/x"],
            "phone.rtms_started",
            {"call_id": "c1", "rtms_stream_id": "s1", "server_urls": "wss://a/x"},
        ),
        (
            ["stopped", "--product", "contact_center", "--id", "e1", "--stream-id", "s1", "--reason", "8"],
            "contact_center.voice_rtms_stopped",
            {"engagement_id": "e1", "rtms_stream_id": "s1", "stop_reason": 8},
        ),
        (["session.rtms_interrupted", "--id", "x"], "session.rtms_interrupted", {"session_id": "x"}),
        (["concurrency_limited"], "rtms.concurrency_limited", {"concurrency_number": 2000}),
        (["concurrency-near-limit"], "rtms.concurrency_near_limit", {"concurrency_number": 1601, "percentage": 80}),
        (
            ["stopped", "--payload", "saved.json"],
            "webinar.rtms_stopped",
            {"account_id": "me", "meeting_uuid": "w==", "rtms_stream_id": "s", "stop_reason": 6},
        ),
        (
            ["started", "--payload", "saved.json", "--stream-id", "t"],
            "webinar.rtms_started",
            {"account_id": "me", "meeting_uuid": "w==", "rtms_stream_id": "t", "server_urls": "wss://h/p"},
        ),
    ],
)
async def test_what_is_posted(arguments: list[str], event: str, payload: dict[str, object], tmp_path: Path) -> None:
    fields = {"account_id": "me", "meeting_uuid": "w==", "rtms_stream_id": "s", "server_urls": "wss://h/p"}
    saved = json.dumps({"event": "webinar.rtms_started", "event_ts": 1, "payload": fields})
    (tmp_path / "saved.json").write_text(saved)
    async with App(always(200)).listening() as app:
        await trigger(app, *arguments, cwd=tmp_path, code=0)
    body = json.loads(app.heard[0][1])
    assert body["event"] == event
    assert body["payload"].items() >= payload.items()
    assert abs(body["event_ts"] / 1000 - time.time()) < 60


async def test_a_saved_webhook_goes_out_byte_for_byte_and_again(tmp_path: Path) -> None:
    saved = b'{"event":  "meeting.rtms_started", "event_ts": 1, "payload": {"object": {"meeting_uuid": "m"}}}\n'
    (tmp_path / "saved.json").write_bytes(saved)
    async with App(always(200, "x" * 1000)).listening() as app:
        result = await trigger(app, "started", "--payload", "saved.json", "--retry", "2", cwd=tmp_path, code=0)
    assert [body for _, body in app.heard] == [saved] * 3
    assert [len(told["body"]) for told in result["answers"]] == [301] * 3


@pytest.mark.parametrize("options", [(), ("--forge",)])
async def test_a_secret_that_the_app_answers_is_not_shown(options: tuple[str, ...], tmp_path: Path) -> None:
    async with App(always(530, "cannot verify with 'a token'")).listening() as app:
        result = await trigger(app, "stopped", *options, cwd=tmp_path, code=1)
    (told,) = result["answers"]
    assert told["body"] == "cannot verify with '[redacted]'"


async def test_a_tunnel_that_is_down(tmp_path: Path) -> None:
    async with App(always(530)).listening() as app:
        result = await trigger(app, "stopped", cwd=tmp_path, code=1)
    assert "Cloudflare's tunnel" in result["answers"][0]["fix"]


async def test_nobody_there_and_what_makes_no_sense(tmp_path: Path, unused_tcp_port: int) -> None:
    app = App(always(200))
    app.url = f"http://127.0.0.1:{unused_tcp_port}/"
    (told,) = (await trigger(app, "started", cwd=tmp_path, code=1))["answers"]
    assert told["what"].startswith("no answer: ")
    to = ["--webhook", app.url]
    for arguments, settings, said in [
        (["sarted", *to], TOKEN, "sarted is not an event."),
        (["started", *to], {}, "no secret token"),
        (["started", "--webhook", "ftp://x"], TOKEN, "not an http:// or https:// URL"),
        (["started", "--product", "zoom", *to], TOKEN, "is not a product"),
        (["concurrency_limited", "--id", "x", *to], TOKEN, "not about a stream"),
        (["started", "--payload", "missing.json", *to], TOKEN, "Cannot read missing.json"),
    ]:
        async with running("trigger", *arguments, cwd=tmp_path, settings=settings) as process:
            assert await process.exit_code() == 2
        assert said in process.lines[0]


async def test_our_own_listener_is_right_in_every_way(tmp_path: Path) -> None:
    async with running("listen", "--port", "0", "--json", cwd=tmp_path, settings=TOKEN) as listen:
        url = (await listen.line_with("listening on")).split("listening on ")[1].split('"')[0]
        for arguments in (["url_validation"], ["url_validation", "--forge"], ["interrupted", "--stale"], ["stopped"]):
            async with running("trigger", *arguments, "--webhook", url, cwd=tmp_path, settings=TOKEN) as process:
                assert await process.exit_code() == 0, process.lines
            assert process.lines[1].startswith("✓ ")


async def test_ids_that_are_none_are_made_up(tmp_path: Path) -> None:
    (tmp_path / "saved.json").write_text('{"meeting_uuid": null, "rtms_stream_id": {"a": 1}, "account_id": "me"}')
    async with App(always(200)).listening() as app:
        result = await trigger(app, "started", "--payload", "saved.json", cwd=tmp_path, code=0)
    payload = json.loads(result["request"])["payload"]
    assert payload["account_id"] == "me"
    assert len(payload["meeting_uuid"]) == 24
    assert len(payload["rtms_stream_id"]) == 32
