"""The commands about copies of snapshots: `download`, `archive`, `archives`, `forget` and `decrypt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.inputs import TIER_LIMIT, ArchiveInputs, Keep
from pulumi_snapshots.archive.manifest import Manifest
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.shelf import forget as forget_archives
from pulumi_snapshots.archive.shelf import shelved
from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    PLACE,
    checked,
    command,
    notify_option,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, NAME, Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, facts, fields_of, moment, size_text
from pulumi_snapshots.lookup.prefix import is_whole_database
from pulumi_snapshots.snapshot.read import LATEST, get
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import NotDecrypted, identities, opened

OWNER = f"{NAME} archive"
"""The owner, in manifests, of what this command line archives."""


@command(
    snapshot_argument,
    click.option(
        "-o", "--output", "destination", required=True, metavar="FILE", help="The file, or a folder if it ends in /."
    ),
    timeout_option(ArchiveInputs),
    short_help="Download a snapshot to a file, verified.",
)
async def download(invocation: Invocation, /, **typed: Any) -> int:
    """Download a snapshot to a file, verified, whole or not at all; DATABASE/latest is the newest."""
    if typed["destination"] == "-":
        invocation.wrong("--output must be a file, since a download appears only when it is whole.")
    inputs = checked(invocation, ArchiveInputs, typed, destination="--output")
    if inputs.destination.scheme != "file":
        invocation.wrong("--output must be a file of this machine: `archive` streams to a bucket.")
    file = inputs.destination.file
    if not (folder := file if inputs.destination.folder else file.parent).is_dir():
        invocation.wrong(f"--output must be in a folder that exists: there is no {folder}.")
    return await _transferred(invocation, inputs, typed, "downloaded")


@command(
    snapshot_argument,
    click.argument("destination"),
    click.option(
        "--recipient",
        "recipients",
        metavar="KEY",
        multiple=True,
        help="Encrypt it with age for this public key (age1…); may be repeated.",
    ),
    timeout_option(ArchiveInputs),
    notify_option,
    short_help="Copy a snapshot to a path or a bucket, verified.",
)
async def archive(invocation: Invocation, /, *, recipients: Sequence[str], **typed: Any) -> int:
    """Stream a snapshot to DESTINATION, verified, whole or not at all; DATABASE/latest is the newest.

    DESTINATION is a path or a URI of file://, s3://, gs:// or az://. With a final / it is a folder, which gets
    DATABASE/CREATED-VERSION.zip, or .zip.age if it is encrypted.
    """
    inputs = checked(invocation, ArchiveInputs, {**typed, "recipients": recipients or None}, recipients="--recipient")
    return await _transferred(invocation, inputs, typed, "archived", manifest=True)


async def _transferred(
    invocation: Invocation, inputs: ArchiveInputs, typed: dict[str, Any], done: str, *, manifest: bool = False
) -> int:
    """Copy the snapshot that is typed to its destination and show the result; returns the exit code."""
    transfers = invocation.transfers
    invocation.wording = invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.working(session, transfers):
            database_id, version_id = await invocation.snapshot(session, typed["database_id"], typed["version_id"])
            inputs = replace(inputs, database_id=database_id, version_id=version_id)
            if version_id == LATEST:
                newest = await get(session, f"{database_id}/{LATEST}", unlisted=True)
                inputs = replace(inputs, version_id=newest.version_id or "", download_url=newest.download_url)
                created = moment(newest.created_at, invocation.zone)
                invocation.progress(f"the newest snapshot is {newest.id}, of {created}")
            record = await archive_snapshot(session, transfers, inputs, invocation, owner=OWNER, manifest=manifest)
    at = place_text(record.uri)
    text = facts({done: at, "size": size_text(record.size), "sha256": record.sha256})
    invocation.result(fields_of(record, ArchiveRecord), text, at)
    return DONE


SHELVED = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")
FORGOTTEN = ("", "ARCHIVE", "CREATED", "ACTION", "REASON")


@command(
    click.argument("destination", type=PLACE),
    click.option(
        "--deep", is_flag=True, help="Read every byte and compare its SHA-256; otherwise the size is compared."
    ),
    click.option(
        "--expect", type=DATABASE, multiple=True, help="Fail unless DATABASE has a good archive there; may be repeated."
    ),
    short_help="List and verify the archives at DESTINATION.",
)
async def archives(invocation: Invocation, /, *, destination: Destination, deep: bool, expect: Sequence[str]) -> int:
    """List and verify the archives at DESTINATION by their manifests; needs no private key, and an API key only for names.

    The exit code is 1 if anything is wrong with an archive.
    """
    at = place_text(destination.uri)
    with invocation.working(logged=deep):
        invocation.progress(f"{'reading' if deep else 'listing'} {at}")
        found = await shelved(invocation.transfers, destination, deep=deep)

    def row(uri: str, about: Manifest | None, problem: str) -> tuple[str | None, ...]:
        known: tuple[str | None, ...] = (None,) * 4
        if about:
            drilled = moment(about.drill.drilled_at if about.drill else None, invocation.zone)
            sealed = f"for {len(about.recipients)}" if about.recipients else None
            known = moment(about.created_at, invocation.zone), size_text(about.size), sealed, drilled
        return MARKS["problem" if problem else "ok"], place_text(uri), *known, problem

    rows = [row(each.uri, each.manifest, each.problem) for each in found]
    fields = [{"uri": each.uri, "manifest": each.manifest, "problem": each.problem} for each in found]
    invocation.listed(fields, SHELVED, rows, "no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    noted = {each.manifest.database_id or "" for each in found if each.manifest}
    missing = [each for each in await _whole(invocation, expect, noted) if each not in good]
    for each in missing:
        invocation.fail(f"{at} has no good archive of database {each}.")
    if any(each.problem for each in found):
        invocation.fail(
            "not every archive is as its manifest says.\n"
            f"hint: `{NAME} archive DATABASE/VERSION DESTINATION` writes one again, as long as the service has its snapshot."
        )
        return FAILED
    return FAILED if missing else DONE


async def _whole(invocation: Invocation, expect: Sequence[str], noted: set[str]) -> list[str]:
    """The ids of the databases that were typed; only a name, or a part of an id, needs the service."""
    if all(each in noted or is_whole_database(each) for each in expect):
        return [*expect]
    async with invocation.session() as session:
        return [each if each in noted else await invocation.database(session, each) for each in expect]


@command(
    click.argument("destination", type=PLACE),
    *(
        click.option(f"--keep-{name}", name, metavar="N", type=click.IntRange(1, TIER_LIMIT), help=each.doc)
        for name, each in Keep.properties().items()
    ),
    click.option("--dry-run", is_flag=True, help="Only show what would be removed."),
    short_help="Remove archives that a rule does not keep.",
)
async def forget(invocation: Invocation, /, *, destination: Destination, dry_run: bool, **tiers: int | None) -> int:
    """Remove the archives at DESTINATION that no tier keeps, for each database; by the rules of restic's `forget`.

    It removes only what `squarecloud-snapshots archive` has written, never the newest one of a database, a pinned one, or
    the last one that a drill has restored.
    """
    if not any(tiers.values()):
        invocation.wrong("Give at least one of " + ", ".join(f"--keep-{name}" for name in tiers) + ".")
    words = invocation.wording.text
    with invocation.working():
        invocation.progress(f"listing {place_text(destination.uri)}")
        found = await forget_archives(invocation.transfers, destination, Keep(**tiers), OWNER, dry_run=dry_run)
    gone = "would be removed" if dry_run else "removed"
    rows, fields = [], []
    for each in found:
        about, why = each.archive.manifest, words(each.why)
        created = moment(about.created_at, invocation.zone) if about else None
        mark, action = MARKS["problem" if each.failed else "ok"], gone if each.goes else "kept"
        rows.append((mark, place_text(each.archive.uri), created, action, why))
        fields.append({"uri": each.archive.uri, "removed": each.goes, "why": why})
    invocation.listed({"dry_run": dry_run, "archives": fields}, FORGOTTEN, rows, "no archives")
    return FAILED if any(each.failed for each in found) else DONE


@command(
    click.argument("archive", type=PLACE),
    click.option("--identity", required=True, metavar="FILE", help="The private key's file, as age-keygen writes it."),
    click.option("-o", "--output", required=True, metavar="FILE", type=PLACE, help="Where the zip is written."),
    short_help="Decrypt ARCHIVE to a zip.",
)
async def decrypt(invocation: Invocation, /, *, archive: Destination, identity: str, output: Destination) -> int:
    """Decrypt ARCHIVE, a path or a URI, to a zip: whole or not at all."""
    if archive.folder or output.folder or output.scheme != "file":
        invocation.wrong("ARCHIVE must be one object, and --output a file of this machine.")
    files = [archive.file, output.file] if archive.scheme == "file" else []
    if files and all(each.exists() for each in files) and files[0].samefile(files[1]):
        name = place_text(archive.uri)
        raise NotDecrypted(f"{name} is itself the file to write, and the only encrypted one: choose another file")
    keys, transfers = identities(Path(identity)), invocation.transfers
    name, at = place_text(archive.uri), place_text(output.uri)
    with invocation.working(transfers):
        invocation.progress(f"decrypting {name}")
        size, digest = await transfers.blocking(
            lambda: opened(
                transfers.store(archive),
                transfers.store(output),
                keys,
                name=name,
                stopping=lambda: transfers.stopping,
            )
        )
    text = facts({"decrypted": at, "size": size_text(size), "sha256": digest})
    invocation.result({"uri": output.uri, "size": size, "sha256": digest}, text, at)
    return DONE
