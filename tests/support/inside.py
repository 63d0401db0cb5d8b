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
import selectors
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from importlib.util import find_spec, module_from_spec
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar
from unittest import mock

import grpc

from pulumi_snapshots.clock import Clock, ServiceClock, parse_rfc3339
from pulumi_snapshots.dynamic import provider
from pulumi_snapshots.dynamic.provider import SnapshotProvider
from pulumi_snapshots.engine.messages import Callbacks, Engine
from pulumi_snapshots.ledger.ledger import Ledger
from pulumi_snapshots.plugin.protocol.servicer import Plugin
from pulumi_snapshots.resources import RESOURCES
from pulumi_snapshots.run.calls import Shared
from pulumi_snapshots.run.session import Session
from squarecloud_emulator.wire.gateway import kind_of
from tests.support.memory import Memory, Mortal
from tests.support.plugin_servicer import PluginServicer
from tests.support.servicer import Servicer
from tests.support.wire import EmulatorTransport, _tells_nobody
from tests.support.world import START

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Coroutine,
        Iterator,
        Mapping,
        MutableMapping,
    )
    from datetime import datetime

    import httpx

    from pulumi_snapshots.run.settings import Settings
    from squarecloud_emulator import Emulator, JournalEntry

T = TypeVar("T")
PROVIDERS = {kind: getattr(provider, f"{kind}Provider") for kind in RESOURCES}


MOST_IDLE = 10_000
"""How often in a row the loop may run while no time passes, before a moment does."""
MOMENT = 1e-6


# --- Time ------------------------------------------------------------------------------------------------------------


class _Jumps(selectors.SelectSelector):
    """Never waits: the time of the loop jumps to the next wake-up."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._idle = 0  # how often in a row no time has passed

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("all tasks wait for something that never comes")
        self._idle = 0 if timeout > 0 else self._idle + 1
        # A wait for less than a float can count would never end; a real clock does not stand still.
        is_stuck = self._idle > MOST_IDLE
        self.now += MOMENT if is_stuck else max(0.0, timeout)
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
    """The clock of a process: what its machine's showed when it began, and since then as fast as the true time."""

    def __init__(self, ahead: float) -> None:
        super().__init__(START)
        self.ahead = ahead
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        """Seconds of the loop; anyio looks first which loop runs, which takes ten times as long."""
        return self._loop.time()

    def utc(self) -> datetime:
        """What the machine shows."""
        return START + timedelta(seconds=self._loop.time() + self.ahead)


# --- Threads that take turns with the loop ------------------------------------------------------------------------------


class _KilledError(BaseException):
    """Ends a thread whose process was killed."""


class _Turns:
    """A thread's place in the loop: one of both computes, the other one waits."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.answered: queue.SimpleQueue[tuple[Any, BaseException | None]] = (
            queue.SimpleQueue()
        )

    def carry_out(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        self.asked.put(("operation", operation))
        result, error = self.answered.get()
        if error is not None:
            raise error
        return result


_here = threading.local()


async def _in_a_thread(work: Callable[[], T]) -> T:
    """Run what may block in a thread, and its operations in this task."""
    turns = _Turns()
    killed = None
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
        # blocks the loop on purpose, so that its time stops
        what, value = turns.asked.get()
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


_urn: contextvars.ContextVar[str] = contextvars.ContextVar("urn", default="")
"""The resource that is asked for."""
POSTS = {"create": "snapshot", "restore": "restore"}
"""What the ledger calls what each POST starts."""
LONGEST_CLAIM = timedelta(seconds=15)
"""How old a claim may be when its request leaves, by both clocks."""


# --- A machine and its processes ------------------------------------------------------------------------------------------


class _Wire(EmulatorTransport):
    """The transport of one process, which knows the journal entries of its requests."""

    def __init__(self, computer: Computer) -> None:
        super().__init__(computer.emulator)
        self._computer = computer
        self._sent: dict[int, str] = {}

    def requests(self, urn: str) -> list[JournalEntry]:
        return [
            self._emulator.journal[number]
            for number, of in self._sent.items()
            if of == urn
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._computer.note_request()
        kind, database_id = kind_of(request.method, request.url.path)
        if kind not in POSTS:
            return await super().handle_async_request(request)
        tell = request.extensions.get("trace", _tells_nobody)

        async def leaves(event: str, info: Any) -> None:
            await tell(event, info)
            if event.startswith("connection.") and self._computer.naps:
                await asyncio.sleep(self._computer.naps.pop())
            if event.endswith("send_request_headers.started"):
                while self._computer.before_post:
                    await self._computer.before_post.pop()()
                self._computer.note_post(POSTS[kind], database_id)

        request.extensions["trace"] = leaves
        return await super().handle_async_request(request)

    def _spawn(self, run: Callable[[Any], Awaitable[None]], app: Any) -> None:
        urn = _urn.get()

        async def noted(
            scope: MutableMapping[str, Any], receive: Any, send: Any
        ) -> None:
            # The gateway adds a request to its journal before it first waits.
            self._sent[len(self._emulator.journal)] = urn
            await app(scope, receive, send)

        super()._spawn(run, noted)


def _nothing() -> None:
    """What happens after the claim of a restore unless something is to happen."""


@dataclass
class Computer:
    name: str  # for the story
    emulator: Emulator  # the service
    ahead: float = 0.0  # seconds by which its clock is ahead of the true time
    place: Memory = field(default_factory=lambda: Memory(Clock(START), is_shared=False))
    # of all services, by the services' names
    places: dict[str, Memory] = field(default_factory=dict)
    # seconds for which it sleeps after the claim of one of the next requests, before that leaves
    naps: list[float] = field(default_factory=list)
    # called right before the next POST leaves, after its claim
    before_post: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    # by database: called before the next request after a restore of it is claimed
    after_claim: dict[str, Callable[[], None]] = field(default_factory=dict)
    # whether it was paused with its clocks, so that a claim may be older than it seems
    was_paused: bool = False
    # of restores that left long after their claim because of that: the database, and both times by the service's clock
    sent_after_pause: list[tuple[str | None, datetime, datetime]] = field(
        default_factory=list
    )
    # the POSTs that were not in the ledger when they left, or since too long
    unwritten: list[str] = field(default_factory=list)

    def place_of(self, service: str) -> Memory:
        other = (
            Memory(Clock(START), where=f"{self.place.where} of {service}")
            if self.places
            else self.place
        )
        return self.places.setdefault(service, other)

    def note_post(self, kind: str, database_id: str | None) -> None:
        """Look whether a POST that leaves is in the ledger."""
        now = self.emulator.now()
        wanted = (kind, database_id, "sent")
        claimed = [
            parse_rfc3339(each["request"]["posted_at"])
            for each in self.attempts()
            if (each["kind"], each["database_id"], each["status"]) == wanted
        ]
        if not claimed or (not self.was_paused and now - max(claimed) >= LONGEST_CLAIM):
            self.unwritten.append(f"{kind} of {database_id} at {now}")
        elif now - max(claimed) >= LONGEST_CLAIM:
            self.sent_after_pause.append((database_id, max(claimed), now))

    def note_request(self) -> None:
        """Let happen what is to happen after a restore's claim, before the next request leaves."""
        if not self.after_claim:
            return
        for each in self.attempts():
            if (each["kind"], each["status"]) == ("restore", "claimed"):
                self.after_claim.pop(each["database_id"], _nothing)()

    @property
    def memory(self) -> str:
        """The name of its ledger's place, which is the same for machines that share it."""
        return self.place.where

    @property
    def is_broken(self) -> bool:
        """Whether its place refuses anything now."""
        return bool(self.place.refuses_reads or self.place.refuses_writes)

    def unsaved(self) -> list[tuple[str, datetime]]:
        """Of each request that its ledger has and no state was seen to have: the database, and when it was sent."""
        return [
            (each["database_id"], parse_rfc3339(each["request"]["posted_at"]))
            for each in self.attempts()
            if not each.get("saved")
        ]

    def attempts(self) -> list[dict[str, Any]]:
        contents = [json.loads(place.data or "{}") for place in self.places.values()]
        return [
            each
            for content in contents
            for each in content.get("attempts", {}).values()
        ]


class _Shared(Shared):
    """What a provider's process shares, with the service of a test."""

    def __init__(self, computer: Computer) -> None:
        super().__init__()
        self.clock = MachineClock(computer.ahead)
        self._computer = computer
        self.places: list[Mortal] = []
        self.wire = _Wire(computer)

    def ledger(self, settings: Settings) -> Ledger:
        key = settings.api_url, settings.shared_state, settings.state_dir
        if key not in self._ledgers:
            self.places.append(Mortal(self._computer.place_of(settings.service())))
            self._ledgers[key] = Ledger(self.places[-1], ServiceClock(self.clock))
        return self._ledgers[key]

    def session(self, settings: Settings) -> Session:
        return self._one(
            settings,
            lambda: Session(
                settings, self.ledger(settings), self.memory, self.clock, self.wire
            ),
        )


class Provider:
    def __init__(self, computer: Computer, config: Mapping[str, Any]) -> None:
        self.computer = computer
        self.shared = _Shared(computer)
        self.warnings: list[str] = []
        self.progress: list[str] = []
        self.cache: dict[str, Any] = {}
        self.killed = False
        self._config = config
        self._servicers: dict[str, Servicer] = {}

    async def call(self, kind: str, method: str, *args: Any) -> Any:
        """One call of the engine; raises `CallFailedError` as `Servicer` does."""
        token = _process.set(self)
        urn = _urn.set(args[0])
        try:
            return await _in_a_thread(
                lambda: getattr(self._servicer(kind), method)(*args)
            )
        finally:
            _process.reset(token)
            _urn.reset(urn)

    def _servicer(self, kind: str) -> Servicer:
        if kind not in self._servicers:
            self._servicers[kind] = self.made(kind)
        return self._servicers[kind]

    def made(self, kind: str) -> Servicer:
        """What serves the resources of a kind."""
        raise NotImplementedError

    def say(
        self,
        text: str,
        urn: str = "",  # noqa: ARG002
        *,
        warning: bool = False,
        ephemeral: bool = False,  # noqa: ARG002
    ) -> None:
        (self.warnings if warning else self.progress).append(text)

    def cancel(self) -> None:
        self.shared.stop()

    def kill(self) -> None:
        """From now on it writes nothing and tells nothing."""
        self.killed = True
        for place in self.shared.places:
            place.killed = True

    def utc(self) -> datetime:
        return self.shared.clock.utc()

    @property
    def clock(self) -> Clock:
        """The clock of its machine."""
        return self.shared.clock

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
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: trailing


class _Context(grpc.ServicerContext):  # type: ignore[misc]
    trailing: Any = ()

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self.trailing = trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> Any:
        raise _FailedError(code, details, self.trailing)


_Context.__abstractmethods__ = frozenset()


class Dynamic(Provider):
    def made(self, kind: str) -> Servicer:
        servicer = _sdk().DynamicResourceProviderServicer()

        def call(method: str, request: Any) -> Any:
            vars(_sdk())["_PROVIDER_CACHE"] = self.cache
            return getattr(servicer, method)(request, _Context())

        return Servicer(PROVIDERS[kind]()).at(_Stub(call), self._config)


class _Stub:
    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        self._call = call

    def __getattr__(self, method: str) -> Any:
        return lambda request, timeout=0: self._call(method, request)  # noqa: ARG005


# --- The plugin -----------------------------------------------------------------------------------------------------------


class _InsideEngine(Engine):
    def __init__(self, process: Provider) -> None:
        super().__init__()
        self.say = process.say  # type: ignore[method-assign, assignment]

    async def flush(self) -> None:
        pass


class _AsyncContext:
    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> Any:
        raise _FailedError(code, details, trailing_metadata)


class _InsidePlugin(PluginServicer):
    """Answers by the names that are in the state."""

    _values = Servicer._values
    _text = Servicer._text


class Native(Provider):
    def made(self, kind: str) -> Servicer:
        if kind:
            return self._servicer("")  # one serves all
        plugin = Plugin(_InsideEngine(self), self.shared, Callbacks(""))
        stub = _Stub(
            lambda name, request: self.carry_out(
                lambda: getattr(plugin, name)(request, _AsyncContext())
            )
        )
        return _InsidePlugin(SnapshotProvider()).at(stub, self._config)


WAYS: dict[str, type[Provider]] = {"dynamic": Dynamic, "plugin": Native}


# --- What surrounds a process ------------------------------------------------------------------------------------------------


@contextmanager
def inside() -> Iterator[None]:
    """Let the providers find the processes of this file where they look for their own."""
    access = "pulumi_snapshots.dynamic.engine_access"
    messages = SimpleNamespace(
        say=lambda *said, **how: _process.get().say(*said, **how), wait=lambda: None
    )
    others = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SQUARECLOUD_")
    }
    with ExitStack() as patches:
        patches.enter_context(mock.patch.dict(os.environ, others, clear=True))
        for name, value in {
            f"{access}.messages": messages,
            f"{access}.widen": bool,
            f"{access}.on_cancel": bool,
            "pulumi_snapshots.run.calls.system_utc": lambda: _process.get().utc(),
        }.items():
            patches.enter_context(mock.patch(name, value))
        patches.enter_context(mock.patch.object(provider, "this_run", _process.get))
        yield


def run_inside(body: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Run `body` in virtual time with the providers of this file."""
    with inside():
        return in_virtual_time(body, *args)
