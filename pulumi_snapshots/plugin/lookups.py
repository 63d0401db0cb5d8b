"""The plugin's functions, as Python programs call them; results and arguments are those of the top level."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime import invoke, invoke_output

from pulumi_snapshots.declaration import Duration, LookupFailed, Origin, refuse_outputs
from pulumi_snapshots.lookup.results import DatabaseInfo, SnapshotInfo
from pulumi_snapshots.plugin.resource import PACKAGE, in_camel, in_python

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "get_database",
    "get_database_output",
    "get_databases",
    "get_databases_output",
    "get_latest_snapshot",
    "get_latest_snapshot_output",
    "get_snapshots",
    "get_snapshots_output",
]


def get_snapshots(
    database_id: str | None = None,
    origin: Origin | None = None,
    newer_than: Duration | None = None,
    older_than: Duration | None = None,
    *,
    opts: pulumi.InvokeOptions | None = None,
) -> list[SnapshotInfo]:
    """The snapshots that the service lists, newest first; see `pulumi_snapshots.get_snapshots`.

    Raises:
        LookupFailed: an argument cannot be used, or the service does not tell for sure.
    """
    arguments = {"database_id": database_id, "origin": origin, "newer_than": newer_than, "older_than": older_than}
    return _snapshots(_now("get_snapshots", arguments, opts))


def get_snapshots_output(
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Origin] | None = None,
    newer_than: pulumi.Input[Duration] | None = None,
    older_than: pulumi.Input[Duration] | None = None,
    *,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """`get_snapshots` for arguments that are outputs; a secret, since it holds download URLs."""
    arguments = {"database_id": database_id, "origin": origin, "newer_than": newer_than, "older_than": older_than}
    return pulumi.Output.secret(_later("get_snapshots", arguments, opts).apply(_snapshots))


def get_latest_snapshot(
    database_id: str,
    origin: Origin | None = None,
    max_age: Duration | None = None,
    *,
    opts: pulumi.InvokeOptions | None = None,
) -> SnapshotInfo | None:
    """The newest available snapshot of a database, None where there is none; see `pulumi_snapshots.get_latest_snapshot`.

    Raises:
        LookupFailed: an argument cannot be used, or the service does not tell for sure.
    """
    return _latest(
        _now("get_latest_snapshot", {"database_id": database_id, "origin": origin, "max_age": max_age}, opts)
    )


def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Origin] | None = None,
    max_age: pulumi.Input[Duration] | None = None,
    *,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """`get_latest_snapshot` for arguments that are outputs; a secret, since it holds a download URL."""
    arguments = {"database_id": database_id, "origin": origin, "max_age": max_age}
    return pulumi.Output.secret(_later("get_latest_snapshot", arguments, opts).apply(_latest))


def get_database(database_id: str, *, opts: pulumi.InvokeOptions | None = None) -> DatabaseInfo:
    """A database of the account, and whether it runs.

    Raises:
        LookupFailed: the argument cannot be used, there is no such database, or the service does not tell for sure.
    """
    return _database(_now("get_database", {"database_id": database_id}, opts))


def get_database_output(
    database_id: pulumi.Input[str], *, opts: pulumi.InvokeOutputOptions | None = None
) -> pulumi.Output[DatabaseInfo]:
    """`get_database` for an argument that is an output."""
    return _later("get_database", {"database_id": database_id}, opts).apply(_database)


def get_databases(*, opts: pulumi.InvokeOptions | None = None) -> list[DatabaseInfo]:
    """All databases of the account, and whether each runs (one request for each).

    Raises:
        LookupFailed: the service does not tell for sure.
    """
    return _databases(_now("get_databases", {}, opts))


def get_databases_output(*, opts: pulumi.InvokeOutputOptions | None = None) -> pulumi.Output[list[DatabaseInfo]]:
    """`get_databases` as an output."""
    return _later("get_databases", {}, opts).apply(_databases)


# How the plugin is asked -----------------------------------------------------------------------------------------------


def _now(function: str, arguments: Mapping[str, Any], opts: pulumi.InvokeOptions | None) -> dict[str, Any]:
    refuse_outputs(function, arguments)
    try:
        found = invoke(_token(function), _given(arguments), opts).value
    except Exception as error:  # noqa: BLE001  the SDK raises no other
        text = str(error)
        for prefix in (
            f"invoke of {_token(function)} failed: ",
            f"invocation of {_token(function)} returned an error: ",
        ):
            text = text.removeprefix(prefix)
        raise LookupFailed(function, text, why=error) from None  # the text leads to its page already
    return found or {}


def _later(
    function: str, arguments: Mapping[str, Any], opts: pulumi.InvokeOutputOptions | None
) -> pulumi.Output[dict[str, Any]]:
    return invoke_output(_token(function), _given(arguments), opts)


def _token(function: str) -> str:
    return f"{PACKAGE}:index:{in_camel(function)}"


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {in_camel(name): value for name, value in arguments.items() if value is not None}


# What it brings --------------------------------------------------------------------------------------------------------


def _snapshots(found: Mapping[str, Any]) -> list[SnapshotInfo]:
    return [_snapshot(one) for one in found.get("snapshots") or ()]


def _latest(found: Mapping[str, Any]) -> SnapshotInfo | None:
    one = found.get("snapshot")
    return None if one is None else _snapshot(one)


def _snapshot(found: Mapping[str, Any]) -> SnapshotInfo:
    names = tuple(each.name for each in fields(SnapshotInfo) if not each.name.startswith("_"))
    known = {**dict.fromkeys(names), **in_python(found, names)}
    known["size"] = _whole(known["size"])
    return SnapshotInfo(**known, _download_url=found.get("downloadUrl"))


def _databases(found: Mapping[str, Any]) -> list[DatabaseInfo]:
    return [_database(one) for one in found.get("databases") or ()]


def _database(found: Mapping[str, Any]) -> DatabaseInfo:
    names = tuple(each.name for each in fields(DatabaseInfo))
    known = {**dict.fromkeys(names), **in_python(found, names)}
    known["ram"] = _whole(known["ram"])
    return DatabaseInfo(**known)


def _whole(number: float | None) -> int | None:
    """The engine has no whole numbers."""
    return None if number is None else int(number)
