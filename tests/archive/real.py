"""Processes for the tests of archives: a host of large snapshots, an archive, an S3 server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["S3", "Host", "hosted", "outcome", "s3_server", "start"]

VERSION = "45ec0b49-9af6-445e-a55c-abd7ec5278b2"
S3_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@dataclass
class Host:
    url: str
    sha256: str


@contextmanager
def hosted(size: int) -> Iterator[Host]:
    """A snapshot host of one large zip."""
    command = [sys.executable, "-m", "tests.archive.generated_host", str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  this very interpreter
        assert process.stdout is not None
        try:
            digest, address = process.stdout.readline().strip(), process.stdout.readline().strip()
            yield Host(f"{address}/databases/account/database.zip?versionId={VERSION}", digest)
        finally:
            process.kill()


def start(
    url: str, destination: Path | str, *, environment: Mapping[str, str] | None = None, before: str = ""
) -> subprocess.Popen[str]:
    """Start an archive in another process, which runs `before` first, once everything is loaded."""
    return subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-m", "tests.archive.one_archive", url, VERSION, str(destination), before],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def outcome(process: subprocess.Popen[str]) -> Any:
    """The JSON that it printed."""
    printed, _ = process.communicate(timeout=120)
    return json.loads(printed)


@dataclass
class S3:
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Its address and credentials for a store's library."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        import boto3  # noqa: PLC0415  takes a second, and few tests need it

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
            region_name="us-east-1",
        )


@contextmanager
def s3_server() -> Iterator[S3]:
    with subprocess.Popen(  # noqa: S603  this very interpreter
        [sys.executable, "-c", S3_SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield S3(process.stdout.readline().strip())
        finally:
            process.kill()
