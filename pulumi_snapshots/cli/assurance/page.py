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
    """Say of which period the report is, and by which limits it judges."""
    period = f"{_time(report['since'])} to {_time(report['checked_at'])}"
    written = f"Written by {report['tool']}, with the ledger {_cell(report['ledger'])}"
    return f"{period}. {_limits(report)} {written}."


def _database(each: Fields) -> Iterator[str | TableOfRows]:
    """Write the part about one database."""
    yield f"## {_cell(_name(each))}"
    yield _list(_facts(each), "")
    drilled = [row for drill in each["drills"] for row in _drill_rows(drill)]
    for heading, table_ in (
        ("Drills", TableOfRows(DRILL_HEADS, drilled)),
        (
            "Guarded changes",
            TableOfRows(CHANGE_HEADS, [*map(_change, each["changes"])]),
        ),
        ("Restores", TableOfRows(RESTORE_HEADS, [*map(_restore, each["restores"])])),
    ):
        yield f"### {heading}"
        yield table_ if table_.rows else "None is known in the period."


def _overview(each: Fields) -> Sequence[str]:
    return (
        GOOD[each["ok"]],
        _name(each),
        _age(each["snapshot_age"]),
        _age(each["archive_age"]),
        _seconds(each["longest_gap"]),
        _seconds(each["recovery_seconds"]),
    )


def _facts(each: Fields) -> Iterator[str]:
    """Say what the newest snapshot and archive are, and the two numbers."""
    if each["snapshot"]:
        yield (
            f"Newest snapshot: `{each['snapshot']}`, taken {_time(each['snapshot_created_at'])}, "
            f"{size_text(each['snapshot_size']) or 'size not known'}; the service keeps it until "
            f"{_time(each['snapshot_expires_at'])}."
        )
    else:
        yield "Newest snapshot: none is known."
    if each["archive"]:
        recipients = each["archive_recipients"]
        whose = (
            f"encrypted for {', '.join(recipients)}" if recipients else "not encrypted"
        )
        yield (
            f"Newest archive: {_cell(each['archive'])}, of the snapshot of "
            f"{_time(each['archive_created_at'])}, whole {_time(each['archived_at'])}, "
            f"{size_text(each['archive_size'])}, SHA-256 by its "
            f"manifest `{each['archive_sha256']}`, {whose}, kept "
            f"{_cell(each['archive_kept'])}."
        )
    else:
        yield "Newest archive: none is known."
    gap = _seconds(each["longest_gap"])
    if each["longest_gap"] is not None:
        between = _time(each["longest_gap_from"]), _time(each["longest_gap_until"])
        gap = f"{gap}, from {' until '.join(between)}"
    yield f"Recovery point: {gap}."
    yield f"Recovery time: {_seconds(each['recovery_seconds'])}."
    if each["pending_since"]:
        yield f"A snapshot was requested {_time(each['pending_since'])} and is not listed yet."


DRILL_HEADS = (
    *(
        "Time",
        "Version",
        "Taken",
        "Result",
        "Restore",
        "Recovery",
        "Asked the right database",
    ),
    *("Check", "Expected", "Found", "Known from"),
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
        mark = "" if each["passed"] else "**failed**: "
        yield (*first, each["check"], each["expected"], mark + found, source)
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


def _change(each: Fields) -> Sequence[str]:
    changes = ", ".join(each["changes"]) or "none happened, as far as is known"
    times = _time(each["noted_at"]), _time(each["changed_at"])
    return (*times, changes, each["guard"], _way_back(each))


RESTORE_HEADS = ("Requested", "Ended", "Snapshot", "Result", "By", "Way back")


def _restore(each: Fields) -> Sequence[str]:
    return (
        _time(each["requested_at"]),
        _time(each["ended_at"]),
        each["snapshot"] or NOT_KNOWN,
        each["result"] or NOT_KNOWN,
        each["by"],
        _way_back(each),
    )


def _way_back(each: Fields) -> str:
    """Name the command that goes back, or say that there is none."""
    if each["way_back"] is None:
        return "none is known"
    if each["way_back_listed"] is False:
        return f"{each['way_back']}, which the service does not list"
    return f"`{NAME} restore {each['way_back']}`"


def _stated(report: Fields, what: str) -> Iterator[str]:
    """Give what the report says of all databases, and of each, such as its `problems`."""
    yield from map(_cell, report[what])
    for each in report["databases"]:
        yield from (f"{_cell(_name(each))}: {_cell(one)}." for one in each[what])


def _limits(report: Fields) -> str:
    """Say by which limits it judges."""
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


def _name(each: Fields) -> str:
    return f"{each['name']} ({each['id']})" if each["name"] else str(each["id"])


def _time(moment: str | None) -> str:
    return to_the_second(moment) if moment else NOT_KNOWN


def _age(seconds: float | None) -> str:
    return "none known" if seconds is None else f"{spoken(seconds)} ago"


def _seconds(seconds: float | None) -> str:
    return NOT_KNOWN if seconds is None else spoken(seconds)


def _list(texts: Iterable[str], none: str) -> str:
    return "\n".join(f"- {each}" for each in texts) or none


def _cell(text: str) -> str:
    """Return a text that stays in its cell, whatever a service or a database says."""
    one_line = " ".join(printable(text).split())
    # A backslash before it would make the bar the cell's end again.
    without_bars = BARS.sub(lambda bar: f"{2 * bar[1]}\\|", one_line)
    return without_bars.replace("<", "&lt;")
