"""Old versions of objects, in buckets of S3 that keep them: what was deleted or overwritten is still there.

obstore knows no versions, so these few requests are signed here (AWS Signature Version 4), with the credentials of the
environment.
"""

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from msgspec import Struct

from rtms_cli.store.objects import StoreError
from rtms_cli.store.urls import StoreUrl, is_safe_key

if TYPE_CHECKING:
    import httpx

REQUEST_S = 30.0
MOST_ANSWER = 16 << 20
MOST_PAGES = 1000
_NOT_FOR_US = frozenset((403, 405, 501))
"""The credentials may not, or the store knows no versions."""
_UNRESERVED = "-_.~"


class CannotSeeVersionsError(Exception):
    """Whether there are old versions cannot be told."""


class Version(Struct, frozen=True):
    """One version of an object, or a mark that it was deleted."""

    key: str
    version: str
    is_latest: bool


class Versions:
    """The versions of the objects below a place in a store.

    :raises CannotSeeVersionsError: if it is not S3, or there are no credentials in the environment.
    """

    def __init__(self, url: StoreUrl, endpoint: str | None) -> None:
        self._key, self._secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if url.scheme != "s3" or not self._key or not self._secret:
            raise CannotSeeVersionsError
        self._token = os.environ.get("AWS_SESSION_TOKEN")
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        self._base = endpoint.rstrip("/") if endpoint else f"https://s3.{self._region}.amazonaws.com"
        self._url = url

    async def delete(self, prefix: str, wanted: Callable[[Version], bool]) -> int:
        """Delete the versions below a prefix that are wanted.

        :returns: how many there were.
        :raises StoreError: if one could not be deleted.
        """
        import httpx

        async with httpx.AsyncClient(timeout=REQUEST_S, follow_redirects=False) as client:
            found = [one for one in await self._listed(client, prefix) if wanted(one)]
            for one in found:
                await self._ask(client, "DELETE", f"/{one.key}", {"versionId": one.version})
        return len(found)

    async def _listed(self, client: "httpx.AsyncClient", prefix: str) -> list[Version]:
        whole = "".join(f"{part}/" for part in (self._url.prefix, prefix) if part)
        query, found = {"versions": "", "prefix": whole}, list[Version]()
        for _ in range(MOST_PAGES):
            try:
                root = ElementTree.fromstring(await self._ask(client, "GET", "", query))  # noqa: S314 — bounded
            except ElementTree.ParseError as error:
                raise StoreError(f"{self._url} does not answer with a list of versions: {error}.") from None
            found += [one for one in _read(root) if one.key.startswith(whole) and is_safe_key(one.key)]
            markers = {name: _text(root, f"Next{name}") for name in ("KeyMarker", "VersionIdMarker")}
            if _text(root, "IsTruncated") != "true" or not markers["KeyMarker"]:
                return found
            query = {
                "versions": "",
                "prefix": whole,
                "key-marker": markers["KeyMarker"],
                "version-id-marker": markers["VersionIdMarker"],
            }
        raise StoreError(f"{self._url}/{prefix} has too many versions.")

    async def _ask(self, client: "httpx.AsyncClient", method: str, path: str, query: dict[str, str]) -> bytes:
        import httpx

        path = quote(f"/{self._url.bucket}{path}", safe=f"/{_UNRESERVED}")
        text = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(query.items()))
        headers = self._signed(method, path, text)
        try:
            answer = await client.request(method, f"{self._base}{path}?{text}", headers=headers)
        except httpx.HTTPError as error:
            raise StoreError(f"The store does not answer at {self._url}: {type(error).__name__}.") from None
        if answer.status_code in _NOT_FOR_US:
            raise CannotSeeVersionsError
        if answer.status_code not in (200, 204) or len(answer.content) > MOST_ANSWER:
            raise StoreError(f"{self._url} refuses to {method} a version: {answer.status_code}.")
        return answer.content

    def _signed(self, method: str, path: str, query: str) -> dict[str, str]:
        """The headers of a request without a body (AWS Signature Version 4)."""
        now = datetime.now(UTC)
        moment, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        nothing = hashlib.sha256(b"").hexdigest()
        headers = {"host": urlsplit(self._base).netloc, "x-amz-content-sha256": nothing, "x-amz-date": moment}
        if self._token:
            headers["x-amz-security-token"] = self._token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        asked = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{nothing}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        signed = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, signed.encode(), "sha256").hex()
        credential = f"Credential={self._key}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}


def _read(root: ElementTree.Element) -> Iterator[Version]:
    for element in root:
        if element.tag.rpartition("}")[2] in ("Version", "DeleteMarker"):
            yield Version(_text(element, "Key"), _text(element, "VersionId"), _text(element, "IsLatest") == "true")


def _text(element: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in element if child.tag.rpartition("}")[2] == name), "")


def _quoted(text: str) -> str:
    return quote(text, safe=_UNRESERVED)
