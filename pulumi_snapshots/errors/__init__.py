"""Texts, next steps and errors, as data that the engine and the command line each word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, distribution
from typing import ClassVar, Generic, TypeVar
from urllib.parse import unquote, urlsplit

from pulumi_snapshots.clock import time_text
from pulumi_snapshots.errors.pages import with_pointer

_NAME = re.compile(r"\{([a-z_]+)\}")
DISTRIBUTION_NAME = "pulumi-snapshots"
PUBLISHED = False  # whether an index may have the package, as the classifiers in pyproject.toml say


@dataclass(init=False)
class Message:
    """A template and its values.

    `str()` spells every name as Python does, and times of day in UTC.

    In the template, `{name}` stands for the value of that name, or else for a property or a
    setting, which the engine and the command line spell in their own ways: `rotate_after`,
    `rotateAfter`, `--rotate-after`. Values are texts, next steps, errors, tuples of these, times of
    day, or anything with a `str()`. Times of day are shown in the user's zone.

    Example:
        >>> str(Message("waiting until {time}: {rotate_after} is over", time="12:37"))
        'waiting until 12:37: rotate_after is over'
    """

    template: str
    values: dict[str, object]

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        self.values = values

    def __hash__(self) -> int:
        return hash(self.template)

    def __str__(self) -> str:
        return NEUTRAL.text(self)


class AnsweredMessage(Message):
    """A text about an answer of the service, with the answer's status and code in brackets.

    Args:
        meaning: What the answer means, without a full stop.
        answer: Its status and code, such as `404 DATABASE_NOT_FOUND`: people search for codes.
    """

    def __init__(self, meaning: AnyMessage, answer: str) -> None:
        super().__init__("{meaning} [{answer}]", meaning=meaning, answer=answer)


AnyMessage = str | Message  # for users; a `str` names no property and no setting


def sentence(text: str) -> str:
    """Return a text as a sentence, with a capital and a full stop.

    The first word keeps its spelling if it has anything but letters.

    Args:
        text: a clause.
    """
    if text.partition(" ")[0].isalpha():  # an id or a setting's name keeps its spelling
        text = text[:1].upper() + text[1:]
    return text if not text or text.endswith(".") else f"{text}."


def pip_install(extra: str) -> str:
    """Return the command that installs an extra, from this installation's clone or from an index.

    Args:
        extra: the name of the extra.
    """
    source = DISTRIBUTION_NAME if PUBLISHED else "/path/to/clone"
    with suppress(PackageNotFoundError, ValueError):
        url = urlsplit(
            json.loads(
                distribution(DISTRIBUTION_NAME).read_text("direct_url.json") or "{}"
            ).get("url", "")
        )
        if url.scheme == "file":
            source = unquote(url.path)
    return f"pip install '{source}[{extra}]'"


def not_installed(library: str, extra: str) -> str:
    """Return why an input needs an extra, in words that follow the input's name.

    Args:
        library: the missing library.
        extra: the extra that installs it.
    """
    return (
        f"needs {library}, which is not installed: `{pip_install(extra)}` installs it"
    )


class HintKind(Enum):
    """One next step, in words that fit everywhere.

    The command line and the engine show a command instead if they have one.

    The braces hold the facts of a `Hint` with this step, names of properties and settings, and
    `run`, the command that runs again.
    """

    # The key and the account
    SET_KEY = "Set a valid key in {api_key}."
    USE_SCOPES = (
        "Use a key with the scopes snapshots:read and snapshots:write; a restore also needs "
        "databases:read, and a list of databases account:read."
    )
    USE_KEY_OF_DATABASE = "Use a key that may use this database."
    USE_LARGER_PLAN = "A larger plan allows more."
    CHECK_PLAN = (
        "Check in the service's dashboard that the plan is paid and that the "
        "database is healthy."
    )
    LEAVE_MORE_TO_OTHERS = "Raise {requests_for_others} if others use the account too."
    CHECK_ADDRESS = "Check the network and {api_url}."
    CHECK_PATH = "Check the path of {api_url}: it usually ends with /v2."
    CHECK_SHARED_STATE = "Check {shared_state}, and the rights that it needs."
    ALLOW_LISTING = (
        "Allow reading below the prefix, and listing the bucket (s3:ListBucket, "
        "storage.objects.list): otherwise an object that does not exist looks like a refusal."
    )
    ALLOW_OVERWRITING = (
        "Use a prefix without retention, legal hold or immutability: its objects "
        "are overwritten."
    )
    USE_OTHER_STORE = (
        "Use a store whose conditional writes work, or a folder with locks."
    )
    UPGRADE = "Upgrade this package."
    USE_OTHER_STATE_DIRECTORY = (
        "Set SQUARECLOUD_STATE_DIR to the absolute path of a folder that can be "
        "written."
    )
    MOVE_LEDGER_ASIDE = (
        "Move {file} aside. The next run then does not know what is under way, "
        "or what no state has yet."
    )
    PUT_LEDGER_BACK = (
        "Put {file} back: without it, the next run does not know what is under "
        "way, or what no state has yet."
    )
    MAKE_FOLDER = "Mount it on this machine, or create it once: mkdir -p {file}."
    CLOSE_PROGRAM = "Close the tool that has {file} open, such as a database browser."
    OPEN_FOLDER = (
        "Let each user of this machine write it, with a group of all of them: chgrp -R GROUP "
        "{file} && chmod -R g+rwXs {file}."
    )
    CHANGE_NETWORK = "Run it from another network."
    ASK_SUPPORT = "The service's support can say more."
    GO_BACK = "To go back: restore {id}"

    # When to run it again
    RUN_AGAIN = "Run it again."
    RUN_AGAIN_LONGER = "Run it again, with a longer {timeout}."
    RUN_AGAIN_LATER = "Run it again later."
    RUN_AGAIN_AFTER = "Run it again after {time}."
    WAIT_FOR_SLOT = "A slot frees {when}; run it again then."
    RESUME_OTHER = "Resume it: {other}."

    # The database and its snapshots
    CHECK_DATABASE_ID = (
        "Check {database_id}, and that the API key belongs to the account that "
        "owns the database."
    )
    SHOW_DATABASES = "A list of the databases shows their ids."
    CHECK_VERSION_ID = "Check the version id; a snapshot is kept for at most 30 days."
    CHECK_HEALTH = "Check that the database is running and healthy."
    CHECK_DATA = "Check what the database holds."
    GIVE_DATABASE = "Give {database_id}: a database's own listing holds no others."
    LOOK_UP_DATABASE = "A database whose id is known can be looked up by itself."
    USE_SAME_ENGINE = "Restore it onto a database of the same engine."
    USE_OUTPUTS = "Use its outputs {database_id} and {version_id} once it is complete."
    BRING_BACK = "The snapshot can be added again by its id."
    OPEN_VERSION = "A listed snapshot can still be read by its id."
    TAKE_FIRST = "Take a snapshot of {database} first."

    # A snapshot that is pending or gone
    KEEP_WAITING = (
        "The request is kept in the state: the next {run} keeps waiting and sends no second "
        "request."
    )
    ASK_AGAIN = "It stays in the state as pending, and every {run} polls again."
    GIVE_UP = "A new snapshot can be taken instead, which uses quota."
    BY_TRIGGERS = "Other {triggers} do it all the same."
    TAKE_NEW = "A new snapshot can be taken instead; {rotate_after} does so by age."
    KEPT_HERE = (
        "The installed Pulumi SDK has no known way to keep this in the stack's state. The next "
        "{run} on this machine keeps waiting; a run on another machine starts over. To prevent "
        "that, remove the resource first."
    )
    NOT_KEPT = (
        "The installed Pulumi SDK has no known way to keep this in the stack's state. The next "
        "{run} starts over. To prevent that, remove the resource first."
    )
    GUARD_RESUMES = (
        "The next {run} waits for this snapshot until {timeout} after the request, or "
        "{reuse_within} if that is longer; after that it takes another one."
    )
    TURN_GUARDS_OFF = (
        "If it cannot wait: it happens without a snapshot if {guard} is off."
    )
    REFRESH = "A refresh pins the URL once the service lists the snapshot."
    REFRESH_WITH_PROGRAM = (
        "A refresh uses the configuration of the last run, not the present one."
    )

    # A state that was edited
    REFRESH_STATE = "A refresh looks up the missing fields by the snapshot's id."
    CORRECT_STATE = "Correct the field in the state, or put an earlier state back."
    DELETE_STATE = (
        "Or remove the resource from the state; that deletes nothing at the service."
    )

    # A restore whose end was not seen
    CHECK_RESTORED = (
        "Check the database: no run can find out whether the restore was carried out."
    )
    UNDO_RESTORE = "To undo: restore {id}"
    RESTORE_UNKEPT = (
        "Set {keep_current} to false to restore without a snapshot of what the "
        "database holds."
    )
    RESTORE_AGAIN = (
        "It can be restored again, over whatever the database holds by then."
    )
    WATCH_LONGER = (
        "With a {timeout} of {longer}, the same command watches it and sends no "
        "second request."
    )
    TAKE_RESTORE_OUT = (
        "Remove the Restore, unless the next {run} is to restore this snapshot."
    )
    RESTORES_NEXT = (
        "The next {run} restores again, over what the database holds by then: remove the "
        "Restore if it must not."
    )
    RESTORE_BY_TRIGGERS = (
        "Other {triggers} restore again, over what the database holds by then."
    )
    RESTORE_ANOTHER = (
        "Restore another snapshot of {database}, with other {triggers}, or remove "
        "the Restore."
    )
    ADD_ALIAS = "If the resource was renamed, give it the alias {name}."
    REPLACE_WITH_REFRESH = (
        "If its state has it and it is to be replaced, refresh in the same run."
    )

    # A drill
    CHECK_AGAIN = "The next {run} runs the checks again, without another restore."
    DRILL_AGAIN = "The snapshot can be drilled again, with a new restore."
    DRILLS_NEXT = "The next {run} drills it again."
    CHECK_CONNECTION = (
        "Check the connection: its address, user, password and TLS parameters."
    )
    CORRECT_CHECK = (
        "Correct the check's command. If it is right, the snapshot lacks the data."
    )

    # An archive
    DECLARE_ARCHIVE = "Declare it: it then archives its snapshot."
    ARCHIVE_AGAIN = "The next {run} archives again."
    PUT_ARCHIVE_BACK = "Put the archive back and refresh, or remove the Archive."
    GIVE_URL = "Give {download_url}."
    RENEW_URL = "A refresh of the Snapshot pins and renews its URL."
    CHECK_PLACE = (
        "Check the path or URI: a folder exists once an archive is written to it."
    )
    NAME_OBJECT = "Give {destination} a file name, or a final slash for a folder."
    KEEP_OBJECT = "Set {delete_object} to false to keep it."
    KEEP_FILE = "Move that file away, or give {destination} another name."
    NAME_IDENTITY = "Name the file that age-keygen has written."
    SET_REGION = "Set AWS_REGION to the bucket's region."
    SET_CLOCK = (
        "Correct this machine's clock: stores refuse requests that are more than "
        "a few minutes off."
    )

    # The command line
    GIVE_MORE_OF_ID = "Give more of the id."
    CHECK_ID = "Check the id."
    CHOOSE_ID = "Give one of these ids."
    GIVE_WHOLE_ID = "Give the whole id."
    GIVE_WHOLE_VERSION = "Give the whole version id, if you have it."
    USE_ARCHIVE = "An archive can be loaded without the service."
    INSTALL_PULUMI = "Install the Pulumi CLI (https://www.pulumi.com/docs/install/)."
    RUN_IN_PROJECT = (
        "Run it in the project's folder, with what a run needs there: backend, "
        "login, passphrase."
    )
    NAME_BACKEND = "Set PULUMI_BACKEND_URL, or name the bucket in {shared_state}."
    INSTALL_EXTRA = "Run {pip} to install what it needs."
    INSTALL_PACKAGE = "Run pip install {package} to install what it needs."


class Hint(Message):
    """A next step after an error or a warning, with the facts that it names in braces.

    A user can take the step, or the next run does.
    """

    def __init__(self, step: HintKind, **facts: object) -> None:
        super().__init__(step.value, **facts)
        self.step = step


class ProviderError(Exception):
    """An error that a user reads.

    `str()` says what happened and what was done, in Python's names and without next steps.

    Args:
        happened: sentences, the last one without its full stop.
        done: what the provider did and did not do, in sentences; empty for nothing to say.
        then: the next steps, the best one first.
    """

    exchange = ""  # the request that shows what happened, and its answer
    # Whether nothing was done, and the same call succeeds later, such as when the quota has a slot;
    # None if the cause of the error decides.
    is_later: bool | None = None

    def __init__(
        self,
        happened: AnyMessage,
        done: AnyMessage = "",
        then: Iterable[HintKind | Hint] = (),
    ) -> None:
        super().__init__(happened)
        self.happened = happened
        self.done = done
        self.then = tuple(
            each if isinstance(each, Hint) else Hint(each) for each in then
        )

    @property
    def evidence(self) -> str:
        """The exchange in brackets, of this error or of its first cause that has one.

        The exchange stands last, whatever wraps the error.
        """
        cause = (
            self.__cause__.evidence if isinstance(self.__cause__, ProviderError) else ""
        )
        return f"[{self.exchange}]" if self.exchange else cause

    def __str__(self) -> str:
        evidence = self.evidence
        wording = replace(NEUTRAL, shows_answers=not evidence)
        return f"{wording.text(self)} {evidence}".rstrip()


@dataclass(frozen=True)
class MessageFormatter:
    """The words of one edge: the engine, the command line, or a program that catches an error."""

    # spells the name of a property or a setting as its users write it
    spell: Callable[[str], str]
    # the templates of next steps whose words differ from those in `HintKind`
    steps: Mapping[HintKind, str]
    time: Callable[[datetime], str] = time_text  # words a time of day
    shows_answers: bool = True  # not if the whole exchange with the service follows

    def about(self, **facts: str | None) -> MessageFormatter:
        """Return the same words, with facts that next steps can name like properties.

        Args:
            **facts: texts by their names; None adds no fact.
        """
        return replace(self, spell=lambda name: facts.get(name) or self.spell(name))

    def text(self, words: object) -> str:
        """Return a text, a next step, an error, or a tuple of these, as it is shown.

        Args:
            words: what to show.
        """
        if isinstance(words, Message):
            template = words.template
            values = words.values
            if isinstance(words, Hint):
                template = self.steps.get(words.step, template)
            if isinstance(words, AnsweredMessage) and not self.shows_answers:
                template = "{meaning}"
            written, *rest = _NAME.split(template)
            for name, text in zip(rest[::2], rest[1::2], strict=True):
                written += (
                    self.text(values[name]) if name in values else self.spell(name)
                ) + text
            return written
        if isinstance(words, datetime):
            return self.time(words)
        if isinstance(words, tuple):
            return " ".join(map(self.text, words))
        if isinstance(words, ProviderError):
            happened = sentence(self.text(words.happened))
            return f"{happened} {self.text(words.done)}".strip()
        return str(words)

    def error_text(self, error: Exception, then: Iterable[Hint] | None = None) -> str:
        """Return what happened, what was done, and the next steps, a line for each.

        Args:
            error: the error.
            then: the next steps; None for the error's own.
        """
        if not isinstance(error, ProviderError):
            return sentence(str(error))
        steps = [
            f"hint: {self.text(step)}"
            for step in (error.then if then is None else then)
        ]
        evidence = error.evidence
        wording = replace(self, shows_answers=not evidence)
        done = f"{wording.text(error.done)} {evidence}".strip()
        return "\n".join(
            filter(None, [sentence(wording.text(error.happened)), done, *steps])
        )

    def report(self, error: Exception, then: Iterable[Hint] | None = None) -> str:
        """Return the same as `error_text`, and the command that explains the error.

        Args:
            error: the error.
            then: the next steps; None for the error's own.
        """
        return with_pointer(self.error_text(error, then), error)


NEUTRAL = MessageFormatter(str, {})  # for logs and for programs that catch an error
R = TypeVar("R")


class NotFinished(ProviderError, Generic[R]):
    """A request was or may have been sent, and its end is not known.

    Args:
        record: The resource, which must be kept, under its provisional id.
        happened: What happened, in sentences; empty if the cause says everything.
        undecided: Whether a longer wait would end the same way.
        cause: The error that ended the wait, whose text follows `happened`, and whose next steps
            come first; None if no error did.

    Attributes:
        without_cause: What happened, without the text of the cause.
    """

    steps_if_pending: ClassVar[tuple[Hint, ...]]  # if the next run may see the end
    steps_if_undecided: ClassVar[tuple[Hint, ...]]

    def __init__(
        self,
        record: R,
        happened: AnyMessage = "",
        *,
        undecided: bool = False,
        cause: ProviderError | None = None,
    ) -> None:
        self.record = record
        self.without_cause = happened
        self.undecided = undecided
        self.cause = self.__cause__ = cause
        self._steps_of_cause = cause.then if cause else ()
        if cause:
            happened = Message(
                "{happened} {cause}" if happened else "{cause}",
                happened=happened,
                cause=cause,
            )
        steps = self.steps_if_undecided if undecided else self.steps_if_pending
        super().__init__(happened, then=(*self._steps_of_cause, *steps))

    def steps_if_not_saved(
        self, *, remembered: bool, everywhere: bool = False
    ) -> tuple[Hint, ...]:
        """Return the next steps if the state cannot keep the record.

        Args:
            remembered: whether the ledger has the request, so that the next run finds it.
            everywhere: whether the next run on any machine finds it.
        """
        steps: tuple[Hint, ...] = (Hint(HintKind.NOT_KEPT),)
        if remembered:
            kept_here = (Hint(HintKind.KEPT_HERE),)
            steps = self.steps_if_pending if everywhere else kept_here
        return (*self._steps_of_cause, *steps)


class NothingSent(ProviderError):
    """A call timed out or was interrupted before a request was sent; there is nothing to keep."""


def is_later(error: BaseException | None) -> bool:
    """Tell whether an error says that nothing was done, and that the same succeeds later.

    Args:
        error: The error.
    """
    if not isinstance(error, ProviderError) or isinstance(error, NotFinished):
        return False
    return is_later(error.__cause__) if error.is_later is None else error.is_later


class LedgerUnavailable(ProviderError):
    """The ledger cannot be read or written.

    Args:
        where: The ledger's place.
        why: The reason, a clause.
        then: The next steps; empty for those that fit every ledger.
        is_shared: Whether the ledger is the one that `shared_state` names.
    """

    def __init__(
        self,
        where: str,
        why: str,
        then: Iterable[HintKind | Hint] = (),
        *,
        is_shared: bool = False,
    ) -> None:
        name = "{shared_state}" if is_shared else "The ledger of this machine"
        usual_step = (
            HintKind.CHECK_SHARED_STATE
            if is_shared
            else HintKind.USE_OTHER_STATE_DIRECTORY
        )
        self.trouble = f"{where}: {why}"
        super().__init__(
            Message(name + " cannot be used: {trouble}", trouble=self.trouble),
            then=tuple(then) or (usual_step, HintKind.RUN_AGAIN),
        )


class NoSuchSnapshot(ProviderError):
    """No snapshot has the id that was asked for."""


class CannotTell(ProviderError):
    """The service's answer does not show what a lookup asks for."""


def not_listed(
    database_id: str, version_id: str, listed_by: datetime | None = None
) -> tuple[str, list[Hint]]:
    """Return the text of an error about a snapshot that is not listed yet, and its next steps.

    Args:
        database_id: The snapshot's database.
        version_id: The snapshot's version.
        listed_by: The time until which a listing can lack the snapshot, UTC; None if it is not
            known.
    """
    happened = f"The service lists no snapshot {version_id} of database {database_id}"
    if listed_by is None:
        limits = "The service keeps a snapshot for at most 30 days, and lists it within 30 minutes"
        return f"{happened}. {limits}", [Hint(HintKind.CHECK_ID)]
    old = "its page can be 30 minutes old, and this snapshot may be younger"
    return f"{happened} yet: {old}", [
        Hint(HintKind.RUN_AGAIN_AFTER, time=f"{listed_by:%H:%M:%S} UTC")
    ]
