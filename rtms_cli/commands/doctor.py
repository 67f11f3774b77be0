"""`rtms doctor`: what is wrong before anything runs, and how to mend it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from rtms_cli.cloud.causes import Cause, numbered, usual_causes
from rtms_cli.commands.options import CaFile, Out
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from rtms_cli.station.credentials import Credential
    from rtms_cli.station.endpoint import Sent


class Check(Struct, frozen=True):
    """One line of the doctor's."""

    name: str
    verdict: str
    """`ok`, `wrong`, or `unknown` where it could not be looked at."""
    found: str
    fix: str = ""
    look_at: tuple[Cause, ...] = ()
    """The usual causes, the likeliest first, where nothing here can tell which one it is."""


def doctor(
    url: Annotated[
        str | None, typer.Option(help="Your public webhook URL: it is sent a challenge and a forgery.")
    ] = None,
    port: Annotated[int, typer.Option(help="The port that `rtms listen` shall have.", min=1, max=65535)] = 8080,
    out: Out = Path("recordings"),
    offline: Annotated[bool, typer.Option("--offline", help="Leave out what needs the network.")] = False,
    ca_file: CaFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check this machine, the credentials and the webhook URL.

    Exit code 1 if something is wrong; what cannot be looked at is no fault.

    \b
    Example:
      rtms doctor --url https://your.host/webhook
    """
    from rtms_cli.view.text import json_line

    found: list[Check] = []
    for check in _checks(url, port, out, ca_file, offline=offline):
        found.append(check)
        if not as_json:
            _print(check)
    wrong = sum(check.verdict == "wrong" for check in found)
    if as_json:
        typer.echo(json_line(found))
    elif wrong:
        typer.secho(f"{wrong} things are wrong.", fg="red")
    else:
        typer.secho("All is well.", fg="green")
    if wrong:
        raise typer.Exit(Exit.MISMATCH)


def _print(check: Check) -> None:
    from rtms_cli.view.text import escape, say

    sign, colour = {"ok": ("✓", "green"), "wrong": ("✗", "red"), "unknown": ("?", "yellow")}[check.verdict]
    typer.echo(f"{typer.style(sign, fg=colour)} {check.name}: {escape(check.found, len(check.found))}")
    if check.fix:
        say(f"    {check.fix}")
    for line in numbered(check.look_at):
        say(f"    {line}")


def _checks(url: str | None, port: int, out: Path, ca_file: Path | None, *, offline: bool) -> Iterator[Check]:
    yield from _python()
    yield from _credentials()
    yield _port(port)
    yield _disk(out)
    yield _descriptors()
    yield _terminal()
    if not offline:
        yield from _network(ca_file)
        if url is not None:
            yield from _webhook(url)
    yield _started_webhooks()


def _started_webhooks() -> Check:
    fix = "If none comes, look at these, in this order:"
    return Check("started webhooks", "unknown", "only Zoom can send one", fix, usual_causes())


def _python() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, requires, version

    number = ".".join(map(str, sys.version_info[:3]))
    yield Check("Python", "ok" if sys.version_info >= (3, 11) else "wrong", number, "")
    versions, missing = [], []
    for line in requires("rtms-cli") or ():
        if "extra ==" in line:
            continue
        name = re.split(r"[^\w.-]", line)[0]
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            if "win32" not in line or sys.platform != "win32":
                missing.append(name)
    fix = f"Install them: pip install {' '.join(missing)}" if missing else ""
    if missing == ["uvloop"]:
        fix += ". Without it rtms works, but hundreds of streams need twice the CPU."
    said = f"{', '.join(missing)} not installed" if missing else ", ".join(versions)
    yield Check("libraries", "wrong" if missing else "ok", said, fix)


def _credentials() -> Iterator[Check]:
    from rtms_cli.station.credentials import MARKETPLACE, load_credentials

    try:
        credentials = load_credentials()
    except Problem as problem:
        yield Check("credentials", "wrong", problem.what, problem.remedy)
        return
    values: dict[str, Credential] = {}
    for title, pair in (("client", credentials.oauth), ("Video SDK", credentials.video_sdk)):
        if pair is not None:
            values[f"{title} id"], values[f"{title} secret"] = pair.client_id, pair.client_secret
    if credentials.secret_token is not None:
        values["secret token"] = credentials.secret_token
    if credentials.oauth is None and credentials.video_sdk is None:
        fix = f"Set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET. {MARKETPLACE} → App Credentials."
        yield Check("client id and secret", "wrong", "not set", fix)
    if credentials.secret_token is None:
        fix = f"Set ZOOM_SECRET_TOKEN, or anybody can send webhooks. {MARKETPLACE} → Feature → Event Subscriptions."
        yield Check("secret token", "wrong", "not set", fix)
    for name, value in values.items():
        yield _plausible(name, value, {n: v.value for n, v in values.items() if n != name})


_PLACEHOLDER = re.compile(
    r"^[<{$%]|your[\w-]*(?:id|key|secret|token)|(?:client|sdk)_(?:id|key|secret)|^(.)\1+$|^x{4,}|change[_-]?(?:me|it)"
    r"|replace|placeholder|insert|paste|undefined|example|\.\.\.|…",
    re.IGNORECASE,
)


def _plausible(name: str, credential: "Credential", others: dict[str, str]) -> Check:
    value = credential.value
    said = f"{len(value)} characters from {credential.source}"
    twin = next((other for other, its in others.items() if its == value), None)
    foreign = sorted({character for character in value if not (character.isascii() and character.isprintable())})
    remarks = (
        (value.strip() != value, "There is white space around it: paste it again without."),
        (any(quote in value for quote in "\"'`“”„‘’"), "There are quotation marks in it: take them away."),
        (value.endswith((";", ",")), f"There is a {value[-1:]} at its end: take it away."),
        (any(character.isspace() for character in value), "There is white space in it: paste it again without."),
        (bool(foreign), f"There are characters in it that Zoom never uses ({', '.join(map(ascii, foreign[:3]))})."),
        (_PLACEHOLDER.search(value) is not None, "It looks like a placeholder: paste your app's own value."),
        (re.search(r"[^\w-]", value) is not None, "Zoom's have only letters, digits, _ and -: paste the value alone."),
        (twin is not None, f"It is the same as the {twin}: one of them was pasted in the wrong place."),
        (len(value) < 16, "Zoom's are at least 20 characters long: was all of it pasted?"),
        (
            bool(credential.left_out),
            f"In .env it has {credential.left_out}: rtms leaves that out, other programs do not. Take it away.",
        ),
    )
    fix = next((remark for is_wrong, remark in remarks if is_wrong), "")
    return Check(name, "wrong" if fix else "ok", said, fix)


def _port(port: int) -> Check:
    import socket

    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return Check(f"port {port}", "wrong", error.strerror or str(error), "Stop what runs there, or listen --port N.")
    return Check(f"port {port}", "ok", "free")


def _disk(out: Path) -> Check:
    from rtms_cli.commands.composing import space_warning
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.recording.files import free_space
    from rtms_cli.view.text import size_of

    existed = out.exists()
    try:
        remark = space_warning(out, MediaRequest())
    except Problem as problem:
        return Check("disk", "wrong", problem.what, problem.remedy)
    finally:
        if not existed and out.exists():
            out.rmdir()
    if remark is not None:
        return Check("disk", "wrong", remark, "Free some, or choose another folder with --out.")
    return Check("disk", "ok", f"{size_of(free_space(out) or 0)} free for {out}")


def _descriptors() -> Check:
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.wire.descriptors import for_a_stream, in_use, raise_limit, share_out
    from rtms_cli.wire.listener import MAX_CONNECTIONS

    limit = raise_limit()
    if limit is None:
        return Check("open files", "unknown", "this system does not tell")
    streams = share_out(limit, in_use(), for_a_stream(MediaRequest()), limit, MAX_CONNECTIONS).streams
    said = f"at most {limit}: enough for {streams} streams at once"
    if streams < 100:
        return Check("open files", "wrong", said, "Raise the hard limit (ulimit -Hn): 4096 are enough for hundreds.")
    return Check("open files", "ok", said)


def _terminal() -> Check:
    import os

    from rtms_cli.commands.options import is_terminal

    if not is_terminal():
        return Check("terminal", "ok", "none: output will be plain lines")
    colour = "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else "colour"
    encoding = (sys.stdout.encoding or "").lower()
    if "utf" not in encoding:
        return Check("terminal", "wrong", f"it speaks {encoding}", "Set LANG to a UTF-8 locale, such as C.UTF-8.")
    return Check("terminal", "ok", f"{os.environ.get('TERM')}, UTF-8, {colour}")


MOST_SKEW_S = 60
NETWORK_TIMEOUT_S = 5.0
ZOOM_URL = "https://zoom.us/"


def _network(ca_file: Path | None) -> Iterator[Check]:
    import ssl
    import time
    from email.utils import parsedate_to_datetime

    import httpx

    from rtms_cli.wire.dialer import tls_context

    try:
        context = tls_context(None if ca_file is None else str(ca_file))
    except OSError as error:
        yield Check("certificates", "wrong", f"{ca_file}: {error.strerror or error}", "Give a PEM file with --ca-file.")
        return
    try:
        answer = httpx.head(ZOOM_URL, timeout=NETWORK_TIMEOUT_S, verify=context)
    except (ValueError, ImportError) as error:
        yield Check("proxy", "wrong", str(error), "Mend http_proxy, https_proxy or all_proxy in the environment.")
        return
    except httpx.HTTPError as error:
        if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error):
            yield Check(
                "TLS to zoom.us", "wrong", str(error), "Is there a proxy that opens TLS? --ca-file names its authority."
            )
        else:
            yield Check("TLS to zoom.us", "unknown", f"not reached: {str(error) or type(error).__name__}")
        return
    yield Check("TLS to zoom.us", "ok", "verified; outgoing wss:// goes the same way")
    date = answer.headers.get("date")
    if date is None:
        yield Check("clock", "unknown", "zoom.us tells no time")
        return
    skew_s = time.time() - parsedate_to_datetime(date).timestamp()
    late = abs(skew_s) > MOST_SKEW_S
    fix = "Set it (NTP): webhooks whose timestamp is more than 300 s off are refused." if late else ""
    yield Check("clock", "wrong" if late else "ok", f"{abs(skew_s):.0f} s from zoom.us", fix)


def _webhook(url: str) -> Iterator[Check]:
    from rtms_cli.protocol.signatures import rewritten_json
    from rtms_cli.simulator.webhooks import VALIDATION, webhook_body
    from rtms_cli.station.credentials import load_credentials
    from rtms_cli.station.endpoint import FORGERS_TOKEN, Sent

    token = load_credentials().secret_token
    if token is None:
        yield Check(url, "unknown", "a challenge cannot be signed without ZOOM_SECRET_TOKEN")
        return
    plain = "rtms-doctor"
    challenge = webhook_body(VALIDATION, 0, {"plainToken": plain})
    validation = _ask("validation", url, challenge, token.value, Sent.CHALLENGE, plain)
    yield validation
    yield _ask("forged webhook", url, challenge, FORGERS_TOKEN, Sent.FORGED, plain)
    if validation.verdict == "ok":
        spaced = challenge.replace(b",", b",  ").replace(b":", b" : ")
        raw = _ask("signed", url, spaced, token.value, Sent.CHALLENGE, plain)
        rewritten = _ask("signed", url, spaced, token.value, Sent.CHALLENGE, plain, rewritten_json(spaced))
        yield _signed_form(raw.verdict == "ok", rewritten.verdict == "ok")


def _signed_form(raw: bool, rewritten: bool) -> Check:
    """Which text an app verifies: Zoom's sources disagree, and only a body that is not compact tells."""
    name = "signed text"
    if raw:
        both = ", and the body as JSON.stringify writes it" if rewritten else ""
        return Check(name, "ok", f"the app accepts a signature of the raw body{both}")
    fix = "Verify the bytes as they came, before any parser: a body with other blanks or escapes is refused now."
    if rewritten:
        return Check(name, "wrong", "the app accepts a signature of the body as JSON.stringify writes it, only", fix)
    return Check(name, "wrong", "the app refuses a body that has blanks, whichever way it is signed", fix)


def _ask(
    name: str, url: str, body: bytes, secret_token: str, sent: "Sent", plain: str, signed: bytes | None = None
) -> Check:
    import asyncio

    from rtms_cli.station.endpoint import probe
    from rtms_cli.wire.poster import NoAnswerError

    try:
        answer, judgement = asyncio.run(probe(url, body, secret_token, sent, plain_token=plain, signed=signed))
    except NoAnswerError as error:
        fix = "Does `rtms listen` run, and does the tunnel or proxy lead to it?"
        return Check(name, "wrong", f"no answer: {error}", fix)
    said = f"answered {answer.status} after {answer.took_s:.2f} s: {judgement.what}"
    return Check(name, "ok" if judgement.right else "wrong", said, judgement.fix)
