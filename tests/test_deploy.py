"""The files in `deploy/`: the tools that are here read them, their options exist, and they agree with each other."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from processes import CREDENTIALS, environment, running
from test_architecture import PACKAGE

from rtms_cli.commands import listing
from rtms_cli.feed.places import FOLDER_VARIABLE
from rtms_cli.wire.probes import PATHS

DEPLOY = PACKAGE.parent / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
RECORDERS = [path for path in UNITS if path.name != "rtms-web.service"]
SECRETS = {"ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN", "STORE_PASSWORD", "RTMS_QUEUE_PASSWORD"}
MOST_EXPOSED = 20
"""Of 100, as `systemd-analyze security` counts."""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def manifests() -> list[dict[str, Any]]:
    files = sorted(path for path in KUBERNETES.glob("*.yaml") if path.name != "kustomization.yaml")
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [one for one in manifests() if one["kind"] in kinds]


def compose() -> dict[str, Any]:
    read = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert isinstance(read, dict)
    return read


def unit(path: Path) -> dict[str, list[str]]:
    """A unit's settings."""
    settings: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every `rtms` that is started, and where."""
    for path in UNITS:
        yield path.name, shlex.split(unit(path)["ExecStart"][0])[1:]
    for name in ("listener", "worker"):
        yield f"compose: {name}", compose()["services"][name]["command"]
    for one in of_kind("Deployment", "StatefulSet"):
        yield f"kubernetes: {one['metadata']['name']}", one["spec"]["template"]["spec"]["containers"][0]["args"]
    for line in re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        yield "Dockerfile", yaml.safe_load(line)


@pytest.mark.parametrize(("where", "arguments"), list(command_lines()), ids=[where for where, _ in command_lines()])
def test_every_option_exists(where: str, arguments: list[str]) -> None:
    command, given = listing.load(arguments[0]), [one for one in arguments if one.startswith("--")]
    given = [one.partition("=")[0] for one in given]
    assert given
    known = {option for parameter in command.params for option in parameter.opts}
    assert not set(given) - known
    values = dict(_values(arguments[1:]))
    try:
        command.make_context("rtms", [f"{name}={value}" if value else name for name, value in values.items()])
    except typer.Exit as error:  # pragma: no cover
        pytest.fail(f"{where}: {error}")


def _values(arguments: list[str]) -> Iterator[tuple[str, str]]:
    waiting = list(arguments)
    while waiting:
        name, _, value = waiting.pop(0).partition("=")
        if not value and waiting and not waiting[0].startswith("--"):
            value = waiting.pop(0)
        yield name, value


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_reads_the_unit(path: Path, tmp_path: Path) -> None:
    # The only change: a program that is there.
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/rtms/bin/rtms", "/bin/true"))
    analyze = tool("systemd-analyze")
    verified = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("path", RECORDERS, ids=lambda path: path.name)
def test_a_unit_waits_for_the_drain(path: Path) -> None:
    settings = unit(path)
    drain = dict(_values(shlex.split(settings["ExecStart"][0])[2:])).get("--drain", "0m")
    assert int(settings["TimeoutStopSec"][0]) >= 60 * int(drain.removesuffix("m")) + 60
    assert settings["Type"] == ["notify"]
    assert settings["ExecReload"] == ["/bin/kill -USR1 $MAINPID"]
    assert (DEPLOY / "systemd/notify-reload.conf").read_text().count("ReloadSignal=SIGUSR1") == 1


def test_the_pages_find_the_feed() -> None:
    recorder, pages = (unit(DEPLOY / "systemd" / name) for name in ("rtms.service", "rtms-web.service"))
    (folder,) = recorder["RuntimeDirectory"]
    assert recorder["RuntimeDirectoryMode"] == ["0700"]
    assert recorder["Environment"] == pages["Environment"] == [f"{FOLDER_VARIABLE}=/run/{folder}"]
    assert "RuntimeDirectory" not in pages, "systemd would remove the folder with the pages"
    for name in ("User", "StateDirectory", "PrivateUsers"):
        assert recorder[name] == pages[name], name


def test_compose_refers_to_what_is_there() -> None:
    read = compose()
    services = read["services"]
    assert set(services) == {"listener", "worker", "queue", "store", "bucket"}
    assert services["worker"]["deploy"]["replicas"] == 2
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service["networks"]) <= set(read["networks"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= set(read["volumes"])
    assert (DEPLOY / services["worker"]["build"]["context"] / services["worker"]["build"]["dockerfile"]).is_file()
    used = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert used == set(unit(DEPLOY / "example.env"))


def test_the_image_is_small_and_nobodys_root() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 2
    assert re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert "/healthz" in text
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert "curl" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
    root = PACKAGE.parent
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE)
    let_in = (root / ".dockerignore").read_text().split()
    for name in " ".join(copied).split():
        assert (root / name).exists()
        assert f"!{name}" in let_in


async def test_the_images_health_check(tmp_path: Path) -> None:
    found = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    _, *arguments = yaml.safe_load(found[1])

    async def check(port: int) -> int:
        settings = {"HEALTH_URL": f"http://127.0.0.1:{port}/healthz"}
        asking = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=environment(settings), stderr=asyncio.subprocess.DEVNULL
        )
        return await asking.wait()

    async with running("listen", "--port", "0", "--plain", cwd=tmp_path, settings=CREDENTIALS) as listen:
        port = int((await listen.line_with("listening on")).rpartition(":")[2].partition("/")[0])
        assert await check(port) == 0
        listen.process.terminate()
        assert await listen.exit_code() == 0
    assert await check(port) == 1


def test_kubernetes_puts_it_together() -> None:
    built = subprocess.run([tool("kubectl"), "kustomize", KUBERNETES], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    documents = list(yaml.safe_load_all(built.stdout))
    names = sorted((one["kind"], one["metadata"]["name"]) for one in documents)
    assert names == sorted((one["kind"], one["metadata"]["name"]) for one in manifests())
    images = set(re.findall(r"image: (\S+)", built.stdout))
    assert images == {"registry.example.com/rtms:latest"}


def test_kubernetes_agrees_with_itself() -> None:
    accounts = {one["metadata"]["name"] for one in of_kind("ServiceAccount")}
    pods = {one["metadata"]["name"]: one["spec"]["template"] for one in of_kind("Deployment", "StatefulSet")}
    for one in of_kind("Deployment", "StatefulSet"):
        template = one["spec"]["template"]
        labels, spec = template["metadata"]["labels"], template["spec"]
        assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert spec["serviceAccountName"] in accounts
        assert spec["securityContext"]["runAsNonRoot"]
        (container,) = spec["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            asked = container[probe]["httpGet"]
            assert asked["path"] in PATHS
            assert asked["port"] in ports
        (port,) = ports.values()
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
        given = dict(_values(container["args"][1:]))
        assert str(port) in (given.get("--port"), given.get("--health-port"))
        volumes = {volume["name"] for volume in spec["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        drain = 60 * int(given.get("--drain", "0m").removesuffix("m"))
        assert spec["terminationGracePeriodSeconds"] >= drain + 30
    for selecting in of_kind("Service", "PodDisruptionBudget"):
        selector: Mapping[str, str] = selecting["spec"]["selector"]
        wanted = selector.get("matchLabels", selector)
        assert isinstance(wanted, dict)
        assert any(wanted.items() <= pod["metadata"]["labels"].items() for pod in pods.values())
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] in pods
    assert "replicas" not in next(one["spec"] for one in of_kind("StatefulSet"))


def test_the_autoscaler_reads_metrics_that_there_are() -> None:
    text = (KUBERNETES / "autoscaling.yaml").read_text()
    rule = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    made = re.findall(r"name: \{as: (\w+)\}", rule)
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    assert [metric["pods"]["metric"]["name"] for metric in scaler["spec"]["metrics"]] == made
    source = (PACKAGE / "fleet/standing.py").read_text()
    read = set(re.findall(r"(rtms_\w+)\{", rule))
    assert read == {"rtms_fleet_slots", "rtms_fleet_slots_free"}
    assert all(f'"{name}"' in source for name in read)


def test_no_secret_is_in_a_command_or_a_file() -> None:
    for where, arguments in command_lines():
        assert not [one for one in arguments if "secret" in one or "token" in one or "@" in one], where
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            for name in SECRETS:
                for value in re.findall(rf"{name}(?:=|: )(\S+)", path.read_text()):
                    assert value.startswith(("${", "…")), f"{path.name}: {name}"


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile",
        "compose.yaml",
        "kubernetes/kustomization.yaml",
        "systemd/notify-reload.conf",
        "systemd/rtms-web.service",
    ],
)
def test_what_was_not_tried_is_said(name: str) -> None:
    head = (DEPLOY / name).read_text()[:900]
    assert re.search(r"Not (built|run|checked)", head)
