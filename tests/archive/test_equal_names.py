"""Archives of stacks that have equal names, on two backends or in two organizations: none loses anything by another one's rule."""

import json

import pytest

from tests.archive.scene import (
    Declared,
    Scene,
    file_of,
    holds,
    manifest_of,
    owners,
    rewrite_manifest,
    scene,
)
from tests.support.virtual import staged

URN = "urn:pulumi:prod::shop::squarecloud:index:Archive::nightly"


@staged(scene)
async def test_a_rule_removes_nothing_of_a_stack_with_equal_names(at: Scene) -> None:
    ours = Declared(at, URN)
    theirs = Declared(at, URN)
    shared = await ours.up()
    assert (await theirs.up(keep_last=1)).uri == shared.uri
    at.newer(size=1000)
    older = await ours.up()
    at.newer(size=1000)
    newest = await theirs.up(keep_last=1)
    assert [file_of(each).exists() for each in (shared, older, newest)] == [True] * 3
    assert owners(shared) == [(URN, False)]
    assert (await ours.refresh()).lost is None


@staged(scene)
async def test_a_new_stack_counts_nothing_of_one_with_equal_names(at: Scene) -> None:
    """As on another backend, or after a state was lost: its manifests alone do not show whose they are."""
    theirs = Declared(at, URN)
    first = await theirs.up()
    at.newer(size=1000)
    second = await Declared(at, URN).up(keep_last=1)
    assert [file_of(each).exists() for each in (first, second)] == [True, True]
    assert second.earlier == ()


@staged(scene)
async def test_delete_object_removes_nothing_of_a_stack_with_equal_names(
    at: Scene,
) -> None:
    ours = Declared(at, URN)
    theirs = Declared(at, URN)
    record = await ours.up(delete_object=True)
    await theirs.up(delete_object=True)
    await theirs.destroy()
    assert holds(record, at.zip)
    assert "is an archive of prod::shop::" in at.row.notes[-1]
    await ours.destroy()
    assert not list(file_of(record).parent.iterdir())


@staged(scene)
async def test_a_fixed_name_of_a_stack_with_equal_names_is_not_taken(at: Scene) -> None:
    place = f"{at.folder}/x.zip"
    record = await Declared(at, URN).up(destination=place)
    old = at.zip
    at.newer(size=1000)
    with pytest.raises(
        Exception, match="another archive has this name; it belongs to prod::shop"
    ):
        await Declared(at, URN).up(destination=place)
    assert holds(record, old)


@staged(scene)
async def test_what_is_imported_outlives_the_rule_of_its_former_stack(
    at: Scene,
) -> None:
    former = Declared(at, URN)
    importer = Declared(at, "urn:pulumi:prod::other::squarecloud:index:Archive::mine")
    record = await former.up(keep_last=1, delete_object=True)
    await importer.imports(record.uri)
    await importer.up()
    assert [name for name, _ in owners(record)] == sorted([former.urn, importer.urn])
    assert await importer.preview() == "", "it is entered once"
    await former.destroy()
    assert holds(record, at.zip)
    await importer.up(delete_object=True)
    await importer.destroy()
    assert not file_of(record).exists()


@staged(scene)
async def test_what_is_imported_stays_until_the_next_up_whatever_others_do(
    at: Scene,
) -> None:
    former = Declared(at, URN)
    importer = Declared(at, "urn:pulumi:prod::other::squarecloud:index:Archive::mine")
    another = Declared(at, f"{importer.urn}-too")
    record = await former.up(keep_last=1)
    for each in (importer, importer, another):  # a preview, and two imports
        await each.imports(record.uri)
    assert len(owners(record)) == 3
    imported = at.snapshot
    old = at.zip
    at.newer(size=1000)
    await former.up(keep_last=1)
    assert "is an archive of prod::other::" in at.row.notes[-1]
    assert holds(record, old)
    at.snapshot = imported
    await importer.up()
    assert owners(record) == [(importer.urn, False), (another.urn, False)]
    await at.here.clock.sleep(8 * 86400)
    await another.imports(record.uri)
    await another.up()
    await another.up(delete_object=True)
    await another.destroy()
    assert owners(record) == [(importer.urn, False)], "it is an owner for good"


@pytest.mark.parametrize("days", [6, 8])
@staged(scene)
async def test_an_import_that_no_up_follows_holds_the_object_for_a_week(
    at: Scene, days: int
) -> None:
    former = Declared(at, URN)
    importer = Declared(at, "urn:pulumi:prod::other::squarecloud:index:Archive::mine")
    record = await former.up(delete_object=True)
    await importer.imports(record.uri)
    await at.here.clock.sleep(days * 86400)
    await former.destroy()
    assert file_of(record).exists() is (days == 6)


@staged(scene)
async def test_a_lookup_by_id_is_no_owner(at: Scene) -> None:
    former = Declared(at, URN)
    record = await former.up(delete_object=True)
    before = manifest_of(record).read_text()
    await Declared(at, URN).looks_up(record.uri)
    assert manifest_of(record).read_text() == before


@staged(scene)
async def test_a_forced_replacement_leaves_no_owner_behind(at: Scene) -> None:
    one = Declared(at, URN)
    await one.up(keep_last=1)
    record = await one.up(replace=True, keep_last=1)
    assert owners(record) == [(URN, False)]
    at.newer(size=1000)
    await one.up(keep_last=1)
    assert not file_of(record).exists()


@staged(scene)
async def test_an_owner_is_a_random_id_in_state_and_manifest(at: Scene) -> None:
    stacks = [Declared(at, URN), Declared(at, URN)]
    records = [await each.up() for each in stacks]
    ids = [(each.state or {})["owner"] for each in stacks]
    record = records[0]
    said = json.loads(manifest_of(record).read_text())["owners"]
    assert sorted(each["id"] for each in said) == sorted(set(ids))
    assert len(set(ids)) == 2
    assert URN not in ids


@staged(scene)
async def test_a_pin_enters_no_owner_into_the_manifest_of_another_archive(
    at: Scene,
) -> None:
    one = Declared(at, URN)
    record = await one.up()
    rewrite_manifest(record, version_id="another", owners=[])
    theirs = manifest_of(record).read_text()
    await one.up(pin=True)
    assert manifest_of(record).read_text() == theirs
