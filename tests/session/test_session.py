"""The session where nothing goes wrong, and where servers are odd (PROTOCOL §1, §4, §9)."""

import json
from dataclasses import dataclass

import pytest
from frames import audio, said, state
from msgspec import structs
from script import (
    AUDIO,
    AUDIO_AND_TRANSCRIPT,
    CONNECTED,
    FAILOVER,
    HANDSHAKE,
    INTERRUPTED,
    PACKET,
    SPLIT,
    SPLIT_OPENING,
    STARTED,
    STREAM,
    describe,
    play,
    sent,
    session,
    stopped,
)

from rtms_cli.machine import Finish, Packets, State
from rtms_cli.protocol.media import MediaRequest
from rtms_cli.protocol.numbers import EVERY_MEDIA, MediaType, Product
from rtms_cli.protocol.webhooks import Stream
from rtms_cli.session.channel import Phase
from rtms_cli.session.life import Stage
from rtms_cli.session.rules import US


def test_handshakes_happen_in_order_and_ready_follows_the_last_media_socket() -> None:
    commands = play(session(), CONNECTED)
    (first,) = sent(commands, 1)
    assert first["meeting_uuid"] == "uuid=="
    assert first["rtms_stream_id"] == "stream1"
    assert first["signature"] == "a" * 64
    assert first["protocol_version"] == 1
    (third,) = sent(commands, 3)
    assert third["media_type"] == 1
    assert third["payload_encryption"] is False
    assert third["media_params"] == {
        "audio": {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 20}
    }
    (fifth,) = sent(commands, 5)
    assert [event["event_type"] for event in fifth["events"]] == [2, 3, 4, 5, 6, 8, 9, *range(10, 15)]  # type: ignore[attr-defined]
    assert sent(commands, 7) == [{"msg_type": 7, "rtms_stream_id": "stream1"}]


def test_split_sockets_carry_a_kind_each_and_ready_waits_for_all() -> None:
    commands = play(session(MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True)), SPLIT)
    assert [message["media_type"] for message in sent(commands, 3)] == [1, 8]
    assert [list(message["media_params"]) for message in sent(commands, 3)] == [["audio"], ["transcript"]]  # type: ignore[call-overload]


def test_everything_on_one_socket_is_asked_for_as_32() -> None:
    commands = play(session(MediaRequest(EVERY_MEDIA)), CONNECTED)
    assert sent(commands, 3)[0]["media_type"] == 32
    assert set(sent(commands, 3)[0]["media_params"]) == {"audio", "video", "deskshare", "transcript", "chat"}  # type: ignore[call-overload]


def test_a_kind_without_a_url_falls_back_to_all() -> None:
    play(
        session(MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True)),
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": 2, "status_code": 0, "server_urls": {"audio": "ws://a", "all": "ws://m"}}
        <<   send signaling 5
        <<   open media.audio ws://a
        <<   open media ws://m
        """,
    )


def test_a_kind_without_any_url_does_not_cost_the_others() -> None:
    machine = session(AUDIO_AND_TRANSCRIPT)
    play(
        machine,
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"audio": "ws://a"}}}
        <<   send signaling 5
        <<   warn signaling: transcript is not granted
        <<   open media.audio ws://a
        0.3  media.audio open
        <<   send media.audio 3
        0.4  media.audio {"msg_type": 4, "status_code": 0}
        <<   send signaling 7
        """,
    )
    assert list(machine.snapshot().refused) == ["transcript"]
    assert not machine.nothing_granted


def test_nothing_granted_ends_the_session() -> None:
    machine = session()
    play(
        machine,
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {}}}
        <<   send signaling 5
        <<   warn signaling: audio is not granted
        <<   warn signaling: none of the media
        <<   finish failed None
        """,
    )
    assert machine.nothing_granted


@pytest.mark.parametrize("urls", ['"ws://m,srt://user@z:1?x"', '["srt://z:1", "ws://m"]', '" srt://z:1 , ws://m "'])
def test_of_several_urls_the_websockets_is_taken_and_others_are_named(urls: str) -> None:
    play(
        session(stream=structs.replace(STREAM, server_urls="srt://y:1,ws://s")),
        f"""
        0    tick
        <<   warn signaling: srt://y:1 is offered too, and not used: only WebSockets are spoken here
        <<   open signaling ws://s
        0.1  signaling open
        <<   send signaling 1
        0.2  signaling {{"msg_type": 2, "status": 0, "media_server": {{"server_urls": {{"all": {urls}}}}}}}
        <<   send signaling 5
        <<   warn signaling: srt://z:1 is offered too, and not used: only WebSockets are spoken here
        <<   open media ws://m
        """,
    )


def test_of_very_many_other_urls_only_some_are_named() -> None:
    urls = ["ws://s", *(f"srt://y{number}:1" for number in range(90))]
    machine = session(stream=structs.replace(STREAM, server_urls=urls))
    assert [describe(command)[:4] for command in machine.tick(0)] == ["warn"] * 20 + ["open"]


def test_a_kind_that_is_offered_for_another_protocol_only_is_not_granted() -> None:
    machine = session(MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True))
    play(
        machine,
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": 2, "status_code": 0, "server_urls": {"audio": "srt://a:1", "transcript": "ws://t"}}
        <<   send signaling 5
        <<   warn signaling: srt://a:1 is offered too
        <<   warn signaling: audio is not granted
        <<   open media.transcript ws://t
        """,
    )


@dataclass
class KeepAlive:
    """A keep-alive request, and the answer that must come on the same socket."""

    channel: str
    asked: dict[str, object]
    answered: dict[str, object]


@pytest.mark.parametrize(
    "case",
    [
        KeepAlive("signaling", {"timestamp": 17}, {"timestamp": 17}),
        KeepAlive("media", {"timestamp": 17, "sequence": 0}, {"timestamp": 17, "sequence": 0}),
        KeepAlive("media", {"timestamp": "17"}, {"timestamp": "17"}),
        KeepAlive("signaling", {}, {}),
        KeepAlive("media", {"timestamp": 1.5, "sequence": "x"}, {"timestamp": 1.5, "sequence": "x"}),
    ],
)
def test_a_keep_alive_is_answered_with_what_it_carried(case: KeepAlive) -> None:
    machine = session()
    play(machine, CONNECTED)
    asked = json.dumps({"msg_type": 12, **case.asked})
    commands = play(machine, f"1 {case.channel} {asked}\n<< send {case.channel} 13")
    assert sent(commands, 13) == [{"msg_type": 13, **case.answered}]


def test_a_keep_alive_before_the_handshake_is_answered() -> None:
    play(
        session(),
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": 12, "timestamp": 1}
        <<   send signaling 13
        """,
    )


def test_media_without_an_answer_to_the_handshake_counts_as_the_answer() -> None:
    transcript = CONNECTED.replace(
        '0.4  media {"msg_type": 4, "status_code": 0}', f"0.4  media {PACKET}\n<<  warn media:"
    )
    play(session(), transcript)


def test_names_by_number_and_by_name_are_the_same() -> None:
    machine = session()
    play(
        machine,
        HANDSHAKE
        + """
        0.2  signaling {"msg_type": "SIGNALING_HAND_SHAKE_RESP", "status_code": "STATUS_OK", "server_urls": {"all": "ws://m"}}
        <<   send signaling 5
        <<   open media ws://m
        """,
    )


@dataclass
class End:
    """How the end is told, and what becomes of the session."""

    lines: str
    finish: str


@pytest.mark.parametrize(
    "case",
    [
        End('5 signaling {"msg_type": 8, "state": 4, "reason": 6}', "finish complete 6"),
        End('5 media {"msg_type": 8, "state": 4, "reason": 6}', "finish complete 6"),
        End('5 signaling {"msg_type": 8, "state": "TERMINATED", "reason": "MEETING_ENDED"}', "finish complete 6"),
        End('5 signaling {"msg_type": 8, "state": 4, "reason": 8}', "finish revoked 8"),
        End('5 signaling {"msg_type": 8, "state": 4, "reason": 10}', "finish interrupted 10"),
        End('5 signaling {"msg_type": 8, "state": 4, "reason": 24}', "finish interrupted 24"),
        End(f"5 {stopped(6)}", "finish complete 6"),
        End(f"5 {stopped(8)}", "finish revoked 8"),
        End(f"5 {stopped(13)}", "finish interrupted 13"),
        End(f'5 signaling {{"msg_type": 8, "state": 4}}\n5 {stopped(3)}', "finish complete 3"),
    ],
)
def test_the_end_is_announced_and_media_under_way_may_arrive(case: End) -> None:
    machine = session()
    play(machine, CONNECTED)
    play(machine, f"{case.lines}\n5.5 media {PACKET}\n6 tick\n<< {case.finish}")


@pytest.mark.parametrize(
    ("at_s", "end"),
    [
        (1.2, 'signaling {"msg_type": 8, "state": 4, "reason": 18}'),
        (1.2, 'signaling {"msg_type": 8, "state": 4, "reason": "AUTHENTICATION_FAILURE"}'),
        (1.2, stopped(18)),
    ],
)
def test_a_stop_for_18_right_after_the_start_is_explained(at_s: float, end: str) -> None:
    explained = "<< warn signaling: stopped for 18 STOP_BC_AUTHENTICATION_FAILURE right after the start: is there a dev"
    play(session(), f"{CONNECTED}\n{at_s} {end}\n{explained}\n3 tick\n<< finish interrupted 18")


def test_a_later_stop_for_18_is_not_explained() -> None:
    play(session(), f"{CONNECTED}\n1.3 {stopped(18)}\n3 tick\n<< finish interrupted 18")


def test_a_reason_of_an_unknown_name_is_kept_as_text() -> None:
    end = 'signaling {"msg_type": 8, "state": 4, "reason": "STOP_BC_OF_THE_FUTURE"}'
    commands = play(session(), f"{CONNECTED}\n5 {end}\n7 tick\n<< finish complete None")
    assert commands[-1] == Finish("complete", None, "8 STREAM_STATE_UPDATE on signaling (STOP_BC_OF_THE_FUTURE)")


def test_the_session_ends_at_once_when_the_server_has_closed_its_sockets() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        """
        5    signaling {"msg_type": 8, "state": 4, "reason": 6}
        5.1  media closed 1005
        5.2  signaling closed 1000
        <<   finish complete 6
        """,
    )


def test_after_the_last_session_stopped_closing_sockets_are_the_end() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        """
        1    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 2}
        5    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 5, "stop_reason": 6}
        5.1  media closed 1006
        5.2  signaling closed 1006
        <<   finish complete 6
        """,
    )


def test_a_session_that_follows_another_in_the_same_stream_is_not_the_end() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        """
        1    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 2}
        5    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 5}
        6    signaling {"msg_type": 9, "rtms_session_id": "b", "state": 2}
        7    signaling closed 1006
        <<   close media
        <<   warn signaling: lost
        """,
    )


def test_an_unverified_webhook_cannot_revoke() -> None:
    machine = session(trusted=False)
    play(machine, CONNECTED)
    play(machine, f"5 {stopped(8)}\n<< warn signaling: an unverified webhook\n6 tick\n<< finish complete None")


def test_who_asks_for_the_end_gets_a_clean_one() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        4  media {PACKET}
        5  signaling stopping Ctrl-C
        << send signaling 21
        5.1  media {PACKET}
        5.2  signaling {{"msg_type": 22, "status_code": 0}}
        <<   finish complete None
        """,
    )


def test_the_end_does_not_wait_for_an_answer_for_ever() -> None:
    machine = session()
    play(machine, CONNECTED)
    commands = play(machine, "5 signaling stopping Ctrl-C\n<< send signaling 21\n7 tick\n<< finish complete None")
    assert commands[-1] == Finish("complete", None, "Ctrl-C")


def test_asking_for_the_end_before_anything_is_up_ends_at_once() -> None:
    play(session(), "0 tick\n<< open signaling ws://s\n1 signaling stopping Ctrl-C\n<< finish interrupted None")


def test_the_webhook_that_began_the_session_is_no_news() -> None:
    machine = session()
    play(machine, f"0 {STARTED}")
    play(machine, CONNECTED)


@pytest.mark.parametrize(
    ("news", "url"),
    [
        (FAILOVER, "ws://s2"),
        (f"{FAILOVER}\n0 {STARTED}\n<< warn signaling: a started webhook of the past came", "ws://s2"),
        (INTERRUPTED.replace("}}", ', "server_urls": "ws://s3"}}'), "ws://s3"),
    ],
)
def test_what_is_announced_before_anything_is_connected_counts(news: str, url: str) -> None:
    """A disk that is slow to make the folder keeps the session waiting, and webhooks come meanwhile."""
    play(session(), f"0 {STARTED}\n0 {news}\n0 tick\n<< open signaling {url}")


@pytest.mark.parametrize(
    ("product", "field"),
    [(Product.CONTACT_CENTER, "engagement_id"), (Product.PHONE, "call_id"), (Product.VIDEO_SDK, "session_id")],
)
def test_products_with_their_own_id_field_send_it_beside_meeting_uuid(product: Product, field: str) -> None:
    stream = Stream(product, "id1", "stream1", "ws://s", 1000, None, "ws://s")
    commands = play(session(AUDIO, stream), CONNECTED)
    for msg_type in (1, 3):
        (message,) = sent(commands, msg_type)
        assert message["meeting_uuid"] == message[field] == "id1"


def test_the_snapshot_tells_the_lifecycle() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(machine, f"1 media {PACKET}")
    snapshot = machine.snapshot()
    assert [name for name, _ in snapshot.steps] == [
        "webhook",
        "signaling open",
        "signaling up",
        "media open",
        "media up",
        "ready",
        "first media",
    ]
    assert [(channel.name, channel.phase) for channel in snapshot.channels] == [
        ("signaling", Phase.UP),
        ("media", Phase.UP),
    ]
    assert snapshot.stream is STREAM
    assert MediaType.AUDIO in AUDIO.types


SESSION_STOPPED = '5    signaling {"msg_type": 9, "rtms_session_id": "a", "state": 5, "stop_reason": 8}'
SESSION_STARTED = 'signaling {"msg_type": 9, "rtms_session_id": "b", "state": 2}'


@pytest.mark.parametrize(
    "end",
    [
        'signaling {"msg_type": 9, "rtms_session_id": "b", "state": 5}',
        'signaling {"msg_type": 8, "state": 4}',
        stopped(None),
    ],
)
def test_the_reason_of_a_former_session_does_not_revoke_a_later_one(end: str) -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        {SESSION_STOPPED}
        6    {SESSION_STARTED}
        7    media {PACKET}
        20   {end}
        20.1 signaling closed 1000
        20.1 media closed 1000
        <<   finish complete None
        """,
    )


def test_a_media_socket_that_closes_between_two_sessions_is_rebuilt() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        {SESSION_STOPPED}
        5.1  media closed 1000
        6    {SESSION_STARTED}
        <<   open media ws://m
        6.1  media open
        <<   send media 3
        6.2  media {{"msg_type": 4, "status_code": 0}}
        """,
    )
    assert machine.snapshot().stage is Stage.STREAMING


def test_signaling_that_closes_between_two_sessions_is_rebuilt_when_media_tell_of_the_second() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        {SESSION_STOPPED}
        5.1  signaling closed 1000
        6    {SESSION_STARTED.replace("signaling", "media")}
        <<   close media
        <<   warn signaling: no connection: it closed between two sessions
        10   tick
        <<   open signaling ws://s
        """,
    )
    assert machine.snapshot().stage is Stage.INTERRUPTED


def test_three_media_sockets_that_close_early_once_each_are_rebuilt() -> None:
    kinds = MediaType.AUDIO | MediaType.TRANSCRIPT | MediaType.CHAT
    machine = session(MediaRequest(kinds, split=True))
    urls = {"audio": "ws://a", "transcript": "ws://t", "chat": "ws://c"}
    answer = json.dumps({"msg_type": 2, "status_code": 0, "server_urls": urls})
    opened = "".join(f"<< open media.{name} {url}\n" for name, url in urls.items())
    shaken = "".join(f"0.3 media.{name} open\n<< send media.{name} 3\n" for name in urls)
    closed = "".join(f"0.4 media.{name} closed 1000\n<< warn media.{name}: no connection: closed\n" for name in urls)
    play(
        machine,
        f"0 tick\n<< open signaling ws://s\n0.1 signaling open\n<< send signaling 1\n"
        f"0.2 signaling {answer}\n<< send signaling 5\n{opened}{shaken}{closed}",
    )
    assert machine.deadline_us is not None
    assert {channel.phase for channel in machine.snapshot().channels[1:]} == {Phase.WAITING}


def test_a_media_socket_that_is_opened_for_the_first_time_is_not_the_one_that_is_missed() -> None:
    machine = session(MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True))
    play(
        machine,
        f"""
        {SPLIT_OPENING}
        0.3  media.audio open
        <<   send media.audio 3
        0.4  media.audio {{"msg_type": 4, "status_code": 0}}
        3    signaling {{"msg_type": 6, "event": {{"event_type": 7}}}}
        <<   close media.audio
        <<   warn media.audio: lost: event 7
        """,
    )


def test_a_media_socket_that_cannot_be_opened_does_not_hold_back_the_others() -> None:
    machine = session(MediaRequest(AUDIO_AND_TRANSCRIPT.types, split=True))
    play(
        machine,
        f"""
        {SPLIT_OPENING}
        0.3  media.transcript open
        <<   send media.transcript 3
        0.4  media.transcript {{"msg_type": 4, "status_code": 0}}
        15.2 tick
        <<   close media.audio
        <<   warn media.audio: no connection
        <<   send signaling 7
        19   tick
        <<   open media.audio ws://a
        19.1 media.audio open
        <<   send media.audio 3
        19.2 media.audio {{"msg_type": 4, "status_code": 0}}
        19.3 media.audio {PACKET}
        """,
    )
    assert machine.snapshot().stage is Stage.STREAMING


def test_who_asks_for_the_end_while_a_connection_is_missing_has_not_got_everything() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        4  media {PACKET}
        5  signaling closed 1006
        << close media
        << warn signaling: lost
        6  signaling stopping SIGTERM
        << finish interrupted None
        """,
    )
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        4  media {PACKET}
        5  media closed 1006
        << warn media: lost
        6  signaling stopping SIGTERM
        << send signaling 21
        << finish interrupted None
        """,
    )


def test_a_stream_that_was_stopped_before_it_began_is_not_connected() -> None:
    play(session(), f"0 {STARTED}\n0 {stopped(6)}\n<< finish complete 6")


def test_a_reconnect_that_is_refused_for_good_was_an_interruption_and_no_failure() -> None:
    machine = session()
    play(machine, CONNECTED)
    play(
        machine,
        f"""
        4    media {PACKET}
        5    signaling closed 1006
        <<   close media
        <<   warn signaling: lost
        8.8  tick
        <<   open signaling ws://s
        8.9  signaling open
        <<   send signaling 1
        9    signaling {{"msg_type": 2, "status_code": 2}}
        <<   finish interrupted None
        """,
    )


def test_once_media_flow_it_is_enough_to_hear_that_they_do() -> None:
    """Before the handshake, before the first packet, on signaling and after a loss each is read."""
    machine = session()
    packets = Packets("media", [5_000_000], [b"{}"], 2)
    heard = [machine.hear(packets)]
    play(machine, CONNECTED)
    heard.append(machine.hear(packets))
    machine.receive(audio(b"\0\0", 1000, at_us=400_000))
    heard += [
        machine.hear(structs.replace(packets, channel=channel)) for channel in ("media", "signaling", "elsewhere")
    ]
    assert machine.snapshot().channels[1].last_in_us == 5_000_000
    machine.receive(state(State.CLOSED, 6_000_000, code=1006))
    assert [*heard, machine.hear(packets)] == [False, False, True, False, False, False]


def test_media_that_are_heard_keep_a_channel_alive() -> None:
    machine = session()
    play(machine, CONNECTED)
    machine.receive(audio(b"\0\0", 1000, at_us=400_000))
    for second in range(1, 200):
        assert machine.hear(Packets("media", [second * US], [b"{}"], 2))
        machine.receive(said({"msg_type": 12, "timestamp": 1}, second * US, "signaling"))
        assert not machine.tick(second * US)


def test_a_stream_that_is_left_to_another_one_is_not_ended() -> None:
    """No `21`: the server waits for the client to come back, and keeps the audio meanwhile (PROTOCOL §9)."""
    commands = play(
        session(),
        CONNECTED
        + """
        6  signaling leaving handed over
        << close media
        << close signaling
        << finish interrupted None
        """,
    )
    assert not sent(commands, 21)


def test_a_stream_that_is_left_before_it_is_connected_waits_for_the_next_one() -> None:
    play(
        session(),
        "0 tick\n<< open signaling ws://s\n1 signaling leaving drained\n<< close signaling\n<< finish interrupted None",
    )
