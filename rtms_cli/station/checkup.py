"""What can be wrong before anything runs: one line each, with what fixes it."""

import re
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from msgspec import Struct

from rtms_cli.cloud.causes import Cause
from rtms_cli.errors import reason_of
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.station.credentials import MARKETPLACE, Credential, Credentials
from rtms_cli.wire.descriptors import for_a_stream, in_use, raise_limit, share_out
from rtms_cli.wire.listener import MAX_CONNECTIONS


class Check(Struct, frozen=True):
    """One line of what `rtms doctor` finds."""

    name: str
    verdict: str
    """`ok`, `wrong`, or `unknown` where it could not be looked at."""
    found: str
    fix: str = ""
    look_at: tuple[Cause, ...] = ()
    """The usual causes, the likeliest first, where nothing here can tell which one it is."""


def credential_checks(credentials: Credentials, *, by_events: bool = False) -> Iterator[Check]:
    """Whether the credentials that are set can be what Zoom gave; no value of theirs is in what is found.

    :param by_events: whether webhooks come over the event WebSocket, which nobody signs.
    """
    values = _values(credentials)
    if credentials.oauth is None and credentials.video_sdk is None:
        fix = f"Set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET. {MARKETPLACE} → App Credentials."
        yield Check("client id and secret", "wrong", "not set", fix)
    if credentials.secret_token is None and not by_events:
        fix = f"Set ZOOM_SECRET_TOKEN, or anyone can send webhooks. {MARKETPLACE} → Feature → Event Subscriptions."
        yield Check("secret token", "wrong", "not set", fix)
    for name, value in values.items():
        yield _plausible(name, value, {n: v.value for n, v in values.items() if n != name and not _may_equal(n, name)})


_SERVER = "Server-to-Server"


def _values(credentials: Credentials) -> dict[str, Credential]:
    """What is set, by its name for people; but for a token, which may be anything."""
    values: dict[str, Credential | None] = {}
    for title, pair, first in (
        ("client", credentials.oauth, "id"),
        ("Video SDK", credentials.video_sdk, "id"),
        (f"{_SERVER} client", credentials.server_to_server, "id"),
        ("Video SDK API", credentials.video_sdk_api, "key"),
    ):
        if pair is not None:
            values[f"{title} {first}"], values[f"{title} secret"] = pair.client_id, pair.client_secret
    values |= {"secret token": credentials.secret_token, "account id": credentials.account_id}
    return {name: value for name, value in values.items() if value is not None}


def _may_equal(one: str, other: str) -> bool:
    """Whether two credentials may be the same: one app may be named as both that asks for tokens and that streams."""
    return one.removeprefix(f"{_SERVER} ") == other.removeprefix(f"{_SERVER} ")


_PLACEHOLDER = re.compile(
    r"^[<{$%]|your[\w-]*(?:id|key|secret|token)|(?:client|sdk)_(?:id|key|secret)|^(.)\1+$|^x{4,}|change[_-]?(?:me|it)"
    r"|replace|placeholder|insert|paste|undefined|example|\.\.\.|…",
    re.IGNORECASE,
)


def _plausible(name: str, credential: Credential, others: dict[str, str]) -> Check:
    value = credential.value
    said = f"{len(value)} character{'' if len(value) == 1 else 's'} from {credential.source}"
    twin = next((other for other, its in others.items() if its == value), None)
    foreign = sorted({character for character in value if not (character.isascii() and character.isprintable())})
    remarks = (
        (value.strip() != value, "There is white space around it: paste it again without it."),
        (any(quote in value for quote in "\"'`“”„‘’"), "There are quotation marks in it: remove them."),
        (value.endswith((";", ",")), f"There is a {value[-1:]} at its end: remove it."),
        (any(character.isspace() for character in value), "There is white space in it: paste it again without."),
        (bool(foreign), f"There are characters in it that Zoom never uses ({', '.join(map(ascii, foreign[:3]))})."),
        (_PLACEHOLDER.search(value) is not None, "It looks like a placeholder: paste your app's own value."),
        (re.search(r"[^\w-]", value) is not None, "Zoom's have only letters, digits, _ and -: paste the value alone."),
        (twin is not None, f"It is the same as the {twin}: one of them was pasted in the wrong place."),
        (len(value) < 16, "Zoom's are at least 20 characters long: was all of it pasted?"),
        (
            bool(credential.left_out),
            f"In .env it has {credential.left_out}: rtms ignores that, other programs do not. Remove it.",
        ),
    )
    fix = next((remark for is_wrong, remark in remarks if is_wrong), "")
    return Check(name, "wrong" if fix else "ok", said, fix)


def installation_checks() -> Iterator[Check]:
    """Python, and the libraries that rtms needs."""
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
        fix += ". rtms works without it, but hundreds of streams need twice the CPU."
    said = f"{', '.join(missing)} not installed" if missing else ", ".join(versions)
    yield Check("libraries", "wrong" if missing else "ok", said, fix)


def port_check(port: int) -> Check:
    """Whether a port of this machine is free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return Check(
            f"port {port}", "wrong", reason_of(error), "Stop the program that uses it, or use listen --port N."
        )
    return Check(f"port {port}", "ok", "free")


def descriptor_check() -> Check:
    """How many streams the limit of open files allows."""
    limit = raise_limit()
    if limit is None:
        return Check("open files", "unknown", "this system does not say")
    streams = share_out(limit, in_use(), for_a_stream(MediaRequest()), limit, MAX_CONNECTIONS).streams
    said = f"at most {limit}: enough for {streams} streams at once"
    if streams < 100:
        return Check("open files", "wrong", said, "Raise the hard limit (ulimit -Hn): 4096 are enough for hundreds.")
    return Check("open files", "ok", said)
