"""The token endpoint of the simulated cloud: turns a request into an answer (PROTOCOL §12)."""

import base64
import binascii
import hmac

from rtms_cli.simulator.cloud_app import CloudApp, Find, form_fields, json_answer
from rtms_cli.simulator.cloud_tokens import TokenOffice
from rtms_cli.wire.http import Answer, Request

CLIENT, ACCOUNT = "client_credentials", "account_credentials"
_FORM = "application/x-www-form-urlencoded"


def token_answer(request: Request, app: CloudApp, tokens: TokenOffice, at_us: int, api_url: str, find: Find) -> Answer:
    """Issue a token, or return an error.

    :param api_url: the REST API's URL in the token answer.
    """
    if request.method != "POST":
        find("oauth", f"{request.method} was used to request a token; use POST", True)
        return Answer(405, fields=((b"allow", b"POST"),))
    pair = _basic(request.field(b"authorization") or "")
    if pair is None:
        find("oauth", "a token request has no Authorization: Basic base64(id:secret)", True)
        return _refused("Client ID or client secret is missing", "invalid_client", 4706)
    is_form = (request.field(b"content-type") or "").partition(";")[0].strip().lower() == _FORM
    if request.body and not is_form:
        find("oauth", "the body of a token request is not a form", True)
        return _refused("unsupported content type", "invalid_request", 4706, 415)
    given = form_fields(request.target.partition("?")[2]) | form_fields(request.body.decode("latin-1"))
    flow = given.get("grant_type", "")
    if not flow:
        find("oauth", "a token request has no grant_type", True)
        return _refused("grant_type is missing", "invalid_request", 4706)
    flows = _flows(pair, app)
    if flows is None:
        find("oauth", "a token request has a client id and secret that do not match", True)
        return _refused("Invalid client_id or client_secret", "invalid_client", 4702)
    if flow not in flows:
        # Not a mistake: a client that does not know the kind of app tries one flow after the other.
        find("oauth", f"this app cannot get tokens by {flow[:40]}", False)
        return _refused("unsupported grant type", "unsupported_grant_type", 4705)
    if flow == ACCOUNT and given.get("account_id", "") != app.account_id:
        find("oauth", "a token request has a wrong account_id or none", True)
        return _refused("Bad Request", "invalid_request", None)
    scopes = tuple(f"{scope}:admin" if _has_admin(scope, flow) else scope for scope in app.scopes)
    fields = {
        "access_token": tokens.issue(at_us, flow, pair[0], scopes),
        "token_type": "bearer",
        "expires_in": tokens.lifetime_s,
        "scope": " ".join(scopes),
        "api_url": api_url,
    }
    return json_answer(200, fields, ((b"cache-control", b"no-store"),))


def _has_admin(scope: str, flow: str) -> bool:
    return flow == ACCOUNT and not scope.endswith(":admin")


def _basic(header: str) -> tuple[str, str] | None:
    """Return id and secret from the header."""
    kind, _, text = header.partition(" ")
    try:
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, secret) if kind.lower() == "basic" and colon and name and secret else None


def _flows(pair: tuple[str, str], app: CloudApp) -> tuple[str, ...] | None:
    """Return the flows by which an app gets tokens, or `None` for an unknown app."""
    own = (app.client_id, app.client_secret)
    if app.server_to_server is None:
        return (CLIENT, ACCOUNT) if _is_same(pair, own) else None
    if _is_same(pair, own):
        return (CLIENT,)
    return (ACCOUNT,) if _is_same(pair, app.server_to_server) else None


def _is_same(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return one[0] == other[0] and hmac.compare_digest(one[1].encode(), other[1].encode())


def _refused(reason: str, error: str, code: int | None, status: int = 400) -> Answer:
    """Return an error in the documented form, with its code if one is documented."""
    fields: dict[str, object] = {"reason": reason, "error": error}
    if code is not None:
        fields["errorCode"] = code
    return json_answer(status, fields)
