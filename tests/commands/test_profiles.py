"""Profiles: two apps of one account, whose settings and credentials are never mixed."""

import json
from pathlib import Path

import pytest
from processes import rtms

USERS = """
out = "mine"
[profiles.prod]
out = "prod-recordings"
[profiles.prod.listen]
port = 8443
[profiles.prod.credentials]
client-id = "prod-id"
client-secret = "prod-secret"
secret-token = "prod-token"
[profiles.dev]
env-file = "dev.env"
"""
ENVIRONMENT = {"ZOOM_CLIENT_ID": "stray-id", "ZOOM_CLIENT_SECRET": "stray-secret", "ZOOM_SECRET_TOKEN": "stray-token"}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with a file of settings, and stray credentials everywhere."""
    folder = tmp_path / "config" / "rtms"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(USERS)
    (folder / "config.toml").chmod(0o600)
    (folder / "dev.env").write_text("ZOOM_CLIENT_ID=dev-id\nZOOM_CLIENT_SECRET=dev-secret\n")
    (tmp_path / ".env").write_text("ZOOM_SECRET_TOKEN=other-token\n")
    return ENVIRONMENT | {"XDG_CONFIG_HOME": str(folder.parent)}


def held(cwd: Path, settings: dict[str, str], *options: str) -> tuple[dict[tuple[str, str], object], dict[str, str]]:
    done = rtms(*options, "config", "--json", cwd=cwd, settings=settings)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return {(one["command"], one["option"]): one["value"] for one in told["settings"]}, told["credentials"]


def test_a_profile_wins_over_files_and_the_environment_over_it(tmp_path: Path, home: dict[str, str]) -> None:
    assert held(tmp_path, home)[0]["listen", "out"] == "mine"
    (tmp_path / "rtms.toml").write_text('out = "project"\n[profiles.prod]\nmedia = "audio"\n')
    assert held(tmp_path, home)[0]["listen", "out"] == "project"
    found, _ = held(tmp_path, home, "--profile", "prod")
    assert (found["listen", "out"], found["listen", "port"]) == ("prod-recordings", 8443)
    assert found["join", "media"] == "audio"
    found, _ = held(tmp_path, home | {"RTMS_PROFILE": "prod", "RTMS_OUT": "here"})
    assert found["listen", "out"] == "here"
    assert ("listen", "port") not in held(tmp_path, home, "--profile", "dev")[0]


def test_credentials_come_from_the_profile_alone(tmp_path: Path, home: dict[str, str]) -> None:
    assert held(tmp_path, home)[1]["client_id"] == "ZOOM_CLIENT_ID"
    _, prod = held(tmp_path, home, "--profile", "prod")
    assert prod["client_id"].endswith("config.toml [profiles.prod] client-id")
    assert prod["secret_token"].endswith("config.toml [profiles.prod] secret-token")
    _, dev = held(tmp_path, home, "--profile", "dev")
    assert dev["client_secret"].startswith("ZOOM_CLIENT_SECRET in ")
    assert dev["client_secret"].endswith("dev.env")
    assert dev["secret_token"] is None, "neither the environment's nor that of .env"


def test_a_profile_may_be_named_behind_the_command(tmp_path: Path, home: dict[str, str]) -> None:
    for place in (("--profile", "prod", "config"), ("config", "--profile", "prod"), ("config", "--profile=prod")):
        done = rtms(*place, "--json", cwd=tmp_path, settings=home | {"RTMS_PROFILE": "dev"})
        told = json.loads(done.stdout)
        assert (told["profile"], told["credentials"]["client_id"][-9:]) == ("prod", "client-id"), done.stderr
    done = rtms("listen", "--profile", "prod", "--mode", "x", cwd=tmp_path, settings=home)
    assert "\nerror: --mode x" in done.stderr
    users = tmp_path / "config" / "rtms" / "config.toml"
    users.write_text('[profiles.prod]\nmode = "x"\n')
    done = rtms("listen", "--profile", "prod", cwd=tmp_path, settings=home)
    assert "config.toml [profiles.prod]: --mode x " in done.stderr
    assert "There is no profile nosuch" in rtms("ls", "--profile", "nosuch", cwd=tmp_path, settings=home).stderr


def test_config_shows_the_profile_and_what_it_keeps_out(tmp_path: Path, home: dict[str, str]) -> None:
    lines = rtms("config", "--profile", "prod", cwd=tmp_path, settings=home).stdout.splitlines()
    assert lines[0] == "profile prod"
    told = [" ".join(line.split()) for line in lines]
    for place in ("ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN", ".env"):
        assert f"{place} - not used under profile prod" in told
    assert any(line.startswith("listen port 8443 ") and line.endswith("[profiles.prod] [listen]") for line in told)
    assert "prod-secret" not in "".join(lines)


def test_credentials_of_a_profile_are_in_one_place(tmp_path: Path, home: dict[str, str]) -> None:
    """A folder that one is in cannot put its own beside them."""
    (tmp_path / "rtms.toml").write_text('[profiles.prod]\nenv-file = "evil.env"\n')
    (tmp_path / "evil.env").write_text("ZOOM_CLIENT_ID=evil\n")
    done = rtms("--profile", "prod", "config", cwd=tmp_path, settings=home)
    assert done.returncode == 2
    assert "error: Profile prod has credentials in 2 places: " in done.stderr
    assert "credentials of " in done.stderr
    assert "env-file of rtms.toml [profiles.prod]." in done.stderr


def test_a_profile_keeps_out_all_of_env(tmp_path: Path, home: dict[str, str]) -> None:
    """Where the cloud is, and secrets that are not Zoom's, stand in `.env` too."""
    (tmp_path / ".env").write_text("ZOOM_BASE=nowhere.example\n")
    done = rtms("status", "1", "--product", "phone", cwd=tmp_path, settings=home)
    assert "error: ZOOM_BASE in .env=nowhere.example is not a cloud" in done.stderr
    done = rtms("status", "1", "--product", "phone", "--profile", "dev", cwd=tmp_path, settings=home)
    assert "nowhere.example" not in done.stderr
    with (tmp_path / "config" / "rtms" / "dev.env").open("a") as file:
        file.write("ZOOM_BASE=dev.example\n")
    done = rtms("status", "1", "--product", "phone", "--profile", "dev", cwd=tmp_path, settings=home)
    assert "dev.example is not a cloud" in done.stderr


def test_what_is_missing_belongs_into_the_profile(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "config" / "rtms" / "dev.env").write_text("")
    done = rtms("stop", "85512345678", "--profile", "dev", cwd=tmp_path, settings=home)
    assert done.returncode == 2
    assert "in profile dev, " in done.stderr.splitlines()[-1]
    assert ".env" not in done.stderr.splitlines()[-1]


def test_signatures_are_made_with_the_profiles_secret(tmp_path: Path, home: dict[str, str]) -> None:
    made = {}
    for name in ("prod", "dev"):
        arguments = ("--profile", name, "sign", "--id", "u", "--stream-id", "s", "--json")
        done = rtms(*arguments, cwd=tmp_path, settings=home)
        assert done.returncode == 0, done.stderr
        unused = "ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET, ZOOM_SECRET_TOKEN, .env"
        assert f"note: profile {name} does not use {unused}" in done.stderr
        made[name] = done.stdout
    assert made["prod"] != made["dev"]
    wanted = rtms(
        *arguments[2:], cwd=tmp_path, settings={"ZOOM_CLIENT_ID": "dev-id", "ZOOM_CLIENT_SECRET": "dev-secret"}
    )
    assert json.loads(made["dev"])["signature"] == json.loads(wanted.stdout)["signature"]


def test_what_is_wrong_with_a_profile_is_named(tmp_path: Path, home: dict[str, str]) -> None:
    def told(*options: str) -> str:
        done = rtms(*options, "config", cwd=tmp_path, settings=home)
        assert done.returncode == 2, done.stdout
        assert "prod-secret" not in done.stderr
        return done.stderr

    assert "There is no profile nosuch" in told("--profile", "nosuch")
    assert "dev, prod" in told("--profile", "nosuch")
    users = tmp_path / "config" / "rtms" / "config.toml"
    users.chmod(0o644)
    assert "others may read it" in told("--profile", "prod")
    users.chmod(0o600)
    (tmp_path / "rtms.toml").write_text('[profiles.prod.credentials]\nclient-id = "x"\n')
    assert "do not belong there" in told("--profile", "prod")
    (tmp_path / "rtms.toml").write_text('[profiles]\nprod = "x"\n')
    assert "does not hold tables" in told("--profile", "prod")
    (tmp_path / "rtms.toml").unlink()
    users.write_text('[profiles.prod.credentials]\nclient = "x"\n[profiles.dev]\nenv-file = "gone.env"\n')
    assert "there is no credential client" in told("--profile", "prod")
    assert "gone.env is not there" in told("--profile", "dev")
    users.write_text('[profiles.dev]\nenv-file = "~nosuchuser/dev.env"\n')
    assert "dev.env is not there" in told("--profile", "dev")
    users.write_text("[profiles.prod]\nport = 1\nnosuch = 2\n")
    assert "there is no option nosuch" in told("--profile", "prod")


def test_a_profile_without_credentials_says_so(tmp_path: Path, home: dict[str, str]) -> None:
    (tmp_path / "config" / "rtms" / "config.toml").write_text("[profiles.empty]\n")
    (tmp_path / "payload.json").write_text(
        '{"meeting_uuid": "u", "rtms_stream_id": "s", "server_urls": "wss://rtms.zoom.us"}'
    )
    done = rtms("--profile", "empty", "join", "payload.json", "--plain", cwd=tmp_path, settings=home)
    assert done.returncode == 2
    assert "Profile empty has no credentials" in done.stderr
