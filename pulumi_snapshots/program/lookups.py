"""The lookups, as programs call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pulumi
from pulumi.runtime import invoke, invoke_output

from pulumi_snapshots.lookup.results import (
    DATABASE,
    DATABASES,
    DOWNLOAD_URL,
    LATEST,
    SNAPSHOTS,
)
from pulumi_snapshots.program import LookupFailed, with_arguments
from pulumi_snapshots.properties.catalogue import in_camel, in_python
from pulumi_snapshots.run.settings import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_snapshots.lookup.results import DatabaseInfo, Lookup, SnapshotInfo
    from pulumi_snapshots.program import Origin, TypedDuration


T = TypeVar("T")
FAILS = (
    "`LookupFailed` is raised if an argument cannot be used, there is no such database, or the "
    "service gives no certain answer."
)


class Lookups:
    """The functions that a package gives to programs: each is a method of its one object.

    The engine asks the plugin.

    All take `opts`, such as an explicit provider, which is for the plugin only.
    """

    def _now(self, lookup: Lookup[T], given: dict[str, Any]) -> T:
        """Ask with the plain arguments of a method's call, and wait for the answer."""
        arguments, opts = _of(given)
        for name, value in arguments.items():
            if isinstance(value, pulumi.Output):
                text = (
                    f"{name} is an output, whose value is not known yet. Call "
                    f"{lookup.function}_output instead."
                )
                raise LookupFailed(lookup.function, text)
        return self._answer(lookup, arguments, opts)

    def _later(self, lookup: Lookup[T], given: dict[str, Any]) -> pulumi.Output[T]:
        """Ask once the arguments of a method's call are known.

        What holds a download URL is a secret.
        """
        arguments, opts = _of(given)
        found = self._answer_later(lookup, arguments, opts)
        if arguments.get("with_url") is True:
            return pulumi.Output.secret(found)

        def marked(
            answer: T,
        ) -> pulumi.Input[T]:  # that it is asked for may be an output, too
            return pulumi.Output.secret(answer) if lookup.holds_url(answer) else answer

        return found.apply(marked)

    def _answer(self, lookup: Lookup[T], arguments: Mapping[str, Any], opts: Any) -> T:
        token, asked = _asked(lookup, arguments)
        try:
            found = invoke(token, asked, opts).value
        except Exception as error:  # noqa: BLE001  the SDK raises nothing else
            # Without what the engine and the SDK put before what the plugin says, which has its
            # page's address already.
            text = str(error).removeprefix(f"invoke of {token} failed: ")
            text = text.removeprefix(f"invocation of {token} returned an error: ")
            raise LookupFailed(lookup.function, text, why=error) from None
        return answer_of(lookup, found)

    def _answer_later(
        self,
        lookup: Lookup[T],
        arguments: Mapping[str, Any],
        opts: Any,
    ) -> pulumi.Output[T]:
        token, asked = _asked(lookup, arguments)
        found: pulumi.Output[Any] = invoke_output(token, asked, opts)
        return found.apply(lambda found: answer_of(lookup, found))

    def get_snapshots(  # noqa: PLR0913  the arguments of the lookup, and the options
        self,
        database_id: str | None = None,
        origin: Origin | None = None,
        newer_than: TypedDuration | None = None,
        older_than: TypedDuration | None = None,
        *,
        with_url: bool | None = None,
        opts: pulumi.InvokeOptions | None = None,
    ) -> list[SnapshotInfo]:
        """List the snapshots that the service has, newest first; in previews, too."""
        return self._now(SNAPSHOTS, locals())

    def get_snapshots_output(  # noqa: PLR0913  the arguments of the lookup, and the options
        self,
        database_id: pulumi.Input[str] | None = None,
        origin: pulumi.Input[Origin] | None = None,
        newer_than: pulumi.Input[TypedDuration] | None = None,
        older_than: pulumi.Input[TypedDuration] | None = None,
        *,
        with_url: pulumi.Input[bool] | None = None,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[list[SnapshotInfo]]:
        """`get_snapshots` for arguments that are outputs; a secret if it holds download URLs."""
        return self._later(SNAPSHOTS, locals())

    def get_latest_snapshot(
        self,
        database_id: str,
        origin: Origin | None = None,
        max_age: TypedDuration | None = None,
        *,
        with_url: bool | None = None,
        opts: pulumi.InvokeOptions | None = None,
    ) -> SnapshotInfo | None:
        """Find the newest available snapshot of a database, no matter who took it, or None.

        In previews, too.
        """
        return self._now(LATEST, locals())

    def get_latest_snapshot_output(
        self,
        database_id: pulumi.Input[str],
        origin: pulumi.Input[Origin] | None = None,
        max_age: pulumi.Input[TypedDuration] | None = None,
        *,
        with_url: pulumi.Input[bool] | None = None,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[SnapshotInfo | None]:
        """`get_latest_snapshot` for arguments that are outputs.

        A secret if it holds a download URL.
        """
        return self._later(LATEST, locals())

    def get_download_url(
        self,
        database_id: str,
        version_id: str,
        *,
        opts: pulumi.InvokeOptions | None = None,
    ) -> str:
        """Look up the download URL of a snapshot, in plain text.

        Anyone with it can read the data.
        """
        return self._now(DOWNLOAD_URL, locals())

    def get_download_url_output(
        self,
        database_id: pulumi.Input[str],
        version_id: pulumi.Input[str],
        *,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[str]:
        """`get_download_url` as an output, which is a secret."""
        return self._later(DOWNLOAD_URL, locals())

    def get_database(
        self,
        database_id: str,
        *,
        opts: pulumi.InvokeOptions | None = None,
    ) -> DatabaseInfo:
        """Look up a database of the account, and whether it runs; in previews, too."""
        return self._now(DATABASE, locals())

    def get_database_output(
        self,
        database_id: pulumi.Input[str],
        *,
        opts: pulumi.InvokeOutputOptions | None = None,
    ) -> pulumi.Output[DatabaseInfo]:
        """`get_database` for an argument that is an output."""
        return self._later(DATABASE, locals())

    def get_databases(
        self, *, opts: pulumi.InvokeOptions | None = None
    ) -> list[DatabaseInfo]:
        """List the databases of the account, and whether each runs (one request for each).

        In previews, too.
        """
        return self._now(DATABASES, locals())

    def get_databases_output(
        self, *, opts: pulumi.InvokeOutputOptions | None = None
    ) -> pulumi.Output[list[DatabaseInfo]]:
        """`get_databases` as an output."""
        return self._later(DATABASES, locals())


for _lookup in (SNAPSHOTS, LATEST, DOWNLOAD_URL, DATABASE, DATABASES):
    _method: Any = getattr(Lookups, _lookup.function)
    _method.__doc__ = with_arguments(
        f"{_method.__doc__}\n\n{FAILS}", _method, _lookup.query
    )


def _of(given: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """The arguments that are given in a method's call, and its options."""
    return {
        each: it
        for each, it in given.items()
        if it is not None and each not in {"self", "opts"}
    }, given["opts"]


def _asked(
    lookup: Lookup[Any], arguments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return what the plugin is asked.

    In Python a latest snapshot may be None; in other languages a program must say so.
    """
    may_be_none = {"optional": True} if lookup is LATEST else {}
    asked = {in_camel(name): value for name, value in arguments.items()}
    return f"{PACKAGE}:index:{in_camel(lookup.function)}", asked | may_be_none


def answer_of(lookup: Lookup[T], found: Mapping[str, Any] | None) -> T:
    """Return the plugin's answer as the lookup's result declares it.

    Args:
        lookup: the lookup.
        found: the answer; None without one.
    """
    properties = lookup.result.properties()
    return lookup.answer(in_python(properties, found or {}))


if not TYPE_CHECKING:
    __getattr__ = Lookups().__getattribute__  # the plugin's functions
