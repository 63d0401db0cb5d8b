"""Measure how the package is built: its rooms, and what a create and a restore's resume pass.

Prints Markdown.

Nothing is asked of a network: the plugin talks to the emulator.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import FrameType

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = "pulumi_snapshots"
EDIT = "SqliteFile.edit"
"""What changes the ledger."""
PLUGIN = "pulumi-resource-squarecloud"
"""The console script that serves the engine."""
NOT_COUNTED = ("plugin", "engine")
"""Folders, the way that the engine's calls take."""
DATABASES = ("a14b8d5e1cb7405a851eb4c075506121", "b25c9e6f2dc8516b962fc5d186617232")
"""One is snapshotted first, so that the measured create of the other finds connections and settings
as most do.
"""
URN = "urn:pulumi:dev::shop::squarecloud:index:Snapshot::before-release"
RESULT = "result"
"""The file with what the newest call has passed."""
AT_ONCE = (
    *("--snapshot-seconds", "0"),
    *("--cache-world", "invalidated"),
    *("--restore-seconds", "4"),
)
"""Lets the service answer the request of a snapshot with 200."""
LATER = (
    *("--soft-deadline", "0"),
    *("--snapshot-seconds", "4"),
    *("--cache-world", "invalidated"),
)
"""Lets the service answer with 202, and list the snapshot seconds later."""
QUICK = {"SQUARECLOUD_FIRST_POLL_AFTER": "6s", "SQUARECLOUD_POLL_EVERY": "2s"}
"""Lets one poll be enough."""
SECONDS = 60.0
"""How long anything here may take."""


# The files


@dataclass
class File:
    """One file of the package and what it imports of it."""

    path: Path
    lines: int
    uses: set[str] = field(default_factory=set)
    """The modules of the package that it imports, in functions and for types too."""
    lazy: int = 0
    assertions: int = 0

    @property
    def room(self) -> str:
        """The folder, relative to the package."""
        return self.path.parent.as_posix()


def files_of(package: Path) -> dict[str, File]:
    """Every file of a package, by its module's name."""
    paths = {
        ".".join(
            [package.name, *path.relative_to(package).with_suffix("").parts]
        ).removesuffix(".__init__"): path
        for path in sorted(package.rglob("*.py"))
    }
    found = {}
    for module, path in paths.items():
        text = path.read_text()
        file = found[module] = File(path.relative_to(package), len(text.splitlines()))
        for node, in_function in walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                file.lazy += in_function
                file.uses.update(
                    name for name in imported(node, paths) if name != module
                )
            elif isinstance(node, ast.Raise):
                file.assertions += "AssertionError" in ast.unparse(node)
    return found


def walk(node: ast.AST, *, in_function: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it is inside a function."""
    for child in ast.iter_child_nodes(node):
        yield child, in_function
        yield from walk(
            child,
            in_function=in_function
            or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef),
        )


def imported(
    node: ast.Import | ast.ImportFrom, modules: dict[str, Path]
) -> Iterator[str]:
    """The modules of the package that a statement names.

    A name of a module counts as that module.
    """
    if isinstance(node, ast.Import):
        names = [(alias.name, "") for alias in node.names]
    else:
        names = [(node.module or "", alias.name) for alias in node.names]
    for module, name in names:
        yield from [each for each in (f"{module}.{name}", module) if each in modules][
            :1
        ]


# The create


@dataclass
class Trace:
    """What a call of the engine has passed so far."""

    package: Path
    under_way: bool = False
    depth: int = 0
    """The most functions of the package that waited for each other."""
    file: Path | None = None
    """Of the newest call."""
    changes: int = 0
    """How often a call was of another file than the one before it."""
    calls: Counter[str] = field(default_factory=Counter)
    to_post: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Forget an earlier call, and count from now on."""
        for counted in (self.calls, self.to_post, self.requests):
            counted.clear()
        self.under_way = True
        self.depth = 0
        self.file = None
        self.changes = 0

    def is_counted(self, frame: FrameType) -> bool:
        """Whether a frame is of the package, and not of the way that the engine's calls take."""
        name = frame.f_code.co_filename
        return name.startswith(str(self.package)) and not name.removeprefix(
            f"{self.package}/"
        ).startswith(NOT_COUNTED)

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Count a call; a resumed coroutine is not called again."""
        if event != "call" or not self.under_way or not self.is_counted(frame):
            return
        code = frame.f_code
        # Python 3.12 and later have no calls for most comprehensions, so none is counted.
        named = not code.co_name.startswith("<") or code.co_name == "<lambda>"
        if named and starts(frame):
            file = Path(code.co_filename).relative_to(self.package)
            self.calls[f"{file}:{code.co_firstlineno}:{code.co_qualname}"] += 1
            self.changes += file != self.file
            self.file = file
            below: FrameType | None = frame
            depth = 0
            while below is not None:
                depth += self.is_counted(below)
                below = below.f_back
            self.depth = max(self.depth, depth)

    def sums(self) -> dict[str, int]:
        """Files, functions and calls."""
        return {
            "files": len({name.partition(":")[0] for name in self.calls}),
            "functions": len(self.calls),
            "calls": self.calls.total(),
            "changes of file": self.changes,
            "frames deep": self.depth,
            "edits of the ledger": sum(
                number for name, number in self.calls.items() if name.endswith(EDIT)
            ),
        }

    def end(self, result: Path) -> None:
        """Write down what was counted."""
        self.under_way = False
        found = {
            "to_post": self.to_post,
            "whole": self.sums(),
            "requests": self.requests,
        }
        result.write_text(json.dumps(found))


def starts(frame: FrameType) -> bool:
    """Whether a frame runs for the first time, and is no coroutine that is resumed."""
    if not frame.f_code.co_flags & (
        inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
    ):
        return True
    # RESUME's argument: 0 at the start of a function, others after `yield` and `await`.
    return frame.f_code.co_code[frame.f_lasti + 1] & 3 == 0


def serve_traced(package: Path, result: Path) -> None:
    """Serve as the plugin does, and write down what its newest create or update passes.

    For a process of its own.
    """
    import httpx  # noqa: PLC0415 - what measures files alone does without it

    project = tomllib.loads((package.parent / "pyproject.toml").read_text())["project"]
    for module in pkgutil.walk_packages([str(package)], f"{package.name}."):
        # All of them now: a module that is loaded by the create is not passed by it.
        if not module.name.endswith("__main__"):
            import_module(module.name)
    servicer = import_module(f"{PACKAGE}.plugin.protocol.servicer").Plugin
    trace = Trace(package)

    def traced(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            trace.begin()
            try:
                return await method(*args, **kwargs)
            finally:
                trace.end(result)

        return call

    send = httpx.AsyncHTTPTransport.handle_async_request

    async def sent(
        self: httpx.AsyncHTTPTransport, request: httpx.Request
    ) -> httpx.Response:
        if trace.under_way:
            trace.requests.append(
                f"{request.method} {request.url.path.rpartition('/')[2]}"
            )
            if request.method == "POST":
                trace.to_post = trace.sums()
        return await send(self, request)

    servicer.Create, servicer.Update = traced(servicer.Create), traced(servicer.Update)
    httpx.AsyncHTTPTransport.handle_async_request = sent  # type: ignore[method-assign]
    sys.setprofile(trace.profile)
    module, _, function = project["scripts"][PLUGIN].partition(":")
    sys.argv = sys.argv[:1]
    getattr(import_module(module), function)()


@contextmanager
def plugin(
    package: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[Any]:
    """Start the plugin as a run of the engine does; yields how to call it."""
    import grpc  # noqa: PLC0415 - as above
    from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc  # noqa: PLC0415

    with subprocess.Popen(  # noqa: S603 - this very interpreter
        [sys.executable, __file__, "--serve", str(package), str(folder / RESULT)],
        cwd=package.parent,
        env={**os.environ, **environment, "XDG_STATE_HOME": str(folder / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            port = process.stdout.readline().strip()
            with grpc.insecure_channel(
                f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
            ) as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                # Without an address the progress is dropped.
                stub.Handshake(
                    provider_pb2.ProviderHandshakeRequest(
                        supports_refresh_before_update=True
                    )
                )
                stub.Configure(
                    provider_pb2.ConfigureRequest(acceptSecrets=True), timeout=SECONDS
                )
                yield stub
        finally:
            process.terminate()


class Engine:
    """Calls the plugin as the engine does, each process of it as one run.

    Args:
        package: The package.
        folder: Holds what a call has passed, and the ledger.
        emulator: The service.
    """

    def __init__(self, package: Path, folder: Path, emulator: Any) -> None:
        self.package = package
        self.folder = folder
        self.environment = {**emulator.environment, **QUICK}

    def run(self) -> AbstractContextManager[Any]:
        """Begin a run; yields how to call the plugin."""
        return plugin(self.package, self.folder, self.environment)

    def passed(self) -> dict[str, Any]:
        """What the newest call has passed."""
        result: dict[str, Any] = json.loads((self.folder / RESULT).read_text())
        return result

    def create(self, stub: Any, urn: str, inputs: Mapping[str, Any]) -> Any:
        """Create a resource; returns its outputs."""
        from pulumi.runtime.proto import provider_pb2  # noqa: PLC0415 - as above

        request = provider_pb2.CreateRequest(urn=urn, properties=struct_of(inputs))
        return stub.Create(request, timeout=SECONDS).properties

    def create_in_vain(self, stub: Any, urn: str, inputs: Mapping[str, Any]) -> Any:
        """Create a resource with a time-out that is too short; returns the unfinished one."""
        import grpc  # noqa: PLC0415 - as above
        from pulumi.runtime.proto import provider_pb2  # noqa: PLC0415

        pending = provider_pb2.ErrorResourceInitFailed()
        request = provider_pb2.CreateRequest(
            urn=urn, properties=struct_of(inputs), timeout=1
        )
        try:
            stub.Create(request, timeout=SECONDS)
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            status = import_module("google.rpc.status_pb2").Status.FromString(details)
            status.details[0].Unpack(pending)
        return pending

    def update(
        self, stub: Any, urn: str, pending: Any, inputs: Mapping[str, Any]
    ) -> None:
        """Resume an unfinished resource."""
        from pulumi.runtime.proto import provider_pb2  # noqa: PLC0415 - as above

        request = provider_pb2.UpdateRequest(
            id=pending.id,
            urn=urn,
            olds=pending.properties,
            news=struct_of(inputs),
            old_inputs=struct_of(inputs),
            timeout=SECONDS,
        )
        stub.Update(request, timeout=SECONDS)


def struct_of(inputs: Mapping[str, Any]) -> Any:
    """The inputs as the engine hands them over."""
    from google.protobuf import json_format, struct_pb2  # noqa: PLC0415 - as above

    return json_format.ParseDict({**inputs}, struct_pb2.Struct())


@contextmanager
def engine_for(package: Path, *options: str) -> Iterator[Engine]:
    """An engine for a service that is an emulator with these options."""
    from tools.sandbox import Emulator  # noqa: PLC0415 - as above

    databases = [word for each in DATABASES for word in ("--database", each)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        with Emulator(*options, *databases, log=folder / "emulator.log") as emulator:
            yield Engine(package, folder, emulator)


def measured(package: Path) -> dict[str, dict[str, Any]]:
    """What creates and restores pass; plugin and emulator are real."""
    return {**measured_at_once(package), **measured_later(package)}


def measured_at_once(package: Path) -> dict[str, dict[str, Any]]:
    """What a create passes that is answered with 200, and a restore, whole and resumed."""
    found = {}
    urn = URN.replace("Snapshot", "Restore")
    with engine_for(package, *AT_ONCE) as engine:
        restore = inputs_of_restore(engine)
        found["one create"] = engine.passed()
        with engine.run() as stub:
            engine.create(stub, urn, restore)
            found["a restore"] = engine.passed()
    with engine_for(package, *AT_ONCE) as engine:  # two restores wait for each other
        restore = inputs_of_restore(engine)
        with engine.run() as stub:
            pending = engine.create_in_vain(stub, urn, restore)
            engine.update(stub, urn, pending, restore)
            found["a restore's resume"] = engine.passed()
    return found


def inputs_of_restore(engine: Engine) -> dict[str, Any]:
    """Take snapshots in a run of their own, and return what restores the last one."""
    warmed, database = DATABASES
    with engine.run() as stub:
        engine.create(stub, f"{URN}-{warmed}", {"databaseId": warmed})
        made = engine.create(stub, f"{URN}-{database}", {"databaseId": database})
    return {"databaseId": database, "versionId": made["versionId"], "overwrite": True}


def measured_later(package: Path) -> dict[str, dict[str, Any]]:
    """What a create passes that is answered with 202, and one that continues a killed one."""
    found = {}
    with engine_for(package, *LATER) as engine:
        with engine.run() as stub:
            engine.create(stub, f"{URN}-slow", {"databaseId": DATABASES[0]})
            found["a slow create"] = engine.passed()
            engine.create_in_vain(stub, URN, {"databaseId": DATABASES[1]})
        with engine.run() as stub:  # whose state knows nothing of it
            engine.create(stub, URN, {"databaseId": DATABASES[1]})
            found["a killed and resumed create"] = engine.passed()
    return found


# The table


def rows(package: Path) -> Iterator[tuple[str, str]]:
    """What is measured, and its value."""
    provider = files_of(package)
    rooms: dict[str, list[str]] = defaultdict(list)
    for name, file in provider.items():
        rooms[file.room].append(name)
    inside = {
        room: sum(len(set(modules) & provider[each].uses) for each in modules)
        for room, modules in rooms.items()
    }
    largest = max(rooms, key=lambda room: len(rooms[room]))
    yield (
        "lines of the package without the emulator",
        f"{sum(file.lines for file in provider.values()):,}",
    )
    yield "files", str(len(provider))
    yield "folders", str(len(rooms))
    yield (
        "largest folder",
        f"`{largest}`: {len(rooms[largest])} files, {inside[largest]} imports of each other",
    )
    yield "imports inside functions", str(sum(file.lazy for file in provider.values()))
    yield (
        "`raise AssertionError`",
        str(sum(file.assertions for file in provider.values())),
    )
    for what, walk_of in measured(package).items():
        yield from rows_of_walk(what, walk_of)
    for room in sorted(rooms):
        yield (
            f"folder `{room}`",
            f"{len(rooms[room])} files, {inside[room]} imports of each other",
        )


def rows_of_walk(what: str, walk_of: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What one create or resume passes."""
    for name, sums in (
        ("to the POST", walk_of["to_post"]),
        ("there and back", walk_of["whole"]),
    ):
        if sums:
            counts = (f"{number} {each}" for each, number in sums.items())
            yield f"{what}, {name}", ", ".join(counts)
    yield f"requests in {what}", ", ".join(walk_of["requests"])


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--serve"]:
        serve_traced(*map(Path, sys.argv[2:]))
        return
    print("| measure | value |\n| --- | --- |")
    for name, value in rows(PROJECT / PACKAGE):
        print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()
