"""What each fault sends instead of the service's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squarecloud_emulator.service.refusals import DroppedConnectionError
from squarecloud_emulator.wire.answers import Answer, StreamedAnswer, envelope_of_error, success

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Send

    from squarecloud_emulator.service.faults import Fault

_PIECE = 64 * 1024  # bytes of a huge body made at a time


def faulty_answer(fault: Fault, real: Answer | None) -> Answer:  # noqa: PLR0911 - one return for each effect
    """The answer to send; `real` is the service's own, which some effects need.

    Raises:
        DroppedConnectionError: Send nothing.
    """
    if fault.drop or fault.no_connect:
        raise DroppedConnectionError
    if fault.status is not None:
        return envelope_of_error(fault.status, fault.code, fault.message)
    if fault.html is not None:
        title = f"{fault.html} Proxy Error"
        text = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
        return Answer(fault.html, text.encode(), media_type="text/html")
    if fault.redirect is not None:
        return Answer(302, headers={"location": fault.redirect})
    if fault.empty:
        return Answer(200)
    if fault.malformed:
        return Answer(200, b'{"status": success, response: [}')
    if fault.huge is not None:
        return StreamedAnswer(200, _spaces(fault.huge), fault.huge, media_type="application/json")
    if fault.body is not None:
        return Answer(fault.body_status, fault.body.encode())
    answer = success({}) if real is None else real
    if fault.truncated:
        return Answer(
            answer.status_code, bytes(answer.body)[: len(answer.body) // 2], code=answer.code
        )
    return answer


def sending_only(length: int, send: Send) -> Send:
    """A `send` that sends the head and `length` bytes of the body, and then drops the connection."""
    left = length

    async def cut(message: Message) -> None:
        nonlocal left
        if message["type"] != "http.response.body":
            await send(message)
            return
        piece = message.get("body", b"")[:left]
        left -= len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if left == 0:
            raise DroppedConnectionError
        if not message.get("more_body", False):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return cut


def _spaces(length: int) -> Iterator[bytes]:
    # JSON may begin with white space of any length, so a reader without a limit reads all of it.
    while length > 0:
        piece = b" " * min(length, _PIECE)
        length -= len(piece)
        yield piece
