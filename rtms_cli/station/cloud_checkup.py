"""What `rtms doctor` asks Zoom's cloud: the way there, the clock, tokens, and an event subscription.

What cannot be reached is unknown, not wrong.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

from rtms_cli.cloud.addresses import Addresses
from rtms_cli.cloud.answers import read_date
from rtms_cli.cloud.scopes import CONTROL_SCOPE, MEDIA_SCOPES, missing_scopes
from rtms_cli.cloud.tokens import Token, TokenError, TokenFlow, Tokens, TokenSource
from rtms_cli.machine import BROKEN
from rtms_cli.protocol.event_socket import (
    HEARTBEAT,
    ConnectionBuilt,
    EventDelivery,
    HeartbeatAnswer,
    read_event_message,
)
from rtms_cli.protocol.secrets import Secrets
from rtms_cli.protocol.webhooks import read_webhook
from rtms_cli.station.admission import described
from rtms_cli.station.checkup import Check
from rtms_cli.wire.dialer import UpgradeRefusedError, proxy_named
from rtms_cli.wire.driver import Dial, FinalConnectionError
from rtms_cli.wire.poster import NoAnswerError, request
from rtms_cli.wire.sockets import Socket

NETWORK_TIMEOUT_S = 5.0
MOST_SKEW_S = 60
HOLD_S = 8.0
"""How long a subscription is held, to see who else wants it: clients come back after 5 s and a bit."""
BUILT_S = 10.0
"""How long an open event WebSocket may say nothing at its beginning."""
ANSWER_S = 10.0
"""How long a heartbeat may have no answer."""
_CLOSE_S = 3.0
_MOST_NAMED = 3
_TOKEN_CODE = 1008
_FAULTS = (BROKEN, 1011, 1012, 1013, 1014)
"""Codes of a server that could not go on: any other one says that it did not want to."""
SUBSCRIPTION = "event subscription"


async def way_checks(addresses: Addresses, tls: ssl.SSLContext) -> list[Check]:
    """Whether Zoom's site can be reached, by which proxy, and what time it is there."""
    parts = urlsplit(addresses.oauth)
    is_encrypted = parts.scheme == "https"
    name = f"{'TLS' if is_encrypted else 'the way'} to {parts.netloc}"
    try:
        proxy = proxy_named(f"{'wss' if is_encrypted else 'ws'}://{parts.netloc}/")
    except FinalConnectionError as error:
        fix = "Fix http_proxy, https_proxy or all_proxy in the environment."
        return [Check("proxy", "wrong", str(error), fix)]
    via = f" through the proxy {proxy}" if proxy else ""
    try:
        answer = await request("HEAD", f"{parts.scheme}://{parts.netloc}/", b"", {}, NETWORK_TIMEOUT_S, tls)
    except NoAnswerError as error:
        if isinstance(error.__cause__, ValueError | ImportError):
            fix = "Fix http_proxy, https_proxy or all_proxy in the environment."
            return [Check("proxy", "wrong", str(error), fix)]
        if "certificate is not trusted" in str(error):
            fix = "Is there a proxy that intercepts TLS? Give its CA with --ca-file."
            return [Check(name, "wrong", f"{error}{via}", fix)]
        return [Check(name, "unknown", f"not reached{via}: {error}")]
    said = f"verified{via}; outgoing wss:// goes the same way" if is_encrypted else "not encrypted: a simulator"
    return [Check(name, "ok", said), _clock(parts.netloc, answer.headers.get("date", ""))]


def _clock(host: str, date: str) -> Check:
    there_s = read_date(date)
    if there_s is None:
        return Check("clock", "unknown", f"{host} does not send the time")
    skew_s = time.time() - there_s
    late = abs(skew_s) > MOST_SKEW_S
    fix = "Set it (NTP): webhooks whose timestamp is more than 300 s off are rejected." if late else ""
    return Check("clock", "wrong" if late else "ok", f"{abs(skew_s):.0f} s from {host}", fix)


async def token_checks(
    sources: Sequence[TokenSource], addresses: Addresses, tls: ssl.SSLContext | None, *, is_needed: bool
) -> tuple[list[Check], list[Token]]:
    """Whether each way to a token works, and what each token is good for.

    :param is_needed: whether someone asked for something that needs one; webhooks over HTTP do not.
    :returns: the checks, and the tokens.
    """
    tried: list[tuple[TokenFlow, Token | TokenError]] = []
    for source in sources:
        try:
            tried.append((source.flow, await Tokens([source], addresses, tls).fresh()))
        except TokenError as error:
            tried.append((source.flow, error))
    tokens = [token for _, token in tried if isinstance(token, Token)]
    checks: list[Check] = []
    for flow, told in tried:
        if isinstance(told, Token):
            checks += _of_token(told)
        else:
            checks.append(_refused(flow, told, tokens, is_needed=is_needed))
    return checks, tokens


def _of_token(token: Token) -> list[Check]:
    name = f"token by {token.flow}"
    if token.flow is TokenFlow.GIVEN:
        return [Check(name, "unknown", "set; only use shows whether Zoom accepts it")]
    life = "" if token.expires_in_s is None else f", valid for {token.expires_in_s / 60:.0f} min"
    return [Check(name, "ok", f"Zoom issued one{life}"), _scopes(token)]


def _refused(flow: TokenFlow, error: TokenError, others: Sequence[Token], *, is_needed: bool) -> Check:
    name, fix = f"token by {flow}", error.remedy
    if not error.is_final:
        return Check(name, "unknown", error.what, fix)
    if others:
        return Check(name, "unknown", error.what, f"The one by {others[0].flow} works.")
    if error.is_about_flow and not is_needed:
        return Check(name, "unknown", error.what, f"Webhooks need no token; --events and rtms start do. {fix}")
    return Check(name, "wrong", error.what, fix)


def _scopes(token: Token) -> Check:
    name = f"scopes by {token.flow}"
    if not token.scopes:
        return Check(name, "unknown", "Zoom's answer lists none")
    missing = missing_scopes(token.scopes)
    if not missing:
        return Check(name, "ok", "all of RTMS for meetings and webinars")
    uses = {scope: kind for kind, scope in MEDIA_SCOPES.items()} | {CONTROL_SCOPE: "rtms start"}
    lacking = ", ".join(f"{scope} ({uses[scope]})" for scope in missing)
    fix = "Add those that you want: Marketplace → your app → Scopes; then add the app again."
    if len(missing) < len(uses):
        return Check(name, "ok", f"{len(token.scopes)} in all; without {lacking}", fix)
    fix += " The streaming app needs the media scopes; an app that only starts the stream does not."
    return Check(name, "unknown", f"{len(token.scopes)} in all, none of RTMS: without {lacking}", fix)


async def subscription_check(
    dial: Dial, url: str, tokens: Sequence[Token], hold_s: float = HOLD_S, answer_s: float = ANSWER_S
) -> Check:
    """Whether an event subscription can be connected to, and whether someone else wants it.

    This takes it over from whoever holds it. Zoom does not say whether someone did, but who comes back takes it over
    from us.

    :param url: of the subscription, without a token.
    :param tokens: are tried in their order until one is taken.
    """
    if not tokens:
        return Check(SUBSCRIPTION, "unknown", "a connection needs a token")
    check = Check("", "", "")
    refused: list[str] = []
    for token in tokens:
        heard = _Heard([token.value for token in tokens])
        check, is_token = await _connected(dial, url, token, heard, hold_s, answer_s)
        if not is_token:
            break
        refused.append(token.flow)
    if refused and check.verdict == "ok":
        fix = f"The token by {' and by '.join(refused)} was not accepted; --token-flow {token.flow} skips it."
        return Check(SUBSCRIPTION, "ok", check.found, f"{fix} {check.fix}".rstrip())
    return check


async def _connected(
    dial: Dial, url: str, token: Token, heard: "_Heard", hold_s: float, answer_s: float
) -> tuple[Check, bool]:
    """Connect, look, and close.

    :returns: what was found, and whether it was the token that was refused.
    """
    try:
        socket = await dial(f"{url}&access_token={quote(token.value, safe='')}")
    except ConnectionError as error:
        is_refused = isinstance(error, UpgradeRefusedError) and 400 <= error.status < 500
        verdict = "wrong" if is_refused or isinstance(error, FinalConnectionError) else "unknown"
        return Check(SUBSCRIPTION, verdict, str(error), _COMPARE if is_refused else ""), is_refused
    socket.start(heard.on_messages, heard.on_closed)
    try:
        return await _look(socket, heard, token, hold_s, answer_s)
    finally:
        socket.close(1000, "")
        await heard.wait_closed(_CLOSE_S)


_COMPARE = (
    "Compare it with the Marketplace: your app → Feature → Event Subscriptions, method WebSocket; it must be of the "
    "app that the token is of."
)


async def _look(socket: Socket, heard: "_Heard", token: Token, hold_s: float, answer_s: float) -> tuple[Check, bool]:
    by = f"with a token by {token.flow}"
    if not await heard.wait_begun(BUILT_S):
        said = f"connected {by}, but nothing came within {BUILT_S:.0f} s"
        return Check(SUBSCRIPTION, "unknown", said, _COMPARE), False
    if heard.built is None or not heard.built.is_success:
        await heard.wait_closed(_CLOSE_S)  # its code tells why
        code, reason = heard.closed or (0, "")
        says = (heard.built.says if heard.built is not None else "") or reason
        is_token = code == _TOKEN_CODE or "token" in says.lower()
        why = f" ({says})" if says else ""
        said = f"refused {by}{why}, closed with code {code}" if code else f"refused {by}{why}"
        fix = "Is the token from the same app, and still valid? Or try another --token-flow." if is_token else _COMPARE
        return Check(SUBSCRIPTION, "wrong", said, fix), is_token
    since = asyncio.get_running_loop().time()
    socket.send(HEARTBEAT, binary=False)
    await heard.wait_closed(hold_s)
    held_s = asyncio.get_running_loop().time() - since
    if heard.closed is not None:
        return _closed(heard.closed[0], held_s, heard), False
    if not await heard.wait_alive(max(answer_s - held_s, 0)):
        return Check(
            SUBSCRIPTION, "unknown", f"connected {by}, but a heartbeat had no answer", heard.events_lost()
        ), False
    said = f"connected {by}; for {hold_s:g} s no other client took it over"
    return Check(SUBSCRIPTION, "ok", said, heard.events_lost()), False


def _closed(code: int, held_s: float, heard: "_Heard") -> Check:
    if code in _FAULTS:
        return Check(SUBSCRIPTION, "unknown", f"connected, but the connection broke after {held_s:.0f} s (code {code})")
    if code == _TOKEN_CODE:
        fix = "Did this app request a newer token elsewhere? Each process then needs its own app."
        return Check(SUBSCRIPTION, "wrong", f"connected, but the token was rejected after {held_s:.0f} s", fix)
    said = f"another client holds this subscription: it took it back after {held_s:.0f} s (code {code})"
    fix = f"Stop it, or give each an event subscription of its own. {heard.events_lost()}".rstrip()
    return Check(SUBSCRIPTION, "wrong", said, fix)


class _Heard:
    """What comes over a connection to a subscription; bounded, whatever comes.

    :param secrets: what is hidden where it comes back.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = Secrets(secrets)
        self.built: ConnectionBuilt | None = None
        self.closed: tuple[int, str] | None = None
        self._events = 0
        self._named: list[str] = []
        self._begun, self._alive, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def on_messages(self, raws: list[bytes]) -> None:
        for raw in raws:
            match read_event_message(self._secrets.hide(raw)):
                case ConnectionBuilt() as built:
                    self.built = self.built or built
                    self._begun.set()
                case HeartbeatAnswer(is_success=True):
                    self._alive.set()
                case EventDelivery(webhook=body):
                    self._events += 1
                    if len(self._named) < _MOST_NAMED:
                        self._named.append(described(read_webhook(body)))

    def on_closed(self, code: int, reason: str) -> None:
        self.closed = code, self._secrets.hide_text(reason)
        self._begun.set()
        self._over.set()

    async def wait_begun(self, at_most_s: float) -> bool:
        """Wait until the server has said whether it is connected, or has closed."""
        return await _in_time(self._begun, at_most_s)

    async def wait_alive(self, at_most_s: float) -> bool:
        """Wait until a heartbeat was answered."""
        return await _in_time(self._alive, at_most_s)

    async def wait_closed(self, at_most_s: float) -> bool:
        """Wait until it is closed."""
        return await _in_time(self._over, at_most_s)

    def events_lost(self) -> str:
        """What came for whoever listens to this subscription, and did not get there; empty if nothing did."""
        if not self._events:
            return ""
        more = ", …" if self._events > len(self._named) else ""
        came = "1 event" if self._events == 1 else f"{self._events} events"
        return f"What came meanwhile ({came}) goes nowhere else: {', '.join(self._named)}{more}."


async def _in_time(event: asyncio.Event, at_most_s: float) -> bool:
    if event.is_set():
        return True
    try:
        async with asyncio.timeout(at_most_s):
            return await event.wait()
    except TimeoutError:
        return False
