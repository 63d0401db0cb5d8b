"""The real providers of both ways to the engine, inside this process and in virtual time: no process, socket or real second.

The engine's requests go to the SDK's own servicer of dynamic providers, and to the plugin's, in the form in which they are on
the wire. A dynamic provider blocks its thread while it works, so its calls get one; the loop's time stands still while such a
thread computes, and each thread hands its operations to the loop, so that a story is the same at each run.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import queue
import random
import selectors
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from importlib.util import find_spec, module_from_spec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from unittest import mock

import grpc
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2

from pulumi_snapshots.attempt.journal import AttemptJournal
from pulumi_snapshots.attempt.process import Process
from pulumi_snapshots.clock import Clock
from pulumi_snapshots.dynamic import translate
from pulumi_snapshots.dynamic.archive_provider import ArchiveProvider
from pulumi_snapshots.dynamic.drill_provider import DrillProvider
from pulumi_snapshots.dynamic.engine_access import Features
from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.dynamic.restore_provider import RestoreProvider
from pulumi_snapshots.locked_file import LockedFile
from pulumi_snapshots.plugin.protocol.engine import Engine
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.run.journals import FILES, journals_of
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.shared import Shared
from pulumi_snapshots.shared_state.content import parsed
from pulumi_snapshots.shared_state.leases import LeasedProcess
from tests.simulation.fleet_deployments import _cut_off, _in_memory
from tests.support import servicer as wire
from tests.support.plugin_servicer import CAMEL, renamed
from tests.support.servicer import Servicer
from tests.support.shared_places import Place
from tests.support.wire import EmulatorTransport
from tests.support.world import START

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, MutableMapping
    from datetime import datetime
    from pathlib import Path

    from google.protobuf import struct_pb2

    from pulumi_snapshots.emulator import Emulator, JournalEntry
    from pulumi_snapshots.run.journals import Journals
    from pulumi_snapshots.run.settings import Settings

__all__ = ["WAYS", "Computer", "Provider", "Raw", "in_virtual_time", "inside", "run_inside"]

T = TypeVar("T")
PROVIDERS = {
    "Snapshot": SnapshotProvider,
    "Restore": RestoreProvider,
    "Archive": ArchiveProvider,
    "Drill": DrillProvider,
}


# --- Time ------------------------------------------------------------------------------------------------------------


class _Jumps(selectors.SelectSelector):
    """Never waits: the time of the loop jumps to the next wake-up."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that never comes")
        self.now += max(0.0, timeout)
        return []


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.jumps = _Jumps()
        super().__init__(self.jumps)

    def time(self) -> float:
        return self.jumps.now


def in_virtual_time(body: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Run `body` on asyncio, the loop of the real providers. Whenever all tasks sleep, the time jumps."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(body(*args))


class MachineClock(Clock):
    """The clock of a machine, as far ahead of the true time as it says."""

    def __init__(self, ahead: float) -> None:
        super().__init__(START)
        self.ahead = ahead
        self._loop = asyncio.get_running_loop()

    def utc(self) -> datetime:
        return START + timedelta(seconds=self._loop.time() + self.ahead)


# --- Threads that take turns with the loop ------------------------------------------------------------------------------


class _KilledError(BaseException):
    """Ends a thread whose process was killed."""


class _Turns:
    """A thread's place in the loop: one of both computes, the other one waits."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.answered: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def carry_out(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        self.asked.put(("operation", operation))
        result, error = self.answered.get()
        if error is not None:
            raise error
        return result


_here = threading.local()


async def _in_a_thread(work: Callable[[], T]) -> T:
    """Run what may block in a thread, and its operations in this task."""
    turns, killed = _Turns(), None
    context = contextvars.copy_context()

    def body() -> None:
        _here.turns = turns
        try:
            turns.asked.put(("done", context.run(work)))
        except BaseException as error:  # noqa: BLE001  raised in the task
            turns.asked.put(("failed", error))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    while True:
        what, value = turns.asked.get()  # blocks the loop on purpose, so that its time stops
        if what == "operation":
            try:
                if killed is not None:
                    raise _KilledError  # noqa: TRY301  as below
                turns.answered.put((await value(), None))
            except asyncio.CancelledError as error:
                killed = error
                turns.answered.put((None, _KilledError()))
            except BaseException as error:  # noqa: BLE001  raised in the thread
                turns.answered.put((None, error))
            continue
        thread.join()
        if killed is not None:
            raise killed
        if what == "failed":
            raise value
        return value  # type: ignore[no-any-return]  # the work's result


# --- A machine and its processes ------------------------------------------------------------------------------------------


class _Wire(EmulatorTransport):
    """The transport of one process, which knows the journal entries of its requests."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self._sent: list[int] = []

    @property
    def requests(self) -> list[JournalEntry]:
        return [self._emulator.journal[number] for number in self._sent]

    def _spawn(self, run: Callable[[Any], Awaitable[None]], app: Any) -> None:
        async def noted(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            # The gateway adds a request to its journal before it first waits.
            self._sent.append(len(self._emulator.journal))
            await app(scope, receive, send)

        super()._spawn(run, noted)


@dataclass
class Computer:
    """A machine: what its processes share.

    Attributes:
        name: for the story.
        emulator: the service.
        folder: of the shared files, which are in memory.
        ahead: seconds by which its clock is ahead of the true time.
        running: the names of the running processes.
        files: the content of the shared files.
        place: what it shares with other machines; None without such a place.
    """

    name: str
    emulator: Emulator
    folder: Path
    ahead: float = 0.0
    running: set[str] = field(default_factory=set)
    files: dict[Path, str] = field(default_factory=dict)
    place: Place | None = None
    started: int = 0

    @property
    def memory(self) -> str:
        """A name of what its runs remember, which is the same for machines that share it."""
        return self.place.where if self.place else self.name

    def remembered(self) -> list[dict[str, Any]]:
        """The content of the files that its runs share."""
        if self.place is not None:
            return [parsed(name, held.content) for name, held in self.place.held.items() if name.endswith(".json")]
        return [json.loads(content) for content in self.files.values()]

    def new_name(self, what: str) -> str:
        self.started += 1
        name = f"{what} {self.started} of {self.name}"
        self.running.add(name)
        return name


class _Shared(Shared):
    """What a provider's process shares, with the service of a test."""

    def __init__(self, computer: Computer, process: Process) -> None:
        super().__init__(lambda _: None)
        self._clock = MachineClock(computer.ahead)
        self._computer, self._process = computer, process
        self._place = computer.place.bucket(self._clock) if computer.place else None
        if self._place is not None:
            self._process = LeasedProcess.here(self._place.now, process.name, computer.name)
        self.wire = _Wire(computer.emulator)

    def session(self, settings: Settings) -> Session:
        if settings not in self._sessions:
            session = self._sessions[settings] = Session(
                settings,
                self.memory,
                clock=self._clock,
                http=self.wire,
                chance=random.Random(settings.fingerprint()),
                state=self._computer.folder,
                process=self._process,
                shared=self._place,
            )
            _in_memory(session, self._computer.files)
            if self._stopping:
                session.stop()
        return self._sessions[settings]

    def journals(self, settings: Settings) -> Journals:
        return self.session(settings).journals

    def journals_of_all_keys(self, settings: Settings, what: str) -> list[AttemptJournal]:
        if self._place is not None and what in FILES:
            self._keyless[what] = [journals_of(settings, self._clock, None, self._process, self._place)[what]]
        elif what not in self._keyless:
            paths = sorted(path for path in self._computer.files if path.name.endswith(f".{FILES[what]}.json"))
            files = [LockedFile(path, self._clock) for path in paths]
            _in_memory(cast(Session, SimpleNamespace(_files=files)), self._computer.files)
            self._keyless[what] = [AttemptJournal(file, self._process, self._clock) for file in files]
        return self._keyless[what]

    def cut_off(self) -> None:
        """Let a killed process write nothing more."""
        for session in self._sessions.values():
            _cut_off(session)


class Provider:
    """A provider's process, by one way to the engine.

    Attributes:
        warnings: what stands under Diagnostics.
        progress: what the rows have shown.
    """

    way = ""

    def __init__(self, computer: Computer, engine: str, arguments: tuple[str, ...], config: Mapping[str, Any]) -> None:
        self.computer = computer
        self.engine = engine
        self.arguments = arguments
        self.process = Process(computer.new_name("provider"), computer.running.__contains__)
        self.shared = _Shared(computer, self.process)
        self.warnings: list[str] = []
        self.progress: list[str] = []
        self.said: set[str] = set()
        self.cache: dict[str, Any] = {}
        self.killed = False
        self._config = config
        self._servicers: dict[str, Servicer] = {}

    async def call(self, kind: str, method: str, *args: Any) -> Any:
        """One call of the engine; raises `CallFailedError` as `Servicer` does."""
        token = _process.set(self)
        try:
            return await _in_a_thread(lambda: getattr(self._servicer(kind), method)(*args))
        finally:
            _process.reset(token)

    def _servicer(self, kind: str) -> Servicer:
        raise NotImplementedError

    def cancel(self) -> None:
        """What the engine does at ^C."""
        self.shared.stop()

    def end(self) -> None:
        self.computer.running.discard(self.process.name)

    def kill(self) -> None:
        """From now on it writes nothing and tells nothing."""
        self.killed = True
        self.shared.cut_off()
        self.end()

    def is_first(self, what: str) -> bool:
        first = what not in self.said
        self.said.add(what)
        return first

    def utc(self) -> datetime:
        return self.shared._clock.utc()

    # As `dynamic.run.Run`

    @staticmethod
    def carry_out(operation: Callable[[], Awaitable[Any]]) -> Any:
        return _here.turns.carry_out(operation)

    def stop(self) -> None:
        self.shared.stop()


_process: contextvars.ContextVar[Provider] = contextvars.ContextVar("process")


# --- The dynamic provider -------------------------------------------------------------------------------------------------


@cache
def _sdk() -> ModuleType:
    """The SDK's servicer of dynamic providers, without the server that its module starts."""
    spec = find_spec("pulumi.dynamic.__main__")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    source = spec.loader.get_source(spec.name)  # type: ignore[attr-defined]
    body, main, _ = source.rpartition("\nmain()")
    assert main
    exec(compile(body, spec.origin or "", "exec"), module.__dict__)  # noqa: S102  the SDK's own file
    return module


class _FailedError(grpc.RpcError):  # type: ignore[misc]
    """The end of a call with an error, as a client of gRPC has it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Any = ()) -> None:
        super().__init__(details)
        self._all = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._all[0]

    def details(self) -> str:
        return self._all[1]

    def trailing_metadata(self) -> Any:
        return self._all[2]


class _Context(grpc.ServicerContext):  # type: ignore[misc]
    trailing: Any = ()

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.trailing = trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> Any:
        raise _FailedError(code, details, self.trailing)


_Context.__abstractmethods__ = frozenset()


class _DynamicStub:
    def __init__(self, process: Provider) -> None:
        self._process = process
        self._servicer = _sdk().DynamicResourceProviderServicer()

    def __getattr__(self, method: str) -> Any:
        return partial(self._call, method)

    def _call(self, method: str, request: Any, timeout: float = 0) -> Any:  # noqa: ARG002
        vars(_sdk())["_PROVIDER_CACHE"] = self._process.cache
        return getattr(self._servicer, method)(request, _Context())


class Dynamic(Provider):
    """The process of the dynamic providers."""

    way = "dynamic"

    def _servicer(self, kind: str) -> Servicer:
        if kind not in self._servicers:
            made = Servicer(PROVIDERS[kind]())
            made.serialized_provider = serialize_provider(made.provider)
            made._stub = _DynamicStub(self)  # type: ignore[assignment]
            made.configure(self._config)
            self._servicers[kind] = made
        return self._servicers[kind]


# --- The plugin -----------------------------------------------------------------------------------------------------------


class Raw(dict[str, Any]):
    """Properties by the names that are in the state."""


class _InsideEngine(Engine):
    def __init__(self, process: Provider) -> None:
        super().__init__()
        self._process = process

    def is_at(self, address: str) -> None:
        pass

    @property
    def alive(self) -> bool:
        return not self._process.killed

    def say(self, text: str, urn: str = "", *, warning: bool = False, ephemeral: bool = False) -> None:  # noqa: ARG002
        (self._process.warnings if warning else self._process.progress).append(text)

    async def flush(self) -> None:
        pass


class _AsyncContext:
    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Any:
        raise _FailedError(code, details, trailing_metadata)


class _PluginStub:
    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def __getattr__(self, method: str) -> Any:
        return lambda request, timeout=0: _here.turns.carry_out(  # noqa: ARG005
            lambda: getattr(self._plugin, method)(request, _AsyncContext())
        )


class _InsidePlugin(Servicer):
    def configure(self, config: Mapping[str, Any]) -> None:
        handshake = provider_pb2.ProviderHandshakeRequest(supports_refresh_before_update=True)
        self._call("Handshake", handshake)
        settings = {name.partition(":")[2]: value for name, value in config.items()}
        self._call("Configure", provider_pb2.ConfigureRequest(args=wire._struct(settings), acceptSecrets=True))

    def _bag(self, values: Mapping[str, Any]) -> struct_pb2.Struct:
        return wire._struct(values if isinstance(values, Raw) else renamed(values, CAMEL))


class Native(Provider):
    """The plugin's process."""

    way = "plugin"

    def _servicer(self, kind: str) -> Servicer:  # noqa: ARG002  one serves all
        if "" not in self._servicers:
            made = _InsidePlugin(SnapshotProvider())
            made._stub = _PluginStub(Plugin(_InsideEngine(self), self.shared))  # type: ignore[assignment]
            made.configure(self._config)
            self._servicers[""] = made
        return self._servicers[""]


WAYS: dict[str, type[Provider]] = {"dynamic": Dynamic, "plugin": Native}


# --- What surrounds a process ------------------------------------------------------------------------------------------------


class _Said:
    """The message that a dynamic provider sends to the engine."""

    sent = True

    def wait(self) -> bool:
        return True


class _Messages:
    def send(self, text: str, urn: str | None, *, ephemeral: bool = False, warning: bool = False) -> _Said:  # noqa: ARG002
        process = _process.get()
        (process.warnings if warning else process.progress).append(text)
        return _Said()


def _yes(_: object) -> bool:
    return True


@contextmanager
def inside() -> Iterator[None]:
    """Let the providers find the processes of this file where they look for their own."""
    access = "pulumi_snapshots.dynamic.engine_access"
    others = {name: value for name, value in os.environ.items() if not name.startswith("SQUARECLOUD_")}
    with ExitStack() as patches:
        patches.enter_context(mock.patch.dict(os.environ, others, clear=True))
        for name, value in {
            f"{access}._messages": _Messages(),
            f"{access}.widen": _yes,
            f"{access}.on_cancel": _yes,
            # It looks at the main thread, which waits in a provider's process, but works here.
            f"{access}.features": lambda: Features(urn=True, log=True, partial_state=True, cancel=True, width=True),
            "pulumi_snapshots.engine.process._engine": lambda: (_process.get().engine, _process.get().arguments),
            "pulumi_snapshots.snapshot.difference.system_utc": lambda: _process.get().utc(),
            "pulumi_snapshots.drill.difference.system_utc": lambda: _process.get().utc(),
        }.items():
            patches.enter_context(mock.patch(name, value))
        patches.enter_context(mock.patch.object(translate, "this_run", _process.get))
        yield


def run_inside(body: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Run `body` in virtual time with the providers of this file."""
    with inside():
        return in_virtual_time(body, *args)
