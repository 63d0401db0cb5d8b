"""Archives of an emulated service on a virtual clock: which bytes arrive, and what is left if they do not."""

import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import httpx
import pyrage
import pytest

from pulumi_snapshots.archive.archive import NotArchived
from pulumi_snapshots.archive.record import ArchiveSuccessor
from pulumi_snapshots.archive.transfers import AT_A_TIME
from pulumi_snapshots.archive.upload import Upload
from pulumi_snapshots.engine.wording import PYTHON
from pulumi_snapshots.listing.listings import SERVICE_CACHE
from pulumi_snapshots.listing.polling import PINNING
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.run.settings import REQUESTS_PER_MINUTE
from pulumi_snapshots.snapshot.create import create
from pulumi_snapshots.snapshot.record import SnapshotInputs, SnapshotRecord
from tests.archive.scene import SIZE, Scene, file_of, holds, scene
from tests.support.clocks import Shifted
from tests.support.example import Example
from tests.support.failing import flat
from tests.support.memory import Memory
from tests.support.virtual import staged, virtual
from tests.support.world import DATABASE, Row

IDENTITY = pyrage.x25519.Identity.generate()
OTHER = pyrage.x25519.Identity.generate()
KEYS = [str(IDENTITY.to_public()), str(OTHER.to_public())]
GOOD = {"database_id": DATABASE, "version_id": "v1", "destination": "/backups/"}
EXAMPLE = Example(
    good=GOOD,
    state={
        **GOOD,
        "uri": f"file:///backups/{DATABASE}/20260101T000000Z-v1.zip",
        "size": 5.0,
        "sha256": "00",
        "archived_at": "2026-01-01T00:00:10Z",
        "mark": "1:2",
        "owner": "5d0c",
    },
    id=f"file:///backups/{DATABASE}/20260101T000000Z-v1.zip",
    uses=lambda at: at.archive(
        session=at.over_https(), database_id=DATABASE, version_id=at.stored.version_id
    ),
    recorded="""\
provider.Archive(
    "offsite", snapshot, destination="archives/", keep_last=2, delete_object=True
)
""",
)
OLD = b"an archive that was there before"


async def fails(scene: Scene, *, what: str, **values: Any) -> str:
    """The archive fails with such a text and leaves the folder unchanged; returns the text."""
    before = scene.content()
    with pytest.raises(NotArchived) as failed:
        await scene.archive(**values)
    text = flat(PYTHON.error_text(failed.value))
    assert re.search(what, text), text
    assert scene.content() == before
    assert "Signature" not in text
    return text


# What is archived, and where --------------------------------------------------------------------------------------------


@staged(scene)
async def test_an_archive_has_every_byte_of_its_snapshot(at: Scene) -> None:
    record = await at.archive()
    assert holds(record, at.zip)
    created = at.snapshot.modified.strftime("%Y%m%dT%H%M%SZ")
    assert (
        file_of(record)
        == at.folder / DATABASE / f"{created}-{at.snapshot.version_id}.zip"
    )
    assert record.archived_at.startswith("2026-03-01T12:00:00")
    assert at.files() == {DATABASE, f"{DATABASE}/{file_of(record).name}"}
    assert len(at.downloads) == 1
    assert file_of(record).stat().st_mode & 0o077 == 0, "other users can read it"
    await at.archive(destination=f"{at.folder}/first/x.zip")
    assert at.row.notes == []
    await at.archive(destination=f"{at.folder}/mistyped/mount/x.zip")
    assert at.row.notes == [f"{at.folder}/mistyped/mount did not exist and was created"]
    assert at.row.shown[-1].startswith("archived ")


@staged(scene)
async def test_ids_a_url_and_a_resource_give_the_same_object(at: Scene) -> None:
    """The URL alone needs no API key, and the key is never sent to the snapshot's host."""
    outputs = await at.outputs()
    seen = len(at.here.emulator.journal)
    by_url = await at.archive(download_url=outputs["download_url"])
    assert [entry.kind for entry in at.here.emulator.journal[seen:]] == ["download"]
    at.fault(cut_after=1_000_000)
    by_id = await at.archive(
        session=at.here.session,
        database_id=DATABASE,
        version_id=at.snapshot.version_id,
        destination=f"{at.folder}/x.zip",
    )
    assert {(entry.method, entry.key) for entry in at.downloads} == {("GET", "none")}
    same: dict[str, Any] = {
        "uri": by_url.uri,
        "mark": by_url.mark,
        "archived_at": by_url.archived_at,
    }
    assert replace(by_id, **same) == by_url
    assert (
        replace(await at.archive(), mark=by_url.mark, archived_at=by_url.archived_at)
        == by_url
    )
    assert holds(by_url, at.zip)


@staged(scene)
async def test_an_encrypted_archive_holds_every_byte_and_no_plain_one_touches_the_disk(
    at: Scene,
) -> None:
    written: list[bytes] = []

    def noted(blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            written.append(block)
            yield block

    at.passes(noted)
    record = await at.archive(recipients=KEYS)
    content = file_of(record).read_bytes()
    assert file_of(record).name.endswith(f"-{at.snapshot.version_id}.zip.age")
    assert pyrage.decrypt(content, [IDENTITY]) == at.zip
    assert (record.size, record.sha256) == (len(content), sha256(content).hexdigest())
    assert (record.plain_size, record.plain_sha256) == (
        len(at.zip),
        sha256(at.zip).hexdigest(),
    )
    assert b"".join(written) == content
    assert not [block for block in written if at.zip[2_000_000:2_000_064] in block]
    assert await at.refresh(record) == record
    plain = await at.archive(destination=f"{at.folder}/x.zip")
    assert (plain.plain_size, plain.plain_sha256) == (None, None)


# The network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cuts", [[1], [1_048_576], [2_500_000], [SIZE - 1], [10, 10, 10, 1_000_000, 1, 7]]
)
@staged(scene)
async def test_a_transfer_that_breaks_off_asks_only_for_the_rest(
    at: Scene, cuts: list[int]
) -> None:
    ranges: list[tuple[str | None, str | None]] = []
    given = await at.outputs()
    at.sees(
        lambda request: ranges.append(
            (request.headers.get("range"), request.headers.get("if-range"))
        )
    )
    for cut in cuts:
        at.fault(cut_after=cut)
    record = await at.archive(**given)
    assert holds(record, at.zip)
    at_bytes = [sum(cuts[: number + 1]) for number in range(len(cuts))]
    version = f'"{at.snapshot.version_id}"'
    assert ranges == [(None, None), *((f"bytes={each}-", version) for each in at_bytes)]
    assert at.here.clock.monotonic() < 120
    if cuts == [2_500_000]:
        assert any("50 %, 2.5 MB of 5.0 MB" in text for text in at.row.shown)
        assert len(at.row.shown) <= 4
    assert at.row.shown[-1] == f"archived 5.0 MB to {file_of(record)}"


@pytest.mark.parametrize(
    "fault",
    [
        *({"drop": True}, {"no_connect": True}, {"html": 502}, {"delay": 100}),
        *({"status": status, "code": "SlowDown"} for status in (503, 429)),
    ],
    ids=str,
)
@staged(scene)
async def test_passing_errors_of_the_host_do_not_fail_an_archive(
    at: Scene, fault: dict[str, Any]
) -> None:
    at.fault(times=3, **fault)
    assert holds(await at.archive(), at.zip)


@staged(scene)
async def test_a_time_out_shows_how_far_the_transfer_was(at: Scene) -> None:
    url = (await at.outputs())["download_url"]
    at.fault(cut_after=2_000_000)
    at.fault(delay=25, cut_after=1, times=None)
    await fails(
        at,
        what=r"not whole after 2 min \(timeout\): 40 %, 2.0 MB of 5.0 MB",
        download_url=url,
        timeout="2m",
    )
    assert at.here.clock.monotonic() == pytest.approx(120, abs=1)
    at.here.emulator.clear_faults()
    at.fault(status=503, times=None)
    last = r"0 %, 0 bytes of 5.0 MB \(it broke off last: GET /.*zip: 503"
    await fails(at, what=last, download_url=url, size=SIZE, timeout="20s")


@staged(scene)
async def test_an_object_that_is_there_and_cannot_be_read_to_its_end_is_given_up_in_time(
    at: Scene,
) -> None:
    """The mount of the folder has died, say."""
    outputs = await at.outputs()
    await at.archive(**outputs)
    with (
        anyio.fail_after(3600),
        patch.object(at.transfers, "digest", lambda _store: anyio.sleep_forever()),
    ):
        await fails(
            at, what=r"not whole after 2 min \(timeout\)", timeout="2m", **outputs
        )


@staged(scene, url_valid_days=600 / 86400, cache_seconds=1800.0)
async def test_a_url_that_expires_meanwhile_is_renewed(at: Scene) -> None:
    # The cached page shows the expired URL for half an hour; the account's listing has a fresh one.
    outputs = await at.outputs()
    at.fault(cut_after=2_000_000)
    at.fault(delay=5, drop=True)
    archived = at.archive(session=at.here.session, **outputs)
    record = await at.here.meanwhile(3, lambda: at.here.emulator.advance(700), archived)
    assert holds(record, at.zip)
    assert [entry.status for entry in at.downloads if entry.status] == [200, 403, 206]
    assert at.here.requests("list account")


@staged(scene, url_valid_days=600 / 86400)
async def test_an_expired_url_is_renewed_after_an_outage_of_the_service(
    at: Scene,
) -> None:
    outputs = await at.outputs()
    session = at.here.another_run()
    at.here.emulator.advance(700)
    for kind in ("list", "list account"):
        at.here.fault(kind=kind, status=503, code="INTERNAL", times=None)
    archived = at.archive(session=session, **outputs)
    assert holds(
        await at.here.meanwhile(600, at.here.emulator.clear_faults, archived), at.zip
    )


def forgotten(at: Scene) -> None:
    at.here.emulator.remove_snapshot(at.snapshot.version_id)
    at.here.emulator.drop_cache()


FAILING: dict[str, tuple[Callable[[Scene], object], bool, bool, str]] = {
    "a host that stays away": (
        lambda at: at.fault(no_connect=True, times=None),
        True,
        False,
        "broke off",
    ),
    "an expired URL and no key": (
        lambda at: at.here.emulator.advance(700),
        True,
        False,
        "Request has expired.*squarecloud:apiKey.*pulumi refresh",
    ),
    "a URL that stays refused": (
        lambda at: at.fault(status=403, code="AccessDenied", times=None),
        True,
        True,
        "that the service lists now is refused too",
    ),
    "no longer listed": (
        forgotten,
        True,
        True,
        "NoSuchVersion.*not list this snapshot any more",
    ),
    "no longer listed, and no URL": (
        forgotten,
        False,
        True,
        "lists no snapshot .* may be younger",
    ),
}


@pytest.mark.parametrize("why", FAILING)
@staged(scene, url_valid_days=600 / 86400)
async def test_a_snapshot_that_cannot_be_had_fails_within_minutes(
    at: Scene, why: str
) -> None:
    happens, has_url, has_key, told = FAILING[why]
    outputs = await at.outputs()
    session = at.here.another_run()
    happens(at)
    given = (
        outputs
        if has_url
        else {name: outputs[name] for name in ("database_id", "version_id")}
    )
    began = at.here.clock.monotonic()
    await fails(at, what=told, session=session if has_key else None, **given)
    assert at.here.clock.monotonic() - began < 300


@asynccontextmanager
async def unlisted(
    tmp_path: Path, **settings: Any
) -> AsyncIterator[tuple[Scene, SnapshotRecord, Session]]:
    """A snapshot that was answered with 200 while both pages were old, and the session that archives it."""
    async with scene(tmp_path, cache_world="kept") as at:
        here = at.here
        other = here.another_run()
        await other.client.list_snapshots(DATABASE)
        await other.client.list_account()
        await here.clock.sleep(3 * 60)
        provider = here.another_run(here.session.ledger.place, **settings)
        record = await create(
            provider, SnapshotInputs.of({"database_id": DATABASE}), Row()
        )
        assert len(here.posts) == 1
        yield at, record, provider


@pytest.mark.parametrize("ahead", [0.0, -3600.0, 3600.0], ids=["right", "slow", "fast"])
@pytest.mark.parametrize("known", ["by the ledger", "by its time"])
@virtual
async def test_an_archive_waits_for_an_old_listing_whatever_its_machines_clock_says(
    tmp_path: Path, known: str, ahead: float
) -> None:
    """A lookup, a create that ends unlisted, an archive: what a program with all three does.

    The snapshot's time is the service's, that in the ledger is from before the machine's clock was set.
    """
    async with unlisted(tmp_path) as (at, record, provider):
        clock = Shifted(at.here.clock, -abs(ahead))
        place = provider.ledger.place
        ids: dict[str, Any] = {"database_id": DATABASE, "version_id": record.version_id}
        if known == "by its time":
            clock = Shifted(at.here.clock, ahead)
            place = Memory(at.here.clock)
            ids["created_at"] = record.created_at or record.requested_at
        session = at.here.another_run(place, clock=clock)
        asked = len(at.here.listings)
        began = at.here.clock.monotonic()
        archived = await at.archive(session=session, **ids)
        assert holds(archived, at.here.emulator.archive_of(record.version_id or ""))
        assert len(at.here.posts) == 1
        assert at.here.clock.monotonic() - began < SERVICE_CACHE
        assert (
            len(at.here.listings) - asked
            <= SERVICE_CACHE / session.settings.poll_every + 3
        )
        assert any(text.startswith("listing is old until ") for text in at.row.shown)


@staged(scene)
async def test_an_archive_and_its_snapshot_that_are_both_gone_have_a_way_out(
    at: Scene,
) -> None:
    record = await at.archive()
    file_of(record).unlink()
    lost = await at.refresh(record)
    at.here.emulator.advance(31 * 86400)
    given = {
        "database_id": DATABASE,
        "previous": lost,
        "session": at.here.another_run(),
    }
    told = [
        await fails(at, what="lists no", version_id=each, **given)
        for each in (record.version_id, "another")
    ]
    assert ["or remove the Archive" in each for each in told] == [True, False]


@virtual
async def test_a_snapshot_that_no_new_listing_shows_is_given_up(tmp_path: Path) -> None:
    async with unlisted(tmp_path) as (at, record, provider):
        ids: dict[str, Any] = {"database_id": DATABASE, "version_id": record.version_id}
        again = "lists no snapshot .* yet.*Run it again after .* UTC"
        await fails(at, what=again, session=provider, timeout=60.0, **ids)
        at.here.emulator.remove_snapshot(record.version_id or "")
        began = at.here.clock.monotonic()
        await fails(at, what="lists no snapshot .* 30 days", session=provider, **ids)
        assert at.here.clock.monotonic() - began < SERVICE_CACHE + PINNING + 60


@virtual
async def test_an_outage_ends_a_wait_for_a_listing_with_its_time_out(
    tmp_path: Path,
) -> None:
    async with unlisted(tmp_path) as (at, record, provider):
        began = at.here.clock.monotonic()
        ids: dict[str, Any] = {"database_id": DATABASE, "version_id": record.version_id}
        archives = fails(
            at, what="service is not available", session=provider, timeout=2400.0, **ids
        )
        await at.here.meanwhile(
            300, lambda: at.here.fault(html=503, times=None), archives
        )
        assert 2300 < at.here.clock.monotonic() - began <= 2400


@virtual
async def test_archives_that_wait_for_a_listing_hold_up_no_others(
    tmp_path: Path,
) -> None:
    async with unlisted(tmp_path) as (at, record, provider):
        ends: dict[str, float] = {}
        listed = await at.outputs()

        async def one(name: str, **ids: Any) -> None:
            await at.archive(
                session=provider, destination=f"{tmp_path}/{name}.zip", **ids
            )
            ends[name] = at.here.clock.monotonic()

        began = at.here.clock.monotonic()
        async with anyio.create_task_group() as group:
            for number in range(AT_A_TIME):
                group.start_soon(
                    partial(
                        one,
                        f"{number}",
                        database_id=DATABASE,
                        version_id=record.version_id,
                    )
                )
            await at.here.clock.sleep(60)
            group.start_soon(partial(one, "listed", **listed))
        assert len(ends) == AT_A_TIME + 1
        assert ends["listed"] - began < 120


@staged(scene)
async def test_the_queue_is_no_part_of_an_archives_time_out(
    at: Scene, tmp_path: Path
) -> None:
    """Neither that of lookups, as a plan without the account's listing costs a request for each database, nor that of slots."""
    at.fault(kind="list account", status=402, code="UPGRADE_REQUIRED", times=1000)
    at.fault(delay=20, times=None)
    taken = {}
    for number in range(REQUESTS_PER_MINUTE + 13):
        at.here.emulator.add_database(database := f"{number:032x}")
        taken[database] = at.here.emulator.add_snapshot(database).version_id
    session = at.here.another_run()
    done = []

    async def one(database: str, version: str) -> None:
        ids: dict[str, Any] = {
            "database_id": database,
            "version_id": version,
            "timeout": 45.0,
        }
        done.append(
            await at.archive(
                session=session, destination=f"{tmp_path}/{database}.zip", **ids
            )
        )

    async with anyio.create_task_group() as group:
        for each in taken.items():
            group.start_soon(one, *each)
    assert len(done) == len(taken)
    assert at.here.clock.monotonic() == pytest.approx(
        20 * len(taken) / AT_A_TIME, abs=30
    )


# Never another version ------------------------------------------------------------------------------------------------


async def signed_without_version(at: Scene) -> str:
    from squarecloud_emulator.wire.listing_pages import signed_query  # noqa: PLC0415

    path = f"/databases/{at.here.emulator.settings.account_id}/{DATABASE}.zip"
    later = at.here.clock.utc().replace(year=2027)
    return f"{at.here.emulator.snapshots_url}{path}?{signed_query(path, later)}"


@pytest.mark.parametrize(
    ("service", "newer", "key", "refused"),
    [
        ({}, False, False, ""),
        ({"version_header": False}, False, False, "not pinned"),
        ({"version_header": False}, True, True, ""),
        ({"key_of_200_has_version": True}, True, False, "another version"),
    ],
    ids=[
        "the host tells the version",
        "nothing tells it",
        "a key finds a pinned one",
        "the host serves another",
    ],
)
@virtual
async def test_a_url_that_is_not_pinned_serves_the_right_version_or_nothing(
    tmp_path: Path, *, service: dict[str, Any], newer: bool, key: bool, refused: str
) -> None:
    async with scene(tmp_path, **service) as at:
        given: dict[str, Any] = {
            "database_id": DATABASE,
            "version_id": at.snapshot.version_id,
        }
        given |= {
            "created_at": "2026-02-01T00:00:00Z",
            "download_url": await signed_without_version(at),
        }
        given |= {"session": at.here.session if key else None}
        if newer:
            at.here.emulator.add_snapshot(DATABASE, size=SIZE)
        if refused:
            await fails(at, what=refused, **given)
        else:
            assert holds(await at.archive(**given), at.zip)


@pytest.mark.parametrize("version_header", [True, False])
@staged(scene)
async def test_bytes_of_two_versions_are_never_mixed(
    at: Scene,
    version_header: bool,  # noqa: FBT001
) -> None:
    url = await signed_without_version(at)
    at.fault(cut_after=2_000_000)
    at.fault(delay=5, drop=True)

    def another() -> None:
        at.here.emulator.settings = replace(
            at.here.emulator.settings, version_header=version_header
        )
        at.here.emulator.add_snapshot(DATABASE, size=SIZE)

    ids = {"download_url": url, "version_id": at.snapshot.version_id}
    await at.here.meanwhile(
        3, another, fails(at, what="serves a different object", **ids)
    )


@staged(scene)
async def test_a_host_that_ignores_ranges_costs_no_bytes(at: Scene) -> None:
    at.sees(lambda request: request.headers.pop("range", None))
    at.fault(cut_after=2_000_000)
    assert holds(await at.archive(), at.zip)


# Checks of the host's answers ----------------------------------------------------------------------------------------


@staged(scene)
async def test_a_body_without_an_end_does_not_fill_the_disk(at: Scene) -> None:
    outputs = await at.outputs()
    sent = list[int]()

    async def endless() -> AsyncIterator[bytes]:
        while len(sent) < 100:
            sent.append(SIZE // 4)
            yield bytes(SIZE // 4)

    at.transfers.http = httpx.MockTransport(
        lambda _: httpx.Response(200, content=endless())
    )
    await fails(
        at, what="sends more than the 5000000 bytes that were announced", **outputs
    )
    assert sum(sent) <= 2 * SIZE


UNSAFE = (
    "http://elsewhere.test/x.zip",
    "https://user:password@elsewhere.test/x.zip",
    "http://127.0.0.1/x.zip",
    "file:///etc/passwd",
    "https://[bad",
)
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "compressed": ({"headers": {"content-encoding": "gzip"}}, {}, "compressed"),
    "version": (
        {"headers": {"x-amz-version-id": "another"}},
        {},
        "another version .another instead of ",
    ),
    "range": (
        {
            "headers": {"content-range": f"bytes 0-8/{'9' * 5000}"},
            "body": "PK",
            "body_status": 206,
        },
        {},
        "another range than requested",
    ),
    "size": ({}, {"size": SIZE + 1}, "another size .5000000 instead of 5000001"),
    "cut": (
        {"body": "PK\x03\x04 and no directory"},
        {"size": None},
        "not a readable zip.*truncated",
    ),
    "no time": (
        {"body": "PK"},
        {"size": None, "created_at": None},
        "time is not known.*Give destination a file name",
    ),
    "no host": (
        {},
        {"download_url": "xn--"},
        "The download URL is invalid or has expired",
    ),
    "no key": ({}, {"download_url": None}, "no API key is set"),
    # Not taken for an expired URL, of which another one could be had
    "proxy": (
        {"html": 403},
        {},
        "proxy in front of the service refused the request.*Run it from another network",
    ),
    **{
        target: (
            {"redirect": target},
            {},
            "redirects to an address that is not allowed",
        )
        for target in UNSAFE
    },
}


@pytest.mark.parametrize("kind", WRONG)
@staged(scene)
async def test_a_wrong_answer_of_the_host_is_refused(at: Scene, kind: str) -> None:
    outputs = await at.outputs()
    fault, changes, what = WRONG[kind]
    if fault:
        at.fault(times=None, **fault)
    if changes.get("download_url"):
        changes = {
            "download_url": outputs["download_url"].replace(
                "emulator.test", changes["download_url"]
            )
        }
    session = at.here.session if kind == "proxy" else None
    await fails(at, what=what, session=session, **outputs | changes)
    assert len(at.downloads) <= 1
    assert not at.here.transport.strayed


@staged(scene)
async def test_a_safe_redirect_is_followed_a_few_times(at: Scene) -> None:
    outputs = await at.outputs()
    at.fault(redirect=outputs["download_url"])
    assert holds(await at.archive(**outputs), at.zip)
    at.fault(redirect=outputs["download_url"], times=None)
    await fails(
        at,
        what="redirects more than 3 times",
        destination=f"{at.folder}/x.zip",
        **outputs,
    )
    assert {entry.key for entry in at.downloads} == {"none"}


# Atomic ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 1.0, 20.0])
@staged(scene)
async def test_an_interrupted_transfer_leaves_nothing(at: Scene, after: float) -> None:
    threads = threading.active_count()
    (at.folder / "x.zip").write_bytes(OLD)
    outputs = await at.outputs()
    at.fault(cut_after=1_500_000)
    at.fault(delay=10, cut_after=10, times=None)
    for name, keys in (("x.zip", None), ("new/folder/", None), ("", KEYS)):
        at.transfers.stopping = False
        ended = fails(
            at,
            what="was interrupted",
            destination=f"{at.folder}/{name}",
            recipients=keys,
            force=True,
            **outputs,
        )
        await at.here.meanwhile(after, at.transfers.stop, ended)
    assert threading.active_count() == threads


@staged(scene)
async def test_an_interrupt_at_the_very_end_keeps_the_archive(at: Scene) -> None:
    appear = Upload.appear

    def interrupted(upload: Upload) -> str:
        at.transfers.stop()
        return appear(upload)

    with patch.object(Upload, "appear", interrupted):
        record = await at.archive(destination=f"{at.folder}/x.zip")
    assert holds(record, at.zip)


# keep_last, delete, refresh -------------------------------------------------------------------------------------------


@staged(scene)
async def test_a_replaced_object_goes_once_a_new_one_is_there(at: Scene) -> None:
    first = await at.archive(keep_last=1)
    fixed = await at.archive(destination=f"{at.folder}/x.zip")
    at.newer()
    with pytest.raises(NotArchived):
        await at.archive(
            keep_last=1, previous=first, **{**await at.outputs(), "size": 1}
        )
    assert file_of(first).exists(), "a failed archive removes no older one"
    second = await at.archive(keep_last=2, previous=first)
    await at.remove(
        first, delete_object=True, successor=ArchiveSuccessor(second, counts=True)
    )
    assert file_of(first).exists(), "the rule counts it"
    await at.remove(
        first, delete_object=True, successor=ArchiveSuccessor(second, counts=False)
    )
    assert not file_of(first).exists()
    again = await at.archive(destination=f"{at.folder}/x.zip", previous=fixed)
    # by a later run, which does not know the successor
    await at.remove(fixed, delete_object=True)
    await at.remove(
        fixed, delete_object=True, successor=ArchiveSuccessor(again, counts=False)
    )
    assert (holds(again, at.zip), again.earlier) == (True, ())


@staged(scene)
async def test_a_refresh_tells_a_copied_archive_from_an_altered_one(at: Scene) -> None:
    record = await at.archive()
    content = file_of(record).read_bytes()
    file_of(record).write_bytes(content)
    copied = await at.refresh(record)
    assert (copied.lost, copied.mark == record.mark) == (None, False)
    file_of(record).write_bytes(content[:-1] + b"x")
    assert (await at.refresh(record)).lost == "altered"
