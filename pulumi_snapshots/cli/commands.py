"""The commands: each function checks what is typed, does it, and shows the result."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import anyio
import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from pulumi_snapshots.archive.archive import archive as archive_snapshot
from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.archive.record import ArchiveRecord
from pulumi_snapshots.archive.shelf import Shelved, shelved
from pulumi_snapshots.archive.source import bytes_text
from pulumi_snapshots.cli.databases import databases, page_note
from pulumi_snapshots.cli.doctor import examine
from pulumi_snapshots.cli.drill import drill_
from pulumi_snapshots.cli.forget import OWNER, forget
from pulumi_snapshots.cli.guards import guards
from pulumi_snapshots.cli.install import plugin
from pulumi_snapshots.cli.probe import verify
from pulumi_snapshots.cli.status import status
from pulumi_snapshots.cli.terminal.arguments import (
    checked,
    database_argument,
    json_option,
    place,
    snapshot_argument,
    timeout_option,
    urls_option,
)
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import BY_SIGNAL, DONE, FAILED, INTERRUPTED, Invocation, streams
from pulumi_snapshots.cli.terminal.output import MARKS, facts, fields_of, json_text, moment, report, table
from pulumi_snapshots.cli.toolchain import look_at_installation
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.errors.outcomes import Unresolved
from pulumi_snapshots.errors.pages import page_names, page_text
from pulumi_snapshots.lookup.account import snapshots_of_account
from pulumi_snapshots.lookup.find import find_snapshots
from pulumi_snapshots.lookup.inputs import ORIGINS, SnapshotQuery
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.lookup.results import SnapshotInfo
from pulumi_snapshots.properties.catalogue import Inputs
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.restore.restore import restore as restore_snapshot
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.snapshot.create import create as create_snapshot
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import LATEST, get
from pulumi_snapshots.snapshot.record import SnapshotRecord
from pulumi_snapshots.storage.destination import place_text
from pulumi_snapshots.storage.encryption import identities, opened

Ready = TypeVar("Ready", bound=Inputs)
R = TypeVar("R", SnapshotRecord, RestoreRecord)
NAME = "squarecloud-snapshots"
COMPLETE = "_SQUARECLOUD_SNAPSHOTS_COMPLETE"
"""The variable by which a shell asks for completions."""
COMPLETIONS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


# The commands ------------------------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pulumi-snapshots", message="%(prog)s %(version)s")
def commands() -> None:
    """Snapshots of Square Cloud databases, for people and cron.

    The API key comes from SQUARECLOUD_API_KEY. Results go to standard output; progress, warnings and errors to
    standard error.

    Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 after ^C, 143 after SIGTERM, 129 after SIGHUP.
    """


commands.add_command(databases)
commands.add_command(drill_)
commands.add_command(forget)
commands.add_command(guards)
commands.add_command(plugin)
commands.add_command(status)
commands.add_command(verify)


@commands.command("list", short_help="List the snapshots, newest first.")
@click.argument("database_id", metavar="[DATABASE]", required=False, shell_complete=database_ids)
@click.option("--origin", type=click.Choice(ORIGINS), help="Only snapshots of this origin.")
@click.option("--newer-than", metavar="DURATION", help="Only snapshots younger than this, as 90s, 12h or 7d.")
@click.option("--older-than", metavar="DURATION", help="Only snapshots older than this.")
@json_option
@urls_option
@click.pass_context
async def list_snapshots(context: click.Context, /, *, as_json: bool, urls: bool, **typed: Any) -> int:
    """List the snapshots of DATABASE, or of the whole account, newest first."""
    query = replace(checked(context, SnapshotQuery, typed), with_url=urls)
    invocation: Invocation = context.obj
    async with invocation.session() as session:
        with display(invocation, logged=False) as shown:
            shown.progress(ASKING)
            page = None
            if query.database_id is not None:
                query = replace(query, database_id=await whole_database(session, query.database_id))
            else:  # a program gets no earlier page, since a list has no room for its age
                page = await snapshots_of_account(
                    session, origin=query.origin, may_be_kept=not as_json, tell=shown.progress
                )
            found = await find_snapshots(session, query, session.clock.monotonic(), page.of_each if page else None)
    if page is not None and page.kept:
        invocation.say(page_note(page))
    if as_json:
        invocation.show(json_text([_fields(one, urls=urls) for one in found]))
    elif found:
        rows = [
            (
                one.id,
                moment(one.created_at, invocation.zone),
                _size(one.size) if one.available else "expired",
                one.origin,
                one.runtime,
            )
            for one in found
        ]
        invocation.show(table(("SNAPSHOT", "CREATED", "SIZE", "ORIGIN", "ENGINE"), rows, invocation.out))
    else:
        invocation.say("no snapshots")
    return DONE


@commands.command()
@database_argument
@click.option("--reuse-within", metavar="DURATION", help="Take none if a manual snapshot is younger than this.")
@timeout_option(SnapshotInputs)
@click.option(
    "--new", is_flag=True, help="Take another one, even if an earlier run's is unfinished; waits for that one first."
)
@json_option
@urls_option
@click.pass_context
async def create(context: click.Context, /, *, new: bool, as_json: bool, urls: bool, **typed: Any) -> int:
    """Take a snapshot of DATABASE and wait for it.

    Sends one request at most: the next run on this machine resumes an interrupted one.
    """
    inputs = checked(context, SnapshotInputs, typed)
    invocation: Invocation = context.obj

    async def prepared(session: Session) -> SnapshotInputs:
        return replace(inputs, database_id=await whole_database(session, inputs.database_id))

    record, code, _ = await _recorded(context, create_snapshot, prepared, lambda ready: ready.database_id, new=new)
    if as_json:
        invocation.show(json_text(_fields(record, urls=urls)))
    elif code == DONE:
        zone = invocation.zone
        times = {"created": moment(record.created_at, zone), "expires": moment(record.expires_at, zone)}
        invocation.show(facts({"snapshot": record.id, **times, "size": _size(record.size), "engine": record.runtime}))
        invocation.say(f"hint: `{NAME} download {record.id} --output {record.database_id}.zip` downloads it.")
    return code


@commands.command(short_help="Download a snapshot to a file, verified.")
@snapshot_argument
@click.option("--output", "destination", required=True, metavar="FILE", help="The file, or a folder if it ends in /.")
@timeout_option(ArchiveInputs)
@json_option
@click.pass_context
async def download(context: click.Context, /, *, as_json: bool, **typed: Any) -> int:
    """Download a snapshot to a file, verified, whole or not at all; DATABASE/latest is the newest."""
    if typed["destination"] == "-":
        context.fail("--output must be a file, since a download appears only when it is whole.")
    inputs = checked(context, ArchiveInputs, typed, destination="--output")
    if inputs.destination.scheme != "file":
        context.fail("--output must be a file of this machine: `archive` streams to a bucket.")
    return await _transfer(context.obj, inputs, "downloaded", as_json=as_json)


@commands.command(short_help="Copy a snapshot to a path or a bucket, verified.")
@snapshot_argument
@click.argument("destination")
@click.option(
    "--recipient",
    "recipients",
    metavar="KEY",
    multiple=True,
    help="Encrypt it with age for this public key (age1…); may be repeated.",
)
@timeout_option(ArchiveInputs)
@json_option
@click.pass_context
async def archive(context: click.Context, /, *, as_json: bool, recipients: Sequence[str], **typed: Any) -> int:
    """Stream a snapshot to DESTINATION, verified, whole or not at all; DATABASE/latest is the newest.

    DESTINATION is a path or a URI of file://, s3://, gs:// or az://. With a final / it is a folder, which gets
    DATABASE/CREATED-VERSION.zip, or .zip.age if it is encrypted.
    """
    typed["recipients"] = recipients or None
    inputs = checked(context, ArchiveInputs, typed, recipients="--recipient")
    return await _transfer(context.obj, inputs, "archived", as_json=as_json, manifest=True)


@commands.command(short_help="List and verify the archives at DESTINATION.")
@click.argument("destination")
@click.option("--deep", is_flag=True, help="Read every byte and compare its SHA-256; otherwise the size is compared.")
@click.option(
    "--expect",
    metavar="DATABASE",
    multiple=True,
    shell_complete=database_ids,
    help="Fail unless DATABASE has a good archive there; may be repeated.",
)
@json_option
@click.pass_context
async def archives(
    context: click.Context, /, *, destination: str, deep: bool, expect: Sequence[str], as_json: bool
) -> int:
    """List and verify the archives at DESTINATION by their manifests; needs no API key and no private key.

    The exit code is 1 if anything is wrong with one.
    """
    at, invocation = place(context, "DESTINATION", destination), context.obj
    with display(invocation, logged=deep) as shown:
        shown.progress(f"{'reading' if deep else 'listing'} {place_text(at.uri)}")
        found = await shelved(invocation.transfers, at, deep=deep)
    if as_json:
        invocation.show(json_text([{**asdict(each), "manifest": each.manifest} for each in found]))
    elif found:
        heads = ("", "ARCHIVE", "CREATED", "SIZE", "ENCRYPTED", "DRILL PASSED", "")
        invocation.show(table(heads, [_shelved_row(each, invocation.zone) for each in found], invocation.out))
    else:
        invocation.say("no archives")
    good = {each.manifest.database_id for each in found if each.manifest and not each.problem}
    missing = [each for each in expect if each not in good]
    for each in missing:
        invocation.fail(f"{place_text(at.uri)} has no good archive of database {each}.")
    if not any(each.problem for each in found):
        return FAILED if missing else DONE
    invocation.fail(
        "not every archive is as its manifest says.\n"
        "hint: `squarecloud-snapshots archive DATABASE/VERSION DESTINATION` writes one again, as long as the service has "
        "its snapshot."
    )
    return FAILED


@commands.command("decrypt", short_help="Decrypt ARCHIVE to a zip.")
@click.argument("archive", metavar="ARCHIVE")
@click.option("--identity", required=True, metavar="FILE", help="The private key's file, as age-keygen writes it.")
@click.option("--output", required=True, metavar="FILE", help="Where the zip is written.")
@json_option
@click.pass_context
async def decrypt_(context: click.Context, /, *, archive: str, identity: str, output: str, as_json: bool) -> int:
    """Decrypt ARCHIVE, a path or a URI, to a zip: whole or not at all."""
    source, target = place(context, "ARCHIVE", archive), place(context, "--output", output)
    if source.folder or target.folder or target.scheme != "file":
        context.fail("ARCHIVE must be one object, and --output a file of this machine.")
    invocation: Invocation = context.obj
    keys = identities(Path(identity))
    transfers = invocation.transfers
    with invocation.stopping(transfers), display(invocation) as shown:
        shown.progress(f"decrypting {place_text(source.uri)}")
        seen, digest = await transfers.blocking(
            lambda: opened(
                transfers.store(source),
                transfers.store(target),
                keys,
                name=place_text(source.uri),
                stopping=lambda: transfers.stopping,
            )
        )
    if as_json:
        invocation.show(json_text({"uri": target.uri, "size": seen.size, "sha256": digest}))
    else:
        invocation.show(facts({"decrypted": place_text(target.uri), "size": _size(seen.size), "sha256": digest}))
    return DONE


@commands.command(short_help="Put a snapshot back over its database.")
@snapshot_argument
@click.option("--yes", "overwrite", is_flag=True, help="Do not ask for confirmation, as in a script.")
@click.option(
    "--onto",
    "target_database_id",
    metavar="DATABASE",
    shell_complete=database_ids,
    help="Overwrite another database of the same engine.",
)
@timeout_option(RestoreInputs)
@click.option("--new", is_flag=True, help="Restore again, even if an earlier run's restore of it is unfinished.")
@json_option
@click.pass_context
async def restore(context: click.Context, /, *, new: bool, as_json: bool, **typed: Any) -> int:
    """Put a snapshot back, over everything that its database holds.

    Sends one request at most: the next run on this machine resumes an interrupted one.
    """
    invocation: Invocation = context.obj
    if typed["version_id"] == LATEST:
        context.fail("restore needs a version id, since the newest may be another one by then: `list` shows them.")
    confirmed = typed["overwrite"]
    inputs = checked(context, RestoreInputs, {**typed, "overwrite": True})
    if not (confirmed or (invocation.stdin.isatty() and invocation.err.isatty())):
        context.fail(
            f"restore overwrites everything that database {inputs.target} holds: add --yes to do it, or confirm it on a terminal."
        )

    async def prepared(session: Session) -> RestoreInputs:
        ready = await _whole_restore(session, inputs)
        if not confirmed:
            await _confirm_restore(context, session, ready)
        return ready

    record, code, age = await _recorded(context, restore_snapshot, prepared, _restore_again, new=new)
    if as_json:
        invocation.show(json_text(fields_of(record, RestoreRecord)))
    if code == DONE and age > inputs.timeout:
        # Whatever was written since is still there: who asks for a restore must not take this for one.
        earlier = (
            f"nothing was restored now: an earlier run requested the restore of {record.snapshot} onto database "
            f"{record.target_database_id} at {record.requested_at}, {spoken(age)} ago, and it was carried out then."
        )
        invocation.fail(f"{earlier}\nhint: {invocation.wording.text(Next(Step.RESTORE_AGAIN))}")
        return FAILED
    if as_json:
        return code
    if code == DONE:
        running = moment(record.restored_at, invocation.zone)
        invocation.show(facts({"restored": record.snapshot, "onto": record.target_database_id, "running": running}))
    return code


@commands.command(short_help="Find what would stop the next snapshot.")
@click.option("--forget-block", is_flag=True, help="First forget that the service has blocked the account.")
@json_option
@click.pass_obj
async def doctor(invocation: Invocation, *, forget_block: bool, as_json: bool) -> int:
    """Check key, scopes, plan, quota, clock, listing, attempts left behind and what is installed.

    Sends four requests at most, and none that starts something. The exit code is 1 if anything is a PROBLEM.
    """
    with display(invocation, logged=False) as shown:
        shown.progress("checking the installation")
        installed = await invocation.in_thread(look_at_installation, invocation.environment)
        shown.progress(ASKING)
        findings = [*await examine(invocation, forget_block=forget_block), *installed]
    if as_json:
        invocation.show(json_text([asdict(one) for one in findings]))
    else:
        rows = [(MARKS[one.state], one.check, one.found, one.advice) for one in findings]
        invocation.show(report(rows, invocation.out))
    return FAILED if any(one.state == "problem" for one in findings) else DONE


@commands.command()
@click.argument(
    "name",
    metavar="ERROR",
    required=False,
    shell_complete=lambda _context, _parameter, begin: [each for each in page_names() if each.startswith(begin)],
)
@click.pass_context
def explain(context: click.Context, name: str | None) -> None:
    """Explain ERROR; without it, list the errors.

    Shows what happened, what was done, and what to do. `KeyRefused` and `key-refused` are the same.
    """
    if name is None:
        click.echo("\n".join(page_names()))
        return
    page = page_text(name)
    if page is None:
        close = get_close_matches(name.lower(), page_names(), 1)
        meant = f": did you mean {close[0]}?" if close else "."
        context.fail(f"no error has the name {name}{meant} `{NAME} explain` lists them.")
    click.echo(page)


@commands.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(COMPLETIONS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    For bash: eval "$(squarecloud-snapshots completion bash)" in ~/.bashrc.
    """
    click.echo(COMPLETIONS[shell](commands, {}, NAME, COMPLETE).source())


# What they share ---------------------------------------------------------------------------------------------------------


async def _recorded(
    context: click.Context,
    operation: Callable[..., Awaitable[R]],
    prepared: Callable[[Session], Awaitable[Ready]],
    again: Callable[[Ready], str],
    *,
    new: bool,
) -> tuple[R, int, float]:
    """The record of an operation, the exit code, and the age of its request in seconds when the command began.

    `prepared` gives the inputs with whole ids. With what `again` gives as its arguments the command resumes the operation.
    """
    invocation, owner = context.obj, context.command_path
    try:
        async with invocation.session() as session:
            begun = session.clock.monotonic()
            inputs = await prepared(session)
            invocation.wording = invocation.wording.about(command=f"{owner} {again(inputs)}")
            with invocation.stopping(session), display(invocation) as shown:
                record = await operation(session, inputs, shown, owner, fresh=new)
            age = 0.0
            if record.requested_at is not None:
                since = session.service_clock.now() - parse_rfc3339(record.requested_at)
                age = since.total_seconds() - (session.clock.monotonic() - begun)
            return record, DONE, age
    except Unresolved as pending:
        invocation.fail(invocation.wording.report(pending))
        return pending.record, FAILED, 0.0


async def _whole_restore(session: Session, inputs: RestoreInputs) -> RestoreInputs:
    """The inputs with whole ids."""
    onto = inputs.target_database_id
    onto = None if onto is None else await whole_database(session, onto)
    database_id = await whole_database(session, inputs.database_id, has_snapshots=True)
    version_id = await whole_version(session, database_id, inputs.version_id)
    return replace(
        inputs,
        database_id=database_id,
        version_id=version_id,
        target_database_id=onto,
        # The snapshot is the trigger, so a later run recognises an earlier run's restore of the same one.
        triggers=[f"{database_id}/{version_id}"],
    )


def _restore_again(inputs: RestoreInputs) -> str:
    onto = "" if inputs.target == inputs.database_id else f" --onto {inputs.target}"
    return f"{inputs.snapshot}{onto} --yes"


async def _confirm_restore(context: click.Context, session: Session, inputs: RestoreInputs) -> None:
    """Say what is overwritten with what, and let the database's name or id be typed.

    Raises:
        click.UsageError: it is not confirmed.
    """
    invocation: Invocation = context.obj
    with display(invocation, logged=False) as shown:
        shown.progress(ASKING)
        database = await session.databases.database(inputs.target, session.clock.monotonic(), patience=BRIEF)
        snapshot = await get(session, inputs.snapshot)
    taken = f" of {moment(snapshot.created_at, invocation.zone)}" if snapshot.created_at else ""
    target = f"{database.name} ({inputs.target})" if database.name else inputs.target
    invocation.say(
        f"This overwrites everything that database {target} holds with the snapshot{taken}:\n{inputs.snapshot}"
    )
    typed = await invocation.ask("Type the name or the id of the database to do it:")
    if not typed or typed not in {database.name, inputs.target}:
        context.fail("that is neither the name nor the id of the database. Nothing was restored.")


async def _transfer(
    invocation: Invocation, inputs: ArchiveInputs, done: str, *, as_json: bool, manifest: bool = False
) -> int:
    transfers = invocation.transfers
    invocation.wording = invocation.wording.about(archived=done)
    async with invocation.session() as session:
        with invocation.stopping(session, transfers), display(invocation, transfers=True) as shown:
            database_id = await whole_database(session, inputs.database_id or "", has_snapshots=True)
            version_id = await whole_version(session, database_id, inputs.version_id or "")
            inputs = replace(inputs, database_id=database_id, version_id=version_id)
            if inputs.version_id == LATEST:
                newest = await get(session, f"{inputs.database_id}/{LATEST}")
                inputs = replace(inputs, version_id=newest.version_id or "", download_url=newest.download_url)
                shown.progress(f"the newest snapshot is {newest.id}, of {moment(newest.created_at, invocation.zone)}")
            record = await archive_snapshot(
                session, transfers, inputs, shown, owner=OWNER, meter=shown.meter, manifest=manifest
            )
    if as_json:
        invocation.show(json_text(fields_of(record, ArchiveRecord)))
    else:
        invocation.show(facts({done: place_text(record.uri), "size": _size(record.size), "sha256": record.sha256}))
    return DONE


def _shelved_row(each: Shelved, zone: tzinfo | None) -> tuple[str | None, ...]:
    about = each.manifest
    sealed = f"for {len(about.recipients)}" if about and about.recipients else None
    created, size = (moment(about.created_at, zone), _size(about.size)) if about else (None, None)
    drilled = moment(about.drill.drilled_at, zone) if about and about.drill else None
    return (
        MARKS["problem" if each.problem else "ok"],
        place_text(each.uri),
        created,
        size,
        sealed,
        drilled,
        each.problem,
    )


def _fields(one: SnapshotInfo | SnapshotRecord, *, urls: bool) -> dict[str, Any]:
    return {"id": one.id, **fields_of(one, SnapshotRecord, urls=urls)}


def _size(count: int | None) -> str | None:
    return None if count is None else bytes_text(count)


# From the command line to the exit code ----------------------------------------------------------------------------------


def parse(arguments: Sequence[str], invocation: Invocation) -> Coroutine[Any, Any, int] | None:
    """The command that is typed; None if nothing is left to do, as after `--help`.

    Raises:
        click.ClickException: the arguments are wrong.
    """
    command = commands.main(list(arguments), NAME, standalone_mode=False, obj=invocation)
    return command if inspect.iscoroutine(command) else None


def _complete(arguments: Sequence[str], invocation: Invocation) -> NoReturn:
    """Print what the shell has asked for, and end at once: a request that hangs in the system must not hold up the shell."""
    code: object = FAILED
    try:
        parse(arguments, invocation)
    except SystemExit as ended:
        code = ended.code
    _leave(DONE if code == DONE else FAILED)


def _leave(code: int) -> NoReturn:
    """End at once, whatever threads still wait for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    with streams():
        invocation = Invocation(os.environ)
        if os.environ.get(COMPLETE):
            _complete(arguments, invocation)
        try:
            command = parse(arguments, invocation)
        except click.Abort:
            invocation.fail("interrupted before anything was sent.")
            return INTERRUPTED
        except click.exceptions.NoArgsIsHelpError as error:
            invocation.say(error.format_message())
            return error.exit_code
        except click.ClickException as error:
            return invocation.refuse(error)
        except OSError as error:
            invocation.fail(f"standard output cannot be written: {error.strerror or error}.")
            return FAILED
        code = anyio.run(invocation.finish, command) if command else DONE
        if code > BY_SIGNAL:
            _leave(code)
        return code
