"""`List`: ids of all snapshots in few requests, page by page."""

from datetime import timedelta
from typing import Any

import pytest

from pulumi_snapshots.plugin.description.schema import schema
from squarecloud_emulator import Fault
from tests.support.plugin_inside import Plugged, inside, plugged
from tests.support.servicer import UNKNOWN, CallFailedError
from tests.support.world import START

TOKEN = "squarecloud:index:Snapshot"
DATABASES = [f"{number:032x}" for number in range(10)]


async def listed(
    here: Plugged, query: dict[str, Any] | None = None, **page: Any
) -> tuple[list[str], str]:
    """The ids of a page, and the token of the next one."""
    answers = await here.ask("List", token=TOKEN, query=query or {}, **page)
    kinds = [each.WhichOneof("response") for each in answers]
    token = (
        answers[-1].continuation.continuation_token if "continuation" in kinds else ""
    )
    assert kinds == ["result"] * (len(kinds) - bool(token)) + ["continuation"] * bool(
        token
    )
    return [
        each.result.id for each in answers if each.WhichOneof("response") == "result"
    ], token


def fill(here: Plugged, count: int) -> list[str]:
    """Snapshots of ten databases, an hour apart; their ids, newest first."""
    for each in DATABASES:
        here.emulator.add_database(each)
    stored = [
        here.emulator.add_snapshot(
            DATABASES[number % 10], modified=START - timedelta(hours=number + 1)
        )
        for number in range(count)
    ]
    return [
        f"{DATABASES[number % 10]}/{each.version_id}"
        for number, each in enumerate(stored)
    ]


@inside
async def test_500_snapshots_take_one_request_of_account_or_database() -> None:
    async with plugged() as here:
        ids = fill(here, 500)
        assert (await listed(here))[0] == ids
        assert here.kinds == ["list account"]
        assert (await listed(here, {"databaseId": DATABASES[3]}))[0] == ids[3::10]
        assert len(here.kinds) <= 2  # the account's page may serve a database too


@inside
async def test_a_list_by_origin_and_age_shows_what_a_name_could_be() -> None:
    async with plugged() as here:
        fill(here, 30)
        automatic = here.emulator.add_snapshot(
            DATABASES[0], modified=START - timedelta(hours=2), origin="automatic"
        )
        (only,) = await here.ask("List", token=TOKEN, query={"origin": "automatic"})
        assert only.result.id == f"{DATABASES[0]}/{automatic.version_id}"
        assert only.result.name == f"{DATABASES[0]}-20260301T100000Z"
        assert (
            len((await listed(here, {"newerThan": "12h", "origin": "manual"}))[0]) == 11
        )


@inside
async def test_pages_and_a_limit_bring_each_snapshot_once() -> None:
    async with plugged() as here:
        ids = fill(here, 50)
        assert await listed(here, limit=7) == (ids[:7], "")
        found, token = await listed(here, page_size=20)
        assert len(found) == 20
        more, token = await listed(here, page_size=20, continuation_token=token)
        rest, token = await listed(here, page_size=20, continuation_token=token)
        assert (found + more + rest, token) == (ids, "")
        # `pulumi do` asks each page for what is left of its limit.
        first, token = await listed(here, limit=15, page_size=10)
        assert (
            first
            + (await listed(here, limit=5, page_size=10, continuation_token=token))[0]
            == ids[:15]
        )


@inside
async def test_an_unknown_query_of_a_preview_lists_nothing() -> None:
    async with plugged() as here:
        (answer,) = await here.ask("List", token=TOKEN, query={"databaseId": UNKNOWN})
        assert answer.HasField("computed")
        assert here.kinds == []


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"query": {"databaseId": "a/b"}}, "INVALID_ARGUMENT", "databaseId must be a bare id"),
        ({"query": {"origin": "mine"}}, "INVALID_ARGUMENT", "origin must be 'manual' or 'automatic', not 'mine'"),
        ({"query": {"withUrl": True}}, "INVALID_ARGUMENT", "withUrl is not an argument of a list; its arguments are databaseId, "),
        ({"continuation_token": "next"}, "INVALID_ARGUMENT", "has no page 'next': request the first page again."),
        ({"token": "squarecloud:index:Restore"}, "UNIMPLEMENTED", "cannot list squarecloud:index:Restore: the service"),
        ({"token": ""}, "UNIMPLEMENTED", "This package cannot list"),
    ],
)  # fmt: skip
@inside
async def test_what_cannot_be_listed_is_an_error_and_no_request(
    asked: dict[str, Any], code: str, words: str
) -> None:
    async with plugged() as here:
        with pytest.raises(CallFailedError) as caught:
            await here.ask("List", **{"token": TOKEN, **asked})
        assert caught.value.code == code
        assert words in caught.value.message
        assert here.kinds == []


@inside
async def test_a_list_that_fails_says_so_as_lookups_do() -> None:
    async with plugged() as here:
        here.emulator.add_fault(
            Fault(kind="list account", status=401, code="ACCESS_DENIED")
        )
        with pytest.raises(
            CallFailedError,
            match=r"401 ACCESS_DENIED(.|\n)*more: squarecloud-snapshots explain",
        ):
            await listed(here)


def test_the_schema_offers_a_list_of_what_can_be_listed() -> None:
    resources = schema()["resources"]
    assert [token for token, each in resources.items() if "listInputs" in each] == [
        TOKEN
    ]
    assert list(resources[TOKEN]["listInputs"]["properties"]) == [
        "databaseId",
        "origin",
        "newerThan",
        "olderThan",
    ]
