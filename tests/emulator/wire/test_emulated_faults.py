"""Faults: what can happen to a client, before and after its request is applied."""

from typing import Any

import httpx
import pytest

from squarecloud_emulator import Fault
from squarecloud_emulator.service.request_journal import KINDS
from squarecloud_emulator.wire.routes import NO_ROUTE, OTHER_METHOD, ROUTES
from tests.emulator.visit import DATABASE, START, Visit, visit, visited
from tests.support.virtual import run_virtual


@pytest.mark.parametrize(("when", "snapshots"), [("before", 0), ("after", 1)])
@pytest.mark.parametrize(
    ("effect", "status", "content"),
    [
        (
            {"status": 503, "code": "DATABASE_UNAVAILABLE"},
            503,
            b'{"status":"error","code":"DATABASE_UNAVAILABLE"}',
        ),
        (
            {"status": 500, "code": "X", "message": "why"},
            500,
            b'{"status":"error","code":"X","message":"why"}',
        ),
        ({"html": 504}, 504, b"504 Proxy Error"),
        ({"html": 522}, 522, b"<html>"),
        ({"malformed": True}, 200, b"{"),
        ({"empty": True}, 200, b""),
        ({"huge": 200_000}, 200, b" " * 200_000),
        ({"redirect": "http://elsewhere.test/"}, 302, b""),
        (
            {"body": '{"status":"success"}', "body_status": 201},
            201,
            b'{"status":"success"}',
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
@visited()
async def test_fault_replaces_the_answer_before_or_after_the_start(  # noqa: PLR0913, PLR0917  a row
    at: Visit,
    when: Any,
    snapshots: int,
    effect: dict[str, Any],
    status: int,
    content: bytes,
) -> None:
    fault = at.emulator.add_fault(
        Fault(kind="create", when=when, headers={"x-from": "proxy"}, **effect)
    )
    answer = await at.create()
    assert answer.status_code == status
    assert content in answer.content
    assert answer.headers["x-from"] == "proxy"
    assert at.last.fault == fault.name
    assert at.last.accepted is bool(snapshots)
    assert (
        at.clock.utc() == START
    )  # the request is not held open for a snapshot whose answer is lost
    await at.clock.sleep(200)
    assert len(at.emulator.snapshots(DATABASE)) == snapshots
    assert (await at.create()).status_code == 200  # once


@visited()
async def test_refused_connection_never_reaches_the_service(at: Visit) -> None:
    at.emulator.add_fault(Fault(no_connect=True, skip=1, times=2))
    assert (await at.listing()).status_code == 200
    for url in ("users/me", "users/me", "http://elsewhere.test/v2/users/me"):
        with pytest.raises(httpx.ConnectError):
            await at.api.get(url)
    assert len(at.emulator.journal) == 1
    assert (await at.create()).status_code == 200


@visited()
async def test_broken_download_can_be_resumed(at: Visit) -> None:
    version = at.added(size=300_000)
    url = (await at.entries())[0]["url"]
    at.emulator.add_fault(Fault(kind="download", cut_after=100_000))
    got = bytearray()

    async def read(answer: httpx.Response) -> None:
        async for piece in answer.aiter_raw():
            got.extend(piece)

    async with at.files.stream("GET", url) as answer:
        assert answer.headers["content-length"] == "300000"
        with pytest.raises(httpx.ReadError):
            await read(answer)
    assert len(got) == 100_000
    got += (await at.files.get(url, headers={"Range": f"bytes={len(got)}-"})).content
    assert bytes(got) == at.emulator.archive_of(version)


@pytest.mark.parametrize(
    ("rule", "struck"),
    [
        ({"kind": "list", "times": None}, [True, False, True, True]),
        ({"method": "POST", "times": None}, [False, True, False, False]),
        ({"database_id": "other", "times": None}, [False, False, False, True]),
        ({"skip": 1}, [False, True, False, False]),
        ({"skip": 1, "times": 2}, [False, True, True, False]),
        ({"kind": "list account", "times": None}, [False, False, False, False]),
        ({"probability": 0.0, "times": None}, [False, False, False, False]),
    ],
    ids=str,
)
@visited()
async def test_fault_strikes_only_the_requests_that_match(
    at: Visit, rule: dict[str, Any], struck: list[bool]
) -> None:
    at.emulator.add_database("other")
    at.emulator.add_fault(Fault(status=500, code="X", **rule))
    answers = [
        await at.listing(),
        await at.create(),
        await at.listing(),
        await at.listing("other"),
    ]
    assert [answer.status_code == 500 for answer in answers] == struck
    at.emulator.clear_faults()
    assert (await at.listing()).status_code == 200


def test_random_faults_repeat_with_the_same_seed() -> None:
    async def body(seed: int) -> list[int]:
        async with visit(seed=seed) as at:
            at.emulator.add_fault(Fault(status=500, times=None, probability=0.5))
            return [(await at.listing()).status_code for _ in range(20)]

    assert run_virtual(body, 1) == run_virtual(body, 1) != run_virtual(body, 2)


@pytest.mark.parametrize(
    "wrong", [{}, {"drop": True, "html": 502}, {"status": 500, "empty": True}], ids=str
)
def test_fault_without_exactly_one_effect_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="effect"):
        Fault(**wrong)


def test_a_misspelt_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"a fault strikes create, list, .* not creates"
    ):
        Fault(kind="creates", status=500)
    assert {route.kind for route in (*ROUTES, NO_ROUTE, OTHER_METHOD)} == set(KINDS)
    for kind in KINDS:
        Fault(kind=kind, status=500)
