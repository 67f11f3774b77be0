"""Settings from files and the environment; `rtms config` shows which hold.

Options win over the environment (`RTMS_LISTEN_PORT`, or `RTMS_PORT` for every command that has it), that over
the chosen profile, that over `[tool.rtms]` in pyproject.toml, that over rtms.toml, and that over the user's own file:
see `station.profiles`. In a file, what stands before the first table is for every command where it means the same
(`out` is where recordings are, not what `export` makes of them), and a table (`[listen]`) for one. Credentials have
their own names: see `station.credentials`.

An option that may be given several times takes a list in a file; in the environment its values are separated by blanks,
or, where they have blanks themselves (`RTMS_ON`), stand one on a line. The variables of programs that rtms starts
(`RTMS_STREAM_ID`, …) sets no option.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rtms_cli.commands.listing import COMMANDS, load
from rtms_cli.commands.renamed import note, old_names
from rtms_cli.errors import Problem
from rtms_cli.station.profiles import VARIABLE, settings_in

if TYPE_CHECKING:
    from typer.core import TyperCommand, TyperOption

_SECRET = frozenset(("client-id", "client-secret", "secret-token"))
"""Options that files and `RTMS_…` do not set: credentials have one place."""
_APART = {
    "out": ("export",),
    "port": ("simulate", "replay", "web"),
    "audio": ("simulate",),
    "video": ("simulate",),
    "to": ("inspect", "export", "trigger"),
    "events": ("doctor",),  # to look at a subscription takes it away from the client that listens to it
    "drain": ("fleet",),  # an old name of its --retire
}
"""Commands where an option means something else than in others: what is set for every command is not for them."""


_BY_LINE = frozenset(("on", "tap"))
"""Options whose values have blanks in them: in the environment, each stands on a line."""
_TOLD = (
    *("EVENT", "FOLDER", "ID", "PRODUCT", "STATUS", "STREAM_ID", "USER_ID", "USER_NAME"),
    *("RATE", "CHANNELS", "FORMAT"),
)
_NO_SETTINGS = frozenset(
    (
        *("RTMS_DEBUG", VARIABLE, "RTMS_NOTIFY_SECRET", "RTMS_TAP_TOKEN", "RTMS_WEB_TOKEN", "RTMS_RUNTIME_DIR"),
        *(f"RTMS_{name}" for name in _TOLD),
    )
)
"""Variables that do not set options. Most of them are for the programs that rtms starts."""


class Setting(NamedTuple):
    """What one option of one command is set to, and where."""

    command: str
    option: str
    value: Any
    source: str
    """`rtms.toml`, `pyproject.toml`, the environment variable's name, or `default`."""
    old_name: str = ""
    """The option's old name, where the source uses that."""


class Defaults(NamedTuple):
    """What is set, by command and parameter."""

    values: dict[str, dict[str, Any]]
    """As the parser takes them."""
    sources: dict[str, dict[str, str]]
    """Where each value comes from; see `Setting.source`."""

    @staticmethod
    def read(folder: Path, environment: Mapping[str, str]) -> "Defaults":
        """Read them again, as `read_defaults` does: for a command, which must not import this module."""
        return read_defaults(folder, environment)


def read_defaults(
    folder: Path, environment: Mapping[str, str], on_old: Callable[[str, str, str], None] = note
) -> Defaults:
    """Everything that files and the environment set.

    Where nothing is set, as for most people, no command is imported to ask it for its options.

    :param on_old: called for each old name in use, with its source and the name of today.
    :raises Problem: for a file that cannot be read, and for a name that no option has.
    """
    tables = settings_in(folder)
    if not tables and not any(name.startswith("RTMS_") and name not in _NO_SETTINGS for name in environment):
        return Defaults({}, {})
    commands = plain_commands()
    defaults = Defaults({}, {})
    settings = read_settings(commands, tables, environment)
    for source, old, new in dict.fromkeys((one.source, one.old_name, one.option) for one in settings if one.old_name):
        on_old(source, old, new)
    for setting in settings:
        param = options_of(commands[setting.command])[setting.option]
        defaults.values.setdefault(setting.command, {})[str(param.name)] = setting.value
        defaults.sources.setdefault(setting.command, {})[str(param.name)] = setting.source
    return defaults


def read_settings(
    commands: "Mapping[str, TyperCommand]", tables: list[tuple[str, dict[str, Any]]], environment: Mapping[str, str]
) -> list[Setting]:
    """What is set; the last one for an option holds.

    :raises Problem: for a name that no option has.
    """
    found: list[Setting] = []
    for source, table in tables:
        for key, value in table.items():
            if isinstance(value, dict) and key in commands:
                found += [
                    _setting(commands[key], key, name, inner, f"{source} [{key}]") for name, inner in value.items()
                ]
                continue
            having = [command for command, parsed in commands.items() if _is_common(command, parsed, _named(key))]
            if not having:
                raise _unknown(key, source, {option for parsed in commands.values() for option in options_of(parsed)})
            found += [_setting(commands[command], command, key, value, source) for command in having]
    for command, parsed in commands.items():
        options = options_of(parsed)
        new_names = old_names(command) | {name: name for name in options}  # those of today come last, and win
        for name, new in new_names.items():
            param = options[new]
            common = [f"RTMS_{name}"] if _is_common(command, parsed, name) else []
            for variable in (*common, f"RTMS_{command}_{name}"):
                variable = variable.upper().replace("-", "_")
                text = environment.get(variable, "")  # an empty one is not set: `environment: RTMS_OUT=${OUT:-}`
                if text and variable not in _NO_SETTINGS:
                    value = _several(name, text) if param.multiple else text
                    found.append(Setting(command, new, value, variable, "" if new == name else name))
    return found


def _several(option: str, text: str) -> list[str]:
    """The values in a variable of an option that may be given several times."""
    return [line for line in text.splitlines() if line.strip()] if option in _BY_LINE else text.split()


def _named(key: str) -> str:
    """An option's name, also where it is written as Python would."""
    return key.replace("_", "-")


def options_of(command: "TyperCommand") -> "dict[str, TyperOption]":
    """A command's options, by the names that they have in files: `max-streams`."""
    named: dict[str, TyperOption] = {
        param.opts[0].lstrip("-"): param  # type: ignore[misc]
        for param in command.params
        if param.param_type_name == "option"
    }
    return {name: option for name, option in named.items() if name not in _SECRET and name not in ("help", "profile")}


def _is_common(name: str, command: "TyperCommand", option: str) -> bool:
    """Whether what is set for every command is for this one."""
    return (option in options_of(command) or option in old_names(name)) and name not in _APART.get(option, ())


def _setting(command: "TyperCommand", name: str, key: str, value: Any, source: str) -> Setting:
    option = old_names(name).get(_named(key), _named(key))
    if option not in options_of(command):
        raise _unknown(key, source, set(options_of(command)))
    if any(isinstance(one, str) and "\0" in one for one in (value if isinstance(value, list) else [value])):
        raise Problem(f"{source}: {key} contains a NUL character.", "Remove the \\u0000.")
    _check_kind(options_of(command)[option], key, value, source)
    if options_of(command)[option].multiple and isinstance(value, str):
        value = [value]
    return Setting(name, option, value, source, "" if option == _named(key) else _named(key))


def _check_kind(param: "TyperOption", key: str, value: Any, source: str) -> None:
    """Check that a value of TOML is of a kind that an option takes: what that may be, its own type says."""
    several = param.multiple or param.nargs != 1
    values = value if isinstance(value, list) and several else [value]
    if param.is_flag:
        is_good, wanted = isinstance(value, bool | str), "true or false"
    else:
        is_good = all(isinstance(one, str | int | float) and not isinstance(one, bool) for one in values)
        wanted = "a list of texts or numbers" if several else "a text or a number"
    if not is_good:
        kinds = {bool: "true or false", list: "a list", dict: "a table", int: "a number", float: "a number"}
        raise Problem(f"{source}: {key} is {kinds.get(type(value), 'a date or a time')}.", f"It has to be {wanted}.")


def _unknown(key: str, source: str, names: set[str]) -> Problem:
    if _named(key) in _SECRET:
        return Problem(
            f"{source} holds {key}: credentials do not belong there.", "Put them into the environment or .env."
        )
    if _named(key) in _APART:
        commands = " and ".join(f"[{command}]" for command in _APART[_named(key)])
        return Problem(f"{source}: {key} is not the same in every command.", f"Put it into {commands}.")
    near = difflib.get_close_matches(_named(key), names, 1)
    hint = f"Did you mean {near[0]}?" if near else "`rtms COMMAND --help` has the options."
    return Problem(f"{source}: there is no option {key}.", hint)


def plain_commands() -> "dict[str, TyperCommand]":
    """The commands of the program that have options of their own to set."""
    commands: dict[str, Any] = {name: load(name) for name in COMMANDS if name != "config"}
    return {name: command for name, command in commands.items() if not hasattr(command, "commands")}
