"""`--tap` says what it means, and what cannot be done is said before anything runs."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtms_cli.errors import Problem
from rtms_cli.live.spec import check_taps, read_tap, wants_each
from rtms_cli.protocol.media import MediaRequest, parse_media


def test_what_is_not_said_is_as_usual() -> None:
    tap = read_tap("audio:-")
    assert (tap.what, tap.user, tap.encoding, tap.rate_hz, tap.channels) == ("audio", "mixed", "s16le", None, None)
    assert (tap.hold_ms, tap.buffer_s, tap.every_s, tap.restart) == (200, 10.0, None, True)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("audio,rate=48000:-", "rate_hz", 48000),
        ("audio,channels=2:-", "channels", 2),
        ("audio,format=f32le:-", "encoding", "f32le"),
        ("audio,format=mulaw:-", "rate_hz", 8000),
        ("audio,format=mulaw,rate=16000:-", "rate_hz", 16000),
        ("audio,hold=1.5s:-", "hold_ms", 1500),
        ("audio,hold=50ms:-", "hold_ms", 50),
        ("audio,buffer=1m:-", "buffer_s", 60.0),
        ("audio,buffer=3:-", "buffer_s", 3.0),
        ("audio,restart=no:-", "restart", False),
        ("audio,user=Anna Smith:-", "user", "Anna Smith"),
        ("video,every=5s:exec:cat", "every_s", 5.0),
        ("audio:twilio+ws://127.0.0.1:1/a", "encoding", "mulaw"),
    ],
)
def test_a_key(text: str, field: str, value: object) -> None:
    assert getattr(read_tap(text), field) == value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("audio:exec:cat --key=SECRET", "exec:cat"),
        ("audio:wss://me:SECRET@engine.example/v1/listen?token=SECRET#SECRET", "wss://engine.example/v1/listen"),
        ("audio:twilio+wss://bot.example:8443/media?token=SECRET", "twilio+wss://bot.example:8443/media"),
        ("audio:ws://[::1]:9000/a", "ws://[::1]:9000/a"),
        ("audio:file:/tmp/a b.pcm", "file:/tmp/a b.pcm"),
        ("all:listen:9000", "listen:9000"),
        ("audio:-", "standard output"),
    ],
)
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    tap = read_tap(text)
    assert tap.target.shown == shown
    assert "SECRET" not in str(tap)


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("", "'nothing' cannot be tapped", "Begin with audio"),
        ("sound:-", "'sound' cannot be tapped", "Begin with audio"),
        ("audio", "it has no target", "After a colon"),
        ("audio:", "it has no target", "After a colon"),
        ("audio:cat", "'cat' is not a valid target", "exec:COMMAND"),
        ("audio,rate:-", "'rate' is not KEY=VALUE", "KEY=VALUE"),
        ("audio,speed=2:-", "'speed=2' is not KEY=VALUE", "rate, channels"),
        ("audio,rate=7999:-", "rate=7999 is not valid", "8000 to 48000"),
        ("audio,rate=²:-", "rate=² is not valid", "8000 to 48000"),
        ("audio,channels=3:-", "channels=3 is not valid", "1 or 2"),
        ("audio,format=mp3:-", "format=mp3 is not a known format", "s16le"),
        ("audio,rate=8000,rate=8000:-", "rate is given twice", "once"),
        ("audio,every=5s:-", "every cannot be used with audio", "video, share"),
        ("transcript,rate=8000:-", "rate cannot be used with transcript", "audio"),
        ("audio,hold=5x:-", "hold=5x is not a valid time", "200ms"),
        ("audio,hold=31s:-", "hold=31s is not a valid time", "0s to 30s"),
        ("audio,restart=maybe:-", "restart=maybe", "restart=yes"),
        ("audio:exec:", "the command is empty", "Give one"),
        ("audio:exec:'cat", "cannot be split", "Close every quotation mark"),
        ("audio:exec:no-such-program-here", "program not found: no-such-program-here", "PATH"),
        ("all:exec:cat", "distinguishes kinds", "listen:"),
        ("all:-", "distinguishes kinds", "listen:"),
        ("transcript:twilio+ws://a/b", "do not carry transcript", "audio"),
        ("audio,format=wav:ws://a/b", "format=wav is for", "s16le"),
        ("audio,user=each:-", "there is only one standard output", "user=mixed"),
        ("audio,user=each:file:/tmp/a", "one file", "{user}"),
        ("audio:ws://", "the URL has no host", "ws://HOST"),
        ("audio:ws://a:99999/", "the URL has no host", "ws://HOST"),
        ("audio:listen:http", "listen=http is not valid", "a port"),
    ],
)
def test_what_cannot_be_done_is_said(text: str, what: str, remedy: str) -> None:
    with pytest.raises(Problem) as caught:
        read_tap(text)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_tap_or_a_problem(text: str) -> None:
    for spec in (text, f"audio,{text}", f"audio:{text}", f"audio:ws://{text}", f"audio:exec:{text}"):
        with contextlib.suppress(Problem):
            assert str(read_tap(spec))


AUDIO = MediaRequest(parse_media("audio"))


def test_taps_are_checked_together() -> None:
    def fails(*texts: str, many: bool = False) -> str:
        with pytest.raises(Problem) as caught:
            check_taps([read_tap(text) for text in texts], AUDIO, many_streams=many)
        return str(caught.value)

    assert "Add transcript to --media." in fails("transcript:-")
    assert "Two taps go to standard output." in fails("audio:-", "events:-")
    assert "Two taps go to file:/tmp/a." in fails("audio:file:/tmp/a", "events:file:/tmp/a")
    assert "Two taps go to listen:9000." in fails("audio:listen:9000", "all:listen:9000")
    assert "with several streams" in fails("audio:-", many=True)
    assert "Put {stream} into the path." in fails("audio:file:/tmp/a", many=True)
    good = ["audio:exec:cat", "audio:exec:cat", "events:listen:0", "all:listen:0", "audio:file:/tmp/{stream}"]
    check_taps([read_tap(text) for text in good], AUDIO, many_streams=True)


def test_who_wants_each_participant_asks_for_it() -> None:
    assert not wants_each([read_tap("audio:-"), read_tap("transcript,user=each:exec:cat")])
    for text in ("audio,user=each:exec:cat", "audio,user=Anna:-", "all,user=16778240:listen:0"):
        assert wants_each([read_tap(text)])
