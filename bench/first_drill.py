"""Seconds from an empty folder to the first drill that passes, by the commands of the how-to."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

from tools.servers import PROJECT, Server, served

HOWTO = PROJECT / "docs" / "howto" / "prove-a-backup.md"
LAST = "Add checks of your own"
"""Follows the first drill in the how-to."""
LONGEST = "300"
"""Seconds after which it is given up."""
CONTAINER, INSTALL, *ASK = range(5)
"""The blocks of commands before it: a server in a container is replaced by a server of ours."""


def first_drill() -> Iterable[list[object]]:
    """Type what the how-to says, and give the seconds after which each step was done."""
    with served("postgres") as server, tempfile.TemporaryDirectory() as folder:
        began = time.time()
        ended = _typed(server, folder)
        lines = [line for line in ended.splitlines() if line.startswith("done ")]
    for line in lines:
        _, moment, step = line.split(" ", 2)
        yield [step, f"{float(moment) - began:.0f}"]


def _typed(server: Server, folder: str) -> str:
    """Run the commands in a folder; returns what they print."""
    environment = {
        **os.environ,
        "PATH": f"{server.programs}:{os.environ['PATH']}",
        "PGPASSWORD": server.password,
        "SQUARECLOUD_STATE_DIR": f"{folder}/state",
    }
    return subprocess.run(  # noqa: S603
        ["/usr/bin/timeout", LONGEST, "/bin/bash", "-euc", _script(server)],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def _script(server: Server) -> str:
    """Join the how-to's commands, with the emulator in the background."""
    before = HOWTO.read_text().partition(LAST)[0]
    found = re.findall(r"```(?:sh|console)\n(.*?)```", before, re.DOTALL)
    blocks = [re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in found]
    install, _, emulator = blocks[INSTALL].partition("\n")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    script = [
        f"{sys.executable} -m venv .venv; . .venv/bin/activate",
        *(install, _done("the package is installed")),
        f"{emulator.strip()} > emulator.log 2>&1 &",
        "trap 'kill %1' EXIT",
        f"until (: < /dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.1; done",
        _done("the emulator has started"),
        *(blocks[number] for number in ASK),
        _done("the first drill has passed"),
    ]
    typed = "\n".join(script).replace("/path/to/clone", str(PROJECT))
    place = f"127.0.0.1:{server.port}"
    typed = typed.replace("127.0.0.1:5432", place).replace("8900", str(port))
    # As the how-to says of a server with a password; the emulator refuses one in its arguments.
    login = f"postgres:{server.password}@{place}"
    return typed.replace(
        f"SCRATCH_URL=postgresql://postgres@{place}",
        f"SCRATCH_URL=postgresql://{login}",
    )


def _done(step: str) -> str:
    return f'echo "done $EPOCHREALTIME {step}"'
