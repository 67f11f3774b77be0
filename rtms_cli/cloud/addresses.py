"""Where Zoom's cloud is: the public one, the one for governments, or a simulator."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from rtms_cli.errors import Problem
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.wire.hosts import is_loopback

PUBLIC, GOVERNMENT = "zoom.us", "zoomgov.com"
BASE_VARIABLE = "ZOOM_BASE"
OAUTH_VARIABLE, API_VARIABLE, EVENTS_VARIABLE = "ZOOM_OAUTH_URL", "ZOOM_API_URL", "ZOOM_EVENTS_URL"
_TOKEN_PATH, _API_PATH, _EVENTS_PATH = "/oauth/token", "/v2", "/ws"  # no password


class Addresses(Struct, frozen=True):
    """Where each part is asked."""

    base: str
    """`zoom.us`, or `zoomgov.com`: what Zoom's hosts end with."""
    oauth: str
    """The whole URL that gives tokens."""
    api: str
    """What the URLs of REST calls begin with, without a slash at its end."""
    events: str
    """The event WebSocket's URL, without a query."""
    is_given: bool = False
    """Whether the user named the API, so that no token's answer may name another one."""

    @property
    def site(self) -> str:
        """Zoom's own web site."""
        return f"https://{self.base}/"

    @property
    def marketplace(self) -> str:
        """Where apps are set up."""
        return f"https://marketplace.{self.base}/"

    def events_url(self, subscription: str) -> str:
        """The URL to connect to for a subscription, without a token.

        :param subscription: its id, or the whole URL that Zoom's Marketplace shows.
        :raises Problem: if it is neither.
        """
        given = subscription.strip()
        if "://" not in given:
            if not given or any(character.isspace() or character in "/?&#=" for character in given):
                raise Problem(
                    f"--events {redact_url(given)[:200]} is not a subscription's id.",
                    f"Give the id, or all of wss://ws.{self.base}/ws?subscriptionId=… from the Marketplace: your app → "
                    "Feature → Event Subscriptions.",
                )
            return f"{self.events}?subscriptionId={quote(given, safe='')}"
        _check("--events", given, ("wss", "ws"))
        parts = urlsplit(given)
        query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "access_token"]
        if not any(name == "subscriptionId" and value for name, value in query):
            raise Problem(
                f"--events {redact_url(given)[:200]} names no subscription.",
                "Its URL has ?subscriptionId=… at its end.",
            )
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))


def find_addresses(
    environment: Mapping[str, str], *, is_government: bool = False, cloud_url: str | None = None
) -> Addresses:
    """Find out where Zoom's cloud is.

    :param is_government: whether it is Zoom for Government; else `ZOOM_BASE` says so.
    :param cloud_url: where a simulator is that plays all of it; else `ZOOM_OAUTH_URL`, `ZOOM_API_URL` and
        `ZOOM_EVENTS_URL` name its parts.
    :raises Problem: for an address that is not valid, and for one that is not encrypted and not on this machine.
    """
    base = GOVERNMENT if is_government else environment.get(BASE_VARIABLE, "").strip().lower() or PUBLIC
    if base not in (PUBLIC, GOVERNMENT):
        raise Problem(f"{BASE_VARIABLE}={base[:100]} is not a cloud of Zoom's.", f"Use {PUBLIC} or {GOVERNMENT}.")
    if cloud_url is not None:
        _check("--cloud-url", cloud_url, ("https", "http"))
        root = cloud_url.rstrip("/")
        return Addresses(
            base, f"{root}{_TOKEN_PATH}", f"{root}{_API_PATH}", f"ws{root.removeprefix('http')}{_EVENTS_PATH}", True
        )
    api = _found(environment, API_VARIABLE, ("https", "http"), _API_PATH)
    return Addresses(
        base,
        _found(environment, OAUTH_VARIABLE, ("https", "http"), _TOKEN_PATH) or f"https://{base}{_TOKEN_PATH}",
        api or f"https://api.{base}{_API_PATH}",
        _found(environment, EVENTS_VARIABLE, ("wss", "ws"), _EVENTS_PATH) or f"wss://ws.{base}{_EVENTS_PATH}",
        api is not None,
    )


def _found(environment: Mapping[str, str], variable: str, schemes: tuple[str, str], path: str) -> str | None:
    given = environment.get(variable, "").strip().rstrip("/")
    if not given:
        return None
    _check(variable, given, schemes)
    return given if urlsplit(given).path else f"{given}{path}"


def _check(name: str, url: str, schemes: tuple[str, str]) -> None:
    """Check an address.

    :param schemes: the encrypted one, and the plain one, which is for this machine only.
    :raises Problem: if it cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in schemes:
        raise Problem(f"{name} {redact_url(url)[:200]} is not a {schemes[0]}:// URL.", "Give the whole URL.")
    if parts.username is not None or parts.password is not None:
        raise Problem(f"{name} has credentials in it.", "Remove them: rtms requests tokens.")
    if parts.scheme == schemes[1] and not is_loopback(host):
        raise Problem(
            f"{name} {redact_url(url)[:200]} is not encrypted, and not on this machine.",
            f"Use {schemes[0]}://: a token is sent there.",
        )
