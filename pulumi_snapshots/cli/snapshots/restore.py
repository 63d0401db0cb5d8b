"""The command `restore`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from pulumi_snapshots.cli.terminal.arguments import (
    DATABASE,
    again_option,
    checked,
    command,
    snapshot_argument,
    timeout_option,
)
from pulumi_snapshots.cli.terminal.invocation import ASKING, DONE, FAILED, Invocation
from pulumi_snapshots.cli.terminal.output import facts, fields_of, moment
from pulumi_snapshots.cli.terminal.recorded import recorded
from pulumi_snapshots.errors import Next, Step
from pulumi_snapshots.properties.durations import spoken
from pulumi_snapshots.restore.inputs import RestoreInputs
from pulumi_snapshots.restore.record import RestoreRecord
from pulumi_snapshots.restore.restore import restore as restore_snapshot
from pulumi_snapshots.run.session import Session
from pulumi_snapshots.service.client import BRIEF
from pulumi_snapshots.snapshot.read import LATEST, get


@command(
    snapshot_argument,
    click.option("-y", "--yes", "overwrite", is_flag=True, help="Do not ask for confirmation, as in a script."),
    click.option("--onto", "target_database_id", type=DATABASE, help="Overwrite another database of the same engine."),
    timeout_option(RestoreInputs),
    again_option,
    short_help="Put a snapshot back over its database.",
)
async def restore(invocation: Invocation, /, *, new: bool, **typed: Any) -> int:
    """Put a snapshot back, over everything that its database holds.

    DATABASE is an id, its beginning, or a name; of VERSION, the first 8 characters are enough.

    `status DATABASE` names the snapshot to go back to. Sends at most one request; the next run resumes an interrupted
    restore.
    """
    if typed["version_id"] == LATEST:
        invocation.wrong("restore needs a version id, since the newest may be another one by then: `list` shows them.")
    confirmed, onto = typed["overwrite"], typed["target_database_id"]
    inputs = checked(invocation, RestoreInputs, {**typed, "overwrite": True})
    if not (confirmed or (invocation.stdin.isatty() and invocation.err.isatty())):
        invocation.wrong(
            f"restore overwrites everything that database {onto or typed['database_id']} holds: add --yes to do it, or "
            "confirm it on a terminal."
        )

    async def prepared(session: Session) -> RestoreInputs:
        target = None if onto is None else await invocation.database(session, onto)
        ids = await invocation.snapshot(session, typed["database_id"], typed["version_id"])
        # The snapshot is the trigger, so a later run recognises an earlier run's restore of the same one.
        ready = replace(
            inputs, database_id=ids[0], version_id=ids[1], target_database_id=target, triggers=["/".join(ids)]
        )
        if not confirmed:
            await _confirm(invocation, session, ready)
        return ready

    def again(ready: RestoreInputs) -> str:
        onto = "" if ready.target == ready.database_id else f" --onto {ready.target}"
        return f"{ready.snapshot}{onto} --yes"

    record, code, age = await recorded(invocation, restore_snapshot, prepared, again, new=new)
    late = code == DONE and age > inputs.timeout
    if invocation.as_json or (code == DONE and not late):
        running = moment(record.restored_at, invocation.zone)
        text = facts({"restored": record.snapshot, "onto": record.target_database_id, "running": running})
        invocation.result(fields_of(record, RestoreRecord), text, record.snapshot)
    if not late:
        return code
    # Whatever was written since is still there: who asks for a restore must not take this for one.
    earlier = (
        f"nothing was restored now: an earlier run requested the restore of {record.snapshot} onto database "
        f"{record.target_database_id} at {record.requested_at}, {spoken(age)} ago, and it was carried out then."
    )
    invocation.fail(f"{earlier}\nhint: {invocation.wording.text(Next(Step.RESTORE_AGAIN))}")
    return FAILED


async def _confirm(invocation: Invocation, session: Session, inputs: RestoreInputs) -> None:
    """Say what is overwritten with what, and let the database's name or id be typed."""
    with invocation.working(logged=False):
        invocation.progress(ASKING)
        database = await session.databases.database(inputs.target, session.clock.monotonic(), patience=BRIEF)
        snapshot = await get(session, inputs.snapshot, unlisted=True)
    taken = f" of {moment(snapshot.created_at, invocation.zone)}" if snapshot.created_at else ""
    target = f"{database.name} ({inputs.target})" if database.name else inputs.target
    invocation.say(
        f"This overwrites everything that database {target} holds with the snapshot{taken}:\n{inputs.snapshot}"
    )
    typed = await invocation.ask("Type the name or the id of the database to do it:")
    if not typed or typed not in {database.name, inputs.target}:
        invocation.wrong("that is neither the name nor the id of the database. Nothing was restored.", helps=False)
