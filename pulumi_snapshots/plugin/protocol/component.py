"""The guard as a component, for programs in every language: its hooks run in the plugin's process."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, resource_pb2, resource_pb2_grpc

from pulumi_snapshots.engine.messages import Callbacks
from pulumi_snapshots.engine.process import CHANNEL_OPTIONS
from pulumi_snapshots.errors import Explained, Text
from pulumi_snapshots.guard.book import GUARD, Foresight, GuardBook, GuardOutputs, consult
from pulumi_snapshots.guard.inputs import ComponentInputs, hook_names, may_be_guarded
from pulumi_snapshots.guard.once import OncePerRun, change_of
from pulumi_snapshots.lookup.find import find
from pulumi_snapshots.lookup.results import LATEST
from pulumi_snapshots.plugin.wire import Names
from pulumi_snapshots.properties.checks import UNKNOWN
from pulumi_snapshots.run.calls import EngineCall
from pulumi_snapshots.service.errors import SquareCloudError

OUTPUTS = Names(GUARD.record.properties())
UNMET = "Guard {guard} guards no resource{named}: Pulumi has registered none after it. Let what it guards depend on it ({depends_on})"
"""It hears of no resource that is registered before it."""
TOO_OLD = "a Guard needs Pulumi 3.182 or later, whose components may have hooks (`pulumi version` shows yours)"


class Guard:
    """One guard of a program, as the engine asks for it, with inputs that have no problem; a preview may not know the database.

    `hooked` runs what a hook does, shown at the resource with this URN, and returns why its change must not happen.
    """

    def __init__(
        self,
        asked: Any,
        values: Mapping[str, Any],
        call: EngineCall,
        hooked: Callable[[str, Callable[[EngineCall], Awaitable[object]]], Awaitable[str]],
    ) -> None:
        self._asked, self._call, self._hooked = asked, call, hooked
        self._database = "" if values["database_id"] is UNKNOWN else values["database_id"]
        known = {name: value for name, value in values.items() if value is not UNKNOWN}
        self._inputs = ComponentInputs.of({**known, "database_id": self._database or "unknown"})
        self._owner = f"{asked.organization}/{asked.project}/{asked.stack}/{asked.name}"
        self._hooks = hook_names(asked.name, self._inputs.before, in_preview=asked.dryRun)
        self._foresight = Foresight(self._database, self._inputs.before)
        self._unmet = self._inputs.patterns

    async def register(self, callbacks: Callbacks) -> Any:
        """Register the guard, its hooks, and what gives them to the resources that follow; returns the engine's answer."""
        asked = self._asked
        uses, me = self._call.shared.memory.uses, f"Guard {asked.name!r}"
        if self._database and (reason := uses.remember_use(self._database, me)):
            raise Explained(Text("{guard}: {database_id} {reason}", guard=me, reason=reason))
        outputs = await self._outputs()
        async with grpc.aio.insecure_channel(
            asked.monitorEndpoint, options=CHANNEL_OPTIONS
        ) as channel:
            monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
            if not (
                await monitor.SupportsFeature(
                    resource_pb2.SupportsFeatureRequest(id="resourceHooks")
                )
            ).hasSupport:
                raise Explained(TOO_OLD)
            wanted = resource_pb2.RegisterResourceRequest(
                object=asked.inputs,
                protect=asked.protect if asked.HasField("protect") else None,
                acceptSecrets=True,
                acceptResources=True,
                aliasSpecs=True,
                **{
                    name: getattr(asked, name)
                    for name in ("type", "name", "parent", "dependencies", "aliases")
                },
            )
            made = await monitor.RegisterResource(wanted)
            for (when, change), name in self._hooks.items():
                to = callbacks.to(partial(self._hook, when, change))
                hook = resource_pb2.RegisterResourceHookRequest(
                    name=name, callback=to, on_dry_run=when == "before"
                )
                await monitor.RegisterResourceHook(hook)
            await monitor.RegisterStackTransform(callbacks.to(self._transform))
            done = resource_pb2.RegisterResourceOutputsRequest(urn=made.urn, outputs=outputs)
            await monitor.RegisterResourceOutputs(done)
        return provider_pb2.ConstructResponse(urn=made.urn, state=outputs)

    def sum_up(self) -> None:
        """Show at the end of a preview how much would wait, and what may not."""
        if told := self._foresight.summary():
            self._call.listener.note(told)
        if self._asked.dryRun and self._unmet:
            named = "" if "*" in self._unmet else f" named {', '.join(sorted(self._unmet))}"
            self._call.listener.warn(Text(UNMET, guard=self._asked.name, named=named))

    async def _outputs(self) -> Struct:
        outputs = Struct()
        outputs.CopyFrom(self._asked.inputs)
        if self._database:
            pin, ledger = self._inputs.rollback, self._call.shared.ledger(self._call.settings())

            def look(book: GuardBook) -> tuple[GuardBook, GuardOutputs]:
                self._foresight.learn(book, self._database, self._inputs.reuse_within)
                return book, book.outputs(self._owner, self._database, pin)

            book, known = await consult(ledger, look, writes=bool(pin and not self._asked.dryRun))
            if pin and known.last:
                newest, session, asked = (
                    None,
                    self._call.session(),
                    {"database_id": self._database, "origin": "manual"},
                )
                with suppress(SquareCloudError):
                    newest = await find(
                        LATEST,
                        session,
                        asked,
                        session.listings.recent,
                        self._call.listener.progress,
                    )
                if warning := book.warning(known.last, newest):
                    self._call.listener.warn(warning)
            outputs.MergeFrom(OUTPUTS.write(known.to_outputs()))
        return outputs

    async def _transform(self, request: bytes) -> Any:
        """Give a resource the hooks."""
        asked = resource_pb2.TransformRequest.FromString(request)
        if may_be_guarded(asked.type, custom=asked.custom) and (
            met := self._inputs.fitting(asked.type, asked.name)
        ):
            self._unmet -= met
            for (when, change), name in self._hooks.items():
                getattr(asked.options.hooks, f"{when}_{change}").append(name)
        return resource_pb2.TransformResponse(properties=asked.properties, options=asked.options)

    async def _hook(self, when: str, change: str, request: bytes) -> Any:
        urn = resource_pb2.ResourceHookRequest.FromString(request).urn

        async def act(call: EngineCall) -> None:
            if self._asked.dryRun:
                self._foresight.show(change, urn, call.listener)
            else:
                once, what = call.shared.of(OncePerRun), change_of(urn, change)
                act = once.before if when == "before" else once.after
                await act(self._owner, self._inputs, what, call.session, call.listener)

        return resource_pb2.ResourceHookResponse(error=await self._hooked(urn, act))
