"""The page of `report` as Markdown. It says what the fields say, and computes nothing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from pulumi_snapshots.cli.assurance.dossier import Fields
from pulumi_snapshots.cli.terminal.invocation import NAME
from pulumi_snapshots.cli.terminal.output import (
    GOOD,
    markdown,
    printable,
    size_text,
    table,
)
from pulumi_snapshots.clock import to_the_second
from pulumi_snapshots.properties.checks import spoken

NOT_KNOWN = "not known"
BARS = re.compile(r"(\\*)\|")
DEFINITIONS = (
    "**Recovery point**: the longest time in the period without a new snapshot: before the first "
    "one, between two, or since the newest one. **Recovery time**: how long the last drill that "
    "passed took, from the request of its restore until its last check had passed."
)
OVERVIEW_HEADS = (
    "",
    "Database",
    "Newest snapshot",
    "Newest archive",
    "Recovery point",
    "Recovery time",
)
OUTCOMES = {True: "passed", False: "**failed**", None: NOT_KNOWN}


class TableOfRows(NamedTuple):
    """The rows of a table, each with a cell for each heading."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def written(self, stream: IO[str]) -> str:
        """Write the table for a stream: a terminal cuts no cell, since people copy ids from it.

        Args:
            stream: Where the table goes.

        Returns:
            The table, for a terminal or as Markdown.
        """
        if stream.isatty():
            rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
            return table(self.heads, rows, stream)
        lines = [f"| {' | '.join(map(_cell, row))} |" for row in self.rows]
        line = f"|{' --- |' * len(self.heads)}"
        return "\n".join((f"| {' | '.join(self.heads)} |", line, *lines, ""))


def report_page(report: Fields, stream: IO[str]) -> str:
    """Write the report for people; all times are UTC.

    Args:
        report: What programs read of it.
        stream: A terminal, or any other stream, which gets Markdown.

    Returns:
        The text.
    """
    return "\n".join(
        part.written(stream)
        if isinstance(part, TableOfRows)
        else markdown(part, stream)
        for part in _parts(report)
    )


def _parts(report: Fields) -> Iterator[str | TableOfRows]:
    """Give the paragraphs and tables of the report."""
    yield "# Backups of Square Cloud databases"
    yield _introduction(report)
    if report["databases"]:
        yield TableOfRows(
            OVERVIEW_HEADS, [_overview(each) for each in report["databases"]]
        )
    yield DEFINITIONS
    yield "## What falls short"
    yield _list(_stated(report, "problems"), "Nothing.")
    yield "## What is not known"
    yield _list(_stated(report, "unknown"), "")
    for each in report["databases"]:
        yield from _database(each)


def _introduction(report: Fields) -> str:
    """Say of which period the report is, and by which limits the report judges."""
    period = f"{_time(report['since'])} to {_time(report['checked_at'])}"
    written = f"Written by {report['tool']}, with the ledger {_cell(report['ledger'])}"
    return f"{period}. {_limits(report)} {written}."


def _database(database: Fields) -> Iterator[str | TableOfRows]:
    """Write the part about one database."""
    yield f"## {_cell(_name(database))}"
    yield _list(_facts(database), "")
    drills = [row for drill in database["drills"] for row in _drill_rows(drill)]
    changes = [*map(_change, database["changes"])]
    restores = [*map(_restore, database["restores"])]
    for heading, heads, rows in (
        ("Drills", DRILL_HEADS, drills),
        ("Guarded changes", CHANGE_HEADS, changes),
        ("Restores", RESTORE_HEADS, restores),
    ):
        yield f"### {heading}"
        yield TableOfRows(heads, rows) if rows else "None is known in the period."


def _overview(database: Fields) -> Sequence[str]:
    return (
        GOOD[database["ok"]],
        _name(database),
        _age(database["snapshot_age"]),
        _age(database["archive_age"]),
        _seconds(database["longest_gap"]),
        _seconds(database["recovery_seconds"]),
    )


def _facts(database: Fields) -> Iterator[str]:
    """Say what the newest snapshot and archive are, and the two numbers."""
    if database["snapshot"]:
        yield (
            f"Newest snapshot: `{database['snapshot']}`, taken "
            f"{_time(database['snapshot_created_at'])}, "
            f"{size_text(database['snapshot_size']) or 'size not known'}; the service keeps it "
            f"until {_time(database['snapshot_expires_at'])}."
        )
    else:
        yield "Newest snapshot: none is known."
    if database["archive"]:
        recipients = database["archive_recipients"]
        encryption = (
            f"encrypted for {', '.join(recipients)}" if recipients else "not encrypted"
        )
        yield (
            f"Newest archive: {_cell(database['archive'])}, of the snapshot of "
            f"{_time(database['archive_created_at'])}, whole {_time(database['archived_at'])}, "
            f"{size_text(database['archive_size'])}, SHA-256 by its "
            f"manifest `{database['archive_sha256']}`, {encryption}, kept "
            f"{_cell(database['archive_kept'])}."
        )
    else:
        yield "Newest archive: none is known."
    gap = _seconds(database["longest_gap"])
    if database["longest_gap"] is not None:
        since = _time(database["longest_gap_from"])
        gap = f"{gap}, from {since} until {_time(database['longest_gap_until'])}"
    yield f"Recovery point: {gap}."
    yield f"Recovery time: {_seconds(database['recovery_seconds'])}."
    if database["pending_since"]:
        requested = _time(database["pending_since"])
        yield f"A snapshot was requested {requested} and is not listed yet."


DRILL_HEADS = (
    "Time",
    "Version",
    "Taken",
    "Result",
    "Restore",
    "Recovery",
    "Asked the right database",
    "Check",
    "Expected",
    "Found",
    "Known from",
)


def _drill_rows(drill: Fields) -> Iterator[Sequence[str]]:
    """Give a row for each check of a drill; one for a drill without known checks."""
    first = _drill_cells(drill)
    source = drill["known_from"]
    if not drill["results"]:
        yield (*first, drill["failure"] or NOT_KNOWN, "", "", source)
        return
    for each in drill["results"]:
        found = each["found"] or each["reason"] or "nothing"
        if not each["passed"]:
            found = f"**failed**: {found}"
        yield (*first, each["check"], each["expected"], found, source)
        first = ("",) * len(first)
        source = ""


def _drill_cells(drill: Fields) -> Sequence[str]:
    """Give what a row says of a drill as a whole."""
    proofs = drill["proved_by"]
    return (
        _time(drill["drilled_at"] or drill["requested_at"]),
        drill["version_id"] or NOT_KNOWN,
        _time(drill["version_created_at"]),
        OUTCOMES[drill["passed"]],
        _seconds(drill["restore_seconds"]),
        _seconds(drill["recovery_seconds"]),
        NOT_KNOWN if proofs is None else ", ".join(proofs) or "nothing but the checks",
    )


CHANGE_HEADS = ("Guarding since", "Last change", "Changes", "Guard", "Way back")


def _change(guarded: Fields) -> Sequence[str]:
    return (
        _time(guarded["noted_at"]),
        _time(guarded["changed_at"]),
        ", ".join(guarded["changes"]) or "none happened, as far as is known",
        guarded["guard"],
        _way_back(guarded),
    )


RESTORE_HEADS = ("Requested", "Ended", "Snapshot", "Result", "By", "Way back")


def _restore(restore: Fields) -> Sequence[str]:
    return (
        _time(restore["requested_at"]),
        _time(restore["ended_at"]),
        restore["snapshot"] or NOT_KNOWN,
        restore["result"] or NOT_KNOWN,
        restore["by"],
        _way_back(restore),
    )


def _way_back(entry: Fields) -> str:
    """Name the command that goes back before a change or restore, or say that there is none."""
    snapshot = entry["way_back"]
    if snapshot is None:
        return "none is known"
    if entry["way_back_listed"] is False:
        return f"{snapshot}, which the service does not list"
    return f"`{NAME} restore {snapshot}`"


def _stated(report: Fields, field: str) -> Iterator[str]:
    """Give the `problems` of all databases and of each, or what is `unknown` of them."""
    yield from map(_cell, report[field])
    for database in report["databases"]:
        name = _cell(_name(database))
        yield from (f"{name}: {_cell(each)}." for each in database[field])


def _limits(report: Fields) -> str:
    """Say by which limits the report judges."""
    kinds = {
        "snapshot": "max_age",
        "archive": "max_archive_age",
        "drill": "max_drill_age",
    }
    texts = [
        f"{kind} {spoken(report[name])}"
        for kind, name in kinds.items()
        if report[name] is not None
    ]
    origin = f" Only {report['origin']} snapshots count." if report["origin"] else ""
    return f"Oldest allowed: {', '.join(texts)}.{origin}"


def _name(database: Fields) -> str:
    name = database["name"]
    return f"{name} ({database['id']})" if name else str(database["id"])


def _time(rfc3339: str | None) -> str:
    return to_the_second(rfc3339) if rfc3339 else NOT_KNOWN


def _age(seconds: float | None) -> str:
    return "none known" if seconds is None else f"{spoken(seconds)} ago"


def _seconds(seconds: float | None) -> str:
    return NOT_KNOWN if seconds is None else spoken(seconds)


def _list(texts: Iterable[str], none: str) -> str:
    return "\n".join(f"- {each}" for each in texts) or none


def _cell(text: str) -> str:
    """Return a text that stays in its cell, whatever a service or a database says."""
    one_line = " ".join(printable(text).split())
    # A backslash before a bar would make the bar the cell's end again.
    without_bars = BARS.sub(lambda bar: f"{2 * bar[1]}\\|", one_line)
    return without_bars.replace("<", "&lt;")
