"""Zoom's own SDK as a client, in a process of its own: prints what it got as JSON lines. Arguments: one JSON object.

{"ids": {"meeting_uuid": "…"}, "rtms_stream_id": "…", "server_urls": "…", "client": "…", "secret": "…",
 "kinds": ["audio", …], "audio": {"codec": 1, …}, "seconds": 20}
"""

import base64
import json
import os
import sys
import threading
from typing import Any

import rtms


def say(what: str, **fields: object) -> None:
    os.write(1, json.dumps({"what": what, **fields}).encode() + b"\n")


def main() -> None:
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    client = rtms.Client()
    joined, left = threading.Event(), threading.Event()

    def taker(kind: str) -> Any:
        def take(data: bytes, size: int, timestamp: int, metadata: Any) -> None:
            say(
                kind,
                data=base64.b64encode(bytes(data)).decode(),
                size=size,
                timestamp=timestamp,
                user_id=metadata.userId,
                user_name=metadata.userName,
            )

        return take

    def confirm(reason: int) -> None:
        say("join", reason=reason)
        joined.set()
        if reason != 0:
            left.set()

    def leave(reason: int) -> None:
        say("leave", reason=reason)
        left.set()

    client.on_join_confirm(confirm)
    client.on_session_update(lambda event, session: say("session", event=event, stream=session.streamId))
    client.on_leave(leave)
    client.on_event_ex(lambda text: say("event", text=text))
    for kind in wanted["kinds"]:
        getattr(client, f"on_{kind}_data")(taker(kind))
    for kind, name in (("audio", "AudioParams"), ("video", "VideoParams"), ("deskshare", "DeskshareParams")):
        if kind in wanted:
            getattr(client, f"set_{kind}_params")(getattr(rtms, name)(*wanted[kind]))
    loop = rtms.EventLoop(0.002)  # the SDK's own thread: a client lives on one only
    loop.add(client)
    client.join(
        **wanted["ids"],
        rtms_stream_id=wanted["rtms_stream_id"],
        server_urls=wanted["server_urls"],
        client=wanted["client"],
        secret=wanted["secret"],
    )
    loop.start()
    joined.wait(wanted["seconds"])
    if wanted.get("events") and not left.is_set():
        client.subscribe_event(wanted["events"])  # before it has joined, the SDK sends no subscription
    left.wait(wanted["seconds"])
    loop.stop()
    loop.join(5)
    sys.stdout.flush()
    os._exit(0)  # the SDK's threads do not always end


if __name__ == "__main__":
    main()
