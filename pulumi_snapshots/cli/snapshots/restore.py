"""The command `restore`."""

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.snapshots.dry_run import show_dry_run
from pulumi_snapshots.cli.terminal import arguments
from pulumi_snapshots.cli.terminal.invocation import Invocation
from pulumi_snapshots.cli.terminal.output import fields_of, named
from pulumi_snapshots.properties.checks import LATEST
from pulumi_snapshots.restore.record import RestoreInputs, RestoreRecord
from pulumi_snapshots.restore.restore import restore as restore_snapshot
from pulumi_snapshots.restore.undo import undo
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.snapshot.read import get


@arguments.command(
    arguments.snapshot_argument,
    arguments.flag_option(
        "--yes", "Do not ask for confirmation, as in a script.", "-y", "overwrite"
    ),
    click.option(
        "--onto",
        "target_database_id",
        type=arguments.DATABASE,
        help="Overwrite another database instead.",
    ),
    click.option(
        "--keep/--no-keep",
        "keep_current",
        default=True,
        help="Take a snapshot of what the database holds first, to undo the restore; the default.",
    ),
    arguments.flag_option(
        "--dry-run",
        "Only say what would be restored onto what, and send nothing that changes anything.",
    ),
    arguments.timeout_option(RestoreInputs),
    arguments.again_option,
)
async def restore_command(
    invocation: Invocation, *, new: bool, dry_run: bool, **typed: Any
) -> None:
    """Restore a snapshot, over everything that its database holds.

    DATABASE is an id, its beginning, or a name; of VERSION, 8 characters are enough. `status
    DATABASE` names the snapshot to go back to. First takes a snapshot of what the database holds,
    and says in its last line how to undo the restore. Sends at most one request to restore; the
    same command watches a restore that is under way.
    """
    if typed["version_id"] == LATEST:
        invocation.wrong(
            "restore needs a version id, since `latest` can change: `list` shows the ids."
        )
    confirmed = typed["overwrite"]
    onto = typed["target_database_id"]
    inputs = arguments.checked(invocation, RestoreInputs, {**typed, "overwrite": True})
    can_ask = invocation.stdin.isatty() and invocation.err.isatty()
    if not (confirmed or dry_run or can_ask):
        loses = f"restore overwrites everything that database {onto or typed['database_id']} holds"
        invocation.wrong(f"{loses}: add --yes to do it, or confirm it on a terminal.")

    async def prepared(session: Session) -> RestoreInputs:
        target = None if onto is None else await invocation.database(session, onto)
        snapshot = await invocation.snapshot(
            session, typed["database_id"], typed["version_id"]
        )
        ready = replace(
            inputs,
            database_id=snapshot.database_id,
            version_id=snapshot.version_id or "",
            target_database_id=target,
            # By this trigger, a later run recognises an earlier run's restore of the snapshot.
            triggers=[snapshot.id],
        )
        if not (confirmed or dry_run):
            await _confirm(invocation, session, ready)
        return ready

    if dry_run:
        async with invocation.session() as session:
            await show_dry_run(invocation, session, await prepared(session))
        return
    typed_id = f"{typed['database_id']}/{typed['version_id']}"
    record = await invocation.recorded(typed_id, prepared, restore_snapshot, new=new)
    _show(invocation, record)


def _show(invocation: Invocation, record: RestoreRecord) -> None:
    """Show a restore, and how to undo it, if a snapshot is kept of what it has overwritten."""
    if invocation.as_json or not invocation.failures:
        facts = {
            "restored": record.snapshot,
            "onto": record.target_database_id,
            "running": invocation.moment(record.restored_at),
        }
        fields = fields_of(record.snapshot, record, RestoreRecord)
        invocation.result(fields, facts, record.snapshot)
    if record.previous is not None:
        invocation.note(undo(record.previous))


async def _confirm(
    invocation: Invocation, session: Session, inputs: RestoreInputs
) -> None:
    """Say what is overwritten with what, and let the database's name or id be typed."""
    with invocation.working_on_question(session):
        database = await session.listings.database(
            inputs.target, session.clock.monotonic(), patience=BRIEF
        )
        snapshot = await get(session, inputs.snapshot, unlisted=True)
    taken = (
        f" of {invocation.moment(snapshot.created_at)}" if snapshot.created_at else ""
    )
    invocation.say(
        f"This overwrites everything that database {named(database, inputs.target)} holds with the "
        f"snapshot{taken}:\n{inputs.snapshot}"
    )
    typed = await invocation.ask("Type the name or the id of the database to do it:")
    if not typed or typed not in {database.name, inputs.target}:
        invocation.wrong(
            "that is neither the name nor the id of the database. Nothing was restored.",
            helps=False,
        )
