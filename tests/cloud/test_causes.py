"""Why no started webhook comes: the likeliest first, and fit for what is waited for."""

import pytest

from rtms_cli.cloud.addresses import GOVERNMENT
from rtms_cli.cloud.causes import numbered, usual_causes
from rtms_cli.protocol.numbers import Product


def test_the_order() -> None:
    sought = [
        "auto-start is off",
        "host's account does not allow",
        "lacks the event",
        "lacks a scope",
        "credits",
        "2,000",
    ]
    said = " ".join(numbered(usual_causes()))
    places = [said.index(text) for text in sought]
    assert places == sorted(places)
    assert "Share realtime meeting content with apps" in said


def test_each_says_where_to_look() -> None:
    for product in Product:
        for by_events in (True, False, None):
            causes = usual_causes(product=product, by_events=by_events)
            assert len({cause.what for cause in causes}) == len(causes) >= 3
            assert all(cause.where for cause in causes)
            assert [line.split(". ")[0] for line in numbered(causes)] == [str(n + 1) for n in range(len(causes))]


@pytest.mark.parametrize("product", Product)
def test_another_cloud(product: Product) -> None:
    said = " ".join(numbered(usual_causes(GOVERNMENT, product)))
    assert "marketplace.zoomgov.com" in said
    assert "zoom.us" not in said


def test_what_was_called_for_needs_no_auto_start() -> None:
    said = str(usual_causes(is_called_for=True)[0])
    assert "auto" not in said.lower()
    assert "Share realtime meeting content with apps" in said


@pytest.mark.parametrize(
    ("product", "event"),
    [
        (Product.MEETING, "meeting.rtms_started"),
        (Product.WEBINAR, "webinar.rtms_started"),
        (Product.VIDEO_SDK, "session.rtms_started"),
        (Product.CONTACT_CENTER, "contact_center.voice_rtms_started"),
        (Product.PHONE, "phone.rtms_started"),
    ],
)
def test_the_event_has_the_products_name(product: Product, event: str) -> None:
    assert any(f" {event} " in cause.where for cause in usual_causes(product=product))


@pytest.mark.parametrize(
    ("by_events", "there", "not_there"), [(True, "--events", "--webhook"), (False, "--webhook", "--events")]
)
def test_the_way_of_delivery(by_events: bool, there: str, not_there: str) -> None:
    said = " ".join(numbered(usual_causes(by_events=by_events)))
    assert there in said
    assert not_there not in said
    assert ("another client" in said) is by_events
