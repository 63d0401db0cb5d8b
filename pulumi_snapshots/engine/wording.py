"""The words for users of a Pulumi engine.

Names are spelled as in their programs, and next steps are commands of Pulumi.
"""

import sys
import traceback
from collections.abc import Callable
from functools import partial

from pulumi_snapshots.errors import HintKind, MessageFormatter
from pulumi_snapshots.errors.debug import shows_traceback
from pulumi_snapshots.errors.pages import keep_last
from pulumi_snapshots.errors.secrets import hide_secrets
from pulumi_snapshots.properties.catalogue import in_camel
from pulumi_snapshots.run.settings import Settings, config_key, variable

SECRETS_IN_CONFIG = {"apiKey": "the API key", "notify": "the URL of notify"}
PLAIN = {
    name: f"{secret} is configured in plain text; set it again with `pulumi config set --secret`"
    for name, secret in SECRETS_IN_CONFIG.items()
}
"""The warning of each secret that is configured in plain text, by the secret's name in config."""
STEPS = {
    HintKind.SET_KEY: (
        "Set a valid key with `pulumi config set --secret {api_key}` or in SQUARECLOUD_API_KEY."
    ),
    HintKind.SHOW_DATABASES: "`squarecloud-snapshots databases` shows the ids of all databases.",
    HintKind.RESTORE_ANOTHER: (
        "Restore another snapshot, which `squarecloud-snapshots list {database}` shows, "
        "with other {triggers}, or remove "
        "the Restore."
    ),
    HintKind.ADD_ALIAS: (
        "If the resource was renamed, add to its options: `aliases=[pulumi.Alias(name='{name}')]`."
    ),
    HintKind.REPLACE_WITH_REFRESH: (
        "If its state has it, `pulumi up --refresh --replace '{resource}'` restores again, "
        "over whatever the database holds "
        "by then."
    ),
    HintKind.BRING_BACK: "`Snapshot.get` adds the snapshot again.",
    HintKind.OPEN_VERSION: "`Snapshot.get` reads a listed snapshot by its id.",
    HintKind.LOOK_UP_DATABASE: "`{get_database}` looks up a database by its id.",
    HintKind.GIVE_UP: (
        "`pulumi up --refresh --replace '{resource}'` abandons the pending snapshot and takes a "
        "new one, which uses quota."
    ),
    HintKind.TAKE_NEW: (
        "`pulumi up --refresh --replace '{resource}'` takes a new snapshot; "
        "`{rotate_after}` does so by age."
    ),
    HintKind.GO_BACK: "To go back: squarecloud-snapshots restore {id}",
    HintKind.UNDO_RESTORE: "To undo: squarecloud-snapshots restore {id} --no-keep",
    HintKind.RESUME_OTHER: "`{other}` resumes it.",
    HintKind.REFRESH: "`pulumi refresh` pins the URL once the service lists the snapshot.",
    HintKind.REFRESH_WITH_PROGRAM: (
        "A refresh uses the configuration of the last `pulumi up`: if it was changed since, run "
        "`pulumi refresh "
        "--run-program`."
    ),
    HintKind.CHECK_RESTORED: (
        "It stays in the state, with an unknown outcome: check the database, "
        "then take the Restore out of the program if the data was restored."
    ),
    HintKind.RESTORE_AGAIN: (
        "`pulumi up --refresh --replace '{resource}'` restores again, over whatever the database "
        "holds by then."
    ),
    HintKind.DRILL_AGAIN: (
        "`pulumi up --refresh --replace '{resource}'` drills again, with a new restore."
    ),
    HintKind.REFRESH_STATE: "`pulumi refresh` looks up the missing fields by the snapshot's id.",
    HintKind.CORRECT_STATE: (
        "Correct the field: `pulumi stack export --file state.json`, edit it there, "
        "`pulumi stack import --file state.json`."
    ),
    HintKind.DELETE_STATE: (
        "Or forget the resource, and import it again if you can: "
        "`pulumi state delete '{resource}'`. That deletes nothing at the service."
    ),
    HintKind.RENEW_URL: (
        "Run `pulumi refresh` on the stack of the Snapshot, which pins and renews its URL."
    ),
}
"""For programs in Python, with the names of every program left open."""
IN_ARCHIVE = {
    HintKind.INSTALL_PACKAGE: (
        "The plugin's archive cannot use {package}: install the plugin from a Python environment "
        "that has it, with "
        "`squarecloud-snapshots plugin install`."
    )
}
"""In a plugin that comes as an archive with a Python of its own, into which nothing can be
installed.
"""


def _spelled(
    setting: Callable[[str], str], other: Callable[[str], str], name: str
) -> str:
    """A name, of a setting or another, in the texts of one kind of users."""
    if name in Settings.properties():
        return setting(name)
    return other({"resource": "URN", "run": "`pulumi up`"}.get(name, name))


# for programs in Python, without a plugin
PYTHON = MessageFormatter(partial(_spelled, config_key, str), STEPS)
OF_PLUGIN = STEPS | {
    HintKind.BRING_BACK: "`pulumi import` adds the snapshot again.",
    HintKind.ADD_ALIAS: (
        "If the resource was renamed, give it the alias `{name}` in its options (`aliases`)."
    ),
    HintKind.OPEN_VERSION: "`pulumi import` reads a listed snapshot by its id.",
    **(IN_ARCHIVE if getattr(sys, "frozen", False) else {}),
}
PLUGIN = MessageFormatter(partial(_spelled, config_key, in_camel), OF_PLUGIN)
"""For programs in all languages, by the plugin."""
DO = MessageFormatter(
    partial(_spelled, variable, in_camel),
    OF_PLUGIN
    | {
        HintKind.SET_KEY: "Set a valid key in {api_key}, never as an argument.",
        HintKind.OPEN_VERSION: (
            "`pulumi do squarecloud:Snapshot read` reads a listed snapshot by its id."
        ),
        HintKind.KEEP_WAITING: "{command} keeps waiting and sends no second request.",
        HintKind.KEPT_HERE: "{command} on this machine keeps waiting and sends no second request.",
        HintKind.GIVE_UP: (
            "Without {reuse_within}, the same command takes another snapshot, which uses quota."
        ),
        HintKind.TAKE_NEW: "`pulumi do squarecloud:Snapshot create` takes a new snapshot.",
        HintKind.REFRESH: (
            "`pulumi do squarecloud:Snapshot read` shows a pinned URL once the "
            "service lists the snapshot."
        ),
        HintKind.RESTORE_AGAIN: (
            "Other {triggers} restore it again, over whatever the database holds by then."
        ),
        HintKind.RESTORE_BY_TRIGGERS: (
            "The same command restores again, over whatever the database holds by then."
        ),
        HintKind.RESTORES_NEXT: (
            "The same command restores again, over whatever the database holds by then."
        ),
        HintKind.RESTORE_ANOTHER: (
            "Restore another snapshot: `squarecloud-snapshots list {database}` shows them."
        ),
        HintKind.TAKE_RESTORE_OUT: "The same command restores this snapshot.",
        HintKind.DECLARE_ARCHIVE: "`pulumi do squarecloud:Archive create` archives a snapshot.",
    },
).about(command="The same command")
"""For users of `pulumi do --stateless`, whose commands have no state; without one nothing else can
resume.
"""


DO_SNAPSHOT = DO.about(command="The same command with `reuseWithin` set to `1h`")
"""The same about a Snapshot, of which a command without `reuseWithin` always takes a new one."""


# The text of an error, as it can be sent to an engine


def debugged(text: str, cause: BaseException | None) -> str:
    """Return an error's text, with its traceback if `SQUARECLOUD_TRACEBACK=1`.

    Args:
        text: the error's text.
        cause: the error; None without a traceback.
    """
    if cause is None or not shows_traceback():
        return text
    return text + "\n" + "".join(traceback.format_exception(cause))


def readable(text: str) -> str:
    """Return a text without half surrogate pairs.

    A text with half a pair cannot be sent, and an error that cannot be sent ends no call.

    Args:
        text: the text.
    """
    return text.encode("utf-8", "replace").decode()


def final(text: str, cause: BaseException | None = None) -> str:
    """Return the text of an error that ends a call, and keep it for `explain --last`.

    Args:
        text: the error's text.
        cause: the error; None without a traceback.
    """
    text = hide_secrets(debugged(text, cause))
    keep_last(text)
    return readable(text)


def nothing_sent(reason: str) -> str:
    """Return the last reason why inputs are refused, with a sentence that nothing was sent.

    Args:
        reason: the reason.
    """
    return f"{reason.removesuffix('.')}. Nothing was sent."
