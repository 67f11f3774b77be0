"""`rtms simulate` as its users see it: what it says of clients that it refuses, and of apps that answer wrongly."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from processes import CREDENTIALS, RTMS, Running, rtms, running, until
from receiver import receiving
from terminals import Terminal

from rtms_cli.simulator.zoom import Report
from rtms_cli.view.report import print_reports


async def stopped(process: Running) -> int:
    process.process.send_signal(signal.SIGINT)
    return await process.exit_code()


async def test_a_planned_refusal_is_told_at_once_and_in_the_report(tmp_path: Path) -> None:
    payload, scenario = tmp_path / "payload.json", tmp_path / "no.toml"
    scenario.write_text('description = "No."\n[[event]]\nat = "start"\nrefuse = 17\n')
    arguments = ("simulate", "--scenario", "no.toml", "--payload-out", payload)
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        joined = await asyncio.to_thread(rtms, "join", payload, cwd=tmp_path, settings=CREDENTIALS)
        assert joined.returncode == 3
        assert not list((tmp_path / "recordings").iterdir())
        refusal = "17 STATUS_INVALID_MEDIA_PARAMS"
        assert refusal in await simulate.line_with("note: signaling: the scenario refused the handshake")
        assert await stopped(simulate) == 0
    report, verdict = simulate.lines[-2:]
    assert report.endswith(f": refused as the scenario says, with {refusal}")
    assert verdict == "clean: the client was refused once, as the scenario says, and did nothing wrong."


async def test_a_client_with_a_wrong_secret_is_refused_and_not_absent(tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    async with running("simulate", "--payload-out", payload, cwd=tmp_path, settings=CREDENTIALS) as simulate:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        wrong = CREDENTIALS | {"ZOOM_CLIENT_SECRET": "another"}
        await asyncio.to_thread(rtms, "join", payload, cwd=tmp_path, settings=wrong)
        assert not list((tmp_path / "recordings").iterdir())
        assert "1: the signature is wrong" in await simulate.line_with("wrong: signaling")
        assert await stopped(simulate) == 1
    (report,) = [line for line in simulate.lines if line.startswith("meeting ")]
    assert report.endswith(": refused with 3 STATUS_INVALID_SIGNATURE")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (CREDENTIALS, "Is the secret token the same there?"),
        ({}, "The simulator generated its secret token: give the app the token shown above"),
    ],
)
async def test_an_app_that_answers_401_is_told_of_at_once(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    async with receiving(lambda got: 401) as app:
        async with running("simulate", "--webhook", app.url, cwd=tmp_path, settings=settings) as simulate:
            line = await simulate.line_with("wrong: webhook")  # the client would have 60 s from here
            assert "the app answered the started webhook with 401 and 'ok' instead of 200." in line
            assert said in line
            assert await stopped(simulate) == 1
    assert len([one for one in simulate.lines if said in one]) == 2, "at once and in the report, not for each webhook"
    assert any(line.startswith("No credentials are configured") for line in simulate.lines) is not bool(settings)


async def test_a_secret_token_alone_is_made_up_and_shown_too(tmp_path: Path) -> None:
    settings = {name: value for name, value in CREDENTIALS.items() if name != "ZOOM_SECRET_TOKEN"}
    async with receiving() as app:
        async with running("simulate", "--webhook", app.url, cwd=tmp_path, settings=settings) as simulate:
            await simulate.line_with("No secret token is configured")
            token = (await simulate.line_with("ZOOM_SECRET_TOKEN=")).partition("=")[2]
            await until(lambda: app.got)
            simulate.process.send_signal(signal.SIGINT)
            await simulate.exit_code()
    assert len(token) > 10
    assert "signature" not in json.loads(app.got[0].body)["payload"]  # the client has what signs


async def test_serving_ends_without_a_report_of_a_client_that_never_came(tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "1", cwd=tmp_path).returncode == 0
    recording = next((tmp_path / "recordings").iterdir())
    payload = tmp_path / "payload.json"
    arguments = ("replay", recording, "--serve", "--speed", "max", "--payload-out", payload)
    async with running(*arguments, cwd=tmp_path, settings=CREDENTIALS) as serve:
        await until(lambda: payload.exists() and payload.read_text().endswith("\n"))
        joined = await asyncio.to_thread(rtms, "join", payload, "--out", "again", cwd=tmp_path, settings=CREDENTIALS)
        assert joined.returncode == 0, joined.stdout + joined.stderr
        await serve.line_with("clean: the client did everything right.")
        assert await stopped(serve) == 0
    assert len([line for line in serve.lines if line.startswith("meeting ")]) == 1
    assert serve.lines[-1] == "clean: the client did everything right."


def test_nobody_is_not_clean(capsys: pytest.CaptureFixture[str]) -> None:
    print_reports([Report("meeting", "s", False, False, {}, {}, 0, 0, None, ())], as_json=False)
    said = capsys.readouterr().out
    assert said == "meeting s: no client came\nNo client came, so nothing was checked.\n"
    again = Report("meeting", "s", True, True, {}, {}, 0, 0, None, (), {}, {"45 STATUS_INTERNAL_EXCEPTION": 2})
    print_reports([again], as_json=False)
    assert capsys.readouterr().out == (
        "meeting s: refused as the scenario says, with 45 STATUS_INTERNAL_EXCEPTION (2 times); ready; sent no media; "
        "keep-alives 0/0 answered\n"
        "clean: the client was refused 2 times, as the scenario says, and did nothing wrong.\n"
    )


def test_on_a_terminal_the_next_command_is_named(tmp_path: Path) -> None:
    """With what it needs: the signature is in the payload, for the simulator made its credentials up."""
    simulate = Terminal([*RTMS, "simulate", "--payload-out", "a payload.json"], tmp_path)
    try:
        simulate.shows("Next: rtms join 'a payload.json'   record it, from another terminal")
        wrong = rtms("join", "a payload.json", cwd=tmp_path, settings=CREDENTIALS)
        assert wrong.returncode == 3
        simulate.shows("wrong: signaling: 1: the signature is wrong")
        simulate.type("\x03")
        assert simulate.end() == 1
        assert "Next: rtms sign handshake 'a payload.json'   the signature that it needs" in simulate.text
    finally:
        simulate.close()
