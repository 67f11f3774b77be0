"""Sends HTTP requests, such as webhooks, and measures the time of the answer."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from rtms_cli.errors import reason_of
from rtms_cli.wire.hosts import is_loopback

MOST_ANSWER = 1 << 16
"""How much of an answer's body is read. The answer to a challenge has a few hundred bytes."""


class Answer(Struct, frozen=True):
    """An answer."""

    status: int
    took_s: float
    body: bytes
    """Its first 64 KiB."""
    headers: Mapping[str, str] = {}
    """Headers, by lower-case name."""


class NoAnswerError(ConnectionError):
    """There was no answer. The message says why."""


async def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]],
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Post a body once; see `request`."""
    return await request("POST", url, body, headers, timeout_s, tls)


async def request(
    method: str,
    url: str,
    body: bytes,
    headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]],
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request once. Does not follow redirects, as Zoom does not. Uses a proxy, except for this machine.

    :raises NoAnswerError: if there is no answer in time.
    """
    parts = urlsplit(url)
    through_proxy = not is_loopback(parts.hostname or "")
    verify = tls or parts.scheme == "https"  # loading the system's certificates takes longer than most requests
    try:
        async with asyncio.timeout(timeout_s):
            async with httpx.AsyncClient(timeout=timeout_s, trust_env=through_proxy, verify=verify) as client:
                started = time.monotonic()
                async with client.stream(method, url, content=body, headers=headers) as answer:
                    got = bytearray()
                    async for chunk in answer.aiter_bytes():
                        got += chunk
                        if len(got) >= MOST_ANSWER:
                            break
                    took_s, named = time.monotonic() - started, dict(answer.headers)
                    return Answer(answer.status_code, took_s, bytes(got[:MOST_ANSWER]), named)
    except TimeoutError:
        raise NoAnswerError(f"no answer within {timeout_s:g} s") from None
    except httpx.RemoteProtocolError as error:
        is_closed = str(error).startswith("Server disconnected")
        why = "the connection was closed without an answer" if is_closed else "the answer is not valid HTTP"
        raise NoAnswerError(why) from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:  # the last two: an invalid proxy
        raise NoAnswerError(reason_of(error)) from error
