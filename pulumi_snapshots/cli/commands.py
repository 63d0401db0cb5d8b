"""The commands and their arguments: what is typed becomes a job, or a usage error before any request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from pulumi_snapshots.archive.inputs import ArchiveInputs
from pulumi_snapshots.cli.jobs import Checkup, Listing, Printing, Restoring, Taking, Transfer
from pulumi_snapshots.cli.place import Place
from pulumi_snapshots.cli.plugins import Installing, Uninstalling
from pulumi_snapshots.cli.running import run_job, streams
from pulumi_snapshots.cli.wording import COMMANDS
from pulumi_snapshots.lookup.inputs import ORIGINS, SnapshotQuery
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.snapshot.inputs import SnapshotInputs
from pulumi_snapshots.snapshot.read import LATEST
from pulumi_snapshots.snapshot.record import is_provisional, split_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_snapshots.cli.jobs import Job
    from pulumi_snapshots.properties.unfit import Problem

__all__ = ["commands", "job_of", "run"]

NAME = "squarecloud-snapshots"
DURATION = "DURATION"


class SnapshotId(click.ParamType[tuple[str, str]]):
    """`DATABASE/VERSION`, as `list` shows it."""

    name = "DATABASE/VERSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Take it apart."""
        try:
            database_id, version_id = split_id(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if is_provisional(value):
            self.fail("it is pending: `create DATABASE --wait` keeps waiting for it.", param, ctx)
        return database_id, version_id


def json_option(function: Any) -> Any:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def urls_option(function: Any) -> Any:
    """`--urls`."""
    text = "With --json: print download URLs too. Whoever has one can download the data."
    return click.option("--urls", is_flag=True, help=text)(function)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pulumi-snapshots", message="%(prog)s %(version)s")
def commands() -> None:
    """Snapshots of Square Cloud databases, for people and cron.

    The API key comes from SQUARECLOUD_API_KEY. Results go to standard output; progress, warnings and errors to
    standard error.

    Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 after ^C, 143 after SIGTERM, 129 after SIGHUP.
    """


@commands.command("list")
@click.argument("database", required=False)
@click.option("--origin", type=click.Choice(ORIGINS), help="Only those that were taken so.")
@click.option("--newer-than", metavar=DURATION, help="Only those taken within so long before now, as 90s, 12h or 7d.")
@click.option("--older-than", metavar=DURATION, help="Only those taken longer ago than that.")
@json_option
@urls_option
def list_snapshots(  # noqa: PLR0913  what can be typed
    database: str | None,
    origin: str | None,
    newer_than: str | None,
    older_than: str | None,
    *,
    as_json: bool,
    urls: bool,
) -> Job:
    """List the snapshots of DATABASE, or of the whole account, newest first."""
    values = {"database_id": database, "origin": origin, "newer_than": newer_than, "older_than": older_than}
    _refuse(SnapshotQuery.problems(values))
    _needs_json(as_json=as_json, urls=urls)
    return Listing(SnapshotQuery.of(values), as_json, urls)


@commands.command()
@click.argument("database")
@click.option("--wait", is_flag=True, default=True, help="Wait until the listing shows exactly it; so it always does.")
@click.option("--reuse-within", metavar=DURATION, help="Take none if there is a manual one younger than this.")
@click.option("--timeout", metavar=DURATION, help="How long to wait; 45m unless given.")
@click.option("--new", is_flag=True, help="Give up on what an earlier run has started and not found.")
@json_option
@urls_option
def create(  # noqa: PLR0913  what can be typed
    database: str, reuse_within: str | None, timeout: str | None, *, wait: bool, new: bool, as_json: bool, urls: bool
) -> Job:
    """Take a snapshot of DATABASE and wait for it.

    One request at most: what an interrupted run on this machine has started, the next one waits for.
    """
    del wait
    values = {"database_id": database, "reuse_within": reuse_within, "timeout": timeout}
    _refuse(SnapshotInputs.problems(values))
    _needs_json(as_json=as_json, urls=urls)
    return Taking(SnapshotInputs.of(values), new, as_json, urls)


@commands.command()
@click.argument("snapshot", type=SnapshotId(), metavar="DATABASE/VERSION")
@click.option(
    "--output", required=True, metavar="FILE", help="Where to; a final / is a folder. Replaced only by a whole one."
)
@click.option("--timeout", metavar=DURATION, help="How long it may take; 1h unless given.")
@json_option
def download(snapshot: tuple[str, str], output: str, timeout: str | None, *, as_json: bool) -> Job:
    """Download a snapshot to a file, verified, whole or not at all; DATABASE/latest is the newest."""
    if output == "-":
        raise _usage("--output must be a file: what is not whole yet is handed to nobody.")
    inputs = _archive_inputs(snapshot, output, timeout, "--output")
    if inputs.destination.scheme != "file":
        raise _usage("--output must be a file of this machine: `archive` streams to a bucket.")
    return Transfer(inputs, "downloaded", as_json)


@commands.command()
@click.argument("snapshot", type=SnapshotId(), metavar="DATABASE/VERSION")
@click.argument("destination")
@click.option("--timeout", metavar=DURATION, help="How long it may take; 1h unless given.")
@json_option
def archive(snapshot: tuple[str, str], destination: str, timeout: str | None, *, as_json: bool) -> Job:
    """Stream a snapshot to DESTINATION, verified, whole or not at all; DATABASE/latest is the newest.

    DESTINATION is a path or a URI of file://, s3://, gs:// or az://; with a final / it is a folder, which gets
    DATABASE/CREATED-VERSION.zip.
    """
    return Transfer(_archive_inputs(snapshot, destination, timeout, "DESTINATION"), "archived", as_json)


@commands.command()
@click.argument("snapshot", type=SnapshotId(), metavar="DATABASE/VERSION")
@click.option("--yes", is_flag=True, help="Required: everything that the database holds is overwritten.")
@click.option("--onto", "target", metavar="DATABASE", help="Another database, of the same engine, to overwrite.")
@click.option("--timeout", metavar=DURATION, help="How long it may take; 15m unless given.")
@click.option("--new", is_flag=True, help="Restore again, whatever became of an earlier run's restore of it.")
@json_option
def restore(  # noqa: PLR0913  what can be typed
    snapshot: tuple[str, str], target: str | None, timeout: str | None, *, yes: bool, new: bool, as_json: bool
) -> Job:
    """Put a snapshot back, over everything that its database holds.

    One request at most: a restore that an interrupted run on this machine has requested, the next one watches.
    """
    if not yes:
        where = target or snapshot[0]
        raise _usage(f"restore overwrites everything that database {where} holds: say --yes to do it.")
    database_id, version_id = snapshot
    if version_id == LATEST:
        raise _usage("restore needs a version id, since the newest may be another one by then: `list` shows them.")
    values = {
        "database_id": database_id,
        "version_id": version_id,
        "target_database_id": target,
        "overwrite": yes,
        # What an earlier run has left is of this very restore only if it was of the same snapshot.
        "triggers": [f"{database_id}/{version_id}"],
        "timeout": timeout,
    }
    _refuse(RestoreInputs.problems(values))
    return Restoring(RestoreInputs.of(values), new, as_json)


@commands.group()
def plugin() -> None:
    """Let every Pulumi project of this user find the plugin, whatever its language."""


@plugin.command()
def install() -> Job:
    """Install the plugin for every Pulumi project of this user: it runs in the Python environment of this command."""
    return Installing()


@plugin.command()
def uninstall() -> Job:
    """Uninstall the plugin, whichever version `install` has installed."""
    return Uninstalling()


@commands.command()
@json_option
def doctor(*, as_json: bool) -> Job:
    """Check key, scopes, plan, quota, clock, listing, attempts left behind and what is installed.

    Sends three requests at most, and never one that starts something. Exit code 1 where something stands in the way.
    """
    return Checkup(as_json)


@commands.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Job:
    """Print the completion script for SHELL.

    For bash: eval "$(squarecloud-snapshots completion bash)" in ~/.bashrc.
    """
    found = get_completion_class(shell)
    if found is None:
        raise AssertionError  # click knows these three
    variable = f"_{NAME.replace('-', '_').upper()}_COMPLETE"  # where click looks for it
    return Printing(found(commands, {}, NAME, variable).source() + "\n")


def _archive_inputs(snapshot: tuple[str, str], place: str, timeout: str | None, typed: str) -> ArchiveInputs:
    values = {"database_id": snapshot[0], "version_id": snapshot[1], "destination": place, "timeout": timeout}
    _refuse(ArchiveInputs.problems(values), destination=typed)
    return ArchiveInputs.of(values)


def _refuse(problems: Sequence[Problem], **typed: str) -> None:
    """End with a usage error where there is one."""
    wording = COMMANDS.about(**typed)
    for problem in problems:
        raise _usage(f"{wording.spell(problem.property)} {wording.text(problem.told())}.")


def _usage(text: str) -> click.UsageError:
    return click.UsageError(text, click.get_current_context())


def _needs_json(*, as_json: bool, urls: bool) -> None:
    if urls and not as_json:
        raise _usage("--urls needs --json.")


def job_of(arguments: Sequence[str]) -> Job | int:
    """What is typed, as a job; as the exit code where there is nothing more to do.

    Raises:
        click.ClickException: the arguments are wrong.
    """
    parsed: Job | int | None = commands.main(list(arguments), NAME, standalone_mode=False)
    return 0 if parsed is None else parsed


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit code."""
    with streams():
        place = Place(os.environ)
        try:
            job = job_of(arguments)
        except click.exceptions.NoArgsIsHelpError as error:
            place.say(error.format_message())
            return error.exit_code
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            more = f" `{context.command_path} --help` has all arguments." if context else ""
            place.fail(error.format_message() + more)
            return error.exit_code
        except OSError as error:
            place.fail(f"standard output cannot be written: {error.strerror or error}.")
            return 1
        return job if isinstance(job, int) else run_job(job, place)
