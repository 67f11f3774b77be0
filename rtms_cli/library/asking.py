"""A program's request: a stream by its payload, media by name, and credentials."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from rtms_cli.errors import Problem, reason_of
from rtms_cli.protocol.media import (
    DEFAULT_PARAMS,
    MediaParams,
    MediaRequest,
    TranscriptParams,
    params_fault,
    parse_audio,
    parse_language,
    parse_media,
    parse_share,
    parse_video,
)
from rtms_cli.protocol.numbers import ContentType
from rtms_cli.protocol.pasted import read_pasted
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.webhooks import Stream, StreamStart, read_payload, read_webhook
from rtms_cli.station.credentials import Credential, Credentials, Pair, load_credentials
from rtms_cli.untrusted import open_file, read_bounded
from rtms_cli.wire.hosts import HostPolicy

MOST_PAYLOAD_NBYTES = 64 << 20
"""Size limit of a payload in bytes."""

Payload = Mapping[str, object] | str | bytes | os.PathLike[str]
"""The announcement of a stream: the webhook's JSON as an object, as text, or in a file."""


def media_request(
    *,
    media: str = "all",
    audio: str = "l16",
    separate: bool = False,
    rtp: bool = False,
    video: str = "jpg",
    video_user: str = "",
    share: str = "jpg",
    language: str = "English",
    detect_language: bool = True,
    skip_buffered: bool = False,
    split: bool = False,
    prefix: str = "",
) -> MediaRequest:
    """Parse a media request in the terms of the command line.

    :param prefix: text before an option's name in a problem.
    :raises Problem: if it is invalid. The message lists the valid values.
    """
    option = "media"
    try:
        types = parse_media(media)
        option = "audio"
        audio_params = parse_audio(audio, separate=separate, rtp=rtp)
        option = "video"
        video_params = parse_video(video, one_participant=bool(video_user))
        option = "share"
        share_params = parse_share(share)
        option = "language"
        transcript = TranscriptParams(ContentType.TEXT, parse_language(language), detect_language)
    except ValueError as error:
        raise Problem(f"{prefix}{option}: {error}") from None
    params = MediaParams(audio_params, video_params, share_params, transcript, DEFAULT_PARAMS.chat)
    fault = params_fault(params, types)
    if fault is not None:
        raise Problem(fault.text)
    return MediaRequest(types, params, split, False if skip_buffered else None, video_user)


def announced(raw: bytes, note: Callable[[str], None] = lambda form: None) -> tuple[Stream, bytes | None]:
    """Read the announcement of a stream, as people save and paste it. Also return the webhook's body if it is complete.

    :param note: called with its form if it is not plain JSON.
    :raises Problem: if it does not announce a stream.
    """
    try:
        pasted = read_pasted(raw)
        if pasted.form:
            note(pasted.form)
        stream = read_payload(pasted.body)
    except ValueError as error:
        raise Problem(
            f"The payload does not announce a stream: {error}.",
            "Give the JSON that Zoom posted, for example what `rtms simulate --payload-out FILE` writes.",
        ) from None
    return stream, pasted.body if isinstance(read_webhook(pasted.body), StreamStart) else None


def read_payload_of(given: Payload) -> bytes:
    """Return a payload's text. A string that contains `{` is JSON and not a path.

    :raises Problem: if it cannot be read.
    """
    if isinstance(given, bytes):
        return given
    if isinstance(given, Mapping):
        try:
            return msgspec.json.encode(dict(given))
        except (TypeError, ValueError, RecursionError) as error:
            raise Problem(
                f"The payload is not a JSON object: {error}.", "Give the webhook's body as it came."
            ) from None
    if isinstance(given, str) and "{" in given:
        return given.encode("utf-8", "replace")
    path = Path(given)
    try:
        return read_bounded(open_file(path, follows=True), MOST_PAYLOAD_NBYTES)
    except (OSError, ValueError) as error:
        why = reason_of(error)
        raise Problem(f"Cannot read {path}: {why}.", "Give a file with the webhook's JSON, or the JSON.") from None


def credentials_of(client_id: str | None, client_secret: str | None, secret_token: str | None = None) -> Credentials:
    """Return the app's credentials, by default from the environment and `.env`.

    :raises Problem: if one half of a pair is missing.
    """
    if (client_id is None) != (client_secret is None):
        given, missing = ("client_id", "client_secret") if client_secret is None else ("client_secret", "client_id")
        raise Problem(f"{given} is given, but {missing} is not.", "Give both, or neither and set the environment.")
    found = load_credentials({"secret_token": secret_token})
    if client_id is None or client_secret is None:
        return found
    pair = Pair(Credential(Secret(client_id), "client_id"), Credential(Secret(client_secret), "client_secret"))
    return Credentials(pair, None, found.secret_token)  # for every product


def join_policy(stream: Stream, allowed: Sequence[str] = ()) -> HostPolicy:
    """Return the hosts that may be connected to. The payload names the signaling server, which names the media
    servers."""
    return HostPolicy(tuple(allowed), given=(urlsplit(stream.server_url).hostname or "",))
