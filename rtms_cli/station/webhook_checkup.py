"""What `rtms doctor` sends a webhook URL: a challenge, a forgery, and a body in another form."""

from rtms_cli.protocol.secrets import Secret
from rtms_cli.protocol.signatures import rewritten_json
from rtms_cli.simulator.webhooks import VALIDATION, webhook_body
from rtms_cli.station.checkup import Check
from rtms_cli.station.endpoint import FORGERS_TOKEN, Sent, probe
from rtms_cli.wire.poster import NoAnswerError

_PLAIN = "rtms-doctor"


async def webhook_checks(url: str, secret_token: Secret | None) -> list[Check]:
    """Whether an app behind a URL answers and verifies webhooks as Zoom wants it."""
    if secret_token is None:
        return [Check(url, "unknown", "a challenge cannot be signed without ZOOM_SECRET_TOKEN")]
    challenge = webhook_body(VALIDATION, 0, {"plainToken": _PLAIN})
    found = [
        await _ask("validation", url, challenge, secret_token, Sent.CHALLENGE),
        await _ask("forged webhook", url, challenge, FORGERS_TOKEN, Sent.FORGED),
    ]
    if found[0].verdict == "ok":
        spaced = challenge.replace(b",", b",  ").replace(b":", b" : ")
        raw = await _ask("signed", url, spaced, secret_token, Sent.CHALLENGE)
        rewritten = await _ask("signed", url, spaced, secret_token, Sent.CHALLENGE, rewritten_json(spaced))
        found.append(_signed_form(raw.verdict == "ok", rewritten.verdict == "ok"))
    return found


def _signed_form(raw: bool, rewritten: bool) -> Check:
    """Which text an app verifies: Zoom's sources disagree, and only a body that is not compact tells."""
    name = "signed text"
    if raw:
        both = ", and the body as JSON.stringify writes it" if rewritten else ""
        return Check(name, "ok", f"the app accepts a signature of the raw body{both}")
    fix = "Verify the bytes as they came, before any parser: a body with other blanks or escapes is rejected now."
    if rewritten:
        return Check(name, "wrong", "the app accepts a signature of the body as JSON.stringify writes it, only", fix)
    return Check(name, "wrong", "the app rejects a body with blanks, however it is signed", fix)


async def _ask(name: str, url: str, body: bytes, secret_token: str, sent: Sent, signed: bytes | None = None) -> Check:
    try:
        answer, judgement = await probe(url, body, secret_token, sent, plain_token=_PLAIN, signed=signed)
    except NoAnswerError as error:
        fix = "Does `rtms listen` run, and does the tunnel or proxy point at it?"
        return Check(name, "wrong", f"no answer: {error}", fix)
    said = f"answered {answer.status} after {answer.took_s:.2f} s: {judgement.what}"
    return Check(name, "ok" if judgement.right else "wrong", said, judgement.fix)
