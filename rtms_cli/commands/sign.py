"""`rtms sign`: what the right signature is, and why another one is wrong."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from rtms_cli.commands.options import ClientId, ClientSecret, SecretToken, given_credentials, pasted_json, read_input
from rtms_cli.errors import Exit, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtms_cli.protocol.pasted import Pasted
    from rtms_cli.protocol.webhooks import Ids
    from rtms_cli.station.credentials import Credential, Credentials, Pair


class _HandshakeFirst(TyperGroup):
    """Takes `rtms sign payload.json` for `rtms sign handshake payload.json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["handshake", *args]
        return super().parse_args(ctx, args)


sign = typer.Typer(
    name="sign",
    cls=_HandshakeFirst,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Compute a signature, or find out why one is wrong.\n\n"
    "\b\nExample:\n  rtms sign payload.json --verify 5d41402abc4b2a76b9719d911017c592…",
)

_FILE_OR_DASH = "Give a file, or - for standard input."

Verify = Annotated[
    str | None, typer.Option(metavar="SIGNATURE", help="Compare with this signature, and name the mistake.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print all parts as JSON, without secrets.")]


@sign.command()
def handshake(
    payload: Annotated[
        str | None, typer.Argument(metavar="[PAYLOAD]", help="A file with the webhook's JSON, or - for standard input.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="meeting_uuid, session_id, engagement_id, call_id.")
    ] = None,
    stream_id: Annotated[str | None, typer.Option(metavar="ID", help="rtms_stream_id.")] = None,
    video_sdk: Annotated[bool, typer.Option("--video-sdk", help="Sign for a Video SDK session.")] = False,
    verify: Verify = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    as_json: AsJson = False,
) -> None:
    """A handshake's signature.

    It is the HMAC-SHA256 of client id, id and stream id, with the client secret.

    \b
    Example:
      rtms sign payload.json --verify 5d41402abc4b2a76b9719d911017c592…
    """
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.protocol.signatures import handshake_signature
    from rtms_cli.protocol.webhooks import Ids
    from rtms_cli.station.credentials import credentials_missing
    from rtms_cli.view.text import show_spaces

    if identity is not None and stream_id is not None and payload is None:
        ids = Ids(Product.VIDEO_SDK if video_sdk else Product.MEETING, identity, stream_id)
    elif payload is not None and identity is None and stream_id is None:
        ids = _read_ids(payload)
    else:
        raise Problem("What is to be signed?", "Give a payload's file, or both --id and --stream-id.")
    credentials = given_credentials(client_id=client_id, client_secret=client_secret)
    pair = credentials.pair_for(ids.product)
    if pair is None:
        raise credentials_missing(ids.product)
    text = f"{pair.client_id.value},{ids.id},{ids.stream_id}"
    right = handshake_signature(pair.client_id.value, pair.client_secret.value, ids.id, ids.stream_id)
    notes = [
        f"text       {show_spaces(text)}",
        f"client id  {show_spaces(pair.client_id.value)} from {pair.client_id.source}",
        f"secret     {_describe(pair.client_secret)}",
    ]
    given = ids.signature if verify is None else verify
    mistakes = None if given is None else _handshake_mistakes(given, ids, credentials, pair)
    if ids.signature is not None and verify is None:
        notes.append(f"payload    {_verdict(mistakes, 'its own signature')}")
    facts: dict[str, object] = {
        "signature": right,
        "text": text,
        "client_id": pair.client_id.value,
        "client_id_from": pair.client_id.source,
        "client_secret_from": pair.client_secret.source,
        "id": ids.id,
        "stream_id": ids.stream_id,
        "product": ids.product,
    }
    _answer(facts, notes, verify, mistakes, as_json, _HANDSHAKE_ADVICE)


@sign.command()
def webhook(
    body: Annotated[
        str,
        typer.Argument(
            metavar="BODY", help="A file with the webhook's raw body or the whole request, or - for standard input."
        ),
    ],
    timestamp: Annotated[
        str | None, typer.Option(metavar="TIMESTAMP", help="The x-zm-request-timestamp header, if the file lacks it.")
    ] = None,
    verify: Verify = None,
    secret_token: SecretToken = None,
    as_json: AsJson = False,
) -> None:
    """A webhook's signature.

    It is the HMAC-SHA256 of v0:TIMESTAMP:BODY, with the secret token; the header x-zm-signature has it.

    \b
    Example:
      rtms sign webhook body.json --timestamp 1738394112 --verify v0=5d41402abc…
    """
    import time

    from rtms_cli.protocol.signatures import MAX_AGE_S, webhook_signature
    from rtms_cli.protocol.suspects import bare_signature, webhook_mistakes

    request = _read_request(read_input(body, _FILE_OR_DASH))
    raw, timestamp = request.body, timestamp or request.timestamp
    if timestamp is None:
        raise Problem("There is no timestamp.", "Give the header x-zm-request-timestamp with --timestamp.")
    timestamp = bare_signature(timestamp)
    credentials = given_credentials(secret_token=secret_token)
    token = _token(credentials)
    right = webhook_signature(token.value, timestamp, raw)
    notes = [
        f"text    v0:{timestamp}: and the {len(raw)} bytes of the body",
        f"secret  {_describe(token)}",
    ]
    age_s: float | None = None
    if timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 20:
        age_s = round(time.time() - int(timestamp))
        if abs(age_s) > MAX_AGE_S:
            unit = "; is it in milliseconds? Zoom sends seconds" if len(timestamp) == 13 else ""
            notes.append(f"note    the timestamp is {age_s} s old: more than {MAX_AGE_S} s is rejected{unit}")
    else:
        notes.append("note    the timestamp is not a whole number of seconds")
    notes += _notes_of_body(raw, right, token.value, timestamp)
    others = {name: value.value for name, value in _other_secrets(credentials, None).items()}
    if verify is None and request.signature is not None:
        own = webhook_mistakes(request.signature, token.value, timestamp, raw, others)
        notes.append(f"header  {_verdict(own, 'its own signature')}")
    mistakes = None if verify is None else webhook_mistakes(verify, token.value, timestamp, raw, others)
    facts: dict[str, object] = {
        "signature": right,
        "timestamp": timestamp,
        "age_s": age_s,
        "body_bytes": len(raw),
        "secret_token_from": token.source,
    }
    _answer(facts, notes, verify, mistakes, as_json, _WEBHOOK_ADVICE)


@sign.command()
def challenge(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The plainToken that Zoom sent.")],
    secret_token: SecretToken = None,
) -> None:
    """The answer to endpoint.url_validation, as JSON.

    \b
    Example:
      rtms sign challenge qgg8vlvZRS6UYooatFL8Aw
    """
    from rtms_cli.protocol.signatures import challenge_answer
    from rtms_cli.protocol.strict_json import whole_text

    configured = _token(given_credentials(secret_token=secret_token))
    if whole_text(token) != token:
        raise Problem("The plainToken is not UTF-8.", "Copy it from the webhook's body as it stands there.")
    typer.echo(json.dumps(challenge_answer(configured.value, token)))


def _handshake_mistakes(given: str, ids: "Ids", credentials: "Credentials", pair: "Pair") -> list[str] | None:
    from rtms_cli.protocol.suspects import handshake_mistakes

    others = {name: value.value for name, value in _other_secrets(credentials, pair).items()}
    return handshake_mistakes(given, pair.client_id.value, pair.client_secret.value, ids, others)


_HANDSHAKE_ADVICE = (
    "none of the usual mistakes explains it: is it another app's (development credentials with a production app, or "
    "the other way round), or of another stream?"
)
_WEBHOOK_ADVICE = (
    "none of the usual mistakes explains it: is the secret token another app's, the body not the raw bytes as they "
    "came, or the timestamp another request's?"
)


def _read_request(raw: bytes) -> "Pasted":
    """A webhook's body as it was sent, with its headers where they are there too.

    A body in another encoding stays as it is: that it is so explains a wrong signature.
    """
    from rtms_cli.protocol.pasted import Pasted, read_pasted
    from rtms_cli.protocol.saved import encoding_of

    try:
        found = read_pasted(raw)
    except ValueError:
        return Pasted(raw)
    if not found.form or found.form == encoding_of(raw)[1]:
        return Pasted(raw)
    lost = "" if found.is_verbatim else ", written again: the bytes that Zoom signed are not in it"
    typer.echo(f"note    this is {found.form}; its JSON is the body{lost}", err=True)
    return found


def _notes_of_body(raw: bytes, right: str, token: str, timestamp: str) -> list[str]:
    """What is remarkable in a saved body: another encoding, and the signature that other sources of Zoom's make."""
    from rtms_cli.protocol.saved import encoding_of
    from rtms_cli.protocol.signatures import rewritten_json, webhook_signature

    notes = []
    if form := encoding_of(raw)[1]:
        notes.append(f"note    the file is in {form}; Zoom's body is plain UTF-8, so this signature is not Zoom's")
    try:
        rewritten = webhook_signature(token, timestamp, rewritten_json(raw))
    except ValueError:
        return notes
    if rewritten != right:
        notes.append(f"note    some of Zoom's sources sign the body as JSON.stringify writes it: {rewritten}")
    return notes


def _answer(
    facts: dict[str, object],
    notes: "Sequence[str]",
    verify: str | None,
    mistakes: "Sequence[str] | None",
    as_json: bool,
    advice: str,
) -> None:
    """Print the signature or the verdict on standard output, and what explains it on standard error."""
    match = verify is not None and mistakes is not None and not mistakes
    if as_json:
        if verify is not None:
            facts |= {"match": match, "mistakes": mistakes}
        typer.echo(json.dumps(facts))
    else:
        for note in notes:
            typer.echo(note, err=True)
        typer.echo(str(facts["signature"]) if verify is None else _verdict(mistakes, "it", advice))
    if verify is not None and not match:
        raise typer.Exit(Exit.MISMATCH)


def _verdict(mistakes: "Sequence[str] | None", what: str, advice: str = "") -> str:
    if mistakes is None:
        return f"mismatch: {what} is not the signature that these credentials make" + (f"; {advice}" if advice else "")
    if mistakes:
        return f"mismatch: {'; and '.join(mistakes)}"
    return "match"


def _describe(secret: "Credential") -> str:
    """A secret for people who look for white space in it: all but what it is."""
    value = str(secret.value)
    strange = ", WITH WHITE SPACE AROUND IT" if value.strip() != value else ""
    return f"{len(value)} characters from {secret.source}{strange}"


def _other_secrets(credentials: "Credentials", used: "Pair | None") -> "dict[str, Credential]":
    """What may have been taken for the right secret, by its name for people."""
    found: dict[str, Credential] = {}
    if used is not None and credentials.secret_token is not None:
        found["the secret token"] = credentials.secret_token
    for name, pair in (("client", credentials.oauth), ("Video SDK", credentials.video_sdk)):
        if pair is not None and pair is not used:
            found[f"the {name} secret"] = pair.client_secret
        if pair is not None:
            found[f"the {name} id"] = pair.client_id
    return found


def _token(credentials: "Credentials") -> "Credential":
    from rtms_cli.station.credentials import MARKETPLACE

    if credentials.secret_token is None:
        raise Problem(
            "There is no secret token.",
            f"Set ZOOM_SECRET_TOKEN in the environment or in .env. {MARKETPLACE} → Feature → Event Subscriptions.",
        )
    return credentials.secret_token


def _read_ids(payload: str) -> "Ids":
    from rtms_cli.protocol.webhooks import read_ids

    try:
        return read_ids(pasted_json(read_input(payload, _FILE_OR_DASH)))
    except ValueError as error:
        raise Problem(
            f"The payload cannot be signed: {error}.", "Give the JSON that Zoom posted, or --id and --stream-id."
        ) from None
