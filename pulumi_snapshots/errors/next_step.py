"""What a user can do after an error or a warning, or what the next run does: a closed set, which each edge words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pulumi_snapshots.errors.text import Text

NOT_KEPT = "The installed Pulumi SDK has no known way to keep it in the stack's state"


class Step(Enum):
    """One step, in words that fit everywhere; an edge that has a command for it shows that instead.

    In braces are the facts of a `Next` with this step, names of properties and settings, and `run`, the command that runs again.
    """

    # The key and the account
    SET_KEY = "Set a valid key in {api_key}."
    USE_SCOPES = (
        "Use a key with the scopes snapshots:read and snapshots:write; a restore needs databases:read too, and a list of "
        "databases account:read."
    )
    USE_KEY_WITH_SCOPE = "Use a key that has it."
    USE_KEY_OF_DATABASE = "Use a key that may use this database."
    USE_LARGER_PLAN = "A larger plan allows more."
    LEAVE_MORE_TO_OTHERS = "Raise {requests_for_others} if others use the account too."
    RAISE_BUDGET = "Raise {requests_per_minute} if the plan allows more."
    CHECK_ADDRESS = "Check the network and {api_url}."
    CHECK_SHARED_STATE = "Check {shared_state}, its credentials and their rights."
    CHECK_SHARED_FOLDER = "Check the folder that {shared_state} names."
    ALLOW_LISTING = (
        "Allow reading below the prefix, and listing the bucket (s3:ListBucket, storage.objects.list): without it an object that "
        "does not exist yet looks like a refusal."
    )
    ALLOW_OVERWRITING = (
        "Use a prefix that no retention, legal hold or immutability rule covers: its objects are overwritten."
    )
    USE_OTHER_STORE = "Use a store whose conditional writes work, or a folder with locks."
    UPGRADE = "Upgrade this package."
    USE_OTHER_STATE_DIRECTORY = "Set SQUARECLOUD_STATE_DIR to the absolute path of a folder that can be written."
    MOVE_LEDGER_ASIDE = (
        "Move {file} aside: that forgets runs that are under way, and what was done but not saved in a state."
    )
    PUT_LEDGER_BACK = (
        "Put {file} back: the next run begins with an empty one, which forgets what is under way, and what was done but not saved "
        "in a state."
    )
    MAKE_FOLDER = "Mount it on this machine, or make it once, by mkdir -p {file}."
    OPEN_FOLDER = "Let each user of this machine write it, by a group that all are in: chgrp -R GROUP {file} && chmod -R g+rwXs {file}."
    CHANGE_NETWORK = "Run it from another network."
    SET_ADDRESS = "Set {api_url} to the API's own address."
    ASK_SUPPORT = "The service's support can say more."

    GO_BACK = "To go back: restore {id}"

    # When to run it again
    RUN_AGAIN = "Run it again."
    RUN_AGAIN_LATER = "Run it again later."
    RUN_AGAIN_AFTER = "Run it again after {time}."
    WAIT_FOR_SLOT = "A slot frees {when}; run it again then."

    RESUME_OTHER = "Resume it: {other}."

    # The database and its snapshots
    CHECK_DATABASE_ID = "Check {database_id}, and that the API key belongs to the account that owns the database."
    SHOW_DATABASES = "A list of the databases shows them."
    CHECK_VERSION_ID = "Check the version id; a snapshot is kept for 30 days."
    CHECK_HEALTH = "Check that the database is running and healthy."
    CHECK_DATA = "Check what the database holds."
    START_DATABASE = "Start the database."
    GIVE_DATABASE = "Give {database_id}: a database's own listing holds no others."
    LOOK_UP_DATABASE = "A database whose id is known can be looked up by itself."
    USE_SAME_ENGINE = "Restore it onto a database of the same engine."
    USE_LISTED_NAME = "Use the name that the service's own listing gives for this version."
    USE_OUTPUTS = "Use its outputs {database_id} and {version_id} once it is complete."
    BRING_BACK = "It can be brought back by its id."
    OPEN_VERSION = "A snapshot that is listed can still be opened, by its id."

    # A snapshot that is pending or gone
    KEEP_WAITING = "It is kept in the state: the next {run} keeps waiting and sends no second request."
    ASK_AGAIN = "It stays in the state as pending, and every {run} polls again."
    GIVE_UP = "Another one can be taken instead, which may use another of today's snapshots."
    SHOW_OTHER_SNAPSHOT = "If that is another one, run a preview of it: it shows that its state has the snapshot."
    TAKE_BY_TRIGGERS = "Other {triggers} take one all the same."
    TAKE_NEW = "A new one can be taken instead; {rotate_after} does that by age."
    SNAPSHOT_NOT_KEPT = (
        f"{NOT_KEPT}: the next {{run}} takes another one, unless {{reuse_within}} lets it adopt this one."
    )
    SNAPSHOT_KEPT_HERE = (
        f"{NOT_KEPT}: the next {{run}} on this machine still waits for it; one on another machine takes another one, unless "
        "{reuse_within} lets it adopt this one."
    )
    GUARD_RESUMES = (
        "The next {run} waits for this snapshot until {timeout} after the request, or {reuse_within} if that is longer; later it "
        "takes another one."
    )
    GUARD_TAKES_ANOTHER = (
        "The first {run} takes another one that comes {timeout} after the request, or {reuse_within} if that is longer."
    )
    REFRESH = "A refresh pins it once the service lists it."
    REFRESH_WITH_PROGRAM = "A refresh uses the configuration of the last run, not the present one."

    # A restore whose end was not seen
    KEEP_WATCHING = "It is kept in the state: the next {run} keeps watching the database and sends no second request."
    CHECK_RESTORED = "Check the database: no run can find out whether the restore was carried out."
    RESTORE_AGAIN = "It can be restored again, over whatever the database holds by then."
    RESTORE_NOT_KEPT = f"{NOT_KEPT}. The next {{run}} restores again, over whatever the database holds by then: remove the Restore first."
    RESTORE_KEPT_HERE = (
        f"{NOT_KEPT}. The next {{run}} on this machine still watches the database; one on another machine restores again, over "
        "whatever the database holds by then: remove the Restore first."
    )
    SHOW_OTHER = "If that is another one, run a preview of it: it shows that its state has the restore."
    RESTORE_BY_TRIGGERS = "Other {triggers} restore it all the same."
    TAKE_RESTORE_OUT = "Remove the Restore, unless the next {run} is to restore this snapshot."
    RESTORES_NEXT = (
        "The next {run} restores again, over whatever the database holds by then: remove the Restore if it must not."
    )
    RESTORE_ANOTHER = (
        "Restore another snapshot of {database}, or remove the Restore: the next {run} restores this one again."
    )

    # A drill
    CHECK_AGAIN = "The next {run} runs the checks again, without another restore."
    DRILL_AGAIN = "It can be drilled again, from its restore on."
    DRILLS_NEXT = "The next {run} drills it again."
    DRILL_NOT_KEPT = f"{NOT_KEPT}: the next {{run}} drills again."
    DRILL_KEPT_HERE = f"{NOT_KEPT}: the next {{run}} on this machine still watches the scratch database; one on another machine drills again."

    # An archive
    DECLARE_ARCHIVE = "Declare it: it then archives its snapshot."
    ARCHIVE_AGAIN = "The next {run} archives again."
    PUT_ARCHIVE_BACK = "Put {uri} back, or remove the Archive."
    GIVE_URL = "Give {download_url}."
    RENEW_URL = "A refresh of the Snapshot pins and renews its URL."
    NAME_OBJECT = "Give {destination} a file name, or a final slash for a folder."
    KEEP_OBJECT = "Set {delete_object} to false to keep it."
    SET_REGION = "Set AWS_REGION to the bucket's region."
    SET_CLOCK = "Set this machine's clock right: stores refuse a request that is more than some minutes off."

    # A drill
    CHECK_CONNECTION = "Check the connection: its address, user, password and TLS parameters."
    CORRECT_CHECK = "Correct the check's command, or what the snapshot holds."

    # The command line
    GIVE_MORE_OF_ID = "Give more of the id."
    CHECK_ID = "Check the id."
    GIVE_WHOLE_ID = "Give the whole id."
    INSTALL_PULUMI = "Install the Pulumi CLI (https://www.pulumi.com/docs/install/)."
    RUN_IN_PROJECT = "Run it in the project's folder, with what a run needs there: backend, login, passphrase."
    NAME_BACKEND = "Set PULUMI_BACKEND_URL, or name the bucket in {shared_state}."
    INSTALL_EXTRA = "Install what it needs: {pip}."
    INSTALL_PACKAGE = "Install what it needs: pip install {package}."


@dataclass(frozen=True, init=False)
class Next:
    """A step with the facts that it names in braces."""

    step: Step
    facts: tuple[tuple[str, object], ...]

    def __init__(self, step: Step, **facts: object) -> None:
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "facts", tuple(facts.items()))

    def text(self, template: str | None = None) -> Text:
        """The step in the words of a template, or in those that fit everywhere."""
        return Text(template or self.step.value, **dict(self.facts))

    def __str__(self) -> str:
        return str(self.text())
