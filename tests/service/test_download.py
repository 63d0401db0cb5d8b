"""Downloads end with whoever reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from pulumi_snapshots.service.download import open_download
from tests.support.virtual import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Body(httpx.AsyncByteStream):
    """Piece after piece, without an end, until it is closed."""

    closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return b"piece"

    async def aclose(self) -> None:
        self.closed = True


@virtual
async def test_a_reader_that_stops_before_the_end_leaves_nothing_open() -> None:
    body = Body()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    async with open_download("http://127.0.0.1/x", http=transport) as part:
        assert await anext(part.pieces) == b"piece"
    assert body.closed
    with pytest.raises(StopAsyncIteration):
        await anext(part.pieces)
