"""What is installed on this machine: engine, SDK, plugin, and what the dynamic provider finds in the SDK. Asks no service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_snapshots.cli.doctor import Finding
from pulumi_snapshots.run.settings import without_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["OLDEST_ENGINE", "look_at_installation"]

OLDEST_ENGINE = (3, 139, 0)
"""The first engine that hands a dynamic provider its configuration."""
ENGINE_PATIENCE = 30.0
"""Seconds that `pulumi version` may take."""
PLUGIN = "pulumi-resource-squarecloud"
WITHOUT = {
    "urn": "what a resource waits for is shown on the stack's row, and killed runs are not found again",
    "log": "what a resource waits for is not shown",
    "partial_state": "a wait that ends early is not kept in the state: set reuse_within",
    "cancel": "^C waits for each create to end",
    "width": "four resources are served at a time",
}
"""By feature: what a run loses without it."""


def look_at_installation(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Look; takes about two seconds, and starts two processes.

    Args:
        environment: with `PATH`, and `PULUMI_HOME` or `HOME`.
    """
    return [
        Finding("package", "ok", f"pulumi-snapshots {version('pulumi-snapshots')}"),
        Finding("SDK", "ok", f"pulumi {version('pulumi')} for Python"),
        _engine(environment),
        _plugin(environment),
        *_features(environment),
    ]


def _engine(environment: Mapping[str, str]) -> Finding:
    program = shutil.which("pulumi", path=environment.get("PATH", ""))
    if program is None:
        return Finding(
            "engine", "note", "no pulumi on PATH", "Install the Pulumi CLI to run programs; these commands need none."
        )
    try:
        answer = subprocess.run(  # noqa: S603  the program that a user would run
            [program, "version"],
            capture_output=True,
            text=True,
            timeout=ENGINE_PATIENCE,
            check=True,
            env={**without_key(environment), "PULUMI_SKIP_UPDATE_CHECK": "true"},
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("engine", "problem", f"`pulumi version` failed: {error}", "Install the Pulumi CLI anew.")
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer)
    oldest = ".".join(map(str, OLDEST_ENGINE))
    if found is None:
        return Finding("engine", "unknown", f"`pulumi version` says {answer!r}", f"It must be {oldest} or newer.")
    if tuple(map(int, found.groups())) < OLDEST_ENGINE:
        return Finding(
            "engine",
            "problem",
            f"pulumi {answer}",
            f"Update it: {oldest} is the first that configures a dynamic provider.",
        )
    return Finding("engine", "ok", f"pulumi {answer}")


def _plugin(environment: Mapping[str, str]) -> Finding:
    home = Path(environment.get("PULUMI_HOME") or Path(environment.get("HOME") or "~").expanduser() / ".pulumi")
    installed = sorted(
        path.name.rpartition("-v")[2] for path in home.glob("plugins/resource-squarecloud-v*") if path.is_dir()
    )
    ours = version("pulumi-snapshots")
    if ours in installed:
        return Finding("plugin", "ok", f"squarecloud {ours} is installed")
    if installed:
        return Finding(
            "plugin",
            "note",
            f"squarecloud {', '.join(installed)} is installed, this package is {ours}",
            "Install this version: squarecloud-snapshots plugin install.",
        )
    if on_path := shutil.which(PLUGIN, path=environment.get("PATH", "")):
        return Finding("plugin", "ok", f"{on_path} is on PATH")
    advice = "Only programs of other languages than Python need it: squarecloud-snapshots plugin install."
    return Finding("plugin", "note", "none is installed", advice)


def _features(environment: Mapping[str, str]) -> Iterator[Finding]:
    from pulumi_snapshots.dynamic.probe import probe_features  # noqa: PLC0415  loads the SDK's server

    try:
        found = probe_features(environment)
    except RuntimeError as error:
        yield Finding("engine access", "problem", f"{error}", "Install the Pulumi SDK for Python anew.")
        return
    lacking = {name: loss for name, loss in WITHOUT.items() if not getattr(found, name)}
    if not lacking:
        yield Finding("engine access", "ok", f"all of {', '.join(WITHOUT)}")
    for name, loss in lacking.items():
        advice = "A newer version of this package may know this SDK; an older SDK has it."
        yield Finding("engine access", "note", f"{name} is not found in the installed SDK: {loss}", advice)
