"""The plugin's functions, as Python programs call them; results and arguments are those of the top level."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
from pulumi.runtime import invoke, invoke_output

from pulumi_snapshots.declaration import Duration, LookupFailed, Origin, hidden, refuse_outputs
from pulumi_snapshots.lookup.results import DATABASE, DATABASES, LATEST, SNAPSHOTS
from pulumi_snapshots.properties.catalogue import in_camel, in_python
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo


T = TypeVar("T")


def get_snapshots(  # noqa: PLR0913  the arguments of the lookup, and the options
    database_id: str | None = None,
    origin: Origin | None = None,
    newer_than: Duration | None = None,
    older_than: Duration | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> list[SnapshotInfo]:
    """Like `pulumi_snapshots.get_snapshots`, with the same arguments and errors."""
    return _now(
        SNAPSHOTS,
        opts,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_snapshots_output(  # noqa: PLR0913  the arguments of the lookup, and the options
    database_id: pulumi.Input[str] | None = None,
    origin: pulumi.Input[Origin] | None = None,
    newer_than: pulumi.Input[Duration] | None = None,
    older_than: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[list[SnapshotInfo]]:
    """Like `pulumi_snapshots.get_snapshots_output`, with the same arguments and errors."""
    return _later(
        SNAPSHOTS,
        opts,
        database_id=database_id,
        origin=origin,
        newer_than=newer_than,
        older_than=older_than,
        with_url=with_url,
    )


def get_latest_snapshot(
    database_id: str,
    origin: Origin | None = None,
    max_age: Duration | None = None,
    *,
    with_url: bool | None = None,
    opts: pulumi.InvokeOptions | None = None,
) -> SnapshotInfo | None:
    """Like `pulumi_snapshots.get_latest_snapshot`, with the same arguments and errors."""
    return _now(LATEST, opts, database_id=database_id, origin=origin, max_age=max_age, with_url=with_url)


def get_latest_snapshot_output(
    database_id: pulumi.Input[str],
    origin: pulumi.Input[Origin] | None = None,
    max_age: pulumi.Input[Duration] | None = None,
    *,
    with_url: pulumi.Input[bool] | None = None,
    opts: pulumi.InvokeOutputOptions | None = None,
) -> pulumi.Output[SnapshotInfo | None]:
    """Like `pulumi_snapshots.get_latest_snapshot_output`, with the same arguments and errors."""
    return _later(LATEST, opts, database_id=database_id, origin=origin, max_age=max_age, with_url=with_url)


def get_database(database_id: str, *, opts: pulumi.InvokeOptions | None = None) -> DatabaseInfo:
    """Like `pulumi_snapshots.get_database`, with the same arguments and errors."""
    return _now(DATABASE, opts, database_id=database_id)


def get_database_output(
    database_id: pulumi.Input[str], *, opts: pulumi.InvokeOutputOptions | None = None
) -> pulumi.Output[DatabaseInfo]:
    """Like `pulumi_snapshots.get_database_output`, with the same arguments and errors."""
    return _later(DATABASE, opts, database_id=database_id)


def get_databases(*, opts: pulumi.InvokeOptions | None = None) -> list[DatabaseInfo]:
    """Like `pulumi_snapshots.get_databases`, with the same arguments and errors."""
    return _now(DATABASES, opts)


def get_databases_output(*, opts: pulumi.InvokeOutputOptions | None = None) -> pulumi.Output[list[DatabaseInfo]]:
    """Like `pulumi_snapshots.get_databases_output`, with the same arguments and errors."""
    return _later(DATABASES, opts)


# How the plugin is asked -----------------------------------------------------------------------------------------------


def _now(lookup: Lookup[T], opts: pulumi.InvokeOptions | None, **arguments: Any) -> T:
    refuse_outputs(lookup.function, arguments)
    token = token_of(lookup)
    try:
        found = invoke(token, arguments_of(arguments), opts).value
    except Exception as error:  # noqa: BLE001  the SDK raises nothing else
        raise LookupFailed(
            lookup.function, text_of(error, token), why=error
        ) from None  # the text has its page's address already
    return answer_of(lookup, found)


def _later(lookup: Lookup[T], opts: pulumi.InvokeOutputOptions | None, **arguments: Any) -> pulumi.Output[T]:
    found: pulumi.Output[Any] = invoke_output(token_of(lookup), arguments_of(arguments), opts)
    return hidden(lookup, found.apply(partial(answer_of, lookup)), arguments)


def token_of(lookup: Lookup[Any]) -> str:
    """The name of a function in every language."""
    return f"{PACKAGE}:index:{in_camel(lookup.function)}"


def text_of(error: Exception, token: str) -> str:
    """What the plugin says, without what the engine and the SDK put before it."""
    text = str(error).removeprefix(f"invoke of {token} failed: ")
    return text.removeprefix(f"invocation of {token} returned an error: ")


def arguments_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the plugin takes them; None is left out."""
    return {in_camel(name): value for name, value in arguments.items() if value is not None}


def answer_of(lookup: Lookup[T], found: Mapping[str, Any] | None) -> T:
    """What the plugin answers, as its result declares it."""
    return lookup.answer(in_python(lookup.result.properties(), found or {}))
