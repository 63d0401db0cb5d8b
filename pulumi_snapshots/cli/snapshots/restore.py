"""The command `restore`: put a snapshot back, once it is confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import checked, json_option, snapshot_argument, timeout_option
from pulumi_snapshots.cli.terminal.completing import database_ids
from pulumi_snapshots.cli.terminal.display import ASKING, display
from pulumi_snapshots.cli.terminal.invocation import DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import facts, fields_of, json_text, moment
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.errors.next_step import Next, Step
from pulumi_snapshots.lookup.prefix import whole_database, whole_version
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.restore.restore import restore as restore_snapshot
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.snapshot.read import LATEST, get


@click.command(short_help="Put a snapshot back over its database.")
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

    Sends one request at most: the next run resumes an interrupted one.
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

    record, code, age = await recorded(context, restore_snapshot, prepared, _restore_again, new=new)
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
