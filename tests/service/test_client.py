"""The client: which answers mean that something was started, and which reads are retried."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from pulumi_snapshots.service.client import BRIEF, ONCE, PATIENT, Client, Patience
from pulumi_snapshots.service.errors import (
    Blocked,
    RequestRefused,
    RestoreFailed,
    SquareCloudError,
    UnreadableAnswer,
)
from pulumi_snapshots.service.limits import CREATE, RESTORE_LANE, Lane
from pulumi_snapshots.service.models import Finished, Listing
from tests.support.failing import fails_with
from tests.support.memory import SENT
from tests.support.scripted import API, KEY, Service
from tests.support.virtual import virtual

DATABASE = "a14b8d5e1cb7405a851eb4c075506121"
ENTRY = {"name": DATABASE, "version_id": "v" * 36}


def ok(response: Any, **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "response": response, **more})


def refused(status: int, code: str, **more: Any) -> httpx.Response:
    return httpx.Response(status, json={"status": "error", "code": code}, **more)


@asynccontextmanager
async def slot(service: Service, lane: Lane) -> AsyncIterator[None]:
    """The slot of a request that is entered as leaving."""
    _, context = await service.limiter.claim(
        "POST /x", lane, DATABASE, lambda _: SENT, None
    )
    async with context as departure:
        await departure(lambda _: SENT)
        yield


async def post(service: Service) -> Finished | SquareCloudError | None:
    try:
        async with slot(service, CREATE):
            return (await service.client.start_snapshot(DATABASE)).finished
    except SquareCloudError as error:
        return error


async def read(
    service: Service, patience: Patience = PATIENT
) -> Listing | SquareCloudError:
    try:
        return await service.client.list_snapshots(DATABASE, patience=patience)
    except SquareCloudError as error:
        return error


POSTS: list[tuple[httpx.Response, Finished | type[SquareCloudError] | None]] = [
    (refused(202, "SNAPSHOT_PROCESSING"), None),
    (httpx.Response(202, json={"status": "error"}), None),
    (httpx.Response(202, json={"status": "success", "response": {}}), None),
    (refused(200, "SNAPSHOT_PROCESSING"), None),
    (ok(None, code="SNAPSHOT_PROCESSING"), None),
    (
        ok({"url": "https://h/x", "key": "versionId=v"}),
        Finished(url="https://h/x", key="versionId=v"),
    ),
    (ok(None), Finished()),
    (ok("done"), Finished()),
    (ok([{"url": "x"}]), Finished()),
    (ok({"url": 7, "key": ["x"]}), Finished()),
    (httpx.Response(201, json={"status": "success"}), Finished()),
    (httpx.Response(202, text="<html>"), UnreadableAnswer),
    (refused(409, "SNAPSHOT_PROCESSING"), RequestRefused),
]


@pytest.mark.parametrize(("answer", "result"), POSTS)
@virtual
async def test_an_accepted_create_never_counts_as_refused(
    answer: httpx.Response, result: object
) -> None:
    found = await post(Service(answer))
    assert type(found) is result if isinstance(result, type) else found == result


@virtual
async def test_an_id_stays_one_segment_of_the_path() -> None:
    service = Service(ok([]))
    await service.client.list_snapshots("a/b?c#d%2F")
    assert (
        service.requests[0].url.raw_path
        == b"/v2/databases/a%2Fb%3Fc%23d%252F/snapshots"
    )


HELPS = [
    *(
        httpx.Response(502, text="<html>"),
        httpx.Response(503),
        httpx.Response(524),
        httpx.Response(500, text="x"),
    ),
    *(
        refused(500, "OOPS"),
        refused(503, "DATABASE_UNAVAILABLE"),
        refused(429, "KEEP_CALM"),
    ),
    httpx.Response(429, text="slow down"),
    *(
        httpx.ConnectError("x"),
        httpx.ReadTimeout("x"),
        httpx.Response(200, text="<html>"),
    ),
]
HARMS = [
    *(
        refused(401, "ACCESS_DENIED"),
        refused(403, "MISSING_SCOPE"),
        refused(404, "DATABASE_NOT_FOUND"),
    ),
    *(
        refused(400, "OOPS"),
        refused(402, "UPGRADE_REQUIRED"),
        refused(429, "RATE_LIMITED"),
    ),
    refused(429, "RATE_LIMITED", headers={"Retry-After": "1"}),
    httpx.Response(302, headers={"Location": "https://evil.example"}),
]


@pytest.mark.parametrize("failure", [*HELPS, *HARMS], ids=repr)
@virtual
async def test_a_read_is_sent_three_times_if_that_may_help(
    failure: httpx.Response | Exception,
) -> None:
    for patience, gaps in ((PATIENT, [2, 6]), (BRIEF, [2, 6]), (ONCE, [])):
        service = Service(failure)
        assert isinstance(await read(service, patience), SquareCloudError)
        assert service.gaps == (gaps if failure in HELPS else [])
    if failure in HELPS:
        listing = await read(Service(failure, ok([ENTRY])))
        assert isinstance(listing, Listing)
        assert len(listing.entries) == 1


@pytest.mark.parametrize(("retry_after", "gap"), [("1", 2), ("10", 10), ("3000", 30)])
@virtual
async def test_a_read_honours_retry_after_up_to_a_bound(
    retry_after: str, gap: float
) -> None:
    service = Service(httpx.Response(503, headers={"Retry-After": retry_after}), ok([]))
    await read(service)
    assert service.gaps == [gap]


@pytest.mark.parametrize("retry_after", ["0", "1", "Sun, 01 Mar 2020 12:00:00 GMT"])
@virtual
async def test_no_post_is_sent_into_a_block_that_claims_to_be_over(
    retry_after: str,
) -> None:
    service = Service(
        refused(429, "RATE_LIMITED", headers={"Retry-After": retry_after})
    )
    for _ in range(12):
        assert isinstance(await post(service), Blocked)
        await anyio.sleep(4)
    assert len(service.requests) == 1


UNREADABLE: dict[str, list[Any]] = {
    "list_account": [None, {}, "x", 7, {"snapshots": []}],
    "list_snapshots": [None, {}, "x", 7, {"snapshots": []}],
    "account": [
        *(None, [], {}, {"user": {"id": "a"}}),
        *({"user": user, "databases": []} for user in (None, {"id": 7}, {"id": ""})),
    ],
    "database_status": [
        None,
        [],
        {},
        {"running": None},
        {"running": "yes"},
        {"running": 1},
    ],
}


@pytest.mark.parametrize(
    ("method", "response"),
    [(name, each) for name in UNREADABLE for each in UNREADABLE[name]],
)
@virtual
async def test_an_answer_that_says_nothing_does_not_count_as_empty(
    method: str, response: object
) -> None:
    ask = getattr(Service(ok(response)).client, method)
    with pytest.raises(UnreadableAnswer):
        await (ask() if "account" in method else ask(DATABASE))


async def _restore(service: Service) -> None:
    async with slot(service, RESTORE_LANE):
        await service.client.restore_snapshot(DATABASE, name="n", version_id="v" * 36)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(502),
        refused(503, "DATABASE_UNAVAILABLE"),
        httpx.ReadError("x"),
        httpx.ConnectError("x"),
    ],
)
@virtual
async def test_a_post_is_sent_once_whatever_the_answer(
    failure: httpx.Response | Exception,
) -> None:
    creating = Service(failure)
    restoring = Service(failure)
    assert isinstance(await post(creating), SquareCloudError)
    with pytest.raises(SquareCloudError):
        await _restore(restoring)
    assert len(creating.requests) == 1
    (request,) = restoring.requests
    assert (request.method, request.url.path) == (
        "POST",
        f"/v2/databases/{DATABASE}/snapshots/restore",
    )
    assert json.loads(request.content) == {"snapshotId": "n", "versionId": "v" * 36}


@virtual
async def test_the_service_is_asked_once_for_its_own_word_by_all_that_fail() -> None:
    service = Service(httpx.Response(200))
    paths = list[str]()

    async def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        await anyio.sleep(1)
        return httpx.Response(200, json={"status": "degraded"})

    client = Client(service.limiter, API, KEY, httpx.MockTransport(answer))
    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(client.health)
    assert paths == ["/v2/service/status"]
    assert await client.health() == ("degraded", "degraded")


@virtual
async def test_a_failed_restore_keeps_its_cooldown() -> None:
    service = Service(refused(404, "SNAPSHOT_RESTORE_FAILED"), ok(None))
    with fails_with(RestoreFailed, "what the database holds"):
        await _restore(service)
    await _restore(service)
    assert 120 <= service.gaps[-1] < 121
