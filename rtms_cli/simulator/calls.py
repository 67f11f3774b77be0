"""Calls of Contact Center and Phone (PROTOCOL §5, §6).

Channels identify the parties. Calls have only audio, a transcript, and their own events.
"""

from msgspec import structs

from rtms_cli.protocol.media import spelled_out
from rtms_cli.protocol.numbers import IVR_EVENTS, ContactCenterEvent, MediaType, MeetingEvent, Product
from rtms_cli.protocol.parties import BY_CHANNEL
from rtms_cli.simulator.scenario import PEOPLE, Scenario
from rtms_cli.simulator.schedule import Schedule

_MEDIA = MediaType.AUDIO | MediaType.TRANSCRIPT
PHONE_NUMBER = "+15550100123"
"""The user id of no participant."""


def media_of(product: str, scopes: MediaType) -> MediaType:
    """Return which of the app's media a product supports."""
    return spelled_out(scopes) & _MEDIA if product in BY_CHANNEL else scopes


def cast(scenario: Scenario, product: str) -> Scenario:
    """Adapt a scenario to a product: in calls, participants have a channel and no user id."""
    if product not in BY_CHANNEL:
        return scenario
    most = max([2, *(event.who + 1 for event in scenario.events), len(scenario.material.sounds)])
    people = scenario.people[:most] if scenario.people == PEOPLE else scenario.people
    on_channels = tuple(structs.replace(one, channel_id=at) for at, one in enumerate(people))
    return structs.replace(scenario, people=on_channels)


def call_events(scenario: Scenario, schedule: Schedule, product: str) -> list[tuple[int, int, dict[str, object]]]:
    """Return the events of a call: time, event type, and the event's own fields.

    The first participant is the customer. Phone's own events are not public, so the meeting events are used.
    """
    end_ms, is_contact_center = scenario.duration_ms, product == Product.CONTACT_CENTER
    cues: list[tuple[int, int, dict[str, object]]] = []
    told = [_participant_info(who, person.name) for who, person in enumerate(scenario.people)]
    for who, spans in enumerate(schedule.present):
        come: int = MeetingEvent.PARTICIPANT_JOIN
        go: int = MeetingEvent.PARTICIPANT_LEAVE
        if is_contact_center:
            come = ContactCenterEvent.USER_ANSWERED if who else ContactCenterEvent.CONSUMER_ANSWERED
            go = ContactCenterEvent.USER_END if who else ContactCenterEvent.CONSUMER_END
        for start_ms, until_ms in spans:
            cues += [(start_ms, come, told[who]), (min(until_ms, end_ms - 1), go, told[who])]
    if is_contact_center and not scenario.events:
        cues += [(0, event, told[0]) for event in IVR_EVENTS]
    for start_ms, until_ms in schedule.paused if is_contact_center else ():
        cues.append((start_ms, ContactCenterEvent.USER_HOLD, told[-1]))
        cues.append((until_ms, ContactCenterEvent.USER_UNHOLD, told[-1]))
    return cues


def _participant_info(who: int, name: str) -> dict[str, object]:
    info: dict[str, object] = {"channel_id": who, "participant_mode": "agent" if who else "consumer"}
    info["display_name"] = name
    if who:
        info |= {"queue_id": "simulated-queue", "queue_name": "Sales", "user_id": f"simulated-agent-{who}"}
    else:
        info["phone_number"] = PHONE_NUMBER
    return {"participant_info": info}
