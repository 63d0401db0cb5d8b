"""The words for users of the command line.

Names are spelled as they are typed or set in the environment, and next steps are commands.
"""

from pulumi_snapshots.errors import HintKind, MessageFormatter
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
    "source_connection": "--source-env",
    "checks": "--check",
    "query": "query",
    "tables_": "tables",
    "except_": "except",
    "get_latest_snapshot": "`list`",
    "equals": "==",
    "at_least": ">=",
    "at_most": "<=",
    "matches": "=~",
    "run": "run",
}
"""How an input is called where it is typed without an option, or with one of another name."""
COMMAND_STEPS = {
    HintKind.SET_KEY: "Set a valid key in {api_key}, never as an argument.",
    HintKind.OPEN_VERSION: (
        "`squarecloud-snapshots download DATABASE/VERSION` downloads a listed snapshot."
    ),
    HintKind.KEEP_WAITING: (
        "`{command}` on {machines} keeps waiting for it and sends no second request."
    ),
    HintKind.ASK_AGAIN: "`{command}` polls again.",
    HintKind.GO_BACK: "To go back: squarecloud-snapshots restore {id}",
    HintKind.UNDO_RESTORE: "To undo: squarecloud-snapshots restore {id} --no-keep",
    HintKind.RESTORE_UNKEPT: "`--no-keep` restores without a snapshot of what the database holds.",
    HintKind.RESUME_OTHER: "`{other}` resumes it.",
    HintKind.GIVE_UP: (
        "Without `--reuse-within`, the command takes another snapshot, which "
        "uses quota."
    ),
    HintKind.TAKE_NEW: "`{command}` takes a new snapshot.",
    HintKind.CHECK_RESTORED: "Check what the database holds, and that it runs.",
    HintKind.RESTORE_AGAIN: "`--new` restores again, over whatever the database holds by then.",
    HintKind.RESTORE_BY_TRIGGERS: (
        "`{command}` restores again, over whatever the database holds by then."
    ),
    HintKind.RESTORES_NEXT: "`{command}` restores again, over whatever the database holds by then.",
    HintKind.TAKE_FIRST: "`squarecloud-snapshots create {database}` takes a snapshot.",
    HintKind.SHOW_DATABASES: "`squarecloud-snapshots databases` shows the ids of all databases.",
    HintKind.RESTORE_ANOTHER: (
        "Restore another snapshot: `squarecloud-snapshots list {database}` shows them."
    ),
    HintKind.CHECK_AGAIN: "`{command}` drills the snapshot again, with a new restore.",
    HintKind.DRILL_AGAIN: "Add `--new` to restore again instead of resuming.",
    HintKind.DRILLS_NEXT: "`{command}` drills the snapshot again.",
    HintKind.REFRESH: (
        "`squarecloud-snapshots list --json --urls` shows the snapshot's own URL "
        "once the service lists it."
    ),
    HintKind.RENEW_URL: "Download the snapshot again: that looks up its URL.",
    HintKind.GIVE_MORE_OF_ID: (
        "Give more of the id: `squarecloud-snapshots databases` and `squarecloud-snapshots list` "
        "show whole ids."
    ),
    HintKind.CHECK_ID: (
        "Check the id: `squarecloud-snapshots databases` and `squarecloud-snapshots list` show "
        "whole ids."
    ),
    HintKind.GIVE_WHOLE_ID: "Give the whole id, or use a key with the scope account:read.",
    HintKind.GIVE_WHOLE_VERSION: (
        "If you have the whole version id, give that: each listing is then searched for it."
    ),
    HintKind.USE_ARCHIVE: (
        "If the data cannot wait and you have an archive: `squarecloud-snapshots archives "
        "DESTINATION` lists it. You can load an archive without the service."
    ),
    HintKind.NAME_IDENTITY: (
        "Name the file that `age-keygen` has written: `--identity FILE`."
    ),
    HintKind.GIVE_URL: "Download it again with a key.",
    HintKind.KEEP_FILE: "Move that file away, name another one, or add --force to overwrite it.",
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


COMMAND_MESSAGES = MessageFormatter(_typed, COMMAND_STEPS)


def in_stack(stack: str) -> MessageFormatter:
    """Return the words for settings of a stack's configuration in place of the environment.

    Args:
        stack: the stack.
    """
    key = f"Set a valid key with `pulumi config set --secret {{api_key}} --stack {stack}`."
    settings = Settings.properties()
    return MessageFormatter(
        lambda name: config_key(name) if name in settings else _typed(name),
        {**COMMAND_STEPS, HintKind.SET_KEY: key},
    )
