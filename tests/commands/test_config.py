"""Settings: files, environment, options, in that order; and what `rtms config` says of them."""

import json
from pathlib import Path

import pytest
from processes import rtms
from typer._click.core import Context
from typer._click.exceptions import BadParameter
from typer.core import TyperCommand

from rtms_cli import __version__
from rtms_cli.commands.settings import Defaults, options_of, plain_commands
from rtms_cli.errors import Problem

FILE = 'media = "audio"\nout = "from-file"\n[listen]\nport = 9999\nallow-host = ["a.example"]\n'


def held(cwd: Path, **settings: str) -> dict[tuple[str, str], tuple[object, str]]:
    done = rtms("config", "--json", cwd=cwd, settings=settings)
    assert done.returncode == 0, done.stderr
    return {(s["command"], s["option"]): (s["value"], s["source"]) for s in json.loads(done.stdout)["settings"]}


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "rtms.toml").write_text(FILE)
    assert held(tmp_path)["listen", "port"] == (9999, "rtms.toml [listen]")
    assert held(tmp_path)["listen", "allow-host"] == (["a.example"], "rtms.toml [listen]")
    assert held(tmp_path)["replay", "out"] == ("from-file", "rtms.toml")
    assert ("replay", "media") not in held(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.rtms]\nout = "from-project"\n[tool.rtms.listen]\nport = 9998\n')
    assert held(tmp_path)["listen", "port"] == (9998, "pyproject.toml [listen]")
    assert held(tmp_path)["join", "out"] == ("from-project", "pyproject.toml")
    assert held(tmp_path)["join", "media"] == ("audio", "rtms.toml")
    found = held(tmp_path, RTMS_OUT="from-all", RTMS_LISTEN_OUT="from-one", RTMS_ALLOW_HOST="b.example c.example")
    assert found["listen", "out"] == ("from-one", "RTMS_LISTEN_OUT")
    assert found["join", "out"] == ("from-all", "RTMS_OUT")
    assert found["listen", "allow-host"] == (["b.example", "c.example"], "RTMS_ALLOW_HOST")


@pytest.mark.parametrize(
    "content", [FILE.encode("utf-16"), FILE.encode("utf-8-sig"), FILE.replace('"', "“").replace("\n", "\r\n").encode()]
)
def test_a_file_as_editors_save_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rtms.toml").write_bytes(content)
    assert held(tmp_path)["listen", "allow-host"] == (["a.example"], "rtms.toml [listen]")


def test_commands_obey_and_options_win(tmp_path: Path) -> None:
    settings = (
        '[demo]\nmedia = "transcript"\nseconds = 1\nout = "elsewhere"\njson = true\n[listen]\nout = "elsewhere"\n'
    )
    (tmp_path / "rtms.toml").write_text(settings)
    done = rtms("demo", cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "complete"
    [folder] = (tmp_path / "elsewhere").iterdir()
    assert not (folder / "audio").exists()
    newest = rtms("inspect", cwd=tmp_path)
    assert (newest.returncode, newest.stderr) == (0, f"inspecting elsewhere/{folder.name}\n")
    exported = rtms("export", "--to", "csv", cwd=tmp_path)
    assert exported.stdout.endswith(f"elsewhere/{folder.name}/export/{folder.name}.packets.csv\n")
    rtms("demo", "--out", "here", "--media", "audio", cwd=tmp_path)
    [folder] = (tmp_path / "here").iterdir()
    assert (folder / "audio").exists()


def test_what_is_for_every_command_stays_with_those_that_mean_it(tmp_path: Path) -> None:
    """A form of audio is not a file, and a folder of recordings not where their films go."""
    (tmp_path / "rtms.toml").write_text(
        'out = "kept"\naudio = "opus"\nport = 9000\nwebhook = "http://127.0.0.1:9/"\n[export]\nto = ["csv"]\n'
    )
    having = set(held(tmp_path, RTMS_VIDEO="h264"))
    assert {("listen", "audio"), ("join", "video"), ("listen", "port"), ("doctor", "port")} <= having
    assert not having & {("export", "out"), ("simulate", "audio"), ("simulate", "video"), ("simulate", "port")}
    assert rtms("demo", "--seconds", "1", cwd=tmp_path).returncode == 0
    [folder] = (tmp_path / "kept").iterdir()
    exported = rtms("export", cwd=tmp_path)
    assert exported.stdout == f"kept/{folder.name}/export/{folder.name}.packets.csv\n"
    # What serves only is set for when it serves; given here, it is a mistake.
    assert rtms("replay", f"kept/{folder.name}", cwd=tmp_path).returncode == 0
    refused = rtms("replay", f"kept/{folder.name}", "--webhook", "http://127.0.0.1:9/", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (2, "error: --webhook needs --serve.")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    """`RTMS_OUT=` put recordings into the folder where the command ran."""
    (tmp_path / "rtms.toml").write_text('out = "there"\n[listen]\nport = 9000\n')
    settings = {"RTMS_OUT": "", "RTMS_LISTEN_PORT": "", "RTMS_LISTEN_TAP": ""}
    done = rtms("config", "listen", "--json", cwd=tmp_path, settings=settings)
    assert done.returncode == 0, done.stderr
    shown = rtms("config", "listen", cwd=tmp_path, settings=settings).stdout
    assert "RTMS_" not in shown
    assert "there" in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('to = "mp4"', "rtms.toml: to is not the same in every command.\n  Put it into [inspect] and"),
        ("prot = 1", "rtms.toml: there is no option prot.\n  Did you mean port?"),
        ("[listen]\nprot = 1", "rtms.toml [listen]: there is no option prot.\n  Did you mean port?"),
        ("[lissen]\nport = 1", "rtms.toml: there is no option lissen."),
        ("[sign]\nid = 1", "rtms.toml: there is no option sign."),
        ("port = ", "rtms.toml cannot be read"),
        ('{"port": 1}', "rtms.toml cannot be read: it is JSON, not TOML."),
        ('out = "C:\\Users\\me"', "a path with \\ goes between ' and '."),
        ('client-secret = "hidden"', "rtms.toml holds client-secret: credentials do not belong there."),
        (
            '[listen]\nsecret_token = "hidden"',
            "rtms.toml [listen] holds secret_token: credentials do not belong there.",
        ),
        ('out = "a\\u0000b"', "out contains a NUL"),
        ("[listen]\nport = true", "rtms.toml [listen]: port is true or false.\n  It has to be a text or a number."),
        ("[listen]\nport = [1]", "rtms.toml [listen]: port is a list.\n  It has to be a text or a number."),
        ("[listen]\nport = {a = 1}", "rtms.toml [listen]: port is a table.\n  It has to be a text or a number."),
        ("[listen]\nport = 2026-11-28", "rtms.toml [listen]: port is a date or a time.\n  It has to be"),
        ("[listen]\nsplit = 7", "rtms.toml [listen]: split is a number.\n  It has to be true or false."),
        ("[listen]\ntap = [[1]]", "rtms.toml [listen]: tap is a list"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "rtms.toml").write_text(content)
    done = rtms("config", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize(
    ("command", "option", "said"),
    [
        ("listen", "port", "Error: Invalid value for '--port' ({}): 'x' is not a valid int range."),
        ("listen", "split", "Error: Invalid value for '--split' ({}): 'x' is not a valid boolean."),
        ("listen", "workers", "error: {}: --workers x is not a number of processes."),
        ("listen", "mode", "error: {}: --mode x would make files"),
        ("listen", "tap", "error: {}: --tap x: "),
        ("join -", "media", "error: {}: --media: 'x' is not a kind of media"),
        ("demo", "seconds", "error: {}: --seconds x is not a time."),
        ("export", "to", "error: {}: --to x"),
    ],
)
def test_an_error_about_a_setting_names_its_source(command: str, option: str, said: str, tmp_path: Path) -> None:
    assert rtms("demo", "--seconds", "1", cwd=tmp_path).returncode == 0
    words = command.split()
    (tmp_path / ".env").write_text("ZOOM_CLIENT_ID=a\nZOOM_CLIENT_SECRET=b\n")
    variable = f"RTMS_{words[0]}_{option}".upper()
    runs = {variable: {variable: "x"}, f"rtms.toml [{words[0]}]": {}}
    for source, settings in runs.items():
        (tmp_path / "rtms.toml").write_text("" if settings else f'[{words[0]}]\n{option} = "x"\n')
        done = rtms(*words, cwd=tmp_path, settings=settings)
        assert done.returncode == 2, done.stderr
        assert said.format(source) in done.stderr
        given = rtms(*words, f"--{option}", "y", cwd=tmp_path, settings=settings)
        assert source not in given.stderr


def test_every_option_that_is_not_text_names_its_source() -> None:
    commands, tried = plain_commands(), 0
    for name, command in commands.items():
        for option, param in options_of(command).items():
            if param.type.name in ("str", "path"):
                continue
            parent = Context(TyperCommand("rtms"), obj=Defaults({}, {name: {str(param.name): "RTMS_X"}}))
            required = {str(one.name): "1d" for one in command.params if one.required and one.nargs == 1}
            parent.default_map = {name: required | {str(param.name): ["x"] if param.multiple else "x"}}
            with pytest.raises((Problem, BadParameter)) as raised:
                command.make_context(name, ["a"] * 3, parent=parent)
            error = raised.value
            shown = error.format_message() if isinstance(error, BadParameter) else str(error)
            assert "RTMS_X" in shown, (name, option, shown)
            tried += 1
    assert tried > 100


def test_credentials_are_named_not_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ZOOM_SECRET_TOKEN=hush-token\n")
    settings = {"ZM_RTMS_CLIENT": "hush-id", "ZM_RTMS_SECRET": "hush-secret"}
    done = rtms("config", cwd=tmp_path, settings=settings)
    assert "hush" not in done.stdout + done.stderr
    assert "ZOOM_SECRET_TOKEN in .env" in done.stdout
    assert "ZM_RTMS_SECRET" in done.stdout
    everything = rtms("config", "join", "--all", cwd=tmp_path, settings=settings).stdout
    assert "max-buffer" in everything
    assert "listen " not in everything


def test_what_urls_and_commands_may_hold_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "rtms.toml").write_text(
        'tap = ["audio:wss://me:hush-1@h.example/x?token=hush-2", "audio:exec:engine --api-key hush-3", "x:exec:\'"]\n'
        'on = ["finished=curl -u me:hush-4 https://h.example/"]\n'
        'notify = "https://h.example/x?token=hush-5"\n'
    )
    shown = rtms("config", "listen", cwd=tmp_path).stdout
    assert "hush" not in shown
    for kept in ("wss://", "h.example/x", "exec:engine --api-key", "finished=curl -u"):
        assert kept in shown


def test_first_steps_and_versions(tmp_path: Path) -> None:
    assert "rtms demo" in rtms(cwd=tmp_path).stdout
    versions = rtms("--version", cwd=tmp_path).stdout
    assert versions.startswith(f"rtms {__version__} (Python 3.")
    assert "\n  picows " in versions


def test_unknown_names_are_suggested(tmp_path: Path) -> None:
    assert "Did you mean 'listen'?" in rtms("lisen", cwd=tmp_path).stderr
    assert "--port" in rtms("listen", "--prt", "1", cwd=tmp_path).stderr
