"""A frame in one line for people."""

from rtms_cli.machine import ChannelState, Direction, Frame, State, Via
from rtms_cli.protocol.conversation import chat_gist
from rtms_cli.protocol.media import media_names
from rtms_cli.protocol.messages import (
    Audio,
    Chat,
    EventUpdate,
    KeepAliveRequest,
    KeepAliveResponse,
    Media,
    MediaHandshakeRequest,
    MediaHandshakeResponse,
    Message,
    SessionStateUpdate,
    SignalingHandshakeResponse,
    StreamCloseResponse,
    StreamStateUpdate,
    Transcript,
    Unknown,
    Unreadable,
    payload_nbytes,
)
from rtms_cli.protocol.numbers import (
    Attribute,
    ChatOperation,
    MediaType,
    MessageType,
    Product,
    SessionState,
    StatusCode,
    StopReason,
    StreamState,
)
from rtms_cli.protocol.parties import event_label, label, name_of, party_of, people_of
from rtms_cli.protocol.secrets import redact_url
from rtms_cli.protocol.webhooks import (
    OtherWebhook,
    StreamInterrupted,
    StreamStart,
    StreamStop,
    UnreadableWebhook,
    UrlValidation,
    Webhook,
)
from rtms_cli.view.text import escape, size_of

_ARROWS = {Direction.IN: "←", Direction.OUT: "→", Direction.STATE: "·"}


def frame_line(frame: Frame, product: Product, *, shows_text: bool = True) -> str:
    """`signaling ← 2 SIGNALING_HAND_SHAKE_RESP  status_code 0 STATUS_OK`; see `gist`."""
    line = f"{escape(frame.channel)} {_ARROWS[frame.direction]} {gist(frame, product, shows_text=shows_text)}"
    return f"{line}  (by the event WebSocket)" if frame.via == Via.EVENTS else line


def gist(frame: Frame, product: Product, *, shows_text: bool = True) -> str:
    """What a frame says, with the documented name beside every number.

    :param shows_text: whether what people say and write is part of it; else it is its length.
    """
    message = frame.message
    if isinstance(message, ChannelState):
        return _state(message)
    if not isinstance(message, Message):
        return _webhook(message)
    name = MessageType.label(message.msg_type)
    match message:
        case SignalingHandshakeResponse(status_code=status, reason=reason):
            return _join(name, f"status_code {StatusCode.label(status)}", escape(reason))
        case MediaHandshakeRequest(media_type=media_type) if media_type is not None and 0 < media_type <= 63:
            return _join(name, f"media_type {media_type}: {', '.join(media_names(MediaType(media_type)))}")
        case MediaHandshakeResponse(status_code=status, reason=reason):
            return _join(name, f"status_code {StatusCode.label(status)}", escape(reason))
        case StreamCloseResponse(status_code=status, reason=reason):
            return _join(name, f"status_code {StatusCode.label(status)}", escape(reason))
        case EventUpdate():
            people = ", ".join(escape(label(product, who.party, who.name)) for who in people_of(message, product)[:5])
            return _join(name, escape(event_label(message, product)), people)
        case StreamStateUpdate(state=state, reason=reason):
            return _join(
                name, StreamState.label(state), "" if reason is None else f"reason {escape(StopReason.label(reason))}"
            )
        case SessionStateUpdate(state=state, stop_reason=reason):
            why = "" if reason is None else f"reason {escape(StopReason.label(reason))}"
            return _join(name, SessionState.label(state), why)
        case KeepAliveRequest(timestamp=timestamp) | KeepAliveResponse(timestamp=timestamp):
            return _join(name, escape(f"timestamp {timestamp}"))
        case Media():
            person = _sender(message, product) or ("everyone" if isinstance(message, Audio) else "?")
            return _join(name, escape(person), size_of(payload_nbytes(message.letters())))
        case Transcript(text=text, attribute=change):
            words = Attribute.label(change) if change in (Attribute.UPDATE, Attribute.DELETE) else ""
            return _join(name, words, _said(message, product, text or "", shows_text=shows_text))
        case Chat(operation=operation, message_id=ident):
            words = ChatOperation.label(operation) if isinstance(operation, int) else escape(operation or "")
            said = _said(message, product, chat_gist(message), shows_text=shows_text)
            return _join(name, words, escape(ident or ""), said)
        case Unknown(type=kind):
            return f"unknown message type {escape(str(kind))}"
        case Unreadable(problem=problem):
            return f"unreadable: {escape(problem)}"
        case _:
            return name


def _said(message: Transcript | Chat, product: Product, text: str, *, shows_text: bool) -> str:
    sender = escape(_sender(message, product) or "?")
    return f"{sender}: {escape(text)}" if shows_text else f"{sender}: {_counted(len(text))}"


def _counted(characters: int) -> str:
    return f"{characters:,} character{'' if characters == 1 else 's'}"


def _sender(message: Media | Transcript | Chat, product: Product) -> str:
    return label(product, party_of(message, product), name_of(message, product))


def _state(state: ChannelState) -> str:
    match state.state:
        case State.OPENING:
            return f"connecting to {escape(state.url)}"
        case State.CLOSED:
            who = "closed by us" if state.ours else "closed"
            return _join(f"{who} with {state.code}", escape(state.reason))
        case State.FINISHED:
            reason = "" if state.code is None else f"reason {StopReason.label(state.code)}"
            return _join(f"finished: {escape(state.status)}", reason, escape(state.reason))
        case State.EPOCH:
            return _join(f"epoch {state.code} begins", escape(state.reason))
        case State.MARK:
            return _join("MARK", escape(state.reason))
        case _:
            return _join(state.state.value, escape(state.reason))


def _webhook(webhook: Webhook) -> str:
    match webhook:
        case StreamStart(stream):
            return _join(
                f"{stream.product} rtms_started", escape(stream.stream_id), escape(redact_url(stream.server_url))
            )
        case StreamStop(product, stream_id, reason):
            return _join(f"{product} rtms_stopped", escape(stream_id), f"reason {escape(StopReason.label(reason))}")
        case StreamInterrupted(product, stream_id):
            return _join(f"{product} rtms_interrupted", escape(stream_id))
        case UrlValidation():
            return "endpoint.url_validation"
        case OtherWebhook(event, _, says):
            return _join(escape(event), escape(says))
        case UnreadableWebhook(problem):
            return f"unreadable: {escape(problem)}"


def _join(*parts: str) -> str:
    return "  ".join(part for part in parts if part)
