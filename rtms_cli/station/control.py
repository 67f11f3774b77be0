"""Has Zoom start and stop streams: a token, the request, and patience with what passes (PROTOCOL §12)."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

from rtms_cli.cloud.addresses import Addresses
from rtms_cli.cloud.answers import Told, read_told
from rtms_cli.cloud.rest import Kind, Order, RestError, read_result, rest_call, sdk_token
from rtms_cli.cloud.tokens import Token, TokenError, Tokens
from rtms_cli.errors import Exit, Problem
from rtms_cli.protocol.numbers import Product
from rtms_cli.protocol.secrets import Secret
from rtms_cli.station.credentials import Pair
from rtms_cli.wire.poster import NoAnswerError, request

TIMEOUT_S = 20.0
"""How long an answer may take."""
WAIT_S = 60.0
"""How long to go on trying, unless someone says otherwise: a meeting that was opened a moment ago is in progress for
Zoom within seconds, and who waits longer for one that never begins wants to know."""
_FIRST_S = 1.0
_NOT_YET_S, _PASSING_S = 5.0, 30.0
"""The longest time between tries; before that it doubles from a second. A client that waits for a meeting for longer
than a minute hears of it by a tenth of that time later, and Zoom, which counts requests, is asked less often."""


class Accepted(Struct, frozen=True):
    """Zoom took an order. That a stream has started, only its webhook proves."""

    order: Order
    told: Told
    flow: str
    """How the token was obtained: `client_credentials`, …, `jwt`."""
    tries: int


class Control:
    """Gives orders to Zoom's REST API.

    :param tokens: give tokens; the Video SDK needs none.
    :param sdk: API key and secret of the Video SDK.
    :param tls: how to verify Zoom's servers; `None` is the system's way.
    :param now: seconds on a clock that never jumps.
    :param sleep: waits for this many seconds of it.
    """

    def __init__(
        self,
        addresses: Addresses,
        tokens: Tokens | None,
        sdk: Pair | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._sdk = sdk
        self._tls = tls
        self._now = now
        self._sleep = sleep
        self._is_renewed = False

    def check(self, order: Order) -> None:
        """Check that there is such a request, and that everything is set that it takes.

        :raises Problem: if it is not.
        """
        rest_call(order, self._addresses.api)
        if order.target.product is Product.VIDEO_SDK and self._sdk is None:
            raise Problem(
                "The Video SDK's REST API needs its API key and secret, which are not the SDK's.",
                "Set ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET in the environment or in .env.",
            )

    async def give(
        self, order: Order, wait_s: float = WAIT_S, tell: Callable[[str], None] = lambda line: None
    ) -> Accepted:
        """Give an order, and try again for some time where that may help.

        What is not in progress yet, too many requests and errors of Zoom's are tried again; a refused token leads to a
        new one, and then to the next way to have one. Where nobody answers the first time, that is told at once.

        :param wait_s: for how many seconds; 0 tries once.
        :param tell: is told, in a line, what is waited for.
        :raises Problem: if Zoom does not take it: `TokenError`, `RestError`, or `Problem` where nobody answers.
        """
        self.check(order)
        began, tries, was_answered = self._now(), 0, False
        refused: list[RestError] = []
        while True:
            tries += 1
            try:
                return await self._try(order, tries)
            except TokenError as error:
                if error.is_final:
                    raise refused[0] if refused else error from None
                problem: Problem = error
                was_answered = was_answered or error.is_temporary
            except RestError as error:
                was_answered, problem = True, error
                if error.kind is Kind.TOKEN and self._take_another(error, tell):
                    refused.append(error)
                    continue
                if error.kind in (Kind.TOKEN, Kind.FINAL):
                    raise _with_earlier(error, refused) from None
            except Problem as error:
                problem = error
            if not was_answered:
                raise problem
            await self._wait(problem, tries, self._now() - began, wait_s, tell)

    async def _try(self, order: Order, tries: int) -> Accepted:
        bearer, flow, api = await self._bearer(order)
        call = rest_call(order, api)
        headers = {"authorization": f"Bearer {bearer}", "accept": "application/json"}
        if call.body:
            headers["content-type"] = "application/json"
        try:
            answer = await request(call.method, call.url, call.body, headers, TIMEOUT_S, self._tls)
        except NoAnswerError as error:
            raise Problem(
                f"{api} cannot be reached: {error}.",
                "Check the network, HTTPS_PROXY and --ca-file: `rtms doctor` tries them.",
                Exit.REFUSED,
            ) from None
        secrets = [
            bearer,
            *(self._tokens.secrets if self._tokens else ()),
            self._sdk.client_secret.value if self._sdk else "",
        ]
        told = read_told(answer, time.time(), secrets)
        read_result(told, order, self._addresses.base)
        return Accepted(order, told, flow, tries)

    async def _bearer(self, order: Order) -> tuple[Secret, str, str]:
        """A token, how it was obtained, and what the URL begins with.

        :raises TokenError: if there is none.
        """
        if order.target.product is Product.VIDEO_SDK:
            assert self._sdk is not None, "it was checked"
            key, secret = self._sdk.client_id.value, self._sdk.client_secret.value
            return sdk_token(key, secret, time.time()), "jwt", self._addresses.api
        assert self._tokens is not None
        token = await self._tokens.current()
        return token.value, token.flow, _api(token, self._addresses)

    def _take_another(self, error: RestError, tell: Callable[[str], None]) -> bool:
        """Turn to another token, where there is one."""
        tokens = self._tokens
        if tokens is None or tokens.last is None:
            return False
        flow = tokens.last.flow
        if error.told.status == 401 and not self._is_renewed and tokens.forget():
            self._is_renewed = True  # it may have been revoked by who asked for one after us
            return True
        rest = tokens.but(flow)
        if rest is None:
            return False
        tell(f"not by {flow}: {error.what}")
        self._tokens = rest
        return True

    async def _wait(
        self, problem: Problem, tries: int, passed_s: float, wait_s: float, tell: Callable[[str], None]
    ) -> None:
        """Wait for the next try.

        :raises Problem: the problem, if there is no time for one.
        """
        left_s, asked_s, most_s = wait_s - passed_s, None, _PASSING_S
        match problem:
            case RestError(kind=kind, told=told):
                asked_s = told.retry_after_s
                most_s = min(max(_NOT_YET_S, passed_s / 10), _PASSING_S) if kind is Kind.NOT_YET else _PASSING_S
            case TokenError(retry_after_s=retry_after_s):
                asked_s = retry_after_s
        if left_s <= 0 or (asked_s is not None and asked_s > left_s):
            raise problem
        if asked_s is None or asked_s < _FIRST_S:  # `Retry-After: 0` does not allow requests without a pause
            delay_s = min(_FIRST_S * 2 ** min(tries - 1, 10), most_s, left_s)
        else:
            delay_s = asked_s
        tell(f"{problem.what} The next attempt is in {delay_s:.0f} s, the last one in {left_s:.0f} s.")
        await self._sleep(delay_s)


def _api(token: Token, addresses: Addresses) -> str:
    return token.api_url or addresses.api


def _with_earlier(error: RestError, earlier: list[RestError]) -> RestError:
    """The error, with what the tokens that were tried before were told, where that was something else."""
    others = [one for one in earlier if one.what != error.what]
    if not others:
        return error
    what = " ".join(dict.fromkeys([*(one.what for one in others), error.what]))
    remedy = " Or: ".join(dict.fromkeys([*(one.remedy for one in others), error.remedy]))
    return RestError(what, remedy, error.kind, error.told)
