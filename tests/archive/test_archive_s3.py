"""Archives to a bucket of a real S3-compatible server, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import anyio
import pytest

from pulumi_snapshots.archive.archive import NotArchived, archive
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.transfers import Transfers
from pulumi_snapshots.archive.upkeep import NotRemoved, check_archived, remove
from tests.archive.real import S3, VERSION, Host, hosted, outcome, s3_server, start
from tests.support.failing import fails_with
from tests.support.world import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_snapshots.archive.record import ArchiveRecord

MIB = 1024**2
OLD = b"an archive that was there before"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as one, patch.dict(os.environ, one.environment):
        yield one


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hosted(40 * MIB) as one:
        yield one


@pytest.fixture
def bucket(server: S3) -> Iterator[Bucket]:
    one = Bucket(server, f"b-{os.urandom(4).hex()}")
    one.client.create_bucket(Bucket=one.name)
    yield one
    assert one.unfinished() == [], "an unfinished upload was left, which costs for ever"


class Bucket:
    def __init__(self, server: S3, name: str) -> None:
        self.client = server.client()
        self.name = name
        self.row = Row()
        self.transfers = Transfers()

    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def content(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def unfinished(self) -> list[Any]:
        return list(self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", []))

    def archive(self, url: str, key: str, previous: ArchiveRecord | None = None, **values: Any) -> ArchiveRecord:
        given = {"download_url": url, "destination": f"s3://{self.name}/{key}", **values}
        assert not ArchiveInputs.problems(given)

        async def run() -> ArchiveRecord:
            return await archive(None, self.transfers, ArchiveInputs.of(given), self.row, previous=previous)

        return anyio.run(run)

    def refresh(self, record: ArchiveRecord) -> ArchiveRecord:
        return anyio.run(check_archived, self.transfers, record, self.row)


def test_an_object_is_whole_and_named_after_its_snapshot(bucket: Bucket, host: Host) -> None:
    record = bucket.archive(host.url, "backups/")
    key = f"backups/database/20261124T230000Z-{VERSION}.zip"
    assert record.uri == f"s3://{bucket.name}/{key}"
    assert bucket.keys() == [key]
    assert hashlib.sha256(bucket.content(key)).hexdigest() == record.sha256 == host.sha256


def test_a_snapshot_smaller_than_one_part_is_archived(bucket: Bucket) -> None:
    with hosted(1000) as small:
        record = bucket.archive(small.url, "x.zip")
    assert hashlib.sha256(bucket.content("x.zip")).hexdigest() == record.sha256


def test_an_archive_to_a_bucket_takes_little_memory(bucket: Bucket) -> None:
    with hosted(256 * MIB) as large:
        done = outcome(start(large.url, f"s3://{bucket.name}/x.zip"))
    assert done["sha256"] == large.sha256
    assert done["above_idle"] <= 96, done


def test_a_bucket_that_does_not_exist_is_an_error(bucket: Bucket, host: Host) -> None:
    with pytest.raises(NotArchived, match=r"the bucket does not exist \("):
        bucket.archive(host.url, "x.zip", destination="s3://no-such-bucket/x.zip")


def test_missing_credentials_are_an_error(bucket: Bucket, host: Host) -> None:
    without = {name: text for name, text in os.environ.items() if "ACCESS_KEY" not in name}
    with (
        patch.dict(os.environ, {**without, "AWS_CONFIG_FILE": "/dev/null", "HOME": "/nonexistent"}, clear=True),
        pytest.raises(NotArchived, match=r"[Cc]redentials"),
    ):
        bucket.archive(host.url, "x.zip")


@pytest.mark.parametrize("when", ["part 2", "completion"])
def test_a_failed_upload_keeps_the_old_object_and_no_parts(bucket: Bucket, host: Host, when: str) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="x.zip", Body=OLD)
    system = bucket.transfers._buckets.file_system("s3")
    call = system.call_s3

    def failing(method: str, *parts: Any, **parameters: Any) -> Any:
        if (when == "part 2" and parameters.get("PartNumber") == 2) or (
            when == "completion" and method == "complete_multipart_upload"
        ):
            raise PermissionError("Access Denied")
        return call(method, *parts, **parameters)

    with patch.object(system, "call_s3", failing), pytest.raises(NotArchived, match=r"Access Denied.*untouched"):
        bucket.archive(host.url, "x.zip")
    assert bucket.content("x.zip") == OLD
    assert bucket.keys() == ["x.zip"]


def test_an_upload_whose_last_answer_was_lost_counts(bucket: Bucket, host: Host) -> None:
    system = bucket.transfers._buckets.file_system("s3")
    call = system.call_s3

    def losing(method: str, *parts: Any, **parameters: Any) -> Any:
        answer = call(method, *parts, **parameters)
        if method == "complete_multipart_upload":
            raise ConnectionError("the answer was lost")
        return answer

    with patch.object(system, "call_s3", losing):
        record = bucket.archive(host.url, "x.zip")
    assert hashlib.sha256(bucket.content("x.zip")).hexdigest() == record.sha256


@pytest.mark.parametrize("how", ["stop", "timeout"])
def test_an_interrupted_upload_leaves_no_parts(bucket: Bucket, how: str) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="x.zip", Body=OLD)
    system = bucket.transfers._buckets.file_system("s3")
    call = system.call_s3
    parts = 0

    def slow(method: str, *given: Any, **parameters: Any) -> Any:
        nonlocal parts
        answer = call(method, *given, **parameters)
        parts += method == "upload_part"
        if how == "stop" and parts == 2:
            bucket.transfers.stop()
        return answer

    with (
        hosted(200 * MIB) as large,
        patch.object(system, "call_s3", slow),
        pytest.raises(NotArchived, match="untouched"),
    ):
        bucket.archive(large.url, "x.zip", timeout="1h" if how == "stop" else 0.5)
    assert bucket.content("x.zip") == OLD


def test_a_folder_without_its_slash_is_an_error(bucket: Bucket, host: Host) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="folder/theirs", Body=OLD)
    with fails_with(NotArchived, "is a folder.*Give destination a file name, or a final slash for a folder"):
        bucket.archive(host.url, "folder")
    assert bucket.keys() == ["folder/theirs"]


def test_keep_last_and_delete_keep_objects_of_others(bucket: Bucket, host: Host) -> None:
    bucket.client.put_object(Bucket=bucket.name, Key="database/theirs.zip", Body=OLD)
    records: list[ArchiveRecord] = []
    for number in range(3):
        url = host.url.replace(VERSION, f"version-{number}")
        records.append(bucket.archive(url, "", records[-1] if records else None, keep_last=2))
    assert len(bucket.keys()) == 3
    assert "version-0.zip" not in "".join(bucket.keys())
    anyio.run(remover(bucket, records[-1]))
    assert len(bucket.keys()) == 2
    assert bucket.content("database/theirs.zip") == OLD


def remover(bucket: Bucket, record: ArchiveRecord) -> Any:
    async def run() -> None:
        await remove(bucket.transfers, record, bucket.row, delete_object=True)

    return run


def test_a_refresh_notices_missing_and_altered_objects(bucket: Bucket, host: Host) -> None:
    record = bucket.archive(host.url, "x.zip")
    assert bucket.refresh(record) == record
    content = bucket.content("x.zip")
    bucket.client.put_object(Bucket=bucket.name, Key="x.zip", Body=content)
    renewed = bucket.refresh(record)
    assert (renewed.lost, renewed.mark == record.mark) == (None, False)
    bucket.client.put_object(Bucket=bucket.name, Key="x.zip", Body=content[:-1] + b"x")
    assert bucket.refresh(record).lost == "altered"
    bucket.client.delete_object(Bucket=bucket.name, Key="x.zip")
    assert bucket.refresh(record).lost == "missing"


def test_a_server_that_is_away_changes_and_deletes_nothing(bucket: Bucket, host: Host) -> None:
    record = bucket.archive(host.url, "x.zip")
    bucket.transfers = Transfers()
    with patch.dict(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}):
        bucket.transfers._buckets.file_system("s3").retries = 1
        assert bucket.refresh(record) == record
        assert "was not checked and stays as it was" in bucket.row.warnings[-1]
        with pytest.raises(NotRemoved, match="was not deleted"):
            anyio.run(remover(bucket, record))
    assert bucket.keys() == ["x.zip"]


def test_a_missing_library_is_named_with_its_extra(bucket: Bucket, host: Host) -> None:
    given = {"download_url": host.url, "destination": f"s3://{bucket.name}/x.zip"}
    inputs = ArchiveInputs.of(given)
    with patch.dict(sys.modules, {"s3fs": None}), patch.dict(sys.modules["fsspec.registry"]._registry, clear=True):
        (problem,) = ArchiveInputs.problems(given)
        assert (problem.property, "pip install 'pulumi-snapshots[s3]'" in str(problem.reason)) == ("destination", True)
        with fails_with(NotArchived, r"pulumi-snapshots\[s3\]"):
            anyio.run(archive, None, bucket.transfers, inputs, bucket.row)


def test_a_key_that_may_only_write_is_enough(bucket: Bucket, host: Host) -> None:
    store = "pulumi_snapshots.archive.buckets.BucketStore"
    with patch(f"{store}._info", side_effect=PermissionError("Forbidden")):
        record = bucket.archive(host.url, "x.zip")
        assert bucket.refresh(record) == record
    assert hashlib.sha256(bucket.content("x.zip")).hexdigest() == record.sha256
