"""The newest events, and other ways to say them and webhooks: what the simulator says is read as it was meant."""

import json

import pytest

from rtms_cli.protocol.media import MediaParams
from rtms_cli.protocol.messages import EventUpdate, read
from rtms_cli.protocol.numbers import MeetingEvent, Product
from rtms_cli.protocol.parties import people_of
from rtms_cli.protocol.webhooks import StreamStart, StreamStop, read_webhook
from rtms_cli.simulator.cues import make_cues
from rtms_cli.simulator.deviations import Deviation, spoken
from rtms_cli.simulator.scenario import Scenario
from rtms_cli.simulator.server import App, Simulator


def events_of(product: Product) -> list[EventUpdate]:
    cues = make_cues(Scenario(12), MediaParams(), 0, None, product=product)
    return [cue.message for cue in cues if isinstance(cue.message, EventUpdate)]


@pytest.mark.parametrize(
    ("product", "newest"),
    [
        (Product.MEETING, [10, 12, 14, 13, 11]),
        (Product.WEBINAR, [10, 12, 14, 13, 11]),
        (Product.VIDEO_SDK, []),
        (Product.CONTACT_CENTER, [30, 31, 32, 33, 34]),
        (Product.PHONE, []),
    ],
)
def test_the_newest_events_of_each_product_come(product: Product, newest: list[int]) -> None:
    told = [event.event_type for event in events_of(product)]
    among = range(10, 15) if product in (Product.MEETING, Product.WEBINAR, Product.VIDEO_SDK) else range(30, 35)
    assert [event for event in told if event in among] == newest


@pytest.mark.parametrize("product", [Product.MEETING, Product.CONTACT_CENTER])
def test_events_in_other_shapes_tell_of_the_same_people(product: Product) -> None:
    shapes = set()
    for event in events_of(product):
        told = spoken("signaling", event, frozenset({Deviation.PEOPLE, Deviation.EVENT_CODE}))
        assert told is not None
        message = read(told.raw or b"")
        assert isinstance(message, EventUpdate)
        has_code_alone = event.event_type in (MeetingEvent.SHARING_START, MeetingEvent.SHARING_STOP)
        assert message.event_type == (None if has_code_alone else event.event_type)
        assert message.fields["event_code"] == 900_000 + int(event.event_type or 0)
        assert [(who.party, who.name) for who in people_of(message, product)] == [
            (who.party, who.name) for who in people_of(event, product)
        ]
        shapes |= {type(value) for key, value in message.fields.items() if key in ("participants", "paticipant_info")}
    assert shapes == ({dict, list} if product is Product.MEETING else {dict})


@pytest.mark.parametrize("deviation", [None, *Deviation])
@pytest.mark.parametrize("product", Product)
async def test_webhooks_in_other_shapes_tell_of_the_same_stream(product: Product, deviation: Deviation | None) -> None:
    async with Simulator(App("client", "secret", "token")) as simulator:
        stream = simulator.announce(product, Scenario(5, deviations=frozenset({deviation} if deviation else ())))
        body = stream.webhook("started")
        started, stopped = read_webhook(body), read_webhook(stream.webhook("stopped"))
    assert isinstance(started, StreamStart)
    assert isinstance(stopped, StreamStop)
    announced = started.stream
    assert (announced.id, announced.stream_id) == (stream.identity, stream.stream_id)
    assert (announced.server_url, stopped.stream_id) == (stream.url, stream.stream_id)
    payload = json.loads(body)["payload"]
    assert ("object" in payload) == (deviation is Deviation.NESTED)
    assert isinstance(payload.get("rtms_stream_id"), int) == (deviation is Deviation.NUMERIC_IDS)
    assert ("webinar_uuid" in payload) == (deviation is Deviation.WEBINAR_UUID and product is Product.WEBINAR)
