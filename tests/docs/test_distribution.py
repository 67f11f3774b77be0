"""What people get: the workflows that build it, the GitHub Action, and one name for the place that it comes from."""

import asyncio
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port
from processes import environment

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTION = ROOT / "action"
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def read(path: Path) -> dict[Any, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def test_uvx_and_pipx_find_a_script_with_the_packages_name() -> None:
    scripts = project()["scripts"]
    assert scripts[project()["name"]] == scripts["rtms"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_do_no_more_than_it_needs(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 100, name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), name
            assert "uses" not in step or step["uses"] == "./action" or "@" in step["uses"], name


def test_only_the_job_that_publishes_can_publish() -> None:
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    assert [name for name, job in jobs.items() if job.get("permissions", {}).get("id-token") == "write"] == ["publish"]
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]
    assert "password" not in str(jobs)


def test_the_action_hands_over_what_its_script_reads() -> None:
    action = read(ACTION / "action.yml")
    (step,) = (step for step in action["runs"]["steps"] if "run.sh" in step["run"])
    read_by_script = set(re.findall(r"UNDER_TEST_\w+", (ACTION / "run.sh").read_text()))
    assert set(step["env"]) == read_by_script
    used = re.findall(r"\$\{\{ inputs\.(\w+) \}\}", str(action))
    assert sorted(used) == sorted(action["inputs"])
    (mine,) = (step for step in read(WORKFLOWS[0])["jobs"]["action"]["steps"] if step["uses"] == "./action")
    assert set(mine["with"]) <= set(action["inputs"])


async def act(place: Path, **given: str) -> tuple[int, str]:
    """Run the action's script, as GitHub would."""
    (place / "bin").mkdir()
    rtms = place / "bin/rtms"
    rtms.write_text(f'#!/bin/sh\nexec {sys.executable} -m rtms_cli "$@"\n')
    rtms.chmod(0o755)
    settings = {f"UNDER_TEST_{name.upper()}": value for name, value in given.items()}
    path = f"{place / 'bin'}:{environment()['PATH']}"
    process = await asyncio.create_subprocess_exec(
        "bash",
        ACTION / "run.sh",
        cwd=place,
        env=environment(settings | {"PATH": path, "GITHUB_STEP_SUMMARY": str(place / "summary.md")}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@needs_bash
@pytest.mark.timeout(180)
async def test_the_action_passes_an_app_that_does_everything_right(tmp_path: Path) -> None:
    port = free_port()
    code, said = await act(
        tmp_path,
        app=f"rtms listen --port {port} --plain --out kept",
        webhook=f"http://127.0.0.1:{port}/webhook",
        seconds="1",
        lint="kept/*",
    )
    assert code == 0, said
    assert "the client did everything right" in (tmp_path / "summary.md").read_text()
    (manifest,) = (tmp_path / "kept").glob("*/manifest.json")
    assert '"complete"' in manifest.read_text()


@needs_bash
@pytest.mark.timeout(180)
async def test_the_action_fails_an_app_that_zoom_would_not_validate(tmp_path: Path) -> None:
    port = free_port()
    code, said = await act(
        tmp_path,
        app=f"rtms listen --port {port} --plain --secret-token wrong",
        webhook=f"http://127.0.0.1:{port}/webhook",
    )
    assert code == 1, said
    assert not (tmp_path / "summary.md").exists()


@needs_bash
@pytest.mark.timeout(180)
async def test_the_action_fails_if_there_is_a_finding(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "bad.jsonl").write_text(
        (ROOT / "fixtures/captures/meeting.jsonl").read_text().replace('"msg_type":3,', "")
    )
    code, said = await act(
        tmp_path,
        app=f"rtms listen --port {port} --plain",
        webhook=f"http://127.0.0.1:{port}/webhook",
        seconds="1",
        lint="bad.jsonl",
    )
    assert code == 1, said
    assert "the client did everything right" in (tmp_path / "summary.md").read_text()


@needs_bash
@pytest.mark.timeout(180)
async def test_the_action_fails_if_the_app_does_not_start(tmp_path: Path) -> None:
    code, said = await act(tmp_path, app="false", webhook=f"http://127.0.0.1:{free_port()}/webhook", wait="20")
    assert code == 1
    assert "nothing listens" in said
