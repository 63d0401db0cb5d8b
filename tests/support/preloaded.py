"""A Python that has loaded its libraries already, for tests that start hundreds of Python processes, or whose engine does.

Most of the time of such a start goes into importing the same libraries again. Here one process imports them once and forks
for each start. What is started is a small command in the place of Python (`python_of`): it hands its arguments, environment,
folder and streams to the fork, waits for its end, and ends alike. The fork is in the command's process group, so the engine's
signals reach it; if the command has a session of its own, it has another one, and is killed with the command, but hears no
other signal. Tests of signals and of how a process starts use real processes (`unforked`), and so does whatever is started
with other PYTHON variables, or on a system other than Linux.
"""

import atexit
import fcntl
import gc
import importlib
import io
import json
import marshal
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pulumi_snapshots

LIBRARIES = (
    *(
        "pulumi",
        "pulumi.dynamic",
        "grpc",
        "grpc.aio",
        "dill",
        "pydantic",
        "httpx",
        "anyio",
        "zipfile",
    ),
    # What these load themselves at the first use.
    *(
        "pydantic.main",
        "pydantic.types",
        "pydantic.type_adapter",
        "pydantic.json_schema",
        "pydantic.plugin._loader",
    ),
    *(
        "httpcore",
        "anyio.from_thread",
        "anyio._backends._asyncio",
        "importlib.metadata",
        "zoneinfo",
    ),
    # The command line's and the emulator's.
    *(
        "click.shell_completion",
        "rich.live",
        "rich.progress",
        "rich.table",
        "sqlite3",
        "starlette.applications",
    ),
    *("uvicorn", "uvicorn.protocols.http.h11_impl", "pydantic.dataclasses", "psycopg"),
)
ABSENT = ("httpx._main", "trio")
"""Modules that the HTTP client loads if they are installed. Only this environment has them, and its users do not."""
ADDRESS = "TESTS_PRELOADED"
"""The server's socket, in the environment of what may be forked."""
UNBUFFERED = "PYTHONUNBUFFERED"
"""The one PYTHON variable that a fork heeds itself."""
PYTHON = "python-of-tests"
STARTED = "forked-python"
PROGRAM = "pulumi-language-python-exec"
SCRIPTS = ("pulumi-resource-squarecloud", "squarecloud-snapshots")
LISTING = ["-m", "pip", "list", "-v", "--format", "json"]
LENGTH = struct.Struct("!I")
STATUS = struct.Struct("!i")
ASKING_SECONDS = 10.0
"""How long a command may take to ask, which it does at once unless it is stopped. All others wait meanwhile."""

# The engine asks twice or more for each command, and a shell starts sooner than any Python.
QUESTIONS = """#!/bin/sh
case "$*" in
"--version") echo "Python {version}" ;;
"{listing}") cat "{listed}" ;;
*) exec "{started}" "$@" ;;
esac
"""
# Only built-in modules, and no site: it starts in a hundredth of a second.
COMMAND = """#!{python} -IS
import _signal, _socket, marshal, os, sys

told = {first!r} + sys.argv[1:]
address = os.environ.get({address!r})
variables = {{name: text for name, text in os.environ.items() if name.startswith("PYTHON") and name != {unbuffered!r}}}
if address is None or variables != {wanted!r}:
    os.execv({python!r}, [{python!r}, *told])
for each in (_signal.SIGINT, _signal.SIGTERM):
    _signal.signal(each, _signal.SIG_IGN)  # the fork has heard it too, and its end is waited for
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect(address)
request = marshal.dumps((told, dict(os.environ), os.getcwd(), os.getpgrp(), os.getppid()))
watched, closed_at_the_end = os.pipe()
streams = b"".join(each.to_bytes(4, sys.byteorder) for each in (0, 1, 2, watched))
server.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
while request:
    request = request[server.send(request):]
ended = int.from_bytes(server.recv(4) or b"\\0\\0\\0\\1", "big", signed=True)
if ended < 0:
    if -ended != _signal.SIGKILL:
        _signal.signal(-ended, _signal.SIG_DFL)
    os.kill(os.getpid(), -ended)
os._exit(ended)
"""


@contextmanager
def preloaded(folder: Path) -> Iterator[dict[str, str]]:
    """Serve until the end; what engines whose Python processes are to be forked have in their environment."""
    listed = folder / "listed.json"
    address = str(folder / "socket")
    version = sys.version.split()[0]
    there = [
        {"name": one.name, "version": one.version, "location": str(one.locate_file(""))}
        for one in distributions()
    ]
    listed.write_text(json.dumps(there))
    wanted = {
        name: text
        for name, text in os.environ.items()
        if name.startswith("PYTHON") and name != UNBUFFERED
    }
    told = {
        "python": sys.executable,
        "address": ADDRESS,
        "unbuffered": UNBUFFERED,
        "wanted": wanted,
    }
    scripts = {name: [str(Path(sys.executable).with_name(name))] for name in SCRIPTS}
    commands = {
        name: COMMAND.format(first=first, **told)
        for name, first in {STARTED: [], **scripts}.items()
    }
    asked = {
        "listing": " ".join(LISTING),
        "listed": listed,
        "started": folder / STARTED,
    }
    commands[PYTHON] = QUESTIONS.format(version=version, **asked)
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen(64)
        command = [sys.executable, __file__, str(listening.fileno())]
        server = subprocess.Popen(  # noqa: S603  this file
            command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()]
        )
    with server:  # whose end closes its stdin
        forked = (
            {ADDRESS: address}
            if hasattr(fcntl, "F_SETSIG") and hasattr(os, "pidfd_open")
            else {}
        )
        yield {**forked, "PULUMI_PYTHON_CMD": str(folder / PYTHON)}


def python_of(found: Mapping[str, str]) -> str:
    """The command in the place of Python; Python itself if nothing is found."""
    return found.get("PULUMI_PYTHON_CMD", sys.executable)


def commands_of(found: Mapping[str, str]) -> str:
    """The folder of the commands, for the beginning of PATH, so that the plugin and the command line are forked too."""
    return str(Path(found["PULUMI_PYTHON_CMD"]).parent)


def unforked(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for an engine whose Python processes are to be real ones, for signals."""
    return {name: text for name, text in environment.items() if name != ADDRESS}


def real(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for an engine that is to find Python and the plugin by itself."""
    folders = [
        each
        for each in environment["PATH"].split(os.pathsep)
        if each != commands_of(environment)
    ]
    found = {**unforked(environment), "PATH": os.pathsep.join(folders)}
    del found["PULUMI_PYTHON_CMD"]
    return found


@cache
def load() -> None:
    """Import what forks begin with."""
    usual = gc.get_threshold()
    gc.set_threshold(50_000)  # little of what is imported is garbage
    sys.modules.update(dict.fromkeys(ABSENT))  # type: ignore[arg-type]
    for name in (*LIBRARIES, *_own()):
        importlib.import_module(name)
    # or each fork reads them
    importlib.import_module("pulumi_snapshots.service.client").tls(trust_env=False)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*usual)


def serve(listening: socket.socket) -> None:
    """Fork for each command that connects; returns in the fork, which is to run what was asked."""
    with listening:
        told, (*streams, watched) = _in_a_fork(listening)
    _end_with(watched)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    run(*told)


def _in_a_fork(listening: socket.socket) -> tuple[Any, list[int]]:
    """Return, in a fork, what a command asks to run, its streams, and the pipe that closes with it.

    The server stays here, and tells each command how its fork ended.
    """
    waiting: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready = select.select([listening.fileno(), 0, *waiting], [], [])[0]
        if 0 in ready:
            sys.exit()  # whoever started it is gone, however it ended
        for ended in waiting.keys() & ready:
            child, command = waiting.pop(ended)
            os.close(ended)
            with command, suppress(BrokenPipeError):
                command.send(
                    STATUS.pack(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
                )
        if listening.fileno() in ready:
            load()  # not before: no test may need it
            command, _ = listening.accept()
            command.settimeout(ASKING_SECONDS)
            asked = _asked(command)
            if asked is None:
                command.close()
                continue
            child = os.fork()
            if child == 0:
                for descriptor, (_, other) in waiting.items():
                    os.close(descriptor)
                    other.close()
                command.close()
                return asked
            waiting[os.pidfd_open(child)] = child, command
            for stream in asked[1]:
                os.close(stream)


def _asked(command: socket.socket) -> tuple[Any, list[int]] | None:
    """What a command asks to run, and its streams; None if it is killed, or stopped, before it has asked."""
    streams: list[int] = []
    with suppress(TimeoutError):
        length, streams, _, _ = socket.recv_fds(command, LENGTH.size, 4)
        if length:
            size = LENGTH.unpack(length)[0]
            with command.makefile("rb") as sent:
                request = sent.read(size)
            if len(request) == size:
                return marshal.loads(request), streams  # noqa: S302  of the test's own command
    for stream in streams:
        os.close(stream)
    return None


def _own() -> Iterator[str]:
    """The project's own modules, but for those that run when they are loaded."""
    for module in pkgutil.walk_packages(pulumi_snapshots.__path__, "pulumi_snapshots."):
        if not module.name.endswith(".__main__"):
            yield module.name


def run(
    told: list[str], environment: dict[str, str], folder: str, group: int, parent: int
) -> None:
    """Be the Python that was started with these arguments."""
    if Path(told[0]).name == PROGRAM:
        # Once a run has failed, the engine interrupts providers and then the program, which is at its own end by then. Forked
        # providers end so soon that it would be interrupted before, and show that.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        os.setpgid(0, group)
    except PermissionError:  # it is of another session
        os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.getppid = lambda: parent
    sys.orig_argv[:] = [sys.executable, *told]
    _open_streams(unbuffered="-u" in told[:1] or UNBUFFERED in environment)
    while told[0] in {"-u", "-W"}:
        if told[0] == "-W":
            sys.warnoptions.append(told[1])
            told = told[1:]
        told = told[1:]
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    if told[0] == "-m":
        sys.path[0] = folder
        sys.argv[:] = told[1:]
        work = partial(runpy.run_module, told[1], alter_sys=True)
    else:
        sys.path[0] = str(Path(folder, told[0]).parent)
        sys.argv[:] = told
        work = partial(runpy.run_path, told[0])
    status = 1
    try:
        work(run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:  # noqa: BLE001  whatever ends it
        traceback.print_exc()
    # As at the end of every Python, except for taking apart all that was loaded, which takes longer than the rest.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _end_with(watched: int) -> None:
    """Be killed by the system in the moment in which the command is: its end of this pipe is closed then.

    The engine kills a program whose run has failed. If that took a moment longer, the program would print a traceback.
    """
    fcntl.fcntl(watched, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(watched, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(
        watched, fcntl.F_SETFL, fcntl.fcntl(watched, fcntl.F_GETFL) | fcntl.FASYNC
    )
    if select.select([watched], [], [], 0)[0]:
        os._exit(1)


def _open_streams(*, unbuffered: bool) -> None:
    """Open the standard streams as Python does at its start: those of the server remember what kind of file they had."""
    for number, name, mode in (
        (0, "stdin", "r"),
        (1, "stdout", "w"),
        (2, "stderr", "w"),
    ):
        before = getattr(sys, name)
        stream = io.TextIOWrapper(
            open(  # noqa: SIM115
                number,
                f"{mode}b",
                buffering=0 if unbuffered and mode == "w" else -1,
                closefd=False,
            ),
            before.encoding,
            before.errors,
            "\n",
            line_buffering=not unbuffered and (os.isatty(number) or name == "stderr"),
            write_through=unbuffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
