"""The file of metrics that `status` writes for node_exporter's textfile collector."""

import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pulumi_snapshots.cli.assurance.health import DatabaseHealth, Evidence
from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import ProviderError
from pulumi_snapshots.state_directory import written_whole

METRICS = {
    "status_success": "Whether everything could be checked; without it the file has no databases.",
    "status_timestamp_seconds": "When it was checked.",
    "status_listing_age_seconds": "How long ago the listing was requested.",
    "status_max_age_seconds": "How old a snapshot may be.",
    "plan_end_timestamp_seconds": (
        "When the account's plan ends, if the service says so; snapshots are deleted after it."
    ),
    "database_ok": "Whether everything is recent enough.",
    "snapshot_timestamp_seconds": "When the newest good snapshot was taken; 0 if there is none.",
    "archive_timestamp_seconds": (
        "When the snapshot in the newest archive was taken; 0 if there is none."
    ),
    "drill_timestamp_seconds": "When the last drill was passed; 0 if there was none.",
    "snapshot_longest_gap_seconds": (
        "Recovery point: the longest time in the last 30 days without a new snapshot: before the "
        "first one, between two, or since the newest one; +Inf if none is known."
    ),
    "drill_recovery_seconds": (
        "Recovery time: how long the last drill that passed took, from the request of its restore "
        "until its last check had passed; +Inf if that is not known."
    ),
}
ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
"""What cannot stand in a label as it is."""


class MetricsUnwritable(ProviderError):
    """The file of the metrics cannot be written. What was found is shown all the same."""


def _number(value: float) -> str:
    """Write a value as OpenMetrics has it."""
    return "+Inf" if value == math.inf else f"{value:.15g}"


def overall_metrics(
    began: datetime, evidence: Evidence | None = None
) -> dict[str, float]:
    """Return the metrics of a check, by their names in `METRICS`.

    Args:
        began: When it began.
        evidence: What it has found; None if not everything could be checked.
    """
    values = {
        "status_success": float(evidence is not None),
        "status_timestamp_seconds": began.timestamp(),
    }
    if evidence is not None:
        account = evidence.account
        values["status_listing_age_seconds"] = account.page.age
        values["status_max_age_seconds"] = evidence.limits.max_age
        if account.plan_ends is not None:
            values["plan_end_timestamp_seconds"] = account.plan_ends.timestamp()
    return values


def _values_of(health: DatabaseHealth, kinds: Sequence[str]) -> dict[str, float]:
    """Return the metrics of a database.

    Without a value, an alert fires: on an age since 0, on what takes forever.
    """
    gap = health.gap
    recovery = health.recovery_seconds
    values = {
        "database_ok": not health.problems,
        "snapshot_longest_gap_seconds": gap.seconds if gap else math.inf,
    }
    if "drill" in kinds:
        values["drill_recovery_seconds"] = math.inf if recovery is None else recovery
    for kind in kinds:
        at = health.times[kind]
        seconds = parse_rfc3339(at).timestamp() if at else 0.0
        values[f"{kind}_timestamp_seconds"] = seconds
    return values


def write_metrics(
    file: Path,
    values: Mapping[str, float],
    healths: Sequence[DatabaseHealth] = (),
    kinds: Sequence[str] = (),
) -> None:
    """Write the metrics as a whole file, so that its reader finds the earlier content or this.

    Args:
        file: Where.
        values: The metrics of the whole check, by their names in `METRICS`.
        healths: The databases.
        kinds: What has a time for each database: `snapshot`, `archive`, `drill`.

    Raises:
        MetricsUnwritable: The file cannot be written.
    """
    samples = {name: [("", value)] for name, value in values.items()}
    for health in healths:
        name = (health.name or "").translate(ESCAPED)
        labels = f'{{database_id="{health.id}",name="{name}"}}'
        for metric, value in _values_of(health, kinds).items():
            samples.setdefault(metric, []).append((labels, value))
    lines = []
    for name, of_name in samples.items():
        lines.append(f"# HELP squarecloud_{name} {METRICS[name]}\n")
        lines.append(f"# TYPE squarecloud_{name} gauge\n")
        lines += [
            f"squarecloud_{name}{labels} {_number(value)}\n"
            for labels, value in of_name
        ]
    try:
        with written_whole(file) as draft:
            draft.write(("".join(lines) + "# EOF\n").encode())
            # The collector runs as another user, and there is no secret in the file.
            os.fchmod(draft.fileno(), 0o644)
    except OSError as error:
        why = f"the metrics were not written to {file}: {error.strerror or error}"
        raise MetricsUnwritable(why, "The file is as it was before.") from error
