"""What an app's webhook endpoint is worth: posts a webhook as Zoom does, and judges the answer (PROTOCOL §2)."""

import base64
import json
import ssl
import time
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from rtms_cli.protocol.signatures import challenge_answer, signed_headers
from rtms_cli.protocol.webhooks import ACCEPTED, ANSWER_S
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
    Sent.FORGED: "Anybody can send webhooks there: verify x-zm-signature.",
    Sent.STALE: "Who has seen a webhook can send it again: refuse timestamps that are more than 300 s off.",
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
    :raises NoAnswerError: where there is no answer within `PATIENCE_S`.
    """
    headers = signed_headers(secret_token, int(time.time()) - age_s, body if signed is None else signed)
    answer = await post(url, body, headers, PATIENCE_S, tls)
    return answer, judge(sent, answer, challenge_answer(secret_token, plain_token))


def judge(sent: Sent, answer: Answer, right: Mapping[str, str] | None = None) -> Judgement:
    """Judge an answer.

    :param right: what a challenge has to be answered with.
    """
    if sent in _LET_IN:
        if 200 <= answer.status < 300:
            return Judgement(False, f"the {sent} webhook was let in", _LET_IN[sent])
        if answer.status not in _REFUSALS:
            return Judgement(False, f"the {sent} webhook was not refused with 401", "Is the path right?")
        return Judgement(True, f"the {sent} webhook was refused")
    if answer.status not in (ACCEPTED[:1] if sent is Sent.CHALLENGE else ACCEPTED):
        fix = "Is the path right, and the secret token the same there?"
        again = "" if sent is Sent.CHALLENGE else ", and sends the webhook again"
        return Judgement(False, f"Zoom wants 200{again}", fix)
    if sent is Sent.CHALLENGE and (wrong := _wrong_answer(answer.body, right or {})) is not None:
        return wrong
    if answer.took_s > ANSWER_S:
        fix = "Answer first, and work then."
        return Judgement(False, f"too late: Zoom waits {ANSWER_S:.0f} s", fix)
    return Judgement(True, "the challenge was answered correctly" if sent is Sent.CHALLENGE else "accepted")


def _wrong_answer(body: bytes, right: Mapping[str, str]) -> Judgement | None:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return Judgement(False, "the challenge's answer is no JSON object", "Answer plainToken and encryptedToken.")
    if misnamed := _misnamed(found):
        names = " and ".join(f"{wrong} instead of {wanted}" for wrong, wanted in misnamed.items())
        return Judgement(False, f"the answer has {names}", "Zoom wants plainToken and encryptedToken, written so.")
    if len(found) == 1 and isinstance(inner := next(iter(found.values())), dict) and "plainToken" in inner:
        return Judgement(False, f"the answer has its tokens inside {next(iter(found))!r}", "Answer them at the top.")
    if found.get("plainToken") != right.get("plainToken"):
        return Judgement(False, "the answer's plainToken is not the challenge's", "Answer with the one that came.")
    if found.get("encryptedToken") != right.get("encryptedToken"):
        fix = "It has another secret token, or it does not answer in hex HMAC-SHA256 of the plainToken."
        return Judgement(False, f"the answer's encryptedToken is wrong{_form(found, right)}", fix)
    return None


def _misnamed(answer: Mapping[str, object]) -> dict[str, str]:
    """Keys that differ from the right ones in case and marks only, with what they should be."""
    plain = {"".join(filter(str.isalnum, name)).lower(): name for name in answer}
    wanted = {name.lower(): name for name in ("plainToken", "encryptedToken")}
    return {plain[low]: name for low, name in wanted.items() if name not in answer and low in plain}


def _form(answer: Mapping[str, object], right: Mapping[str, str]) -> str:
    """In which wrong form the right token was written; empty where it is another one."""
    given, digest = answer.get("encryptedToken"), bytes.fromhex(right.get("encryptedToken", ""))
    if not isinstance(given, str):
        return ": it is missing" if given is None else ": it is not a text"
    if given.lower() == digest.hex():
        return ": it is in upper case"
    if given.rstrip("=") in (
        base64.b64encode(digest).decode().rstrip("="),
        base64.urlsafe_b64encode(digest).decode().rstrip("="),
    ):
        return ": it is base64, not hex"
    return ": it begins with v0=" if given == f"v0={digest.hex()}" else ""
