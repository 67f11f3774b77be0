"""The ways to obtain a token with the configured credentials."""

from rtms_cli.cloud.tokens import TokenFlow, TokenSource
from rtms_cli.errors import Problem
from rtms_cli.station.credentials import Credentials

_NEEDS = {
    TokenFlow.CLIENT: "ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
    TokenFlow.ACCOUNT: "ZOOM_ACCOUNT_ID, with ZOOM_S2S_CLIENT_ID and ZOOM_S2S_CLIENT_SECRET or with ZOOM_CLIENT_ID and "
    "ZOOM_CLIENT_SECRET",
    TokenFlow.GIVEN: "ZOOM_ACCESS_TOKEN",
}


def token_sources(credentials: Credentials, flow: TokenFlow | None = None) -> list[TokenSource]:
    """The ways to a token for which everything is set, in the order in which they are tried.

    :param flow: the only one to try; `None` tries all.
    :raises Problem: if something is missing for that one, or nothing is set at all.
    """
    found: list[TokenSource] = []
    if (app := credentials.oauth) is not None:
        pair = (app.client_id.value, app.client_secret.value)
        found.append(TokenSource(TokenFlow.CLIENT, *pair, origin=app.client_id.source))
    server = credentials.server_to_server or credentials.oauth
    if credentials.account_id is not None and server is not None:
        pair = (server.client_id.value, server.client_secret.value)
        account_id = credentials.account_id.value
        found.append(TokenSource(TokenFlow.ACCOUNT, *pair, account_id, origin=server.client_id.source))
    if (token := credentials.access_token) is not None:
        found.append(TokenSource(TokenFlow.GIVEN, token=token.value, origin=token.source))
    if flow is not None:
        found = [source for source in found if source.flow is flow]
        if not found:
            raise Problem(f"--token-flow {flow} needs what is not set.", f"Set {_NEEDS[flow]}.")
    if not found:
        raise Problem(
            "There is nothing to ask Zoom for a token with.",
            f"Set {_NEEDS[TokenFlow.CLIENT]} in the environment or in .env; or {_NEEDS[TokenFlow.ACCOUNT]}; or "
            f"{_NEEDS[TokenFlow.GIVEN]}.",
        )
    return found
