"""A real S3 API over HTTP for tests: moto's server, in a process of its own, which can be stopped and started."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from ports import free_port

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "its-secret", "AWS_REGION": "us-east-1"}
WAIT_S = 60.0
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()
print("ready", flush=True)
sys.stdin.read()
"""


class S3Server:
    """A server with one bucket. What was in it is gone when it is started again, unless it was only frozen."""

    bucket = "recordings"

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """What `--store-endpoint` takes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What `--out` takes."""
        return f"s3://{self.bucket}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of who uses it."""
        return CREDENTIALS | {"RTMS_STORE_ENDPOINT": self.endpoint}

    def start(self) -> None:
        """Start it, with its bucket."""
        command = [sys.executable, "-W", "ignore", "-c", _SERVER, str(self.port)]
        settings = {**os.environ, **CREDENTIALS}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=settings
        )
        assert self._process.stdout is not None
        if b"ready" not in self._process.stdout.readline():
            raise RuntimeError("the S3 server does not start")
        self._ask("PUT", f"/{self.bucket}")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None

    def version_everything(self) -> None:
        """Keep old versions of the bucket's objects."""
        import boto3

        names = ("aws_access_key_id", "aws_secret_access_key", "region_name")
        keys = dict(zip(names, CREDENTIALS.values(), strict=True))
        client = boto3.client("s3", endpoint_url=self.endpoint, **keys)
        client.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})

    def put(self, key: str, content: bytes) -> None:
        """Write an object."""
        self._ask("PUT", f"/{self.bucket}/{key}", content)

    def keys(self) -> list[str]:
        """The names of the bucket's objects."""
        return re.findall(r"<Key>(.*?)</Key>", self._ask("GET", f"/{self.bucket}?list-type=2").decode())

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        kind = {"Content-Type": "application/octet-stream"}  # else it is taken for a form
        request = urllib.request.Request(f"{self.endpoint}{path}", body or None, kind, method=method)
        until = time.monotonic() + WAIT_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def __enter__(self) -> "S3Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def use_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process use the server."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
