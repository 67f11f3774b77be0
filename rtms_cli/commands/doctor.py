"""`rtms doctor`: what is wrong before anything runs, and how to fix it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtms_cli.commands.groups import CloudOptions, option_groups
from rtms_cli.commands.options import CaFile, Out
from rtms_cli.errors import Exit, Problem, reason_of

if TYPE_CHECKING:
    from rtms_cli.station.checkup import Check
    from rtms_cli.station.credentials import Credentials


@option_groups
def doctor(
    webhook: Annotated[
        str | None,
        typer.Option("--webhook", metavar="URL", help="Send a challenge and a forgery to this webhook URL."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", "-p", metavar="PORT", help="Port that `rtms listen` will use.", min=1, max=65535)
    ] = 8080,
    out: Out = Path("recordings"),
    offline: Annotated[bool, typer.Option("--offline", help="Skip checks that need the network.")] = False,
    ca_file: CaFile = None,
    events: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Connect to this subscription for 8 s; its current holder loses events."),
    ] = None,
    *,
    cloud: CloudOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check this machine, the credentials, the webhook and the cloud.

    With credentials it asks Zoom for a token; it sends nothing else. Exit code 1 if something is wrong; a check that
    cannot run does not count.

    \b
    Example:
      rtms doctor --webhook https://your.host/webhook
    """
    from rtms_cli.view.text import json_line

    found: list[Check] = []
    for check in _checks(webhook, port, out, events, cloud, ca_file, offline=offline):
        found.append(check)
        if not as_json:
            _print(check)
    wrong = sum(check.verdict == "wrong" for check in found)
    if as_json:
        typer.echo(json_line(found))
    elif wrong:
        typer.secho("1 thing is wrong." if wrong == 1 else f"{wrong} things are wrong.", fg="red")
    else:
        typer.secho("All is well.", fg="green")
    if wrong:
        raise typer.Exit(Exit.MISMATCH)


def _print(check: "Check") -> None:
    from rtms_cli.cloud.causes import numbered
    from rtms_cli.view.text import escape

    sign, colour = {"ok": ("✓", "green"), "wrong": ("✗", "red"), "unknown": ("?", "yellow")}[check.verdict]
    found = _wrapped(f"{sign} {check.name}: {escape(check.found, len(check.found))}", "  ")
    typer.echo(typer.style(sign, fg=colour) + found.removeprefix(sign))
    for line in (*([check.fix] if check.fix else []), *numbered(check.look_at)):
        typer.echo(_wrapped(f"    {escape(line, len(line))}", "    "))


def _wrapped(text: str, indent: str) -> str:
    """The text between the edges of the terminal; elsewhere on one line."""
    import shutil
    import textwrap

    from rtms_cli.view.console import is_for_people

    if not is_for_people():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _checks(
    url: str | None,
    port: int,
    out: Path,
    events: str | None,
    cloud: CloudOptions,
    ca_file: Path | None,
    *,
    offline: bool,
) -> "Iterator[Check]":
    import asyncio

    from rtms_cli.cloud.causes import usual_causes
    from rtms_cli.station import checkup
    from rtms_cli.station.credentials import Credentials, load_credentials
    from rtms_cli.station.webhook_checkup import webhook_checks

    addresses = cloud.addresses()
    subscription = None if events is None else addresses.events_url(events)
    yield from checkup.installation_checks()
    credentials = Credentials()
    try:
        credentials = load_credentials()
    except Problem as problem:
        yield checkup.Check("credentials", "wrong", problem.what, problem.remedy)
    else:
        yield from checkup.credential_checks(credentials, by_events=events is not None and url is None)
    yield checkup.port_check(port)
    yield _disk(out)
    yield checkup.descriptor_check()
    yield _terminal()
    if not offline:
        yield from _cloud(cloud, credentials, subscription, ca_file)
        if url is not None:
            token = credentials.secret_token
            yield from asyncio.run(webhook_checks(url, None if token is None else token.value))
    by_events = None if (url is None) == (events is None) else events is not None
    fix = "If none comes, look at these, in this order:"
    causes = usual_causes(addresses.base, by_events=by_events)
    yield checkup.Check("started webhooks", "unknown", "only Zoom can send one", fix, causes)


def _disk(out: Path) -> "Check":
    from rtms_cli.commands.composing import space_warning
    from rtms_cli.protocol.media import MediaRequest
    from rtms_cli.recording.files import free_space
    from rtms_cli.station.checkup import Check
    from rtms_cli.station.running import check_out
    from rtms_cli.view.text import size_of

    existed = out.exists()
    try:
        room = check_out(out, MediaRequest())
    except Problem as problem:
        return Check("disk", "wrong", problem.what, problem.remedy)
    finally:
        if not existed and out.exists():
            out.rmdir()
    if room.is_short:
        return Check("disk", "wrong", space_warning(out, room), "Free some, or choose another folder with --out.")
    return Check("disk", "ok", f"{size_of(free_space(out) or 0)} free for {out}")


def _terminal() -> "Check":
    import os

    from rtms_cli.commands.options import is_terminal
    from rtms_cli.station.checkup import Check

    if not is_terminal():
        return Check("terminal", "ok", "none: output will be plain lines")
    colour = "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else "colour"
    encoding = (sys.stdout.encoding or "").lower()
    if "utf" not in encoding:
        return Check("terminal", "wrong", f"it speaks {encoding}", "Set LANG to a UTF-8 locale, such as C.UTF-8.")
    return Check("terminal", "ok", f"{os.environ.get('TERM')}, UTF-8, {colour}")


def _cloud(
    options: CloudOptions, credentials: "Credentials", subscription: str | None, ca_file: Path | None
) -> "Iterator[Check]":
    """Ask Zoom's cloud.

    :param subscription: the URL of an event subscription to connect to.
    """
    import asyncio
    from urllib.parse import urlsplit

    from rtms_cli.station import cloud_checkup
    from rtms_cli.station.checkup import Check
    from rtms_cli.station.token_sources import token_sources
    from rtms_cli.wire.dialer import Dialer, tls_context
    from rtms_cli.wire.hosts import HostPolicy

    addresses, flow = options.addresses(), options.flow()
    try:
        tls = tls_context(None if ca_file is None else str(ca_file))
    except OSError as error:
        yield Check("certificates", "wrong", f"{ca_file}: {reason_of(error)}", "Give a PEM file with --ca-file.")
        return
    yield from asyncio.run(cloud_checkup.way_checks(addresses, tls))
    is_needed = subscription is not None or flow is not None
    try:
        sources = token_sources(credentials, flow)
    except Problem as problem:
        if is_needed:
            yield Check("token", "wrong", problem.what, problem.remedy)
        return
    checks, tokens = asyncio.run(cloud_checkup.token_checks(sources, addresses, tls, is_needed=is_needed))
    yield from checks
    if subscription is not None:
        if tokens:
            typer.echo(_TAKES_OVER, err=True)
        dial = Dialer(HostPolicy(given=(urlsplit(subscription).hostname or "",)), tls)
        yield asyncio.run(cloud_checkup.subscription_check(dial, subscription, tokens))


_TAKES_OVER = (
    "note       connecting to the event subscription for 8 s: this takes it over from whoever holds it, and events "
    "that come meanwhile are lost"
)
