"""What each fault sends instead of the service's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squarecloud_emulator.service.refusals import DroppedConnectionError
from squarecloud_emulator.wire.answers import (
    Answer,
    StreamedAnswer,
    envelope_of_error,
    success,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Message, Send

    from squarecloud_emulator.service.faults import Fault

_PIECE = 64 * 1024  # bytes of a huge body made at a time


def faulty_answer(fault: Fault, real: Answer | None) -> Answer:
    """Make the answer to send.

    Args:
        fault: The fault that strikes the request.
        real: The service's own answer, which some effects need.

    Raises:
        DroppedConnectionError: Send nothing.
    """
    if fault.effect in {"drop", "no_connect"}:
        raise DroppedConnectionError
    make = _ANSWERS.get(fault.effect or "")
    if make is not None:
        return make(fault)
    answer = success({}) if real is None else real
    if fault.truncated:
        half = bytes(answer.body)[: len(answer.body) // 2]
        return Answer(answer.status_code, half, code=answer.code)
    return answer


def _envelope(fault: Fault) -> Answer:
    return envelope_of_error(fault.status or 0, fault.code, fault.message)


def _web_page(fault: Fault) -> Answer:
    title = f"{fault.html} Proxy Error"
    head = f"<head><title>{title}</title></head>"
    text = f"<html>{head}<body><center><h1>{title}</h1></center></body></html>"
    return Answer(fault.html or 0, text.encode(), media_type="text/html")


def _redirect(fault: Fault) -> Answer:
    return Answer(302, headers={"location": fault.redirect or ""})


def _empty(_fault: Fault) -> Answer:
    return Answer(200)


def _malformed(_fault: Fault) -> Answer:
    return Answer(200, b'{"status": success, response: [}')


def _huge(fault: Fault) -> Answer:
    length = fault.huge or 0
    return StreamedAnswer(200, _spaces(length), length, media_type="application/json")


def _body(fault: Fault) -> Answer:
    return Answer(fault.body_status, (fault.body or "").encode())


_ANSWERS: dict[str, Callable[[Fault], Answer]] = {
    "status": _envelope,
    "html": _web_page,
    "redirect": _redirect,
    "empty": _empty,
    "malformed": _malformed,
    "huge": _huge,
    "body": _body,
}
"""By effect, what makes an answer without the service's own."""


def sending_only(length: int, send: Send) -> Send:
    """Make a `send` that drops the connection after `length` bytes of the body."""
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
