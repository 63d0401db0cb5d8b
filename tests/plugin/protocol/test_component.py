"""A guard's component at a monitor that stands for the engine: what it registers, and which changes need no snapshot."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import grpc
import pytest
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import (
    callback_pb2,
    provider_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

from pulumi_snapshots.engine.messages import Callbacks
from pulumi_snapshots.engine.queries import GET_REGISTERED
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.guard.inputs import SNAPSHOT_TYPES
from pulumi_snapshots.guard.once import OncePerRun
from pulumi_snapshots.plugin.protocol import component
from pulumi_snapshots.plugin.protocol.component import GuardComponent
from pulumi_snapshots.run.calls import Shared
from pulumi_snapshots.run.settings import Settings
from tests.support.world import DATABASE, Row

STACK = "urn:pulumi:dev::app::"


class Monitor(resource_pb2_grpc.ResourceMonitorServicer):
    """The engine's side, of a stack of which it does not show the state."""

    def __init__(self) -> None:
        self.hooks: dict[str, Any] = {}
        self.listed: dict[str, Any] | None = None
        self.registered = 0
        self.transform: Any = None

    def RegisterResourceHook(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.name in self.hooks:
            named = f'resource hook already registered for name "{request.name}"'
            context.abort(grpc.StatusCode.UNKNOWN, named)
        self.hooks[request.name] = request.callback
        return empty_pb2.Empty()

    RegisterErrorHook = RegisterResourceHook

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.listed is None or request.tok == GET_REGISTERED:
            context.abort(grpc.StatusCode.UNKNOWN, "unknown resource")
        found = Struct()
        found.update({"outputs": self.listed})
        return resource_pb2.ResourceInvokeResponse(**{"return": found})

    def RegisterResource(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self.registered += 1
        self.request = request
        return resource_pb2.RegisterResourceResponse(urn="urn:guard")

    def RegisterStackTransform(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self.transform = request
        return empty_pb2.Empty()

    def RegisterResourceOutputs(self, request: Any, _context: Any) -> Any:  # noqa: N802
        self.outputs = request.outputs
        return empty_pb2.Empty()


class OldEngine:
    """An engine that does not know the question for its version, or answers it as this one would."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        self.error = grpc.RpcError()
        vars(self.error).update(code=lambda: code, details=lambda: details)

    def RequirePulumiVersion(self, _request: Any) -> None:  # noqa: N802
        raise self.error


class Stage:
    def __init__(self, address: str, folder: Path, **environment: str) -> None:
        self.callbacks = Callbacks("127.0.0.1:1")
        self.held: list[str] = []
        self.row = Row()
        environment["SQUARECLOUD_STATE_DIR"] = str(folder)
        settings = Settings.read({}, environment)
        self.call: Any = SimpleNamespace(
            owner=None,
            shared=Shared(),
            listener=self.row,
            settings=lambda: settings,
            session=lambda: None,
        )
        self.asked = provider_pb2.ConstructRequest(
            type="squarecloud:index:Guard",
            name="guard",
            monitorEndpoint=address,
            organization="organization",
            project="app",
            stack="dev",
        )

    async def hooked(self, urn: str, _operation: Any) -> str:
        self.held.append(urn)
        return ""

    async def register(self, engine: Any = None, **inputs: Any) -> GuardComponent:
        values = {"database_id": DATABASE, **inputs}
        guard = GuardComponent(self.asked, values, self.call, self.hooked)
        await guard.register(self.callbacks, engine)
        return guard

    async def asks(self, callback: Any, request: Any) -> bytes:
        asked = callback_pb2.CallbackInvokeRequest(
            token=callback.token, request=request.SerializeToString()
        )
        answered: bytes = (await self.callbacks.Invoke(asked, None)).response
        return answered


@pytest.fixture
def monitor() -> Iterator[tuple[Monitor, str]]:
    server = grpc.server(ThreadPoolExecutor(2))
    served = Monitor()
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(served, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield served, address
    server.stop(None)


def test_two_guards_of_one_name_get_a_sentence(
    monitor: tuple[Monitor, str], tmp_path: Path
) -> None:
    async def twice() -> None:
        stage = Stage(monitor[1], tmp_path)
        await stage.register()
        with pytest.raises(
            ProviderError, match="Guard 'guard': the program has another guard of this"
        ):
            await stage.register()

    anyio.run(twice)


@pytest.mark.parametrize("only", [None, ("shop",)])
def test_a_new_guard_without_a_snapshot_is_not_registered(
    monitor: tuple[Monitor, str], tmp_path: Path, only: tuple[str, ...] | None
) -> None:
    monitor[0].listed = {
        f"{STACK}servers:index:Server::shop": {"type": "servers:index:Server"}
    }

    async def register() -> set[str]:
        stage = Stage(monitor[1], tmp_path)
        with pytest.raises(
            ProviderError, match="was held back, since no snapshot guards it"
        ):
            await stage.register(only=only)
        once: OncePerRun = stage.call.shared.of(OncePerRun)
        return once.whole

    shares = set() if only else {"organization/app/dev/guard"}
    assert anyio.run(register) == shares, "with Snapshots of the run, if it hears all"
    assert monitor[0].registered == 0


@pytest.mark.parametrize(
    ("before", "comes_from", "is_named"),
    [
        (("create", "delete"), "other", True),
        (("create", "update"), "other", False),
        (("create", "delete"), "net", False),
    ],
    ids=["deletes", "no deletes", "the guard depends on it"],
)
def test_a_preview_names_what_is_registered_before_a_guard_of_deletes(
    monitor: tuple[Monitor, str],
    tmp_path: Path,
    before: tuple[str, ...],
    comes_from: str,
    *,
    is_named: bool,
) -> None:
    async def foresee() -> list[str]:
        stage = Stage(monitor[1], tmp_path)
        stage.asked.dryRun = True
        source = f"{STACK}servers:index:Server::{comes_from}"
        stage.asked.inputDependencies["databaseId"].urns.append(source)
        guard = await stage.register(before=before)
        options = resource_pb2.TransformResourceOptions(
            depends_on=[f"{STACK}servers:index:Server::net"]
        )
        app = resource_pb2.TransformRequest(
            type="servers:index:Server", name="app", custom=True, options=options
        )
        await stage.asks(monitor[0].transform, app)
        guard.sum_up()
        return stage.row.notes

    told = "Pulumi registers net before guard guard, and"
    noted = [each for each in anyio.run(foresee) if each.startswith(told)]
    assert len(noted) == is_named


def test_a_preview_warns_of_the_names_that_no_resource_has(
    monitor: tuple[Monitor, str], tmp_path: Path
) -> None:
    async def warned() -> list[str]:
        stage = Stage(monitor[1], tmp_path)
        stage.asked.dryRun = True
        guard = await stage.register(only=("shop", "shp"))
        shop = resource_pb2.TransformRequest(
            type="servers:index:Server", name="shop", custom=True
        )
        await stage.asks(monitor[0].transform, shop)
        guard.sum_up()
        return stage.row.warnings

    (warning,) = [each for each in anyio.run(warned) if "guards no resource" in each]
    assert "guards no resource named shp:" in warning


@pytest.mark.parametrize("given", [None, False, True])
def test_the_guard_is_protected_as_the_program_says(
    monitor: tuple[Monitor, str], tmp_path: Path, *, given: bool | None
) -> None:
    async def register() -> None:
        stage = Stage(monitor[1], tmp_path)
        if given is not None:
            stage.asked.protect = given
        await stage.register()

    anyio.run(register)
    request = monitor[0].request
    assert (request.protect if request.HasField("protect") else None) is given


@pytest.mark.parametrize("in_preview", [False, True])
@pytest.mark.parametrize("before", [None, ("create",)], ids=["whole", "creates"])
def test_only_a_preview_hears_of_a_snapshot_that_may_not_share(
    monitor: tuple[Monitor, str],
    tmp_path: Path,
    before: tuple[str, ...] | None,
    *,
    in_preview: bool,
) -> None:
    async def hooks() -> list[str]:
        stage = Stage(monitor[1], tmp_path)
        stage.asked.dryRun = in_preview
        await stage.register(before=before)
        snapshot = resource_pb2.TransformRequest(
            type=SNAPSHOT_TYPES[1], name="nightly", custom=True
        )
        snapshot.properties.update({"databaseId": DATABASE})
        given = resource_pb2.TransformResponse.FromString(
            await stage.asks(monitor[0].transform, snapshot)
        )
        return [*given.options.hooks.before_create]

    assert bool(anyio.run(hooks)) is (in_preview and before is not None)


@pytest.mark.parametrize("setting", ["on", "off"])
def test_the_state_says_only_what_has_left_hooks(
    monitor: tuple[Monitor, str], tmp_path: Path, setting: str
) -> None:
    """The next run guards by a snapshot at once what has no hooks."""

    async def register() -> set[str]:
        stage = Stage(monitor[1], tmp_path, SQUARECLOUD_GUARD=setting)
        await stage.register(before=("update", "delete"))
        server = resource_pb2.TransformRequest(
            type="servers:index:Server", name="app", custom=True
        )
        given = resource_pb2.TransformResponse.FromString(
            await stage.asks(monitor[0].transform, server)
        )
        return {
            change
            for change in ("create", "update", "delete")
            if getattr(given.options.hooks, f"before_{change}")
        }

    hooked = anyio.run(register)
    assert hooked == ({"update", "delete"} if setting == "on" else {"update"})
    assert {*monitor[0].outputs["before"]} == hooked


@pytest.mark.parametrize("in_preview", [False, True])
def test_a_value_of_a_roll_back_is_kept_by_an_up_alone_and_warns_of_a_newer_one(
    monitor: tuple[Monitor, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    in_preview: bool,
) -> None:
    newer = "another client has taken a newer snapshot"
    last = SimpleNamespace(to_outputs=dict, last="the last one")
    book: Any = SimpleNamespace(warning=lambda *_: newer)
    kept = list[bool]()

    async def consult(
        _ledger: object, _use: object, *, writes: bool
    ) -> tuple[Any, Any]:
        kept.append(writes)
        return book, last

    async def newest(_guard: object, _database_id: str) -> str:
        return "the newest one"

    async def register() -> list[str]:
        stage = Stage(monitor[1], tmp_path)
        stage.call.shared = SimpleNamespace(
            memory=stage.call.shared.memory, ledger=lambda _: None
        )
        stage.asked.dryRun = in_preview
        await stage.register(rollback="1")
        return [*map(str, stage.row.warnings)]

    monkeypatch.setattr(component, "consult", consult)
    monkeypatch.setattr(GuardComponent, "_newest", newest)
    assert newer in anyio.run(register)
    assert kept == [not in_preview]


@pytest.mark.parametrize("retained", [False, True])
def test_a_delete_that_keeps_what_it_is_about_needs_no_snapshot(
    monitor: tuple[Monitor, str], tmp_path: Path, *, retained: bool
) -> None:
    async def deleted() -> list[str]:
        stage = Stage(monitor[1], tmp_path)
        await stage.register()
        (callback,) = [
            each for name, each in monitor[0].hooks.items() if "before delete" in name
        ]
        options = resource_pb2.ResourceOptions(retain_on_delete=retained)
        await stage.asks(
            callback,
            resource_pb2.ResourceHookRequest(urn="urn:shop", old_options=options),
        )
        assert "does not show the state" in str(stage.row.warnings)
        return stage.held

    assert anyio.run(deleted) == ([] if retained else ["urn:shop"])


@pytest.mark.parametrize(
    ("code", "details", "refused"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "", True),
        (
            grpc.StatusCode.UNKNOWN,
            "version 3.1.2 does not satisfy the version range",
            True,
        ),
        (grpc.StatusCode.UNAVAILABLE, "", False),
    ],
)
def test_an_engine_that_is_too_old_is_refused(
    monitor: tuple[Monitor, str],
    tmp_path: Path,
    code: grpc.StatusCode,
    details: str,
    *,
    refused: bool,
) -> None:
    async def register() -> str:
        try:
            await Stage(monitor[1], tmp_path).register(OldEngine(code, details))
        except ProviderError as error:
            return str(error)
        return ""

    assert ("needs Pulumi 3.238.0 or later" in anyio.run(register)) is refused
    assert bool(monitor[0].hooks) is not refused
