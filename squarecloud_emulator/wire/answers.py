"""The forms of the service's answers: success and error envelopes, and the snapshot host's XML."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from starlette.types import Receive, Scope, Send

    from squarecloud_emulator.service.refusals import RefusedError


class Answer(Response):
    """A response together with its error code, for the journal."""

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        *,
        media_type: str = "application/json",
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(body, status, headers=headers, media_type=media_type)
        self.code = code


class StreamedAnswer(Answer):
    """An answer whose body is sent in pieces, and is never whole in memory."""

    def __init__(
        self,
        status: int,
        pieces: Iterator[bytes],
        length: int,
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            status,
            media_type=media_type,
            headers={**(headers or {}), "content-length": str(length)},
        )
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the body piece by piece."""
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def timestamp(moment: datetime) -> str:
    """A time as the service writes it: UTC with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: datetime | None) -> int | None:
    """A time as the service writes it elsewhere: Unix milliseconds."""
    return None if moment is None else round(moment.timestamp() * 1000)


def success(response: Any = None) -> Answer:
    """The success envelope; without a response, its status only."""
    envelope: dict[str, Any] = {"status": "success"}
    if response is not None:
        envelope["response"] = response
    return Answer(200, _json(envelope))


def envelope_of_error(
    status: int,
    code: str | None,
    message: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The error envelope."""
    envelope = {"status": "error"}
    if code is not None:
        envelope["code"] = code
    if message is not None:
        envelope["message"] = message
    return Answer(status, _json(envelope), code=code, headers=headers)


def refused(error: RefusedError, *, retry_after: bool) -> Answer:
    """A refusal as the service sends it.

    Args:
        error: The refusal.
        retry_after: Whether to send the end of a block as a Retry-After header.
    """
    shown = retry_after and error.retry_after is not None
    headers = {"Retry-After": str(math.ceil(error.retry_after or 0))} if shown else None
    return envelope_of_error(error.status, error.code, error.message, headers)


def xml_refusal(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A refusal by the snapshot host, in the form of S3-compatible stores."""
    body = (
        '<?xml version="1.0" '
        f'encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    )
    return Answer(
        status,
        body.encode(),
        media_type="application/xml",
        code=code,
        headers=headers,
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
