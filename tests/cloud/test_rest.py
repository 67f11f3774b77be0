"""The REST API without a network: which request an order takes, and what is not even asked."""

import json

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtms_cli.cloud.answers import Told, read_told
from rtms_cli.cloud.rest import (
    Action,
    Kind,
    Order,
    RestError,
    Target,
    read_result,
    read_target,
    rest_call,
    sdk_token,
)
from rtms_cli.errors import Exit, Problem
from rtms_cli.protocol.numbers import Product
from rtms_cli.wire.poster import Answer

API = "https://api.zoom.us/v2"
MEETING = Target(Product.MEETING, "85512345678")
START = Order(MEETING, Action.START, "an-app")


@pytest.mark.parametrize(
    "text",
    [
        "855 1234 5678",
        " 855-1234-5678\n",
        "855\u00a01234\u20135678",
        "８５５１２３４５６７８",
        "https://zoom.us/j/85512345678?pwd=secret",
        "https://us02web.zoom.us/j/85512345678#success",
        "https://zoom.us/wc/join/85512345678",
        "https://company.zoom.us/w/85512345678",
        "https://zoom.us/wc/85512345678/start",
        "zoommtg://zoom.us/join?action=join&confno=85512345678&pwd=x",
        "zoom.us/j/855-1234-5678/",
    ],
)
def test_a_meeting_number_is_read_as_people_write_it(text: str) -> None:
    assert read_target(text, Product.MEETING).id == "85512345678"
    assert read_target(text, Product.WEBINAR) == Target(Product.WEBINAR, "85512345678")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("4444AAAiAAAAAiAiAiiAii==", "is a meeting's UUID"),
        ("/ajXp112QmuoKj4854875==", "is a meeting's UUID"),
        ("123", "is not a meeting number"),
        ("", "is not a meeting number"),
        ("1" * 16, "is not a meeting number"),
        ("https://zoom.us/my/somebody?pwd=hidden", "a personal link has none"),
        ("https://[::1", "no meeting number in it"),
    ],
)
def test_what_is_no_meeting_number_is_refused_with_what_to_give(text: str, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        read_target(text, Product.MEETING)
    assert "855 1234 5678" in caught.value.remedy
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " ", ".", "..", "a\nb", "x" * 501])
@pytest.mark.parametrize("product", [Product.VIDEO_SDK, Product.CONTACT_CENTER, Product.PHONE])
def test_other_ids_have_to_be_some(text: str, product: Product) -> None:
    with pytest.raises(Problem, match=r" id\. Give the"):
        read_target(text, product)


APP = {"settings": {"client_id": "an-app"}}


@pytest.mark.parametrize("action", [Action.START, Action.STOP, Action.PAUSE, Action.RESUME])
@pytest.mark.parametrize(
    ("product", "given_id", "method", "path", "more"),
    [
        (Product.MEETING, "855 1234 5678", "PATCH", "live_meetings/85512345678", APP),
        (Product.WEBINAR, "855 1234 5678", "PATCH", "live_meetings/85512345678", APP),
        (Product.VIDEO_SDK, "a+b==", "PATCH", "videosdk/sessions/a%2Bb%3D%3D", {}),
        (Product.VIDEO_SDK, "/a+b/", "PATCH", "videosdk/sessions/%252Fa%252Bb%252F", {}),
        (Product.CONTACT_CENTER, "e/1?x", "PUT", "contact_center/e%2F1%3Fx", APP),
    ],
)
def test_each_order_is_the_documented_request(
    action: Action, product: Product, given_id: str, method: str, path: str, more: dict[str, object]
) -> None:
    call = rest_call(Order(read_target(given_id, product), action, "an-app"), API)
    assert (call.method, call.url) == (method, f"{API}/{path}/rtms_app/status")
    assert json.loads(call.body) == {"action": action} | more


def test_phone_has_start_stop_and_status() -> None:
    target = read_target("700/69", Product.PHONE)
    start = rest_call(Order(target, Action.START), API)
    assert (start.method, start.url) == ("PATCH", f"{API}/phone/calls/700%2F69/rtms_app/status")
    assert json.loads(start.body) == {"action": "start"}
    status = rest_call(Order(target, Action.STATUS), API)
    assert (status.method, status.url, status.body) == ("GET", start.url, b"")


def test_whose_stream_it_is_can_be_said() -> None:
    call = rest_call(Order(MEETING, Action.START, "an-app", "user"), API)
    assert json.loads(call.body)["settings"] == {"client_id": "an-app", "participant_user_id": "user"}


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (Order(MEETING, Action.STATUS, "an-app"), "no status for a meeting's stream"),
        (Order(Target(Product.VIDEO_SDK, "s"), Action.STATUS), "no status for a session's stream"),
        (Order(Target(Product.PHONE, "c"), Action.PAUSE), "cannot be paused"),
        (Order(Target(Product.PHONE, "c"), Action.RESUME), "cannot be resumed"),
        (
            Order(Target(Product.PHONE, "c"), Action.START, participant="u"),
            "--participant does not apply to a phone call",
        ),
        (Order(MEETING, Action.START), "Which app should stream"),
    ],
)
def test_what_zoom_does_not_have_is_not_asked_for(order: Order, says: str) -> None:
    with pytest.raises(Problem, match=says) as caught:
        rest_call(order, API)
    assert caught.value.exit_code is Exit.USAGE


def test_the_video_sdks_token_is_a_good_jwt() -> None:
    token = sdk_token("key", "the-api-secret-of-the-video-sdk-account", 1_800_000_000)
    options = {"verify_exp": False, "verify_iat": False, "require": ["iss", "iat", "exp"]}
    claims = jwt.decode(token, "the-api-secret-of-the-video-sdk-account", ["HS256"], options, issuer="key")  # type: ignore[arg-type]
    assert claims["iat"] < 1_800_000_000 < claims["exp"]
    assert claims["exp"] - claims["iat"] <= 3600
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, "another-secret-of-the-video-sdk-account", ["HS256"], options)  # type: ignore[arg-type]
    assert str(token) not in repr(token)


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_2xx_is_taken_for_yes(status: int) -> None:
    read_result(Told(status), START)
    read_result(read_told(Answer(status, 0.1, b'{"code": 0, "message": "ok"}'), 0), START)


def test_a_page_and_an_error_in_a_200_are_none() -> None:
    for body in (b"<!DOCTYPE html><html>log in</html>", b'{"code": 3000, "message": "no"}'):
        with pytest.raises(RestError):
            read_result(read_told(Answer(200, 0.1, body), 0), START)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(100, 599),
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(("code", "message", "errors", "error", "reason")),
        st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=2),
    ).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(list(Product)),
    st.sampled_from(list(Action)),
)
def test_any_answer_is_yes_or_an_error_for_people(status: int, body: bytes, product: Product, action: Action) -> None:
    error = result(read_told(Answer(status, 0.1, body), 0), Order(Target(product, "1234567890"), action, "an-app"))
    if error is None:
        assert 200 <= status < 300
    else:
        assert error.exit_code is Exit.REFUSED
        assert error.kind in Kind
        assert error.remedy
        assert "\n" not in str(error)
        assert len(str(error)) < 2000


def result(told: Told, order: Order) -> RestError | None:
    try:
        read_result(told, order)
    except RestError as error:
        return error
    return None
