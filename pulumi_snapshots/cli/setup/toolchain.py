"""What is installed on this machine: engine, SDK and plugin. Sends no request."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from pulumi_snapshots.cli.setup.plugin import PROGRAM
from pulumi_snapshots.cli.terminal.pulumi import PulumiTrouble, pulumi
from pulumi_snapshots.cli.terminal.wording import COMMANDS
from pulumi_snapshots.errors import pip_install
from pulumi_snapshots.run.settings import PACKAGE
from pulumi_snapshots.state_directory import home_directory
from pulumi_snapshots.storage.credentials import MACHINE, NAMES, NoCredentials, access
from pulumi_snapshots.storage.destination import BUCKETS, EXTRA, LIBRARY


class Finding(NamedTuple):
    """The result of one check.

    `note` is worth knowing, `problem` stands in the way, `unknown` could not be found out. There is no advice if there is
    nothing to do.
    """

    check: str
    state: Literal["ok", "note", "problem", "unknown"]
    found: str
    advice: str = ""


OLDEST_ENGINE = (3, 139, 0)
"""The first engine that hands a dynamic provider its configuration."""


def look_at_installation(environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Check what is installed; takes about a second, and starts a process.

    Args:
        environment: with `PATH`, and `PULUMI_HOME` or `HOME`.
    """
    return [
        Finding("package", "ok", f"pulumi-snapshots {version('pulumi-snapshots')}"),
        Finding("SDK", "ok", f"pulumi {version('pulumi')} for Python"),
        _engine(environment),
        _plugin(environment),
        *_buckets(environment),
    ]


def _engine(environment: Mapping[str, str]) -> Finding:
    if shutil.which("pulumi", path=environment.get("PATH", "")) is None:
        advice = "Install the Pulumi CLI to run programs; these commands need none."
        return Finding("engine", "note", "no pulumi on PATH", advice)
    try:
        answer = pulumi(environment, "version").strip()
    except PulumiTrouble as error:
        return Finding("engine", "problem", str(error), "Reinstall the Pulumi CLI.")
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer)
    oldest = ".".join(map(str, OLDEST_ENGINE))
    if found is None:
        return Finding("engine", "unknown", f"`pulumi version` says {answer!r}", f"It must be {oldest} or newer.")
    if tuple(map(int, found.groups())) < OLDEST_ENGINE:
        advice = f"Update it: {oldest} is the first that configures a dynamic provider."
        return Finding("engine", "problem", f"pulumi {answer}", advice)
    return Finding("engine", "ok", f"pulumi {answer}")


def _plugin(environment: Mapping[str, str]) -> Finding:
    home = Path(environment.get("PULUMI_HOME") or home_directory(environment) / ".pulumi")
    folders = home.glob(f"plugins/resource-{PACKAGE}-v*")
    installed = sorted(path.name.rpartition("-v")[2] for path in folders if path.is_dir())
    ours, how = version("pulumi-snapshots"), "squarecloud-snapshots plugin install"
    if ours in installed:
        return Finding("plugin", "ok", f"{PACKAGE} {ours} is installed")
    if installed:
        found = f"{PACKAGE} {', '.join(installed)} is installed, this package is {ours}"
        return Finding("plugin", "note", found, f"Install this version: {how}.")
    if on_path := shutil.which(PROGRAM, path=environment.get("PATH", "")):
        return Finding("plugin", "ok", f"{on_path} is on PATH")
    return Finding(
        "plugin", "note", "none is installed", f"Only programs in other languages than Python need it: {how}."
    )


def _buckets(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which credentials an archive to each store would use; those of a store that is not used are no problem."""
    if find_spec(LIBRARY) is None:
        yield Finding("buckets", "note", f"{LIBRARY} is not installed", f"{pip_install(EXTRA)}.")
        return
    for scheme in BUCKETS:
        try:
            found = access(scheme, environment).found
            at, said = f"{scheme}://", f"credentials of {NAMES[scheme]}: {found}"
            yield Finding(at, "note", said) if found.startswith(MACHINE) else Finding(at, "ok", said)
        except NoCredentials as error:
            told = COMMANDS.text((error.happened, *error.then))
            yield Finding(f"{scheme}://", "note", told, "Only archives to such a bucket need them.")
