"""The snapshot host: what a signed URL serves, and what is refused."""

import io
import zipfile

import httpx
import pytest

from tests.emulator.visit import DATABASE, Visit, visited


async def urls(at: Visit) -> tuple[str, str]:
    """The unpinned and the pinned URL of one snapshot."""
    unpinned = (await at.create()).json()["response"]["url"]
    return unpinned, (await at.entries())[0]["url"]


@visited()
async def test_download_is_a_zip_of_the_listed_size(at: Visit) -> None:
    at.added(size=100_000)
    (entry,) = await at.entries()
    answer = await at.files.get(entry["url"])
    assert len(answer.content) == entry["size"] == 100_000
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert (at.last.kind, at.last.database_id) == ("download", DATABASE)


@visited()
async def test_pinned_url_serves_its_own_version_not_the_newest(at: Visit) -> None:
    unpinned, pinned = await urls(at)
    first = (await at.files.get(pinned)).content
    assert (await at.files.get(unpinned)).content == first
    newer = at.added(origin="automatic")
    assert (await at.files.get(pinned)).content == first
    assert (
        (await at.files.get(unpinned)).content == at.emulator.archive_of(newer) != first
    )


@visited()
async def test_modified_url_is_refused(at: Visit) -> None:
    unpinned, pinned = await urls(at)
    for changed in (
        f"{unpinned}&versionId={httpx.URL(pinned).params['versionId']}",
        pinned.replace("versionId=", "other="),
        pinned.replace("Expires=1", "Expires=2"),
        pinned.replace("Signature=", "Signature=A"),
        pinned.replace("AWSAccessKeyId=", "AWSAccessKeyId=A"),
        pinned.split("?")[0],
    ):
        assert (await at.files.get(changed)).status_code == 403
    assert (await at.files.head(pinned)).status_code == 403, (
        "the signature covers the method"
    )
    assert at.last.code == "SignatureDoesNotMatch"
    assert (await at.api.get(pinned)).status_code == 400, "the key was sent too"
    assert (await at.files.get(pinned)).status_code == 200
    assert [entry.key for entry in at.emulator.journal[-2:]] == ["right", "none"]


@visited(url_valid_days=1)
async def test_url_expires_after_its_days(at: Visit) -> None:
    _, pinned = await urls(at)
    at.emulator.advance(86400)
    assert (await at.files.get(pinned)).status_code == 200
    at.emulator.advance(1)
    answer = await at.files.get(pinned)
    assert answer.status_code == 403
    assert "expired" in answer.text


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "part"),
    [
        ("bytes=0-9", 206, "bytes 0-9/1000", slice(0, 10)),
        ("bytes=990-", 206, "bytes 990-999/1000", slice(990, None)),
        ("bytes=990-2000", 206, "bytes 990-999/1000", slice(990, None)),
        ("bytes=-10", 206, "bytes 990-999/1000", slice(990, None)),
        ("bytes=-2000", 206, "bytes 0-999/1000", slice(None)),
        ("bytes=0-1,5-6", 200, None, slice(None)),
        ("lines=1", 200, None, slice(None)),
        ("bytes=1000-", 416, "bytes */1000", None),
        ("bytes=-0", 416, "bytes */1000", None),
    ],
)
@visited()
async def test_download_can_be_resumed_by_range(
    at: Visit, asked: str, status: int, content_range: str | None, part: slice | None
) -> None:
    version = at.added(size=1000)
    answer = await at.files.get(
        (await at.entries())[0]["url"], headers={"Range": asked}
    )
    assert (answer.status_code, answer.headers.get("content-range")) == (
        status,
        content_range,
    )
    assert part is None or answer.content == at.emulator.archive_of(version)[part]


@visited()
async def test_range_of_another_version_gets_the_whole_file(at: Visit) -> None:
    unpinned, pinned = await urls(at)
    tag = (await at.files.get(pinned)).headers["etag"]
    resume = {"Range": "bytes=10-", "If-Range": tag}
    assert (await at.files.get(unpinned, headers=resume)).status_code == 206
    at.added()
    assert (await at.files.get(unpinned, headers=resume)).status_code == 200
    assert (await at.files.get(unpinned, headers={"If-Match": tag})).status_code == 412
    assert (await at.files.get(pinned, headers=resume)).status_code == 206


@visited(version_header=False)
async def test_snapshot_host_without_a_version_header_can_be_chosen(at: Visit) -> None:
    unpinned, pinned = await urls(at)
    assert "x-amz-version-id" not in (await at.files.get(pinned)).headers
    at.emulator.remove_snapshot(httpx.URL(pinned).params["versionId"])
    assert [(await at.files.get(url)).status_code for url in (pinned, unpinned)] == [
        404,
        404,
    ]
