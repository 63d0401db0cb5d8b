"""The provider's settings, from Pulumi config or the environment, and Pulumi's backend."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from pulumi_snapshots.errors import AnyMessage, Hint, HintKind, Message, ProviderError
from pulumi_snapshots.hosts.monitor_message import problem_of_monitor
from pulumi_snapshots.ledger.place import BACKEND, OPTIONS, OWN, read_place
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import (
    Duration,
    Inputs,
    Property,
    declare,
    in_camel,
)
from pulumi_snapshots.properties.checks import Problem, Unfit
from pulumi_snapshots.state_directory import home_directory, state_directory

Config = Any  # Pulumi config, or a dict with its keys: what has `get`
PACKAGE = "squarecloud"  # the namespace in Pulumi config, and the name of the plugin's package
FEWEST_REQUESTS = 2  # a restore, and the check right before it
REQUESTS_PER_MINUTE = (
    30  # the smallest paid plan's budget by the vendor's own test suite
)
FOR_OTHERS = 10
"""One in so many requests of the budget is left to others unless configured.

Past the budget the whole account is blocked for half an hour, and somebody may use the dashboard at
any time.
"""
LISTING_CACHES = {"unknown": None, "ended-by-snapshot": True, "kept": False}
"""What may be known of the listings' cache, and whether a new snapshot ends it then."""
KEY_LIMIT = 1024  # characters of the longest key that the service gives out
DURATION_LIMIT = 86400.0
REQUESTS_LIMIT = 100_000  # a minute; beyond any plan, so a larger number is a mistake
PROJECT = ("Pulumi.yaml", "Pulumi.yml", "Pulumi.json")  # names of a project's file
IN_CI = ("CI", "TF_BUILD", "JENKINS_URL")
"""The variables of which a CI system sets one; its runner is gone after the job."""


class SettingsError(ProviderError, ValueError):
    """A setting that cannot be used; the text names the setting, and where its value came from."""


class MissingKey(SettingsError):
    """No API key is set, which only a request needs."""

    def __init__(self) -> None:
        super().__init__(
            "no API key is set", "Nothing was sent.", [Hint(HintKind.SET_KEY)]
        )


@dataclass(frozen=True)
class ApiKey:
    """The API key; hidden wherever it might be printed."""

    value: str = field(repr=False)


@cache
def config_key(name: str) -> str:
    """Return the name of a setting in Pulumi config.

    Args:
        name: The name in Python.
    """
    return f"{PACKAGE}:{in_camel(name)}"


@cache
def variable(name: str) -> str:
    """Return the name of a setting in the environment.

    Args:
        name: The name in Python.
    """
    return f"{PACKAGE}_{name}".upper()


def _key(value: object) -> ApiKey:
    # White space around a key comes from a file or a shell and is never part of one.
    text = str(value).strip()
    if (
        not text.isascii()
        or not text.isprintable()
        or " " in text
        or not 0 < len(text) <= KEY_LIMIT
    ):
        raise Unfit(
            "must be the bare API key: it holds white space or characters that no key has, or too "
            "many of them"
        )
    return ApiKey(text)


def _url(value: object) -> str:
    text = str(value).strip().rstrip("/")
    # Others begin a user, a query or a fragment, or are read in different ways by different
    # readers.
    if not re.fullmatch(
        r"\w+://(\[[\w:.]+\]|[\w.-]+)(:\d+)?(/[\w.:/[\]~-]*)?", text, re.ASCII
    ):
        raise Unfit(
            "must be an address such as https://host/path, without user, query or fragment"
        )
    problem = checks.problem_of_url(text)
    if problem:
        raise Unfit(problem)
    return text


def _monitor_url(value: object) -> str:
    url = str(value).strip()
    if problem := problem_of_monitor(url):
        raise Unfit(problem)
    return url


def _folder(value: object) -> str:
    folder = Path(checks.text(value).strip()).expanduser()
    if not folder.is_absolute():
        raise Unfit("must be an absolute path", value)
    return str(folder)


def _requests(*, least: int) -> Callable[[object], int]:
    read = checks.whole_number(
        f"of requests, from {least} to {REQUESTS_LIMIT}",
        least=least,
        most=REQUESTS_LIMIT,
    )

    def check(value: object) -> int:
        with suppress(ValueError):
            value = float(str(value))
        return read(value)

    return check


class Settings(Inputs):
    """The provider's settings, each from Pulumi config, which wins, or from the environment."""

    api_key: ApiKey | None = declare(
        "The bare API key. Better in the environment, which no state stores.",
        default=None,
        secret=True,
        read=_key,
    )
    api_url: str = declare(
        "The API's address; `https` only, except to a loopback address.",
        default="https://api.squarecloud.app/v2",
        read=_url,
    )
    snapshots_url: str = declare(
        "The snapshot host, for listings whose entries carry no URL of their own.",
        default="https://snapshots.squarecloud.app",
        read=_url,
    )
    requests_per_minute: int = declare(
        "The requests that the account's plan allows in a minute.",
        default=REQUESTS_PER_MINUTE,
        read=_requests(least=FEWEST_REQUESTS),
    )
    requests_for_others: int | None = declare(
        "How many of these requests are left to others: the dashboard's API, "
        "scripts, other machines with "
        "the same key. A tenth "
        "unless given.",
        default=None,
        read=_requests(least=0),
    )
    state_dir: str | None = declare(
        "The folder of this machine in which the provider writes its requests "
        "down: an absolute path. The user's state directory unless given.",
        default=None,
        read=_folder,
    )
    shared_state: str | None = declare(
        "The place in which all machines of the account write their requests down: "
        "`s3://BUCKET/PREFIX`, `gs://`, `az://`, or "
        "a folder that they share; `backend` is the bucket or folder in which Pulumi keeps the "
        "states. Without it each machine "
        "knows only its own runs.",
        default=None,
        read=read_place,
    )
    # The service: a snapshot that took longer than the soft deadline is listed "typically within ~2
    # minutes".
    first_poll_after: Duration = declare(
        "How long after a 202 the listing is polled for the first time; may be 0.",
        default=120.0,
        read=checks.duration(most=DURATION_LIMIT, may_be_zero=True),
    )
    poll_every: Duration = declare(
        "How long after a poll the next one follows, for one snapshot; several "
        "snapshots share their polls.",
        default=30.0,
        read=checks.duration(most=DURATION_LIMIT),
    )
    listing_cache: str = declare(
        "Whether a new snapshot ends the 30 minutes for which the service may serve the same page "
        "of a listing: "
        "`ended-by-snapshot`, `kept` or `unknown`. The command `probe` finds out.",
        default="unknown",
        read=checks.one_of(*LISTING_CACHES),
    )
    guard: str = declare(
        "`off` lets guarded changes happen without a snapshot, each with a warning and an entry "
        "in the guard's history.",
        default="on",
        read=checks.one_of("on", "off"),
    )
    notify: str | None = declare(
        "The URL of a monitor that hears once of each trouble: a webhook of Discord or Slack, a "
        "topic of ntfy, or a check of healthchecks. The URL is a secret.",
        default=None,
        secret=True,
        read=_monitor_url,
    )
    # The vendor asks clients to wait 30 minutes after RATE_LIMITED.
    block_wait: Duration = declare(
        "How long the account counts as blocked after a `RATE_LIMITED`, if the "
        "service sends no `Retry-After`.",
        default=30 * 60.0,
        read=checks.duration(most=DURATION_LIMIT),
    )
    # The service: a restore takes "about 60 s until the data is stable".
    restore_settle: Duration = declare(
        "How long an accepted restore is watched if neither the service nor the database says "
        "when it is over; may be 0.",
        default=60.0,
        read=checks.duration(most=DURATION_LIMIT, may_be_zero=True),
    )

    @classmethod
    def read(cls, config: Config, environment: Mapping[str, str]) -> Settings:
        """Read the settings of a run.

        Args:
            config: Pulumi's.
            environment: The environment of the process.

        Returns:
            The settings.

        Raises:
            SettingsError: A setting cannot be used.
        """
        _refuse_misspelt(config, environment)
        values: dict[str, Any] = {}
        for name, setting in cls.properties().items():
            for source, place in (
                (config_key(name), config),
                (variable(name), environment),
            ):
                given = place.get(source)
                if given not in (None, ""):
                    values[name] = _read_setting(setting, given, source, environment)
                    break
        settings = cls(**values)
        if settings.own_requests < FEWEST_REQUESTS:
            too_many = (
                "{requests_for_others} must be at least 2 less than {requests_per_minute}, which "
                "is {all}: a restore needs 2 requests in a minute"
            )
            every = settings.requests_per_minute
            raise SettingsError(Message(too_many, all=every))
        return settings

    @property
    def own_requests(self) -> int:
        """The most requests in any minute that all runs with one ledger send together."""
        others = self.requests_for_others
        if others is None:
            others = self.requests_per_minute // FOR_OTHERS
        return self.requests_per_minute - others

    def fingerprint(self) -> str:
        """Return a name for files of this key at this service, which does not reveal the key."""
        return _digest(f"{self.api_url} {self.required_key().value}")

    def account(self) -> str:
        """Return a name for the account, which reveals neither account nor key.

        A key begins with the account's id, before a `-`.
        """
        return _digest(self.required_key().value.partition("-")[0])

    def service(self) -> str:
        """Return a name for files of this service."""
        return _digest(self.api_url)

    def state_directory(self) -> Path:
        """Return the folder for files of this machine."""
        return Path(self.state_dir) if self.state_dir else state_directory(os.environ)

    def required_key(self) -> ApiKey:
        """Return the API key.

        Raises:
            MissingKey: There is none.
        """
        if self.api_key is None:
            raise MissingKey
        return self.api_key


def _read_setting(
    setting: Property, given: object, source: str, environment: Mapping[str, str]
) -> object:
    """Read one setting, which comes from a `source` with this name."""
    wrong = "{source} {reason}"
    try:
        value: object = setting.read(given)
        if value != BACKEND:
            return value
        wrong = "{source} is `backend`, which {reason}"
        return backend_place(environment)
    except ValueError as error:
        reason = Problem.of(setting.name, error).with_value()
        raise SettingsError(Message(wrong, source=source, reason=reason)) from None


def _refuse_misspelt(config: Config, environment: Mapping[str, str]) -> None:
    """Raise for a name that differs from a setting's in capitals and underscores only.

    Nobody would notice that the setting is ignored.
    """
    for name in Settings.properties():
        for wrong in (f"{PACKAGE}:{name}", f"{PACKAGE}:{name.replace('_', '')}"):
            if config.get(wrong) is not None and config.get(config_key(name)) is None:
                raise SettingsError(
                    f"{wrong} is not a setting: it is called {config_key(name)}"
                )
    variables = {
        variable(name).replace("_", ""): variable(name)
        for name in Settings.properties()
    }
    for wrong in environment:
        right = variables.get(wrong.replace("_", "").upper(), wrong)
        if right not in environment:
            raise SettingsError(f"{wrong} is not a setting: it is called {right}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_key(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that needs no API key.

    Args:
        environment: The environment of this process.
    """
    return {
        name: value
        for name, value in environment.items()
        if name != variable("api_key")
    }


# The project, and the backend ---------------------------------------------------------------------


def project_files(folder: Path) -> Iterator[Path]:
    """Find the files of the project in a folder, or in the next folder above it.

    Args:
        folder: The folder.

    Yields:
        Each file.
    """
    for parent in (folder, *folder.parents):
        found = [parent / name for name in PROJECT if (parent / name).is_file()]
        if found:
            yield from found
            return


def backend_url(environment: Mapping[str, str]) -> str:
    """Find the backend's URL as the engine does.

    Args:
        environment: The environment of the process.

    Returns:
        The URL; empty if there is none.

    Raises:
        Unfit: A file that may name the backend cannot be read.
    """
    given = environment.get("PULUMI_BACKEND_URL")
    if given:
        return given
    home = environment.get("PULUMI_CREDENTIALS_PATH") or environment.get("PULUMI_HOME")
    folder = Path(home or home_directory(environment) / ".pulumi")
    return _logged_in(Path.cwd(), folder / "credentials.json")


@cache
def _logged_in(folder: Path, login: Path) -> str:
    """See `backend_url`.

    The backend is kept: a login in another terminal must not move the ledger of a run that is under
    way.
    """
    for file in (*project_files(folder), login):
        try:
            url = _url_in(file, is_login=file == login)
        except Exception as error:  # of the file system, or of its parser
            raise Unfit(f"cannot be looked up: {file} cannot be read") from error
        if url:
            return str(url)
    return ""


def _url_in(file: Path, *, is_login: bool) -> object:
    """The backend's URL in a project's file, or in that of the login."""
    if not file.exists():
        return None
    content = import_module("yaml").safe_load(file.read_text(encoding="utf-8")) or {}
    return (
        content.get("current")
        if is_login
        else (content.get("backend") or {}).get("url")
    )


def backend_place(environment: Mapping[str, str]) -> str:
    """Name the shared place in the backend, see `read_place`.

    Args:
        environment: The environment of the process.

    Returns:
        The place.

    Raises:
        Unfit: No backend is known, or the backend takes no other files.
    """
    url = backend_url(environment)
    bare, _, query = url.partition("?")
    scheme, _, path = bare.partition("://")
    if not url:
        raise Unfit("is not known here: set PULUMI_BACKEND_URL, or log in to it")
    if scheme == "file" and not path.startswith(("/", "~")):
        raise Unfit(
            "is a relative path here, so each program would use another folder: give "
            "an absolute path"
        )
    if scheme not in {*OPTIONS, "azblob", "file"}:  # the URL may hold a password
        raise Unfit(
            f"is {scheme}:// here, which like Pulumi Cloud only keeps states: name a "
            "bucket or a folder"
        )
    place = (
        f"{path.rstrip('/')}/{OWN}"
        if scheme == "file"
        else f"{bare.rstrip('/')}/{OWN}?{query}"
    )
    return read_place(place)


def bucket_url(environment: Mapping[str, str]) -> str:
    """Return the URL of the backend's bucket, without options; empty if there is none.

    Args:
        environment: The environment of the process.
    """
    try:
        url = backend_url(environment).partition("?")[0]
    except Unfit:
        return ""
    return url if url.partition("://")[0] in {*OPTIONS, "azblob"} else ""


def could_share(environment: Mapping[str, str]) -> AnyMessage:
    """Return a line for a CI job that forgets its requests although its backend could keep them.

    The line is empty for any other run.

    Args:
        environment: The environment of the process.
    """
    url = bucket_url(environment) if any(map(environment.get, IN_CI)) else ""
    text = (
        "this runner loses its requests: with {shared_state} set to `backend`, {where} "
        "keeps them for the next job"
    )
    return Message(text, where=url) if url else ""
