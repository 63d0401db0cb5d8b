"""How large the plugin's archive is, and how soon it answers.

`python -m bench.first_answer ARCHIVE` fails if it is too much.


The program starts with an empty environment, as on a machine without Python.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tools.frozen_plugin import PROGRAM

STARTS = 5
MOST_SECONDS = 1.0
MOST_BYTES = 44e6


@dataclass(frozen=True)
class Answer:
    """A first answer.

    Attributes:
        version: what it said.
        seconds: from the start to the answer.
        processor_seconds: of the whole process, which a busy machine does not lengthen.
        idle_bytes: memory after the answer; None if this system does not tell it.
    """

    version: str
    seconds: float
    processor_seconds: float
    idle_bytes: int | None


def first_answer(program: Path) -> Answer:
    """Start the plugin with an empty environment, ask for its version, and end it."""
    begun = time.monotonic()
    process = subprocess.Popen(  # noqa: S603
        [program], env={}, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None  # noqa: S101  it is a pipe
    with (
        process.stdout as port,
        grpc.insecure_channel(f"127.0.0.1:{int(port.readline())}") as channel,
    ):
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        stub.Handshake(provider_pb2.ProviderHandshakeRequest())
        version = stub.GetPluginInfo(empty_pb2.Empty()).version
        seconds = time.monotonic() - begun
        idle = _memory(process.pid)
    process.terminate()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    return Answer(version, seconds, used.ru_utime + used.ru_stime, idle)


def _memory(process: int) -> int | None:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")),
        None,
    )


def answers(archive: Path, starts: int = STARTS) -> list[Answer]:
    """Several first answers of what is in an archive."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        return [first_answer(Path(folder) / PROGRAM) for _ in range(starts)]


def main(arguments: list[str]) -> int:
    """Print both, and fail if one is too much."""
    if len(arguments) != 1:
        print("usage: python -m bench.first_answer ARCHIVE", file=sys.stderr)
        return 2
    archive = Path(arguments[0])
    seconds = statistics.median(each.seconds for each in answers(archive))
    size = archive.stat().st_size
    print(f"{archive.name}: {size / 1e6:.1f} MB, first answer after {seconds:.2f} s")
    return int(seconds > MOST_SECONDS or size > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
