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
"""It hears of no resource that is registered before it."""
EARLIER = (
    "Pulumi registers {earlier} before guard {guard}, and {later} depends on {earlier}. If Pulumi "
    "must delete {earlier} before it replaces it, it stops and deletes nothing, as it cannot run "
    "the guard yet. To prevent that, let {earlier} depend on the guard ({depends_on})"
)
"""The engine looks for the hooks of a delete by their names, when it deletes."""
SAME_NAME = "Guard {guard!r}: the program has another guard of this name"
ALREADY = "already registered"
"""What the engine says of a second hook of one name."""


class GuardComponent:
    """One guard of a program, as the engine asks for it.

    Args:
        asked: The engine's request.
        values: Its inputs, which have no problem; a preview may not know the database.
        call: The engine's call.
        hooked: Runs what a hook does, shown at the resource with this URN; returns why its change
            must not happen, or "".
    """

    def __init__(
        self,
        asked: Any,
        values: Values,
        call: EngineCall,
        hooked: Callable[
            [str, Callable[[EngineCall], Awaitable[object]]], Awaitable[str]
        ],
    ) -> None:
        self._asked = asked
        self._call = call
        self._hooked = hooked
        known = {name: value for name, value in values.items() if value is not UNKNOWN}
        self._database_id: str | None = known.get("database_id")
        self._inputs = ComponentInputs.of({"database_id": "unknown", **known})
        self._stack = f"{asked.organization}/{asked.project}/{asked.stack}"
        self._owner = f"{self._stack}/{asked.name}"
        self._hooks = hook_names(
            asked.name,
            self._inputs.changes,
            in_preview=asked.dryRun,
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
        uses = self._call.shared.memory.uses
        me = f"Guard {self._asked.name!r}"
        reason = None
        if self._database_id:
            reason = uses.remember_use(self._database_id, me)
        if reason:
            raise ProviderError(
                Message("{guard}: {database_id} {reason}", guard=me, reason=reason)
            )
        if engine is not None:
            require = engine.RequirePulumiVersion
            await anyio.to_thread.run_sync(refuse_old_engine, require)
        outputs = await self._outputs()
        async with grpc.aio.insecure_channel(
            self._asked.monitorEndpoint, options=CHANNEL_OPTIONS
        ) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            await self._register_hooks(monitor, callbacks)
            await self._take_if_unhooked(monitor)
            made = await monitor.RegisterResource(self._request())
            await monitor.RegisterStackTransform(callbacks.to(self._transform))
            done = resource_pb2.RegisterResourceOutputsRequest(
                urn=made.urn, outputs=outputs
            )
            await monitor.RegisterResourceOutputs(done)
        return provider_pb2.ConstructResponse(urn=made.urn, state=outputs)

    async def _register_hooks(self, monitor: Any, callbacks: Callbacks) -> None:
        try:
            for (when, change), name in self._hooks.items():
                if when == "on":
                    to = callbacks.to(self._at_failure)
                    error_hook = resource_pb2.RegisterErrorHookRequest(
                        name=name, callback=to
                    )
                    await monitor.RegisterErrorHook(error_hook)
                    continue
                to = callbacks.to(partial(self._at_change, when, change))
                hook = resource_pb2.RegisterResourceHookRequest(
                    name=name, callback=to, on_dry_run=when == "before"
                )
                await monitor.RegisterResourceHook(hook)
        except grpc.aio.AioRpcError as error:
            if ALREADY in str(error.details()):
                raise ProviderError(SAME_NAME.format(guard=self._asked.name)) from None
            raise

    async def _take_if_unhooked(self, monitor: Any) -> None:
        """Take the snapshot at once if the guard does not hear of some changes."""
        questions = questions_about_state(self._stack, self._asked.name)
        state = await ask_in_loop(questions, monitor.Invoke)
        if state is None:
            self._call.listener.warn(STATE_UNKNOWN)
            return
        self._preview.in_state = state.guardable
        reason = state.unhooked(self._inputs.changes, self._inputs.patterns)
        if self._asked.dryRun:
            self._preview.first_up = reason
        elif reason is not None:
            what = f"{FIRST_UP} ({reason})"
            await self._carry_out(self._call, "before_all", what)

    def _request(self) -> Any:
        asked = self._asked
        return resource_pb2.RegisterResourceRequest(
            type=asked.type,
            name=asked.name,
            parent=asked.parent,
            dependencies=asked.dependencies,
            aliases=asked.aliases,
            object=asked.inputs,
            protect=asked.protect if asked.HasField("protect") else None,
            acceptSecrets=True,
            acceptResources=True,
            aliasSpecs=True,
        )

    def sum_up(self) -> None:
        """Show at the end of a preview how many changes would wait, and which may not."""
        if not self._asked.dryRun:
            return
        summary = self._preview.summary()
        if summary:
            self._call.listener.note(summary)
        for warning in self._preview.warnings():
            self._call.listener.warn(warning)
        if self._unmet:
            named = (
                "" if "*" in self._unmet else f" named {', '.join(sorted(self._unmet))}"
            )
            self._call.listener.warn(
                Message(UNMET, guard=self._asked.name, named=named)
            )
        for urn, later in self._earlier.items():
            earlier = urn.rpartition("::")[2]
            self._call.listener.note(
                Message(EARLIER, guard=self._asked.name, earlier=earlier, later=later)
            )

    async def _outputs(self) -> Struct:
        """The outputs of the guard, and what the next run compares with what it guards then."""
        outputs = Struct()
        outputs.CopyFrom(self._asked.inputs)
        covers = {
            "before": [
                each for each in self._inputs.changes if self._leaves_hook(each)
            ],
            "only": sorted(self._inputs.patterns),
        }
        outputs.MergeFrom(INPUTS.write(covers))
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
        keeps = bool(pin) and not self._asked.dryRun
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
        asked = {"database_id": database_id, "origin": "manual"}
        with suppress(SquareCloudError):
            recent = session.listings.recent
            newest: SnapshotInfo | None = await answer_lookup(
                LATEST,
                session,
                asked,
                recent,
                self._call.listener.progress,
            )
            return newest
        return None

    async def _transform(self, request: bytes) -> Any:
        """Give a resource the hooks."""
        asked = resource_pb2.TransformRequest.FromString(request)
        self._later.add((asked.type, asked.name))
        if asked.type in SNAPSHOT_TYPES and self._sees_in_preview(asked):
            # The preview hears if a Snapshot of the guard's database would be created.
            hook = self._hooks["before", "create"]
            asked.options.hooks.before_create.append(hook)
        met = fits(asked.type, asked.name, self._inputs.patterns)
        if may_be_guarded(asked.type, custom=asked.custom) and met:
            self._unmet -= met
            self._note_earlier(asked)
            for (when, change), name in self._hooks.items():
                if self._leaves_hook(change):
                    getattr(asked.options.hooks, f"{when}_{change}").append(name)
        return resource_pb2.TransformResponse(
            properties=asked.properties, options=asked.options
        )

    def _sees_in_preview(self, asked: Any) -> bool:
        """Whether a Snapshot is of this guard's database, and may not share its snapshot."""
        database_id = asked.properties.fields["databaseId"].string_value
        is_mine = self._asked.dryRun and database_id == self._database_id
        return is_mine and not self._is_whole

    @property
    def _is_whole(self) -> bool:
        return is_whole(self._inputs.changes, self._inputs.patterns)

    def _note_earlier(self, asked: Any) -> None:
        """Note what a guarded resource depends on, and the engine has registered before the guard.

        Left out is what the guard's database comes from, which cannot depend on the guard.
        """
        if "delete" not in self._inputs.changes:
            return
        own = {
            urn for each in self._asked.inputDependencies.values() for urn in each.urns
        }
        for urn in {*asked.options.depends_on} - own:
            parent_types, _, name = urn.rpartition("::")
            type_ = re.split(r"::|\$", parent_types)[-1]
            is_earlier = (type_, name) not in self._later
            if is_earlier and may_be_guarded(type_, custom=True):
                self._earlier.setdefault(urn, asked.name)

    async def _at_change(
        self,
        when: str,
        change: str,
        request: bytes,
    ) -> Any:
        """Hold a change until the snapshot is there, or note it after it has happened."""
        asked = resource_pb2.ResourceHookRequest.FromString(request)
        if self._needs_none(change, asked):
            return resource_pb2.ResourceHookResponse()

        async def act(call: EngineCall) -> None:
            if self._asked.dryRun:
                self._preview.show(change, asked.urn, call.listener)
                return
            await self._carry_out(call, when, change_of(asked.urn, change))

        return resource_pb2.ResourceHookResponse(
            error=await self._hooked(asked.urn, act)
        )

    async def _carry_out(self, call: EngineCall, act: str, what: str) -> None:
        """Do what `OncePerRun` does."""
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

    def _needs_none(self, change: str, asked: Any) -> bool:
        """Whether a change can lose nothing: the first creates of a stack, some deletes."""
        if change == "delete":
            is_guarded = "delete" in self._inputs.changes
            return not is_guarded or bool(asked.old_options.retain_on_delete)
        return self._inputs.lets_pass(change, self._preview.in_state)

    async def _at_failure(self, request: bytes) -> Any:
        """Leave the way back at a guarded change that has failed."""
        asked = resource_pb2.ErrorHookRequest.FromString(request)

        async def act(call: EngineCall) -> None:
            what = change_of(asked.urn, asked.failed_operation)
            self._once().show_failure(self._inputs, what, call.listener)

        await self._hooked(asked.urn, act)
        return resource_pb2.ErrorHookResponse(retry=False)
