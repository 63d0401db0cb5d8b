"""A provider whose inputs choose what it does with the engine; `TOY_BREAK` removes a part of the SDK that it uses."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from pulumi_snapshots.dynamic import engine_access
from pulumi_snapshots.engine import SECRET, SIGNATURE
from pulumi_snapshots.engine.messages import MessageRow
from pulumi_snapshots.engine.wording import PYTHON

if TYPE_CHECKING:
    from collections.abc import Callable


def _break(what: str) -> None:
    """Remove a part of the SDK, as a new version of it might."""
    if what:
        BREAKS[what]()


def _no_context() -> None:
    import grpc._server  # noqa: PLC0415

    grpc._server._Context.set_trailing_metadata = None


def _google() -> None:
    """Load the protobuf class of Google's own clients, which excludes the SDK's class of the same name."""
    from google.protobuf import descriptor_pb2, descriptor_pool  # noqa: PLC0415

    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/status.proto", package="google.rpc"
    )
    file.message_type.add(name="Status")
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())


def _six_threads() -> None:
    """Let the system refuse a seventh thread of the pool."""
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        ours = [
            one for one in threading.enumerate() if "ThreadPoolExecutor" in one.name
        ]
        if "ThreadPoolExecutor" in thread.name:
            time.sleep(0.02)  # as long as a busy system takes: calls arrive meanwhile
            if len(ours) >= 6:
                raise RuntimeError("can't start new thread")
        start(thread)

    threading.Thread.start = limited  # type: ignore[method-assign, assignment]


BREAKS: dict[str, Callable[[], object]] = {
    "context": _no_context,
    "google": _google,
    "log": lambda: sys.argv.__delitem__(slice(1, None)),
    "engine": lambda: sys.argv.__setitem__(
        slice(1, None), ["127.0.0.1:9"]
    ),  # nobody listens there
    "pool": lambda: setattr(engine_access, "_find_thread_pool", lambda: None),
    "server": lambda: delattr(sys, "_current_frames"),
    "frames": lambda: setattr(
        engine_access, "_frames", lambda _: iter(())
    ),  # nothing is found up the stack
    "threads": _six_threads,
}


class _Stop:
    """Whether the engine has cancelled; one per process."""

    event = threading.Event()
    called = 0

    @classmethod
    def on_cancel(cls) -> None:
        cls.called += 1
        cls.event.set()


def _do(inputs: dict[str, Any]) -> dict[str, Any]:
    """Do what `inputs` ask for, and report it in the outputs."""
    call = engine_access.current_call()
    time.sleep(inputs.get("seconds", 0))
    row = MessageRow(engine_access.messages, call.urn or "", PYTHON)
    thread = threading.Thread(
        target=lambda: list(map(row.progress, inputs.get("progress", ())))
    )
    thread.start()  # as the event loop's thread does
    thread.join()
    for name, say in (("info", row.note), ("warn", row.warn)):
        if name in inputs:
            say(inputs[name])
    engine_access.messages.wait()
    outputs: dict[str, Any] = {
        "urn": call.urn,
        "width": _width(),
        **inputs.get("outputs", {}),
    }
    # what a later read does, which gets these outputs
    outputs |= inputs.get("in_read", {})
    if inputs.get("wait"):
        row.progress("waiting")
        if not _Stop.event.wait(20):
            call.fail("not cancelled")
    outputs["called"] = _Stop.called
    _end(call, row, inputs, outputs)
    return outputs


def _end(
    call: engine_access.ServedCall,
    row: MessageRow,
    inputs: dict[str, Any],
    outputs: dict[str, Any],
) -> None:
    outputs |= {
        name: {SIGNATURE: SECRET, "value": value}
        for name, value in inputs.get("secrets", {}).items()
    }
    outputs |= {"unserialisable": object()} if inputs.get("unserialisable") else {}
    try:
        if "fail" in inputs or "keep" in inputs:
            int("the cause")
    except ValueError:
        if "keep" in inputs:
            call.keep("toy/pending", outputs, inputs["keep"])
        call.fail(inputs.get("fail", "not kept"))
    if inputs.get("surrogate"):
        row.progress("broken \udc80 row")
        row.warn("broken \udc80 line")
        call.fail("broken \udc80 text")
    if inputs.get("bug"):
        raise ZeroDivisionError("a bug")


def _width() -> int | None:
    with suppress(AttributeError):
        return int(engine_access._find_thread_pool()._max_workers)
    return None


class ToyProvider(ResourceProvider):
    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        _break(os.environ.get("TOY_BREAK", ""))
        engine_access.on_cancel(_Stop.on_cancel)
        if width := req.config.get("toy:width"):
            queued = int(req.config.get("toy:queued") or 0)
            while (
                queued
                and engine_access._find_thread_pool()._work_queue.qsize() < queued
            ):
                time.sleep(0.01)
            engine_access.widen(int(width))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("toy/1", _do(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, _do(props))

    def update(
        self, _id: str, _olds: dict[str, Any], news: dict[str, Any]
    ) -> UpdateResult:
        return UpdateResult(_do(news))

    def diff(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        if news.get(
            "diff"
        ):  # the engine asks for a diff in a refresh as well, of a resource that was kept too
            _do(news)
        return DiffResult(changes=False)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        _do(props)
