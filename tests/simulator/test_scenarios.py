"""Scenario files: what they say, what is wrong with them, and how our recorder comes through the built-in ones."""

import importlib.resources
from pathlib import Path

import pytest
from harness import read_jsonl
from msgspec import Struct
from simulator.standing import Played, play, record

from rtms_cli.errors import Problem
from rtms_cli.protocol.numbers import StatusCode
from rtms_cli.simulator.cloud_faults import CloudFault, CloudFaultAt
from rtms_cli.simulator.deviations import Deviation
from rtms_cli.simulator.faults import Fault, FaultAt
from rtms_cli.simulator.scenario_file import CLOUD_EVENTS, EVENTS, built_in, load, read
from rtms_cli.simulator.schedule import Event, EventKind


class Outcome(Struct, frozen=True):
    """What has to become of a scenario."""

    status: str = "complete"
    opened: int = 1
    """How often signaling is."""
    audio: int = 0
    """Packets that are made, each once."""
    more: int = 0
    """Packets that are sent twice."""
    spoilt: int = 0
    in_flight: int = 0
    """How many may be under way when connections break: 50 come in the 50 ms that a busy machine may take."""
    untaken: range = range(1)
    silence_s: float = 0
    kinds: str = "audio,transcript,chat"
    send_rate: int = 20


OUTCOMES = {
    "busy-server": Outcome(opened=5, audio=3000, in_flight=50),
    "cameras-and-screens": Outcome(audio=2000, kinds="all"),
    "corrupt-packets": Outcome(audio=1000, spoilt=2, silence_s=0.05),
    "dead-silence": Outcome(opened=2, audio=5000, untaken=range(1, 1500), silence_s=30),
    "failover": Outcome(opened=3, audio=1500, in_flight=50),
    "flaky-network": Outcome(opened=2, audio=2000, more=5, in_flight=75),
    "interrupted": Outcome(opened=3, audio=4000),
    "long-webinar": Outcome(opened=2, audio=8400, in_flight=75, silence_s=60, send_rate=100),
    "many-languages": Outcome(audio=1000),
    "no-keep-alives": Outcome(audio=4500),
    "old-server": Outcome(audio=1000),
    "pause-and-resume": Outcome(audio=1175, silence_s=6.5),
    "revoked": Outcome("revoked"),
    "revoked-by-webhook": Outcome("revoked"),
    "slow-webhook": Outcome(audio=2000),
    "split-brain": Outcome(opened=2, audio=1500, in_flight=50),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_our_recorder_comes_through(name: str, tmp_path: Path) -> None:
    meant = OUTCOMES[name]
    (played,) = record(load(name).scenarios, tmp_path, meant.kinds, meant.send_rate)
    assert played.manifest.status == meant.status
    assert [finding.what for finding in played.report.findings] == []
    assert played.opened() == meant.opened
    sent, kept = played.count("audio")
    if meant.status == "revoked":
        assert (kept, list(played.manifest.tracks)) == (0, [])
        return
    assert sent + played.lost("audio") == meant.audio + meant.more
    assert played.lost("audio") in meant.untaken
    assert 0 <= sent - kept - meant.spoilt <= meant.in_flight
    assert played.silence_s() < meant.silence_s + meant.in_flight * meant.send_rate / 1000 + 0.001
    assert bool(played.manifest.losses) == (name == "corrupt-packets")
    if name in LOOKS:
        LOOKS[name](played)


def look_at_languages(played: Played) -> None:
    lines = read_jsonl(played.folder / "transcript.jsonl")
    assert [(line["language"], line["user_name"], line["end_time"], line["start_time"]) for line in lines] == [
        (language, name, line["timestamp"], line["start_time"])
        for line, language, name in zip(
            lines,
            (9, 14, 20, 13, 0),
            ("John Smith", "Zoë Müller", "山田 太郎", "Élise Dupont", "أحمد علي"),
            strict=True,
        )
    ]
    assert lines[2]["text"] == "おはようございます。始めましょう。"
    (chat,) = read_jsonl(played.folder / "chat.jsonl")
    assert chat["text"] == "Danke! ありがとう! شكرا 🎉"


def look_at_cameras(played: Played) -> None:
    events = read_jsonl(played.folder / "events.jsonl")
    wanted = ("PARTICIPANT_VIDEO_OFF", "PARTICIPANT_VIDEO_ON", "SHARING_START", "SHARING_STOP", "PARTICIPANT_LEAVE")
    first = events[0]["timestamp"]
    assert isinstance(first, int)
    seen = [(event["event"], (event["timestamp"] - first) / 1000) for event in events if event["event"] in wanted]  # type: ignore[operator]
    assert seen == [
        ("PARTICIPANT_VIDEO_ON", 0), ("PARTICIPANT_VIDEO_OFF", 5), ("SHARING_START", 8), ("SHARING_STOP", 16),
        ("PARTICIPANT_VIDEO_ON", 17), ("SHARING_START", 22), ("SHARING_STOP", 32), ("PARTICIPANT_LEAVE", 38),
    ]  # fmt: skip


def look_at_pauses(played: Played) -> None:
    (track,) = [track for track in played.manifest.tracks if track.kind == "audio"]
    assert [(round(a, 2), round(b, 2)) for a, b in track.gaps] == [(5, 9), (22, 24.5)]


LOOKS = {
    "many-languages": look_at_languages,
    "cameras-and-screens": look_at_cameras,
    "pause-and-resume": look_at_pauses,
}


def test_every_status_code() -> None:
    scenarios = load("every-status-code").scenarios
    assert len(scenarios) == max(StatusCode)
    patient = {8, 45}  # our recorder tries again; 8 passes at the first connect (PROTOCOL §8)
    for code, scenario in enumerate(scenarios, 1):
        world = play(scenario, "audio")
        report = world.zoom.streams[0].zoom.report()
        assert report.findings == ()
        assert report.refused_on_purpose == {StatusCode.label(code): 1}
        assert report.ready == (code in patient)
        assert len(world.recordings) == (code in patient)


def test_every_built_in_scenario_is_described_and_tried() -> None:
    files = built_in()
    assert len(files) >= 12
    assert {file.name for file in files} == {*OUTCOMES, "every-status-code", "cloud-trouble"}
    for file in files:
        assert 20 <= len(file.description) <= 110
        assert file.description.endswith(".")
    folder = importlib.resources.files("rtms_cli.simulator") / "scenarios"
    used = "".join(entry.read_text("utf-8") for entry in folder.iterdir())
    assert {verb for verb in (*EVENTS, *CLOUD_EVENTS) if f"\n{verb} = " not in used} == set()


HEAD = 'description = "x"\nseconds = 20\npeople = ["Anna", "Bernd"]\n'


def fault(at_ms: int, fault: Fault, number: int = 0, times: int = 1) -> FaultAt:
    return FaultAt(at_ms, fault, number, times)


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        ('at = 1.5\njoin = "Bernd"', Event(1500, EventKind.JOIN, 1)),
        ('at = 0\nleave = "Anna"', Event(0, EventKind.LEAVE, 0)),
        ('at = 1\nmute = "Anna"', Event(1000, EventKind.MUTE)),
        ('at = 1\nunmute = "Anna"', Event(1000, EventKind.UNMUTE)),
        ('at = 1\nspeak = "Bernd"\nfor = 2.5', Event(1000, EventKind.SPEAK, 1, 2500)),
        ('at = 1\nshare = "Bernd"\nfor = 2', Event(1000, EventKind.SHARE, 1, 2000)),
        ('at = 1\ncamera = "Anna"\nto = "off"', Event(1000, EventKind.CAMERA, 0, camera=0)),
        ('at = 1\ncamera = "Anna"\nto = "on"', Event(1000, EventKind.CAMERA, 0)),
        ('at = 1\ncamera = "Anna"\nto = "FHD"', Event(1000, EventKind.CAMERA, 0, camera=3)),
        ('at = 1\nchat = "Anna"\ntext = "Hi"', Event(1000, EventKind.CHAT, 0, text="Hi")),
        (
            'at = 1\ntranscript = "Anna"\ntext = "Moin"\nlanguage = "German"',
            Event(1000, EventKind.TRANSCRIPT, 0, 1500, "Moin", 14),
        ),
        ("at = 1\npause = 2", Event(1000, EventKind.PAUSE, 0, 2000)),
        ('at = 1\ndrop = "media"', fault(1000, Fault.DROP_MEDIA)),
        ("at = 1\nclose = 1011", fault(1000, Fault.CLOSE_MEDIA, 1011)),
        ('at = 1\ninterrupt = "signaling"', fault(1000, Fault.SAY_INTERRUPTED, 13)),
        ("at = 1\nsilence = true", fault(1000, Fault.SILENCE)),
        ("at = 1\nskip_keep_alives = 40", fault(1000, Fault.SKIP_KEEP_ALIVES, 40_000)),
        ("at = 1\ndelay = 0.25", fault(1000, Fault.DELAY, 250)),
        ("at = 1\nduplicate = 3", fault(1000, Fault.DUPLICATE, 0, 3)),
        ("at = 1\nreorder = 2", fault(1000, Fault.SWAP, 0, 2)),
        ('at = 1\ncorrupt = "length"\ntimes = 4', fault(1000, Fault.ODD_AUDIO, 0, 4)),
        ('at = 1\nfailover = "another port"', fault(1000, Fault.FAILOVER, 1)),
        ('at = 1\nfailover = "split brain"', fault(1000, Fault.SPLIT_BRAIN)),
        ("at = 1\nretry_webhook = true", fault(1000, Fault.RETRY_WEBHOOK)),
        ('at = 1\nold_webhook = "stopped"', fault(1000, Fault.OLD_STOPPED, 20)),
        ('at = 1\nold_webhook = "started"\nminutes = 60', fault(1000, Fault.OLD_STARTED, 60)),
        ('at = "start"\nrefuse = 3', fault(-1, Fault.REFUSE_SIGNALING, 3)),
        ('at = 2\nrefuse = 16\non = "media"\ntimes = 2', fault(2000, Fault.REFUSE_MEDIA, 16, 2)),
        ('at = "start"\nhang_up = true\ntimes = 3', fault(-1, Fault.HANG_UP, 0, 3)),
        ("at = 1\nrevoke = true", fault(1000, Fault.STOP, 8)),
        ('at = 1\nstop = 6\ntold = "webhook"', fault(1000, Fault.STOP_WEBHOOK_ONLY, 6)),
    ],
)
def test_events(event: str, meant: Event | FaultAt) -> None:
    (scenario,) = read(f"{HEAD}\n[[event]]\n{event}\n", "x", "x.toml").scenarios
    assert [*scenario.events, *scenario.faults] == [meant]
    assert ([person.name for person in scenario.people], scenario.seconds) == (["Anna", "Bernd"], 20)


@pytest.mark.parametrize(
    ("event", "meant"),
    [
        ("at = 1\ntoken_expires = true", CloudFaultAt(1000, CloudFault.TOKEN_EXPIRES)),
        ("at = 1\nevents_drop = true", CloudFaultAt(1000, CloudFault.EVENTS_DROP)),
        ("at = 1\nevents_drop = 2.5", CloudFaultAt(1000, CloudFault.EVENTS_DROP, 2500)),
        ("at = 1\nevents_delay = 50", CloudFaultAt(1000, CloudFault.EVENTS_DELAY, 50_000)),
        ("at = 1\nevents_silence = true", CloudFaultAt(1000, CloudFault.EVENTS_SILENCE)),
        ("at = 9000\nsecond_subscriber = true", CloudFaultAt(9_000_000, CloudFault.SECOND_SUBSCRIBER)),
        ('at = "start"\nrest_error = 3000', CloudFaultAt(-1, CloudFault.REST_ERROR, 3000)),
        ("at = 1\nrest_error = 429\ntimes = 3", CloudFaultAt(1000, CloudFault.REST_ERROR, 429, 3)),
    ],
)
def test_events_in_the_cloud(event: str, meant: CloudFaultAt) -> None:
    (scenario,) = read(f"{HEAD}\n[[event]]\n{event}\n", "x", "x.toml").scenarios
    assert scenario.cloud_faults == (meant,)
    assert not scenario.events
    assert not scenario.faults


def test_a_file_is_a_scenario_too_and_a_list_of_refusals_needs_a_stream_for_each(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'description = "Mine."\nserver = ["flat", "binary"]\nwebhook_after = 2.5\nbuffered = 3\n\n'
        '[[event]]\nat = "start"\nrefuse = [3, 45]\n[[event]]\nat = 2\ndrop = "media"\n'
    )
    file = load(str(path))
    assert (file.name, file.description) == ("mine", "Mine.")
    assert [scenario.faults[-1].number for scenario in file.scenarios] == [3, 45]
    for scenario in file.scenarios:
        assert scenario.deviations == {Deviation.FLAT, Deviation.BINARY}
        assert (scenario.webhook_after_s, scenario.buffered_s, scenario.seconds) == (2.5, 3, 10)
        assert scenario.faults[0] == fault(2000, Fault.DROP_MEDIA)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("description = \nseconds = 3", "x.toml is not valid TOML: Invalid value"),
        ("seconds = 3", "x.toml: 'description' is missing"),
        (HEAD + "minutes = 3", "x.toml: 'minutes' is not a field"),
        (HEAD.replace("20", "nan"), "'seconds' has to be a number"),
        (HEAD.replace("20", "0"), "'seconds' has to be a number from 0.1"),
        (HEAD.replace('"Bernd"', '"Anna"'), "'people' has to be a list of at least one name, without duplicates"),
        (HEAD + 'server = ["odd"]', "'server' has to be a list of flat, names"),
        (HEAD + "buffered = 20", "'buffered' has to be at most 60 and less than the session's"),
        (HEAD + "event = 3", "'event' has to consist of"),
        (HEAD + '[[event]]\ndrop = "media"', "x.toml:4: 'at' is missing"),
        (HEAD + '\n[[event]]\nat = 99\ndrop = "media"', "x.toml:5: 'at' has to be \"start\", or seconds from 0 to 20"),
        (HEAD + "[[event]]\nat = 1", "x.toml:4: 'event' has to name one event: join"),
        (HEAD + '[[event]]\nat = 1\ndrop = "media"\npause = 1', "'pause', 'drop' are two events"),
        (HEAD + '[[event]]\nat = 1\ndrop = "audio"', "'drop' has to be one of signaling, media"),
        (HEAD + '[[event]]\nat = 1\njoin = "Zoë"', "'join' has to be one of the people: Anna, Bernd"),
        (HEAD + '[[event]]\nat = 1\nspeak = "Anna"', "'for' is missing"),
        (HEAD + '[[event]]\nat = 1\nspeak = "Anna"\nfor = -1', "'for' has to be a number, at least 0"),
        (HEAD + '[[event]]\nat = 1\njoin = "Anna"\nfor = 1', "'for' is not a field here; use at, join"),
        (HEAD + "[[event]]\nat = 1\nevents_drop = false", "'events_drop' has to be a number"),
        (HEAD + "[[event]]\nat = 1\nrest_error = 7", "'rest_error' has to be a number, at least 100"),
        (HEAD + "[[event]]\nat = 99999\ntoken_expires = true", "seconds from 0 to 86400"),
        (HEAD + "[[event]]\nat = 1\nrefuse = 99", "'refuse' has to be a status code from 1 to 47"),
        (HEAD + "[[event]]\nat = 1\nrefuse = [3, true]", "'refuse' has to be a status code"),
        (HEAD + "[[event]]\nat = 1\nstop = 0", "'stop' has to be a number, at least 1"),
        (HEAD + "[[event]]\nat = 1\nrevoke = false", "'revoke' has to be true"),
        (HEAD + "[[event]]\nat = 1\nduplicate = 1.5", "'duplicate' has to be a whole number from 1"),
        (HEAD + '[[event]]\nat = 1\nchat = "Anna"\ntext = 3', "'text' has to be a string"),
        (
            HEAD + '[[event]]\nat = 1\ntranscript = "Anna"\ntext = "x"\nlanguage = "Klingon"',
            "'language' has to be one of none, Arabic",
        ),
    ],
)
def test_wrong_files_are_described_with_line_and_field(text: str, what: str) -> None:
    with pytest.raises(Problem, match=what):
        read(text, "x", "x.toml")


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no scenario 'flaky'"):
        load("flaky")
    with pytest.raises(Problem, match="Cannot read"):
        load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "typographic"])
def test_a_file_as_editors_save_it(encoding: str, tmp_path: Path) -> None:
    text, path = 'description = "mine"\nseconds = 3\n', tmp_path / "mine.toml"
    if encoding == "typographic":
        path.write_text(text.replace('"', "”"))
    else:
        path.write_text(text, encoding=encoding)
    assert load(str(path)).description == "mine"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(Problem, match="it is not UTF-8"):
        load(str(path))
