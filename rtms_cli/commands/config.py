"""`rtms config`: the effective settings, and where each comes from."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rtms_cli.commands import completing
from rtms_cli.commands.options import Json
from rtms_cli.commands.settings import Setting, options_of, plain_commands, read_settings
from rtms_cli.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable


def config(
    command: Annotated[
        str | None,
        typer.Argument(metavar="[COMMAND]", help="Only this command's options.", autocompletion=completing.commands),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Include defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Show effective settings, and where each comes from.

    \b
    Example:
      rtms config listen --all
    """
    import json

    from rtms_cli.station.credentials import load_credentials, unused_credentials
    from rtms_cli.station.profiles import FILE, active_profile, settings_in, user_file
    from rtms_cli.view.text import escape

    commands = plain_commands()
    if command is not None and command not in commands:
        raise Problem(f"There is no command {command} with settings.", f"Use one of {', '.join(commands)}.")
    held = {(one.command, one.option): one for one in read_settings(commands, settings_in(Path()), os.environ)}
    if everything:
        for name, parsed in commands.items():
            for option, param in options_of(parsed).items():
                held.setdefault((name, option), Setting(name, option, _plain(param.default), "default"))
    shown = [_without_secrets(one) for one in held.values() if command in (None, one.command)]
    shown.sort(key=lambda one: (list(commands).index(one.command), one.option))
    credentials, unused = load_credentials({}).sources(), unused_credentials()
    if as_json:
        listed = [{"command": s.command, "option": s.option, "value": s.value, "source": s.source} for s in shown]
        typer.echo(
            json.dumps(
                {"profile": active_profile(), "settings": listed, "credentials": credentials, "unused": unused},
                default=str,
            )
        )
        return
    if (profile := active_profile()) is not None:
        typer.echo(escape(f"profile {profile}"))
    for one in shown:
        typer.echo(f"{one.command:9} {one.option:20} {escape(str(one.value)):24} {escape(one.source)}")
    if not shown:
        typer.echo(f"No option is set by {FILE}, [tool.rtms], RTMS_… variables, or your own file:")
        typer.echo(f"  {escape(str(user_file()))}")
        typer.echo("--all shows the defaults.")
    for name, source in credentials.items():
        typer.echo(f"{'':9} {name:20} {'(hidden)' if source else '-':24} {escape(source or 'not configured')}")
    for place in unused:
        typer.echo(f"{'':9} {escape(place):20} {'-':24} not used under profile {escape(str(profile))}")


def _without_secrets(setting: Setting) -> Setting:
    """A setting as it may be shown: URLs and commands may hold passwords."""
    if setting.option not in ("notify", "on", "queue", "tap") or not setting.value:
        return setting
    if setting.option == "queue":
        from rtms_cli.fleet.queues import shown_queue

        return setting._replace(value=shown_queue(str(setting.value)))
    from rtms_cli.live.notifications import shown_endpoint
    from rtms_cli.live.programs import shown_command
    from rtms_cli.live.spec import shown_tap

    show = {"notify": shown_endpoint, "on": _shown_hook(shown_command), "tap": shown_tap}[setting.option]
    given = [setting.value] if isinstance(setting.value, str) else setting.value
    return setting._replace(value=[show(str(text)) for text in given])


def _shown_hook(shown_command: "Callable[[str], str]") -> "Callable[[str], str]":
    def show(text: str) -> str:
        event, sign, command = text.partition("=")
        return event + sign + shown_command(command)

    return show


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
