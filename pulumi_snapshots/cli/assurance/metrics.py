"""What `status` found as OpenMetrics, in a file for the textfile collector of a node exporter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from pulumi_snapshots.clock import parse_rfc3339
from pulumi_snapshots.errors import Explained
from pulumi_snapshots.whole_file import written_whole

READABLE = 0o644
"""The collector runs as another user, and there is no secret in the file."""
PREFIX = "squarecloud"

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


class MetricsUnwritable(Explained):
    """The file of the metrics cannot be written. What was found is shown all the same."""


def gauge(name: str, about: str, samples: Iterable[Sample]) -> str:
    """One metric and its samples; no text without any sample."""
    lines = [f"{PREFIX}_{name}{_labels(labels)} {value:.15g}\n" for labels, value in samples]
    head = f"# HELP {PREFIX}_{name} {about}\n# TYPE {PREFIX}_{name} gauge\n"
    return head + "".join(lines) if lines else ""


def seconds_of(moment: datetime | str | None) -> float:
    """A time in seconds since 1970; 0 for none, so that an alert on its age fires."""
    if moment is None:
        return 0.0
    return (parse_rfc3339(moment) if isinstance(moment, str) else moment).timestamp()


def write(file: Path, metrics: Iterable[str]) -> None:
    """Write a file as a whole: its reader finds the earlier content or this.

    Raises:
        MetricsUnwritable: it cannot be written.
    """
    try:
        with written_whole(file) as draft:
            draft.write(("".join(metrics) + "# EOF\n").encode())
            os.fchmod(draft.fileno(), READABLE)
    except OSError as error:
        why = f"the metrics were not written to {file}: {error.strerror or error}"
        raise MetricsUnwritable(why, "The file is as it was before.") from error


def _labels(labels: Labels) -> str:
    escapes = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    return (
        "{" + ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels.items()) + "}" if labels else ""
    )
