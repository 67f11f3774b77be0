"""Files with settings, and profiles in them: named sets of settings and credentials that are never mixed.

Settings come from the user's own file (`config.toml` in the platform's folder for settings), from rtms.toml and from
`[tool.rtms]` in pyproject.toml, in the folder that one is in; a later file wins. A table `[profiles.NAME]` in any of
them holds what is set only under that profile. `--profile` or `RTMS_PROFILE` chooses one.

Under a profile, credentials come from that profile or from options, and from nowhere else: not from the environment,
and not from `.env`. They stand in `[profiles.NAME.credentials]` of the user's file, which nobody else may read, or in
the file that the profile's `env-file` names.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from rtms_cli.errors import Problem, reason_of
from rtms_cli.untrusted import open_file, read_bounded

VARIABLE = "RTMS_PROFILE"
FILE = "rtms.toml"
PROJECT = "pyproject.toml"
_MOST_NBYTES = 1 << 20
_PROFILES, _CREDENTIALS, _ENV_FILE = "profiles", "credentials", "env-file"


class SettingsFile(Struct, frozen=True):
    """A file with settings."""

    source: str
    """What to call it."""
    folder: Path
    """Where it is; relative paths in it are meant from there."""
    table: dict[str, Any]
    is_users: bool = False
    """Whether it is the user's own file, where credentials may stand."""


class Profile(Struct, frozen=True):
    """A named set of settings and credentials."""

    name: str
    tables: list[tuple[str, dict[str, Any]]]
    """Settings with their source; a later one wins."""
    credentials: dict[str, tuple[str, str, str]]
    """Value, source, and what was left out around it, by the credential's name: `client_id`."""


def active_profile() -> str | None:
    """The name of the profile that was chosen; `None` if none was."""
    return os.environ.get(VARIABLE) or None


def user_file() -> Path:
    """The user's own file with settings, which need not be there."""
    from platformdirs import user_config_path

    return user_config_path("rtms", appauthor=False) / "config.toml"


def settings_files(folder: Path) -> Iterator[SettingsFile]:
    """The files that there are, the ones that win last.

    :param folder: the one that one is in; the files in it may be someone else's.
    :raises Problem: for one that cannot be read; where pyproject.toml cannot, that is its own tools' trouble.
    """
    users = user_file()
    for path, keys in ((users, ()), (folder / FILE, ()), (folder / PROJECT, ("tool", "rtms"))):
        source = _shown(path) if path == users else path.name
        table = _read(path, source, keys)
        if table:
            yield SettingsFile(source, path.parent, table, is_users=path == users)


def settings_in(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The settings that hold: those of the files, and last those of the chosen profile.

    :raises Problem: for a file that cannot be read, and for a profile that is not there.
    """
    found = list(settings_files(folder))
    tables = [(one.source, {key: value for key, value in one.table.items() if key != _PROFILES}) for one in found]
    if (name := active_profile()) is not None:
        tables += _profile(name, found, {}).tables
    return [(source, table) for source, table in tables if table]


def read_profile(name: str, names: Mapping[str, tuple[str, ...]], folder: Path = Path()) -> Profile:
    """A profile, with its credentials.

    :param names: the variables that set each credential in an `env-file`, by the credential's name.
    :raises Problem: if it is not there, or holds what it cannot.
    """
    return _profile(name, list(settings_files(folder)), names)


def _profile(name: str, files: list[SettingsFile], names: Mapping[str, tuple[str, ...]]) -> Profile:
    profile, known = Profile(name, [], {}), set[str]()
    is_there, keepers = False, list[str]()
    for one in files:
        profiles = one.table.get(_PROFILES, {})
        if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
            raise Problem(f"{one.source}: [{_PROFILES}] does not hold tables.", f"Write [{_PROFILES}.{name}].")
        known |= profiles.keys()
        if name not in profiles:
            continue
        is_there = True
        table, source = dict(profiles[name]), f"{one.source} [{_PROFILES}.{name}]"
        given, env_file = table.pop(_CREDENTIALS, None), table.pop(_ENV_FILE, None)
        profile.tables.append((source, table))
        if env_file is not None:
            keepers.append(f"{_ENV_FILE} of {source}")
            profile.credentials.update(_from_env_file(one, source, env_file, names))
        if given is not None:
            keepers.append(f"{_CREDENTIALS} of {source}")
            profile.credentials.update(_from_table(one, source, given, names))
    if not is_there:
        listed = f"There is {', '.join(sorted(known))}." if known else f"Write [{_PROFILES}.{name}] into {user_file()}."
        raise Problem(f"There is no profile {name}.", listed)
    if len(keepers) > 1:
        what = f"Profile {name} has credentials in {len(keepers)} places: {' and '.join(keepers)}."
        raise Problem(what, "Keep them in one place, so that those of two apps are never mixed.")
    return profile


def _from_env_file(
    one: SettingsFile, source: str, name: object, names: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, str, str]]:
    if not isinstance(name, str):
        raise Problem(f"{source}: {_ENV_FILE} is not a file's name.", f'{_ENV_FILE} = "prod.env"')
    if not names:
        return {}
    try:
        path = one.folder / Path(name).expanduser()
    except RuntimeError:  # ~nobody
        path = one.folder / name
    if not path.is_file():
        raise Problem(f"{source}: {_ENV_FILE} {path} is not there.", "Name a file of lines such as ZOOM_CLIENT_ID=…")
    from rtms_cli.station.env_file import read_env_file

    found = read_env_file(path, [variable for variables in names.values() for variable in variables])
    return {
        credential: (found[variable][0], f"{variable} in {_shown(path)}", found[variable][1])
        for credential, variables in names.items()
        for variable in reversed(variables)
        if variable in found
    }


def _from_table(
    one: SettingsFile, source: str, given: object, names: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, str, str]]:
    if not one.is_users:
        raise Problem(f"{source} holds credentials, which do not belong there.", f"Put them into {user_file()}.")
    if user_file().stat().st_mode & 0o077:
        raise Problem(f"{one.source} holds credentials, and others may read it.", f"chmod 600 {one.source}")
    if not isinstance(given, dict):
        raise Problem(f"{source}: {_CREDENTIALS} is not a table.", f"Write [{_PROFILES}.NAME.{_CREDENTIALS}].")
    found = {}
    for key, value in given.items():
        credential = key.lower().replace("-", "_").removeprefix("zoom_")
        if names and credential not in names:
            raise Problem(f"{source}: there is no credential {key}.", f"Use {', '.join(names)}.")
        if not isinstance(value, str) or not value:
            raise Problem(f"{source}: the credential {key} is not a text.", "Put it into quotation marks.")
        found[credential] = (value, f"{source} {key}", "")
    return found


def _read(path: Path, source: str, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        content = read_bounded(open_file(path, follows=True), _MOST_NBYTES)
        if keys and keys[-1].encode() not in content.replace(b"\0", b""):
            return {}  # parsing it just for that takes long
        from rtms_cli.protocol.saved import read_toml

        table: Any = read_toml(content)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        if keys:
            return {}  # someone else's file, and someone else's trouble
        if isinstance(error, OSError):
            raise Problem(f"{source} cannot be read: {reason_of(error)}.", "Move it away.") from None
        raise Problem(f"{source} cannot be read: {error}.", "It is TOML, as in https://toml.io.") from None
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _shown(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
