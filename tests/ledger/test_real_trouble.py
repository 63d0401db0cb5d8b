"""A real store that allows all but one thing: the error names it and the way out, and nothing is written down elsewhere."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import urlsplit

import anyio
import pytest

from pulumi_snapshots.clock import Clock
from pulumi_snapshots.errors import LedgerUnavailable, Step
from pulumi_snapshots.ledger.bucket import place_of
from tests.ledger.racing import count
from tests.support.object_stores import serving
from tests.support.unreliable import Forwarder, served, unreliable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pulumi_snapshots.ledger.place import Place
    from tests.support.object_stores import ObjectStore
    from tests.support.unreliable import Failure, Request, Unreliable

REFUSED = (403, "AccessDenied")
PREFIX = "of team/ä+%41='(&)"
"""What people name folders: each character is encoded in its own way."""


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with ExitStack() as stack:
        there = stack.enter_context(serving("moto"))
        stack.enter_context(patch.dict(os.environ, there.environment))
        there.make_bucket("shared")
        yield there


@pytest.fixture
def proxy(store: ObjectStore) -> Iterator[Unreliable]:
    with unreliable(store.url) as proxy:
        yield proxy


def at(folder: Path, name: str, *, endpoint: str = "") -> Place:
    """The place as a new process reaches it, through this endpoint."""
    return place_of(f"s3://shared/{name}" + f"?endpoint={endpoint}" * bool(endpoint), folder, "service", Clock())


def unlisted(proxy: Unreliable) -> Callable[[Request], Failure]:
    """Refuse to read what was never written, as S3 does without the right to list."""

    def fails(request: Request) -> Failure:
        written = {each.path for each in proxy.requests if each.method == "PUT"}
        return REFUSED if request.method == "GET" and request.path not in written else None

    return fails


def without(method: str) -> Callable[[Unreliable], Callable[[Request], Failure]]:
    return lambda _: lambda request: REFUSED if request.method == method else None


def always(status: int, code: str) -> Callable[[Unreliable], Callable[[Request], Failure]]:
    return lambda _: lambda _request: (status, code)


@pytest.mark.parametrize(
    ("fails", "why", "step"),
    [
        (without("GET"), "AccessDenied", Step.ALLOW_LISTING),
        (unlisted, "AccessDenied", Step.ALLOW_LISTING),
        (without("PUT"), "AccessDenied", Step.CHECK_SHARED_STATE),
        (always(400, "ExpiredToken"), "ExpiredToken", Step.CHECK_SHARED_STATE),
        (always(400, "AuthorizationHeaderMalformed"), "AuthorizationHeaderMalformed", Step.SET_REGION),
        (always(301, "PermanentRedirect"), "region", Step.SET_REGION),
        (always(403, "RequestTimeTooSkewed"), "RequestTimeTooSkewed", Step.SET_CLOCK),
    ],
    ids=["get", "list", "put", "credentials that have ended", "another region", "redirected", "a clock"],
)
def test_a_store_that_refuses_one_thing_is_named_with_the_way_out(  # noqa: PLR0913
    proxy: Unreliable,
    tmp_path: Path,
    *,
    fails: Callable[[Unreliable], Callable[[Request], Failure]],
    why: str,
    step: Step,
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id.replace(" ", "-")
    proxy.fails = fails(proxy)
    with pytest.raises(LedgerUnavailable, match="Nothing was started") as caught:
        anyio.run(at(tmp_path, name, endpoint=proxy.url).edit, count)
    assert why in caught.value.trouble
    assert step in [each.step for each in caught.value.then]
    assert not list(tmp_path.iterdir()), "written down on this machine instead"
    assert anyio.run(at(tmp_path, name).read) == {}


def test_no_right_to_delete_is_needed(proxy: Unreliable, tmp_path: Path) -> None:
    proxy.fails = without("DELETE")(proxy)
    assert [anyio.run(at(tmp_path, "kept", endpoint=proxy.url).edit, count) for _ in range(3)] == [1, 2, 3]
    assert "DELETE" not in {each.method for each in proxy.requests}


def test_credentials_that_end_during_a_run_lose_nothing(proxy: Unreliable, tmp_path: Path) -> None:
    async def run() -> None:
        place = at(tmp_path, "ends", endpoint=proxy.url)
        assert await place.edit(count) == 1
        proxy.fails = lambda _: (400, "ExpiredToken")
        with pytest.raises(LedgerUnavailable, match="ExpiredToken"):
            await place.edit(count)
        proxy.fails = lambda _: None
        assert await place.edit(count) == 2

    anyio.run(run)


def test_odd_characters_of_a_prefix_name_one_place_for_all(store: ObjectStore, tmp_path: Path) -> None:
    assert [anyio.run(at(tmp_path, PREFIX).edit, count) for _ in range(2)] == [1, 2]
    keys = [each["Key"] for each in store.s3().list_objects_v2(Bucket="shared")["Contents"]]
    assert f"{PREFIX}/service.ledger.json" in keys


class AsAmazon(Forwarder):
    """Takes a checksum for what it is, as Amazon's S3 does; moto asks for a header of Amazon's own libraries beside it."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if "x-amz-checksum-sha256" in self.headers:
            self.headers["x-amz-sdk-checksum-algorithm"] = "SHA256"
        self.answer(*self.forwarded(self.command, self.path, body))


def test_versioned_and_locked_buckets_take_a_ledger(store: ObjectStore, tmp_path: Path) -> None:
    s3 = store.s3()
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    with served(AsAmazon, host=urlsplit(store.url).netloc) as url:
        for bucket in ("versions", "locked"):
            place = f"s3://{bucket}/a?endpoint={url}"
            made = [anyio.run(place_of(place, tmp_path, "service", Clock()).edit, count) for _ in range(3)]
            assert made == [1, 2, 3]
