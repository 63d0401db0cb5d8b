"""Two who archive to one name: nobody's archive is lost by somebody else's rule, and none is done that is not there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyrage
import pytest

from pulumi_snapshots.archive.archive import CLAIM_LIVES, NotArchived
from pulumi_snapshots.archive.calls import ArchiveCalls
from pulumi_snapshots.archive.difference import ArchiveRules
from pulumi_snapshots.archive.listed import list_archives
from pulumi_snapshots.archive.manifest import Owner, edit_manifest
from pulumi_snapshots.archive.record import ArchiveMemory, ArchiveSuccessor
from pulumi_snapshots.archive.removal import NotRemoved, Release, release
from pulumi_snapshots.archive.upload import Upload
from pulumi_snapshots.run.calls import EngineCall, Shared
from pulumi_snapshots.run.settings import Settings
from pulumi_snapshots.storage.destination import Destination
from pulumi_snapshots.storage.store import FileStore, StoredContent, StoreTrouble
from tests.archive.scene import (
    Scene,
    file_of,
    holds,
    manifest_of,
    owners,
    rewrite_manifest,
    scene,
)
from tests.support.failing import fails_with
from tests.support.virtual import staged
from tests.support.world import DATABASE, OTHER_DATABASE, Row

A = "urn:pulumi:prod::shop::squarecloud:index:Archive::a"
B = "urn:pulumi:prod::shop::squarecloud:index:Archive::b"
KEY, OTHER_KEY = (str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2))


@pytest.mark.parametrize("recipients", [None, [KEY]])
@staged(scene)
async def test_two_owners_of_one_snapshot_share_one_object(
    at: Scene, recipients: list[str] | None
) -> None:
    first = await at.archive(owner=A, recipients=recipients)
    content = file_of(first).read_bytes()
    second = await at.archive(owner=B, pin=True, recipients=recipients)
    assert replace(second, owner=A, pinned=None) == first
    assert file_of(first).read_bytes() == content
    assert owners(first) == [(A, False), (B, True)]
    assert (await at.refresh(first)).lost is None


@staged(scene)
async def test_a_retention_rule_keeps_what_somebody_else_archives_too(
    at: Scene,
) -> None:
    pinned = await at.archive(owner=A, pin=True)
    mine = await at.archive(owner=B, keep_last=1)
    at.newer(size=1000)
    newer = await at.archive(owner=B, keep_last=1, previous=mine)
    assert file_of(pinned).exists()
    assert owners(pinned) == [(A, True)]
    assert any(
        "beyond the last 1: it is an archive of prod::shop::" in note
        for note in at.row.notes
    )
    assert newer.earlier == ()


@staged(scene)
async def test_an_owner_whose_object_another_has_written_again_leaves_it_to_that_one(
    at: Scene,
) -> None:
    first = await at.archive(owner=A, recipients=[KEY])
    second = await at.archive(owner=B, recipients=[KEY])
    file_of(first).write_bytes(b"damaged")
    again = await at.archive(owner=B, recipients=[KEY], previous=second)
    await at.remove(first, delete_object=True)
    assert owners(again) == [(B, False)]
    assert (await at.refresh(again)).lost is None


@pytest.mark.parametrize("of", [None, DATABASE, OTHER_DATABASE])
@staged(scene)
async def test_a_version_of_another_database_is_another_archive(
    at: Scene, of: str | None
) -> None:
    """The URL of an unusual host does not show the database; the version alone decides then."""
    place = f"{at.folder}/x.zip"
    first = await at.archive(owner=A, destination=place)
    rewrite_manifest(first, database_id=of)
    if of == OTHER_DATABASE:
        with fails_with(NotArchived, "another archive has this name"):
            await at.archive(owner=A, destination=place)
        return
    await at.archive(owner=B, destination=place)
    assert len(at.downloads) == 1, "it is the same archive"
    assert owners(first) == [(A, False), (B, False)]


@pytest.mark.parametrize("pin", [False, True])
@staged(scene)
async def test_other_recipients_do_not_replace_somebody_elses_archive(
    at: Scene, *, pin: bool
) -> None:
    first = await at.archive(owner=A, recipients=[KEY], pin=pin)
    content = file_of(first).read_bytes()
    with fails_with(
        NotArchived,
        "is encrypted for other recipients; it belongs to prod::shop::.*another name",
    ):
        await at.archive(owner=B, recipients=[OTHER_KEY])
    assert file_of(first).read_bytes() == content
    changed = await at.archive(owner=A, recipients=[OTHER_KEY], pin=pin, previous=first)
    assert file_of(changed).read_bytes() != content


@pytest.mark.parametrize("pin", [False, True])
@staged(scene)
async def test_a_fixed_name_of_somebody_else_is_not_taken(
    at: Scene, *, pin: bool
) -> None:
    place = f"{at.folder}/x.zip"
    first = await at.archive(owner=A, destination=place, pin=pin)
    old = at.zip
    at.newer(size=1000)
    with fails_with(
        NotArchived, "another archive has this name; it belongs to prod::shop::"
    ):
        await at.archive(owner=B, destination=place)
    at.here.emulator.add_database(OTHER_DATABASE)
    other = at.here.emulator.add_snapshot(OTHER_DATABASE, size=1000).version_id
    ids: dict[str, Any] = {
        "database_id": OTHER_DATABASE,
        "version_id": other,
        "session": at.here.session,
    }
    with fails_with(NotArchived, "another archive has this name"):
        await at.archive(owner=A, destination=place, previous=first, **ids)
    assert holds(first, old)
    if pin:
        with fails_with(
            NotArchived, "another archive has this name; pin keeps it for good"
        ):
            await at.archive(owner=A, destination=place, previous=first)
        assert holds(first, old)
    else:
        assert holds(
            await at.archive(owner=A, destination=place, previous=first), at.zip
        )


@staged(scene)
async def test_a_pinned_archive_outlives_its_resource(at: Scene) -> None:
    record = await at.archive(owner=A, pin=True)
    await at.remove(record, delete_object=True)
    assert file_of(record).exists()
    assert at.row.notes[-1].endswith("pin keeps it for good")
    # a state that was not saved
    await at.remove(replace(record, pinned=None), delete_object=True)
    assert file_of(record).exists()


@staged(scene)
async def test_a_manifest_that_could_not_be_removed_goes_with_the_next_try(
    at: Scene,
) -> None:
    record = await at.archive(owner=A)
    at.refuses("_remove", manifest_of(record), why="AccessDenied")
    with pytest.raises(
        NotRemoved, match="was not deleted: only its manifest is left: AccessDenied"
    ):
        await at.remove(record, delete_object=True)
    (one,) = await list_archives(at.transfers, Destination.parse(f"{at.folder}/"))
    assert one.problem == "is missing"
    at.stores(FileStore)
    await at.remove(record, delete_object=True)
    assert not list(file_of(record).parent.iterdir())


@staged(scene)
async def test_an_object_that_lost_its_manifest_is_removed_with_its_resource(
    at: Scene,
) -> None:
    record = await at.archive(owner=A)
    manifest_of(record).unlink()
    (one,) = await list_archives(at.transfers, Destination.parse(f"{at.folder}/"))
    assert one.problem is not None
    assert one.problem.startswith("has no manifest")
    await at.remove(record, delete_object=True)
    assert not list(file_of(record).parent.iterdir())


@staged(scene)
async def test_archives_are_found_again_after_a_lost_state_without_the_service(
    at: Scene,
) -> None:
    outputs = await at.outputs()
    record = await at.archive(owner=A, **outputs)
    at.here.emulator.remove_snapshot(at.snapshot.version_id)
    sent = len(at.here.emulator.journal)
    assert await at.archive(owner=A, **outputs) == record
    assert len(at.here.emulator.journal) == sent
    file_of(record).write_bytes(file_of(record).read_bytes()[:-1] + b"x")
    with pytest.raises(NotArchived):  # what is damaged is not taken for an archive
        await at.archive(owner=A, **outputs)


# At the same time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "moment",
    ["while it is written", "right before it appears", "right after it appeared"],
)
@pytest.mark.parametrize("recipients", [None, [KEY]], ids=["plain", "sealed"])
@staged(scene)
async def test_a_job_that_is_overtaken_records_an_object_that_is_there(
    at: Scene, moment: str, recipients: list[str] | None
) -> None:
    theirs = await at.archive(owner=B, recipients=recipients)
    files = {path: path.read_bytes() for path in file_of(theirs).parent.iterdir()}
    for path in files:
        path.unlink()

    def appears(at_moment: str) -> None:
        if at_moment == moment:
            for path, content in files.items():
                path.with_suffix(".tmp").write_bytes(content)
                path.with_suffix(".tmp").replace(path)
            files.clear()

    def through(blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            appears("while it is written")
            yield block
        appears("right before it appears")

    appear = Upload.appear

    def appeared(upload: Upload) -> str:
        mark = appear(upload)
        appears("right after it appeared")
        return mark

    at.passes(through)
    with patch.object(Upload, "appear", appeared):
        record = await at.archive(owner=A, recipients=recipients)
    assert sha256(file_of(record).read_bytes()).hexdigest() == record.sha256
    assert (await at.refresh(record)).lost is None
    assert owners(record) == [(A, False), (B, False)]
    assert len(list(file_of(record).parent.iterdir())) == 2


@staged(scene)
async def test_an_owner_who_enters_while_the_last_one_leaves_keeps_it(
    at: Scene,
) -> None:
    record = await at.archive(owner=B)
    entering = [(Owner(A, A),)]

    class Store(FileStore):
        def load(self, most: int | None = None) -> StoredContent | None:
            held = super().load(most)
            if entering:
                both = (*entering.pop(), Owner(B, B))
                edit_manifest(
                    at.transfers,
                    record.uri,
                    lambda now: now and replace(now, owners=both),
                )
            return held

    at.stores(Store)
    await at.remove(record, delete_object=True)
    assert holds(record, at.zip)
    assert owners(record) == [(A, False)]


@staged(scene)
async def test_an_owner_who_enters_once_the_object_is_gone_keeps_the_manifest(
    at: Scene,
) -> None:
    record = await at.archive(owner=B)
    object_file = file_of(record)

    class Store(FileStore):
        def remove(self, mark: str) -> bool:
            removed = super().remove(mark)
            if self.where == object_file:
                edit_manifest(
                    at.transfers,
                    record.uri,
                    lambda now: now and replace(now, owners=(Owner(A, A),), claim=None),
                )
            return removed

    at.stores(Store)
    await at.remove(record, delete_object=True)
    assert not object_file.exists()
    assert owners(record) == [(A, False)]


@staged(scene)
async def test_a_replaced_resource_that_was_never_entered_changes_no_manifest(
    at: Scene,
) -> None:
    successor = await at.archive(owner=A)
    manifest = manifest_of(successor)
    written = manifest.stat()
    record = replace(successor, owner=None)
    memory = ArchiveMemory()
    memory.current[B] = ArchiveSuccessor(successor, counts=True)
    state = {**record.to_outputs(), "destination": f"{at.folder}/"}
    await ArchiveCalls().delete(at.call(B, memory), record.id, state)
    assert owners(successor) == [(A, False)]
    assert manifest.stat() == written


@staged(scene)
async def test_an_owner_whose_archive_is_replaced_by_itself_stays_beside_others(
    at: Scene,
) -> None:
    record = await at.archive(owner=A)
    await at.archive(owner=B)
    memory = ArchiveMemory()
    rewritten = replace(record, mark="of another write")
    memory.current[A] = ArchiveSuccessor(rewritten, counts=True)
    state = {**record.to_outputs(), "destination": f"{at.folder}/"}
    await ArchiveCalls().delete(at.call(A, memory), record.id, state)
    assert owners(record) == [(A, False), (B, False)]


@pytest.mark.parametrize("replaced", [False, True])
@staged(scene)
async def test_an_archive_that_goes_while_it_is_read_is_not_shared(
    at: Scene, *, replaced: bool
) -> None:
    place = f"{at.folder}/x.zip"
    outputs = await at.outputs()
    content = at.zip
    first = await at.archive(owner=B, destination=place)
    files = {path: path.read_bytes() for path in at.folder.iterdir()}
    at.newer(size=1000)
    newer = await at.archive(owner=B, destination=place, previous=first)
    newer_files = {path: path.read_bytes() for path in at.folder.iterdir()}
    for path, old in files.items():
        path.write_bytes(old)
    mark = (await at.refresh(first)).mark

    class Store(FileStore):
        def read(self) -> Iterator[Any]:
            yield from super().read()
            for path, new in newer_files.items() if replaced else ():
                path.write_bytes(new)
            assert replaced or release(at.transfers, first.uri, mark, B) == Release(
                removed=True
            )

    at.stores(Store)
    if replaced:
        with fails_with(
            NotArchived, "another archive has this name; it belongs to prod::shop::"
        ):
            await at.archive(owner=A, destination=place, **outputs)
        assert (holds(newer, at.zip), owners(newer)) == (True, [(B, False)])
    else:
        record = await at.archive(owner=A, destination=place, **outputs)
        assert (holds(record, content), owners(record)) == (True, [(A, False)])


@pytest.mark.parametrize("appeared", [False, True])
@staged(scene)
async def test_a_run_that_was_killed_at_the_end_holds_up_the_next_one_for_minutes_only(
    at: Scene, *, appeared: bool
) -> None:
    record = await at.archive(owner=A)
    manifest = manifest_of(record)
    rewrite_manifest(record, claim="of a run that was killed")
    if not appeared:
        file_of(record).unlink()
    began = at.here.clock.monotonic()
    again = await at.archive(owner=A)
    assert CLAIM_LIVES < at.here.clock.monotonic() - began < 3 * CLAIM_LIVES
    assert holds(again, at.zip)
    assert json.loads(manifest.read_text())["claim"] is None
    assert owners(again) == [(A, False)]


@staged(scene)
async def test_a_run_does_not_wait_for_another_archive_of_its_name(at: Scene) -> None:
    place = f"{at.folder}/x.zip"
    first = await at.archive(owner=A, destination=place)
    rewrite_manifest(first, claim="of a run that was killed")
    at.newer(size=1000)
    began = at.here.clock.monotonic()
    again = await at.archive(owner=A, destination=place, previous=first)
    assert at.here.clock.monotonic() - began < 1.0
    assert holds(again, at.zip)


@pytest.mark.parametrize("before", [False, True])
@staged(scene)
async def test_a_store_that_refuses_the_object_leaves_the_manifest_as_it_was(
    at: Scene, *, before: bool
) -> None:
    def refuses(blocks: Iterator[bytes]) -> Iterator[bytes]:
        yield from blocks
        raise StoreTrouble("ExpiredToken")

    place = f"{at.folder}/x.zip"
    if before:
        await at.archive(owner=A, destination=place)
        at.newer(size=1000)
    was = {path.name: path.read_bytes() for path in at.folder.iterdir()}
    at.passes(refuses)
    with pytest.raises(NotArchived, match="ExpiredToken"):
        await at.archive(owner=A, destination=place)
    assert {path.name: path.read_bytes() for path in at.folder.iterdir()} == was


# Odd places and bad moments ---------------------------------------------------------------------------------------------


@staged(scene)
async def test_one_folder_by_a_link_or_two_dots_is_one_place(
    at: Scene, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(at.folder)
    first = await at.archive(owner=A)
    for number, way in enumerate((f"{tmp_path}/link/", f"{at.folder}/not there/../")):
        other = await at.archive(owner=f"urn:{number}", destination=way)
        assert file_of(other).samefile(file_of(first))
        await at.remove(other, delete_object=True)
        assert (holds(first, at.zip), owners(first)) == (True, [(A, False)])
    assert at.files() == {DATABASE, f"{DATABASE}/{file_of(first).name}"}


@staged(scene)
async def test_a_folder_inside_anothers_loses_nothing_by_its_rule(at: Scene) -> None:
    inner = await at.archive(owner=B, destination=f"{at.folder}/{DATABASE}/ü 50% #1/")
    outer = await at.archive(owner=A, keep_last=1)
    at.newer(size=1000)
    newer = await at.archive(owner=A, keep_last=1, previous=outer)
    assert [file_of(each).exists() for each in (inner, outer, newer)] == [
        True,
        False,
        True,
    ]
    found = await list_archives(
        at.transfers, Destination.parse(f"{at.folder}/"), deep=True
    )
    assert [(each.uri, each.problem) for each in found] == sorted(
        [(newer.uri, None), (inner.uri, None)]
    )
    await at.remove(inner, delete_object=True)
    assert not file_of(inner).exists()


# In a program ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ({"destination": "/b/x.zip"}, {"destination": "file:///b//x.zip"}, True),
        ({"destination": "/b/"}, {"destination": "/b/"}, True),
        ({"destination": "/b/"}, {"destination": "/b/", "version_id": "v2"}, False),
        ({"destination": "/b/"}, {"destination": "/b/", "recipients": [KEY]}, False),
        ({"destination": "/b/x.zip"}, {"destination": "/b/y.zip"}, False),
    ],
)
def test_one_place_twice_in_a_program_fails_in_preview(
    *, first: dict[str, Any], second: dict[str, Any], refused: bool
) -> None:
    one = EngineCall(A, Settings, Shared(), Row())
    rules = ArchiveRules()
    good = {"database_id": "d" * 32, "version_id": "v1"}
    assert rules.check(one, {**good, **first}) == []
    assert rules.check(one, {**good, **first}) == []
    found = rules.check(replace(one, owner=B), {**good, **second})
    assert [str(each.reason) for each in found] == ["is also the place of a"] * refused


@staged(scene)
async def test_an_archive_that_was_renamed_keeps_what_its_rule_counts(
    at: Scene,
) -> None:
    """The engine deletes what was replaced by the old URN, and shows what replaced it by the new one."""
    first = await at.archive(owner=A, keep_last=3)
    at.newer(size=1000)
    second = await at.archive(owner=B, keep_last=3, previous=first)
    assert second.owner == A, "manifests know it by its first name"
    memory = ArchiveMemory()
    memory.current[B] = ArchiveSuccessor(second, counts=True)
    state = {
        **first.to_outputs(),
        "destination": f"{at.folder}/",
        "delete_object": True,
    }
    await ArchiveCalls().delete(at.call(A, memory), first.id, state)
    assert file_of(first).exists()
    at.newer(size=1000)
    third = await at.archive(owner=B, keep_last=1, previous=second)
    assert [file_of(each).exists() for each in (first, second, third)] == [
        False,
        False,
        True,
    ]


@staged(scene)
async def test_a_changed_pin_stands_in_the_manifest(at: Scene) -> None:
    record = await at.archive(owner=A)
    for pin in (True, False):
        values = {"destination": f"{at.folder}/", "pin": pin}
        await ArchiveCalls().update(at.call(A), record.id, record.to_outputs(), values)
        record = replace(record, pinned=pin or None)
        assert owners(record) == [(A, pin)]


@staged(scene)
async def test_a_pin_in_the_state_keeps_an_object_that_lost_its_manifest(
    at: Scene,
) -> None:
    record = await at.archive(owner=A, pin=True)
    manifest_of(record).unlink()
    await at.remove(record, delete_object=True)
    assert file_of(record).exists()
