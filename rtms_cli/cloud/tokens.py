"""Access tokens for Zoom's REST API and event WebSocket: asked for, kept in memory, never shown (PROTOCOL §12)."""

import asyncio
import base64
import ssl
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from urllib.parse import urlencode, urlsplit

from msgspec import Struct

from rtms_cli.cloud.addresses import Addresses
from rtms_cli.cloud.answers import Told, read_told
from rtms_cli.errors import Exit, Problem
from rtms_cli.protocol.fields import text_or_none
from rtms_cli.protocol.numbers import as_int
from rtms_cli.protocol.secrets import Secret
from rtms_cli.wire.hosts import is_zooms
from rtms_cli.wire.poster import Answer, NoAnswerError, request

TIMEOUT_S = 15.0
"""How long an answer may take."""
SPARE_S = 60
"""How long a token must still be valid to be used again."""
_LIFE_S = 3600
"""How long a token lives that does not say so: Zoom's do for an hour."""
_LONGEST_LIFE_S = 10 * 365 * 86_400
_LONGEST_TOKEN = 16_384
_MOST_SCOPES, _LONGEST_SCOPE = 1000, 200


class TokenFlow(StrEnum):
    """How to obtain a token."""

    CLIENT = "client_credentials"
    ACCOUNT = "account_credentials"
    GIVEN = "access_token"


class Token(Struct, frozen=True):
    """An access token."""

    value: Secret
    flow: TokenFlow
    expires_in_s: int | None = None
    """How long it is valid after it was issued; `None` if unknown."""
    scopes: tuple[str, ...] = ()
    """What it may be used for; empty if that is not said."""
    api_url: str | None = None
    """What the URLs of REST calls begin with, where Zoom names another host than the usual one."""


class TokenSource(Struct, frozen=True):
    """One way to have a token, with what it needs."""

    flow: TokenFlow
    client_id: str = ""
    client_secret: Secret = Secret()
    account_id: str = ""
    token: Secret = Secret()
    origin: str = ""
    """Where the id and the secret, or the token, are set, for people: `ZOOM_CLIENT_ID in .env`."""


class TokenError(Problem):
    """There is no token.

    :param is_final: whether a further try would end the same way.
    :param is_temporary: whether Zoom itself says that it may work later.
    :param retry_after_s: how long to wait before that, where Zoom says so.
    :param is_about_flow: whether the app may have tokens, but not by this flow.
    """

    def __init__(
        self,
        what: str,
        remedy: str = "",
        *,
        is_final: bool = True,
        is_temporary: bool = False,
        retry_after_s: float | None = None,
        is_about_flow: bool = False,
        exit_code: Exit = Exit.REFUSED,
    ) -> None:
        super().__init__(what, remedy, exit_code)
        self.is_about_flow = is_about_flow
        self.is_final = is_final
        self.is_temporary = is_temporary
        self.retry_after_s = retry_after_s


class TokenRequest(Struct, frozen=True):
    """What to post to have a token."""

    url: str
    headers: dict[str, str]
    body: bytes


def token_request(source: TokenSource, addresses: Addresses) -> TokenRequest:
    """What asks for a token; not for one that the user gave."""
    form = {"grant_type": source.flow.value}
    if source.flow is TokenFlow.ACCOUNT:
        form["account_id"] = source.account_id
    basic = base64.b64encode(f"{source.client_id}:{source.client_secret}".encode("utf-8", "replace")).decode()
    headers = {
        "authorization": f"Basic {basic}",
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    return TokenRequest(addresses.oauth, headers, urlencode(form).encode())


def given_token(source: TokenSource) -> Token:
    """The token that the user gave.

    :raises TokenError: if it cannot be one.
    """
    if not _is_token(source.token):
        raise TokenError(
            f"{source.origin or 'ZOOM_ACCESS_TOKEN'} is not a token: it has blanks, line breaks "
            "or characters that a token cannot have.",
            "Copy it again, without the text around it.",
            exit_code=Exit.USAGE,
        )
    return Token(source.token, TokenFlow.GIVEN)


def read_token(answer: Answer, source: TokenSource, addresses: Addresses, now_s: float) -> Token:
    """Read the answer to a `token_request`. Any answer gives a token or the error, and no secret is in that.

    :param now_s: the time, as Unix seconds.
    :raises TokenError: if there is no token in it.
    """
    basic = token_request(source, addresses).headers["authorization"].removeprefix("Basic ")
    told = read_told(answer, now_s, (source.client_secret, basic))
    if not 200 <= told.status < 300:
        raise _refusal(told, source)
    value = text_or_none(told.fields.get("access_token"))
    if value is None and (told.error or told.code is not None):
        raise _refusal(told, source)
    if value is None or not _is_token(value):
        is_zooms_answer = told.is_json and not told.is_page
        raise TokenError(
            f"{_host(addresses.oauth)} answered {told.status}, but with no token in it"
            + (", a page of HTML." if told.is_page else "."),
            "Check ZOOM_OAUTH_URL." if is_zooms_answer else f"{_PROXY} {_LOGIN}",
            is_final=is_zooms_answer,
        )
    seconds = as_int(told.fields.get("expires_in"))
    return Token(
        Secret(value),
        source.flow,
        seconds if seconds is not None and 0 < seconds < _LONGEST_LIFE_S else None,
        read_scopes(told.fields.get("scope")),
        None if addresses.is_given else read_api_url(told.fields.get("api_url")),
    )


def read_scopes(given: object) -> tuple[str, ...]:
    """The scopes in a token's answer: a text of words, or a list."""
    words = given.replace(",", " ").split() if isinstance(given, str) else given if isinstance(given, list) else []
    scopes = [one for one in words if isinstance(one, str) and len(one) <= _LONGEST_SCOPE and one.isprintable()]
    return tuple(dict.fromkeys(scopes[:_MOST_SCOPES]))


def read_api_url(given: object) -> str | None:
    """What REST calls begin with where a token's answer names a host of Zoom's; of anything else, `None`."""
    if not isinstance(given, str) or len(given) > _LONGEST_SCOPE:
        return None
    try:
        parts = urlsplit(given.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    is_plain = parts.username is None and parts.password is None and port in (None, 443)
    if host is None or parts.scheme != "https" or not is_plain or not is_zooms(host):
        return None
    return f"https://{host}/v2"


def no_answer(error: NoAnswerError, source: TokenSource, addresses: Addresses) -> TokenError:
    """What to tell where nobody answered."""
    return TokenError(
        f"{_host(addresses.oauth)} cannot be reached for a token by {source.flow}: {error}.",
        _PROXY,
        is_final=False,
    )


def all_refused(errors: Sequence[TokenError]) -> TokenError:
    """What to tell where every way to a token was refused."""
    if len(errors) == 1:
        return errors[0]
    what = " ".join(error.what for error in errors)
    remedies = list(dict.fromkeys(error.remedy for error in errors if error.remedy))
    return TokenError(what, " Or: ".join(remedies), is_final=all(error.is_final for error in errors))


class Tokens:
    """Gives tokens, and asks for new ones; they are kept in memory only.

    :param sources: the ways to have one, in the order in which they are tried.
    :param tls: how to verify Zoom's servers; `None` is the system's way.
    :param now: seconds on a clock that never jumps.
    """

    def __init__(
        self,
        sources: Sequence[TokenSource],
        addresses: Addresses,
        tls: ssl.SSLContext | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = addresses
        self._sources = list(sources)
        self._tls = tls
        self._now = now
        self._last: Token | None = None
        self._until = 0.0
        self._asking = asyncio.Lock()

    @property
    def flows(self) -> tuple[TokenFlow, ...]:
        """The ways that are tried, in their order."""
        return tuple(source.flow for source in self._sources)

    @property
    def last(self) -> Token | None:
        """The token that was given last."""
        return self._last

    def forget(self) -> bool:
        """Have `current` ask for a new token; says whether there can be one: the user's is always the same."""
        self._until = 0.0
        return self._last is not None and self._last.flow is not TokenFlow.GIVEN

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What nobody may see of the ways to a token."""
        return tuple(secret for source in self._sources for secret in (source.client_secret, source.token) if secret)

    def but(self, flow: TokenFlow) -> "Tokens | None":
        """The same without one way to a token, where another is left."""
        rest = [source for source in self._sources if source.flow is not flow]
        return Tokens(rest, self.addresses, self._tls, now=self._now) if rest else None

    async def current(self) -> Token:
        """The last token while it is valid for a minute more, else a new one.

        :raises TokenError: if there is none.
        """
        async with self._asking:
            if self._last is not None and self._now() < self._until:
                return self._last
            return await self._ask()

    async def fresh(self) -> Token:
        """A new token; the one that the user gave is always the same.

        :raises TokenError: if there is none.
        """
        async with self._asking:
            return await self._ask()

    async def _ask(self) -> Token:
        if not self._sources:
            raise TokenError(
                "There is nothing to ask Zoom for a token with.",
                "Set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET in the environment or in .env; for a Server-to-Server OAuth "
                "app, ZOOM_ACCOUNT_ID too.",
                exit_code=Exit.USAGE,
            )
        refused: list[TokenError] = []
        for source in list(self._sources):
            try:
                token = await self._ask_by(source)
            except TokenError as error:
                if not error.is_final:
                    raise  # another way would not get through either, and might be granted less
                refused.append(error)
                continue
            self._sources.remove(source)  # what works is tried first from now on
            self._sources.insert(0, source)
            life_s = _LIFE_S if token.expires_in_s is None else token.expires_in_s
            self._last, self._until = token, self._now() + life_s - SPARE_S
            return token
        raise all_refused(refused)

    async def _ask_by(self, source: TokenSource) -> Token:
        if source.flow is TokenFlow.GIVEN:
            return given_token(source)
        asked = token_request(source, self.addresses)
        try:
            answer = await request("POST", asked.url, asked.body, asked.headers, TIMEOUT_S, self._tls)
        except NoAnswerError as error:
            raise no_answer(error, source, self.addresses) from None
        return read_token(answer, source, self.addresses, time.time())


def _is_token(text: str) -> bool:
    """Whether a text can stand in a header: one that cannot would be shown by whoever complains about it."""
    return 0 < len(text) <= _LONGEST_TOKEN and text.isascii() and text.isprintable() and " " not in text


def _host(url: str) -> str:
    return urlsplit(url).netloc


_PROXY = "Check the network, HTTPS_PROXY and --ca-file: `rtms doctor` tries them."
_LOGIN = "A network with a page to log in to answers like this too."
_CREDENTIALS = "Compare {origin} and its secret with the Marketplace → your app → App Credentials."
_SUPPORT = "Try again; if it persists, send the tracking ID to Zoom's support."
_CAUSES: dict[int | str, tuple[str, str]] = {
    4700: ("the request or a token in it is missing or wrong, or Zoom had an internal error", _SUPPORT),
    4702: ("there is no app with this client id, or the secret is another app's", _CREDENTIALS),
    4704: ("the client id and the secret do not belong together", _CREDENTIALS),
    4705: (
        "this kind of app cannot use this flow",
        "Choose another with --token-flow: account_credentials is for Server-to-Server OAuth apps, and needs "
        "ZOOM_ACCOUNT_ID.",
    ),
    4706: ("the client id, the secret or the flow did not arrive", f"{_CREDENTIALS} A proxy may drop Authorization."),
    4709: ("the redirect URL is not the app's", "Choose a flow without one: --token-flow client_credentials."),
    4711: (
        "the token's scopes are not the app's",
        "Check the scopes: Marketplace → your app → Scopes; add the app again afterwards.",
    ),
    4717: ("the app is disabled", "Activate it: Marketplace → your app → Activation; otherwise ask Zoom's support."),
    4724: ("the JWT is not valid", "Check the key and the secret that sign it, and this machine's clock."),
    4732: ("Zoom could not look something up", _SUPPORT),
    4733: ("the authorization code is older than 5 minutes", "Authorize the app again, and use the token at once."),
    4734: ("the authorization code is wrong", "Authorize the app again."),
    4735: ("the token's user does not exist any more", "Ask a user in the account to add the app again."),
    4737: (
        "Zoom does not know the token any more",
        "Add the app again: Marketplace → your app → Local Test → Add App.",
    ),
    4738: (
        "an admin has disabled the app's tokens",
        "Ask an admin to approve it: Marketplace → Manage → Apps on Account.",
    ),
    4740: (
        "the token was renewed too often",
        "Add the app again: Marketplace → your app → Local Test.",
    ),
    4741: (
        "a newer token has taken this one's place",
        "Use the newest one; each process needs an app of its own where Zoom revokes the older token.",
    ),
    "invalid_client": ("the client id or the secret is wrong, or the app is not active", _CREDENTIALS),
    "invalid_request": (
        "something in the request is wrong; with account_credentials mostly ZOOM_ACCOUNT_ID",
        "Compare ZOOM_ACCOUNT_ID with the Marketplace → your Server-to-Server OAuth app → App Credentials.",
    ),
    "invalid_grant": (
        "what was given in exchange is wrong, used or too old",
        "Add the app again, or use another flow.",
    ),
    "invalid_scope": ("the app does not have what was asked for", "Add the scopes: Marketplace → your app → Scopes."),
    "invalid_token": ("the token is wrong or too old", "Get a new one."),
    "access_denied": (
        "the account does not allow it",
        "Ask an admin to allow the app: Marketplace → Manage → Apps on Account.",
    ),
}
_CAUSES["unsupported_grant_type"] = _CAUSES["unauthorized_client"] = _CAUSES[4705]
_NO_CAUSE = ("Zoom's reason is not documented", _SUPPORT)
_LOOKUP_FAILED = 4732


def cause_of(told: Told) -> tuple[str, str]:
    """Why Zoom gives no token, or does not take one, and what to change: two texts, in words.

    `{origin}` in the second stands for where the client id is set.
    """
    for key in (told.code, told.error.lower()):
        if key is not None and key in _CAUSES:
            return _CAUSES[key]
    return _NO_CAUSE


def _refusal(told: Told, source: TokenSource) -> TokenError:
    by = f"by {source.flow}"
    if told.is_temporary:
        why = "there were too many requests" if told.status == 429 else "something is wrong on Zoom's side"
        return TokenError(
            f"Zoom does not issue a token now, {by}: {told.named()}: {why}.",
            "Try again later." if told.retry_after_s is None else f"Try again in {told.retry_after_s:.0f} s.",
            is_final=False,
            is_temporary=True,
            retry_after_s=told.retry_after_s,
        )
    if told.status < 400 and not told.is_json:
        return TokenError(
            f"A token was requested {by}, and the answer was not Zoom's: {told.named()}.",
            f"{_PROXY} {_LOGIN}",
            is_final=False,
        )
    cause, remedy = cause_of(told)
    if told.code is None and not told.error:
        cause, remedy = ("the answer has no details", "Check ZOOM_OAUTH_URL and proxies: `rtms doctor`.")
    return TokenError(
        f"Zoom does not issue a token {by}: {told.named()}: {cause}.",
        remedy.replace("{origin}", source.origin or "ZOOM_CLIENT_ID"),
        is_final=told.code != _LOOKUP_FAILED,
        is_about_flow=cause == _CAUSES[4705][0],
    )
