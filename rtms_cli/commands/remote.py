"""What `start`, `stop`, `pause`, `resume` and `status` share: their options, and what they ask and say."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from rtms_cli.commands import completing
from rtms_cli.commands.groups import CloudOptions
from rtms_cli.commands.options import duration, given_credentials, tls_options
from rtms_cli.errors import Problem
from rtms_cli.view.text import json_line, say

if TYPE_CHECKING:
    from rtms_cli.cloud.rest import Action, Order
    from rtms_cli.cloud.tokens import Tokens
    from rtms_cli.station.control import Accepted, Control
    from rtms_cli.station.credentials import Credentials

Id = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="A meeting number or join URL; else the session's, engagement's or call's id."),
]
Product = Annotated[
    str,
    typer.Option(
        metavar="PRODUCT",
        help="meeting, webinar, session, contact_center or phone.",
        autocompletion=completing.product,
    ),
]
StreamingApp = Annotated[
    str | None, typer.Option(metavar="ID", help="Client ID of the streaming app (or $ZOOM_CLIENT_ID).")
]
Participant = Annotated[str, typer.Option(metavar="USER", help="Stream of this user instead of the token's.")]
Wait = Annotated[str, typer.Option(metavar="TIME", help="Retry for this long.")]
OneObject = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


class RemoteOptions(Struct, frozen=True):
    """What is asked for, and how long."""

    product: Product = "meeting"
    client_id: StreamingApp = None
    participant: Participant = ""
    wait: Wait = "60s"

    @property
    def wait_s(self) -> float:
        """How long to try again, in seconds."""
        return duration("--wait", self.wait)

    def order(self, given: Sequence[str], action: "Action", credentials: "Credentials") -> "Order":
        """Read what should be asked for.

        :param given: the id; a meeting's number may come in pieces, as people write it.
        :raises Problem: if it cannot be.
        """
        from rtms_cli.cloud.rest import Order, check_order, read_target
        from rtms_cli.protocol import numbers

        duration("--wait", self.wait)
        name = self.product.lower().replace("-", "_")
        if name not in list(numbers.Product):
            raise Problem(
                f"--product {self.product} is not one of Zoom's products.", f"Use {', '.join(numbers.Product)}."
            )
        if len(given) > 1 and numbers.Product(name) not in (numbers.Product.MEETING, numbers.Product.WEBINAR):
            raise Problem(f"{' '.join(given)[:200]!r} are several ids.", "Give one, in quotation marks if need be.")
        client_id = self.client_id or (credentials.oauth.client_id.value if credentials.oauth else "")
        order = Order(read_target(" ".join(given), numbers.Product(name)), action, client_id, self.participant)
        check_order(order)
        return order


def ask(
    given: Sequence[str],
    action: str,
    remote: RemoteOptions,
    cloud: CloudOptions,
    ca_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Ask Zoom for something, and say what came of it.

    :param given: the id.
    :raises Problem: if Zoom does not take it.
    """
    import asyncio

    from rtms_cli.cloud.rest import Action

    about: dict[str, object] = {"action": action, "product": remote.product, "id": " ".join(given)}
    try:
        credentials = given_credentials()
        order = remote.order(given, Action(action), credentials)
        about = _about(order)
        control = make_control(order, credentials, cloud, ca_file)
        accepted = asyncio.run(control.give(order, remote.wait_s, lambda line: say(line, err=True)))
    except Problem as problem:
        if as_json:
            typer.echo(json_line(about | _refused(problem)))
        raise
    if as_json:
        typer.echo(json_line(accepted_fields(accepted)))
        return
    say(describe(accepted))
    for name, value in accepted.told.fields.items() if order.action is Action.STATUS else ():
        say(f"  {name[:100]}: {_value(name, value)}")
    if order.action is not Action.STATUS:
        say(f"  {_NEXT[order.action]}")


def make_control(
    order: "Order",
    credentials: "Credentials",
    cloud: CloudOptions,
    ca_file: Path | None,
    tokens: "Tokens | None" = None,
) -> "Control":
    """What sends orders to Zoom; its certificates are always verified, because tokens go there.

    :param tokens: an existing source of tokens, so that Zoom does not issue two: the second may end the first.
    :raises Problem: if what that takes is not set.
    """
    from rtms_cli.protocol.numbers import Product
    from rtms_cli.station.control import Control

    tls = tls_options(ca_file, insecure=False)
    if order.target.product is Product.VIDEO_SDK:
        tokens = None
    elif tokens is None:
        tokens = cloud.tokens(credentials, tls)
    control = Control(cloud.addresses(), tokens, credentials.video_sdk_api, tls)
    control.check(order)
    return control


def accepted_fields(accepted: "Accepted") -> dict[str, object]:
    """What Zoom took, for `--json`."""
    from rtms_cli.protocol.secrets import redact
    from rtms_cli.protocol.strict_json import dumps, loads

    said = accepted.told
    return _about(accepted.order) | {
        "accepted": True,
        "http_status": said.status,
        "tries": accepted.tries,
        "token_flow": accepted.flow,
        "answer": loads(redact(dumps(dict(said.fields)))) if said.fields else None,
    }


def describe(accepted: "Accepted") -> str:
    """What Zoom took, for people."""
    order = accepted.order
    by = f"{accepted.told.status}, by {accepted.flow}"
    if order.action == "status":
        return f"{order.target}: Zoom says ({by}):"
    return f"requested {order.action}: {order.target} ({by})"


def _refused(problem: Problem) -> dict[str, object]:
    from rtms_cli.cloud.rest import RestError

    found: dict[str, object] = {"accepted": False}
    if isinstance(problem, RestError):
        found |= {"http_status": problem.told.status, "code": problem.told.code}
    return found | {"error": problem.what, "remedy": problem.remedy}


def _about(order: "Order") -> dict[str, object]:
    return {"action": order.action, "product": order.target.product, "id": order.target.id}


def _value(name: str, value: object) -> str:
    from rtms_cli.protocol.fields import words_or_none
    from rtms_cli.protocol.secrets import redact
    from rtms_cli.protocol.strict_json import dumps, loads

    cleaned = loads(redact(dumps({name: value})))
    assert isinstance(cleaned, dict)
    return (words_or_none(cleaned[name]) or "")[:300]


_NEXT = {
    "start": "The started webhook confirms it; `rtms listen` records the stream.",
    "stop": "The stopped webhook and the end of the recording confirm it.",
    "pause": "The stream's state in events.jsonl confirms it; `rtms resume ID` resumes the stream.",
    "resume": "The stream's state in events.jsonl confirms it.",
}
