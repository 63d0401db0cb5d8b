"""All contact with parts of the Pulumi SDK that are not public.

These are the URN, live progress, partial state, cancellation, and the number of calls at a time.

A dynamic provider's methods get only ids and properties. The process around them has more: the
servicer's frames, up the stack of each call, hold the engine's request and gRPC's context; the
engine's address is on the command line; the gRPC server is in the main thread. Each feature is
looked for separately. If one is not found, the plain behaviour of a dynamic provider takes its
place, so a changed SDK never costs a run. Programs import this file too; the import starts nothing.
"""

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, NoReturn

import grpc
from pulumi.runtime import rpc

from pulumi_snapshots.engine.messages import (
    DETAILS_HEADER,
    Messages,
    await_failed,
    engine_at,
    status,
    unfinished,
)
from pulumi_snapshots.engine.process import address_in, end_with
from pulumi_snapshots.engine.wording import final
from pulumi_snapshots.errors.debug import shows_traceback
from pulumi_snapshots.first_use import FirstUse

_PROVIDER_KEY = "__provider"
_CANCEL_METHOD = "/pulumirpc.ResourceProvider/Cancel"


class EngineError(Exception):
    """An error whose text is meant for the user as it is."""


# The SDK shows `Class: text` for a built-in class, `package.module.Class: text` for any other:
# users read `ProviderError`, as the root of all errors of this package is called.
EngineError.__module__ = "builtins"
EngineError.__qualname__ = "ProviderError"


# What surrounds a call ----------------------------------------------------------------------------


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """This frame, and those up its stack."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def _find_server_state() -> Any:
    """Find the state of the gRPC server; None if there is none.

    The main thread waits in the function that started the server.
    """
    # The frame of gRPC's serving thread has the server too, but looking at its variables would keep
    # alive an event that gRPC must drop.
    main_thread = threading.main_thread().ident or 0
    for frame in _frames(_threads_frames().get(main_thread)):
        for value in tuple(frame.f_locals.values()):
            # A module's names can hold the server's class, which has no state.
            if not hasattr(type(value), "add_generic_rpc_handlers"):
                continue
            state = getattr(value, "_state", None)
            if hasattr(state, "generic_handlers"):
                return state
    return None


def _threads_frames() -> dict[int, FrameType]:
    """The frame of each thread, by the thread's number."""
    # Until Python 3.11.9, a garbage collection in the middle of this lets another thread run while
    # a lock is held that a new thread needs, and then no thread runs any more (CPython's issue
    # 106883).
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()  # noqa: SLF001  the only way to another thread's frame
    finally:
        if collects:
            gc.enable()


_server_state = FirstUse(_find_server_state)


def _find_engine_address() -> str | None:
    """The engine's address: the last argument of the provider's process, and of no other."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = getattr(spec, "name", "")
    return address_in(sys.argv) if name.startswith("pulumi.") else None


def _connect() -> Any:
    address = _find_engine_address()
    return address and engine_at(address)


messages = Messages(_connect)  # those of this provider's process


# The call under way -------------------------------------------------------------------------------


class ServedCall:
    """The engine's call (create, read, update …) that this thread serves.

    `urn` is the URN of its resource, None if it is not known.
    """

    def __init__(
        self,
        request: Any = None,
        context: Any = None,
    ) -> None:
        self._request = request
        self._context = context
        self.urn: str | None = getattr(request, "urn", None) or None

    def keep(
        self,
        id_: str,
        outputs: dict[str, Any],
        reason: str,
    ) -> None:
        """End the call unfinished: the engine saves the resource as far as it got.

        Returns if the SDK has no known way for that.

        Args:
            id_: the resource's id.
            outputs: the outputs to save.
            reason: the error that the user reads.
        """
        text = _ending(reason)

        def detail() -> Any:
            properties = asyncio.run(rpc.serialize_properties(outputs, {}))
            sent = [
                getattr(getattr(self._request, name, None), "fields", {})
                for name in ("news", "properties", "inputs")
            ]
            # Without its provider the resource could be neither updated nor deleted ever again.
            properties.fields[_PROVIDER_KEY].CopyFrom(
                next(each[_PROVIDER_KEY] for each in sent if _PROVIDER_KEY in each)
            )
            return unfinished(self._request, id_, properties, text)

        if self._send_details(text, detail):
            raise EngineError(text) from None

    def fail(
        self,
        text: str,
        *,
        later: bool = False,
    ) -> NoReturn:
        """End the call with exactly this text as the error.

        With `SQUARECLOUD_TRACEBACK=1`, the traceback is added.

        Args:
            text: the error.
            later: whether nothing was done, and the same succeeds later. A create or an update then
                ends as `await_failed` says, and the text is a warning.
        """
        detail = await_failed(self._request) if later else None
        if detail is not None:
            messages.say(text, self.urn or "", warning=True)
        text = _ending(text)
        # The SDK formats the error together with its traceback, and nothing else silences it
        # without a context.
        if not self._send_details(text, lambda: detail) and not shows_traceback():
            sys.tracebacklimit = 0
        raise EngineError(text) from None

    def _send_details(
        self,
        text: str,
        make_detail: Callable[[], Any],
    ) -> bool:
        """Attach a status to the call's end, which the engine shows instead of a traceback."""
        try:
            self._context.set_trailing_metadata(
                ((DETAILS_HEADER, status(text, make_detail())),)
            )
        except Exception:  # noqa: BLE001  # no context, or an unknown one
            return False
        return True


def _ending(text: str) -> str:
    """The text of an error that ends the call, once all messages are sent."""
    messages.wait()
    return final(text, sys.exc_info()[1])


def current_call() -> ServedCall:
    """Return the call that this thread serves, or outside of a servicer one without features."""
    for frame in _frames(sys._getframe()):  # noqa: SLF001  the only way to the callers' frames
        context = frame.f_locals.get("context")
        if isinstance(context, grpc.ServicerContext):
            return ServedCall(frame.f_locals.get("request"), context)
    return ServedCall()


# The engine's end, and its width ------------------------------------------------------------------


@cache
def on_cancel(callback: Callable[[], None]) -> None:
    """Call a function whenever the engine asks its providers to stop (^C).

    The engine asks twice, and at a normal end too.

    Args:
        callback: the function, which can be called from any thread.
    """
    tables = []
    with suppress(Exception):
        state = _server_state()
        tables = [getattr(state, "registered_method_handlers", None)]
        tables += [
            getattr(handler, "_method_handlers", None)
            for handler in state.generic_handlers
        ]
    for table in tables:
        if not isinstance(table, dict) or _CANCEL_METHOD not in table:
            continue
        plain = table[_CANCEL_METHOD]

        def cancel(
            request: Any,
            context: Any,
            plain: Any = plain,
        ) -> Any:
            callback()
            return plain.unary_unary(request, context)

        # A thread of its own, in an attribute that gRPC looks for: all of the server's threads may
        # be in the very waits that Cancel is to end.
        cancel.experimental_thread_pool = ThreadPoolExecutor(1, "engine-cancel")  # type: ignore[attr-defined]
        table[_CANCEL_METHOD] = grpc.unary_unary_rpc_method_handler(
            cancel,
            request_deserializer=plain.request_deserializer,
            response_serializer=plain.response_serializer,
        )


@cache
def end_with_engine() -> None:
    """End this process as soon as the engine was killed, if there is an engine.

    The parent of this process is a shell, which survives the engine.
    """
    address = _find_engine_address()
    if address is not None:
        end_with(address)


def _find_thread_pool() -> Any:
    """The pool whose threads serve the engine's calls."""
    return _server_state().thread_pool


def widen(threads: int) -> None:
    """Let the provider serve more calls at a time than the SDK's four.

    Args:
        threads: How many; the system may allow fewer.
    """
    with suppress(Exception):  # an unknown pool keeps its four
        pool = _find_thread_pool()
        # Under the lock of `submit`, which the thread that takes the engine's calls needs for the
        # next call. So that thread never meets a pool that wants a thread that the system refuses,
        # which would end it, and take no call after that.
        with pool._shutdown_lock:  # noqa: SLF001  a pool has no public way to grow
            if pool._max_workers < threads:  # noqa: SLF001  the same
                pool._max_workers = threads  # noqa: SLF001  the same
                # At once: by itself a pool starts no thread for calls that wait already.
                with suppress(RuntimeError):
                    while len(pool._threads) < threads:  # noqa: SLF001  the same
                        pool._adjust_thread_count()  # noqa: SLF001  starts one, or counts one idle thread fewer
                pool._max_workers = len(pool._threads)  # noqa: SLF001  the same
