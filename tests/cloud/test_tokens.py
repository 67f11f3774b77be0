"""Tokens: which ways are tried, what each refusal says, and that no answer breaks or reveals anything."""

import base64
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoomcloud import SCOPE, TOKEN, Cloud, Reply, granted, zoom_cloud

from rtms_cli.cloud.addresses import Addresses, find_addresses
from rtms_cli.cloud.answers import read_retry_after, read_told
from rtms_cli.cloud.tokens import Token, TokenError, TokenFlow, Tokens, TokenSource, read_token
from rtms_cli.errors import Exit
from rtms_cli.protocol.secrets import Secret
from rtms_cli.wire.poster import Answer

SECRET = "the-secret-of-the-app-7f3a"
APP = TokenSource(TokenFlow.CLIENT, "an-app", Secret(SECRET), origin="ZOOM_CLIENT_ID")
SERVER = TokenSource(TokenFlow.ACCOUNT, "s2s", Secret("other-secret-91bc"), "account 1&2", origin="ZOOM_S2S_CLIENT_ID")
GIVEN = TokenSource(TokenFlow.GIVEN, token=Secret("given-token"), origin="ZOOM_ACCESS_TOKEN")
ZOOM = find_addresses({})
INVALID = Reply(400, {"reason": "Invalid client_id or client_secret", "error": "invalid_client"})


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with zoom_cloud() as running:
        yield running


def at(cloud: Cloud) -> Addresses:
    return find_addresses({}, cloud_url=cloud.url)


async def test_a_token_is_asked_for_as_documented(cloud: Cloud) -> None:
    token = await Tokens([APP], at(cloud)).fresh()
    assert (token.value, token.flow, token.expires_in_s, token.scopes) == (TOKEN, TokenFlow.CLIENT, 3600, (SCOPE,))
    asked = cloud.asked[0]
    assert (asked.method, asked.path) == ("POST", "/oauth/token")
    assert asked.form == {"grant_type": "client_credentials"}
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["authorization"] == "Basic " + base64.b64encode(f"an-app:{SECRET}".encode()).decode()
    assert TOKEN not in repr(token)


async def test_the_next_way_is_tried_where_zoom_refuses_one_and_remembered(cloud: Cloud) -> None:
    cloud.tokens = [Reply(400, {"reason": "unsupported grant type", "error": "unsupported_grant_type"}), granted()]
    tokens = Tokens([APP, SERVER, GIVEN], at(cloud))
    assert (await tokens.fresh()).flow is TokenFlow.ACCOUNT
    assert cloud.asked[1].form == {"grant_type": "account_credentials", "account_id": "account 1&2"}
    await tokens.fresh()
    assert [asked.form["grant_type"] for asked in cloud.asked][2:] == ["account_credentials"]


async def test_a_given_token_is_the_last_way_and_is_asked_for_nowhere(cloud: Cloud) -> None:
    cloud.tokens = [INVALID]
    token = await Tokens([APP, SERVER, GIVEN], at(cloud)).fresh()
    assert (token.value, token.flow) == ("given-token", TokenFlow.GIVEN)
    assert len(cloud.asked) == 2


async def test_where_all_refuse_each_is_named(cloud: Cloud) -> None:
    cloud.tokens = [INVALID, Reply(400, {"reason": "Bad Request", "error": "invalid_request"})]
    with pytest.raises(TokenError) as caught:
        await Tokens([APP, SERVER], at(cloud)).fresh()
    error = caught.value
    assert (error.is_final, error.exit_code) == (True, Exit.REFUSED)
    assert "by client_credentials: 400 invalid_client" in error.what
    assert "by account_credentials: 400 invalid_request" in error.what
    assert "ZOOM_CLIENT_ID" in error.remedy
    assert "ZOOM_ACCOUNT_ID" in error.remedy


@pytest.mark.parametrize(
    "reply",
    [Reply(503), Reply(429, {"code": 429}, {"Retry-After": "7"}), Reply(200, b"<html>Log in</html>"), Reply(302)],
)
async def test_what_may_pass_does_not_lead_to_the_next_way(reply: Reply, cloud: Cloud) -> None:
    cloud.tokens = [reply]
    with pytest.raises(TokenError) as caught:
        await Tokens([APP, SERVER], at(cloud)).fresh()
    assert not caught.value.is_final
    assert caught.value.exit_code is Exit.REFUSED
    assert caught.value.retry_after_s == (7 if reply.status == 429 else None)
    assert len(cloud.asked) == 1


async def test_nobody_there_may_pass() -> None:
    with pytest.raises(TokenError, match=r"cannot be reached for a token by client_credentials") as caught:
        await Tokens([APP, SERVER], find_addresses({}, cloud_url="http://127.0.0.1:9")).fresh()
    assert not caught.value.is_final


async def test_no_way_at_all_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(TokenError, match="Set ZOOM_CLIENT_ID") as caught:
        await Tokens([], ZOOM).fresh()
    assert caught.value.exit_code is Exit.USAGE


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é", "", "x" * 20_000])
async def test_a_given_token_that_is_none_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(TokenError, match="ZOOM_ACCESS_TOKEN is not a token") as caught:
        await Tokens([TokenSource(TokenFlow.GIVEN, token=Secret(token))], ZOOM).fresh()
    assert not token or token not in str(caught.value)


async def test_a_token_is_used_again_while_it_lives_a_minute_more(cloud: Cloud) -> None:
    cloud.tokens = [granted("one"), granted("two", expires_in="90"), granted("three"), granted("four")]
    moment = 1000.0
    tokens = Tokens([APP], at(cloud), now=lambda: moment)
    assert (await tokens.current()).value == "one"
    moment += 3539
    assert (await tokens.current()).value == "one"
    moment += 1
    assert (await tokens.current()).value == "two"
    moment += 30
    assert (await tokens.current()).value == "three"
    assert (await tokens.fresh()).value == "four"
    assert (await tokens.current()).value == "four"


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, 0.1, body if isinstance(body, bytes) else json.dumps(body).encode())


def refused(body: object, status: int = 400) -> TokenError:
    with pytest.raises(TokenError) as caught:
        read_token(answer(body, status), APP, ZOOM, 0)
    return caught.value


CODES = (4700, 4702, 4704, 4705, 4706, 4709, 4711, 4717, 4724, 4732, 4733, 4734, 4735, 4737, 4738, 4740, 4741)


@pytest.mark.parametrize("code", CODES)
def test_each_documented_error_has_words_of_its_own(code: int) -> None:
    error = refused({"status": False, "errorCode": code, "errorMessage": "Some words."})
    assert f"with error {code}" in error.what
    assert "not documented" not in error.what
    assert error.remedy
    assert error.is_final is (code != 4732)
    assert refused({"reason": f"Sorry. ({code:,})", "error": "x"}).remedy == error.remedy
    assert refused({"code": str(code), "message": ""}).remedy == error.remedy


def test_what_is_not_documented_is_said_as_it_came() -> None:
    error = refused({"code": 4799, "message": "Something\nnew"})
    assert 'with error 4799 "Something new"' in error.what
    assert "not documented" in error.what


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://api-eu.zoom.us", "https://api-eu.zoom.us/v2"),
        ("https://api.zoomgov.com/v2/", "https://api.zoomgov.com/v2"),
        *(
            (url, None)
            for url in (
                *(
                    "http://api.zoom.us",
                    "https://zoom.us.evil.example",
                    "https://evil@api.zoom.us",
                    "https://api.zoom.us:8",
                ),
                *(
                    "https://evil.example/zoom.us",
                    "https://[::1",
                    "https://evil.example\\.zoom.us",
                    5,
                    None,
                    ["https://x"],
                ),
            )
        ),
    ],
)
def test_an_api_url_is_believed_where_it_is_zooms(url: object, found: str | None) -> None:
    body = {"access_token": "t", "api_url": url}
    assert read_token(answer(body), APP, ZOOM, 0).api_url == found
    given_address = find_addresses({"ZOOM_API_URL": "https://proxy.example/v2"})
    assert read_token(answer(body), APP, given_address, 0).api_url is None


def test_secrets_that_come_back_are_not_shown() -> None:
    basic = base64.b64encode(f"an-app:{SECRET}".encode()).decode()
    for secret in (SECRET, basic, SECRET.encode().hex()):
        error = refused({"reason": f"bad: {secret}!", "error": secret})
        assert secret not in str(error)
        assert "[redacted]" in error.what


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ("access_token", "expires_in", "scope", "api_url", "error", "errors", "reason", "code", "errorCode", "message")
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.dictionaries(NAMES, JSON, max_size=6).map(lambda value: json.dumps(value).encode()),
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(("retry-after", "date", "x-zm-trackingid")), st.text(max_size=40)),
)
def test_any_answer_gives_a_token_or_an_error_for_people(body: bytes, status: int, headers: dict[str, str]) -> None:
    found = read_or_error(Answer(status, 0.1, body, headers))
    if isinstance(found, Token):
        assert found.value.isascii()
        assert " " not in found.value
        assert found.expires_in_s is None or found.expires_in_s > 0
    else:
        assert found.what
        assert "\n" not in str(found)
        assert found.retry_after_s is None or 0 <= found.retry_after_s <= 3600
        assert len(str(found)) < 2000


def read_or_error(given: Answer) -> Token | TokenError:
    try:
        return read_token(given, APP, ZOOM, 1.7e9)
    except TokenError as error:
        return error


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "30"}, 30),
        ({"retry-after": "999999"}, 3600),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
        ({"retry-after": "Sat, 28 Nov 2026 02:00:30 GMT", "date": "Sat, 28 Nov 2026 02:00:00 GMT"}, 30),
        ({"retry-after": "Sat, 28 Nov 2026 02:00:00 GMT", "date": "Sat, 28 Nov 2026 02:00:30 GMT"}, None),
        ({"retry-after": "Sat, 28 Nov 2026 02:00:30 GMT"}, 20),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], wait_s: float | None) -> None:
    assert read_retry_after(headers, 1795831210) == wait_s


def test_an_error_in_an_object_of_its_own_is_read() -> None:
    told = read_told(answer({"error": {"code": 3000, "message": "no"}}, 400), 0)
    assert (told.code, told.words, told.error) == (3000, "no", "")
