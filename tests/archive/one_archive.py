"""One archive in a process of its own: `python -m tests.archive.one_archive URL VERSION DESTINATION [RECIPIENT…]`.

Prints JSON: the outputs or the error, the seconds that it took once everything was loaded, and the peak of memory above idle
in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio

from pulumi_snapshots.archive.archive import NotArchived, archive
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers


def resident() -> float:
    """Memory in use, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """The most memory in use so far, MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def run(arguments: list[str]) -> dict[str, object]:
    url, version, destination, *recipients = arguments
    values = {"download_url": url, "version_id": version, "destination": destination, "recipients": recipients or None}
    problems = ArchiveInputs.problems(values)
    assert not problems, problems
    told = list[object]().append
    row: Any = SimpleNamespace(progress=told, note=told, warn=told)
    idle = resident()
    began = time.perf_counter()
    try:
        record = await archive(None, Transfers(), ArchiveInputs.of(values), row, manifest=False)
    except NotArchived as error:
        return {"error": str(error)}
    seconds = time.perf_counter() - began
    return {**record.to_outputs(), "seconds": seconds, "idle": idle, "above_idle": peak() - idle}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(anyio.run(run, sys.argv[1:])))
