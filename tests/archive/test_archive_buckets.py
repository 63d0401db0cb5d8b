"""Archives to buckets of real servers: S3, Google's and Azure's; what arrives, and what is left if it does not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import anyio
import anyio.from_thread
import anyio.lowlevel
import obstore
import pyrage
import pytest

from pulumi_snapshots.archive import source, upload
from pulumi_snapshots.archive.archive import (
    ArchiveRequest,
    NotArchived,
    archive_snapshot,
)
from pulumi_snapshots.archive.listed import ListedArchive, check_archived, list_archives
from pulumi_snapshots.archive.manifest import Owner
from pulumi_snapshots.archive.record import ArchiveInputs, ArchiveRecord
from pulumi_snapshots.archive.removal import NotRemoved, end_archive
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.storage import buckets, flow
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.encryption import decrypt_object
from pulumi_snapshots.storage.store import FileStore, StoreTrouble
from tests.archive.real import VERSION, Host, hosted, outcome, start
from tests.support.failing import fails_with
from tests.support.machine import had
from tests.support.object_stores import ObjectStore, Stores
from tests.support.unreliable import Failure, Request, Unreliable, unreliable
from tests.support.world import Row

MIB = 1024**2
OLD = b"an archive that was there before"
QUICK = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}


AT_NIGHT = [pytest.param(each, marks=pytest.mark.nightly) for each in ("gs", "versity")]
"""`gs` is the server of `s3` with another way of writing under a condition: tests of that ask it by day too."""


@pytest.fixture(scope="module", params=["s3", "az", *AT_NIGHT])
def server(request: pytest.FixtureRequest, stores: Stores) -> ObjectStore:
    return had(request.param, lambda: stores(request.param))


@pytest.fixture(scope="module")
def small() -> Iterator[Host]:
    with hosted(1000) as one:
        yield one


@pytest.fixture(scope="module")
def large() -> Iterator[Host]:
    """A zip of more parts than are under way at once."""
    with hosted(16 * MIB) as one:
        yield one


@pytest.fixture
def bucket(server: ObjectStore) -> Iterator[Bucket]:
    """A new bucket behind a proxy."""
    name = f"b-{os.urandom(4).hex()}"
    server.make_bucket(name)
    with (
        unreliable(server.url) as proxy,
        patch.dict(os.environ, server.reached_at(proxy.url)),
        patch.object(buckets, "RETRIES", QUICK),
        patch.object(buckets, "PART_SIZE", 5 * MIB),
        patch.object(source, "PAUSES", (0.01,) * len(source.PAUSES)),
    ):
        one = Bucket(server, proxy, name)
        yield one
        proxy.fails = lambda _: None
        assert one.may_leave_parts or one.unfinished() == 0, (
            "an unfinished upload was left, which costs for ever"
        )


def of(*names: Any) -> pytest.MarkDecorator:
    """Only of these servers."""
    return pytest.mark.parametrize("server", names, indirect=True)


CONDITIONS = of("s3", "gs", "az", AT_NIGHT[1])


class Bucket:
    def __init__(self, server: ObjectStore, proxy: Unreliable, name: str) -> None:
        self.server = server
        self.proxy = proxy
        self.name = name
        self.row = Row()
        self.transfers = Transfers()
        self.may_leave_parts = False
        with patch.dict(os.environ, server.environment):
            self.behind, _ = buckets.Buckets().bucket(server.scheme, name)

    def uri(self, key: str) -> str:
        return f"{self.server.scheme}://{self.name}/{key}"

    def keys(self) -> list[str]:
        """Of all objects but manifests."""
        every = (each["path"] for page in obstore.list(self.behind) for each in page)
        return sorted(key for key in every if not key.endswith(".json"))

    def content(self, key: str) -> bytes:
        return bytes(obstore.get(self.behind, key).bytes())

    def put(self, key: str, content: bytes) -> None:
        obstore.put(self.behind, key, content)

    def unfinished(self) -> int:
        """How many uploads cost and are not shown; Azure has none."""
        if self.server.scheme == "s3":
            return len(
                self.server.s3()
                .list_multipart_uploads(Bucket=self.name)
                .get("Uploads", [])
            )
        if self.server.scheme == "gs":
            with urllib.request.urlopen(  # noqa: S310  this machine's
                f"{self.server.url}/{self.name}?uploads"
            ) as answer:
                return int(answer.read().count(b"<Upload>"))
        return 0

    def archive(
        self, url: str, key: str, previous: ArchiveRecord | None = None, **values: Any
    ) -> ArchiveRecord:
        return anyio.run(partial(self.archiving, url, key, previous=previous, **values))

    async def archiving(self, url: str, key: str, **values: Any) -> ArchiveRecord:
        resource: dict[str, Any] = {
            name: values.pop(name, None) for name in ("owner", "previous")
        }
        # What a test has put there is no reason to refuse.
        resource["force"] = True
        given = {"download_url": url, "destination": self.uri(key), **values}
        assert not ArchiveInputs.problems(given)
        if resource["owner"]:
            resource["owner"] = Owner(resource["owner"], resource["owner"])
        inputs = ArchiveInputs.of(given)
        return await archive_snapshot(
            ArchiveRequest(None, self.transfers, inputs, self.row, **resource)
        )

    def list_archives(self, key: str) -> list[ListedArchive]:
        return anyio.run(
            partial(
                list_archives,
                self.transfers,
                Destination.parse(self.uri(key)),
                deep=True,
            )
        )

    def refresh(self, record: ArchiveRecord) -> ArchiveRecord:
        return anyio.run(check_archived, self.transfers, record, self.row)

    def delete(self, record: ArchiveRecord) -> None:
        anyio.run(
            partial(end_archive, self.transfers, record, self.row, delete_object=True)
        )

    def holds(self, key: str, record: ArchiveRecord) -> bool:
        return hashlib.sha256(self.content(key)).hexdigest() == record.sha256


def writes(request: Request) -> bool:
    return request.method in {"PUT", "POST"}


def writes_a_part(request: Request) -> bool:
    return request.method == "PUT" and (
        "partNumber=" in request.path or "comp=block&" in f"{request.path}&"
    )


def removes(request: Request) -> bool:
    """The request that deletes an object."""
    query = request.path.partition("?")[2]
    return "uploadId=" not in query and (
        request.method == "DELETE" or query == "delete" or "comp=batch" in query
    )


def completes(request: Request) -> bool:
    """The request that lets the object appear."""
    return (
        request.method == "POST" and "uploadId=" in request.path
    ) or "comp=blocklist" in request.path


def after(
    number: int, what: Callable[[Request], bool], failure: Failure
) -> Callable[[Request], Failure]:
    """Fail what matches, but for the first ones."""
    seen = 0

    def fails(request: Request) -> Failure:
        nonlocal seen
        seen += what(request)
        return failure if what(request) and seen > number else None

    return fails


DATED = f"database/20261124T230000Z-{VERSION}.zip"


@CONDITIONS
@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("backups of ü/", f"backups of ü/{DATED}"),
        ("a b/50% a%2Fb ü+&=@;,~'().zip", "a b/50% a%2Fb ü+&=@;,~'().zip"),
        ("x" * 200 + ".zip", "x" * 200 + ".zip"),
    ],
    ids=["folder", "odd", "long"],
)
def test_an_object_is_whole_and_found_again_whatever_its_name(
    bucket: Bucket, large: Host, given: str, key: str
) -> None:
    record = bucket.archive(large.url, given)
    assert record.uri == bucket.uri(key)
    assert bucket.keys() == [key]
    assert bucket.holds(key, record)
    assert record.sha256 == large.sha256
    assert bucket.refresh(record) == record
    bucket.delete(record)
    assert bucket.keys() == []


def test_a_place_that_cannot_be_is_one_clear_error(bucket: Bucket, small: Host) -> None:
    with fails_with(NotArchived, r"no-such-bucket.*(not exist|no bucket named)"):
        bucket.archive(
            small.url, "", destination=f"{bucket.server.scheme}://no-such-bucket/x.zip"
        )
    bucket.put("folder/theirs", OLD)
    with fails_with(
        NotArchived,
        "is a folder.*Give destination a file name, or a final slash for a folder",
    ):
        bucket.archive(small.url, "folder")
    assert bucket.keys() == ["folder/theirs"]
    # A web server in place of the store, as behind a wrong endpoint.
    bucket.proxy.fails = lambda _: (404, "NotFound")
    with pytest.raises((NotArchived, StoreTrouble)) as failed:
        bucket.archive(small.url, "x.zip")
    assert "Debug source" not in str(failed.value)
    assert len(str(failed.value)) < 600


REFUSED = (403, "ExpiredToken")
FAILING: dict[str, tuple[int, Callable[[Request], bool], Failure]] = {
    "the first request refused": (0, writes, REFUSED),
    "a part refused": (1, writes_a_part, REFUSED),
    "the last request refused": (0, completes, REFUSED),
    "dropped": (1, writes_a_part, "drop"),
    "silent": (1, writes_a_part, "silent"),
    "full": (1, writes_a_part, (507, "InsufficientStorage")),
}


@pytest.mark.parametrize("how", FAILING)
def test_an_upload_that_fails_keeps_the_old_object_and_no_parts(
    bucket: Bucket, large: Host, how: str
) -> None:
    number, what, failure = FAILING[how]
    bucket.put("x.zip", OLD)
    bucket.proxy.fails = after(number, what, failure)
    quick = (
        {**buckets.CLIENT, "timeout": timedelta(seconds=0.5)}
        if how == "silent"
        else buckets.CLIENT
    )
    told = (
        "ExpiredToken.*No part of it is left there.*unchanged"
        if failure == REFUSED
        else "unchanged"
    )
    with patch.object(buckets, "CLIENT", quick), pytest.raises(NotArchived, match=told):
        bucket.archive(large.url, "x.zip")
    assert bucket.content("x.zip") == OLD
    assert bucket.keys() == ["x.zip"]


BRIEF = {**buckets.CLIENT, "read_timeout": timedelta(seconds=0.5)}
PASSING: dict[str, dict[str, Any]] = {
    "errors that pass": {"CLIENT": buckets.CLIENT},
    "the last answer lost": {"CLIENT": buckets.CLIENT},
    "a slow line": {"CLIENT": BRIEF},
    "a silent part": {"LONGEST_PART": timedelta(seconds=1.5)},
}
"""What fails no upload, with the limits; on a slow line each part takes longer than a store may be silent."""


# as all stores have the same library
@of("s3", pytest.param("az", marks=pytest.mark.nightly), *AT_NIGHT)
@pytest.mark.parametrize("how", PASSING)
def test_what_passes_fails_no_upload(bucket: Bucket, large: Host, how: str) -> None:
    seen: set[str] = set()

    def is_first(request: Request) -> bool:
        is_new = writes_a_part(request) and request.path not in seen
        seen.update([request.path] * is_new)
        return is_new

    bucket.proxy.fails = {
        "errors that pass": lambda request: (
            (503, "SlowDown") if is_first(request) else None
        ),
        "the last answer lost": after(0, completes, "lose"),
        "a slow line": lambda request: (
            time.sleep(0.8) if writes_a_part(request) else None
        ),
        "a silent part": lambda request: (
            "silent" if is_first(request) and len(seen) == 1 else None
        ),
    }[how]
    with patch.multiple(buckets, **PASSING[how]), patch.object(upload, "SILENCE", 0.3):
        record = bucket.archive(large.url, "x.zip")
    assert bucket.holds("x.zip", record)
    if how == "a slow line":
        assert any(request.method == "HEAD" for request in bucket.proxy.requests)


@CONDITIONS
@pytest.mark.parametrize("failure", ["drop", (403, "the same bytes")], ids=str)
def test_an_object_that_another_writes_meanwhile_is_not_matched_to_this_archive(
    bucket: Bucket, large: Host, failure: Failure
) -> None:
    bucket.archive(large.url, "same.zip")
    theirs = (
        bucket.content("same.zip")
        if failure == (403, "the same bytes")
        else os.urandom(11 * MIB)
    )

    def meanwhile(request: Request) -> Failure:
        if completes(request):
            bucket.put("x.zip", theirs)
        return failure if completes(request) else None

    bucket.proxy.fails = meanwhile
    with pytest.raises(NotArchived):
        bucket.archive(large.url, "x.zip")
    assert bucket.content("x.zip") == theirs


@pytest.mark.parametrize(
    "values", [{}, {"timeout": 3}], ids=["by itself", "by the time-out"]
)
@of("s3")  # as all stores have the same library
def test_a_store_that_falls_silent_fails_it_in_time(
    bucket: Bucket, large: Host, values: dict[str, Any]
) -> None:
    bucket.put("x.zip", OLD)
    silent: list[bool] = []

    def falls_silent(request: Request) -> Failure:
        silent.extend([True] * writes_a_part(request))
        return "silent" if silent else None

    bucket.proxy.fails = falls_silent
    bucket.may_leave_parts = True
    began = time.monotonic()
    told = (
        r"not whole after 3 s \(timeout\).*an unfinished" if values else "an unfinished"
    )
    with (
        patch.object(buckets, "CLIENT", BRIEF),
        patch.object(upload, "SILENCE", 120.0 if values else 0.3),
        patch.multiple(flow, TIDYING=0.5, PULLER_GRACE=0.3),
        pytest.raises(NotArchived, match=f"{told} upload may be left"),
    ):
        bucket.archive(large.url, "x.zip", **values)
    assert time.monotonic() - began < 30
    assert bucket.content("x.zip") == OLD


def test_an_interrupted_upload_keeps_the_old_object(bucket: Bucket) -> None:
    """Its zip does not fit in the parts under way, the next one and the queues: an end that has begun is waited for."""
    bucket.put("x.zip", OLD)

    def interrupted(request: Request) -> Failure:
        if writes_a_part(request):
            anyio.from_thread.run_sync(bucket.transfers.stop, token=tokens[0])
        return None

    bucket.proxy.fails = interrupted
    tokens: list[Any] = []

    async def run(url: str) -> None:
        tokens.append(anyio.lowlevel.current_token())
        await bucket.archiving(url, "x.zip")

    with (
        hosted(32 * MIB) as larger,
        pytest.raises(NotArchived, match=r"it was interrupted.*unchanged"),
    ):
        anyio.run(run, larger.url)
    assert bucket.content("x.zip") == OLD


# the other server of S3 lets two conditional writes at once both succeed
@of("s3", "az", AT_NIGHT[0])
def test_owners_at_once_share_one_object_which_goes_with_the_last_one(
    bucket: Bucket, small: Host
) -> None:
    recipients = [str(pyrage.x25519.Identity.generate().to_public())]
    records = list[ArchiveRecord]()

    async def one(owner: str) -> None:
        records.append(
            await bucket.archiving(small.url, "", owner=owner, recipients=recipients)
        )

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for number in range(4):
                group.start_soon(one, f"urn:{number}")

    anyio.run(all_of_them)
    (key,) = bucket.keys()
    said = json.loads(bucket.content(f"{key}.json"))
    assert sorted(each["name"] for each in said["owners"]) == [
        f"urn:{number}" for number in range(4)
    ]
    for record in records:
        assert bucket.keys() == [key]
        assert bucket.holds(key, record)
        bucket.delete(record)
    assert bucket.keys() == []


def test_archives_in_a_bucket_are_verified_refreshed_and_decrypted(
    bucket: Bucket, small: Host, tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    record = bucket.archive(small.url, "shop/", recipients=[str(identity.to_public())])
    bucket.put("shopping/20261124T230000Z-v.zip", OLD)
    bucket.put("shop/theirs.json", b"{}")

    key = record.uri.removeprefix(bucket.uri(""))
    store = bucket.transfers.at(record.uri)
    assert [(each.uri, each.problem) for each in bucket.list_archives("shop/")] == [
        (record.uri, None)
    ]
    _, digest = decrypt_object(
        store.read(), FileStore(tmp_path / "x.zip").write, [identity], name="x"
    )
    assert digest == record.plain_sha256 == small.sha256

    assert bucket.refresh(record) == record
    bucket.put(key, bucket.content(key))
    renewed = bucket.refresh(record)
    assert (renewed.lost, renewed.mark == record.mark) == (None, False)
    bucket.put(key, bucket.content(key)[::-1])
    assert (bucket.list_archives("shop/")[0].problem or "").startswith(
        "was changed: its SHA-256 is "
    )
    assert bucket.refresh(record).lost == "altered"
    obstore.delete(bucket.behind, key)
    assert bucket.list_archives("shop/")[0].problem == "is missing"
    assert bucket.refresh(record).lost == "missing"
    with pytest.raises(
        StoreTrouble, match=r"shpo does not exist: nothing is stored there"
    ):
        bucket.list_archives("shpo/")


def test_an_object_that_may_not_be_deleted_is_named(
    bucket: Bucket, small: Host
) -> None:
    record = bucket.archive(small.url, "x.zip")
    # a store that is away changes and deletes nothing
    bucket.proxy.fails = lambda _: "drop"
    assert bucket.refresh(record) == record
    assert "was not checked and stays as it was" in bucket.row.warnings[-1]
    with pytest.raises(NotRemoved, match="was not deleted"):
        bucket.delete(record)
    bucket.proxy.fails = lambda request: (
        (403, "AccessDenied") if removes(request) else None
    )
    with pytest.raises(NotRemoved, match=r"was not deleted: .*x\.zip.*AccessDenied"):
        bucket.delete(record)
    newer = bucket.archive(small.url, "y.zip", record, keep_last=1)
    assert re.search(
        r"x\.zip is beyond the last 1 but was not removed: .*AccessDenied",
        bucket.row.warnings[-1],
    )
    assert bucket.keys() == ["x.zip", "y.zip"]
    bucket.proxy.fails = lambda _: None
    bucket.archive(small.url, "z.zip", newer, keep_last=1)
    assert bucket.keys() == ["z.zip"]


def test_a_key_that_may_only_write_is_enough(bucket: Bucket, small: Host) -> None:
    bucket.proxy.fails = lambda request: (
        (403, "AccessDenied") if request.method in {"GET", "HEAD"} else None
    )
    record = bucket.archive(small.url, "x.zip")
    assert bucket.refresh(record) == record
    assert "403 Forbidden (credentials: " in bucket.row.warnings[-1]
    with pytest.raises(StoreTrouble, match=r"AccessDenied \(credentials: "):
        bucket.list_archives("")
    assert bucket.holds("x.zip", record)


@CONDITIONS
def test_wrong_keys_a_wrong_clock_or_region_have_a_next_step(
    bucket: Bucket, small: Host
) -> None:
    bucket.put("x.zip", OLD)
    connection = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    keys = {
        "versity": {"AWS_SECRET_ACCESS_KEY": "another"},
        "az": {
            "AZURE_STORAGE_CONNECTION_STRING": f"{connection};AccountKey=YW5vdGhlcg=="
        },
    }.get(bucket.server.name, {})
    step = (
        "Set AWS_REGION to the bucket's region"
        if bucket.server.scheme == "s3"
        else "unchanged"
    )
    wrong: list[tuple[dict[str, str], Failure, str]] = [
        (
            keys,
            None if keys else (401, "InvalidToken"),
            r".+ \(credentials: .*unchanged",
        ),  # the others take any
        (
            {},
            (403, "RequestTimeTooSkewed"),
            r".*\(credentials: .*unchanged.*Correct this machine's clock",
        ),
        ({}, (301, "PermanentRedirect"), f".*{step}"),
    ]
    if bucket.server.scheme == "s3":
        # one knows its region
        refused = None if keys else (400, "AuthorizationHeaderMalformed")
        named = ".*what is in AWS_ACCESS_KEY_ID, region eu-west-1, endpoint http"
        wrong.append(({"AWS_REGION": "eu-west-1"}, refused, named))
    for environment, failure, told in wrong:
        bucket.transfers = Transfers()
        bucket.proxy.fails = after(0, writes, failure)
        with (
            patch.dict(os.environ, environment),
            fails_with(NotArchived, rf"x\.zip: {told}"),
        ):
            bucket.archive(small.url, "x.zip")
    assert bucket.content("x.zip") == OLD


@pytest.mark.nightly  # by day a file shows that nothing is collected
@of("s3")
def test_an_archive_to_a_bucket_takes_little_memory(server: ObjectStore) -> None:
    server.make_bucket("backups")
    with hosted(96 * MIB) as large:
        done = outcome(
            start(large.url, "s3://backups/x.zip", environment=server.environment)
        )
    assert done["sha256"] == large.sha256
    assert done["above_idle"] <= 64, done


@pytest.mark.parametrize(
    ("then", "told"),
    [("replaced", "was replaced while it was read"), ("gone", "does not exist")],
)
def test_an_object_that_is_replaced_while_it_is_read_is_no_mixture(
    bucket: Bucket, small: Host, then: str, told: str
) -> None:
    record = bucket.archive(small.url, "x.zip")
    content = bucket.content("x.zip")
    bucket.put("x.zip", content)  # another mark, so that a refresh reads it

    def meanwhile(request: Request) -> Failure:
        if request.method == "GET" and unquote(request.path.partition("?")[0]).endswith(
            "x.zip"
        ):
            if then == "replaced":
                bucket.put("x.zip", content[:-1] + b"x")
            elif bucket.keys():
                obstore.delete(bucket.behind, "x.zip")
        return None

    bucket.proxy.fails = meanwhile
    with patch.object(buckets, "PART_SIZE", 400):
        assert bucket.refresh(record) == record
    assert re.search(rf"x\.zip.*{told}", bucket.row.warnings[-1])


def test_a_missing_library_is_named_with_its_extra(bucket: Bucket, small: Host) -> None:
    inputs = ArchiveInputs.of(
        {"download_url": small.url, "destination": bucket.uri("x.zip")}
    )
    missing = {"obstore": None, "obstore.store": None}
    with (
        patch.dict(sys.modules, missing),
        fails_with(NotArchived, re.escape(pip_install("archive"))),
    ):
        anyio.run(
            archive_snapshot, ArchiveRequest(None, bucket.transfers, inputs, bucket.row)
        )
