"""Pulumi dynamic provider, which translates between Pulumi and what each resource can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_snapshots.late import late

if TYPE_CHECKING:
    from pulumi_snapshots.dynamic.run import Run


def this_run() -> Run:
    """Return the process's event loop and what is shared on it.

    The run is loaded late, because a program that looks up nothing does not need it.
    """
    run: Run = late("dynamic.run:shared_run")()
    return run
