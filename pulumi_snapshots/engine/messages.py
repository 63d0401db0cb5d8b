"""Messages from a run to its Pulumi engine, and the engine's callbacks.

The messages stand on the row of a resource or under Diagnostics, or hand over an unfinished
resource.
"""

import asyncio
import secrets
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import (
    callback_pb2,
    callback_pb2_grpc,
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
)

from pulumi_snapshots.engine.process import ANSWER_DEADLINE, CHANNEL_OPTIONS, listens
from pulumi_snapshots.engine.wording import readable
from pulumi_snapshots.errors import AnyMessage, MessageFormatter

# the trailer in which gRPC carries a status with details
DETAILS_HEADER = "grpc-status-details-bin"


def engine_at(address: str) -> Any:
    """Return the engine's gRPC stub, whose `close` ends the connection.

    Args:
        address: `HOST:PORT`.
    """
    channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    stub: Any = engine_pb2_grpc.EngineStub(channel)
    stub.close = channel.close
    return stub


class Messages:
    """Sends messages in order from its own thread, so that nothing waits for the engine.

    Args:
        connect: returns the engine's stub, or None.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._newest: Future[Any] | None = None  # the message that was queued last
        self._engine: Any = None

    def close(self) -> None:
        """End the thread once it has sent all messages, and close the connection.

        The next message starts both again.
        """
        with self._lock:
            thread = self._thread
            self._thread = None
            if thread is not None:
                thread.submit(self._disconnect)
                thread.shutdown(wait=False)

    def _disconnect(self) -> None:
        engine = self._engine
        self._engine = None
        if engine is not None:
            engine.close()

    def say(self, text: str, urn: str = "", **how: bool) -> None:
        """Queue one message, from any thread; see `send`.

        Args:
            text: the message.
            urn: the URN of the resource on whose row the message stands; empty for the stack's.
            **how: the other arguments of `send`.
        """
        with self._lock:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "engine-messages")
            self._newest = self._thread.submit(self.send, text, urn, **how)

    def send(
        self,
        text: str,
        urn: str = "",
        *,
        warning: bool = False,
        ephemeral: bool = False,
    ) -> None:
        """Send one message now. Use only at the end of a process, when no thread starts any more.

        Args:
            text: the message.
            urn: the URN of the resource on whose row the message stands; empty for the stack's.
            warning: whether the message is a warning.
            ephemeral: whether the message stands on the row until the next one, not under
                Diagnostics.
        """
        self._engine = self._engine or self._connect()
        text = readable(text)
        with suppress(Exception):
            if self._engine is not None:
                severity = engine_pb2.WARNING if warning else engine_pb2.INFO
                message = engine_pb2.LogRequest(
                    severity=severity, message=text, urn=urn, ephemeral=ephemeral
                )
                self._engine.Log(message, timeout=ANSWER_DEADLINE)
                return
        if not ephemeral:  # the engine shows what is printed, too, unless it is gone
            stream = sys.stderr if warning else sys.stdout
            shown = f"warning: {text}" if warning else text
            with suppress(OSError, ValueError):
                print(shown, file=stream, flush=True)

    def wait(self) -> None:
        """Wait at most 5 s until the engine has all messages: none may arrive after its call."""
        # The newest message is sent last.
        if self._newest is not None:
            wait({self._newest}, ANSWER_DEADLINE)

    async def flush(self) -> None:
        """Do the same as `wait`, in an event loop."""
        newest = self._newest
        if newest is not None and not newest.done():
            sent = asyncio.wrap_future(newest)
            await asyncio.wait({sent}, timeout=ANSWER_DEADLINE)


class Engine(Messages):
    """The engine to which one plugin sends its messages.

    While it `is_quiet`, only warnings are sent, because `pulumi do` prints all others into its
    answer.
    """

    def __init__(self, address: str | None = None) -> None:
        super().__init__(lambda: engine_at(str(self._address)))
        self.is_quiet = False
        self._address = address

    async def is_gone(self) -> bool:
        """Tell whether the engine's process has ended.

        This takes at most 5 s, and usually a millisecond.
        """
        if not self._address:
            return False
        return not await asyncio.to_thread(listens, self._address)

    def is_at(self, address: str) -> None:
        """Use the address from a handshake, unless an address is known.

        Args:
            address: `HOST:PORT`.
        """
        self._address = self._address or address

    def stub(self) -> Any:
        """Return the engine's gRPC stub; None if its address is not known."""
        return None if self._address is None else engine_at(self._address)

    def say(self, text: str, urn: str = "", **how: bool) -> None:
        """Queue one message.

        Args:
            text: the message.
            urn: the URN of the resource on whose row the message stands; empty for the stack's.
            **how: the other arguments of `send`.
        """
        if self._address is not None and (how.get("warning") or not self.is_quiet):
            super().say(text, urn, **how)


class Callbacks(callback_pb2_grpc.CallbacksServicer):
    """The hooks and the transforms of components.

    Args:
        target: the address at which the engine reaches this process.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._functions: dict[str, Callable[[bytes], Awaitable[Any]]] = {}

    def to(self, function: Callable[[bytes], Awaitable[Any]]) -> Any:
        """Return a callback to a function.

        Args:
            function: gets a message's bytes and returns a message.
        """
        token = secrets.token_hex(8)
        self._functions[token] = function
        return callback_pb2.Callback(target=self._target, token=token)

    async def Invoke(self, request: Any, _context: Any) -> Any:  # noqa: N802  the protocol's name
        """Call the function of a callback."""
        message = await self._functions[request.token](request.request)
        return callback_pb2.CallbackInvokeResponse(response=message.SerializeToString())


class MessageRow:
    """The row of a resource, or the stack's if the URN is empty."""

    def __init__(self, messages: Messages, urn: str, wording: MessageFormatter) -> None:
        self.wording = wording.about(resource=urn)
        self._messages = messages
        self._urn = urn
        self._last = ""

    def progress(self, text: AnyMessage) -> None:
        """Show a text on the row until the next text; repeating a text sends nothing.

        Args:
            text: the text.
        """
        shown = self.wording.text(text)
        if shown != self._last:
            self._last = shown
            self._messages.say(shown, self._urn, ephemeral=True)

    def note(self, text: AnyMessage) -> None:
        """Leave good news under Diagnostics.

        Args:
            text: the text.
        """
        self._messages.say(self.wording.text(text), self._urn)

    def remind(self, text: AnyMessage) -> None:
        """Say under Diagnostics, with the resource's name, that a long wait is under way.

        Args:
            text: the text.
        """
        name = self._urn.rpartition("::")[2]
        shown = self.wording.text(text)
        self._messages.say(f"{name}: {shown}" if name else shown, self._urn)

    def warn(self, text: AnyMessage) -> None:
        """Leave a warning under Diagnostics.

        Args:
            text: the text.
        """
        self._messages.say(self.wording.text(text), self._urn, warning=True)


def unfinished(
    request: Any,
    id_: str,
    properties: Struct,
    reason: str,
) -> Any:
    """Return the detail of a status that lets the engine keep an unfinished resource.

    The next run reads the resource first.

    Args:
        request: the engine's request.
        id_: the resource's id.
        properties: the outputs to keep.
        reason: the error that the user reads.
    """
    detail = provider_pb2.ErrorResourceInitFailed(
        id=id_, properties=properties, refresh_before_update=True
    )
    # The engine lists reasons: their further lines are indented below the star of the first.
    detail.reasons.append(reason.replace("\n", "\n\t  "))
    # The engine takes the inputs of a read from the answer.
    if hasattr(request, "inputs"):
        detail.inputs.CopyFrom(request.inputs)
    return detail


RETRIED = ("CreateRequest", "UpdateRequest")
"""The requests whose calls the engine lets end as not done yet."""


def await_failed(request: Any) -> Any:
    """Make the detail of a status that ends a call as not done yet.

    An engine of 3.272 or later then keeps the state as it is, makes what does not depend on
    the resource, shows none of the status's text, and ends with its exit code 10. An earlier one
    ignores the detail.

    Args:
        request: The engine's.

    Returns:
        The detail; None if the call cannot end like that, or the SDK does not know it.
    """
    kind = getattr(provider_pb2, "ErrorResourceAwaitFailed", None)
    return kind() if kind is not None and type(request).__name__ in RETRIED else None


def status(text: str, detail: Any = None) -> bytes:
    """Return a serialised google.rpc.Status with the code UNKNOWN, the call's own code.

    Args:
        text: the error.
        detail: one protobuf message, the most that the status can have; None for no detail.
    """
    # By hand: the generated class exists twice (in the SDK, and in googleapis-common-protos, which
    # Google's own clients use), and a process that loads one of them can never load the other.
    message = b"\x08\x02" + _field(2, text.encode())
    if detail is None:
        return message
    packed = Packed()
    packed.Pack(detail)
    return message + _field(3, packed.SerializeToString())


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message: its length has seven bits a byte."""
    length = len(content)
    head = [number << 3 | 2]
    while length > 0x7F:  # noqa: PLR2004  seven bits
        head.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*head, length]) + content
