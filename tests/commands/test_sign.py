"""`rtms sign`, held against HMACs that the test makes by itself."""

import base64
import hashlib
import hmac
import json
import os
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from processes import CREDENTIALS, rtms

from rtms_cli.commands import options
from rtms_cli.errors import Problem

UUID, STREAM, NUMBER = "AbC/+1 23==", "stream123==", "123456789"
ID, SECRET, TOKEN = CREDENTIALS["ZOOM_CLIENT_ID"], CREDENTIALS["ZOOM_CLIENT_SECRET"], CREDENTIALS["ZOOM_SECRET_TOKEN"]
PAYLOAD = {"account_id": "account", "meeting_id": NUMBER, "meeting_uuid": UUID, "rtms_stream_id": STREAM}


def digest(text: str, key: str = SECRET) -> bytes:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()


RIGHT = digest(f"{ID},{UUID},{STREAM}")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload.json"
    path.write_text(json.dumps({"event": "meeting.rtms_started", "payload": {"object": PAYLOAD}}))
    return path


@pytest.mark.parametrize("name", ["-", "body.json"])
def test_no_more_is_read_than_a_body_can_be(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "MOST_INPUT_NBYTES", 3 << 20)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.json").write_bytes(bytes((3 << 20) + 1))
    with (tmp_path / "body.json").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        with pytest.raises(Problem, match="is larger than 3 MiB"):
            options.read_input(name, "")


def test_the_signature_alone_is_on_standard_output(payload: Path) -> None:
    done = rtms("sign", payload, cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, RIGHT.hex() + "\n")
    assert f"{ID},AbC/+1␠23==,{STREAM}" in done.stderr
    assert SECRET not in done.stderr
    given = rtms("sign", "--id", UUID, "--stream-id", STREAM, cwd=payload.parent, settings=CREDENTIALS)
    assert given.stdout == done.stdout


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_payload_as_windows_saves_it(payload: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    payload.write_text(mark + payload.read_text(), encoding=encoding)
    done = rtms("sign", payload, cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, RIGHT.hex() + "\n"), done.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"\xff\xfeZ", "it begins as UTF-16, but"), (b"ZOOM_CLIENT_ID=caf\xe9\n", "it is not UTF-8 (byte ")],
)
def test_an_env_file_that_cannot_be_read(payload: Path, content: bytes, why: str) -> None:
    (payload.parent / ".env").write_bytes(content)
    done = rtms("sign", payload, cwd=payload.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: .env cannot be read: {why}")


def test_json_has_all_parts_but_the_secret(payload: Path) -> None:
    done = rtms("sign", payload, "--json", cwd=payload.parent, settings=CREDENTIALS)
    parts = json.loads(done.stdout)
    assert (parts["signature"], parts["client_id"], parts["id"], parts["stream_id"]) == (RIGHT.hex(), ID, UUID, STREAM)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (base64.b64encode(RIGHT).decode(), "base64"),
        (RIGHT.hex().upper(), "upper case"),
        (digest(f"{ID},{UUID},{STREAM}", TOKEN).hex(), "secret token was used"),
        (digest(f"{ID},{NUMBER},{STREAM}").hex(), f"meeting number {NUMBER}"),
        (digest(f"{ID},{STREAM},{UUID}").hex(), "swapped"),
        (digest(f"{ID},{UUID},{STREAM}", SECRET + "\n").hex(), "a line break was pasted after the client secret"),
        (digest(f"{ID},{UUID},{STREAM}", " " + SECRET).hex(), "a blank was pasted before the client secret"),
        (digest(f"{ID},{quote(UUID, safe='')},{STREAM}").hex(), "URL-encoded"),
        (digest(f"{ID}, {UUID}, {STREAM}").hex(), "blanks after the commas"),
        (digest(f"{UUID},{STREAM}").hex(), "client id is missing"),
        (base64.b64encode(digest(f"{ID},{STREAM},{UUID}")).decode(), "swapped; and it is base64"),
        (digest(f"{ID},{NUMBER},{STREAM}", SECRET + ";").hex(), "a ; was pasted after the client secret"),
        (digest(f"{ID},undefined,{STREAM}").hex(), "the id was undefined in the app"),
        (digest(f"{ID},account,{STREAM}").hex(), "account_id account was used instead of the id"),
        (digest(f"{STREAM},{UUID},{ID}").hex(), "the parts are in another order"),
        (digest(f"{ID}|{UUID}|{STREAM}").hex(), "joined with '|'"),
        (hmac.new(SECRET.encode(), f"{ID},{UUID},{STREAM}".encode(), "sha1").hexdigest(), "SHA-1, not SHA-256"),
        (hashlib.sha256(f"{SECRET}{ID},{UUID},{STREAM}".encode()).hexdigest(), "a plain SHA-256, not an HMAC"),
        (digest(SECRET, f"{ID},{UUID},{STREAM}").hex(), "the key and the text are swapped"),
        ("v0=" + RIGHT.hex(), "it begins with v0="),
        (RIGHT.hex()[:40] + "…", "only 40 of its 64 characters are there"),
        (digest("something else").hex(), "development credentials"),
    ],
)
def test_the_mistake_is_named(given: str, named: str, payload: Path) -> None:
    done = rtms("sign", payload, "--verify", given, cwd=payload.parent, settings=CREDENTIALS)
    assert done.returncode == 1
    assert done.stdout.startswith("mismatch: ")
    assert named in done.stdout


def test_a_right_one_is_a_match_and_a_pasted_line_break_in_our_own_secret_is_found(payload: Path) -> None:
    done = rtms("sign", payload, "--verify", RIGHT.hex(), cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, "match\n")
    spoilt = CREDENTIALS | {"ZOOM_CLIENT_SECRET": SECRET + " "}
    done = rtms("sign", payload, "--verify", RIGHT.hex(), cwd=payload.parent, settings=spoilt)
    assert done.returncode == 1
    assert "configured here has white space around it" in done.stdout


BODY = '{"event": "meeting.rtms_started",  "payload": {"name": "Zoë"}}'
STAMP = "1738394112"


def webhook(text: str, key: str = TOKEN) -> str:
    return "v0=" + digest(text, key).hex()


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        (webhook(f"v0:{STAMP}:{BODY}"), 0, "match"),
        (webhook(f"v0:{STAMP}:{BODY}", SECRET), 1, "the client secret was used"),
        (webhook(f"v0:{STAMP}:{json.dumps(json.loads(BODY))}"), 1, "parsed and written again"),
        (
            webhook(f"v0:{STAMP}:{json.dumps(json.loads(BODY), separators=(',', ':'), ensure_ascii=False)}"),
            1,
            "JSON.stringify",
        ),
        (webhook(f"{STAMP}:{BODY}"), 1, "does not begin with 'v0:'"),
        (webhook(f"v0:{STAMP}:{BODY}")[3:], 1, "'v0=' is missing"),
        (webhook(f"v0:{STAMP}:{BODY}\n"), 1, "a line break follows the body"),
        (webhook(f"v0:{STAMP}:{BODY.encode()!r}"), 1, "the bytes of the body were printed (b'…')"),
        (webhook(f"v0:{STAMP}:[object Object]"), 1, "the body was [object Object] in the app"),
        (webhook(f"v0:{STAMP}:"), 1, "the body was empty in the app"),
        (webhook(f"v0:undefined:{BODY}"), 1, "the timestamp was undefined in the app"),
        (webhook(f"v0:{STAMP}:{json.dumps(BODY, ensure_ascii=False)}"), 1, "written as a JSON string"),
        (
            webhook(f"v0:{STAMP}:" + json.dumps({"type": "Buffer", "data": [*BODY.encode()]}, separators=(",", ":"))),
            1,
            "a Buffer was written as JSON",
        ),
        ("v0=" + webhook(f"v0:{STAMP}:{BODY}"), 1, "'v0=' stands in front twice"),
        ("V0=" + webhook(f"v0:{STAMP}:{BODY}")[3:], 1, "'v0=' is in upper case"),
        (webhook("nothing"), 1, "none of the usual mistakes"),
    ],
)
def test_webhook(given: str, code: int, named: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(BODY)
    arguments = ["sign", "webhook", "body.json", "--timestamp", STAMP]
    done = rtms(*arguments, "--verify", given, cwd=tmp_path, settings=CREDENTIALS)
    assert done.returncode == code
    assert named in done.stdout
    assert "more than 300 s is rejected" in done.stderr
    made = rtms(*arguments, cwd=tmp_path, settings=CREDENTIALS)
    assert made.stdout == webhook(f"v0:{STAMP}:{BODY}") + "\n"


MADE = '{"b": "a/b <é> & \'c\' +1", "a": {"payload": "x", "n": null}}'
PHP = '{"b":"a\\/b <\\u00e9> & \'c\' +1","a":{"payload":"x","n":null}}'
GO = '{"a":{"n":null,"payload":"x"},"b":"a/b \\u003cé\\u003e \\u0026 \'c\' +1"}'
C_SHARP = '{"b":"a/b \\u003C\\u00E9\\u003E \\u0026 \\u0027c\\u0027 \\u002B1","a":{"payload":"x","n":null}}'
GSON = '{"b":"a/b \\u003cé\\u003e \\u0026 \\u0027c\\u0027 +1","a":{"payload":"x","n":null}}'


@pytest.mark.parametrize(
    ("saved", "signed", "named"),
    [
        (MADE.encode("utf-8-sig"), MADE, "this file is in UTF-8 with a byte order mark"),
        (MADE.encode("utf-16"), MADE, "this file is in UTF-16, which"),
        (
            (MADE + "\r\n").encode("utf-16"),
            MADE,
            "a line break at its end that the body did not have, and is in UTF-16",
        ),
        (MADE.replace(", ", ",\r\n").encode(), MADE.replace(", ", ",\n"), "CR LF where the body had LF"),
        (MADE.encode(), str(json.loads(MADE)), "str(dict) in Python"),
        (MADE.encode(), PHP, "PHP's json_encode: \\/ and \\u escapes"),
        (MADE.encode(), PHP.replace("\\u00e9", "é"), "PHP's json_encode: \\/ for /"),
        (MADE.encode(), GO, "as Go's json.Marshal does of a map"),
        (MADE.encode(), C_SHARP, "C#'s System.Text.Json"),
        (MADE.encode(), GSON, "Java's Gson"),
        (MADE.encode(), json.dumps(json.loads(MADE), sort_keys=True, separators=(",", ":")), "sorted keys"),
        (MADE.encode(), '{"payload":"x","n":null}', "none of the usual mistakes"),
    ],
)
def test_the_mistakes_of_other_languages_and_editors(saved: bytes, signed: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(saved)
    given = webhook(f"v0:{STAMP}:{signed}")
    done = rtms(
        "sign", "webhook", "body.json", "--timestamp", STAMP, "--verify", given, cwd=tmp_path, settings=CREDENTIALS
    )
    assert done.returncode == 1
    assert named in done.stdout


def test_timestamps_in_another_unit(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(BODY)
    for stamp, signed in ((STAMP, f"{STAMP}000"), (f"{STAMP}123", STAMP)):
        given = webhook(f"v0:{signed}:{BODY}")
        arguments = ["sign", "webhook", "body.json", "--timestamp", stamp, "--verify", given]
        done = rtms(*arguments, cwd=tmp_path, settings=CREDENTIALS)
        assert done.returncode == 1
        assert "the timestamp was signed in" in done.stdout


FORMS = ["{}", '"{}"', "x-zm-signature: {}", "“{}”", "'X-Zm-Signature': '{}',", " {}\n", "-H 'x-zm-signature: {}'"]


@pytest.mark.parametrize("form", FORMS)
def test_a_right_signature_pasted_with_what_stood_around_it(form: str, payload: Path) -> None:
    (payload.parent / "body.json").write_text(BODY)
    arguments = ["sign", "webhook", "body.json", "--timestamp", f"x-zm-request-timestamp: {STAMP}"]
    given = form.format(webhook(f"v0:{STAMP}:{BODY}"))
    done = rtms(*arguments, "--verify", given, cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, "match\n")
    given = form.format(RIGHT.hex()).replace("x-zm-signature", "signature")
    done = rtms("sign", payload, "--verify", given, cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, "match\n")


def test_a_whole_request_has_all_that_verifies_it(tmp_path: Path) -> None:
    right = webhook(f"v0:{STAMP}:{BODY}")
    headers = f"x-zm-signature: {right}\r\nx-zm-request-timestamp: {STAMP}"
    request = tmp_path / "request.txt"
    for text in (
        f"POST /webhook HTTP/1.1\r\n{headers}\r\n\r\n{BODY}",
        f"curl -H 'x-zm-signature: {right}' -H 'x-zm-request-timestamp: {STAMP}' -d '{BODY}' https://a/b",
        json.dumps({"headers": {"x-zm-request-timestamp": STAMP, "x-zm-signature": right}, "body": BODY}),
    ):
        request.write_text(text)
        done = rtms("sign", "webhook", request, cwd=tmp_path, settings=CREDENTIALS)
        assert (done.returncode, done.stdout) == (0, right + "\n"), done.stderr
        assert "header  match" in done.stderr
    request.write_text(BODY)
    done = rtms("sign", "webhook", request, cwd=tmp_path, settings=CREDENTIALS)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: There is no timestamp.")


def test_text_that_is_not_text(payload: Path) -> None:
    hostile = {"meeting_uuid": "a\ud83d", "rtms_stream_id": "\udfff,b", "signature": "\udc80"}
    payload.write_text(json.dumps(hostile))
    for verify in ([], ["--verify", "\udcff\udcfe"], ["--verify", RIGHT.hex()]):
        done = rtms("sign", payload, *verify, cwd=payload.parent, settings=CREDENTIALS)
        assert done.returncode == (1 if verify else 0), done.stderr
    (payload.parent / "body.json").write_bytes(b'\xff{"a": "\\ud83d"}')
    arguments = ["sign", "webhook", "body.json", "--timestamp", "\udcff1", "--verify", "v0=\udcff"]
    assert rtms(*arguments, cwd=payload.parent, settings=CREDENTIALS).returncode == 1


def test_the_other_form_that_zooms_sources_sign_is_noted(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(BODY)
    done = rtms("sign", "webhook", "body.json", "--timestamp", STAMP, cwd=tmp_path, settings=CREDENTIALS)
    compact = json.dumps(json.loads(BODY), separators=(",", ":"), ensure_ascii=False)
    assert f"as JSON.stringify writes it: {webhook(f'v0:{STAMP}:{compact}')}" in done.stderr


def test_a_payload_from_console_log(payload: Path) -> None:
    payload.write_text(f"{{ payload: {{ meeting_uuid: '{UUID}', rtms_stream_id: '{STREAM}' }} }}\n")
    done = rtms("sign", payload, cwd=payload.parent, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (0, RIGHT.hex() + "\n"), done.stderr
    assert "this is JavaScript's notation" in done.stderr
    payload.write_text("{ payload: [Object] }")
    done = rtms("sign", payload, cwd=payload.parent, settings=CREDENTIALS)
    assert done.returncode == 2
    assert "console.log left out a part" in done.stderr


ENV_FILES = {
    "statements": f"ZOOM_CLIENT_ID = {ID};\nconst ZOOM_CLIENT_SECRET = '{SECRET}';\n".encode(),
    "typographic": f"export ZOOM_CLIENT_ID=“{ID}”\r\nZOOM_CLIENT_SECRET=‘{SECRET}’\r\n".encode(),
    "UTF-16": f'ZOOM_CLIENT_ID="{ID}"\r\nZOOM_CLIENT_SECRET={SECRET}\r\n'.encode("utf-16"),
    "cmd": f'set ZOOM_CLIENT_ID={ID}\r\nset "ZOOM_CLIENT_SECRET={SECRET}"\r\n'.encode(),
    "setx": f'setx ZOOM_CLIENT_ID {ID}\nsetx ZOOM_CLIENT_SECRET "{SECRET}"\n'.encode(),
    "PowerShell": f"$env:ZOOM_CLIENT_ID = '{ID}'\n$Env:ZOOM_CLIENT_SECRET=\"{SECRET}\"\n".encode(),
    "YAML": f"env:\n  ZOOM_CLIENT_ID: {ID}\n  ZOOM_CLIENT_SECRET: '{SECRET}' # mine\n".encode(),
    "JSON": json.dumps({"ZOOM_CLIENT_ID": ID, "ZOOM_CLIENT_SECRET": SECRET}, indent=2).encode(),
    "Docker": f"ENV ZOOM_CLIENT_ID {ID}\nENV ZOOM_CLIENT_SECRET={SECRET}\n".encode(),
    "compose": f"- ZOOM_CLIENT_ID={ID}\n- ZOOM_CLIENT_SECRET={SECRET}\n".encode(),
    "systemd": f'Environment=ZOOM_CLIENT_ID={ID}\nEnvironment="ZOOM_CLIENT_SECRET={SECRET}"\n'.encode(),
    "Node": f"process.env.ZOOM_CLIENT_ID = '{ID}';\nprocess.env['ZOOM_CLIENT_SECRET'] = '{SECRET}';\n".encode(),
    "TypeScript": f'const ZOOM_CLIENT_ID: string = "{ID}";\nlet ZOOM_CLIENT_SECRET = `{SECRET}`;\n'.encode(),
    "Python": f"os.environ['ZOOM_CLIENT_ID'] = '{ID}'\nZOOM_CLIENT_SECRET = '{SECRET}',\n".encode(),
    "half a pair of quotation marks": f"ZOOM_CLIENT_ID=\"{ID}\nZOOM_CLIENT_SECRET={SECRET}'\n".encode(),
    "two pairs": f"""ZOOM_CLIENT_ID="'{ID}'"\nZOOM_CLIENT_SECRET=\\"{SECRET}\\"\n""".encode(),
    "remarks": f'ZOOM_CLIENT_ID={ID}; # mine\nZOOM_CLIENT_SECRET="{SECRET}"; // mine\n'.encode(),
    "lower case": f"zoom_client_id={ID}\nzoom_client_secret={SECRET}\n".encode(),
    "invisible": f"ZOOM_CLIENT_ID=\u200b{ID}\nZOOM_CLIENT_SECRET={SECRET}\u00a0\0\n".encode(),
    "full width": f"ZOOM_CLIENT_ID＝{ID}\nZOOM_CLIENT_SECRET：{SECRET}\n".replace("：", ": ").encode(),
    "remarks about them": (
        f"# ZOOM_CLIENT_ID=x\nZOOM_CLIENT_ID is mine\n// ZOOM_CLIENT_SECRET=y\nX=$ZOOM_CLIENT_SECRET\n"
        f"ZOOM_CLIENT_ID={ID}\nZOOM_CLIENT_SECRET={SECRET}\n"
    ).encode(),
    "a byte order mark": f"ZOOM_CLIENT_ID={ID} # mine;\nZOOM_CLIENT_SECRET={SECRET}".encode("utf-8-sig"),
}


@pytest.mark.parametrize("name", ENV_FILES)
def test_env_files_as_people_have_them(name: str, payload: Path) -> None:
    (payload.parent / ".env").write_bytes(ENV_FILES[name])
    done = rtms("sign", payload, cwd=payload.parent)
    assert (done.returncode, done.stdout) == (0, RIGHT.hex() + "\n"), done.stderr
    assert "dotenv" not in done.stderr


def test_a_token_that_is_no_text_is_refused(tmp_path: Path) -> None:
    done = rtms("sign", "challenge", os.fsdecode(b"\xff\xfe"), cwd=tmp_path, settings=CREDENTIALS)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not UTF-8" in done.stderr


def test_challenge(tmp_path: Path) -> None:
    done = rtms("sign", "challenge", "qgg8vlvZRS6UYooatFL8Aw", cwd=tmp_path, settings=CREDENTIALS)
    encrypted = digest("qgg8vlvZRS6UYooatFL8Aw", TOKEN).hex()
    assert json.loads(done.stdout) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": encrypted}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sign", "payload.json"], "Set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"),
        (["sign", "challenge", "x"], "Set ZOOM_SECRET_TOKEN"),
        (["sign", "none.json"], "Cannot read none.json: No such file or directory."),
        (["sign", "--id", "x"], "Give a payload's file, or both --id and --stream-id."),
        (["join", "empty.json"], "The payload does not announce a stream"),
        (["listen", "--media", "sound"], "--media"),
        (["replay", "empty.json"], "empty.json"),
        (["replay", "payload.json", "--speed", "fast"], "--speed fast is not a valid speed"),
        (["simulate", "--products", "zoom"], "Use meeting, webinar, session, contact_center, phone, or all."),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_what_to_do_in_another(
    arguments: list[str], line: str, payload: Path
) -> None:
    (payload.parent / "empty.json").write_text("{}")
    done = rtms(*arguments, cwd=payload.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
