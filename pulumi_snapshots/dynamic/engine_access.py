"""All contact with what the Pulumi SDK does not publish: URN, live progress, partial state, cancel, width.

A dynamic provider's methods get only ids and properties. The process around them has more: the servicer's frames, up the
stack of each call, hold the engine's request and gRPC's context; the engine's address is on the command line; the
gRPC server is in the main thread. Each feature is looked for on its own. If one is not found, the plain behaviour of a
dynamic provider takes its place, so a changed SDK never costs a run.

Pulumi programs import this file too: that does nothing, and loads nothing that `import pulumi` has not loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from pulumi.runtime import rpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2

from pulumi_snapshots.engine.errors import DETAILS_HEADER, debugging, final, listed, readable, status
from pulumi_snapshots.engine.messages import Messages
from pulumi_snapshots.engine.presence import CHANNEL_OPTIONS, LOG_DEADLINE, WATCH_EVERY, address_in, listens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


_PROVIDER_KEY = "__provider"
_CONTEXT, _REQUEST = "context", "request"
_CANCEL_METHOD = "/pulumirpc.ResourceProvider/Cancel"

# gRPC's number for UNKNOWN, which is what the SDK ends every failed call with.
_UNKNOWN_CODE = 2


class ProviderError(Exception):
    """An error whose text is meant for the user as it is."""


# The SDK shows `Class: text` for a built-in class, `package.module.Class: text` for any other.
ProviderError.__module__ = "builtins"


# --- What surrounds a call ---------------------------------------------------------------------------------------


def _callers() -> Iterator[FrameType]:
    """The frames up the stack of this thread, nearest first."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        yield frame
        frame = frame.f_back


def _find_call() -> tuple[Any, Any]:
    """The engine's request and gRPC's context of the call under way in this thread, each None if not found.

    By type, not by name: the SDK's frames call them `request` and `context`, gRPC's own frame below has them too.
    """
    request = context = None
    for frame in _callers():
        for value in tuple(frame.f_locals.values()):
            # Not isinstance, which asks the value itself: a foreign proxy may raise.
            role = _role(type(value))  # type: ignore[arg-type]  # a class has a hash
            if role == _CONTEXT and context is None:
                context = value
            elif role == _REQUEST and request is None:
                request = value
        if request is not None and context is not None:
            break
    return request, context


@lru_cache(maxsize=256)
def _role(kind: type) -> str:
    """What values of a type are to a call; empty for nothing. Every check and every difference asks of the same few types."""
    if issubclass(kind, grpc.ServicerContext):
        return _CONTEXT
    name = getattr(getattr(kind, "DESCRIPTOR", None), "full_name", None)
    is_request = isinstance(name, str) and name.startswith("pulumirpc.") and name.endswith("Request")
    return _REQUEST if is_request else ""


def _find_thread_pool() -> ThreadPoolExecutor | None:
    """The pool whose threads serve the engine's calls: this thread's own executor, else the server's."""
    for frame in _callers():
        reference = frame.f_locals.get("executor_reference")
        pool = reference() if callable(reference) and frame.f_code.co_name == "_worker" else None
        if isinstance(pool, ThreadPoolExecutor):
            return pool
    pool = getattr(_find_server_state(), "thread_pool", None)
    return pool if isinstance(pool, ThreadPoolExecutor) else None


def _find_server_state() -> Any:
    """The state of the gRPC server, from the main thread, which waits in the function that started it; or None.

    gRPC's serving thread has it too, but looking at that frame's variables would keep alive an event that gRPC must drop.
    """
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001
    while frame is not None:
        for value in tuple(frame.f_locals.values()):
            state = getattr(value, "_state", None) if hasattr(type(value), "add_generic_rpc_handlers") else None
            if hasattr(state, "generic_handlers"):  # a server, and not just its class in a module's names
                return state
        frame = frame.f_back
    return None


def _find_cancel_handlers() -> list[dict[str, Any]]:
    """The tables in which the server looks up what to run for Cancel: generic handlers, registered ones, or both."""
    state = _find_server_state()
    tables = [getattr(state, "registered_method_handlers", None)]
    tables += [getattr(handler, "_method_handlers", None) for handler in getattr(state, "generic_handlers", None) or ()]
    return [table for table in tables if isinstance(table, dict) and _CANCEL_METHOD in table]


def _find_engine_address() -> str | None:
    """The engine's address: the last argument of the provider's process, and of no other."""
    main = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "")
    return address_in(sys.argv) if main.startswith("pulumi.") else None


# --- Messages ----------------------------------------------------------------------------------------------------


def log_by(engine: Any) -> Callable[[str, str, bool, bool], object]:
    """What hands one message to the engine."""

    def log(text: str, urn: str, is_warning: bool, is_ephemeral: bool) -> None:  # noqa: FBT001  a message
        severity = engine_pb2.WARNING if is_warning else engine_pb2.INFO
        message = engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=is_ephemeral)
        engine.Log(message, timeout=LOG_DEADLINE)

    return log


def _connect() -> Callable[[str, str, bool, bool], object] | None:
    address = _find_engine_address()
    if address is None:
        return None
    return log_by(engine_pb2_grpc.EngineStub(grpc.insecure_channel(address, options=CHANNEL_OPTIONS)))


messages = Messages(_connect)
"""Those of this provider's process."""


# --- The call under way ------------------------------------------------------------------------------------------


class EngineCall:
    """The engine's call (create, read, update …) that the servicer is serving in the thread that asked for it."""

    def __init__(self, request: Any = None, context: Any = None) -> None:
        self._request = request
        self._context = context

    @property
    def urn(self) -> str | None:
        """URN of the resource that the call is about; None if it cannot be known."""
        return getattr(self._request, "urn", None) or None

    @property
    def can_keep(self) -> bool:
        """Whether the SDK has a known way to end this call unfinished; see `keep`."""
        return _provider_value(self._request) is not None and callable(
            getattr(self._context, "set_trailing_metadata", None)
        )

    def keep(self, id_: str, outputs: dict[str, Any], reasons: list[str]) -> NoReturn:
        """End the call unfinished: the engine saves the resource as far as it got and shows the reasons as errors.

        If the SDK has no way for that, the call ends with a plain error, whose text says that nothing was kept. Secrets
        among the outputs must have their wire form. The next run reads the resource first.
        """
        messages.wait()
        reasons = [final(reason) for reason in reasons]
        if debugging() and sys.exc_info()[0] is not None:
            reasons.append(readable(traceback.format_exc()))
        text = "\n".join(reasons)
        if self._send_details(lambda: self._init_failed(id_, outputs, reasons), text):
            raise ProviderError(text) from None
        self._end_plainly(
            f"{text}\nThis could not be kept in the stack's state: the installed Pulumi SDK has no known way for it. "
            f"The next run does not know about {id_}."
        )

    def fail(self, text: str) -> NoReturn:
        """End the call with exactly this text as the error; with `SQUARECLOUD_DEBUG=1`, with the traceback too."""
        messages.wait()
        text = final(text)
        if debugging():
            raise ProviderError(text)
        if self._send_details(lambda: None, text):
            raise ProviderError(text) from None
        self._end_plainly(text)

    def _send_details(self, make_detail: Callable[[], Any], text: str) -> bool:
        """Attach a status to the end of the call that the engine believes more than the SDK's traceback."""
        try:
            self._context.set_trailing_metadata(((DETAILS_HEADER, status(_UNKNOWN_CODE, text, make_detail())),))
        except Exception:  # noqa: BLE001  # no context, or an unknown one
            return False
        return True

    def _init_failed(self, id_: str, outputs: dict[str, Any], reasons: list[str]) -> Any:
        loop = asyncio.new_event_loop()  # as the SDK does it for a result
        try:
            properties = loop.run_until_complete(rpc.serialize_properties(outputs, {}))
        finally:
            loop.close()
        # Without its provider the resource could be neither updated nor deleted ever again.
        properties.fields[_PROVIDER_KEY].CopyFrom(_provider_value(self._request))
        detail = provider_pb2.ErrorResourceInitFailed(id=id_, properties=properties)
        detail.reasons.extend(map(listed, reasons))
        if hasattr(detail, "refresh_before_update"):
            detail.refresh_before_update = True
        if hasattr(self._request, "inputs"):  # a read: the engine takes the inputs from the answer
            detail.inputs.CopyFrom(self._request.inputs)
        return detail

    @staticmethod
    def _end_plainly(text: str) -> NoReturn:
        # The SDK formats the error together with its traceback, and this is the only thing that silences it.
        if not debugging():
            sys.tracebacklimit = 0
        raise ProviderError(text) from None


def current_call() -> EngineCall:
    """The call that this thread serves; outside of a servicer, one without any feature."""
    return EngineCall(*_find_call())


def _provider_value(request: Any) -> Any:
    """The serialised provider, as the request carries it, or None."""
    for bag in ("news", "properties", "inputs"):
        fields = getattr(getattr(request, bag, None), "fields", {})
        if _PROVIDER_KEY in fields:
            return fields[_PROVIDER_KEY]
    return None


# --- Cancel ----------------------------------------------------------------------------------------------------------


class _Cancel:
    """The callbacks for when the engine asks the provider to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._cancelled = False
        self._installed = False

    def register(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if not self._installed:
                with contextlib.suppress(Exception):
                    self._installed = self._install()
            if not self._cancelled:
                self._callbacks.append(callback)
                return self._installed
        self._call(callback)
        return True

    def _install(self) -> bool:
        tables = _find_cancel_handlers()
        for table in tables:
            plain = table[_CANCEL_METHOD]

            def cancel(request: Any, context: Any, plain: Any = plain) -> Any:
                self.run()
                return plain.unary_unary(request, context)

            # A thread of its own: all of the server's may be in the very waits that Cancel is to end.
            cancel.experimental_thread_pool = ThreadPoolExecutor(1, "engine-cancel")  # type: ignore[attr-defined]
            table[_CANCEL_METHOD] = grpc.unary_unary_rpc_method_handler(
                cancel, request_deserializer=plain.request_deserializer, response_serializer=plain.response_serializer
            )
        return bool(tables)

    def run(self) -> None:
        """Call each callback once; the engine cancels twice, at a normal end too."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._call(callback)

    @staticmethod
    def _call(callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001  # the others must still be called
            traceback.print_exc()


_cancel = _Cancel()


def on_cancel(callback: Callable[[], None]) -> bool:
    """Call `callback` once when the engine asks its providers to stop (^C); at once if it already has.

    Call this in a provider's call. The callback runs in a thread of its own and must be quick.

    Returns:
        Whether the SDK has a known way to hear of it; if not, the callback is never called.
    """
    return _cancel.register(callback)


# --- The engine's end ------------------------------------------------------------------------------------------------


_watching = threading.Event()


def end_with_engine() -> bool:
    """Watch the engine from now on, and end this process as soon as it was killed.

    The provider's parent is a shell that lives on, so nothing else ends it. It ends at once, not as at ^C: an answer that
    the engine never gets must not be recorded as delivered.

    Returns:
        Whether there is an engine to watch.
    """
    address = _find_engine_address()
    if address is None:
        return False
    if not _watching.is_set():
        _watching.set()
        threading.Thread(target=_watch, args=(address,), name="engine-watch", daemon=True).start()
    return True


def _watch(address: str) -> None:
    while listens(address) or listens(address):
        time.sleep(WATCH_EVERY)
    os._exit(1)


# --- Width -----------------------------------------------------------------------------------------------------------


def widen(threads: int) -> bool:
    """Let the provider serve this many calls at a time instead of the SDK's four; whether it can.

    Call this in a provider's call; the threads start at once.
    """
    try:
        pool: Any = _find_thread_pool()
        before = pool._max_workers  # noqa: SLF001
        if before < threads and not _widened.is_set():
            _widened.set()
            # Under the lock of `submit`, which the thread that takes the engine's calls needs for the next one: it never
            # meets a pool that wants a thread that the system refuses, which would end that thread, and no call after it.
            with pool._shutdown_lock:  # noqa: SLF001
                _start_threads(pool, threads)
            return bool(pool._max_workers > before)  # noqa: SLF001
    except Exception:  # noqa: BLE001  # an unknown pool keeps its four
        return False
    return True


_widened = threading.Event()
"""Set once it was tried: a system that gave fewer threads is not asked again at every call."""


def _start_threads(pool: Any, threads: int) -> None:
    """Start all of a pool's threads, or as many as the system allows (a container may limit them).

    By itself, a pool starts them one by one as work arrives: calls that wait already would keep waiting, and a pool that
    was full may count too many idle threads, which costs the next calls a thread.
    """
    start_one = pool._adjust_thread_count  # noqa: SLF001  # or, if a thread counts as idle, count one fewer
    pool._max_workers = threads  # noqa: SLF001
    try:
        while len(pool._threads) < threads:  # noqa: SLF001
            start_one()
    except RuntimeError:
        pool._max_workers = max(1, len(pool._threads))  # noqa: SLF001
