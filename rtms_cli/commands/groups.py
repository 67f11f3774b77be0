"""Groups of options that several commands have.

A command takes a group as one parameter, whose type is a `Struct`; see `option_groups`.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct

from rtms_cli.commands.options import (
    AudioForm,
    CaFile,
    Cert,
    ClientId,
    ClientSecret,
    CloudUrl,
    DetectLanguage,
    Gov,
    HookJobs,
    HookTimeout,
    Insecure,
    Json,
    KeepEncoded,
    KeepRevoked,
    LogFile,
    LogFormat,
    LogRotate,
    MaxBuffer,
    Media,
    Mode,
    NoRecord,
    Notify,
    On,
    OutOrStore,
    Plain,
    PublicHost,
    Quiet,
    Rtp,
    SecretToken,
    Separate,
    ShareForm,
    ShowText,
    SkipBuffered,
    Split,
    SpokenLanguage,
    Spool,
    SpoolMax,
    StoreEndpoint,
    Tap,
    TapHost,
    TokenFlowName,
    Verbose,
    VideoForm,
    VideoUser,
    WebControl,
    Webhook,
    WebHost,
    WebName,
    WebPort,
    given_credentials,
)
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    import ssl

    from rtms_cli.cloud.addresses import Addresses
    from rtms_cli.cloud.tokens import TokenFlow, Tokens
    from rtms_cli.live.hooks import Hook
    from rtms_cli.live.spec import TapSpec
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.station.credentials import Credentials
    from rtms_cli.store.urls import StoreUrl


class MediaOptions(Struct, frozen=True):
    """What to ask Zoom for."""

    media: Media = "all"
    audio: AudioForm = "l16"
    separate: Separate = False
    rtp: Rtp = False
    video: VideoForm = "jpg"
    video_user: VideoUser = ""
    share: ShareForm = "jpg"
    language: SpokenLanguage = "English"
    detect_language: DetectLanguage = True
    skip_buffered: SkipBuffered = False
    split: Split = False

    def request(self, *, separate: bool = False) -> "MediaRequest":
        """Read the texts.

        :param separate: whether something else wants the audio of each person.
        :raises Problem: if they do not make a valid request; it names the valid ones.
        """
        from msgspec import structs

        from rtms_cli.library.asking import media_request

        return media_request(prefix="--", **structs.asdict(self) | {"separate": self.separate or separate})


class RecordingOptions(Struct, frozen=True):
    """Where recordings go, how they are kept and shown, and whom to trust on the way."""

    place: OutOrStore = "recordings"
    spool: Spool = Path("spool")
    spool_max: SpoolMax = "50G"
    store_endpoint: StoreEndpoint = None
    max_buffer: MaxBuffer = 256
    ca_file: CaFile = None
    insecure: Insecure = False
    mode: Mode = "600"
    keep_revoked: KeepRevoked = False
    keep_encoded: KeepEncoded = False
    notify: Notify = None
    plain: Plain = False
    show_text: ShowText = False
    quiet: Quiet = False
    verbose: Verbose = False
    as_json: Json = False

    @property
    def out(self) -> Path:
        """The folder that is recorded into: the spool, where recordings go to a store."""
        return Path(self.place) if self.store is None else self.spool

    @property
    def store(self) -> "StoreUrl | None":
        """The store that recordings go to, if that is not a folder.

        :raises Problem: if the URL is not one.
        """
        if ":/" not in self.place:
            return None
        from rtms_cli.store.urls import is_store_url, read_store_url

        return read_store_url(self.place) if is_store_url(self.place) else None


class LoggedOptions(RecordingOptions, frozen=True):
    """The same, and a log for machines, of what may run for long."""

    log_format: LogFormat = None
    log_file: LogFile = None
    log_rotate: LogRotate = "100:5"


class LiveOptions(Struct, frozen=True):
    """To whom what comes is passed on while it comes."""

    tap: Tap = None
    tap_host: TapHost = "127.0.0.1"
    no_record: NoRecord = False

    def taps(self, *, is_heard: bool = False) -> "list[TapSpec]":
        """Read the taps.

        :param is_heard: whether what comes is passed on in another way too.
        :raises Problem: if one says nothing that can be done, or nothing would come of it all.
        """
        if not self.tap:
            if self.no_record and not is_heard:
                raise Problem("--no-record would do nothing.", "Add --tap or --notify, or leave it out.")
            return []
        from rtms_cli.live.spec import read_tap

        return [read_tap(text) for text in self.tap]

    def wants_each(self) -> bool:
        """Whether a tap wants the audio of each person."""
        if not self.tap:
            return False
        from rtms_cli.live.spec import wants_each

        return wants_each(self.taps())


class HookOptions(Struct, frozen=True):
    """Commands that run when recordings begin and end."""

    on: On = None
    hook_timeout: HookTimeout = 600
    hook_jobs: HookJobs = 2

    def hooks(self) -> "list[Hook]":
        """Read the commands.

        :raises Problem: if one cannot be run.
        """
        if not self.on:
            return []
        from rtms_cli.live.hooks import parse_hook

        return [parse_hook(text) for text in self.on]


class WebOptions(Struct, frozen=True):
    """Whether a browser may look, and who else."""

    web: WebPort = None
    web_host: WebHost = "127.0.0.1"
    web_name: WebName = None
    web_control: WebControl = False


class CloudOptions(Struct, frozen=True):
    """Where Zoom's cloud is, and how to obtain a token for it."""

    token_flow: TokenFlowName = None
    gov: Gov = False
    cloud_url: CloudUrl = None

    def addresses(self) -> "Addresses":
        """Where Zoom's cloud is.

        :raises Problem: for an address that is not valid, or that would send tokens over the network unencrypted.
        """
        import os

        from rtms_cli.cloud.addresses import BASE_VARIABLE, find_addresses
        from rtms_cli.station.credentials import find_secret

        # Not the URLs: a file that lies in a folder must not say where the environment's credentials go.
        environment = {**os.environ, BASE_VARIABLE: find_secret(BASE_VARIABLE) or ""}
        return find_addresses(environment, is_government=self.gov, cloud_url=self.cloud_url)

    def tokens(self, credentials: "Credentials", tls: "ssl.SSLContext | None" = None) -> "Tokens":
        """The source of tokens.

        :raises Problem: if the credentials for it are not set.
        """
        from rtms_cli.cloud.tokens import Tokens
        from rtms_cli.station.token_sources import token_sources

        return Tokens(token_sources(credentials, self.flow()), self.addresses(), tls)

    def flow(self) -> "TokenFlow | None":
        """What `--token-flow` names, also by the beginning of its name.

        :raises Problem: if it names none.
        """
        from rtms_cli.cloud.tokens import TokenFlow

        if self.token_flow is None:
            return None
        named = [flow for flow in TokenFlow if self.token_flow and flow.startswith(self.token_flow)]
        if len(named) == 1:
            return named[0]
        raise Problem(f"--token-flow {self.token_flow} is not a token flow.", f"Use {', '.join(TokenFlow)}.")


class ServerOptions(Struct, frozen=True):
    """Where a Zoom simulator listens, where it posts webhooks, and which app's client it expects."""

    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1"
    cert: Cert = None
    public_host: PublicHost = None
    port: Annotated[
        int,
        typer.Option("--port", "-p", metavar="PORT", help="Port to listen on; 0 takes a free one.", min=0, max=65535),
    ] = 0
    webhook: Webhook = None
    payload_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the body of the started webhook to this file.")
    ] = None
    client_id: ClientId = None
    client_secret: ClientSecret = None
    secret_token: SecretToken = None

    def credentials(self) -> "Credentials":
        """See `given_credentials`."""
        return given_credentials(
            client_id=self.client_id, client_secret=self.client_secret, secret_token=self.secret_token
        )


def option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command's parameter stand for a group of options: each field of its type, a `Struct`, is one of them."""
    own = inspect.signature(command)
    groups = {
        name: parameter.annotation
        for name, parameter in own.parameters.items()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Struct)
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        parameters += inspect.signature(groups[name]).parameters.values() if name in groups else [parameter]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        structs = {
            name: group(**{field: given.pop(field) for field in group.__struct_fields__})
            for name, group in groups.items()
        }
        command(**given, **structs)

    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    run.__signature__ = own.replace(parameters=keywords)  # type: ignore[attr-defined]
    return run
