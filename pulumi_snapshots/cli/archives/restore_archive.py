"""The command `restore-archive`, which puts an archive into a database of any host, without the service."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from pulumi_snapshots.archive.manifest import note_drill
from pulumi_snapshots.archive.record import Drilled
from pulumi_snapshots.archive.shelf import Shelved, find
from pulumi_snapshots.archive.source import bytes_text
from pulumi_snapshots.cli.assurance.drill import checks_option, results_table, typed_checks
from pulumi_snapshots.cli.terminal.arguments import PLACE, command, secret_of
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import MARKS, facts
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.clock import rfc3339
from pulumi_snapshots.databases.database import Database, DatabaseUnreachable
from pulumi_snapshots.databases.dumps import PROGRAMS, program
from pulumi_snapshots.databases.kinds import KINDS, Kind, kind_of, lacking
from pulumi_snapshots.drill.calls import PATIENCE, loaded
from pulumi_snapshots.drill.check import read_checks
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.properties.checks import Unfit, spoken
from pulumi_snapshots.storage.destination import Destination, place_text
from pulumi_snapshots.storage.encryption import identities


@command(
    click.argument("archive", type=PLACE),
    click.option(
        "--connection-env",
        metavar="NAME",
        required=True,
        help="The variable that holds the connection, such as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.",
    ),
    click.option(
        "--identity",
        metavar="FILE",
        help="For an encrypted archive: the private key's file, of age-keygen.",
    ),
    checks_option("What it is asked afterwards, as for `drill`."),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Replace what the database has; otherwise it must be empty.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Only say what the command needs, and what is missing."
    ),
)
async def restore_archive(
    invocation: Invocation,
    /,
    *,
    archive: Destination,
    identity: str | None,
    dry_run: bool,
    **typed: Any,
) -> bool:
    """Load an archive into a database of any host.

    Then checks what came back. Needs no API key: the archive is decrypted on its way into the programs of the database's
    engine, which must be on PATH (pg_restore or psql, mysql, redis-server). The exit code is 0 only if all was loaded and all
    checks passed.
    """
    overwrite = typed["overwrite"]
    wrong = named = f"the connection in {typed['connection_env']}"
    dsn = secret_of(invocation, "--connection-env", typed["connection_env"])
    try:
        kind = kind_of(dsn)
        wrong = "--check"
        wanted = read_checks(typed_checks(invocation, typed["checks"])) if typed["checks"] else []
    except Unfit as error:
        invocation.wrong(f"{wrong} {COMMANDS.text(error.reason)}.")
    if (missing := lacking(kind)) and not dry_run:
        invocation.wrong(f"{named} {missing}.", helps=False)
    transfers, about, at = invocation.transfers, KINDS[kind], place_text(archive.uri)
    database = Database(dsn, timeout=PATIENCE)
    with invocation.working(doing=f"reading {at}"):
        found = await find(transfers, archive)
        if dry_run:
            invocation.progress(f"connecting to {about.title}")
            usable = await _usable(database, about, missing, overwrite=overwrite)
            needs = [usable, *_needs(invocation, found, kind, identity)]
            shown = [{"need": need, "found": said, "state": state} for state, need, said in needs]
            invocation.result(shown, [(MARKS[state], *said) for state, *said in needs])
            return any(state == "problem" for state, *_ in needs)
        if found.sealed and identity is None:
            invocation.wrong(f"{at} is encrypted: give its private key with --identity.")
        invocation.progress(f"connecting to {about.title}")
        if (holds := await database.holds()) and not overwrite:
            invocation.wrong(
                f"the database has {holds} {about.things}: give an empty one, or --overwrite."
            )
        load = partial(loaded, environment=invocation.environment, overwrite=overwrite)
        took, holds, results = await load(
            transfers, found, identity, dsn, wanted, invocation.progress
        )
        passed = all(each.passed for each in results)
        if results and passed and found.manifest is not None:
            proof = Drilled(rfc3339(invocation.clock.utc()), took)
            await note_drill(transfers, [archive.uri], found.manifest.snapshot, proof, invocation)
    fields = {"archive": archive.uri, "engine": kind, "restore_seconds": took, "checks": results}
    created = invocation.moment(found.manifest.created_at if found.manifest else None)
    said = {"restored": at, "of": created, "took": spoken(took), about.things: str(holds)}
    invocation.result(
        fields | {about.things: holds}, facts(said) + results_table(results, invocation.out), at
    )
    return not passed


async def _usable(
    database: Database, about: Kind, missing: str, *, overwrite: bool
) -> tuple[str, str, str]:
    """Whether the database can be restored into, and what it holds or what is `missing`."""
    holds = 0
    try:
        holds = 0 if missing else await database.holds()
    except DatabaseUnreachable as error:
        missing = f"cannot be reached: {error.why}"
    said = f"has {holds} {about.things}, which --overwrite replaces" if holds else "empty"
    return (
        "ok" if not missing and (overwrite or not holds) else "problem",
        f"{about.title} database",
        missing or said,
    )


def _needs(
    invocation: Invocation, found: Shelved, kind: str, identity: str | None
) -> Iterator[tuple[str, str, str]]:
    """What a restore needs beside the database: whether it is there, its name, and what was found."""
    yield (
        "ok",
        "archive",
        f"{bytes_text(found.size or 0)}, {'with' if found.manifest else 'without'} a manifest",
    )
    if found.sealed:
        state, key = "problem", "missing: give it with --identity"
        if identity:
            try:
                identities(Path(identity))
                state, key = "ok", f"in {identity}"
            except Explained as error:
                key = str(error)
        yield state, "private key", key
    forms = {names: form for (of, form), names in PROGRAMS.items() if of == kind}
    paths = {names: program(kind, form, invocation.environment) for names, form in forms.items()}
    for names, path in paths.items():
        missing = "not on PATH" + f", needed for {forms[names]} only" * (len(forms) > 1)
        state = "ok" if path else "note" if any(paths.values()) else "problem"
        yield state, " or ".join(names), path or missing
