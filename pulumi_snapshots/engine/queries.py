"""A guard's questions to the engine: whether it is new enough, and what the stack's state has.

Programs wait for an answer in their own thread, and the plugin has an event loop. So each question
is a generator that yields a request and gets the answer, or None if the engine has none.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import engine_pb2, resource_pb2

from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.guard.coverage import GUARD_TYPE, StateBefore, state_before
from pulumi_snapshots.guard.inputs import may_be_guarded

OLDEST_FOR_GUARDS = "3.238.0"
"""Before it, an `up` succeeds although a hook after a change has failed: a change that could not be
noted would be silent."""
TOO_OLD_FOR_GUARDS = (
    f"a Guard needs Pulumi {OLDEST_FOR_GUARDS} or later (`pulumi version` shows yours)"
)
LIST_STATE = "pulumi:pulumi:readStackResourceOutputs"
GET_REGISTERED = "pulumi:pulumi:getResource"
Questions = Generator[Any, Any, StateBefore | None]


def refuse_old_engine(require: Callable[[Any], object]) -> None:
    """Refuse an engine that is too old for guards.

    Args:
        require: asks the engine to have a version, and raises `grpc.RpcError` if it has not. Older
            engines do not know the request.

    Raises:
        ProviderError: the engine is too old.
    """
    versions = f">={OLDEST_FOR_GUARDS}"
    try:
        require(engine_pb2.RequirePulumiVersionRequest(pulumi_version_range=versions))
    except grpc.RpcError as error:
        is_unknown = error.code() is grpc.StatusCode.UNIMPLEMENTED
        if is_unknown or "does not satisfy" in str(error.details()):
            raise ProviderError(TOO_OLD_FOR_GUARDS) from None


def questions_about_state(stack: str, guard: str) -> Questions:
    """Ask what the state of a stack had before this run.

    Args:
        stack: The stack, as ORGANIZATION/PROJECT/STACK.
        guard: The name of the guard that asks.

    Returns:
        None if the engine does not tell.

    Yields:
        Each request.
    """
    answer = yield _invoke(LIST_STATE, {"stackName": stack})
    if answer is None:
        return None
    resources = getattr(answer, "return").fields["outputs"].struct_value.fields
    listed = {
        urn: (_field(each, "type").string_value, _outputs(each))
        for urn, each in resources.items()
    }
    registered = []
    for urn in sorted(listed):  # the answer's own order changes from run to run
        type_, _ = listed[urn]
        if not may_be_guarded(type_, custom=True):
            continue
        # The state also has the resources that this run has made before the guard.
        if (yield _invoke(GET_REGISTERED, {"urn": urn})) is None:
            break
        registered.append(urn)
    return state_before(listed, registered, guard)


def ask(questions: Questions, monitor: Any) -> StateBefore | None:
    """Send questions to the engine by a program's stub, and wait for the answers.

    Args:
        questions: the generator of the requests.
        monitor: the stub.

    Returns:
        The state before this run; None without an answer.
    """
    answer = None
    while True:
        try:
            request = questions.send(answer)
        except StopIteration as end:
            state: StateBefore | None = end.value
            return state
        answer = None
        with suppress(Exception):  # also what a program's mocks raise
            answer = monitor.Invoke(request)


async def ask_in_loop(
    questions: Questions, invoke: Callable[[Any], Awaitable[Any]]
) -> StateBefore | None:
    """Do the same as `ask`, in an event loop.

    Args:
        questions: the generator of the requests.
        invoke: sends a request, and returns its answer.

    Returns:
        The state before this run; None without an answer.
    """
    answer = None
    while True:
        try:
            request = questions.send(answer)
        except StopIteration as end:
            state: StateBefore | None = end.value
            return state
        answer = None
        with suppress(grpc.RpcError):
            answer = await invoke(request)


def _invoke(function: str, arguments: dict[str, Any]) -> Any:
    given = Struct()
    given.update(arguments)
    return resource_pb2.ResourceInvokeRequest(tok=function, args=given)


def _field(value: Any, name: str) -> Any:
    return value.struct_value.fields[name]


def _outputs(resource: Any) -> dict[str, Any]:
    """The outputs of a guard; those of other resources can hold secrets and be large."""
    if _field(resource, "type").string_value != GUARD_TYPE:
        return {}
    outputs: dict[str, Any] = MessageToDict(_field(resource, "outputs").struct_value)
    return outputs
