"""`rtms listen`: webhooks in, recordings out."""

from pathlib import Path
from typing import Annotated

import typer

from rtms_cli.commands.options import (
    AllowHost,
    AudioForm,
    CaFile,
    ClientId,
    ClientSecret,
    DetectLanguage,
    Insecure,
    Json,
    KeepEncoded,
    KeepRevoked,
    Live,
    MaxBuffer,
    Media,
    Mode,
    Out,
    Plain,
    Rtp,
    SecretToken,
    Separate,
    ShareForm,
    Split,
    SpokenLanguage,
    VideoForm,
    VideoUser,
)


def listen(
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="0 takes a free one.", min=0, max=65535)] = 8080,
    path: Annotated[str, typer.Option(metavar="PATH", help="Of the webhook.")] = "/webhook",
    forward_to: Annotated[str | None, typer.Option(metavar="URL", help="An app to pass verified webhooks to.")] = None,
    media: Media = "all",
    audio: AudioForm = "l16",
    separate: Separate = False,
    rtp: Rtp = False,
    video: VideoForm = "jpg",
    video_user: VideoUser = "",
    share: ShareForm = "jpg",
    language: SpokenLanguage = "English",
    detect_language: DetectLanguage = True,
    live: Live = False,
    split: Split = False,
    out: Out = Path("recordings"),
    max_streams: Annotated[int, typer.Option(metavar="N", help="At once; more are not recorded.", min=1)] = 100,
    max_buffer: MaxBuffer = 256,
    allow_host: AllowHost = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    secret_token: SecretToken = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    mode: Mode = "600",
    keep_revoked: KeepRevoked = False,
    keep_encoded: KeepEncoded = False,
    plain: Plain = False,
    as_json: Json = False,
) -> None:
    """Record every stream that Zoom's webhooks announce.

    Ctrl-C finishes the recordings; a second one ends the process at once.

    A FORM may say more: --audio CODEC:RATE:CHANNELS:SEND_RATE, as l16:48:2:100;
    --video and --share CODEC:sd|hd|fhd|qhd:FPS, as h264:fhd:25.

    \b
    Example:
      rtms listen --port 8080 --media audio,transcript
    """
    import asyncio
    import shlex
    from contextlib import AsyncExitStack

    from rtms_cli.recording.files import free_space
    from rtms_cli.recording.repair import unfinished
    from rtms_cli.station.credentials import load_credentials
    from rtms_cli.station.metrics import exposition
    from rtms_cli.station.running import (
        check_http_url,
        file_mode,
        media_request,
        run_loop,
        running_station,
        tls_options,
    )
    from rtms_cli.wire.hosts import HostPolicy
    from rtms_cli.wire.listener import Listener

    if forward_to is not None:
        check_http_url("--forward-to", forward_to)
    credentials = load_credentials(
        {"client_id": client_id, "client_secret": client_secret, "secret_token": secret_token}
    )
    token = credentials.secret_token.value if credentials.secret_token else None
    request = media_request(
        media,
        split=split,
        audio=audio,
        separate=separate,
        rtp=rtp,
        video=video,
        video_user=video_user,
        share=share,
        language=language,
        detect_language=detect_language,
        live=live,
    )
    permissions, tls = file_mode(mode), tls_options(ca_file, insecure=insecure)

    async def run() -> None:
        async with (
            running_station(
                f"listen on http://{host}:{port}{path}",
                out=out,
                request=request,
                sign=credentials.sign,
                policy=HostPolicy(tuple(allow_host or ())),
                trusted=token is not None,
                max_streams=max_streams,
                max_buffer_mib=max_buffer,
                mode=permissions,
                keep_revoked=keep_revoked,
                keep_encoded=keep_encoded,
                tls=tls,
                as_json=as_json,
                plain=plain,
            ) as station,
            AsyncExitStack() as stack,
        ):
            forward = None
            if forward_to is not None:
                from rtms_cli.wire.forwarder import Forwarder

                forward = (await stack.enter_async_context(Forwarder(forward_to, station.notice, tls))).put
            listener = Listener(
                host,
                port,
                path,
                token,
                station.take,
                station.health,
                station.notice,
                metrics=lambda answers: exposition(station.figures(answers, free_space(out))),
                forward=forward,
            )
            bound = await listener.start()
            station.notice(f"listening on http://{host}:{bound}{path}")
            for folder in await asyncio.to_thread(lambda: list(unfinished(out))):
                station.notice(f"unfinished: rtms repair {shlex.quote(str(folder))}")
            if token is None:
                station.notice(
                    "WARNING: webhooks are not verified, anybody can send them: set ZOOM_SECRET_TOKEN "
                    "(Marketplace → your app → Feature → Event Subscriptions). "
                    "Connecting to *.zoom.us and loopback only."
                )
            try:
                await station.stopped()
            finally:
                await listener.stop()

    run_loop(run())
