"""An S3-compatible server (moto) as a process of its own: a client that holds the GIL would wait for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType

import boto3

SECRET = "canary-s3-secret"
BUCKET = "lake"

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


class S3Server:
    """Use it as a context; it has one bucket."""

    def __init__(self, *, refuses: bool = False) -> None:
        """`refuses`: it knows no keys, so that ours are wrong ones."""
        # moto lets so many requests pass before it looks at keys: the one that makes the bucket.
        self._env = os.environ | ({"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if refuses else {})

    def __enter__(self) -> S3Server:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="reader",
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    @property
    def options(self) -> Mapping[str, str]:
        """What the client of a lake is told."""
        return {
            "aws_region": "us-east-1",
            "aws_endpoint_url": self.endpoint,
            "aws_allow_http": "true",
            "aws_access_key_id": "reader",
            "aws_secret_access_key": SECRET,
        }

    @staticmethod
    def url(name: str) -> str:
        """A place in the bucket."""
        return f"s3://{BUCKET}/{name}"
