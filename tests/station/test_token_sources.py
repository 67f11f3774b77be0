"""Which ways to a token there are with which credentials."""

from pathlib import Path

import pytest

from rtms_cli.cloud.tokens import TokenFlow
from rtms_cli.commands.groups import CloudOptions
from rtms_cli.errors import Problem
from rtms_cli.station.credentials import load_credentials
from rtms_cli.station.token_sources import token_sources

APP = {"ZOOM_CLIENT_ID": "app", "ZOOM_CLIENT_SECRET": "its secret"}
SERVER = {"ZOOM_S2S_CLIENT_ID": "s2s", "ZOOM_S2S_CLIENT_SECRET": "another"}
ACCOUNT = {"ZOOM_ACCOUNT_ID": "account"}
TOKEN = {"ZOOM_ACCESS_TOKEN": "token"}
CLIENT_FLOW, ACCOUNT_FLOW, GIVEN = TokenFlow


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (APP, [(CLIENT_FLOW, "app")]),
        (APP | ACCOUNT, [(CLIENT_FLOW, "app"), (ACCOUNT_FLOW, "app")]),
        (TOKEN | APP | SERVER | ACCOUNT, [(CLIENT_FLOW, "app"), (ACCOUNT_FLOW, "s2s"), (GIVEN, "")]),
        (SERVER | ACCOUNT, [(ACCOUNT_FLOW, "s2s")]),
        (TOKEN, [(GIVEN, "")]),
    ],
)
def test_each_way_for_which_everything_is_set_is_tried_in_order(
    settings: dict[str, str], found: list[tuple[TokenFlow, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    sources = token_sources(load_credentials(env_file=tmp_path / ".env"))
    assert [(source.flow, source.client_id) for source in sources] == found
    for flow, _ in found:
        assert [source.flow for source in token_sources(load_credentials(env_file=tmp_path / ".env"), flow)] == [flow]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    for name, value in SERVER.items():
        monkeypatch.setenv(name, value)
    credentials = load_credentials(env_file=tmp_path / ".env")
    with pytest.raises(Problem, match=r"--token-flow account_credentials needs what is not set. Set ZOOM_ACCOUNT_ID"):
        token_sources(credentials, ACCOUNT_FLOW)
    with pytest.raises(Problem, match="nothing to ask Zoom for a token with"):
        token_sources(credentials)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*APP, *SERVER, *ACCOUNT, *TOKEN):
        monkeypatch.delenv(name, raising=False)


def test_a_flow_may_be_named_by_its_beginning() -> None:
    for name, flow in (("client", CLIENT_FLOW), ("account_credentials", ACCOUNT_FLOW), ("access", GIVEN), (None, None)):
        assert CloudOptions(token_flow=name).flow() is flow
    for name in ("", "a", "ac", "device_code"):
        with pytest.raises(Problem, match="is not a token flow"):
            CloudOptions(token_flow=name).flow()
