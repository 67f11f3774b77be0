"""`rtms trigger`: one webhook as Zoom posts it, or sends it over its event WebSocket, and a verdict on the answer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from rtms_cli.commands import completing
from rtms_cli.commands.options import (
    CaFile,
    Insecure,
    SecretToken,
    Webhook,
    check_http_url,
    given_credentials,
    pasted_json,
    read_input,
    tls_options,
)
from rtms_cli.commands.renamed import note
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    import ssl

    from rtms_cli.station.endpoint import Sent

NOWHERE = "wss://127.0.0.1:1/no-server-is-here"
OLD_S = 60
"""How much older than allowed a stale webhook is."""
CONTROL_TIMEOUT_S = 10.0
"""How long the simulated cloud may take."""
SHOWN = 300
"""Characters of an answer's body that are shown."""


class Told(Struct, frozen=True):
    """One answer and its verdict, as `--json` prints it."""

    right: bool
    what: str
    fix: str = ""
    status: int | None = None
    ms: int | None = None
    body: str = ""
    """Its first 300 characters."""


class Result(Struct, frozen=True):
    """What `--json` prints."""

    event: str
    url: str
    sent: str
    """`challenge`, `good`, `forged` or `stale`; `events` over the event WebSocket."""
    request: str
    """The body that was posted."""
    answers: list[Told]


def trigger(
    event: Annotated[
        str,
        typer.Argument(
            metavar="EVENT",
            help=f"{', '.join(completing.WEBHOOK_EVENTS)}; or a full event name, such as meeting.rtms_started.",
            autocompletion=completing.webhook_events,
        ),
    ],
    webhook: Webhook = None,
    cloud_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Send it over the event WebSocket of `rtms simulate --cloud`.")
    ] = None,
    via: Annotated[str, typer.Option(hidden=True)] = "http",
    product: Annotated[
        str | None,
        typer.Option(
            metavar="PRODUCT",
            help="meeting, webinar, session, contact_center or phone.",
            show_default="meeting",
            autocompletion=completing.product,
        ),
    ] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="FILE", help="Send this webhook or payload; - reads standard input.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="meeting_uuid, session_id, engagement_id or call_id.")
    ] = None,
    stream_id: Annotated[str | None, typer.Option(metavar="ID", help="rtms_stream_id.")] = None,
    server_url: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Value of server_urls; may be repeated.")
    ] = None,
    reason: Annotated[int, typer.Option(metavar="N", help="stop_reason of a stopped webhook.")] = 6,
    forge: Annotated[
        bool, typer.Option("--forge", help="Sign with a wrong secret token; the app must reject it.")
    ] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Use an old timestamp; the app must reject it.")] = False,
    retry: Annotated[int, typer.Option(metavar="N", help="Post the same body N more times.", min=0, max=1000)] = 0,
    secret_token: SecretToken = None,
    ca_file: CaFile = None,
    insecure: Insecure = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Post a signed webhook to an app, and check its answer.

    Exit code 1 if the answer is wrong: a status that Zoom does not accept, an answer later than 3 s, a wrong answer to
    a challenge, a forged or stale webhook that is accepted. With --cloud-url: if no client is connected.

    \b
    Examples:
      rtms trigger started --webhook http://127.0.0.1:8080/webhook --forge
      rtms trigger started --cloud-url http://127.0.0.1:8900
    """
    import asyncio
    import time
    from urllib.parse import urlsplit

    from rtms_cli.simulator.webhooks import VALIDATION
    from rtms_cli.station.credentials import MARKETPLACE
    from rtms_cli.station.endpoint import FORGERS_TOKEN, Sent
    from rtms_cli.view.text import json_line

    if via not in ("http", "ws"):
        raise Problem(f"--via {via} is not http or ws.", "Use --webhook URL, or --cloud-url URL.")
    if via == "ws":
        note("rtms trigger", "--via ws", "--cloud-url")
        webhook, cloud_url = None, cloud_url or webhook
    to = webhook or cloud_url
    if to is None or (webhook is not None and cloud_url is not None):
        raise Problem("Where should the webhook go?", "Use --webhook URL, or --cloud-url URL.")
    if cloud_url is not None and to.startswith(("ws://", "wss://")):
        parts = urlsplit(to)  # the event WebSocket's own URL
        to = f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}"
    check_http_url("--webhook" if cloud_url is None else "--cloud-url", to)
    if cloud_url is not None and (forge or stale):
        raise Problem("What comes over the event WebSocket has no signature.", "Leave --forge and --stale out.")
    token = given_credentials(secret_token=secret_token).secret_token
    if token is None and not forge and cloud_url is None:
        raise Problem(
            "There is no secret token to sign the webhook with.",
            f"Set ZOOM_SECRET_TOKEN. {MARKETPLACE} → Feature → Event Subscriptions has it. Or send it with --forge.",
        )
    urls = ",".join(server_url) if server_url else None
    wanted = _Wanted(product, identity, stream_id, urls, reason)
    saved = b"{}" if payload is None else _saved(payload)
    name, body, plain = _compose(event, saved, int(time.time() * 1000), wanted)
    tls = tls_options(ca_file, insecure=insecure)
    if cloud_url is not None:
        _send_over_socket(name, to, body, retry, tls, as_json=as_json)
        return
    if forge:
        sent = Sent.FORGED
    elif stale:
        sent = Sent.STALE
    else:
        sent = Sent.CHALLENGE if name == VALIDATION else Sent.GOOD
    secret = FORGERS_TOKEN if forge or token is None else token.value
    hidden = secret if token is None else token.value  # an app may answer with what it is configured with
    if not as_json:
        typer.echo(f"{name} → {to}" + ("" if sent in (Sent.GOOD, Sent.CHALLENGE) else f"  ({sent})"))
    answers = []
    for _ in range(retry + 1):
        answers.append(asyncio.run(_ask(to, body, secret, plain, sent, tls, stale=stale, hidden=hidden)))
        if not as_json:
            _print(answers[-1])
    if as_json:
        typer.echo(json_line(Result(name, to, sent, body.decode(errors="replace"), answers)))
    if not all(told.right for told in answers):
        raise typer.Exit(Exit.MISMATCH)
    if sent in (Sent.GOOD, Sent.CHALLENGE) and not as_json:
        _suggest(to)


def _suggest(url: str) -> None:
    """The command that makes sense next: an app that takes a webhook wants a stream."""
    from rtms_cli.view.console import make_console
    from rtms_cli.view.next_steps import command_line, next_steps

    step = command_line("rtms", "simulate", "--webhook", url)
    next_steps(make_console(), [(step, "a whole stream for it, with media")])


async def _ask(
    url: str,
    body: bytes,
    secret: str,
    plain: str,
    sent: "Sent",
    tls: "ssl.SSLContext | None",
    *,
    stale: bool,
    hidden: str,
) -> Told:
    from rtms_cli.protocol.signatures import MAX_AGE_S
    from rtms_cli.station.endpoint import probe
    from rtms_cli.wire.poster import NoAnswerError

    age_s = MAX_AGE_S + OLD_S if stale else 0
    try:
        answer, judgement = await probe(url, body, secret, sent, plain_token=plain, age_s=age_s, tls=tls)
    except NoAnswerError as error:
        return Told(False, f"no answer: {error}", "Does the app run, and does the tunnel or proxy point at it?")
    shown = answer.body.decode(errors="replace").strip().replace(hidden, "[redacted]")
    shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"
    return Told(judgement.right, judgement.what, judgement.fix, answer.status, round(answer.took_s * 1000), shown)


def _send_over_socket(
    name: str, url: str, body: bytes, retry: int, tls: "ssl.SSLContext | None", *, as_json: bool
) -> None:
    """Have the simulated cloud send an event over its event WebSocket, and say to how many it went."""
    import asyncio

    from rtms_cli.simulator.webhooks import VALIDATION
    from rtms_cli.view.text import json_line

    if name == VALIDATION:
        raise Problem("Zoom validates no URL over its event WebSocket.", "Use --webhook URL.")
    if not as_json:
        typer.echo(f"{name} → {url}, over its event WebSocket")
    answers = []
    for _ in range(retry + 1):
        answers.append(asyncio.run(_send_once(url, body, tls)))
        if not as_json:
            _print(answers[-1])
    if as_json:
        typer.echo(json_line(Result(name, url, "events", body.decode(errors="replace"), answers)))
    if not all(told.right for told in answers):
        raise typer.Exit(Exit.MISMATCH)


async def _send_once(url: str, body: bytes, tls: "ssl.SSLContext | None") -> Told:
    from rtms_cli.simulator.webhooks import CONTROL, control_fields, read_control
    from rtms_cli.wire.poster import NoAnswerError, post

    try:
        answer = await post(url.rstrip("/") + CONTROL, body, control_fields(), CONTROL_TIMEOUT_S, tls)
    except NoAnswerError as error:
        return Told(False, f"no answer: {error}", "Does `rtms simulate --cloud` run there?")
    told = read_control(answer.status, answer.body)
    ms = round(answer.took_s * 1000)
    if told is None:
        what = "this is not the address of `rtms simulate --cloud`"
        return Told(False, what, "It prints its address when it starts: pass that with --cloud-url.", answer.status, ms)
    connections, delay_s = told
    if not connections:
        what = "nobody is connected: the event is lost, as Zoom's are"
        return Told(False, what, "Let `rtms listen --events …` connect first.", answer.status, ms)
    late = f", {delay_s:g} s late" if delay_s else ""
    who = "1 connection" if connections == 1 else f"{connections} connections"
    return Told(True, f"the event goes to {who}{late}", "", answer.status, ms)


def _print(told: Told) -> None:
    from rtms_cli.view.text import escape

    sign = typer.style("✓", fg="green") if told.right else typer.style("✗", fg="red")
    status = "" if told.status is None else f"{told.status} in {told.ms} ms: "
    typer.echo(f"{sign} {status}{escape(told.what)}")
    if told.body:
        typer.echo(f"    it said: {escape(told.body)}")
    if told.fix:
        typer.echo(f"    {told.fix}")


class _Wanted(Struct, frozen=True):
    """What the options say about the stream."""

    product: str | None
    identity: str | None
    stream_id: str | None
    server_urls: str | None
    reason: int

    @property
    def nothing(self) -> bool:
        """Whether no option changes what a saved webhook says."""
        return (self.product, self.identity, self.stream_id, self.server_urls) == (None,) * 4


def _compose(event: str, saved: bytes, now_ms: int, wanted: _Wanted) -> tuple[str, bytes, str]:
    """The event's name, the webhook's body, and the plainToken where it is a challenge.

    A saved webhook of the same event goes out byte for byte where no option changes it.
    """
    from rtms_cli.simulator.webhooks import CONCURRENCY, VALIDATION, webhook_body

    posted = _object(saved)
    given = posted.get("payload", {} if "event" in posted else posted)
    payload: dict[str, object] = dict(given) if isinstance(given, dict) else {}
    name = _whole_name(event, wanted.product, posted, payload)
    if posted.get("event") == name and wanted.nothing:
        return name, saved, str(payload.get("plainToken", ""))
    what = name.rpartition("rtms_")[2]
    if what in completing.STREAM_EVENTS:
        return name, webhook_body(name, now_ms, _stream_fields(name, what, payload, wanted, now_ms)), ""
    if not wanted.nothing:
        raise Problem(f"{name} is not about a stream.", "Leave out --product, --id, --stream-id and --server-url.")
    if name == VALIDATION:
        plain = str(payload.get("plainToken", f"rtms-trigger-{now_ms}"))
        return name, webhook_body(name, now_ms, {"plainToken": plain}), plain
    return name, webhook_body(name, now_ms, payload or CONCURRENCY.get(name, {})), ""


def _saved(payload: str) -> bytes:
    try:
        return pasted_json(read_input(payload, "Give a file with a webhook's JSON, or -."))
    except ValueError as error:
        raise Problem(f"--payload: {error}.", "It must be a webhook's JSON.") from None


def _object(saved: bytes) -> dict[str, object]:
    from rtms_cli.protocol.messages import loads

    try:
        found = loads(saved)
    except ValueError as error:
        raise Problem(f"--payload: {error}.", "It must be a webhook's JSON.") from None
    if not isinstance(found, dict):
        raise Problem("--payload is not a JSON object.", "Give a whole webhook, or its payload.")
    return found


def _whole_name(event: str, product: str | None, posted: Mapping[str, object], payload: Mapping[str, object]) -> str:
    """The event's whole name; the product is that of the option, of the saved webhook, or a meeting."""
    from rtms_cli.protocol.messages import dumps
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.protocol.webhooks import read_ids
    from rtms_cli.simulator.webhooks import VALIDATION, stream_event

    plain = event.replace("-", "_")
    if plain == "url_validation":
        return VALIDATION
    if plain in completing.STREAM_EVENTS:
        if product is not None:
            try:
                return stream_event(Product(product), plain)
            except ValueError:
                raise Problem(f"--product {product} is not a product.", f"Use {', '.join(Product)}.") from None
        before, rtms, what = str(posted.get("event")).rpartition("rtms_")
        if what in completing.STREAM_EVENTS:
            return before + rtms + plain
        try:
            return stream_event(read_ids(dumps(payload)).product, plain)
        except ValueError:
            return stream_event(Product.MEETING, plain)
    if plain in completing.WEBHOOK_EVENTS:
        return f"rtms.{plain}"
    if "." not in event:
        raise Problem(
            f"{event} is not an event.",
            f"Use {', '.join(completing.WEBHOOK_EVENTS)}, or a whole name such as meeting.rtms_started.",
        )
    if product is not None:
        raise Problem(f"{event} already names its product.", "Leave --product out.")
    return event


def _stream_fields(
    name: str, what: str, payload: Mapping[str, object], wanted: _Wanted, now_ms: int
) -> dict[str, object]:
    """The payload of a webhook about a stream: the options first, then what was saved, then what is made up."""
    import hashlib

    from rtms_cli.protocol.fields import id_or_none
    from rtms_cli.protocol.messages import dumps
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.protocol.webhooks import read_ids
    from rtms_cli.simulator.webhooks import Ids, stream_payload

    try:
        product = Product(name.partition(".")[0].replace("contactcenter", "contact_center"))
    except ValueError:
        raise Problem(f"{name} is not an event of a product.", f"Products are {', '.join(Product)}.") from None
    digest = hashlib.sha256(str(now_ms).encode()).hexdigest()
    identity, stream_id = digest[:22] + "==", digest[24:56]
    inner = payload.get("object")
    flat: dict[str, object] = {**payload, **inner} if isinstance(inner, dict) else dict(payload)
    try:
        saved = read_ids(dumps(flat))
        identity, stream_id = saved.id, saved.stream_id
    except ValueError:
        if flat:
            identity = id_or_none(flat.get(product.id_field)) or identity
            stream_id = id_or_none(flat.get("rtms_stream_id")) or stream_id
    ids = Ids(
        product,
        wanted.identity or identity,
        wanted.stream_id or stream_id,
        wanted.server_urls or NOWHERE,
    )
    fields = stream_payload(ids, what, wanted.reason if what == "stopped" else None)
    if what == "started" and wanted.server_urls is None and "server_urls" in flat:
        fields["server_urls"] = flat["server_urls"]
    not_kept = {"object", "server_urls", "signature", "stop_reason", "rtms_stream_id", "webinar_uuid", "session_key"}
    not_kept |= {one.id_field for one in Product}
    fields |= {key: value for key, value in flat.items() if key not in not_kept}
    return {"object": fields} if isinstance(inner, dict) else fields
