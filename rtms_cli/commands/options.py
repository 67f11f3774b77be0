"""Options that several commands have, written once, and what their texts mean."""

import os
import re
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.errors import Problem

if TYPE_CHECKING:
    import ssl

    from rtms_cli.capture import Capture
    from rtms_cli.station.credentials import Credentials


def duration(option: str, text: str) -> float:
    """Read a time such as `90`, `1:30`, `5m` or `30d`, in seconds.

    :raises Problem: where it is not one.
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


Media = Annotated[str, typer.Option(metavar="KINDS", help="audio,video,share,transcript,chat or all.")]
Split = Annotated[bool, typer.Option("--split", help="A socket for each kind of media.")]
AudioForm = Annotated[str, typer.Option("--audio", metavar="FORM", help="l16, opus, g711 or g722.")]
Separate = Annotated[
    bool, typer.Option("--separate/--mixed", help="Audio of each person, or of all.", show_default=False)
]
Rtp = Annotated[bool, typer.Option("--rtp", help="Audio with RTP headers: they tell losses.")]
VideoForm = Annotated[str, typer.Option("--video", metavar="FORM", help="h264, jpg or png.")]
VideoUser = Annotated[str, typer.Option(metavar="USER", help="One camera: a user id, a name, or first.")]
ShareForm = Annotated[str, typer.Option("--share", metavar="FORM", help="As --video, of the share.")]
SpokenLanguage = Annotated[str, typer.Option("--language", metavar="NAME", help="Of the transcript.")]
DetectLanguage = Annotated[
    bool, typer.Option("--detect-language/--no-detect-language", help="Follow it into another one.", show_default=False)
]
Live = Annotated[bool, typer.Option("--live", help="Drop audio from before we were connected.")]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where recordings go.")]
OutOrStore = Annotated[
    str, typer.Option("--out", metavar="FOLDER|URL", help="Where recordings go; s3://…, gs://…, az://…")
]
Spool = Annotated[Path, typer.Option("--spool", metavar="FOLDER", help="Where they are until a store has them.")]
SpoolMax = Annotated[str, typer.Option("--spool-max", metavar="SIZE", help="What the spool may hold.")]
StoreEndpoint = Annotated[
    str | None, typer.Option("--store-endpoint", metavar="URL", help="Of a store that speaks S3.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object an event.")]
Plain = Annotated[bool, typer.Option("--plain", help="Print log lines, no dashboard.")]
AllowHost = Annotated[list[str] | None, typer.Option(metavar="HOST", help="May be connected to, as Zoom's hosts may.")]
MaxBuffer = Annotated[int, typer.Option(metavar="MIB", help="Waiting for the disk.", min=1)]
ClientId = Annotated[str | None, typer.Option(metavar="ID", help="Client id (ZOOM_CLIENT_ID).")]
ClientSecret = Annotated[str | None, typer.Option(metavar="SECRET", help="Better: ZOOM_CLIENT_SECRET.")]
SecretToken = Annotated[str | None, typer.Option(metavar="TOKEN", help="For webhooks (better: ZOOM_SECRET_TOKEN).")]
KeepRevoked = Annotated[bool, typer.Option("--keep-revoked", help="Keep what Zoom wants deleted, if you may.")]
KeepEncoded = Annotated[bool, typer.Option("--keep-encoded", help="Store Opus, G.711, G.722 packets too.")]
Cert = Annotated[Path | None, typer.Option(metavar="PEM", help="A certificate and its key: URLs are wss:// then.")]
PublicHost = Annotated[
    str | None, typer.Option(metavar="NAME", help="What URLs name, if not --host: a container, a tunnel.")
]
CaFile = Annotated[Path | None, typer.Option(metavar="PEM", help="Authorities to trust, not the system's.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the servers' certificates.")]
Notify = Annotated[list[str] | None, typer.Option(metavar="URL", help="Post events there: docs/notifications.md.")]
Tap = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="Hand on what comes: audio:exec:ENGINE."),
]
TapHost = Annotated[str, typer.Option(metavar="HOST", help="Where a tap's listen: listens.")]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Write nothing to disk; for --tap.")]
On = Annotated[list[str] | None, typer.Option("--on", metavar="EVENT=COMMAND", help="Run it: started, finished, …")]
HookTimeout = Annotated[
    float, typer.Option("--hook-timeout", metavar="TIME", parser=time_option("--hook-timeout", 1), help="Per command.")
]
HookJobs = Annotated[int, typer.Option("--hook-jobs", metavar="N", help="Commands at once.", min=1, max=100)]
TokenFlowName = Annotated[str | None, typer.Option(metavar="FLOW", help="How a token is had: docs/cloud.md.")]
Gov = Annotated[bool, typer.Option("--gov", help="Zoom for Government (ZOOM_BASE=zoomgov.com).")]
CloudUrl = Annotated[str | None, typer.Option(metavar="URL", help="A stand-in for Zoom's cloud.")]
Events = Annotated[
    str | None, typer.Option("--events", metavar="ID", help="Zoom's event WebSocket: needs no public URL.")
]
OnlyOf = Annotated[str, typer.Option("--only", metavar="host|first|all", help="Of a meeting's streams.")]
Queue = Annotated[str | None, typer.Option(metavar="URL", help="redis://HOST: streams go to `rtms work`.")]
WorkQueue = Annotated[
    str | None, typer.Option("--queue", metavar="URL", help="Of `rtms listen --queue` (better: RTMS_QUEUE).")
]
OwnSlots = Annotated[
    int, typer.Option("--slots", metavar="N", help="Of --queue, recorded here too.", min=0, max=100_000)
]
Slots = Annotated[int, typer.Option(metavar="N", help="Streams at once.", min=0, max=100_000)]
Drain = Annotated[str, typer.Option(metavar="TIME", help="Wait so long for ends before streams are handed over: 5m.")]
Workers = Annotated[str | None, typer.Option(metavar="N|auto", help="Processes that record; auto: as many as cores.")]
HealthPort = Annotated[
    int | None, typer.Option(metavar="PORT", help="For /healthz, /readyz, /metrics.", min=0, max=65535)
]
HealthHost = Annotated[str, typer.Option(metavar="HOST", help="Address of --health-port.")]
LogFormat = Annotated[str | None, typer.Option(metavar="json|text", help="A log, instead of what is shown.")]
LogFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Where the log goes; what is shown stays.")]
LogRotate = Annotated[str, typer.Option(metavar="MIB:N", help="Size of the file, and how many old ones.")]
Mode = Annotated[str, typer.Option(metavar="OCTAL", help="Permissions of the files.")]


MOST_WORKERS = 64


def worker_count(text: str) -> int:
    """Read `--workers`.

    :raises Problem: where it is not a number of workers.
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
    :raises Problem: where one half of a pair is missing.
    """
    from rtms_cli.station.credentials import SECRETS, load_credentials, variable_of

    for name in SECRETS:
        if options.get(name) is not None:
            option = "--" + name.replace("_", "-")
            typer.echo(
                f"warning: {option} shows in the process list; better set {variable_of(name)} in the environment",
                err=True,
            )
    return load_credentials(options)


_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def size(option: str, text: str) -> int:
    """Read a size such as `500M` or `50GiB`, in bytes; units are powers of 1,024.

    :raises Problem: where it is none.
    """
    read = _SIZE.fullmatch(text.strip())
    if read is None or float(read[1]) == 0:
        raise Problem(f"{option} {text} is not a size.", "Give a number with M, G or T, such as 50G.")
    return int(float(read[1]) * 1024 ** " KMGT".index(read[2].upper() or " "))


def file_mode(text: str) -> int:
    """Read `--mode`.

    :raises Problem: where it is not an octal number, or its owner could not write the files.
    """
    try:
        mode = int(text, 8)
    except ValueError:
        mode = 0
    if mode & 0o600 != 0o600 or mode & ~0o666:
        raise Problem(f"--mode {text} makes no files that we could write.", "Use 600, 640, 644 or 660, for example.")
    return mode


def tls_options(ca_file: Path | None, *, insecure: bool) -> "ssl.SSLContext | None":
    """What `--ca-file` and `--insecure` ask for; `None` is the system's store.

    :raises Problem: where the file holds no certificate.
    """
    from rtms_cli.wire.dialer import tls_context

    if insecure:
        typer.echo("warning: --insecure: anybody on the way can read and change what is recorded", err=True)
    elif ca_file is None:
        return None
    try:
        return tls_context(None if ca_file is None else str(ca_file), verify=not insecure)
    except OSError as error:
        raise Problem(
            f"--ca-file {ca_file} cannot be used: {error.strerror or error}.", "Give a PEM file with certificates."
        ) from None


def server_tls(cert: Path | None) -> "ssl.SSLContext | None":
    """The context for `--cert`.

    :raises Problem: where the file is not a certificate with its key.
    """
    if cert is None:
        return None
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, password=_no_passphrase)
    except _EncryptedKeyError:
        raise Problem(
            f"--cert {cert} cannot be used: its key has a passphrase.", "Take it off: openssl pkey -in KEY -out NEW."
        ) from None
    except OSError as error:
        raise Problem(
            f"--cert {cert} cannot be used: {error.strerror or error}.",
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

    :raises Problem: where it is not one.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Problem(f"{option} {url} is no http:// or https:// URL.", "Give the whole URL, with its path.")


def open_capture(text: str, endpoint: str | None = None) -> "Capture":
    """A capture by what a person calls it: a file, a recording's folder, or its URL in a store.

    :param endpoint: of a store that is compatible with S3.
    :raises Problem: where it cannot be read.
    """
    from rtms_cli.capture import Capture
    from rtms_cli.store.urls import is_store_url, read_store_url

    if not is_store_url(text):
        return Capture(text)
    from rtms_cli.store.objects import open_store
    from rtms_cli.store.reading import StoredCapture

    return StoredCapture(open_store(read_store_url(text), endpoint))


def recordings_place(context: typer.Context) -> str:
    """Where `listen` is configured to put recordings: a folder or a URL."""
    settings = context.parent.default_map if context.parent is not None else None
    return str((settings or {}).get("listen", {}).get("place", "recordings"))


def recording_of(context: typer.Context, text: str | None, doing: str, endpoint: str | None = None) -> str:
    """The path or URL of the recording that a person means; where it was not named in full, a line says which.

    :param text: a path, a URL, `-`, `latest`, the beginning of a name, an id or a title; `None` is `latest`.
    :param doing: what is done with it, for that line: `inspecting`; without it there is no line.
    :param endpoint: of a store that is compatible with S3.
    :raises Problem: where there is none, or several.
    """
    from rtms_cli.catalog.finding import LATEST, find_folder
    from rtms_cli.store.urls import is_store_url
    from rtms_cli.view.text import say

    if text is not None and (text == "-" or is_store_url(text) or os.path.lexists(text)):
        return text
    place = recordings_place(context)
    if is_store_url(place):
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


def newest_recording(context: typer.Context, doing: str) -> Path:
    """The newest recording where `listen` is configured to put them, and a line that says which.

    :raises Problem: where there is none.
    """
    from rtms_cli.store.urls import is_store_url

    place = recordings_place(context)
    if is_store_url(place):
        raise Problem(f"Recordings are in {place}.", f"Give the URL of one: {place.rstrip('/')}/RECORDING")
    return Path(recording_of(context, None, doing))


MOST_INPUT_NBYTES = 64 << 20
"""How large a given payload or body may be."""


def read_input(name: str, instead: str) -> bytes:
    """What is in a file, or with - what comes on standard input.

    :raises Problem: where it cannot be read; `instead` says what to give.
    """
    from rtms_cli.untrusted import read_bounded

    try:
        return read_bounded(sys.stdin.buffer if name == "-" else Path(name).open("rb"), MOST_INPUT_NBYTES)
    except OSError as error:
        raise Problem(f"Cannot read {name}: {error.strerror}.", instead) from None
    except ValueError as error:
        raise Problem(f"Cannot read {name!r}: {error}.", instead) from None


def pasted_json(raw: bytes) -> bytes:
    """The JSON in what somebody saved or pasted; where that is more, a note on standard error says what it is.

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
