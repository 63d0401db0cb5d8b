"""The inputs of an archive. Programs load it, so it loads no HTTP stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Self

from pulumi_snapshots.errors import Next, Step, Text, not_installed
from pulumi_snapshots.properties import checks
from pulumi_snapshots.properties.catalogue import Bytes, Duration, Inputs, Moment, Record, declare
from pulumi_snapshots.properties.checks import UNKNOWN, database_of, problem_of_url, version_of
from pulumi_snapshots.properties.unfit import Problem, Unfit, shown
from pulumi_snapshots.storage import encryption
from pulumi_snapshots.storage.destination import EXTRA, LIBRARY, Destination

DEFAULT_TIMEOUT = 3600.0
"""Seconds."""
_HAS_SECRET = re.compile(r"@|[?&]|key|token|secret|password|sig=", re.IGNORECASE)
"""A destination that may hold a secret: no place of an archive needs one."""
TIER_LIMIT = 500
"""Objects that one tier may keep: each stands in the state with about 200 bytes."""
count = checks.whole_number(f"from 1 to {TIER_LIMIT}", least=1, most=TIER_LIMIT)


class Keep(Record, sparse=True):
    """How many objects to keep: the newest one of each day, week, month or year, for the last N of these that have one.

    An object is kept if one tier keeps it. Days, ISO weeks, months and years are those of UTC.
    """

    last: int | None = declare("The newest ones, whenever they were taken.", default=None, read=count)
    daily: int | None = declare("The number of days to keep one for each.", default=None, read=count)
    weekly: int | None = declare("The number of weeks to keep one for each.", default=None, read=count)
    monthly: int | None = declare("The number of months to keep one for each.", default=None, read=count)
    yearly: int | None = declare("The number of years to keep one for each.", default=None, read=count)


def _keep(given: object) -> Keep:
    """What a program gave; raises Unfit."""
    tiers = Keep.properties()
    known = given if isinstance(given, Mapping) and not given.keys() - tiers.keys() else {}
    if all(number is None for number in known.values()):
        raise Unfit(f"must be an object with some of {', '.join(tiers)}")
    if problem := next(filter(None, (tiers[name].problem(number) for name, number in known.items())), None):
        raise Unfit(f"has {problem.property}, which {problem.reason}")
    return Keep.from_outputs({name: number for name, number in known.items() if number is not UNKNOWN})


def _destination(given: object) -> Destination:
    found = Destination.parse(checks.text(given))
    if found.scheme != "file" and find_spec(LIBRARY) is None:
        raise Unfit(not_installed(LIBRARY, EXTRA))
    return found


def archive_uri(given: object) -> str:
    """The URI of one object that a program gave; raises Unfit."""
    found = _destination(given)
    if found.folder:
        raise Unfit("must be one archive, not a folder")
    return found.uri


def _url(given: object) -> str:
    url = checks.text(given)
    if reason := problem_of_url(url):
        raise Unfit(reason)
    return url


class ArchiveInputs(Inputs):
    """The inputs of an archive; durations in seconds."""

    destination: Destination = declare(
        "A path of the machine that runs `pulumi`, or a URI of `file://`, `s3://`, `gs://` or `az://`. With a final `/` it "
        "is a folder, in which the object is named `DATABASE_ID/CREATED_AT-VERSION_ID.zip`.",
        read=_destination,
        needed="a path, or a URI of file://, s3://, gs:// or az://",
        replaces=True,
    )
    database_id: str | None = declare(
        "The database whose snapshot it is.",
        default=None,
        read=checks.database_id("archive a snapshot of"),
        replaces=True,
    )
    version_id: str = declare("The snapshot's version id.", default="", read=checks.version_id, replaces=True)
    download_url: str | None = declare(
        "Signed and pinned to a version, such as another stack's output; alone it needs no API key.",
        default=None,
        secret=True,
        kept=False,
        read=_url,
    )
    size: Bytes | None = declare(
        "The snapshot's bytes, as a Snapshot or a lookup gives them.",
        default=None,
        read=checks.whole_number("of bytes", least=0),
    )
    created_at: Moment | None = declare(
        "When the snapshot was taken, for the name of an object in a folder.",
        default=None,
        kept=False,
        read=checks.moment,
    )
    keep_last: int | None = declare(
        "How many objects of this resource to keep; older ones are removed once a new one is whole. All unless given.",
        default=None,
        read=count,
    )
    keep: Keep | None = declare(
        "Which objects of this resource to keep, in tiers, instead of `keep_last`; others are removed once a new one is "
        "whole.",
        default=None,
        read=_keep,
    )
    pin: bool = declare("Whether the object is kept for good, whatever `keep` and `keep_last` say.", default=False)
    recipients: list[str] | None = declare(
        "Public keys of age (`age1…`): the object is encrypted for them, and only their private keys open it. Changed "
        "recipients archive again.",
        default=None,
        read=encryption.recipients,
        replaces=True,
    )
    delete_object: bool = declare(
        "Whether deleting or replacing the resource deletes its object; it is kept unless given.", default=False
    )
    timeout: Duration = declare(
        "How long the transfer may take. The resource's custom timeout for creates wins.",
        default=DEFAULT_TIMEOUT,
        read=checks.timeout,
    )

    @property
    def rule(self) -> Keep | None:
        """Which objects to keep; None for all."""
        return rule_of(self.keep, self.keep_last)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From values that have no problem; a URL alone is enough to know its snapshot."""
        database_id, version_id = which_snapshot(values)
        return replace(super().of(values), database_id=database_id, version_id=version_id or "")

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[Problem]:
        """Everything that is wrong with these values; those that are `UNKNOWN` are taken to be right."""
        found = [hidden_problem(each, values.get(each.property)) for each in super().problems(values)]
        wrong = {one.property for one in found}
        fit = {**values, "download_url": UNKNOWN} if "download_url" in wrong else values
        return [*found, *(each for each in _conflicts(fit) if each.property not in wrong)]


def rule_of(keep: Keep | None, keep_last: int | None) -> Keep | None:
    """Which objects to keep, by either input; None for all."""
    return keep or (Keep(last=keep_last) if keep_last else None)


def hidden_problem(problem: Problem, given: Any) -> Problem:
    """The problem without its property if an engine would print a secret with it."""
    unsafe = encryption.PRIVATE in str(given).upper()
    if unsafe or (problem.property in {"destination", "archive"} and _HAS_SECRET.search(str(given))):
        return Problem("", Text(f"{{{problem.property}}} {{why}}", why=problem.reason))
    return problem


def which_snapshot(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The database and version that the inputs name, each `UNKNOWN` if a preview does not know it, None if absent."""
    database_id, version_id, url = (values.get(name) for name in ("database_id", "version_id", "download_url"))
    if isinstance(url, str):
        return database_id or database_of(url), version_id or version_of(url)
    return database_id or url, version_id or url


def _conflicts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with inputs beside each other."""
    database_id, version_id, url = (values.get(name) for name in ("database_id", "version_id", "download_url"))
    if values.get("keep") is not None and values.get("keep_last") is not None:
        yield Problem("keep", Text("cannot be given beside {keep_last}, which is its tier `last`"))
    destination = values.get("destination")
    name = destination.rpartition("/")[2] if isinstance(destination, str) else ""
    if name and values.get("recipients") and not name.endswith(encryption.SUFFIX):
        reason = f"must end in {encryption.SUFFIX}, or in / for a folder: what is encrypted is no zip"
        yield Problem("destination", reason)
    pinned = version_of(url) if isinstance(url, str) else None
    if database_id is None and version_id is None and url is None:
        required = "is required: a Snapshot, or {database_id} and {version_id}, or {download_url} alone"
        yield Problem("snapshot", Text(required))
    elif url is None:
        if database_id is None:
            yield Problem("database_id", "is required: the id of the database whose snapshot it is")
        if version_id is None:
            yield Problem("version_id", "is required: which snapshot (a Snapshot that is pending has none yet)")
    elif url is not UNKNOWN and pinned is None and version_id is None:
        reason = "is not pinned: it holds no versionId, so it would archive whatever is newest. {then} Or give {version_id} too"
        yield Problem("download_url", Text(reason, then=Next(Step.RENEW_URL)))
    elif isinstance(version_id, str) and pinned not in {None, version_id}:
        reason = "is pinned to version {pinned}, but {version_id} is another one"
        yield Problem("download_url", Text(reason, pinned=shown(pinned)))
