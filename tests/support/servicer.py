"""Runs the SDK's real provider process the way the engine does, and speaks the engine's side of it; no engine needed."""

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

import grpc
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime import rpc
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from tests.support.preloaded import python_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulumi.dynamic import ResourceProvider

ROOT = Path(__file__).parents[2]

UNKNOWN: str = rpc.UNKNOWN
"""An input that a preview does not know, in the form in which the engine sends it."""

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_PROVIDER_KEY = "__provider"
_HEADER = "grpc-status-details-bin"

# Go's side takes trailers of any size; gRPC's C core drops what exceeds a few kilobytes unless it is told otherwise.
_CLIENT_OPTIONS = [
    ("grpc.max_metadata_size", 16 << 20),
    ("grpc.absolute_max_metadata_size", 16 << 20),
    ("grpc.max_receive_message_length", 400 << 20),
    ("grpc.enable_http_proxy", 0),
]

_P = ParamSpec("_P")
_T = TypeVar("_T")


NO_KEY: dict[str, str | None] = dict.fromkeys(
    ("SQUARECLOUD_API_KEY", "SQUARECLOUD_API_URL", "SQUARECLOUD_SNAPSHOTS_URL")
)
"""The environment of a provider that has no key and no service."""


PLENTY = {"SQUARECLOUD_REQUESTS_PER_MINUTE": "10000"}
"""The environment of a provider that polls every fraction of a second. With the usual budget it would wait for the next
minute's requests after a few seconds, which pass on a busy machine before a test's next step."""


def urn(name: str, type_: str = "squarecloud:index:Snapshot") -> str:
    """URN of a resource called `name`; the plugin goes by its type, the dynamic provider does not look at it."""
    return f"urn:pulumi:dev::project::{type_}::{name}"


def secret(value: Any) -> dict[str, Any]:
    return {_SIGNATURE: _SECRET, "value": value}


# --- What the provider answered ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Answer to a create, update or read. `secrets` names the outputs that are secrets; nested ones as `a.b` and `a[0]`."""

    id: str
    outputs: dict[str, Any]
    secrets: frozenset[str]
    inputs: Any = None  # of a read, where the provider gave them

    @property
    def dropped(self) -> bool:
        """Whether the engine takes the resource out of the state."""
        return not self.id


@dataclass(frozen=True)
class CheckAnswer:
    """Answer to a check; failures by property, in the order given."""

    inputs: dict[str, Any]
    secrets: frozenset[str]
    failures: list[tuple[str, str]]

    def reasons(self, property_: str) -> list[str]:
        return [reason for name, reason in self.failures if name == property_]


@dataclass(frozen=True)
class DiffAnswer:
    """Answer to a diff; `changes` is None where the provider does not know."""

    changes: bool | None
    replaces: list[str]
    delete_before_replace: bool


@dataclass(frozen=True)
class Kept(Answer):
    """Partial state that came with an error: what the engine saves, and the reasons that it shows."""

    reasons: list[str] = field(default_factory=list)
    refresh_before_update: bool = False
    provider: str = ""
    """The serialised provider; without it the engine could do nothing more with the resource."""


class CallFailedError(Exception):
    def __init__(
        self, code: str, message: str, kept: Kept | None, *, awaited: bool = False
    ) -> None:
        super().__init__(
            f"{code}: {message}"
            + (f" (kept {kept.id}: {kept.reasons})" if kept else "")
        )
        self.code = code  # gRPC's code, by name
        self.message = message  # What the engine takes for the error's text, the details' own where there are details
        self.kept = kept  # The partial state, if one came with it
        # Whether it was not done yet; the engine then shows no text
        self.awaited = awaited


@dataclass(frozen=True)
class Message:
    urn: str
    text: str
    severity: str
    ephemeral: bool


# --- Wire forms ------------------------------------------------------------------------------------------------------


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(_without_none(values))
    return struct


def _without_none(value: Any) -> Any:
    """As Pulumi sends it: a property that is None does not exist."""
    if isinstance(value, dict):
        return {
            key: _without_none(item) for key, item in value.items() if item is not None
        }
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def _values(struct: struct_pb2.Struct) -> tuple[dict[str, Any], frozenset[str]]:
    """The plain values, without the provider's own property, and the paths of those that are secrets."""
    secrets: set[str] = set()

    def plain(value: Any, path: str) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "list_value":
            return [
                plain(item, f"{path}[{index}]")
                for index, item in enumerate(value.list_value.values)
            ]
        if kind != "struct_value":
            return None if kind == "null_value" else getattr(value, kind)
        fields = value.struct_value.fields
        if _SIGNATURE in fields and fields[_SIGNATURE].string_value == _SECRET:
            secrets.add(path)
            return plain(fields["value"], path)
        return {key: plain(item, f"{path}.{key}") for key, item in fields.items()}

    values = {
        key: plain(value, key)
        for key, value in struct.fields.items()
        if key != _PROVIDER_KEY
    }
    return values, frozenset(secrets)


def failure_of(
    error: grpc.RpcError,
    values: Callable[[Any], Any] = _values,
    text: Callable[[str], str] = str,
) -> CallFailedError:
    """The error as Go's gRPC and the engine read it: the details win if they carry the call's own code."""
    code = error.code()
    headers = [
        value for key, value in error.trailing_metadata() or () if key == _HEADER
    ]
    if len(headers) != 1:
        return CallFailedError(code.name, text(error.details() or ""), None)
    status = status_pb2.Status.FromString(headers[0])
    if status.code != code.value[0]:
        return CallFailedError(
            "INTERNAL",
            f"details carry code {status.code}, the call {code.value[0]}",
            None,
        )
    kept = None
    awaited = False
    for detail in status.details:
        awaited = awaited or detail.type_url.endswith(
            "/pulumirpc.ErrorResourceAwaitFailed"
        )
        if (
            detail.type_url.rpartition("/")[2]
            == provider_pb2.ErrorResourceInitFailed.DESCRIPTOR.full_name
        ):
            failed = provider_pb2.ErrorResourceInitFailed.FromString(detail.value)
            (outputs, secrets) = values(failed.properties)
            (inputs, _) = values(failed.inputs)
            reasons = [text(reason) for reason in failed.reasons]
            provider = failed.properties.fields[_PROVIDER_KEY].string_value
            kept = Kept(
                failed.id,
                outputs,
                secrets,
                inputs,
                reasons,
                failed.refresh_before_update,
                provider,
            )
    return CallFailedError(code.name, text(status.message), kept, awaited=awaited)


# --- The engine's side -----------------------------------------------------------------------------------------------


class _Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.root = ""

    def Log(self, request: Any, _context: Any) -> Any:  # noqa: N802
        severity = engine_pb2.LogSeverity.Name(request.severity)
        self.messages.append(
            Message(request.urn, request.message, severity, request.ephemeral)
        )
        return empty_pb2.Empty()

    def GetRootResource(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return engine_pb2.GetRootResourceResponse(urn=self.root)

    def SetRootResource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self.root = request.urn
        return engine_pb2.SetRootResourceResponse()


@dataclass
class Servicer:
    """One provider process, from its start to its end; a context manager.

    Every call raises `CallFailedError` where the provider answers with an error, and may be made from any thread.
    """

    provider: ResourceProvider  # What is pickled into the state; its class must be importable by name
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str | None] = field(default_factory=dict)
    forks: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT  # Where the process runs, the project's directory in real life
    address: str = ""  # The engine's
    deadline: float = 60.0  # Seconds after which a call fails with DEADLINE_EXCEEDED

    def __enter__(self) -> Self:
        self.serialized_provider: str = serialize_provider(self.provider)
        self._engine = _Engine()
        self._exit = contextlib.ExitStack()
        with contextlib.ExitStack() as exit_:
            self._calls = ThreadPoolExecutor(256, "engine-call")
            exit_.callback(self._calls.shutdown, wait=False, cancel_futures=True)
            self._serve_engine(exit_)
            self._start_provider(exit_)
            self._exit = exit_.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def at(self, stub: Any, config: Mapping[str, Any]) -> Self:
        """Speak to a provider that is there, in place of a process."""
        self.serialized_provider = serialize_provider(self.provider)
        self._stub = stub
        self.configure(config)
        return self

    def _serve_engine(self, exit_: contextlib.ExitStack) -> None:
        server = grpc.server(ThreadPoolExecutor(8, "engine"))
        engine_pb2_grpc.add_EngineServicer_to_server(self._engine, server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self._engine_server = server
        exit_.callback(self.stop_engine)

    def _start_provider(self, exit_: contextlib.ExitStack) -> None:
        changed = {"PULUMI_PROJECT": "project", **self.forks, **self.env}
        env = {
            key: value
            for key, value in {**os.environ, **changed}.items()
            if value is not None
        }
        self.process = subprocess.Popen(  # noqa: S603  # this very interpreter
            [python_of(self.forks), *self._arguments()],
            cwd=self.cwd,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as the engine starts it: a terminal's ^C does not reach it
        )
        exit_.callback(self._end_provider)
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        if not port.isdecimal():
            raise RuntimeError(
                f"the provider did not start: {port}\n{self.process.stdout.read()}"
            )
        self._printed: list[str] = []
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_CLIENT_OPTIONS)
        exit_.callback(channel.close)
        self._stub = provider_pb2_grpc.ResourceProviderStub(channel)
        self.configure(self.config)

    def _arguments(self) -> list[str]:
        return ["-u", "-m", "pulumi.dynamic", self.address]

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):  # closed at the end
            self._printed.extend(line.rstrip("\n") for line in self.process.stdout)

    def _end_provider(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        if hasattr(self, "_reader"):
            self._reader.join(5)
        self.process.stdout.close()

    def stop_engine(self) -> None:
        """End the engine's own service, as when the engine is killed; calls that wait for the provider go on."""
        self._engine_server.stop(0).wait()

    # What the provider has said meanwhile

    def forget(self) -> None:
        """Forget what it has said so far, for the next test of the same process."""
        self._engine.messages.clear()
        self._printed.clear()

    @property
    def messages(self) -> list[Message]:
        """Everything sent to the engine so far, in the order of arrival."""
        return [
            replace(message, text=self._text(message.text))
            for message in self._engine.messages
        ]

    def progress(self, urn: str = "") -> list[str]:
        """What the resource's row has shown so far, one text after the other (no URN: the stack's row)."""
        return [
            message.text
            for message in self.messages
            if message.ephemeral and message.urn == urn
        ]

    def diagnostics(self, urn: str = "", severity: str | None = None) -> list[str]:
        """What stands under Diagnostics at the resource so far (no URN: at the stack)."""
        lasting = [
            each for each in self.messages if not each.ephemeral and each.urn == urn
        ]
        return [each.text for each in lasting if severity in {None, each.severity}]

    @property
    def printed(self) -> list[str]:
        """Lines that the process has written to stdout or stderr; the engine shows them on the stack's row."""
        return list(self._printed)

    def wait_for(
        self,
        condition: Callable[[], Any],
        what: str = "condition",
        seconds: float = 90.0,
    ) -> None:
        """Wait until something that happens in the other process has happened."""
        end = time.monotonic() + seconds
        while not condition():
            shown = f"messages {self.messages}, printed {self.printed}"
            assert time.monotonic() < end, f"{what}: not within {seconds} s; {shown}"
            time.sleep(0.01)

    # The engine's calls

    def start(
        self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_T]:
        """Make a call without waiting for it: `start(servicer.create, urn, inputs)`."""
        return self._calls.submit(call, *args, **kwargs)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Give the process its configuration; a provider that is loaded keeps the one from before."""
        self._call(
            "Configure",
            provider_pb2.ConfigureRequest(args=_struct(config), acceptSecrets=True),
        )

    def check(
        self, urn: str, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None
    ) -> CheckAnswer:
        """Check the inputs; `olds` are the inputs of the state, None for a new resource."""
        known = None if olds is None else self._bag(olds)
        request = provider_pb2.CheckRequest(urn=urn, news=self._bag(news), olds=known)
        answer = self._call("Check", request)
        inputs, secrets = self._values(answer.inputs)
        # One that names no property (the engine would print its value) begins with the name.
        named = [
            tuple(f"{each.property} {each.reason}".lstrip().split(" ", 1))
            for each in answer.failures
        ]
        return CheckAnswer(
            inputs,
            secrets,
            [(self._text(name), self._text(reason)) for name, reason in named],
        )

    def diff(
        self,
        urn: str,
        id_: str,
        olds: Mapping[str, Any],
        news: Mapping[str, Any],
        ignore_changes: Sequence[str] = (),
    ) -> DiffAnswer:
        """Compare the outputs `olds` of the state with the new inputs."""
        known = {
            "olds": self._bag(olds),
            "news": self._bag(news),
            "old_inputs": self._bag(olds),
        }
        request = provider_pb2.DiffRequest(
            urn=urn, id=id_, **known, ignoreChanges=ignore_changes
        )
        answer = self._call("Diff", request)
        changes = {
            provider_pb2.DiffResponse.DIFF_SOME: True,
            provider_pb2.DiffResponse.DIFF_NONE: False,
        }
        replaces = [self._text(name) for name in answer.replaces]
        return DiffAnswer(
            changes.get(answer.changes), replaces, answer.deleteBeforeReplace
        )

    def create(self, urn: str, inputs: Mapping[str, Any]) -> Answer:
        answer = self._call(
            "Create", provider_pb2.CreateRequest(urn=urn, properties=self._bag(inputs))
        )
        return Answer(answer.id, *self._values(answer.properties))

    def update(
        self, urn: str, id_: str, olds: Mapping[str, Any], news: Mapping[str, Any]
    ) -> Answer:
        """Update the resource whose outputs are `olds` to the inputs `news`; its id cannot change."""
        known = {
            "olds": self._bag(olds),
            "news": self._bag(news),
            "old_inputs": self._bag(olds),
        }
        request = provider_pb2.UpdateRequest(urn=urn, id=id_, **known)
        return Answer(id_, *self._values(self._call("Update", request).properties))

    def read(
        self,
        urn: str,
        id_: str,
        outputs: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Read the resource: a refresh with the state's `outputs` and `inputs`, a get with `inputs` alone."""
        properties = None if outputs is None else self._bag(outputs)
        request = provider_pb2.ReadRequest(
            urn=urn, id=id_, properties=properties, inputs=self._bag(inputs or {})
        )
        answer = self._call("Read", request)
        given = self._values(answer.inputs)[0] if answer.HasField("inputs") else None
        return Answer(answer.id, *self._values(answer.properties), given)

    def delete(self, urn: str, id_: str, outputs: Mapping[str, Any]) -> None:
        self._call(
            "Delete",
            provider_pb2.DeleteRequest(urn=urn, id=id_, properties=self._bag(outputs)),
        )

    def cancel(self) -> None:
        """What the engine sends at ^C, and twice at a normal end."""
        self._call("Cancel", empty_pb2.Empty())

    def of(self, provider: ResourceProvider) -> Self:
        """The same process, asked for resources of another provider."""
        other = copy.copy(self)
        other.provider = provider
        other.serialized_provider = serialize_provider(provider)
        return other

    def _bag(self, values: Mapping[str, Any]) -> struct_pb2.Struct:
        return _struct({**values, _PROVIDER_KEY: self.serialized_provider})

    def _values(
        self, struct: struct_pb2.Struct
    ) -> tuple[dict[str, Any], frozenset[str]]:
        return _values(struct)

    def _text(self, text: str) -> str:
        return text

    def _call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._stub, method)(request, timeout=self.deadline)
        except grpc.RpcError as error:
            raise failure_of(error, self._values, self._text) from None


def failure(call: Callable[..., Any], *args: Any, **kwargs: Any) -> CallFailedError:
    """The error with which a call ends, which shows a user no traceback."""
    with pytest.raises(CallFailedError) as caught:
        call(*args, **kwargs)
    assert "Traceback" not in caught.value.message
    return caught.value


def kept(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Kept:
    """The resource that a call leaves unfinished."""
    partial = failure(call, *args, **kwargs).kept
    assert partial is not None, "no state was kept"
    return partial
