"""Options that several commands have, written once, and what their texts mean."""

import os
import re
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands import completing
from rtms_cli.errors import Problem, reason_of

if TYPE_CHECKING:
    import ssl

    from rtms_cli.capture import Capture
    from rtms_cli.station.credentials import Credentials


def duration(option: str, text: str) -> float:
    """Read a time such as `90`, `1:30`, `5m` or `30d`, in seconds.

    :raises Problem: if it is not one.
    """
    from rtms_cli.protocol.times import seconds_in

    seconds = seconds_in(text)
    if seconds is None:
        raise Problem(f"{option} {text} is not a time.", "Use seconds, or for example 1:30, 0:01:30, 90s, 5m or 30d.")
    return seconds


def time_option(option: str, least: float = 0, most: float = inf) -> "Callable[[str | float], float]":
    """What reads a time for an option that takes one: see `typer.Option(parser=…)`.

    :param least: the shortest that it may be, in seconds, and `most` the longest.
    """

    def read(value: str | float) -> float:
        seconds = duration(option, str(value))
        if not least <= seconds <= most:
            bounds = f"at least {least:g}" if most == inf else f"{least:g} to {most:g}"
            raise Problem(f"{option} {value} is out of range.", f"Use {bounds} seconds.")
        return seconds

    return read


_MEDIA, _STORING, _LIVE = "Media", "Recordings", "Live data and hooks"
_ZOOM, _SHOWN, _WEB = "Zoom", "Output", "In a browser"
"""Headings in the help of commands that have many options."""

Media = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="audio,video,share,transcript,chat or all.",
        autocompletion=completing.media_kinds,
        rich_help_panel=_MEDIA,
    ),
]
Split = Annotated[bool, typer.Option("--split", help="Open a socket for each kind of media.", rich_help_panel=_MEDIA)]
AudioForm = Annotated[
    str,
    typer.Option(
        "--audio",
        metavar="FORM",
        help="l16, opus, g711 or g722.",
        autocompletion=completing.audio_codecs,
        rich_help_panel=_MEDIA,
    ),
]
Separate = Annotated[
    bool,
    typer.Option(
        "--separate/--mixed",
        help="Record each person's audio, or all in one.",
        show_default=False,
        rich_help_panel=_MEDIA,
    ),
]
Rtp = Annotated[
    bool, typer.Option("--rtp", help="Audio with RTP headers, which reveal losses.", rich_help_panel=_MEDIA)
]
VideoForm = Annotated[
    str,
    typer.Option(
        "--video",
        metavar="FORM",
        help="h264, jpg or png.",
        autocompletion=completing.picture_codecs,
        rich_help_panel=_MEDIA,
    ),
]
VideoUser = Annotated[
    str,
    typer.Option(
        "--video-user", metavar="USER", help="Only this camera: a user id, a name, or first.", rich_help_panel=_MEDIA
    ),
]
ShareForm = Annotated[
    str,
    typer.Option(
        "--share",
        metavar="FORM",
        help="Format of the shared screen.",
        autocompletion=completing.picture_codecs,
        rich_help_panel=_MEDIA,
    ),
]
SpokenLanguage = Annotated[
    str,
    typer.Option(
        "--language",
        metavar="LANGUAGE",
        help="Transcript language.",
        autocompletion=completing.languages,
        rich_help_panel=_MEDIA,
    ),
]
DetectLanguage = Annotated[
    bool,
    typer.Option(
        "--detect-language/--no-detect-language",
        help="Follow changes of language.",
        show_default=False,
        rich_help_panel=_MEDIA,
    ),
]
SkipBuffered = Annotated[
    bool,
    typer.Option(
        "--skip-buffered", help="Skip audio that Zoom buffered before the connection.", rich_help_panel=_MEDIA
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for recordings.")]
OutOrStore = Annotated[
    str,
    typer.Option(
        "--out", "-o", metavar="FOLDER|URL", help="Folder, or s3://…, gs://…, az://…", rich_help_panel=_STORING
    ),
]
Spool = Annotated[
    Path,
    typer.Option(
        "--spool", metavar="FOLDER", help="Local folder until a store has the data.", rich_help_panel=_STORING
    ),
]
SpoolMax = Annotated[
    str, typer.Option("--spool-max", metavar="SIZE", help="Maximum size of the spool.", rich_help_panel=_STORING)
]
RecordingsPlace = Annotated[
    str | None,
    typer.Argument(
        metavar="[PLACE]", help="A folder or URL with recordings.", show_default="the folder of `rtms listen`"
    ),
]
StoreEndpoint = Annotated[
    str | None,
    typer.Option(
        "--store-endpoint", metavar="URL", help="Endpoint of an S3-compatible store.", rich_help_panel=_STORING
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per event.", rich_help_panel=_SHOWN)]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print log lines instead of the dashboard.", rich_help_panel=_SHOWN)
]
ShowText = Annotated[
    bool, typer.Option("--show-text", help="Print what people say, with --plain.", rich_help_panel=_SHOWN)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and the end.", rich_help_panel=_SHOWN)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print more details.", rich_help_panel=_SHOWN)]
AllowHost = Annotated[
    list[str] | None, typer.Option(metavar="HOST", help="Also connect to this host.", rich_help_panel=_ZOOM)
]
MaxBuffer = Annotated[
    int, typer.Option(metavar="MIB", help="Memory for data waiting to be written.", min=1, rich_help_panel=_STORING)
]
ClientId = Annotated[
    str | None, typer.Option(metavar="ID", help="Client ID (or $ZOOM_CLIENT_ID).", rich_help_panel=_ZOOM)
]
ClientSecret = Annotated[
    str | None,
    typer.Option(metavar="SECRET", help="Client secret (prefer $ZOOM_CLIENT_SECRET).", rich_help_panel=_ZOOM),
]
SecretToken = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="Webhook secret (prefer $ZOOM_SECRET_TOKEN).", rich_help_panel=_ZOOM)
]
KeepRevoked = Annotated[
    bool, typer.Option("--keep-revoked", help="Keep what Zoom wants deleted.", rich_help_panel=_STORING)
]
KeepEncoded = Annotated[
    bool, typer.Option("--keep-encoded", help="Also store Opus, G.711, G.722 packets.", rich_help_panel=_STORING)
]
Cert = Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate and key, for wss:// URLs.")]
PublicHost = Annotated[
    str | None, typer.Option(metavar="HOST", help="Host in URLs, if not --host: a container, a tunnel.")
]
CaFile = Annotated[
    Path | None, typer.Option(metavar="PEM", help="Trust these CAs, not the system's.", rich_help_panel=_ZOOM)
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify server certificates.", rich_help_panel=_ZOOM)]
Webhook = Annotated[str | None, typer.Option("--webhook", metavar="URL", help="Webhook URL of the app under test.")]
Notify = Annotated[
    list[str] | None, typer.Option(metavar="URL", help="Post events to this URL.", rich_help_panel=_LIVE)
]
Tap = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="Stream data live, e.g. audio:exec:ENGINE.", rich_help_panel=_LIVE),
]
TapHost = Annotated[str, typer.Option(metavar="HOST", help="Address for listen: taps.", rich_help_panel=_LIVE)]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Write nothing to disk; for --tap.", rich_help_panel=_LIVE)]
WebPort = Annotated[
    int | None,
    typer.Option(
        "--web",
        metavar="[PORT]",
        help="Show this in a browser, on port 8081 or another.",
        rich_help_panel=_WEB,
    ),
]
WebHost = Annotated[str, typer.Option("--web-host", metavar="HOST", help="Address for --web.", rich_help_panel=_WEB)]
WebName = Annotated[
    list[str] | None,
    typer.Option("--web-name", metavar="HOST", help="Name of a proxy in front of the pages.", rich_help_panel=_WEB),
]
WebControl = Annotated[
    bool,
    typer.Option("--web-control", help="Let the pages stop streams and change titles.", rich_help_panel=_WEB),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="EVENT=COMMAND",
        help="Run a command on started, …",
        autocompletion=completing.hook_events,
        rich_help_panel=_LIVE,
    ),
]
HookTimeout = Annotated[
    float,
    typer.Option(
        "--hook-timeout",
        metavar="TIME",
        parser=time_option("--hook-timeout", 1),
        help="Time limit per command.",
        rich_help_panel=_LIVE,
    ),
]
HookJobs = Annotated[
    int,
    typer.Option("--hook-jobs", metavar="N", help="Commands to run at once.", min=1, max=100, rich_help_panel=_LIVE),
]
TokenFlowName = Annotated[
    str | None,
    typer.Option(
        metavar="FLOW", help="How to obtain tokens.", autocompletion=completing.token_flows, rich_help_panel=_ZOOM
    ),
]
Gov = Annotated[bool, typer.Option("--gov", help="Use Zoom for Government.", rich_help_panel=_ZOOM)]
CloudUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Use this simulated Zoom cloud.", rich_help_panel=_ZOOM)
]
Events = Annotated[
    str | None,
    typer.Option("--events", metavar="ID", help="Event WebSocket: needs no public URL.", rich_help_panel=_ZOOM),
]
OnlyOf = Annotated[
    str,
    typer.Option(
        "--only",
        metavar="host|first|all",
        help="Of a meeting's streams.",
        autocompletion=completing.choice_of_streams,
        rich_help_panel=_ZOOM,
    ),
]
Queue = Annotated[str | None, typer.Option(metavar="URL", help="Send streams to `rtms work` by redis://HOST.")]
WorkQueue = Annotated[
    str | None, typer.Option("--queue", metavar="URL", help="Queue of `rtms listen` (prefer $RTMS_QUEUE).")
]
OwnSlots = Annotated[
    int, typer.Option("--slots", metavar="N", help="Streams of --queue to record here.", min=0, max=100_000)
]
Slots = Annotated[int, typer.Option(metavar="N", help="Streams to record at once.", min=0, max=100_000)]
Drain = Annotated[str, typer.Option(metavar="TIME", help="On SIGTERM, wait this long before handing over.")]
Workers = Annotated[str | None, typer.Option(metavar="N|auto", help="Recording processes; auto: one per core.")]
HealthPort = Annotated[
    int | None, typer.Option(metavar="PORT", help="Serve /healthz, /readyz, /metrics.", min=0, max=65535)
]
HealthHost = Annotated[str, typer.Option(metavar="HOST", help="Address for --health-port.")]
LogFormat = Annotated[
    str | None,
    typer.Option(
        metavar="json|text", help="Log to stderr.", autocompletion=completing.log_formats, rich_help_panel=_SHOWN
    ),
]
LogFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Log to this file.", rich_help_panel=_SHOWN)]
LogRotate = Annotated[
    str, typer.Option(metavar="MIB:N", help="Log file size, and old files to keep.", rich_help_panel=_SHOWN)
]
Mode = Annotated[str, typer.Option(metavar="OCTAL", help="File permissions.", rich_help_panel=_STORING)]


MOST_WORKERS = 64


def worker_count(text: str) -> int:
    """Read `--workers`.

    :raises Problem: if it is not a number of workers.
    """
    if text == "auto":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST_WORKERS)
    if text.isascii() and text.isdigit() and 0 < int(text) <= MOST_WORKERS:
        return int(text)
    raise Problem(f"--workers {text} is not a number of processes.", f"Give 1 to {MOST_WORKERS}, or auto.")


def given_credentials(**options: str | None) -> "Credentials":
    """The credentials that are configured; options win, and a secret among them is used with a warning.

    :param options: values from the command line, by the credentials' names (`client_id`, …).
    :raises Problem: if one half of a pair is missing.
    """
    from rtms_cli.station.credentials import SECRETS, load_credentials, unused_credentials, variable_of
    from rtms_cli.station.profiles import active_profile

    for name in SECRETS:
        if options.get(name) is not None:
            option = "--" + name.replace("_", "-")
            typer.echo(
                f"warning: {option} shows in the process list; better set {variable_of(name)} in the environment",
                err=True,
            )
    if unused := unused_credentials():
        typer.echo(f"note: profile {active_profile()} does not use {', '.join(unused)}", err=True)
    return load_credentials(options)


_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def size(option: str, text: str) -> int:
    """Read a size such as `500M` or `50GiB`, in bytes; units are powers of 1,024.

    :raises Problem: if it is not valid.
    """
    read = _SIZE.fullmatch(text.strip())
    if read is None or float(read[1]) == 0:
        raise Problem(f"{option} {text} is not a size.", "Give a number with M, G or T, such as 50G.")
    return int(float(read[1]) * 1024 ** " KMGT".index(read[2].upper() or " "))


def file_mode(text: str) -> int:
    """Read `--mode`.

    :raises Problem: if it is not an octal number, or its owner could not write the files.
    """
    try:
        mode = int(text, 8)
    except ValueError:
        mode = 0
    if mode & 0o600 != 0o600 or mode & ~0o666:
        raise Problem(
            f"--mode {text} would make files that rtms could not write.", "Use 600, 640, 644 or 660, for example."
        )
    return mode


def tls_options(ca_file: Path | None, *, insecure: bool) -> "ssl.SSLContext | None":
    """What `--ca-file` and `--insecure` ask for; `None` is the system's store.

    :raises Problem: if the file holds no certificate.
    """
    from rtms_cli.wire.dialer import tls_context

    if insecure:
        typer.echo("warning: --insecure: anyone in between can read and change the media", err=True)
    elif ca_file is None:
        return None
    try:
        return tls_context(None if ca_file is None else str(ca_file), verify=not insecure)
    except OSError as error:
        raise Problem(
            f"--ca-file {ca_file} cannot be used: {reason_of(error)}.", "Give a PEM file with certificates."
        ) from None


def server_tls(cert: Path | None) -> "ssl.SSLContext | None":
    """The context for `--cert`.

    :raises Problem: if the file is not a certificate with its key.
    """
    if cert is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, password=_no_passphrase)
    except _EncryptedKeyError:
        raise Problem(
            f"--cert {cert} cannot be used: its key has a passphrase.", "Remove it: openssl pkey -in KEY -out NEW."
        ) from None
    except OSError as error:
        raise Problem(
            f"--cert {cert} cannot be used: {reason_of(error)}.",
            "Give a PEM file with a certificate and its key.",
        ) from None
    return context


class _EncryptedKeyError(Exception):
    """A private key has a passphrase."""


def _no_passphrase() -> str:
    """Stands in for OpenSSL's question on the terminal, which nobody would answer to a server."""
    raise _EncryptedKeyError


def check_http_url(option: str, url: str) -> None:
    """Check a URL to post to.

    :raises Problem: if it is not one.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Problem(f"{option} {url} is not an http:// or https:// URL.", "Give the whole URL, with its path.")


def open_capture(text: str, endpoint: str | None = None) -> "Capture":
    """A capture by what a person calls it: a file, a recording's folder, its URL in a store, or `-` for standard input.

    :param endpoint: of a store that is compatible with S3.
    :raises Problem: if it cannot be read.
    """
    from rtms_cli.capture import Capture, PipedCapture
    from rtms_cli.store.urls import is_store_url, read_store_url

    if text == "-":
        return PipedCapture(sys.stdin.buffer)
    if not is_store_url(text):
        return Capture(text)
    from rtms_cli.store.objects import open_store
    from rtms_cli.store.reading import StoredCapture

    return StoredCapture(open_store(read_store_url(text), endpoint))


def recordings_place(context: typer.Context) -> str:
    """Where `listen` is configured to put recordings: a folder or a URL."""
    settings = context.parent.default_map if context.parent is not None else None
    return str((settings or {}).get("listen", {}).get("place", "recordings"))


def recordings_folder(context: typer.Context) -> Path:
    """The folder that is recorded into: that of `recordings_place`, or the spool where a store has the recordings."""
    from rtms_cli.store.urls import is_store_url

    place = recordings_place(context)
    if not is_store_url(place):
        return Path(place)
    settings = context.parent.default_map if context.parent is not None else None
    return Path(str((settings or {}).get("listen", {}).get("spool", "spool")))


def recording_of(
    context: typer.Context, text: str | None, doing: str, endpoint: str | None = None, *, or_newest_in: bool = False
) -> str:
    """The path or URL of the recording that a person means; where it was not named in full, a line says which.

    :param text: a path, a URL, `-`, `latest`, the beginning of a name, an id or a title; `None` is `latest`.
    :param doing: what is done with it, for that line: `inspecting`; without it there is no line.
    :param endpoint: of a store that is compatible with S3.
    :param or_newest_in: whether a folder that recordings are in stands for the newest of them.
    :raises Problem: if there is none, or several.
    """
    from rtms_cli.catalog.entries import folders, is_recording
    from rtms_cli.catalog.finding import LATEST, find_folder, newest
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.text import say

    if text is not None and not text.strip():  # a script's variable that is not set, for example
        raise Problem("The name of a recording is empty.", "`rtms ls` lists the recordings.")
    place = recordings_place(context)
    if text is not None and (text == "-" or is_store_url(text) or os.path.lexists(text)):
        if not or_newest_in or is_store_url(text) or is_recording(Path(text)) or not any(folders(Path(text))):
            return text
        found = str(newest(Path(text)))
    elif is_store_url(place):
        from rtms_cli.catalog.stored import find_stored

        found = find_stored(text or LATEST, place, endpoint)
    else:
        found = str(find_folder(text or LATEST, Path(place)))
    if doing:
        say(f"{doing} {found}", err=True)
    return found


def recordings_of(
    context: typer.Context, texts: list[str], doing: str, endpoint: str | None, failed: list[Problem]
) -> list[tuple[str, bool]]:
    """The recordings that a person means, each once; a folder that only has recordings in it stands for all of them.

    :param texts: see `recording_of`; none is the newest recording.
    :param failed: takes the problems of texts that mean no recording.
    :returns: paths or URLs, and whether each was found in a folder.
    """
    from rtms_cli.catalog.entries import folders, is_recording
    from rtms_cli.store.urls import is_store_url

    found: dict[str, tuple[str, bool]] = {}
    for text in texts or (None,):
        try:
            path = recording_of(context, text, doing, endpoint)
            is_one = path == "-" or is_store_url(path) or is_recording(Path(path))
            inside = [] if is_one else [str(one) for one in folders(Path(path))]
        except Problem as problem:
            failed.append(problem)
            continue
        for one in inside or [path]:
            key = one if is_store_url(one) else os.path.realpath(one)
            found.setdefault(key, (one, bool(inside)))
    return list(found.values())


def short_name(context: typer.Context, given: str) -> str:
    """What to call a recording in a next command: as little of its name as will do, where `recording_of` finds it."""
    from rtms_cli.catalog.entries import folders
    from rtms_cli.view.catalog import short_names

    folder, place = Path(given), Path(recordings_place(context))
    if folder.absolute().parent != place.absolute():
        return given
    return short_names([path.name for path in folders(place)]).get(folder.name, given)


MOST_INPUT_NBYTES = 64 << 20
"""How large a given payload or body may be."""


def read_input(name: str, instead: str) -> bytes:
    """What is in a file, or with - what comes on standard input.

    :raises Problem: if it cannot be read; `instead` says what to give.
    """
    from rtms_cli.untrusted import read_bounded

    if name == "-" and sys.stdin.isatty():
        from rtms_cli.view.terminal import PastedLines

        with PastedLines(sys.stdin.fileno()) as lines:
            return b"".join(lines)
    try:
        return read_bounded(sys.stdin.buffer if name == "-" else Path(name).open("rb"), MOST_INPUT_NBYTES)
    except OSError as error:
        raise Problem(f"Cannot read {name}: {reason_of(error)}.", instead) from None
    except ValueError as error:
        raise Problem(f"Cannot read {name!r}: {error}.", instead) from None


def pasted_json(raw: bytes) -> bytes:
    """The JSON in what someone saved or pasted; where that is more, a note on standard error says what it is.

    :raises ValueError: with a reason for people.
    """
    from rtms_cli.protocol.pasted import read_pasted

    pasted = read_pasted(raw)
    if pasted.form:
        note_form(pasted.form)
    return pasted.body


def note_form(form: str) -> None:
    """Say what something is of which only the JSON is used."""
    typer.echo(f"note       this is {form}; its JSON is used", err=True)


def is_terminal() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
