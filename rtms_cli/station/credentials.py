"""Credentials: from options, the environment or `.env`, in that order, and where each came from.

Under a profile they come from options or from that profile alone; see `station.profiles`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.signatures import Signature, handshake_signature
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.station.profiles import active_profile, read_profile, user_file
from rtms_cli.untrusted import is_file

MARKETPLACE = "In Zoom's App Marketplace: Develop → Build App → your app"


class Credential(Struct, frozen=True):
    """One value, and where it came from."""

    value: Secret
    source: str
    """`--client-id`, `ZOOM_CLIENT_ID`, `ZOOM_CLIENT_ID in .env`."""
    left_out: str = ""
    """What stood around the value in `.env` and belongs to no secret of Zoom's: `a ; at its end`."""


class Pair(Struct, frozen=True):
    """What signs handshakes: client id and secret, or SDK key and secret."""

    client_id: Credential
    client_secret: Credential


class Credentials(Struct, frozen=True):
    """Everything that is configured; `None` is what is not."""

    oauth: Pair | None = None
    video_sdk: Pair | None = None
    secret_token: Credential | None = None
    server_to_server: Pair | None = None
    """Id and secret of a Server-to-Server OAuth app, where tokens are asked for with another app than the one that
    streams."""
    video_sdk_api: Pair | None = None
    """API key and secret of the Video SDK, which sign REST calls."""
    account_id: Credential | None = None
    access_token: Credential | None = None
    """A token that the user has; nothing renews it."""

    def sources(self) -> dict[str, str | None]:
        """Where each credential came from, by its name; never its value."""
        found: dict[str, Credential | None] = {
            name: getattr(self, name) for name in ("secret_token", "account_id", "access_token")
        }
        for pair, names in (
            (self.oauth, ("client_id", "client_secret")),
            (self.video_sdk, ("video_sdk_key", "video_sdk_secret")),
            (self.server_to_server, ("s2s_client_id", "s2s_client_secret")),
            (self.video_sdk_api, ("video_sdk_api_key", "video_sdk_api_secret")),
        ):
            found[names[0]] = None if pair is None else pair.client_id
            found[names[1]] = None if pair is None else pair.client_secret
        return {name: None if one is None else one.source for name, one in found.items()}

    def pair_for(self, product: Product) -> Pair | None:
        """What signs handshakes of this product; each stands in for the other where only one is there."""
        if product is Product.VIDEO_SDK:
            return self.video_sdk or self.oauth
        return self.oauth or self.video_sdk

    def sign(self, stream: Stream) -> Signature:
        """A stream's handshake signature: made with the secret, or the payload's own if there is none.

        :raises Problem: if there is neither.
        """
        pair = self.pair_for(stream.product)
        if pair is not None:
            return handshake_signature(pair.client_id.value, pair.client_secret.value, stream.id, stream.stream_id)
        if stream.signature is not None:
            return stream.signature
        raise credentials_missing(stream.product)


def credentials_missing(product: Product) -> Problem:
    """What to tell where handshakes cannot be signed."""
    names = "ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"
    if product is Product.VIDEO_SDK:
        names = "ZOOM_VIDEO_SDK_KEY and ZOOM_VIDEO_SDK_SECRET"
    if (profile := active_profile()) is not None:
        return Problem(
            f"Profile {profile} has no credentials to sign the handshake with.",
            f"Put them into [profiles.{profile}.credentials] of {user_file()}.",
        )
    return Problem(
        "There are no credentials to sign the handshake with.",
        f"Set {names} in the environment or in .env. {MARKETPLACE} → App Credentials has both.",
    )


_NAMES = {
    "client_id": ("ZOOM_CLIENT_ID", "ZM_RTMS_CLIENT"),
    "client_secret": ("ZOOM_CLIENT_SECRET", "ZM_RTMS_SECRET"),
    "video_sdk_key": ("ZOOM_VIDEO_SDK_KEY",),
    "video_sdk_secret": ("ZOOM_VIDEO_SDK_SECRET",),
    "secret_token": ("ZOOM_SECRET_TOKEN",),
    "s2s_client_id": ("ZOOM_S2S_CLIENT_ID",),
    "s2s_client_secret": ("ZOOM_S2S_CLIENT_SECRET",),
    "video_sdk_api_key": ("ZOOM_VIDEO_SDK_API_KEY",),
    "video_sdk_api_secret": ("ZOOM_VIDEO_SDK_API_SECRET",),
    "account_id": ("ZOOM_ACCOUNT_ID",),
    "access_token": ("ZOOM_ACCESS_TOKEN",),
}
_IN_PROFILES = _NAMES | {
    "base": ("ZOOM_BASE",),
    "rtms_notify_secret": ("RTMS_NOTIFY_SECRET",),
    "rtms_tap_token": ("RTMS_TAP_TOKEN",),
    "rtms_web_token": ("RTMS_WEB_TOKEN",),
}
"""What a profile's credentials may be: what `.env` may hold."""
_VARIABLE = re.compile(r"\b(?:ZOOM|ZM|RTMS)_[A-Z][A-Z0-9_]*\b")
SECRETS = (
    *("client_secret", "video_sdk_secret", "secret_token"),
    *("s2s_client_secret", "video_sdk_api_secret", "access_token"),
)
"""Names of what nobody but us and Zoom may know."""


def variable_of(name: str) -> str:
    """The environment variable that sets a credential."""
    return _NAMES[name][0]


def load_credentials(options: Mapping[str, str | None] | None = None, env_file: Path = Path(".env")) -> Credentials:
    """Find the credentials.

    :param options: values given on the command line, by their names (`client_id`, …).
    :raises Problem: if one half of a pair is missing.
    """
    found: dict[str, Credential] = {}
    profile = active_profile()
    kept = {} if profile is None else read_profile(profile, _IN_PROFILES).credentials
    dotenv = _read_env_file(env_file) if profile is None else {}
    for name, variables in _NAMES.items():
        option = "--" + name.replace("_", "-")
        given = (options or {}).get(name)
        if given is not None:
            found[name] = Credential(Secret(given), option)
            continue
        if profile is not None:
            if name in kept:
                text, source, left_out = kept[name]
                found[name] = Credential(Secret(text), source, left_out)
            continue
        for variable in variables:
            if value := os.environ.get(variable):
                found[name] = Credential(Secret(value), variable)
            elif variable in dotenv:
                value, left_out = dotenv[variable]
                found[name] = Credential(Secret(value), f"{variable} in {env_file}", left_out)
            if name in found:
                break
    return Credentials(
        _pair(found, "client_id", "client_secret", "App Credentials"),
        _pair(found, "video_sdk_key", "video_sdk_secret", "SDK credentials"),
        found.get("secret_token"),
        _pair(found, "s2s_client_id", "s2s_client_secret", "App Credentials"),
        _pair(found, "video_sdk_api_key", "video_sdk_api_secret", "API credentials"),
        found.get("account_id"),
        found.get("access_token"),
    )


def unused_credentials(env_file: Path = Path(".env")) -> list[str]:
    """Where credentials are that the chosen profile keeps out: variables, and `.env`."""
    if active_profile() is None:
        return []
    names = [variable for variables in _NAMES.values() for variable in variables]
    return [*(name for name in names if os.environ.get(name)), *([str(env_file)] if _read_env_file(env_file) else [])]


def name_place(problem: Problem, env_file: Path = Path(".env")) -> None:
    """Put into a problem where things are set: a variable that it is about is in `.env`, or has to be in a profile."""
    if (profile := active_profile()) is not None:
        places = ("in the environment or in .env", "in the environment or .env", "(environment or .env)")
        for place in places:
            problem.remedy = problem.remedy.replace(place, f"in profile {profile}, {user_file()}")
        return
    try:
        known = _read_env_file(env_file)
    except Problem:  # which may be the one that we have
        return
    for variable in dict.fromkeys(_VARIABLE.findall(problem.what)):
        if variable in known and not os.environ.get(variable) and f"{variable} in " not in problem.what:
            problem.what = problem.what.replace(variable, f"{variable} in {env_file}", 1)


def find_secret(variable: str, env_file: Path = Path(".env")) -> Secret | None:
    """A secret that is not one of Zoom's: from the environment, or `.env`.

    Where a profile was chosen, it comes from there, or from the environment; a credential of Zoom's from there alone.

    :raises Problem: if `.env` cannot be read.
    """
    if (profile := active_profile()) is not None:
        name = next((name for name, variables in _IN_PROFILES.items() if variable in variables), "")
        kept = read_profile(profile, _IN_PROFILES).credentials.get(name)
        if kept is not None or name in _NAMES:
            return None if kept is None else Secret(kept[0])
    if value := os.environ.get(variable):
        return Secret(value)
    if profile is not None or not is_file(env_file):
        return None
    from rtms_cli.station.env_file import read_env_file

    found = read_env_file(env_file, [variable]).get(variable)
    return None if found is None else Secret(found[0])


def _pair(found: Mapping[str, Credential], first: str, second: str, page: str) -> Pair | None:
    if first not in found and second not in found:
        return None
    for missing, other in ((first, second), (second, first)):
        if missing not in found:
            raise Problem(
                f"{found[other].source} is set, but {_NAMES[missing][0]} is not.",
                f"{MARKETPLACE} → {page} has both.",
            )
    return Pair(found[first], found[second])


def _read_env_file(path: Path) -> dict[str, tuple[str, str]]:
    if not is_file(path):
        return {}
    from rtms_cli.station.env_file import read_env_file

    return read_env_file(path, [variable for variables in _NAMES.values() for variable in variables])
