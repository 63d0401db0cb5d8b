"""What the command line's users read.

Names as they are typed or set in the environment, next steps as commands.
"""

from pulumi_snapshots.errors import Step, Wording
from pulumi_snapshots.run.settings import Settings, config_key, variable

TYPED = {
    "database_id": "DATABASE",
    "destination": "DESTINATION",
    "version_id": "DATABASE/VERSION",
    "target_database_id": "--onto",
    "scratch_database_id": "--scratch",
    "recipients": "--recipient",
    "password": "--password-env",
    "connection": "--connection-env",
    "checks": "--check",
    "query": "query",
    "get_latest_snapshot": "`list`",
    "equals": "==",
    "at_least": ">=",
    "at_most": "<=",
    "matches": "=~",
    "run": "run",
}
"""How an input is called where it is typed without an option, or with one of another name."""
STEPS = {
    Step.SET_KEY: "Set a valid key in {api_key}, never as an argument.",
    Step.OPEN_VERSION: (
        "`squarecloud-snapshots download DATABASE/VERSION` takes one that is listed."
    ),
    Step.KEEP_WAITING: (
        "`{command}` on {machines} keeps waiting for it and sends no second request."
    ),
    Step.ASK_AGAIN: "`{command}` polls again.",
    Step.RESUME_OTHER: "`{other}` resumes it.",
    Step.GIVE_UP: "Without `--reuse-within`, it takes another one instead, which uses quota.",
    Step.TAKE_NEW: "`{command}` takes a new one.",
    Step.CHECK_RESTORED: "Check the database; `{command}` checks again.",
    Step.RESTORE_AGAIN: "`--new` restores again, over whatever the database holds by then.",
    Step.RESTORE_BY_TRIGGERS: "`{command}` restores again, over whatever the database holds by then.",
    Step.RESTORES_NEXT: "`{command}` restores again, over whatever the database holds by then.",
    Step.TAKE_FIRST: "`squarecloud-snapshots create {database}` takes one.",
    Step.SHOW_DATABASES: "`squarecloud-snapshots databases` shows the id of each.",
    Step.RESTORE_ANOTHER: (
        "Restore another snapshot: `squarecloud-snapshots list {database}` shows them."
    ),
    Step.CHECK_AGAIN: "`{command}` drills it again, from its restore on.",
    Step.DRILL_AGAIN: "Add `--new` to restore again instead of resuming.",
    Step.DRILLS_NEXT: "`{command}` drills it again.",
    Step.REFRESH: (
        "`squarecloud-snapshots list --json --urls` has its own URL once the service lists it."
    ),
    Step.RENEW_URL: "Download it again: its URL is looked up then.",
    Step.GIVE_MORE_OF_ID: (
        "Give more of the id: `squarecloud-snapshots databases` and `squarecloud-snapshots list` "
        "show whole ids."
    ),
    Step.CHECK_ID: (
        "Check the id: `squarecloud-snapshots databases` and `squarecloud-snapshots list` show "
        "whole ids."
    ),
    Step.GIVE_WHOLE_ID: "Give the whole id, or use a key with the scope account:read.",
    Step.GIVE_URL: "Download it again with a key.",
    Step.KEEP_FILE: "Move that file away, name another one, or add --force to overwrite it.",
}
"""`{command}` is the command that is run, with its arguments; `{machines}` are those whose runs
read the same ledger.
"""


def _typed(name: str) -> str:
    return (
        variable(name)
        if name in Settings.properties()
        else TYPED.get(name, f"--{name.replace('_', '-')}")
    )


COMMANDS = Wording(_typed, STEPS)


def in_stack(stack: str) -> Wording:
    """The words about what a stack's configuration sets, and not the environment."""
    key = f"Set a valid key with `pulumi config set --secret {{api_key}} --stack {stack}`."
    settings = Settings.properties()
    return Wording(
        lambda name: config_key(name) if name in settings else _typed(name),
        {**STEPS, Step.SET_KEY: key},
    )
