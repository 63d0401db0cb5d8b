"""`SQUARECLOUD_DEBUG=1` shows each request, and nothing that is secret."""

import re
from contextlib import suppress

import httpx
import pytest

from pulumi_snapshots.service.client import ONCE
from pulumi_snapshots.service.errors import SquareCloudError
from tests.service.test_client import DATABASE, ENTRY, ok, read, refused
from tests.support.scripted import KEY, Service
from tests.support.virtual import virtual


async def _asked(*answers: httpx.Response | Exception) -> None:
    service = Service(*answers)
    for _ in answers:
        await read(service, ONCE)
    with suppress(SquareCloudError):
        await service.client.list_account(patience=ONCE)


@pytest.mark.parametrize("debug", ["", "0", "1", "true"])
@virtual
async def test_each_request_is_traced_for_those_who_ask(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SQUARECLOUD_DEBUG", debug)
    entry = {**ENTRY, "url": "https://h/x?Signature=never-shown&versionId=v"}
    answers: list[httpx.Response | Exception] = [
        ok([entry]),
        refused(404, "DATABASE_NOT_FOUND"),
        httpx.ConnectError(f"no {KEY}"),
    ]
    await _asked(*answers, ok([]))
    shown = capsys.readouterr()
    assert shown.out == ""
    if debug in {"", "0"}:
        assert shown.err == ""
        return
    own = f"squarecloud: GET /databases/{DATABASE}/snapshots"
    lines = shown.err.splitlines()
    assert [re.sub(r"[\d.]+ s$", "TIME", line) for line in lines] == [
        f"{own} 200 TIME",
        f"{own} 404 TIME",
        f"{own} not sent TIME",
        f"{own} 200 TIME",
        "squarecloud: GET /users/snapshots 200 TIME",
    ][: len(lines)]
    assert len(lines) >= 4
    for secret in (KEY, "never-shown", "Signature", "?", "scope="):
        assert secret not in shown.err
