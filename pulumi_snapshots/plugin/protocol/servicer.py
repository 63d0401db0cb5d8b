"""The plugin's side of the provider protocol.

Translates between the engine and the operations, and decides nothing.
"""

import json
import os
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from google.protobuf.struct_pb2 import Struct, Value
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.engine.messages import (
    DETAILS_HEADER,
    Callbacks,
    Engine,
    MessageRow,
    await_failed,
    status,
    unfinished,
)
from pulumi_snapshots.engine.state import read_state, refuse_unusable
from pulumi_snapshots.engine.wording import (
    DO,
    DO_SNAPSHOT,
    PLAIN,
    PLUGIN,
    final,
    nothing_sent,
)
from pulumi_snapshots.errors import Message, ProviderError, is_later
from pulumi_snapshots.errors.secrets import looks_secret
from pulumi_snapshots.late import late
from pulumi_snapshots.lookup.results import SNAPSHOTS, Lookup, SnapshotInfo
from pulumi_snapshots.plugin.description.identity import PLUGIN_VERSION
from pulumi_snapshots.plugin.description.package import (
    FUNCTIONS,
    LISTED,
    RESOURCE_KINDS,
    ResourceKind,
    expanded,
    explained,
    token,
)
from pulumi_snapshots.plugin.wire import (
    UNKNOWN_VALUE,
    Names,
    as_secret,
    field,
    holds_secret,
    is_secret,
    plain,
)
from pulumi_snapshots.properties.catalogue import Inputs, Property, Values
from pulumi_snapshots.properties.checks import UNKNOWN, Problem, duration_text
from pulumi_snapshots.run.calls import (
    Changes,
    EngineCall,
    Resource,
    ResourceNotFinished,
    Shared,
)
from pulumi_snapshots.run.failures import telling_of_failure
from pulumi_snapshots.run.memory import is_provisional
from pulumi_snapshots.run.settings import (
    PACKAGE,
    Settings,
    SettingsError,
    config_key,
    project_files,
)

TOO_OLD = (
    # The first version whose partial state can ask for a read before the next update, which gives a
    # pending snapshot its id.
    f"This plugin ({PACKAGE} {PLUGIN_VERSION}) needs Pulumi 3.178 or later, and this one is older "
    "(`pulumi version` shows it). Install "
    "a newer one, or use the classes of the `pulumi_snapshots` package without a plugin."
)
SETTINGS = Names(Settings.properties())
SECRET_SETTINGS = [name for name, each in Settings.properties().items() if each.secret]
SNAPSHOT_TYPE = token("Snapshot")
URN_PARTS = 4  # stack, project, types and name
PRINTED_BYTES = 10_000  # bytes of a wrong value that the engine may print
OF_VERSION = f". This plugin is version {PLUGIN_VERSION}"
"""What an error ends with about something that another version may have."""
OF_THE_ENGINE = ("version", "pluginDownloadURL")
"""Properties of every provider, for the engine only, as are those that begin with two underscores.
"""


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """Serves one engine with one provider's settings.

    Each explicit provider has a process of its own.
    """

    def __init__(
        self,
        engine: Engine,
        shared: Shared,
        callbacks: Callbacks,
    ) -> None:
        self._engine = engine
        self._shared = shared
        self._callbacks = callbacks
        self.stop = shared.stop
        self._guards: list[Any] = []
        # The versions of Snapshots by their provisional ids, which name no version: a Snapshot that
        # was resumed keeps such an id until a refresh.
        self._versions: dict[str, Any] = {}
        self._config: dict[str, Any] = {}
        self._engine_can = False
        self._engine_is_new = False
        # as `pulumi do --stateless` is: its answer is all that there will be of a resource
        self._is_alone = False
        # in a preview a setting may come from a resource that does not exist yet
        self._is_configured = True

    async def close(self) -> None:
        """Free the threads and connections, once no call is under way.

        A later call starts them again.
        """
        self._guards.clear()
        await self._shared.close()
        self._engine.close()

    async def has_lost_engine(self) -> bool:
        """Tell whether its engine has ended as if it was killed."""
        return await self._engine.is_gone()

    # The package ----------------------------------------------------------------------------------

    async def Handshake(self, request: Any, _context: Any) -> Any:
        """Learn the engine's address and abilities."""
        self._engine.is_at(request.engine_address)
        self._engine_can = request.supports_refresh_before_update
        # of 3.269 or later; 3.272 is the first that knows `await_failed`
        self._engine_is_new = getattr(request, "accepts_outputs_in_call", False)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    async def Attach(self, request: Any, _context: Any) -> Any:
        """Learn the address of an engine that has not started this process."""
        self._engine.is_at(request.address)
        return empty_pb2.Empty()

    async def GetPluginInfo(self, _request: Any, _context: Any) -> Any:
        """Return the version."""
        return plugin_pb2.PluginInfo(version=PLUGIN_VERSION)

    async def GetSchema(self, _request: Any, _context: Any) -> Any:
        """Return the package's schema."""
        return provider_pb2.GetSchemaResponse(
            schema=json.dumps(late("plugin.description.schema:schema")())
        )

    async def Cancel(self, _request: Any, _context: Any) -> Any:
        """End all waits. The engine calls this at ^C, and at normal ends too."""
        self.stop()
        for guard in self._guards:
            guard.sum_up()
        await self._engine.flush()
        return empty_pb2.Empty()

    # The settings ---------------------------------------------------------------------------------

    async def CheckConfig(self, request: Any, _context: Any) -> Any:
        """Validate the settings, without a request."""
        config = _config(request.news)
        stack = request.urn.removeprefix("urn:pulumi:").partition("::")[0]
        for name, warning in PLAIN.items():
            secret = field(request.news, name)
            if isinstance(secret, str) and _is_in_files(secret, stack, Path.cwd()):
                self._row(request.urn).warn(warning)
                await self._engine.flush()
        given = {
            name: config.get(config_key(name)) or None for name in Settings.properties()
        }
        problems = Settings.problems(given)
        if not problems and UNKNOWN not in config.values():
            try:
                Settings.read(config, os.environ)
            except SettingsError as error:
                problems.append(Problem("", error.happened))
        unknown = f"is not a setting of this provider; its settings are {_listed(SETTINGS.all)}"
        return _checked(request.news, problems, SETTINGS, SECRET_SETTINGS, unknown)

    async def Configure(self, request: Any, context: Any) -> Any:
        """Keep the settings.

        The settings are read when a call needs them, so that a destroy works with bad ones.
        """
        if not self._engine_can:
            await _fail(context, TOO_OLD)
        self._config = _config(request.args)
        self._is_configured = UNKNOWN not in self._config.values()
        # A stack's providers have names.
        self._is_alone = self._engine.is_quiet = (
            bool(request.urn) and not request.urn.rpartition("::")[2]
        )
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def _settings(self) -> Settings:
        if not self._is_configured:
            raise SettingsError(
                "the settings of this provider are not known in a preview"
            )
        return Settings.read(self._config, os.environ)

    def _row(self, urn: str) -> MessageRow:
        wording = PLUGIN
        if self._is_alone:
            wording = DO_SNAPSHOT if _type_of(urn) == SNAPSHOT_TYPE else DO
        return MessageRow(self._engine, urn, wording)

    def _call(self, urn: str, row: MessageRow) -> EngineCall:
        owner = urn or None
        if self._is_alone and urn:
            # The command is the owner of what it has sent, as a command of the command line is.
            type_ = _type_of(urn).replace(":index:", ":")
            owner = f"pulumi do {type_} create"
        return EngineCall(owner, self._settings, self._shared, row)

    # Resources ------------------------------------------------------------------------------------

    async def Check(self, request: Any, context: Any) -> Any:
        """Validate inputs, without a request."""
        kind = await self._kind(request, context)
        inputs = request.news
        problems = list[Problem]()
        if kind.refers:
            inputs, problems = expanded(inputs, request.olds, self._versions)
        values = kind.input_names.read(inputs)
        async with self._shown(context, request.urn) as call:
            if self._is_configured:
                in_state = bool(request.olds.fields)
                wrong = kind.rules.check(call, values, in_state=in_state)
                # `pulumi import` alone checks the very inputs that it has just read.
                if request.news == request.olds and not self._is_alone:
                    await kind.rules.hold_imported(call)
            else:
                wrong = kind.schema.inputs.problems(values)
        problems += explained(wrong, request.olds)
        unknown = (
            f"is not an input of {kind.token}; its inputs are {_listed(kind.accepted)}"
        )
        checked = _checked(
            inputs, problems, kind.input_names, kind.schema.secrets, unknown
        )
        if checked.failures:
            last = checked.failures[-1]
            last.reason = nothing_sent(last.reason)
        return checked

    async def Diff(self, request: Any, context: Any) -> Any:
        """Find what new inputs change."""
        kind = await self._kind(request, context)
        state = kind.names.read(request.olds)
        values = kind.input_names.read(request.news)
        self._note(request.id, state)
        async with self._shown(context, request.urn) as call:
            refuse_unusable(kind.schema, state)
            changes = kind.rules.diff(call, state, values)
        return _difference(kind, changes, request)

    async def Create(self, request: Any, context: Any) -> Any:
        """Make a resource; in a preview, return the outputs that are known already."""
        kind = await self._kind(request, context)
        if request.preview:
            return provider_pb2.CreateResponse(
                properties=_foreseen(kind, request.properties)
            )
        values = kind.input_names.read(request.properties) | _timeout(request)
        id_, properties = await self._resource(
            kind,
            request,
            context,
            request.properties,
            lambda call: kind.rules.calls.create(call, values),
        )
        return provider_pb2.CreateResponse(id=id_, properties=properties)

    async def Read(self, request: Any, context: Any) -> Any:
        """Refresh a resource in the state, or look up an existing one by its id."""
        kind = await self._kind(request, context)
        state = kind.names.read(request.properties)
        id_, properties = await self._resource(
            kind,
            request,
            context,
            request.properties,
            lambda call: read_state(kind.rules, call, request.id, state),
        )
        looked_up = {
            name: value
            for name, value in properties.fields.items()
            if name in kind.input_names.all
        }
        inputs = request.inputs if request.inputs.fields else Struct(fields=looked_up)
        return provider_pb2.ReadResponse(id=id_, properties=properties, inputs=inputs)

    async def List(
        self,
        request: Any,
        context: Any,
    ) -> AsyncIterator[Any]:
        """List what the service has of a kind, newest first: ids for a read or an import."""
        kind = RESOURCE_KINDS.get(request.token)
        answer = provider_pb2.ListResponse
        if kind is None or not kind.is_listed:
            text = f"This package cannot list {request.token}: the service keeps no list of it."
            await _fail(context, text, grpc.StatusCode.UNIMPLEMENTED)
        start = await _start_of_page(request, context)
        values = await _asked(context, request.query, SNAPSHOTS.query, "a list", LISTED)
        if UNKNOWN in values.values() or not self._is_configured:
            yield answer(computed=answer.Computed())
            return
        async with self._shown(context, "") as call:
            snapshots = await _look_up(SNAPSHOTS, values, call)
        # 0 stands for no limit; a limit is what is left of it, as `pulumi do` says.
        left = snapshots[start:][: request.limit or None]
        page = left[: request.page_size or None]
        for each in page:
            yield answer(result=answer.Result(id=each.id, name=_name_of(each)))
        if len(page) < len(left):
            after = str(start + len(page))
            yield answer(continuation=answer.Continuation(continuation_token=after))

    async def Update(self, request: Any, context: Any) -> Any:
        """Resume an unfinished resource, or keep its new inputs."""
        kind = await self._kind(request, context)
        if self._is_alone:
            another = f"`pulumi do {kind.token.replace(':index:', ':')} create` makes another one"
            refusal = (
                f"This {kind.name} cannot be changed without a stack. {another}. Nothing was "
                "changed."
            )
            await _fail(context, refusal)
        state = kind.names.read(request.olds)
        values = kind.input_names.read(request.news)
        async with self._shown(context, request.urn):
            refuse_unusable(kind.schema, state)
        if request.preview:
            record = kind.schema.record.from_outputs(state)
            call = self._call(request.urn, self._row(""))
            changes = kind.rules.compare(call, record, state, values)
            inputs = kind.schema.inputs.properties()
            are_inputs = set(changes.updates) <= set(inputs)
            stays = kind.names.write(state) if are_inputs else None
            return provider_pb2.UpdateResponse(
                properties=_foreseen(kind, request.news, state=stays)
            )
        kept = state.get("timeout")
        earlier = kind.input_names.read(request.old_inputs)
        if kept is not None and kept != earlier.get("timeout"):
            # The create's custom timeout, which no update gets.
            values["timeout"] = kept
        values |= _timeout(request)
        id_, properties = await self._resource(
            kind,
            request,
            context,
            request.news,
            lambda call: kind.rules.calls.update(call, request.id, state, values),
        )
        self._note(request.id, kind.names.read(properties))
        # Only a read can give the resource another id.
        return provider_pb2.UpdateResponse(
            properties=properties, refresh_before_update=id_ != request.id
        )

    async def Delete(self, request: Any, context: Any) -> Any:
        """Delete or forget a resource."""
        kind = await self._kind(request, context)
        if self._is_alone:
            refusal = f"This {kind.name} cannot be deleted without a stack"
            if kind.is_listed:
                refusal += ": the service deletes no snapshot, and keeps each for at most 30 days"
            await _fail(context, f"{refusal}. Nothing was deleted.")
        state = kind.names.read(request.properties)
        async with self._shown(context, request.urn) as call:
            refuse_unusable(kind.schema, state)
            await kind.rules.delete(call, request.id, state)
        return empty_pb2.Empty()

    async def Construct(self, request: Any, context: Any) -> Any:
        """Register a guard, the one component of the package."""
        if request.type != token("Guard"):
            await _has_no(context, f"component {request.type}")
        component: Any = late("plugin.protocol.component:GuardComponent")
        inputs = late("guard.book:GUARD").inputs
        values = await _asked(context, request.inputs, inputs, request.type)
        if not self._is_configured:
            # a preview knows as little of the account as of the database
            values["database_id"] = UNKNOWN
        async with self._shown(context, "") as call:
            guard = component(request, values, call, self._hooked)
            self._guards.append(guard)
            try:
                return await guard.register(self._callbacks, self._engine.stub())
            except grpc.aio.AioRpcError as error:
                await _fail(context, error.details() or str(error.code()))

    def _note(
        self,
        id_: str,
        outputs: Values,
    ) -> None:
        """Note the version of a Snapshot, which resources may refer to that are checked later."""
        if is_provisional(id_):
            self._versions[id_] = outputs.get("version_id") or UNKNOWN

    async def _hooked(
        self,
        urn: str,
        operation: Callable[[EngineCall], Awaitable[object]],
    ) -> str:
        """Run what a hook does, shown at its resource.

        Returns why the change must not happen, empty if it may.
        """
        row = self._row(urn)
        try:
            await operation(self._call("", row))
        except ProviderError as error:
            return final(row.wording.report(error), error)
        finally:
            await self._engine.flush()
        return ""

    # Functions ------------------------------------------------------------------------------------

    async def Invoke(self, request: Any, context: Any) -> Any:
        """Look something up, in previews, too."""
        lookup = FUNCTIONS.get(request.tok)
        if lookup is None:
            await _has_no(context, f"function {request.tok}")
        results = Names(lookup.result.properties())
        values = await _asked(context, request.args, lookup.query, request.tok)
        if UNKNOWN in values.values() or not self._is_configured:
            answer = Struct(fields=dict.fromkeys(results.all, UNKNOWN_VALUE))
        else:
            async with self._shown(context, "") as call:
                found = await _look_up(lookup, values, call)
                answer = results.write(lookup.values(found))
        return provider_pb2.InvokeResponse(**{"return": answer})

    # How a call is answered -----------------------------------------------------------------------

    async def _kind(self, request: Any, context: Any) -> ResourceKind:
        type_ = _type_of(request.urn) or request.type
        kind = RESOURCE_KINDS.get(type_)
        if kind is None:
            await _has_no(context, f"resource {type_ or repr(request.urn)}")
        return kind

    async def _resource(
        self,
        kind: ResourceKind,
        request: Any,
        context: Any,
        echo: Struct,
        operation: Callable[[EngineCall], Awaitable[Resource]],
    ) -> tuple[str, Struct]:
        """The id and outputs that an operation results in.

        An unfinished resource is kept in the state.
        """
        try:
            async with self._shown(context, request.urn, request) as call:
                report = self._row(request.urn).wording.report
                made = await telling_of_failure(
                    call, kind.rules.about(call), report, partial(operation, call)
                )
        except ResourceNotFinished as end:
            wording = self._row(request.urn).wording
            if self._is_alone:
                text = wording.report(end.error, end.steps_if_not_saved)
                await _fail(context, text, cause=end)
            outputs = kind.names.write(end.resource.outputs, echo=echo)
            kept = partial(unfinished, request, end.resource.id, outputs)
            text = wording.report(end.error)
            unknown = grpc.StatusCode.UNKNOWN
            await _fail(context, text, unknown, cause=end, kept=kept)
        return made.id, kind.names.write(made.outputs, echo=echo)

    @asynccontextmanager
    async def _shown(
        self,
        context: Any,
        urn: str,
        request: Any = None,
    ) -> AsyncIterator[EngineCall]:
        """A call whose progress is shown at a resource, or the stack.

        Its failure reaches the engine as one text. If nothing was done, and the same succeeds
        later, a create or an update ends as `await_failed` says, and the text is a warning.
        """
        row = self._row(urn)
        try:
            try:
                yield self._call(urn, row)
            finally:
                await self._engine.flush()
        except ProviderError as error:
            text = row.wording.report(error)
            detail = None
            if is_later(error) and self._engine_is_new and not self._is_alone:
                detail = await_failed(request)
            if detail is None:
                await _fail(context, text, cause=error)
            row.warn(text)
            await self._engine.flush()
            unknown = grpc.StatusCode.UNKNOWN
            await _fail(context, text, unknown, cause=error, kept=lambda _: detail)


async def _fail(
    context: Any,
    text: str,
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
    *,
    cause: BaseException | None = None,
    kept: Callable[[str], Any] | None = None,
) -> NoReturn:
    """End a call with exactly this text as the error.

    `kept` makes the detail of its status.
    """
    ending = final(text, cause)
    details = []
    if kept is not None:
        detail = status(ending, kept(ending))
        details.append((DETAILS_HEADER, detail))
    await context.abort(code, ending, tuple(details))
    raise AssertionError  # `abort` has ended the call


async def _look_up(
    lookup: Lookup[Any],
    values: Values,
    call: EngineCall,
) -> Any:
    """Look something up.

    `ProviderError` if there is no latest snapshot, unless the caller says that there may be none.
    """
    session = call.session()
    answer = await late("lookup.find:answer_lookup")(
        lookup,
        session,
        values,
        session.listings.recent,
        call.listener.progress,
    )
    note = session.take_note()
    if note:
        call.listener.warn(note)
    if answer is None and not values.get("optional"):
        fits = " that fits" if values.keys() & {"origin", "max_age"} else ""
        happened = f"database {values['database_id']} has no available snapshot{fits}"
        raise ProviderError(
            happened,
            Message(
                "With {optional}, the result then has no snapshot, instead of an error."
            ),
        )
    return answer


def _name_of(snapshot: SnapshotInfo) -> str:
    """What a list calls a snapshot: its database and its time; empty if the time is not known."""
    if snapshot.created_at is None:
        return ""
    return f"{snapshot.database_id}-{parse_rfc3339(snapshot.created_at):%Y%m%dT%H%M%SZ}"


async def _has_no(context: Any, what: str) -> NoReturn:
    """End a call about a resource, function or component that only another version can have."""
    await _fail(
        context, f"This package has no {what}{OF_VERSION}.", grpc.StatusCode.NOT_FOUND
    )


def _type_of(urn: str | None) -> str:
    """The type in a resource's URN; empty if the text is no URN."""
    parts = (urn or "").split("::")
    if len(parts) < URN_PARTS:
        return ""
    types = parts[2]
    return types.rpartition("$")[2]


def _listed(names: Iterable[str]) -> str:
    """All names that this version of the package has: a program may use several versions."""
    return f"{', '.join(names) or 'none'}{OF_VERSION}"


def _timeout(request: Any) -> dict[str, str]:
    """The engine's own time-out for this call, which wins over that of the inputs."""
    return {"timeout": duration_text(request.timeout)} if request.timeout else {}


def _config(properties: Struct) -> dict[str, Any]:
    """Settings by their names in Pulumi config."""
    return {
        f"{PACKAGE}:{name}": plain(value) for name, value in properties.fields.items()
    }


def _checked(
    inputs: Struct,
    problems: Iterable[Problem],
    names: Names,
    secrets: Iterable[str],
    unknown: str,
) -> Any:
    """The answer to a check: the inputs with their secrets marked, and what is wrong with them."""
    checked = Struct()
    checked.CopyFrom(inputs)
    shown = {name for name, value in inputs.fields.items() if _may_be_printed(value)}
    for name in secrets:
        wire = names.wire(name)
        given = inputs.fields.get(wire, Value())
        if plain(given) is not None and not is_secret(given):
            shown.discard(wire)
            checked.fields[wire].CopyFrom(as_secret(given))
    failure = provider_pb2.CheckFailure
    failures = [
        failure(property=wire, reason=reason)
        if wire in shown
        else failure(reason=f"{wire} {reason}".lstrip())
        for wire, reason in _reasons(
            inputs,
            problems,
            names,
            unknown,
            {*shown, *map(names.wire, secrets)},
        )
    ]
    return provider_pb2.CheckResponse(inputs=checked, failures=failures)


def _may_be_printed(value: Value) -> bool:
    """Whether a failure may name the property of a value: the engine then prints the value."""
    if is_secret(value):  # the engine hides it
        return True
    # The engine prints only a short text as a user would write it.
    is_short_text = value.HasField("string_value") and value.ByteSize() <= PRINTED_BYTES
    return is_short_text and not looks_secret(value.string_value)


async def _start_of_page(request: Any, context: Any) -> int:
    """Read from the token of a page how many entries came before."""
    token: str = request.continuation_token
    if not token:
        return 0
    if not token.isdecimal():
        text = f"The list has no page {token!r}: request the first page again."
        await _fail(context, text, grpc.StatusCode.INVALID_ARGUMENT)
    return int(token)


async def _asked(
    context: Any,
    given: Struct,
    inputs: type[Inputs],
    target: str,
    known: Mapping[str, Property] | None = None,
) -> dict[str, Any]:
    """The arguments that a program gives to a lookup or a guard.

    If one is wrong, or none of the properties that are `known`, the call ends.
    """
    names = Names(known or inputs.properties())
    values = names.read(given)
    unknown = f"is not an argument of {target}; its arguments are {_listed(names.all)}"
    wrong = _reasons(given, inputs.problems(values), names, unknown)
    if wrong:
        reasons = "; ".join(f"{wire} {reason}" for wire, reason in wrong)
        await _fail(context, f"{reasons}.", grpc.StatusCode.INVALID_ARGUMENT)
    return values


def _reasons(
    given: Struct,
    problems: Iterable[Problem],
    names: Names,
    unknown: str,
    printed: Collection[str] = (),
) -> list[tuple[str, str]]:
    """What is wrong, by the names of properties: the `problems`, and `unknown` names.

    The reasons repeat values that are no secrets. They do not repeat values of the properties
    `printed`, which the engine prints or hides.
    """
    known = {*names.all, *OF_THE_ENGINE}
    reasons = [
        (name, unknown)
        for name in given.fields
        if name not in known and not name.startswith("__")
    ]
    for each in problems:
        wire = names.wire(each.property)
        value = given.fields.get(wire, Value())
        is_repeated = wire not in printed and not holds_secret(value)
        reason = each.with_value() if is_repeated else each.reason
        reasons.append((wire, PLUGIN.text(reason)))
    return reasons


def _difference(
    kind: ResourceKind,
    changes: Changes,
    request: Any,
) -> Any:
    answer = provider_pb2.DiffResponse
    # A resource of the dynamic provider is updated once, to the plugin's names.
    wire_of = kind.names.wire
    moves = any(wire_of(name) != name for name in request.olds.fields)
    has_changes = changes.replaces or changes.updates or moves
    response = answer(
        replaces=[wire_of(name) for name in changes.replaces],
        changes=answer.DIFF_SOME if has_changes else answer.DIFF_NONE,
        hasDetailedDiff=not moves,
    )
    suffixes = dict.fromkeys(changes.replaces, "_REPLACE")
    suffixes |= dict.fromkeys(changes.updates, "")
    for name, suffix in suffixes.items():
        wire = wire_of(name)
        is_input = name in kind.schema.inputs.properties()
        change = _change(request, wire) if is_input else "UPDATE"
        response.diffs.append(wire)
        difference = response.detailedDiff[wire]
        difference.kind = provider_pb2.PropertyDiff.Kind.Value(change + suffix)
        difference.inputDiff = is_input
    return response


def _change(request: Any, wire: str) -> str:
    """How an input changes, in the protocol's words."""
    was = wire in request.old_inputs.fields
    now = wire in request.news.fields
    if was is now:
        return "UPDATE"
    return "ADD" if now else "DELETE"


def _foreseen(
    kind: ResourceKind,
    inputs: Struct,
    *,
    state: Struct | None = None,
) -> Struct:
    """The outputs as a preview knows them.

    They are the given ones, those that stay in the state, and the rest as unknown.
    """
    foreseen = Struct()
    given = kind.schema.inputs.properties()
    for name, each in kind.schema.outputs.items():
        if each.camel in inputs.fields:
            value = inputs.fields[each.camel]
        elif state is not None and each.camel in state.fields and name not in given:
            value = state.fields[each.camel]
        elif state is not None or (
            name in given and name not in kind.schema.record.properties()
        ):
            continue
        else:
            value = UNKNOWN_VALUE
        marked = as_secret(value) if each.secret else value
        foreseen.fields[each.camel].CopyFrom(marked)
    return foreseen


async def _refuse(
    _self: Any,
    _request: Any,
    context: Any,
) -> Any:
    """End a call that the plugin does not have.

    The SDK's own answer blocks the event loop, and prints a traceback.
    """
    text = (
        "This package takes no parameters, its resources have no methods, and it maps the names "
        "of no other tool."
    )
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, text)


# Without a DiffConfig, the engine updates a provider whose settings change, and replaces nothing.
for _name in ("Parameterize", "Call", "GetMapping", "GetMappings", "DiffConfig"):
    setattr(Plugin, _name, _refuse)


def _is_in_files(
    secret: str,
    stack: str,
    folder: Path,
) -> bool:
    """Whether a file of the project of this folder, or of a folder above, shows a secret.

    An encrypted secret is in no file.
    """
    whole = re.compile(rf"(?<![\w+/=-]){re.escape(secret)}(?![\w+/=-])")
    for project in project_files(folder):  # it may hold config of all its stacks
        for file in (project, project.with_name(f"Pulumi.{stack}{project.suffix}")):
            with suppress(OSError):
                if whole.search(file.read_text(encoding="utf-8", errors="replace")):
                    return True
    return False
