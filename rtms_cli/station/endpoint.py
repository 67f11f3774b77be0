"""What an app's webhook endpoint is worth: posts a webhook as Zoom does, and judges the answer (PROTOCOL §2)."""

import ssl
import time
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from rtms_cli.protocol.messages import loads
from rtms_cli.protocol.pasted import read_pasted
from rtms_cli.protocol.signatures import challenge_answer, signed_headers
from rtms_cli.protocol.suspects import challenge_mistakes
from rtms_cli.protocol.webhooks import ACCEPTED, ANSWER_S, answer_fix
from rtms_cli.wire.poster import Answer, post

PATIENCE_S = 10.0
"""How long an answer is waited for: longer than Zoom does, so that there is a time to tell."""
FORGERS_TOKEN = "a secret token that is not yours"  # noqa: S105


class Sent(StrEnum):
    """What kind of webhook an answer is to."""

    CHALLENGE = "challenge"
    GOOD = "good"
    FORGED = "forged"
    STALE = "stale"


class Judgement(Struct, frozen=True):
    """What one answer is worth."""

    right: bool
    what: str
    fix: str = ""


_REFUSALS = (400, 401, 403)
_LET_IN = {
    Sent.FORGED: "Anyone can send webhooks there: verify x-zm-signature.",
    Sent.STALE: "Anyone who has seen a webhook can send it again: reject timestamps that are more than 300 s off.",
}


async def probe(
    url: str,
    body: bytes,
    secret_token: str,
    sent: Sent,
    *,
    plain_token: str = "",
    age_s: int = 0,
    signed: bytes | None = None,
    tls: ssl.SSLContext | None = None,
) -> tuple[Answer, Judgement]:
    """Post a signed webhook, and judge the answer.

    :param plain_token: that of a challenge.
    :param age_s: how old the webhook says that it is.
    :param signed: what is signed in place of the body.
    :raises NoAnswerError: if there is no answer within `PATIENCE_S`.
    """
    headers = signed_headers(secret_token, int(time.time()) - age_s, body if signed is None else signed)
    answer = await post(url, body, headers, PATIENCE_S, tls)
    return answer, judge(sent, answer, secret_token, plain_token)


def judge(sent: Sent, answer: Answer, secret_token: str, plain_token: str) -> Judgement:
    """Judge an answer.

    :param plain_token: that of a challenge.
    """
    if sent in _LET_IN:
        if 200 <= answer.status < 300:
            return Judgement(False, f"the {sent} webhook was accepted", _LET_IN[sent])
        if answer.status not in _REFUSALS:
            return Judgement(False, f"the {sent} webhook was not rejected with 401", "Is the path right?")
        return Judgement(True, f"the {sent} webhook was rejected")
    if answer.status not in (ACCEPTED[:1] if sent is Sent.CHALLENGE else ACCEPTED):
        again = "" if sent is Sent.CHALLENGE else ", and sends the webhook again"
        return Judgement(False, f"Zoom wants 200{again}", answer_fix(answer.status))
    if sent is Sent.CHALLENGE and (wrong := _wrong_answer(answer.body, secret_token, plain_token)) is not None:
        return wrong
    if answer.took_s > ANSWER_S:
        fix = "Answer first, then do the work."
        return Judgement(False, f"too late: Zoom waits {ANSWER_S:.0f} s", fix)
    return Judgement(True, "the challenge was answered correctly" if sent is Sent.CHALLENGE else "accepted")


def _wrong_answer(body: bytes, secret_token: str, plain_token: str) -> Judgement | None:
    right = challenge_answer(secret_token, plain_token)
    try:
        found = loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Judgement(
            False, f"the answer to the challenge is {_not_an_object(body)}", "Answer with JSON: both tokens."
        )
    for name, inner in found.items():
        if isinstance(inner, str) and "oken" in inner:
            inner = _object_in(inner)
        if isinstance(inner, dict) and "plainToken" not in found and (_misnamed(inner, right) or "plainToken" in inner):
            return Judgement(False, f"the answer has its tokens inside {name!r}", "Put them at the top level.")
    if misnamed := _misnamed(found, right):
        names = " and ".join(f"{wrong} instead of {wanted}" for wrong, wanted in misnamed.items())
        return Judgement(
            False, f"the answer has {names}", "Zoom expects plainToken and encryptedToken, spelled like this."
        )
    if found.get("plainToken") != right["plainToken"]:
        return Judgement(
            False, "the answer's plainToken is not the challenge's", "Answer with the one from the challenge."
        )
    given = found.get("encryptedToken")
    if given == right["encryptedToken"]:
        return None
    fix = "It is the hex HMAC-SHA256 of the plainToken, with the app's secret token as the key."
    if not isinstance(given, str):
        why = "it is missing" if given is None else "it is not text"
    elif given == plain_token:
        why = "it is the plainToken"
    else:
        mistakes = challenge_mistakes(given, secret_token, plain_token)
        why = "; and ".join(mistakes or ()) or "does the app have another secret token?"
    return Judgement(False, f"the answer's encryptedToken is wrong: {why}", fix)


def _not_an_object(body: bytes) -> str:
    """What an answer is in place of a JSON object, for people."""
    if not body.strip():
        return "empty"
    try:
        return f"not a JSON object, but {read_pasted(body).form or 'another value'}"
    except ValueError as error:
        return f"not a JSON object: {error}"


def _object_in(text: str) -> object:
    try:
        return loads(text.encode())
    except ValueError:
        return None


def _misnamed(answer: Mapping[str, object], right: Mapping[str, str]) -> dict[str, str]:
    """Keys with a right value, or that differ from the right ones in case and marks only, with what they should be."""
    plain = {"".join(filter(str.isalnum, name)).lower(): name for name in answer}
    found: dict[str, str] = {}
    for name, value in right.items():
        by_value = next((other for other, its in answer.items() if its == value and other not in right), None)
        wrong = plain.get(name.lower()) or by_value
        if name not in answer and wrong is not None:
            found[wrong] = name
    return found
