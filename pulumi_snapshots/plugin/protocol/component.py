"""The guard as a component, for all languages: its hooks run in the plugin's process."""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import grpc
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, resource_pb2, resource_pb2_grpc

from pulumi_snapshots.engine.messages import Callbacks
from pulumi_snapshots.engine.process import CHANNEL_OPTIONS
from pulumi_snapshots.engine.queries import (
    ask_in_loop,
    questions_about_state,
    refuse_old_engine,
)
from pulumi_snapshots.engine.wording import PLUGIN
from pulumi_snapshots.errors import Message, ProviderError
from pulumi_snapshots.guard.book import GUARD, GuardBook, GuardOutputs, consult
from pulumi_snapshots.guard.coverage import STATE_UNKNOWN
from pulumi_snapshots.guard.inputs import (
    FIRST_UP,
    SNAPSHOT_TYPES,
    ComponentInputs,
    change_of,
    fits,
    hook_names,
    is_chosen_by_program,
    is_whole,
    leaves_hook,
    may_be_guarded,
)
from pulumi_snapshots.guard.once import GuardedChange, OncePerRun
from pulumi_snapshots.guard.preview import PreviewedChanges
from pulumi_snapshots.lookup.find import answer_lookup
from pulumi_snapshots.lookup.results import LATEST, SnapshotInfo
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.catalogue import Values
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.calls import EngineCall
from pulumi_snapshots.service.errors import SquareCloudError

OUTPUTS = Names(GUARD.record.properties())
INPUTS = Names(ComponentInputs.properties())
UNMET = (
    "Guard {guard} guards no resource{named}: Pulumi has registered none after it. "
    "Let the resources that it guards depend on it ({depends_on})"
)
"""A guard hears of no resource that is registered before the guard."""
EARLIER = (
    "Pulumi registers {earlier} before guard {guard}, and {later} depends on {earlier}. If Pulumi "
    "must delete {earlier} before it replaces it, Pulumi stops and deletes "
    "nothing, because it cannot run the guard yet. To prevent that, let "
    "{earlier} depend on the guard ({depends_on})"
)
"""The engine looks for the hooks of a delete by their names, when it deletes."""
SAME_NAME = "Guard {guard!r}: the program has another guard of this name"
ALREADY = "already registered"
"""What the engine says of a second hook of one name."""


class GuardComponent:
    """One guard of a program, as the engine asks for it.

    Args:
        request: The engine's request, a `ConstructRequest`.
        values: The guard's inputs, which have no problem; a preview may not know the database.
        call: The engine's call.
        hooked: Runs what a hook does, shown at the resource with this URN; returns why its change
            must not happen, or "".
    """

    def __init__(
        self,
        request: Any,
        values: Values,
        call: EngineCall,
        hooked: Callable[
            [str, Callable[[EngineCall], Awaitable[object]]], Awaitable[str]
        ],
    ) -> None:
        self._request = request
        self._call = call
        self._hooked = hooked
        known = {name: value for name, value in values.items() if value is not UNKNOWN}
        self._database_id: str | None = known.get("database_id")
        self._inputs = ComponentInputs.of({"database_id": "unknown", **known})
        self._stack = f"{request.organization}/{request.project}/{request.stack}"
        self._owner = f"{self._stack}/{request.name}"
        self._hooks = hook_names(
            request.name, self._inputs.changes, in_preview=request.dryRun
        )
        self._preview = PreviewedChanges(self._database_id, self._inputs)
        self._unmet = {
            each for each in self._inputs.patterns if not is_chosen_by_program(each)
        }
        # Types and names of resources after the guard; URNs before it, with what depends on them.
        self._later = set[tuple[str, str]]()
        self._earlier = dict[str, str]()

    async def register(self, callbacks: Callbacks, engine: Any) -> Any:
        """Register the guard, its hooks, and what gives them to the resources that follow.

        Args:
            callbacks: What the engine calls back.
            engine: The engine's stub; None if its address is not known.

        Returns:
            The answer for the engine.

        Raises:
            ProviderError: The guard cannot guard.
        """
        guard = f"Guard {self._request.name!r}"
        reason = None
        if self._database_id:
            uses = self._call.shared.memory.uses
            reason = uses.remember_use(self._database_id, guard)
        if reason:
            raise ProviderError(
                Message("{guard}: {database_id} {reason}", guard=guard, reason=reason)
            )
        if engine is not None:
            require = engine.RequirePulumiVersion
            await anyio.to_thread.run_sync(refuse_old_engine, require)
        outputs = await self._outputs()
        async with grpc.aio.insecure_channel(
            self._request.monitorEndpoint, options=CHANNEL_OPTIONS
        ) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            await self._register_hooks(monitor, callbacks)
            await self._take_if_unhooked(monitor)
            registered = await monitor.RegisterResource(self._registration())
            urn = registered.urn
            await monitor.RegisterStackTransform(callbacks.to(self._transform))
            done = resource_pb2.RegisterResourceOutputsRequest(urn=urn, outputs=outputs)
            await monitor.RegisterResourceOutputs(done)
        return provider_pb2.ConstructResponse(urn=urn, state=outputs)

    async def _register_hooks(self, monitor: Any, callbacks: Callbacks) -> None:
        try:
            for (when, change), name in self._hooks.items():
                if when == "on":
                    callback = callbacks.to(self._at_failure)
                    error_hook = resource_pb2.RegisterErrorHookRequest(
                        name=name, callback=callback
                    )
                    await monitor.RegisterErrorHook(error_hook)
                    continue
                callback = callbacks.to(partial(self._at_change, when, change))
                hook = resource_pb2.RegisterResourceHookRequest(
                    name=name, callback=callback, on_dry_run=when == "before"
                )
                await monitor.RegisterResourceHook(hook)
        except grpc.aio.AioRpcError as error:
            if ALREADY in str(error.details()):
                raise ProviderError(
                    SAME_NAME.format(guard=self._request.name)
                ) from None
            raise

    async def _take_if_unhooked(self, monitor: Any) -> None:
        """Take the snapshot at once if the guard does not hear of some changes."""
        questions = questions_about_state(self._stack, self._request.name)
        state = await ask_in_loop(questions, monitor.Invoke)
        if state is None:
            self._call.listener.warn(STATE_UNKNOWN)
            return
        self._preview.in_state = state.guardable
        reason = state.unhooked(self._inputs.changes, self._inputs.patterns)
        if self._request.dryRun:
            self._preview.first_up = reason
        elif reason is not None:
            what = f"{FIRST_UP} ({reason})"
            await self._carry_out(self._call, "before_all", what)

    def _registration(self) -> Any:
        request = self._request
        return resource_pb2.RegisterResourceRequest(
            type=request.type,
            name=request.name,
            parent=request.parent,
            dependencies=request.dependencies,
            aliases=request.aliases,
            object=request.inputs,
            protect=request.protect if request.HasField("protect") else None,
            acceptSecrets=True,
            acceptResources=True,
            aliasSpecs=True,
        )

    def sum_up(self) -> None:
        """Show at the end of a preview how many changes would wait, and which may not."""
        if not self._request.dryRun:
            return
        summary = self._preview.summary()
        if summary:
            self._call.listener.note(summary)
        for warning in self._preview.warnings():
            self._call.listener.warn(warning)
        guard = self._request.name
        if self._unmet:
            named = f" named {', '.join(sorted(self._unmet))}"
            if "*" in self._unmet:
                named = ""
            self._call.listener.warn(Message(UNMET, guard=guard, named=named))
        for urn, later in self._earlier.items():
            earlier = urn.rpartition("::")[2]
            self._call.listener.note(
                Message(EARLIER, guard=guard, earlier=earlier, later=later)
            )

    async def _outputs(self) -> Struct:
        """The outputs of the guard, with what the guard of the next run is compared with."""
        outputs = Struct()
        outputs.CopyFrom(self._request.inputs)
        coverage = {
            "before": [*filter(self._leaves_hook, self._inputs.changes)],
            "only": sorted(self._inputs.patterns),
        }
        outputs.MergeFrom(INPUTS.write(coverage))
        if self._database_id is not None:
            known = await self._known_snapshots(self._database_id)
            outputs.MergeFrom(OUTPUTS.write(known.to_outputs()))
        return outputs

    async def _known_snapshots(self, database_id: str) -> GuardOutputs:
        pin = self._inputs.rollback
        shared = self._call.shared
        run = shared.memory.run

        def look(book: GuardBook) -> tuple[GuardBook, GuardOutputs]:
            self._preview.learn(book, database_id, self._inputs.reuse_within)
            return book, book.outputs(self._owner, database_id, pin, run=run)

        # What a preview has shown may be thought over.
        keeps = bool(pin) and not self._request.dryRun
        ledger = shared.ledger(self._call.settings())
        book, known = await consult(ledger, look, writes=keeps)
        if pin and known.last is not None:
            newest = await self._newest(database_id)
            warning = book.warning(known.last, newest)
            if warning is not None:
                self._call.listener.warn(warning)
        return known

    async def _newest(self, database_id: str) -> SnapshotInfo | None:
        """The newest manual snapshot that the service lists, if it can be asked."""
        session = self._call.session()
        arguments = {"database_id": database_id, "origin": "manual"}
        with suppress(SquareCloudError):
            recent = session.listings.recent
            progress = self._call.listener.progress
            newest: SnapshotInfo | None = await answer_lookup(
                LATEST, session, arguments, recent, progress
            )
            return newest
        return None

    async def _transform(self, message: bytes) -> Any:
        """Give a resource the hooks."""
        resource = resource_pb2.TransformRequest.FromString(message)
        self._later.add((resource.type, resource.name))
        if resource.type in SNAPSHOT_TYPES and self._sees_in_preview(resource):
            # The preview hears if a Snapshot of the guard's database would be created.
            hook = self._hooks["before", "create"]
            resource.options.hooks.before_create.append(hook)
        met = fits(resource.type, resource.name, self._inputs.patterns)
        if may_be_guarded(resource.type, custom=resource.custom) and met:
            self._unmet -= met
            self._note_earlier(resource)
            for (when, change), name in self._hooks.items():
                if self._leaves_hook(change):
                    getattr(resource.options.hooks, f"{when}_{change}").append(name)
        return resource_pb2.TransformResponse(
            properties=resource.properties, options=resource.options
        )

    def _sees_in_preview(self, resource: Any) -> bool:
        """Whether a Snapshot is of this guard's database, and may not share its snapshot."""
        database_id = resource.properties.fields["databaseId"].string_value
        is_own = self._request.dryRun and database_id == self._database_id
        return is_own and not self._is_whole

    @property
    def _is_whole(self) -> bool:
        return is_whole(self._inputs.changes, self._inputs.patterns)

    def _note_earlier(self, resource: Any) -> None:
        """Note what a guarded resource depends on, and the engine has registered before the guard.

        Left out is what the guard's database comes from, which cannot depend on the guard.
        """
        if "delete" not in self._inputs.changes:
            return
        own = {
            urn
            for each in self._request.inputDependencies.values()
            for urn in each.urns
        }
        for urn in {*resource.options.depends_on} - own:
            parent_types, _, name = urn.rpartition("::")
            type_ = re.split(r"::|\$", parent_types)[-1]
            is_earlier = (type_, name) not in self._later
            if is_earlier and may_be_guarded(type_, custom=True):
                self._earlier.setdefault(urn, resource.name)

    async def _at_change(
        self,
        when: str,
        change: str,
        message: bytes,
    ) -> Any:
        """Hold a change until the snapshot is there, or note it after it has happened."""
        hook = resource_pb2.ResourceHookRequest.FromString(message)
        if self._needs_none(change, hook):
            return resource_pb2.ResourceHookResponse()

        async def act(call: EngineCall) -> None:
            if self._request.dryRun:
                self._preview.show(change, hook.urn, call.listener)
                return
            await self._carry_out(call, when, change_of(hook.urn, change))

        return resource_pb2.ResourceHookResponse(
            error=await self._hooked(hook.urn, act)
        )

    async def _carry_out(self, call: EngineCall, act: str, what: str) -> None:
        """Call a method of `OncePerRun`."""
        change = GuardedChange(
            self._owner, self._inputs, what, call.session, call.listener
        )
        await self._once().carry_out(act, change, call, PLUGIN.report)

    def _once(self) -> OncePerRun:
        """The snapshots of the run."""
        once = self._call.shared.of(OncePerRun)
        if self._is_whole:
            once.whole.add(self._owner)
        return once

    def _leaves_hook(self, change: str) -> bool:
        is_off = self._call.settings().guard == "off"
        return leaves_hook(change, self._inputs.changes, is_off=is_off)

    def _needs_none(self, change: str, hook: Any) -> bool:
        """Whether a change can lose nothing: the first creates of a stack, some deletes."""
        if change == "delete":
            is_guarded = "delete" in self._inputs.changes
            return not is_guarded or bool(hook.old_options.retain_on_delete)
        return self._inputs.lets_pass(change, self._preview.in_state)

    async def _at_failure(self, message: bytes) -> Any:
        """Leave the way back at a guarded change that has failed."""
        failure = resource_pb2.ErrorHookRequest.FromString(message)

        async def act(call: EngineCall) -> None:
            what = change_of(failure.urn, failure.failed_operation)
            self._once().show_failure(self._inputs, what, call.listener)

        await self._hooked(failure.urn, act)
        return resource_pb2.ErrorHookResponse(retry=False)
